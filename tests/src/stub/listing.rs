//! What the stub lists

use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata};
use xfer_protocol::path::RelPath;

use super::source::{CONTENT, LARGE};
use super::{Stub, from_hex};

/// Stands for a name that cannot be made here, and is as long; the real one is written over it
fn placeholder(name: &[u8]) -> Vec<u8> {
    let piece = limits::NAME_BYTES_MAX / 2;
    (1..=name.len())
        .map(|at| if at % piece == 0 && at < name.len() { b'/' } else { b'~' })
        .collect()
}

impl Stub {
    /// What stands there, in order
    pub(super) fn entries(&self) -> Vec<Entry> {
        let root = entry(b"", EntryKind::Directory, 1);
        let outside = EntryKind::Symlink { content: b"../outside".to_vec() };
        let vast = |size, allocated| entry(b"a", EntryKind::File { size, allocated }, 2);
        let below = || vec![entry(b"d", EntryKind::Directory, 2), file(b"d/passwd", 3)];
        let rest = match self.row.as_str() {
            "name" => vec![file(&placeholder(&from_hex(&self.argument)), 2)],
            "twice" => vec![file(b"a", 2), file(b"a", 3)],
            "backwards" => vec![file(b"b", 2), file(b"a", 3)],
            "root-twice" => vec![entry(b"", EntryKind::Directory, 1)],
            "orphan" => vec![file(b"d/x", 2)],
            "below-file" => vec![file(b"a", 2), file(b"a/b", 3)],
            "below-link" => vec![entry(b"d", outside, 2), file(b"d/passwd", 3)],
            "swap" | "inside" => below(),
            // Two names of one file.
            "links" | "false-link" => vec![file(b"a", 2), file(b"b", 2)],
            "false-block" | "swollen-block" => vec![large()],
            "bomb" => vec![vast(4 << 30, 0)],
            "vast" => vec![vast(limits::FILE_BYTES_MAX, u64::MAX), vast_too(b"b"), vast_too(b"c")],
            "deep" => deep(1000),
            "many" | "later" | "swollen" => many(),
            _ => vec![file(b"a", 2), large()],
        };
        [vec![root], rest].concat()
    }

    /// Writes the name that cannot be over the one that stands for it
    pub(super) fn rename(&self, bytes: &mut [u8]) {
        if self.row == "name" {
            let name = from_hex(&self.argument);
            let wrong = placeholder(&name);
            let at = bytes.windows(wrong.len()).position(|window| window == wrong);
            let at = at.expect("the placeholder");
            bytes[at..at + name.len()].copy_from_slice(&name);
        }
    }
}

fn vast_too(name: &[u8]) -> Entry {
    let size = limits::FILE_BYTES_MAX;
    entry(name, EntryKind::File { size, allocated: size }, 3)
}

/// Directories in each other
fn deep(depth: usize) -> Vec<Entry> {
    (1..=depth)
        .map(|depth| entry(&b"d/".repeat(depth)[..2 * depth - 1], EntryKind::Directory, 2))
        .collect()
}

/// Enough small files for many packs at once
fn many() -> Vec<Entry> {
    let directory = entry(b"d", EntryKind::Directory, 2);
    let files = (0..8192).map(|index| file(format!("d/{index:05}").as_bytes(), 3 + index));
    std::iter::once(directory).chain(files).collect()
}

fn large() -> Entry {
    entry(b"large", EntryKind::File { size: LARGE, allocated: LARGE }, 4)
}

fn file(path: &[u8], inode: u64) -> Entry {
    entry(path, EntryKind::File { size: CONTENT.len() as u64, allocated: 4096 }, inode)
}

fn entry(path: &[u8], kind: EntryKind, number: u64) -> Entry {
    let (mode, links) = match kind {
        EntryKind::File { .. } => (0o644, 2),
        _ => (0o755, 1),
    };
    let metadata = Metadata { mode, ..Metadata::default() };
    let inode = Inode { number, links, ..Inode::default() };
    Entry { path: RelPath::new(path).expect("a path"), kind, metadata, inode }
}
