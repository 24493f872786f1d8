//! Trees that grow from a seed: awkward names, links, holes, and content that many files share

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use xfer_tests::random::Random;
use xfer_tests::{awkward, tree};

use crate::edits::edit;
use crate::{entries, index};

/// What all files are cut from
const STOCK: usize = 8 << 20;

/// What no edit and no other tree takes, so that never all of it goes
const KEPT: &str = "kept";

/// Names that both trees are likely to have
const USUAL: [&str; 12] =
    ["a", "b", "c", "d", "e", "f", "step-1.pt", "step-2.pt", "log", "a-b", "a.b", "ab"];

const FILE_MODES: [u32; 8] = [0o644, 0o644, 0o644, 0o600, 0o755, 0o400, 0o000, 0o1666];
const DIRECTORY_MODES: [u32; 6] = [0o755, 0o755, 0o700, 0o500, 0o777, 0o1777];

/// Seconds and nanoseconds that many files share
const TIMES: [(i64, i64); 4] =
    [(1_000_000_000, 0), (1_000_000_000, 1), (1_500_000_000, 500), (-5, 7)];

/// Makes what it is asked for, by chance
pub(crate) struct Grower {
    pub(crate) random: Random,
    /// Whether large files are many: what is common is looked for where a link is between
    has_large: bool,
}

impl Grower {
    pub(crate) fn new(seed: u64, has_large: bool) -> Self {
        Self { random: Random::new(seed), has_large }
    }

    /// A source, and what stands at its destination: nothing, another tree, or an older state
    pub(crate) fn pair(&mut self, source: &Path, there: &Path) {
        self.tree(source);
        match self.random.below(4) {
            0 => {}
            1 => self.tree(there),
            _ => {
                let from = source.join(".");
                let copied = Command::new("cp").arg("-a").arg(from).arg(there).status();
                assert!(copied.expect("cp").success());
                let edits = 1 + self.random.below(10);
                edit(there, edits, self);
            }
        }
        if self.random.happens(0.5) {
            self.time(source);
        }
    }

    fn tree(&mut self, root: &Path) {
        tree::write(&root.join(KEPT), b"kept\n");
        for _ in 0..self.random.below(24) {
            self.entry(root);
        }
    }

    /// A new entry anywhere below a root
    pub(crate) fn entry(&mut self, root: &Path) {
        let at = self.free_name(root);
        match self.random.below(20) {
            0..=3 => {
                fs::create_dir(&at).expect("make a directory");
                if self.random.happens(0.3) {
                    let mode = DIRECTORY_MODES[index(&mut self.random, DIRECTORY_MODES.len())];
                    tree::set_mode(&at, mode);
                }
            }
            4..=5 => self.link(&at),
            6..=7 => match self.any_file(root) {
                Some(file) => fs::hard_link(file, &at).expect("make a hard link"),
                None => self.file(&at),
            },
            _ => self.file(&at),
        }
    }

    pub(crate) fn file(&mut self, at: &Path) {
        match self.random.below(12) {
            0 => self.sparse(at),
            _ => tree::write(at, &self.content()),
        }
        if self.random.happens(0.3) {
            let mode = FILE_MODES[index(&mut self.random, FILE_MODES.len())];
            tree::set_mode(at, mode);
        }
        if self.random.happens(0.5) {
            self.time(at);
        }
    }

    pub(crate) fn link(&mut self, at: &Path) {
        let targets = [&b"kept"[..], b"..", b"nowhere", b"a", b"\xff\n", b"/etc/passwd", b"."];
        let target = targets[index(&mut self.random, targets.len())];
        symlink(OsStr::from_bytes(target), at).expect("make a symbolic link");
    }

    pub(crate) fn time(&mut self, at: &Path) {
        let (seconds, nanoseconds) = TIMES[index(&mut self.random, TIMES.len())];
        tree::set_modified(at, seconds, nanoseconds);
    }

    /// Bytes cut from what all files are cut from, some of them new
    pub(crate) fn content(&mut self) -> Vec<u8> {
        let length = self.length();
        let mut content = Vec::with_capacity(length);
        while content.len() < length {
            let piece = (length - content.len()).min(64 + index(&mut self.random, 1 << 20));
            if self.random.happens(0.1) {
                content.extend(self.random.bytes(piece.min(4096)));
            } else if self.random.happens(0.1) {
                content.resize(content.len() + piece, 0);
            } else {
                // On a coarse grid two files have a piece in common more often.
                let start = index(&mut self.random, 16) * (STOCK / 32);
                content.extend_from_slice(&stock()[start..start + piece]);
            }
        }
        content
    }

    /// Bytes of a new file
    fn length(&mut self) -> usize {
        let large = if self.has_large { 5 } else { 1 };
        let most = match self.random.below(24) {
            0..=3 => return 0,
            at if at >= 24 - large => 4 << 20,
            20..=21 => 400_000,
            12..=19 => 20_000,
            _ => 300,
        };
        1 + index(&mut self.random, most)
    }

    /// A hole with something in it, which begins and ends as chance has it
    fn sparse(&mut self, at: &Path) {
        let length = 1 + self.random.below(3 << 20);
        let file = File::create(at).expect("create");
        file.set_len(length).expect("set the length");
        for _ in 0..self.random.below(3) {
            let offset = self.random.below(length);
            let bytes = self.random.bytes(5000);
            file.write_all_at(&bytes, offset).expect("write between holes");
        }
    }

    /// A regular file below a root that may be edited
    pub(crate) fn any_file(&mut self, root: &Path) -> Option<PathBuf> {
        self.any(root, |path| path.symlink_metadata().is_ok_and(|facts| facts.is_file()))
    }

    /// An entry below a root that may be edited
    pub(crate) fn any(
        &mut self,
        root: &Path,
        wanted: impl Fn(&PathBuf) -> bool,
    ) -> Option<PathBuf> {
        let mut found = entries(root);
        found.retain(|path| *path != root.join(KEPT) && wanted(path));
        if found.is_empty() { None } else { Some(found.swap_remove(self.below(found.len()))) }
    }

    fn below(&mut self, length: usize) -> usize {
        index(&mut self.random, length)
    }

    /// A name that nothing bears, in any directory
    pub(crate) fn free_name(&mut self, root: &Path) -> PathBuf {
        let is_directory =
            |path: &PathBuf| path.symlink_metadata().is_ok_and(|facts| facts.is_dir());
        let above = match self.random.below(3) {
            0 => root.to_path_buf(),
            _ => self.any(root, is_directory).unwrap_or_else(|| root.to_path_buf()),
        };
        loop {
            let at = above.join(OsStr::from_bytes(&self.name()));
            if at.symlink_metadata().is_err() {
                return at;
            }
        }
    }

    fn name(&mut self) -> Vec<u8> {
        static AWKWARD: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        if self.random.happens(0.7) {
            let number = self.random.below(4);
            let name = USUAL[index(&mut self.random, USUAL.len())];
            return if number == 0 { name.into() } else { format!("{name}{number}").into_bytes() };
        }
        let names = AWKWARD.get_or_init(awkward::names);
        names[index(&mut self.random, names.len())].clone()
    }
}

fn stock() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| Random::new(1).bytes(STOCK))
}
