//! Programs that others wrote, where `.ci/servers` puts them

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::xfer::Running;

/// Where they lie
fn directory() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project");
    match std::env::var_os("XFER_TEST_SERVERS") {
        Some(directory) => project.join(directory),
        None => project.join("target/test-servers"),
    }
}

/// One that came from PyPI; panics where it is missing
pub(super) fn from_pypi(name: &str) -> PathBuf {
    present(directory().join("venv/bin").join(name))
}

/// The Python with the libraries that write files of every kind; panics where it is missing
pub fn corpora_python() -> PathBuf {
    present(directory().join("corpora/bin/python"))
}

/// A file that came from npm; panics where it is missing
pub(super) fn from_npm(path: &str) -> PathBuf {
    present(directory().join("npm/node_modules").join(path))
}

fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; install it: bash .ci/servers", path.display());
    path
}

/// A command that sees no credentials but those, and asks no address of a cloud
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("LANG", "C.UTF-8").env("TZ", "UTC");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", "/dev/null");
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null").env("RCLONE_CONFIG", "/dev/null");
    command
}

/// Starts it, and waits for the line that says where it listens: what follows `before`
pub(super) fn listening(plain: &Command, before: &str) -> (Running, u16) {
    let mut both = Command::new("sh");
    both.args([OsStr::new("-c"), OsStr::new("exec \"$0\" \"$@\" 2>&1"), plain.get_program()]);
    both.args(plain.get_args()).env_clear().stdin(Stdio::null());
    both.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let running = Running::start(both);
    let Some(line) = running.next_line(|line| line.contains(before)) else {
        let ended = running.wait();
        panic!("{:?} did not start:\n{}", plain.get_program(), ended.stdout);
    };
    let port = line.split(before).nth(1).map(|rest| rest.trim_matches(|c| c == '/' || c == ' '));
    let port = port.and_then(|port| port.parse().ok());
    (running, port.unwrap_or_else(|| panic!("no port in {line:?}")))
}
