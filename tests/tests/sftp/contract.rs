//! The contract of endpoints over the SFTP subsystem of a real sshd

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use xfer_core::disk::state::StateDirectory;
use xfer_core::endpoint::conformance::{self, Fixture};
use xfer_core::endpoint::sftp::{SftpEndpoint, SftpOptions};
use xfer_core::transport::ssh::{NoPrompt, SshConnection, SshOptions, SshTarget};
use xfer_tests::sshd::Sshd;

/// An empty directory on a server, and one login that all sessions share
struct Place {
    login: SshConnection,
    directory: TempDir,
    locks: TempDir,
}

impl Place {
    fn new(login: &SshConnection) -> Self {
        let directory = || tempfile::tempdir().unwrap();
        Self { login: login.clone(), directory: directory(), locks: directory() }
    }
}

#[async_trait]
impl Fixture for Place {
    type Side = SftpEndpoint;

    async fn open(&self) -> SftpEndpoint {
        let stream = self.login.subsystem("sftp").await.unwrap();
        let locks = StateDirectory::open(&self.locks.path().join("locks")).unwrap();
        let options = SftpOptions { locks: Some(locks), ..SftpOptions::default() };
        SftpEndpoint::open(stream, options).await.unwrap()
    }

    fn base(&self) -> Vec<u8> {
        self.directory.path().as_os_str().as_bytes().to_vec()
    }
}

pub(crate) async fn login(server: &Sshd) -> SshConnection {
    let mut options = SshOptions::new(Arc::new(NoPrompt), 1);
    options.config_file = Some(server.client_config("here"));
    let target: SshTarget = "here".parse().unwrap();
    SshConnection::connect(&target, &options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_all_keeps_the_contract() {
    let server = Sshd::start("ForceCommand internal-sftp\nMaxSessions 100");
    let login = login(&server).await;
    conformance::all(async || Place::new(&login)).await;
}

/// Without most extensions there is less to ask for, and what there is holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_little_keeps_the_contract() {
    let denied = "fsync,hardlink,limits,lsetstat,statvfs";
    let config = format!("ForceCommand internal-sftp -P {denied}\nMaxSessions 100");
    let server = Sshd::start(&config);
    let login = login(&server).await;
    conformance::all(async || Place::new(&login)).await;
}
