//! Who makes a destination equal to a source, and by which command

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use xfer_tests::xfer::Xfer;

use super::HOST;

/// A program that syncs trees over ssh
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrant {
    Xfer,
    Rsync,
    /// With `--fuzzy`, which looks for another name in the same directory
    RsyncFuzzy,
    Syq,
    Rclone,
    Unison,
}

/// What a command needs of the world
#[derive(Debug)]
pub(super) struct Ways<'a> {
    pub(super) xfer: &'a Xfer,
    pub(super) ssh_config: &'a Path,
    /// The port of 127.0.0.1 by way of which the server is counted
    pub(super) port: u16,
    pub(super) user_key: &'a Path,
    /// A directory for what a program remembers and tells
    pub(super) notes: &'a Path,
}

/// One sync of the contents of a directory here into one there
#[derive(Clone, Copy, Debug)]
pub(super) struct Move<'a> {
    pub(super) here: &'a Path,
    pub(super) there: &'a Path,
    /// Whether what the source does not have is deleted
    pub(super) deletes: bool,
}

impl Entrant {
    pub(super) const ALL: [Self; 6] =
        [Self::Xfer, Self::Rsync, Self::RsyncFuzzy, Self::Syq, Self::Rclone, Self::Unison];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xfer => "xfer",
            Self::Rsync => "rsync",
            Self::RsyncFuzzy => "rsync-fuzzy",
            Self::Syq => "syq",
            Self::Rclone => "rclone",
            Self::Unison => "unison",
        }
    }

    /// Whether it remembers what was equal, so that a first run is not like the next
    pub(super) fn remembers(self) -> bool {
        matches!(self, Self::Xfer | Self::Unison)
    }

    /// The program, where it is installed
    pub(super) fn program(self, places: &[PathBuf]) -> Option<PathBuf> {
        let name = match self {
            Self::Xfer => return Some(xfer_tests::xfer::binary().to_path_buf()),
            Self::RsyncFuzzy => "rsync",
            _ => self.name(),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = places.iter().cloned().chain(std::env::split_paths(&path));
        places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()))
    }

    /// What the program says of its version
    pub(super) fn version(self, program: &Path) -> String {
        let flag = match self {
            Self::Rclone => "version",
            Self::Unison => "-version",
            _ => "--version",
        };
        let output = Command::new(program).arg(flag).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    }

    /// The command of one sync; all of them keep times, and believe size and time
    pub(super) fn command(self, program: &Path, ways: &Ways<'_>, wanted: Move<'_>) -> Command {
        let remote_shell = format!("ssh -F {}", ways.ssh_config.display());
        let contents = joined([wanted.here.as_os_str(), "/".as_ref()]);
        let far = joined([HOST.as_ref(), ":".as_ref(), wanted.there.as_os_str(), "/".as_ref()]);
        let mut command = match self {
            Self::Xfer => return own(ways, wanted, contents, far),
            Self::Rclone => return rclone(program, ways, wanted),
            Self::Unison => return unison(program, ways, wanted),
            Self::Syq => {
                let mut command = Command::new(program);
                command.args(["rsync", "-a", "--syq-no-tcp", "--syq-no-bootstrap"]);
                command.arg("--rsync-path").arg(program);
                command
            }
            Self::Rsync | Self::RsyncFuzzy => {
                let mut command = Command::new(program);
                command.arg("-a");
                command
            }
        };
        if self == Self::RsyncFuzzy {
            command.arg("--fuzzy");
        }
        if wanted.deletes {
            // While a file that goes is there, it may be copied from.
            command.arg("--delete-after");
        }
        command.arg("-e").arg(remote_shell).arg(contents).arg(far);
        command
    }
}

fn own(ways: &Ways<'_>, wanted: Move<'_>, contents: OsString, far: OsString) -> Command {
    let words = ["sync", "-q", "--route", "ssh", "--verify", "received", "--quick", "--events"];
    let mut words: Vec<_> = words.into_iter().map(OsString::from).collect();
    words.push(ways.notes.join("events").into_os_string());
    if wanted.deletes {
        words.extend(["--delete", "--max-delete", "9"].map(OsString::from));
    }
    words.extend([contents, far]);
    ways.xfer.command(words)
}

fn rclone(program: &Path, ways: &Ways<'_>, wanted: Move<'_>) -> Command {
    let mut command = Command::new(program);
    command.args([if wanted.deletes { "sync" } else { "copy" }, "-q"]);
    // Its own numbers are 8 and 4.
    command.args(["--checkers", "16", "--transfers", "16"]);
    command.args(["--sftp-host", "127.0.0.1", "--sftp-user", "root"]);
    command.args(["--sftp-shell-type", "unix", "--sftp-port", &ways.port.to_string()]);
    command.arg("--sftp-key-file").arg(ways.user_key).env("RCLONE_CONFIG", "/dev/null");
    command.arg(wanted.here).arg(joined([":sftp:".as_ref(), wanted.there.as_os_str()]));
    command
}

/// It syncs both ways, so it is told which side is right
fn unison(program: &Path, ways: &Ways<'_>, wanted: Move<'_>) -> Command {
    let mut command = Command::new(program);
    command.env("UNISON", ways.notes.join("unison"));
    let far = joined(["ssh://".as_ref(), HOST.as_ref(), "/".as_ref(), wanted.there.as_os_str()]);
    command.arg(wanted.here).arg(far);
    command.args(["-batch", "-silent", "-times", "-fastcheck", "true", "-confirmbigdel=false"]);
    command.arg("-sshargs").arg(format!("-F {}", ways.ssh_config.display()));
    command.arg("-force").arg(wanted.here);
    command
}

fn joined<const COUNT: usize>(parts: [&std::ffi::OsStr; COUNT]) -> OsString {
    parts.into_iter().collect()
}
