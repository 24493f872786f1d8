//! The program between two trees, here or over a server of SSH

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use xfer_tests::random::Random;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Running, Xfer};

/// Which of the two trees is behind a login
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Here,
    Push,
    Pull,
}

impl Side {
    /// One case in ten is over SSH
    pub(crate) fn chosen(random: &mut Random) -> Self {
        match random.below(20) {
            0 => Self::Push,
            1 => Self::Pull,
            _ => Self::Here,
        }
    }
}

/// A server of SSH of its own for each worker, so that an agent is that of one case
pub(crate) struct Stand {
    pub(crate) server: Sshd,
}

/// A program with a home, and two trees
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) side: Side,
    pub(crate) source: PathBuf,
    pub(crate) there: PathBuf,
    flags: &'static [&'static str],
    xfer: Xfer,
    place: TempDir,
    keeps: AtomicBool,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self { server: Sshd::start("") }
    }

    pub(crate) fn round(&self, side: Side, flags: &'static [&'static str]) -> Round {
        let place = tempfile::Builder::new().prefix("pair-").tempdir().expect("temp dir");
        let [source, there] = ["source", "there"].map(|name| place.path().join(name));
        for root in [&source, &there] {
            fs::create_dir(root).expect("create");
        }
        let xfer = Xfer::new().ssh_config(self.server.client_config("host"));
        Round { side, source, there, flags, xfer, place, keeps: AtomicBool::new(false) }
    }
}

impl Round {
    fn words(&self) -> Vec<OsString> {
        let location = |path: &Path, is_far: bool| {
            let mut location = OsString::from(if is_far { "host:" } else { "" });
            location.push(path);
            location
        };
        let mut source = location(&self.source, self.side == Side::Pull);
        source.push("/");
        let there = location(&self.there, self.side == Side::Push);
        let fixed = ["sync", "--json", "--max-delete", "100000", "--allow-secrets"];
        let words = fixed.iter().chain(self.flags).map(OsString::from);
        words.chain([source, there]).collect()
    }

    pub(crate) fn start(&self) -> Running {
        self.xfer.start(self.words())
    }

    pub(crate) fn run(&self) -> Ended {
        self.xfer.run(self.words())
    }

    /// Lets the trees stay when this ends
    pub(crate) fn keep(&self) -> &Path {
        self.keeps.store(true, Ordering::Relaxed);
        self.place.path()
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.place.disable_cleanup(self.keeps.load(Ordering::Relaxed));
    }
}
