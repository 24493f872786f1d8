//! A tree on disk and a store in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::memory::{MemoryEndpoint, MemoryStore, Profile};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::manifest::EntryKind;
use xfer_protocol::path::RelPath;

/// Bytes of the one large file: three parts and a short one.
pub const LARGE: usize = 17 << 20;

pub struct Lab {
    pub directory: tempfile::TempDir,
    pub store: MemoryStore,
}

impl Lab {
    pub fn new(profile: Profile) -> Self {
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

    pub fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    pub async fn push(&self, side: &Arc<MemoryEndpoint>) -> Result<Summary, TransferError> {
        self.push_as(side, TransferOptions::default(), CancellationToken::new()).await
    }

    pub async fn push_as(
        &self,
        side: &Arc<MemoryEndpoint>,
        options: TransferOptions,
        cancel: CancellationToken,
    ) -> Result<Summary, TransferError> {
        let here = format!("{}/", self.source().display()).into_bytes();
        let here = Location { machine: Machine::Local, path: here };
        let there = Location { machine: far(), path: b"/there".to_vec() };
        self.run(side, (here, there), options, cancel).await
    }

    /// Fetches what is in the store into a directory beside the source.
    pub async fn pull(&self, side: &Arc<MemoryEndpoint>) -> Result<Summary, TransferError> {
        let there = Location { machine: far(), path: b"/there/".to_vec() };
        let here = self.directory.path().join("back").display().to_string().into_bytes();
        let here = Location { machine: Machine::Local, path: here };
        let options = TransferOptions::default();
        self.run(side, (there, here), options, CancellationToken::new()).await
    }

    async fn run(
        &self,
        side: &Arc<MemoryEndpoint>,
        (from, to): (Location, Location),
        options: TransferOptions,
        cancel: CancellationToken,
    ) -> Result<Summary, TransferError> {
        let stand = Arc::clone(side);
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.state()))
            .with_stand(&far(), move || Connected::here(Arc::clone(&stand)));
        let transfer = Transfer { options, ..Transfer::new(vec![from], to) };
        let quiet = Arc::new(|_: &xfer_core::event::Event| {});
        run(transfer, connector, quiet, cancel).await
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub async fn pushed(&self) -> Summary {
        let summary = self.push(&Arc::new(self.store.open())).await.unwrap();
        assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
        summary
    }

    /// Every file of the source is in the store, and no other.
    pub fn assert_equal(&self) {
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

fn far() -> Machine {
    Machine::Ssh(SshHost { user: None, host: "far".into(), port: None })
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
