//! The SSH transport against a real sshd

#![allow(clippy::unwrap_used)]

mod again;
mod channels;
mod host_keys;
mod liveness;
mod login;
mod negotiation;
mod routes;

use std::path::Path;
use std::sync::Arc;

use xfer_core::transport::ssh::{NoPrompt, SshConnection, SshError, SshOptions, SshTarget};

/// Options that read `config` and no file of the machine's own
fn options(config: &Path) -> SshOptions {
    let mut options = SshOptions::new(Arc::new(NoPrompt), 1);
    options.config_file = Some(config.to_owned());
    options
}

async fn connect(options: &SshOptions, host: &str) -> Result<SshConnection, SshError> {
    SshConnection::connect(&host.parse::<SshTarget>().unwrap(), options).await
}

/// Connects and runs `echo` there
async fn echo(options: &SshOptions, host: &str) -> Result<Vec<u8>, SshError> {
    let output = connect(options, host).await?.run("echo here", "", 100).await?;
    Ok(output.stdout)
}
