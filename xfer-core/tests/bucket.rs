//! Whole transfers from this machine's disk to a bucket in memory, and back.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::disk::state::StateDirectory;
use xfer_core::endpoint::object::store::StoreError;
use xfer_core::endpoint::object::store::memory::{BucketTrouble, MemoryBucket, Request};
use xfer_core::endpoint::object::{ObjectEndpoint, ObjectOptions};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};

/// Bytes of the one large file: five parts and a short one.
const LARGE: usize = (40 << 20) + 4321;

struct Lab {
    directory: tempfile::TempDir,
    bucket: MemoryBucket,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir_all(source.join("a/b")).unwrap();
        fs::create_dir(source.join("empty directory")).unwrap();
        for n in 0..50_u32 {
            fs::write(source.join(format!("a/b/{n}")), vec![1; n as usize * 11]).unwrap();
        }
        let mixed = |n: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[5];
        fs::write(source.join("middle"), (0..5 << 20).map(mixed).collect::<Vec<u8>>()).unwrap();
        fs::write(source.join("large"), (0..LARGE).map(mixed).collect::<Vec<u8>>()).unwrap();
        symlink("a/b/7", source.join("link")).unwrap();
        Self { directory, bucket: MemoryBucket::new("b") }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn run(&self, from: Location, to: Location) -> Result<Summary, TransferError> {
        let records = StateDirectory::open(&self.at("uploads")).unwrap();
        let options = ObjectOptions { records: Some(records), ..ObjectOptions::default() };
        let side = Arc::new(ObjectEndpoint::new(Arc::new(self.bucket.clone()), options));
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.at("state")))
            .with_stand(&far(), move || Connected::here(Arc::clone(&side)));
        let options = TransferOptions::default();
        let transfer = Transfer { options, ..Transfer::new(vec![from], to) };
        let quiet = Arc::new(|_: &xfer_core::event::Event| {});
        run(transfer, connector, quiet, CancellationToken::new()).await
    }

    async fn push(&self) -> Result<Summary, TransferError> {
        let here = format!("{}/", self.at("source").display()).into_bytes();
        let here = Location { machine: Machine::Local, path: here };
        self.run(here, Location { machine: far(), path: b"/there".to_vec() }).await
    }

    async fn pushed(&self) -> Summary {
        let summary = self.push().await.unwrap();
        assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
        assert_eq!(self.bucket.open_uploads(), []);
        summary
    }
}

fn far() -> Machine {
    Machine::Ssh(SshHost { user: None, host: "far".into(), port: None })
}

#[tokio::test]
async fn a_tree_goes_there_and_comes_back() {
    let lab = Lab::new();
    let first = lab.pushed().await;
    assert_eq!(lab.bucket.content("there/large").unwrap().len(), LARGE);
    let second = lab.pushed().await;
    assert_eq!((second.payload_bytes, second.entries.moved), (0, 0), "{:?}", second.entries);
    assert_eq!(second.manifest_root, first.manifest_root);
    fs::write(lab.at("source/a/b/3"), b"new").unwrap();
    let third = lab.pushed().await;
    assert_eq!((third.payload_bytes, third.entries.moved), (3, 1), "{:?}", third.entries);
    let back = lab.at("back").display().to_string().into_bytes();
    let back = Location { machine: Machine::Local, path: back };
    let there = Location { machine: far(), path: b"/there/".to_vec() };
    let pulled = lab.run(there, back).await.unwrap();
    assert_eq!(pulled.class, ExitClass::Done, "{:?}", pulled.problems);
    for name in ["large", "middle", "a/b/3", "a/b/49"] {
        let [ours, theirs] = ["source", "back"].map(|top| lab.at(top).join(name));
        assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "{name}");
        let modified = |path| fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(modified(ours), modified(theirs), "{name}");
    }
    assert_eq!(fs::read_link(lab.at("back/link")).unwrap(), PathBuf::from("a/b/7"));
    assert!(lab.at("back/empty directory").is_dir());
}

#[tokio::test]
async fn an_upload_that_failed_is_resumed() {
    let lab = Lab::new();
    let refused = BucketTrouble::Fail(StoreError::Failed("full".to_owned()));
    lab.bucket.order(Request::PutPart, 3, 1000, refused);
    let failed = lab.push().await;
    assert!(failed.as_ref().map_or(true, |s| s.class != ExitClass::Done), "{failed:?}");
    assert!(lab.bucket.content("there/large").is_none());
    let bucket = lab.bucket.clone();
    bucket.clear_orders();
    let before = bucket.calls(Request::PutPart);
    let summary = lab.pushed().await;
    assert_eq!(bucket.calls(Request::PutPart) - before, 3, "{summary:?}");
    assert!(summary.reused_bytes >= 16 << 20, "{summary:?}");
    assert_eq!(bucket.content("there/large").unwrap().len(), LARGE);
}
