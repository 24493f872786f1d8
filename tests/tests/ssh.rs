//! The SSH transport against a real sshd

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use xfer_core::transport::ssh::{
    HostKeyTrust, NoPrompt, SshConnection, SshError, SshOptions, SshTarget,
};
use xfer_tests::sshd::Sshd;

fn options(config: &Path) -> SshOptions {
    let mut options = SshOptions::new(Arc::new(NoPrompt), 1);
    options.config_file = Some(config.to_owned());
    options
}

async fn connect(options: &SshOptions, host: &str) -> Result<SshConnection, SshError> {
    SshConnection::connect(&host.parse::<SshTarget>().unwrap(), options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_stdin_stdout_stderr_and_status() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    assert_eq!(connection.host_key_trust(), HostKeyTrust::Known);
    let output = connection.run("cat; echo no >&2; exit 7", "to and fro", 100).await.unwrap();
    assert_eq!(output.stdout, b"to and fro");
    assert_eq!(output.stderr, b"no\n");
    assert_eq!(output.status, Some(7));
}
