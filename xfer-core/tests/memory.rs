//! Whole transfers from this machine's disk to a store in memory, in both of its profiles: what a
//! disk can, and what a store of parts can.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::memory::{MemoryEndpoint, MemoryStore, Method, Profile, Trouble};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::EntryKind;
use xfer_protocol::path::RelPath;

/// Bytes of the one large file: three parts and a short one.
const LARGE: usize = 17 << 20;

struct Lab {
    directory: tempfile::TempDir,
    store: MemoryStore,
}

impl Lab {
    fn new(profile: Profile) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir_all(source.join("a/b")).unwrap();
        fs::create_dir(source.join("empty directory")).unwrap();
        for n in 0..200_u32 {
            let bytes = vec![n.to_le_bytes()[0]; n as usize * 11];
            fs::write(source.join(format!("a/b/{n}")), bytes).unwrap();
        }
        let mixed = |n: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[5];
        let large: Vec<u8> = (0..LARGE).map(mixed).collect();
        fs::write(source.join("large"), large).unwrap();
        if profile == Profile::Disk {
            symlink("a/b/7", source.join("link")).unwrap();
        }
        fs::hard_link(source.join("a/b/9"), source.join("twin")).unwrap();
        Self { directory, store: MemoryStore::new(profile) }
    }

    fn source(&self) -> std::path::PathBuf {
        self.directory.path().join("source")
    }

    async fn push(&self, side: &Arc<MemoryEndpoint>) -> Result<Summary, TransferError> {
        let far = Machine::Ssh(SshHost { user: None, host: "far".into(), port: None });
        let stand = Arc::clone(side);
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.directory.path().join("state")))
            .with_stand(&far, move || Connected::here(Arc::clone(&stand)));
        let from = format!("{}/", self.source().display()).into_bytes();
        let transfer = Transfer {
            sources: vec![Location { machine: Machine::Local, path: from }],
            destination: Location { machine: far, path: b"/there".to_vec() },
            options: TransferOptions::default(),
            plan_only: false,
        };
        let quiet = Arc::new(|_: &xfer_core::event::Event| {});
        run(transfer, connector, quiet, CancellationToken::new()).await
    }

    async fn pushed(&self) -> Summary {
        let summary = self.push(&Arc::new(self.store.open())).await.unwrap();
        assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
        summary
    }

    /// Every file of the source is in the store, and no other.
    fn assert_equal(&self) {
        let mut expected = BTreeMap::new();
        files(&self.source(), &RelPath::new("there").unwrap(), &mut expected);
        let is_file = |kind: &EntryKind| matches!(kind, EntryKind::File { .. });
        let there: BTreeMap<_, _> = self
            .store
            .entries()
            .into_iter()
            .filter(|entry| is_file(&entry.kind))
            .map(|entry| (entry.path.clone(), self.store.read(&entry.path).unwrap().to_vec()))
            .collect();
        assert!(there.keys().eq(expected.keys()), "{:?}", there.keys());
        assert!(there == expected, "the bytes of a file differ");
        assert!(self.store.partials().is_empty());
    }
}

fn files(directory: &Path, at: &RelPath, found: &mut BTreeMap<RelPath, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let here = at.child(path.file_name().unwrap().as_encoded_bytes()).unwrap();
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            files(&path, &here, found);
        } else if kind.is_file() {
            found.insert(here, fs::read(&path).unwrap());
        }
    }
}

async fn moves_and_moves_nothing_again(profile: Profile) {
    let lab = Lab::new(profile);
    let first = lab.pushed().await;
    lab.assert_equal();
    let second = lab.pushed().await;
    assert_eq!((second.payload_bytes, second.entries.moved), (0, 0), "{:?}", second.entries);
    assert_eq!(second.manifest_root, first.manifest_root);
    fs::write(lab.source().join("a/b/3"), b"new").unwrap();
    let third = lab.pushed().await;
    assert_eq!((third.payload_bytes, third.entries.moved), (3, 1), "{:?}", third.entries);
    lab.assert_equal();
}

#[tokio::test]
async fn to_a_disk_in_memory() {
    moves_and_moves_nothing_again(Profile::Disk).await;
}

#[tokio::test]
async fn to_a_store_of_parts() {
    moves_and_moves_nothing_again(Profile::Parts).await;
}

/// What a store has no kind for is no success, and the rest arrives all the same.
#[tokio::test]
async fn what_a_store_cannot_hold_is_told() {
    let lab = Lab::new(Profile::Parts);
    symlink("a/b/7", lab.source().join("link")).unwrap();
    let summary = lab.push(&Arc::new(lab.store.open())).await.unwrap();
    lab.assert_equal();
    assert_eq!(summary.class, ExitClass::Partial);
    let told: Vec<_> = summary.problems.iter().map(|p| (p.kind, p.path.to_string())).collect();
    assert_eq!(told, [(FaultKind::Unsupported, "link".to_owned())]);
    assert_eq!(summary.entries.failed, 1);
    // Directories come by themselves: the top, the two below it, and the empty one.
    assert_eq!(summary.entries.skipped, 4);
}

/// A transfer that ran out of space goes on with the same command. A disk proves what it holds; a
/// store that cannot be read before a file is whole begins the file anew.
async fn goes_on_after_a_full_disk(profile: Profile) {
    let lab = Lab::new(profile);
    let side = Arc::new(lab.store.open());
    side.order(Method::WriteBlock, 2, u64::MAX, Trouble::Fail(FaultKind::NoSpace));
    let error = lab.push(&side).await.unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::DestinationIo, "{error}");
    assert!(side.fired(Method::WriteBlock) > 0);
    assert!(lab.store.read(&RelPath::new("there/large").unwrap()).is_none());
    drop(side);
    let summary = lab.pushed().await;
    lab.assert_equal();
    assert!(summary.payload_bytes >= LARGE as u64 || profile == Profile::Disk, "{summary:?}");
    assert!(summary.reused_bytes >= 1 << 20 || profile == Profile::Parts, "{summary:?}");
}

#[tokio::test]
async fn a_disk_in_memory_is_resumed() {
    goes_on_after_a_full_disk(Profile::Disk).await;
}

#[tokio::test]
async fn a_store_of_parts_begins_its_file_anew() {
    goes_on_after_a_full_disk(Profile::Parts).await;
}

#[tokio::test]
async fn bytes_that_a_disk_lost_are_sent_again() {
    let lab = Lab::new(Profile::Disk);
    let side = Arc::new(lab.store.open());
    side.order(Method::WriteBlock, 4, u64::MAX, Trouble::Fail(FaultKind::NoSpace));
    lab.push(&side).await.unwrap_err();
    drop(side);
    let large = RelPath::new("there/large").unwrap();
    let held = lab.store.partials();
    assert_eq!(held, std::slice::from_ref(&large));
    let damaged = (0..LARGE as u64)
        .step_by(1 << 16)
        .find(|at| lab.store.damage_partial(&large, *at).is_some());
    assert!(damaged.is_some());
    lab.pushed().await;
    lab.assert_equal();
}
