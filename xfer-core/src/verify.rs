//! What was proven: expectations read from receipts and checksum files, and judged entry by entry.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::ops::Bound;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::EntryKind;
use xfer_protocol::path::RelPath;

use crate::receipt::{ReceiptError, ReceiptReader, parse_digest};

/// Bytes in one line of a checksum file.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What is expected of a tree, entry by entry, below some root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    entries: BTreeMap<RelPath, Expectation>,
    /// Whether files alone are spoken of, as by `b3sum`.
    files_only: bool,
    /// Entries of a receipt that failed, of which it says nothing else.
    failed: u64,
    /// The destination's root that a receipt names; nothing for other manifests.
    root: Option<Vec<u8>>,
}

/// What is expected of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// A file whose bytes have this digest.
    Bytes(Digest),
    /// A file of that many bytes, of which nobody proved what they are.
    Unproven(u64),
    /// An entry without bytes of its own: this very one.
    Kind(EntryKind),
}

impl Expectation {
    /// What a manifest, or a look at another location, makes one expect.
    #[must_use]
    pub fn of(kind: &EntryKind, digest: Option<Digest>) -> Self {
        match (kind, digest) {
            (EntryKind::File { .. }, Some(digest)) => Self::Bytes(digest),
            (EntryKind::File { size, .. }, None) => Self::Unproven(*size),
            (other, _) => Self::Kind(other.clone()),
        }
    }
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is a receipt, and no good one.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// It is a checksum file with a line that is none.
    #[error("line {line} is neither of a receipt nor of b3sum")]
    BadLine {
        /// Counts from 1.
        line: u64,
    },
    /// It names what does not lie below a root, or one file twice with two digests.
    #[error("line {line} names no file of its own below a root")]
    Unsafe {
        /// Counts from 1.
        line: u64,
    },
    /// It names a file and something below it.
    #[error("it names {0} as a file, and something below that")]
    BelowFile(RelPath),
    /// It names nothing that could be compared.
    #[error("it names no file")]
    Empty,
}

impl Expected {
    /// Reads a receipt or the output of `b3sum`, whichever it is.
    pub fn read(mut text: impl BufRead) -> Result<Self, ManifestError> {
        let begins_as_json = text.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&b'{'));
        let expected = if begins_as_json { receipt(text)? } else { checksums(text)? };
        if expected.entries.is_empty() { Err(ManifestError::Empty) } else { Ok(expected) }
    }

    /// Expects exactly these entries.
    #[must_use]
    pub fn of_entries(entries: BTreeMap<RelPath, Expectation>) -> Self {
        Self { entries, ..Self::default() }
    }

    /// The same for a root that lies below, or above, the one that a receipt names, and there for
    /// what lies at or below `under`.
    #[must_use]
    pub fn seen_from(mut self, found_root: &[u8], under: &RelPath) -> Self {
        let Some(named) = self.root.take() else { return self };
        let below = |path: &[u8], root: &[u8]| {
            let rest = path.strip_prefix(root)?;
            let rest = rest.strip_prefix(b"/").or_else(|| root.ends_with(b"/").then_some(rest))?;
            RelPath::new(rest).ok()
        };
        let entries = std::mem::take(&mut self.entries).into_iter();
        self.entries = if let Some(inner) = below(found_root, &named) {
            entries.filter_map(|(path, what)| Some((path.strip_prefix(&inner)?, what))).collect()
        } else if let Some(outer) = below(&named, found_root) {
            entries.filter_map(|(path, what)| Some((outer.join(&path).ok()?, what))).collect()
        } else {
            entries.collect()
        };
        self.entries.retain(|path, _| path.starts_with(under));
        self
    }

    /// Expects these of them alone.
    pub fn retain(&mut self, mut is_meant: impl FnMut(&RelPath) -> bool) {
        self.entries.retain(|path, _| is_meant(path));
    }

    /// Entries that a receipt counts as failed: whatever else is equal, it proves nothing of these.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Judges an entry that was found, with its digest where it is a file; each can be judged once,
    /// and those above an entry before it.
    pub fn judge(
        &mut self,
        path: &RelPath,
        found: &EntryKind,
        digest: Option<Digest>,
    ) -> Judgement {
        let is_file = matches!(found, EntryKind::File { .. });
        let different = |kind, during| Judgement::Different(Fault::new(kind, during, path.clone()));
        let other_kind = || different(FaultKind::Conflict, Operation::Stat);
        match self.entries.remove(path) {
            None if self.files_only && !is_file || self.leads_to_expected(path) => {
                Judgement::Beside
            }
            None => Judgement::Unexpected,
            Some(Expectation::Bytes(_) | Expectation::Unproven(_)) if !is_file => other_kind(),
            Some(Expectation::Bytes(expected)) if digest == Some(expected) => Judgement::Equal,
            Some(Expectation::Bytes(_)) => different(FaultKind::Mismatch, Operation::Hash),
            Some(Expectation::Unproven(size)) if size != found.size() => {
                different(FaultKind::Mismatch, Operation::Stat)
            }
            // There are no bytes that could be others.
            Some(Expectation::Unproven(0)) => Judgement::Equal,
            Some(Expectation::Unproven(_)) => Judgement::Unproven,
            Some(Expectation::Kind(expected)) if expected == *found => Judgement::Equal,
            Some(Expectation::Kind(EntryKind::Symlink { .. }))
                if matches!(found, EntryKind::Symlink { .. }) =>
            {
                different(FaultKind::Mismatch, Operation::Read)
            }
            Some(Expectation::Kind(_)) => other_kind(),
        }
    }

    /// Whether something is expected below a path.
    fn leads_to_expected(&self, path: &RelPath) -> bool {
        let later = (Bound::Excluded(path), Bound::Unbounded);
        let next = self.entries.range::<RelPath, _>(later).next();
        next.is_some_and(|(next, _)| next.starts_with(path))
    }

    /// What was expected and never found.
    pub fn missing(self) -> impl Iterator<Item = Fault> {
        let missing = |path| Fault::new(FaultKind::NotFound, Operation::Stat, path);
        self.entries.into_keys().map(missing)
    }
}

