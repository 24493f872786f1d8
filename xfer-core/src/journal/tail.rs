//! The tail of a record: what a transfer under way has finished.
//!
//! A record is written when a transfer is through. Until then each group of files that was
//! published is appended here, so that a transfer which is killed need not hash again, on both
//! sides, all that it had finished. The next one folds the tail into the record before it reads it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use xfer_protocol::path::RelPath;

use super::{HEAD_BYTES, Known, LineReader, RecordKey, RecordReader, RecordWriter, write_line};
use crate::disk::state::{Sections, StateDirectory, StateError, StateLog};

/// First bytes of a tail; the digit is the version.
const MAGIC: &[u8; 8] = b"xfer-rt1";

/// Files and bytes of files after which a group is appended: what is lost with a crash is hashed
/// again in a moment.
const GROUP_FILES: usize = 1024;
const GROUP_BYTES: u64 = 64 << 20;

/// Groups that are folded; each costs a buffer while they are. A transfer of millions of files
/// forgets what came later.
const GROUPS_MAX: usize = 2048;

/// The tail of one mapping's record, as it grows.
pub struct Tail {
    records: StateDirectory,
    key: RecordKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: Option<StateLog>,
    waiting: Vec<(RelPath, Known)>,
    waiting_bytes: u64,
    /// Set once nothing more can be appended; a cache may end anywhere.
    given_up: bool,
}

impl Tail {
    /// A tail of which nothing is there yet.
    #[must_use]
    pub fn new(records: StateDirectory, key: RecordKey) -> Self {
        Self { records, key, state: Mutex::default() }
    }

    /// Notes files that stand under their names. They are appended in groups, unsynced.
    pub fn note(&self, files: impl IntoIterator<Item = (RelPath, Known)>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, known) in files {
            state.waiting_bytes = state.waiting_bytes.saturating_add(known.destination.size);
            state.waiting.push((path, known));
        }
        let due = state.waiting.len() >= GROUP_FILES || state.waiting_bytes >= GROUP_BYTES;
        if due && !state.given_up {
            // A controller without a free byte moves files all the same.
            state.given_up = self.append(&mut state).is_err();
        }
        if due {
            state.waiting.clear();
            state.waiting_bytes = 0;
        }
    }

    /// Forgets what was noted, for it proves nothing any more.
    pub fn discard(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { given_up: true, ..State::default() };
        // Where it cannot be removed, nothing could be written either.
        let _left_behind = self.records.remove(&name(self.key));
    }

    fn append(&self, state: &mut State) -> Result<(), StateError> {
        let mut bytes = Vec::new();
        if state.log.is_none() {
            state.log = Some(self.records.log(&name(self.key))?);
            bytes.extend_from_slice(MAGIC);
            bytes.extend_from_slice(&self.key.0);
        }
        state.waiting.sort_by(|a, b| a.0.cmp(&b.0));
        // The sort is stable: of one path's notes, the last is the latest.
        state.waiting.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
        for line in &state.waiting {
            write_line(&mut bytes, line);
        }
        match &mut state.log {
            Some(log) => log.append(&bytes),
            None => Ok(()),
        }
    }
}

/// Folds the tail that an earlier transfer left into the record; what is damaged in it is ignored.
pub fn fold_tail(records: &StateDirectory, key: RecordKey, unique: u64) -> Result<(), StateError> {
    let Some(file) = records.read_sections(&name(key))? else { return Ok(()) };
    // What is later counts more.
    let mut readers = vec![RecordReader::open(records, key)?];
    let groups = groups(&file, key);
    readers.extend(groups.iter().map(|at| RecordReader::over(file.from(*at))));
    let mut heads: BinaryHeap<_> = BinaryHeap::new();
    let mut taken = Vec::new();
    let mut take = |at: usize, heads: &mut BinaryHeap<_>| -> Option<Known> {
        let (path, known) = readers[at].take()?;
        heads.push(Reverse((path, Reverse(at))));
        Some(known)
    };
    for at in 0..=groups.len() {
        taken.push(take(at, &mut heads));
    }
    let mut writer = RecordWriter::create(records, key, unique)?;
    let mut last: Option<RelPath> = None;
    while let Some(Reverse((path, Reverse(at)))) = heads.pop() {
        let known = std::mem::take(&mut taken[at]);
        taken[at] = take(at, &mut heads);
        if let (Some(known), false) = (known, last.as_ref() == Some(&path)) {
            writer.add(&path, &known)?;
            last = Some(path);
        }
    }
    writer.commit(true)
}

/// Where each group begins: a group is in order, and the next one begins before the end of it.
fn groups(file: &Sections, key: RecordKey) -> Vec<u64> {
    let mut source = file.from(0);
    let mut head = [0; HEAD_BYTES];
    if source.read_exact(&mut head).is_err() || head[..8] != *MAGIC || head[8..] != key.0 {
        return Vec::new();
    }
    let mut lines = LineReader::new(source);
    let (mut starts, mut at) = (Vec::new(), HEAD_BYTES as u64);
    let mut last: Option<RelPath> = None;
    while let Some((path, _)) = lines.next_line::<(RelPath, Known)>() {
        if last.as_ref().is_none_or(|last| *last >= path) {
            if starts.len() == GROUPS_MAX {
                break;
            }
            starts.push(at);
        }
        last = Some(path);
        at += lines.last_bytes();
    }
    starts
}

