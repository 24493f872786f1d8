//! What was proven: expectations read from receipts and checksum files, and judged entry by entry.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use crate::receipt::{ReceiptError, ReceiptReader, parse_digest};

/// Bytes in one line of a checksum file.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What is expected of a tree: the digest of each file, below some root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    files: BTreeMap<RelPath, Digest>,
    /// The destination's root that a receipt names; nothing for other manifests.
    root: Option<Vec<u8>>,
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
        if expected.files.is_empty() { Err(ManifestError::Empty) } else { Ok(expected) }
    }

    /// Expects exactly these files.
    #[must_use]
    pub fn of_files(files: BTreeMap<RelPath, Digest>) -> Self {
        Self { files, root: None }
    }

    /// The same for a root that lies below, or above, the one that a receipt names.
    #[must_use]
    pub fn seen_from(self, found_root: &[u8]) -> Self {
        let Some(named) = self.root.as_deref() else { return self };
        let below = |path: &[u8], root: &[u8]| {
            let rest = path.strip_prefix(root)?;
            let rest = rest.strip_prefix(b"/").or_else(|| root.ends_with(b"/").then_some(rest))?;
            RelPath::new(rest).ok()
        };
        if let Some(inner) = below(found_root, named) {
            let kept = |(path, digest): (RelPath, Digest)| {
                path.strip_prefix(&inner).map(|stripped| (stripped, digest))
            };
            return Self { files: self.files.into_iter().filter_map(kept).collect(), root: None };
        }
        if let Some(outer) = below(named, found_root) {
            let moved = |(path, digest): (RelPath, Digest)| {
                outer.join(&path).ok().map(|joined| (joined, digest))
            };
            return Self { files: self.files.into_iter().filter_map(moved).collect(), root: None };
        }
        self
    }

    /// How many files are expected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether a file is expected.
    #[must_use]
    pub fn has(&self, path: &RelPath) -> bool {
        self.files.contains_key(path)
    }

    /// Judges a file that was found; each can be judged once.
    pub fn judge(&mut self, path: &RelPath, found: Digest) -> Judgement {
        match self.files.remove(path) {
            Some(expected) if expected == found => Judgement::Equal,
            Some(_) => {
                Judgement::Different(Fault::new(FaultKind::Mismatch, Operation::Hash, path.clone()))
            }
            None => Judgement::Unexpected,
        }
    }

    /// What was expected and never found.
    pub fn missing(self) -> impl Iterator<Item = Fault> {
        let missing = |path| Fault::new(FaultKind::NotFound, Operation::Hash, path);
        self.files.into_keys().map(missing)
    }
}

/// What a file is, compared with what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It has other bytes.
    Different(Fault),
    /// It is what it should be.
    Equal,
    /// Nobody spoke of it.
    Unexpected,
}

fn receipt(text: impl BufRead) -> Result<Expected, ManifestError> {
    let reader = ReceiptReader::new(text)?;
    let root = reader.head().destination_root.bytes();
    let mut files = BTreeMap::new();
    reader.check(|_, entry| {
        if let Some(digest) = entry.digest {
            files.insert(entry.path.clone(), digest);
        }
    })?;
    Ok(Expected { files, root })
}

fn checksums(mut text: impl BufRead) -> Result<Expected, ManifestError> {
    let mut files = BTreeMap::new();
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
        if path.is_root() || files.insert(path, digest).is_some_and(|before| before != digest) {
            return Err(refused);
        }
    }
    match files.keys().find_map(|path| file_above(path, &files)) {
        Some(file) => Err(ManifestError::BelowFile(file)),
        None => Ok(Expected { files, root: None }),
    }
}

/// The file below which a path would lie.
fn file_above(path: &RelPath, files: &BTreeMap<RelPath, Digest>) -> Option<RelPath> {
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

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn a_b3sum_file_is_a_manifest() {
        let digest = file_digest(b"x");
        let text = format!("{digest}  a\n\\{digest}  b\\\\c\\n\n{digest}  ./d/e\n");
        let mut expected = Expected::read(text.as_bytes()).unwrap();
        assert_eq!(expected.judge(&path("a"), digest), Judgement::Equal);
        assert_eq!(expected.judge(&path("b\\c\n"), digest), Judgement::Equal);
        let other = expected.judge(&path("d/e"), file_digest(b"y"));
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
        assert!(expected.has(&path(" a ")) && expected.has(&path("b\t")));
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
        let files = BTreeMap::from([(path("d/a"), file_digest(b"x"))]);
        let expected = Expected { files, root: Some(b"/data".to_vec()) };
        assert!(expected.clone().seen_from(b"/data").has(&path("d/a")));
        assert!(expected.clone().seen_from(b"/data/d").has(&path("a")));
        assert!(expected.seen_from(b"/").has(&path("data/d/a")));
    }
}
