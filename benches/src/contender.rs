//! Who races, and the command by which each moves a tree

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::Lab;

/// A program that moves trees over ssh, or ssh alone as the measure of a login
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Xfer,
    Tar,
    Scp,
    Rsync,
    Syq,
    Mscp,
    Rclone,
    SshTrue,
}

/// Which end is far
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Push,
    Pull,
}

/// One move of `source` to its own name in the directory `destination`
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) source: PathBuf,
    pub(crate) destination: PathBuf,
    pub(crate) direction: Direction,
    /// Whether what was written is synced
    pub(crate) synced: bool,
}

impl Contender {
    pub(crate) const ALL: [Self; 8] = [
        Self::Xfer,
        Self::Tar,
        Self::Scp,
        Self::Rsync,
        Self::Syq,
        Self::Mscp,
        Self::Rclone,
        Self::SshTrue,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xfer => "xfer",
            Self::Tar => "tar",
            Self::Scp => "scp",
            Self::Rsync => "rsync",
            Self::Syq => "syq",
            Self::Mscp => "mscp",
            Self::Rclone => "rclone",
            Self::SshTrue => "ssh",
        }
    }

    /// The program, where it is installed
    pub(crate) fn program(self) -> Option<PathBuf> {
        if self == Self::Xfer {
            return Some(xfer_tests::xfer::binary().to_path_buf());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|place| place.join(self.name()));
        found.into_iter().find(|path| path.is_file())
    }

    /// What the program says of its version
    pub(crate) fn version(self) -> String {
        let flag = match self {
            Self::Rclone => "version",
            Self::SshTrue | Self::Scp => "-V",
            _ => "--version",
        };
        let program = if self == Self::Scp { Some("ssh".into()) } else { self.program() };
        let Some(output) = program.and_then(|path| Command::new(path).arg(flag).output().ok())
        else {
            return String::new();
        };
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    }

    /// The command of one move
    pub(crate) fn command(self, lab: &Lab, wanted: &Move) -> Command {
        let (from, to) = wanted.ends();
        let remote_shell = format!("ssh -F {}", lab.ssh_config().display());
        let with = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        let mut command = match self {
            Self::Xfer => return lab.xfer().command(wanted.xfer()),
            Self::Tar => return tar(lab, wanted),
            Self::Rclone => return rclone(lab, wanted),
            Self::SshTrue => {
                let mut command = with("ssh", &["-F"]);
                command.arg(lab.ssh_config()).args([Lab::HOST, "true"]);
                return command;
            }
            Self::Scp => with("scp", &["-q", "-r", "-p"]),
            Self::Mscp => with("mscp", &["-q", "-p"]),
            Self::Rsync => with("rsync", &["-a", "-e", &remote_shell]),
            Self::Syq => with(
                "syq",
                &["rsync", "-a", "--syq-no-tcp", "--syq-no-bootstrap", "-e", &remote_shell],
            ),
        };
        match self {
            Self::Scp | Self::Mscp => drop(command.arg("-F").arg(lab.ssh_config())),
            Self::Syq => drop(command.arg("--rsync-path").args(self.program())),
            Self::Rsync if wanted.synced => drop(command.arg("--fsync")),
            _ => {}
        }
        command.arg(from).arg(to);
        command
    }

    /// The same without being held to ssh
    pub(crate) fn by_any_route(self, lab: &Lab, wanted: &Move) -> Command {
        let held = self.command(lab, wanted);
        if self != Self::Syq {
            return held;
        }
        let mut free = Command::new(held.get_program());
        free.args(held.get_args().filter(|argument| *argument != "--syq-no-tcp"));
        free
    }
}

impl Move {
    /// Where what was moved stands
    pub(crate) fn landed(&self) -> PathBuf {
        self.destination.join(self.source.file_name().unwrap_or_default())
    }

    /// The program's own arguments
    pub(crate) fn xfer(&self) -> Vec<OsString> {
        let (from, to) = self.ends();
        let verb = if self.direction == Direction::Push { "push" } else { "pull" };
        let level = if self.synced { "durable" } else { "received" };
        let words = [verb, "-q", "--verify", level].map(OsString::from);
        words.into_iter().chain([from, to]).collect()
    }

    fn ends(&self) -> (OsString, OsString) {
        let (from, mut to) = (self.source.clone().into_os_string(), self.destination.clone());
        to.push("");
        match self.direction {
            Direction::Push => (from, far(&to)),
            Direction::Pull => (far(&self.source), to.into_os_string()),
        }
    }
}

fn far(path: &Path) -> OsString {
    let mut text = OsString::from(Lab::HOST);
    text.push(":");
    text.push(path);
    text
}

/// Both tars and the pipe between them; a failure of either is a failure of the whole
fn tar(lab: &Lab, wanted: &Move) -> Command {
    let script = match wanted.direction {
        Direction::Push => {
            "tar -C \"$1\" -cf - \"$2\" | ssh -F \"$4\" \"$5\" \"tar -C '$3' -xf -\""
        }
        Direction::Pull => "ssh -F \"$4\" \"$5\" \"tar -C '$1' -cf - '$2'\" | tar -C \"$3\" -xf -",
    };
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -o pipefail; {script}"), "bash"]);
    command.args(wanted.source.parent()).args(wanted.source.file_name());
    command.arg(&wanted.destination).arg(lab.ssh_config()).arg(Lab::HOST);
    command
}

fn rclone(lab: &Lab, wanted: &Move) -> Command {
    // Of a directory rclone copies the contents.
    let to = match wanted.source.is_dir() {
        true => wanted.landed(),
        false => wanted.destination.clone(),
    };
    let far = |path: &Path| {
        let mut text = OsString::from(":sftp:");
        text.push(path);
        text
    };
    let mut command = Command::new("rclone");
    command.args(["copy", "-q", "--sftp-host", "127.0.0.1", "--sftp-user", "root"]);
    command.args(["--sftp-shell-type", "unix", "--sftp-port", &lab.port().to_string()]);
    command.arg("--sftp-key-file").arg(lab.user_key()).env("RCLONE_CONFIG", "/dev/null");
    match wanted.direction {
        Direction::Push => command.arg(&wanted.source).arg(far(&to)),
        Direction::Pull => command.arg(far(&wanted.source)).arg(to),
    };
    command
}
