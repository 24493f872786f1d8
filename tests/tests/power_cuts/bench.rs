//! A tree, a disk to which it is copied, and who copies

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xfer_tests::medium::Medium;
use xfer_tests::oracle;
use xfer_tests::random::Random;
use xfer_tests::sshd::Sshd;
use xfer_tests::tree;
use xfer_tests::xfer::{Running, Xfer};

const MIB: usize = 1 << 20;

/// The disk's size in MiB: room for the new and the old of everything, and for what is staged
const MEDIUM: u64 = 128;

/// Files that only get another name
pub(crate) const RENAMED: i64 = 150;

/// Where the disk is
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Here,
    /// At a machine that is reached by a login
    Ssh,
}

pub(crate) struct Bench {
    side: Side,
    verb: &'static str,
    pub(crate) medium: Medium,
    pub(crate) xfer: Xfer,
    server: Option<Sshd>,
    room: TempDir,
    /// Where that is not on the disk
    there: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn new(side: Side) -> Self {
        // A server sees what was mounted before it.
        let medium = Medium::new(MEDIUM);
        let server = (side == Side::Ssh).then(|| Sshd::start(""));
        let xfer = match &server {
            Some(server) => Xfer::new().ssh_config(server.client_config("host")),
            None => Xfer::new(),
        };
        let room = tempfile::tempdir().expect("temp dir");
        let verb = "push";
        let bench = Self { side, verb, medium, xfer, server, room, there: None };
        plant(&bench.source(), 1);
        bench.medium.directory("there");
        bench.medium.sync();
        bench
    }

    /// One that copies here, on a disk that only has what the program remembers of it
    pub(crate) fn of_state() -> Self {
        let bench = Self::new(Side::Here);
        let (state, place) = (bench.medium.directory("state"), bench.room.path().join("there"));
        fs::create_dir(&place).expect("a directory");
        bench.medium.sync();
        let Self { verb, medium, xfer, room, .. } = bench;
        let xfer = xfer.env("XDG_STATE_HOME", state);
        Self { side: Side::Here, verb, medium, xfer, server: None, room, there: Some(place) }
    }

    /// One whose destination has another version of everything
    pub(crate) fn with_old(side: Side) -> Self {
        let bench = Self::new(side);
        plant(&bench.there(), 2);
        bench.medium.sync();
        bench
    }

    /// One of which a directory with many small files has another name at the destination
    pub(crate) fn with_renamed(side: Side) -> Self {
        let bench = Self { verb: "sync", ..Self::with_old(side) };
        for (root, name) in [(bench.source(), "new"), (bench.there(), "old")] {
            fs::create_dir(root.join(name)).expect("a directory");
            for number in 0..RENAMED {
                let path = root.join(format!("{name}/{number}"));
                tree::write(&path, format!("content {number}").as_bytes());
                tree::set_modified(&path, 1_700_000_000 + number, 0);
            }
        }
        bench.medium.sync();
        bench
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.room.path().join("source")
    }

    pub(crate) fn there(&self) -> PathBuf {
        self.there.clone().unwrap_or_else(|| self.medium.place().join("there"))
    }

    /// Where the program remembers
    pub(crate) fn state(&self) -> PathBuf {
        self.medium.place().join("state/xfer")
    }

    pub(crate) fn start(&self, flags: &[&str]) -> Running {
        let source = format!("{}/", self.source().display());
        let far = if self.side == Side::Ssh { "host:" } else { "" };
        let there = format!("{far}{}", self.there().display());
        let words = [self.verb, "--json", "--retries", "0", "--allow-secrets"];
        let words = words.iter().chain(flags).copied();
        self.xfer.start(words.chain([&*source, &*there]))
    }

    /// Gives the disk its power again, and its machine
    pub(crate) fn power(&mut self) {
        let halted = self.server.take().map(Sshd::halt);
        self.medium.mount_again();
        self.server = halted.map(|halted| halted.start(""));
    }

    /// Panics unless what every receipt proves is there
    pub(crate) fn assert_receipts_hold(&self) {
        let receipts = fs::read_dir(self.xfer.state().join("receipts"));
        for receipt in receipts.into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
            if receipt.extension().is_none_or(|kind| kind != "ndjson") {
                continue;
            }
            let receipt = receipt.into_os_string().into_string().expect("UTF-8");
            // Whoever has a receipt reads it.
            let sums = Xfer::new().run(["receipt", "export", &*receipt]).expect_code(0).stdout;
            let manifest = self.room.path().join("sums");
            fs::write(&manifest, sums).expect("write");
            oracle::assert_b3sum(&manifest, &self.there());
        }
    }
}

/// 24 files of every kind of way: packed, in blocks, linked; and what is no file
fn plant(root: &Path, version: u64) {
    let mut random = Random::new(version);
    for directory in ["d0", "d1", "d2", "d3", "none"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for number in 0..18 {
        let size = usize::try_from(random.below(20_000)).expect("small");
        let content = random.bytes(1 + size);
        tree::write(&root.join(format!("d{}/small-{number}", number % 4)), &content);
    }
    // Of the same size in every version.
    tree::write(&root.join("d0/counter"), format!("{version:08}").as_bytes());
    tree::write(&root.join("empty"), b"");
    for (name, size) in [("medium", MIB / 3), ("d1/large", 5 * MIB), ("d2/larger", 9 * MIB + 1)] {
        tree::write(&root.join(name), &random.bytes(size));
    }
    symlink(format!("target-{version}"), root.join("link")).expect("a link");
    fs::hard_link(root.join("medium"), root.join("d3/second")).expect("a link");
}

/// What stands below a directory that is no directory and not the program's own, by path
pub(crate) fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("list").map(|entry| entry.expect("an entry")) {
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            if kind.is_dir() {
                left.push(path);
                continue;
            }
            let bytes = match kind.is_symlink() {
                true => fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes(),
                false => fs::read(&path).expect("read"),
            };
            if !entry.file_name().to_string_lossy().starts_with(".xfer-") {
                found.insert(path.strip_prefix(root).expect("below").to_path_buf(), bytes);
            }
        }
    }
    found
}
