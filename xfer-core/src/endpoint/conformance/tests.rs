//! The contract over this machine's disks.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::*;
use crate::disk::confine::Confinement;
use crate::endpoint::local::{LocalEndpoint, LocalOptions};

struct Directory {
    directory: tempfile::TempDir,
    options: LocalOptions,
}

impl Directory {
    fn new(parent: &Path, options: LocalOptions) -> Self {
        Self { directory: tempfile::tempdir_in(parent).unwrap(), options }
    }
}

#[async_trait]
impl Fixture for Directory {
    type Side = LocalEndpoint;

    async fn open(&self) -> LocalEndpoint {
        LocalEndpoint::new(self.options)
    }

    fn base(&self) -> Vec<u8> {
        self.directory.path().as_os_str().as_bytes().to_vec()
    }
}

#[tokio::test]
async fn a_disk_keeps_the_contract() {
    let temporary = std::env::temp_dir();
    let options = LocalOptions { shares_blocks: Some(true), ..LocalOptions::default() };
    all(async || Directory::new(&temporary, options)).await;
}

#[tokio::test]
async fn a_disk_without_openat2_keeps_the_contract() {
    let confinement = Confinement::Walk;
    let options = LocalOptions { confinement, shares_blocks: Some(false), ..Default::default() };
    all(async || Directory::new(Path::new("/dev/shm"), options)).await;
}
