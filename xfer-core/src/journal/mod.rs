//! Records of verified transfers: what makes an unchanged tree cheap.
//!
//! A record is a cache. It says for each file of one mapping which stamps both ends had when its
//! digest was proven; `FORMAT.md` beside this file draws it. Nothing is lost with it: a file
//! without a record is compared by content. A record that cannot be read in full is ignored from
//! there on. What [`tokens`] keeps is no cache.

mod draft;
mod lines;
mod tail;
pub mod tokens;
mod unsynced;

use std::io::Read;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::{ProofLevel, Stamp};
use xfer_protocol::path::RelPath;

use crate::disk::state::{Sections, StateDirectory, StateError, StateFile};

pub use draft::RecordDraft;
use lines::write_line;
pub(crate) use lines::{LineReader, write_unguarded};
pub use tail::{Tail, fold_tail};
pub use unsynced::Unsynced;

/// First bytes of a record; the digit is the version.
const MAGIC: &[u8; 8] = b"xfer-rc1";

/// Bytes before the first line of a record or of a tail.
const HEAD_BYTES: usize = 24;

/// How long a record that no transfer uses is kept: longer than most pauses, and not for ever, for
/// machines come and go.
const UNUSED_MAX_SECONDS: i64 = 90 * 24 * 60 * 60;

/// Removes records and tails that no transfer has used for 90 days; `now` is in seconds since 1970.
/// It costs a look at each file of the directory.
pub fn forget_unused(records: &StateDirectory, now: i64) -> Result<(), StateError> {
    records.remove_older_than(now.saturating_sub(UNUSED_MAX_SECONDS))
}

/// What an earlier, verified transfer says of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The source's stamp then.
    pub source: Stamp,
    /// The destination's stamp then.
    pub destination: Stamp,
    /// The digest that was proven.
    pub digest: Digest,
    /// How it was proven.
    pub level: ProofLevel,
}

/// What a record says of one file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What it says.
    pub known: Known,
    /// Where in the record.
    pub(super) line: Range<u64>,
}

/// What names a record: both machines and both paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey([u8; 16]);