pub(super) fn name(key: RecordKey) -> String {
    format!("{}.tail", key.hex())
}

#[cfg(test)]
mod tests {
    use xfer_protocol::digest::Digest;
    use xfer_protocol::manifest::{ProofLevel, Stamp};

    use super::*;

    fn known(size: u64) -> Known {
        let stamp = Stamp { size, ..Stamp::default() };
        let digest = Digest::from_bytes([size.to_le_bytes()[0]; 32]);
        Known { source: stamp, destination: stamp, digest, level: ProofLevel::Durable }
    }

    fn path(number: usize) -> RelPath {
        RelPath::new(format!("d/{number:05}")).unwrap()
    }

    fn open(directory: &tempfile::TempDir) -> (StateDirectory, RecordKey) {
        (StateDirectory::open(directory.path()).unwrap(), RecordKey::of(&[b"a", b"b"]))
    }

    fn record(records: &StateDirectory, key: RecordKey, files: &[(usize, u64)]) {
        let mut writer = RecordWriter::create(records, key, 1).unwrap();
        for (number, size) in files {
            writer.add(&path(*number), &known(*size)).unwrap();
        }
        writer.commit(false).unwrap();
    }

    fn found(records: &StateDirectory, key: RecordKey) -> Vec<(RelPath, u64)> {
        let mut reader = RecordReader::open(records, key).unwrap();
        std::iter::from_fn(|| reader.take())
            .map(|(path, known)| (path, known.source.size))
            .collect()
    }

    #[test]
    fn groups_are_folded_in_order_and_the_latest_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (records, key) = open(&directory);
        record(&records, key, &[(0, 1), (7, 1), (9_000, 1)]);
        let tail = Tail::new(records.clone(), key);
        let mut expected = std::collections::BTreeMap::from([(0, 1), (7, 1), (9_000, 1)]);
        for group in [2000..4096_usize, 5..1500, 1024..2048] {
            let size = group.start as u64;
            let files = group.rev();
            expected.extend(files.clone().map(|number| (number, size)));
            tail.note(files.map(|number| (path(number), known(size))));
        }
        // The same file twice in one group.
        let twice = [(3, 7), (4, 7), (3, 8)].map(|(n, size)| (path(n), known(size + GROUP_BYTES)));
        expected.extend([(4, 7 + GROUP_BYTES), (3, 8 + GROUP_BYTES)]);
        tail.note(twice);
        // Too few to be appended.
        tail.note([(path(1), known(9))]);
        drop(tail);
        fold_tail(&records, key, 2).unwrap();
        let expected: Vec<_> = expected.into_iter().map(|(n, size)| (path(n), size)).collect();
        assert!(found(&records, key) == expected);
        assert!(!records.path_of(&name(key)).exists());
        fold_tail(&records, key, 3).unwrap();
        assert!(found(&records, key) == expected);
    }

    #[test]
    fn few_large_files_are_a_group_too() {
        let directory = tempfile::tempdir().unwrap();
        let (records, key) = open(&directory);
        Tail::new(records.clone(), key).note([(path(3), known(GROUP_BYTES))]);
        fold_tail(&records, key, 2).unwrap();
        assert_eq!(found(&records, key), [(path(3), GROUP_BYTES)]);
    }

    /// Every flipped bit and every cut of a tail leaves of each file the truth or nothing, and of
    /// the record what it said.
    #[test]
    fn damage_is_never_believed() {
        let directory = tempfile::tempdir().unwrap();
        let (records, key) = open(&directory);
        let tail = Tail::new(records.clone(), key);
        tail.note([(path(4), known(GROUP_BYTES)), (path(2), known(GROUP_BYTES + 1))]);
        tail.note([(path(3), known(GROUP_BYTES + 2))]);
        let file = records.path_of(&name(key));
        #[expect(clippy::disallowed_methods, reason = "the test damages the file itself")]
        let whole = std::fs::read(&file).unwrap();
        let truth = [(4, GROUP_BYTES), (2, GROUP_BYTES + 1), (3, GROUP_BYTES + 2), (1, 1)];
        let truth = truth.map(|(number, size)| (path(number), size));
        let flipped = (0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        for bytes in flipped.chain((0..whole.len()).map(|cut| whole[..cut].to_vec())) {
            record(&records, key, &[(1, 1)]);
            #[expect(clippy::disallowed_methods, reason = "the test damages the file itself")]
            std::fs::write(&file, &bytes).unwrap();
            fold_tail(&records, key, 2).unwrap();
            let found = found(&records, key);
            assert!(found.iter().all(|line| truth.contains(line)), "{found:?}");
            assert!(found.iter().any(|(found, _)| *found == path(1)));
        }
    }
}
