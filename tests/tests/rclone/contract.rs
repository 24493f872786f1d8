//! The contract of endpoints over a real rclone

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use xfer_core::clock::SystemClock;
use xfer_core::disk::state::StateDirectory;
use xfer_core::endpoint::conformance::{self, Fixture};
use xfer_core::endpoint::object::{ObjectEndpoint, ObjectOptions};
use xfer_core::endpoint::rclone::{RcloneOptions, RcloneStore};
use xfer_core::location::RcloneRemote;
use xfer_tests::stores::judges;

/// An empty directory that rclone is to reach
struct Place {
    directory: TempDir,
    locks: TempDir,
}

#[async_trait]
impl Fixture for Place {
    type Side = ObjectEndpoint;

    async fn open(&self) -> ObjectEndpoint {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let seed = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let remote = RcloneRemote { name: ":local".to_owned(), absolute: true };
        let (program, stall) = (judges::rclone_program().into(), Duration::from_secs(5));
        let options = RcloneOptions { program, stall, seed };
        let store = RcloneStore::open(&remote, options, &*SystemClock::shared()).await;
        let locks = StateDirectory::open(&self.locks.path().join("locks")).unwrap();
        let options = ObjectOptions {
            seed: u128::from(seed).to_le_bytes(),
            locks: Some(locks),
            weak_states: true,
            begins_anew: true,
            ..ObjectOptions::default()
        };
        ObjectEndpoint::new(Arc::new(store.unwrap()), options)
    }

    fn base(&self) -> Vec<u8> {
        self.directory.path().as_os_str().as_bytes().to_vec()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_behind_rclone_keeps_the_contract() {
    let directory = || tempfile::tempdir().unwrap();
    conformance::all(async || Place { directory: directory(), locks: directory() }).await;
}