/// What an entry is, compared with what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nobody could have spoken of it, or its name was only on the way to what was spoken of.
    Beside,
    /// It has other bytes, or is of another kind.
    Different(Fault),
    /// It is what it should be.
    Equal,
    /// Nobody spoke of it.
    Unexpected,
    /// It is there, and nobody ever proved what its bytes should be.
    Unproven,
}

fn receipt(text: impl BufRead) -> Result<Expected, ManifestError> {
    let reader = ReceiptReader::new(text)?;
    let root = reader.head().destination_root.bytes();
    let failed = reader.head().failed;
    let mut entries = BTreeMap::new();
    reader.check(|_, entry| {
        entries.insert(entry.path.clone(), Expectation::of(&entry.kind, entry.digest));
    })?;
    Ok(Expected { entries, files_only: false, failed, root })
}

fn checksums(mut text: impl BufRead) -> Result<Expected, ManifestError> {
    let mut entries = BTreeMap::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = Read::take(&mut text, LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|_| ManifestError::BadLine { line: number })? == 0 {
            break;
        }
        let whole = line.strip_suffix(b"\n").unwrap_or(&line);
        let (name, digest) = checksum_line(whole).ok_or(ManifestError::BadLine { line: number })?;
        let refused = ManifestError::Unsafe { line: number };
        let Ok(path) = RelPath::new(name) else { return Err(refused) };
        let (is_root, expected) = (path.is_root(), Expectation::Bytes(digest));
        let before = entries.insert(path, expected.clone());
        if is_root || before.is_some_and(|before| before != expected) {
            return Err(refused);
        }
    }
    match entries.keys().find_map(|path| file_above(path, &entries)) {
        Some(file) => Err(ManifestError::BelowFile(file)),
        None => Ok(Expected { entries, files_only: true, ..Expected::default() }),
    }
}

/// The file below which a path would lie.
fn file_above(path: &RelPath, files: &BTreeMap<RelPath, Expectation>) -> Option<RelPath> {
    std::iter::successors(path.parent(), RelPath::parent).find(|above| files.contains_key(above))
}

