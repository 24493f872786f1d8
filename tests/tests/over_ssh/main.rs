//! The program over a real sshd, judged by rsync, b3sum and lstat

mod arrival;
mod beginning;
mod concurrent;
mod holes;
mod hostile;
mod kills;
mod logins;
mod memory;
mod refusals;
mod sftp;
mod space;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::Xfer;

/// A server called `host`, a home from which it is reached, and a place for trees
struct Pair {
    server: Sshd,
    xfer: Xfer,
    place: TempDir,
}

impl Pair {
    fn new() -> Self {
        Self::with("")
    }

    /// The same with lines of sshd_config
    fn with(config: &str) -> Self {
        let server = Sshd::start(config);
        let xfer = Xfer::new().ssh_config(server.client_config("host"));
        Self { server, xfer, place: TempDir::new().expect("temp dir") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }
}

/// A path as the server called `host` sees it
fn remote(path: &Path) -> OsString {
    with_prefix("host:", path)
}

/// The contents of a directory, not the directory itself
fn inside(path: impl Into<OsString>) -> OsString {
    let mut text = path.into();
    text.push("/");
    text
}

fn with_prefix(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// The verb and its arguments, with events on standard output
fn arguments<'a>(
    verb: &str,
    flags: &[&str],
    locations: impl IntoIterator<Item = &'a OsString>,
) -> Vec<OsString> {
    let mut all = vec![OsString::from(verb), OsString::from("--json")];
    all.extend(flags.iter().map(OsString::from));
    all.extend(locations.into_iter().cloned());
    all
}

/// A number of an event
fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or_else(|| panic!("no number {name:?} in {event}"))
}