impl RecordKey {
    /// The key of a mapping, from all that identifies its two ends.
    #[must_use]
    pub fn of(ends: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in ends {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        Self(key)
    }

    fn file_name(self) -> String {
        format!("{}.record", self.hex())
    }

    fn hex(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Reads the record of one mapping, in the order of paths.
pub struct RecordReader {
    file: Option<Sections>,
    lines: Option<LineReader<Box<dyn Read + Send>>>,
    next: Option<(RelPath, Recorded)>,
}

impl RecordReader {
    /// Opens the record, if there is one that can be read.
    pub fn open(records: &StateDirectory, key: RecordKey) -> Result<Self, StateError> {
        let Some(file) = records.read_sections(&key.file_name())? else {
            return Ok(Self::empty());
        };
        let mut head = [0; HEAD_BYTES];
        if file.from(0).read_exact(&mut head).is_err() || head[..8] != *MAGIC || head[8..] != key.0
        {
            return Ok(Self::empty());
        }
        Ok(Self { file: Some(file.clone()), ..Self::over(file.from(HEAD_BYTES as u64)) })
    }

    /// A record that knows nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self { file: None, lines: None, next: None }
    }

    /// What is recorded of `path`. Paths must be asked for in order.
    pub fn find(&mut self, path: &RelPath) -> Option<Recorded> {
        while self.next.as_ref().is_some_and(|(known, _)| known < path) {
            self.advance();
        }
        self.next.as_ref().filter(|(known, _)| known == path).map(|(_, found)| found.clone())
    }

    /// Lines in order, from wherever a reader stands: as of a record's first.
    fn over(source: impl Read + Send + 'static) -> Self {
        let lines = LineReader::new(Box::new(source) as Box<_>);
        let mut reader = Self { lines: Some(lines), ..Self::empty() };
        reader.advance();
        reader
    }

    /// Takes the next line.
    fn take(&mut self) -> Option<(RelPath, Known)> {
        let taken = self.next.as_ref().map(|(path, found)| (path.clone(), found.known));
        self.advance();
        taken
    }

    fn advance(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        let start = self.next.as_ref().map_or(HEAD_BYTES as u64, |(_, last)| last.line.end);
        let line = lines.next_line::<(RelPath, Known)>();
        let line = line.filter(|(path, _)| self.next.as_ref().is_none_or(|(last, _)| last < path));
        let end = start + lines.last_bytes();
        self.next = line.map(|(path, known)| (path, Recorded { known, line: start..end }));
        if self.next.is_none() {
            self.lines = None;
        }
    }
}

/// Writes the record of one mapping.
pub struct RecordWriter {
    file: StateFile,
    buffer: Vec<u8>,
    records: StateDirectory,
    tail: String,
}

impl RecordWriter {
    /// Begins a record that replaces the old one when it is committed.
    pub fn create(
        records: &StateDirectory,
        key: RecordKey,
        unique: u64,
    ) -> Result<Self, StateError> {
        let mut file = records.create(&key.file_name(), unique)?;
        file.write(MAGIC)?;
        file.write(&key.0)?;
        Ok(Self { file, buffer: Vec::new(), records: records.clone(), tail: tail::name(key) })
    }

    /// Adds a file. Paths must come in order.
    pub fn add(&mut self, path: &RelPath, known: &Known) -> Result<(), StateError> {
        self.buffer.clear();
        write_line(&mut self.buffer, &(path, known));
        self.file.write(&self.buffer)
    }

    /// Replaces the old record, and its tail with it.
    pub fn commit(self, durable: bool) -> Result<(), StateError> {
        self.file.commit(durable)?;
        self.records.remove(&self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(size: u64) -> Known {
        let stamp = Stamp { size, ..Stamp::default() };
        let digest = Digest::from_bytes([7; 32]);
        Known { source: stamp, destination: stamp, digest, level: ProofLevel::Durable }
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn written(directory: &std::path::Path) -> (StateDirectory, RecordKey) {
        let records = StateDirectory::open(directory).unwrap();
        let key = RecordKey::of(&[b"a", b"b"]);
        let mut writer = RecordWriter::create(&records, key, 1).unwrap();
        for (name, size) in [("a", 1), ("a/b", 2), ("c", 3)] {
            writer.add(&path(name), &known(size)).unwrap();
        }
        writer.commit(true).unwrap();
        (records, key)
    }

    #[test]
    fn what_is_written_is_found_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (records, key) = written(directory.path());
        let mut reader = RecordReader::open(&records, key).unwrap();
        assert_eq!(reader.find(&path("a")).map(|found| found.known), Some(known(1)));
        assert_eq!(reader.find(&path("b")), None);
        assert_eq!(reader.find(&path("c")).map(|found| found.known), Some(known(3)));
        assert_eq!(reader.find(&path("d")), None);
        let other = RecordKey::of(&[b"ab", b""]);
        assert_eq!(RecordReader::open(&records, other).unwrap().find(&path("a")), None);
    }

    #[test]
    fn only_what_no_transfer_uses_any_more_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let (records, key) = written(directory.path());
        let other = RecordKey::of(&[b"other"]);
        RecordWriter::create(&records, other, 2).unwrap().commit(false).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test looks at the file itself")]
        let now = std::fs::metadata(records.path_of(&key.file_name())).unwrap();
        let now = std::os::unix::fs::MetadataExt::mtime(&now);
        let aged = |key: RecordKey, days: i64| {
            let seconds = now - days * 24 * 60 * 60;
            let modified = xfer_protocol::manifest::Timestamp { seconds, nanoseconds: 0 };
            #[expect(clippy::disallowed_methods, reason = "the test makes the file old")]
            let file = std::fs::File::open(records.path_of(&key.file_name())).unwrap();
            crate::disk::metadata::set_modified(&file, modified).unwrap();
        };
        let is_there = |key: RecordKey| records.path_of(&key.file_name()).exists();
        aged(key, 89);
        aged(other, 91);
        forget_unused(&records, now).unwrap();
        assert!(is_there(key) && !is_there(other));
        // A transfer that finds nothing to change uses its record all the same.
        aged(key, 91);
        let mut old = RecordReader::open(&records, key).unwrap();
        let mut draft = RecordDraft::after(&old, &records, key, 3);
        for name in ["a", "a/b", "c"] {
            let found = old.find(&path(name)).unwrap();
            draft.add(&path(name), &found.known, Some(&found)).unwrap();
        }
        draft.commit(false).unwrap();
        forget_unused(&records, now).unwrap();
        assert!(is_there(key));
        aged(key, 91);
        forget_unused(&records, now).unwrap();
        assert!(!is_there(key));
    }

    /// Every flipped bit and every cut leaves either the true answer or none.
    #[test]
    fn damage_is_never_believed() {
        let directory = tempfile::tempdir().unwrap();
        let (records, key) = written(directory.path());
        let file = records.path_of(&key.file_name());
        #[expect(clippy::disallowed_methods, reason = "the test damages the file itself")]
        let whole = std::fs::read(&file).unwrap();
        let damaged = (0..whole.len() * 8)
            .map(|bit| {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            })
            .chain((0..whole.len()).map(|cut| whole[..cut].to_vec()));
        for bytes in damaged {
            #[expect(clippy::disallowed_methods, reason = "the test damages the file itself")]
            std::fs::write(&file, &bytes).unwrap();
            let mut reader = RecordReader::open(&records, key).unwrap();
            for (name, size) in [("a", 1), ("a/b", 2), ("c", 3)] {
                assert!(reader.find(&path(name)).is_none_or(|found| found.known == known(size)));
            }
        }
    }
}
