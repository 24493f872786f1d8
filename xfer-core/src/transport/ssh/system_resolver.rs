//! Asks the installed ssh what a host means: `ssh -G`

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use xfer_protocol::path::Escaped;

use super::environment::without_keys;
use super::error::ConfigurationProblem;
use super::options::SshOptions;
use super::settings::Settings;
use super::target::SshTarget;
use super::tuning::{CONFIG_BYTES_MAX, RESOLVE_WITHIN};

/// Runs `ssh -G`; `None` when no ssh is installed
pub(super) async fn resolve(
    target: &SshTarget,
    options: &SshOptions,
) -> Result<Option<Settings>, ConfigurationProblem> {
    let spawned = without_keys(Command::new(&options.ssh_program))
        .args(arguments(target, options))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigurationProblem::NotRun(error)),
        Ok(child) => child,
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let finished = async { tokio::join!(read(stdout), read(stderr), child.wait()) };
    let (stdout, stderr, status) = tokio::time::timeout(RESOLVE_WITHIN, finished)
        .await
        .map_err(|_| ConfigurationProblem::TimedOut(RESOLVE_WITHIN))?;
    let status = status.map_err(ConfigurationProblem::NotRun)?;
    if !status.success() {
        let text = String::from_utf8_lossy(&stderr);
        let said = text.lines().find(|line| !line.starts_with("Pseudo-terminal"));
        let said = Escaped(said.unwrap_or("it gave no reason").as_bytes()).to_string();
        return Err(ConfigurationProblem::Refused(said));
    }
    let stdout = String::from_utf8(stdout)
        .map_err(|_| ConfigurationProblem::Refused("its answer is not text in UTF-8".to_owned()))?;
    Ok(Some(Settings::parse(&stdout)))
}

/// The argument list; nothing in it is read by a shell, and the host stands behind `--`
fn arguments(target: &SshTarget, options: &SshOptions) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-G".into(), "-T".into()];
    if let Some(path) = &options.config_file {
        arguments.extend(["-F".into(), path.into()]);
    }
    if let Some(jump) = &options.jump {
        arguments.extend(["-J".into(), jump.into()]);
    }
    if let Some(port) = target.port().or(options.port) {
        arguments.extend(["-p".into(), port.to_string().into()]);
    }
    if let Some(user) = target.user() {
        arguments.extend(["-l".into(), user.into()]);
    }
    for identity in &options.identities {
        arguments.extend(["-i".into(), identity.into()]);
    }
    for option in &options.options {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["--".into(), target.host().into()]);
    arguments
}

async fn read(source: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        // What was read before an error is all that there is to show.
        drop(source.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes).await);
    }
    bytes
}