/// A line of `b3sum`: 64 digits, two blanks, a name; a leading `\` says that the name is escaped.
fn checksum_line(line: &[u8]) -> Option<(Vec<u8>, Digest)> {
    let (line, escaped) = match line.strip_prefix(b"\\") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let digest = parse_digest(std::str::from_utf8(line.get(..64)?).ok()?)?;
    let name = line.get(64..)?.strip_prefix(b"  ")?;
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let name = if escaped { unescape(name)? } else { name.to_vec() };
    Some((name, digest))
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_protocol::digest::file_digest;

    fn file(size: u64) -> EntryKind {
        EntryKind::File { size, allocated: size }
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn a_b3sum_file_is_a_manifest() {
        let digest = file_digest(b"x");
        let text = format!("{digest}  a\n\\{digest}  b\\\\c\\n\n{digest}  ./d/e\n");
        let mut expected = Expected::read(text.as_bytes()).unwrap();
        assert_eq!(expected.judge(&path("a"), &file(1), Some(digest)), Judgement::Equal);
        assert_eq!(expected.judge(&path("b\\c\n"), &file(1), Some(digest)), Judgement::Equal);
        assert_eq!(expected.judge(&path("d"), &EntryKind::Directory, None), Judgement::Beside);
        assert_eq!(expected.judge(&path("x"), &EntryKind::Fifo, None), Judgement::Beside);
        let other = expected.judge(&path("d/e"), &file(1), Some(file_digest(b"y")));
        assert!(matches!(other, Judgement::Different(_)));
        assert_eq!(expected.missing().count(), 0);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in ["", "\n", "abc  d\n", "{}\n", "zz"] {
            assert!(Expected::read(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn blanks_belong_to_a_name() {
        let digest = file_digest(b"x");
        let text = format!("{digest}   a \n{digest}  b\t");
        let expected = Expected::read(text.as_bytes()).unwrap();
        assert!(expected.entries.into_keys().eq([path(" a "), path("b\t")]));
    }

    #[test]
    fn names_that_are_unsafe_or_come_twice_are_refused() {
        let (digest, other) = (file_digest(b"x"), file_digest(b"y"));
        for names in ["../a", "/a", "a//b", "a/../b", ".", "a\0b", ""] {
            let text = format!("{digest}  {names}\n");
            let refused = Expected::read(text.as_bytes());
            assert!(matches!(refused, Err(ManifestError::Unsafe { line: 1 })), "{names:?}");
        }
        let twice = |second: Digest| format!("{digest}  a\n{second}  a\n");
        assert!(Expected::read(twice(digest).as_bytes()).is_ok());
        let refused = Expected::read(twice(other).as_bytes());
        assert!(matches!(refused, Err(ManifestError::Unsafe { line: 2 })));
    }

    #[test]
    fn a_receipt_is_read_from_above_and_from_below() {
        let whole = Expectation::Kind(EntryKind::Directory);
        let entries = ["d", "d/a", "e"].map(|name| (path(name), whole.clone()));
        let root = Some(b"/data".to_vec());
        let expected = Expected { entries: entries.into(), root, ..Expected::default() };
        let seen = |root: &[u8], under: &str| {
            let seen = expected.clone().seen_from(root, &path(under));
            seen.entries.into_keys().map(|path| path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(seen(b"/data", ""), ["d", "d/a", "e"]);
        assert_eq!(seen(b"/data", "d"), ["d", "d/a"]);
        assert_eq!(seen(b"/data/d", ""), [".", "a"]);
        assert_eq!(seen(b"/data/e", "a"), [""; 0]);
        assert_eq!(seen(b"/", ""), ["data/d", "data/d/a", "data/e"]);
        assert_eq!(seen(b"/elsewhere", ""), ["d", "d/a", "e"]);
    }

    /// Each kind of entry is expected as itself, and only what has a digest is proven by one.
    #[test]
    fn every_entry_is_judged() {
        let link = |content: &[u8]| EntryKind::Symlink { content: content.to_vec() };
        let digest = Some(file_digest(b"x"));
        let (no_file, mismatch) = (Some(FaultKind::Conflict), Some(FaultKind::Mismatch));
        let rows = [
            (EntryKind::Directory, None, EntryKind::Directory, None, None),
            (EntryKind::Directory, None, file(1), digest, no_file),
            (EntryKind::Fifo, None, EntryKind::Socket, None, no_file),
            (link(b"a"), None, link(b"a"), None, None),
            (link(b"a"), None, link(b"b"), None, mismatch),
            (link(b"a"), None, EntryKind::Directory, None, no_file),
            (file(1), digest, file(1), digest, None),
            (file(1), digest, file(1), Some(file_digest(b"y")), mismatch),
            (file(1), digest, link(b"a"), None, no_file),
            (file(1), None, file(2), digest, mismatch),
            (file(1), None, EntryKind::Fifo, None, no_file),
            (file(0), None, file(0), Some(file_digest(b"")), None),
        ];
        for (expected, proven, found, digest, fault) in rows {
            let entries = BTreeMap::from([(path("d/a"), Expectation::of(&expected, proven))]);
            let mut all = Expected::of_entries(entries);
            assert_eq!(all.judge(&path("d"), &EntryKind::Directory, None), Judgement::Beside);
            let judged = match all.judge(&path("d/a"), &found, digest) {
                Judgement::Different(fault) => Some(fault.kind),
                judged => {
                    assert_eq!(judged, Judgement::Equal, "{expected:?} {found:?}");
                    None
                }
            };
            assert_eq!(judged, fault, "{expected:?} {found:?}");
            assert_eq!(all.judge(&path("e"), &found, digest), Judgement::Unexpected);
            assert!(all.is_empty());
        }
        let entries = BTreeMap::from([(path("a"), Expectation::of(&file(1), None))]);
        let mut all = Expected::of_entries(entries);
        assert_eq!(all.judge(&path("a"), &file(1), digest), Judgement::Unproven);
    }
}
