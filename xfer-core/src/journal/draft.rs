//! The next record of a mapping, while it is moved.

use std::io::Read;

use xfer_protocol::path::RelPath;

use super::lines::write_line;
use super::{HEAD_BYTES, Known, RecordKey, RecordReader, RecordWriter, Recorded};
use crate::disk::state::{Sections, Spool, StateDirectory, StateError};

/// Gathers the lines of the next record. As long as they are those of the old one, nothing is
/// written: of an unchanged tree there is nothing new to say.
pub struct RecordDraft {
    records: StateDirectory,
    key: RecordKey,
    unique: u64,
    old: Option<Sections>,
    /// Bytes of the old record that the next one begins with.
    held: u64,
    /// What follows them; `None` while nothing does.
    lines: Option<Spool>,
    buffer: Vec<u8>,
}

impl RecordDraft {
    /// A draft of what replaces the record that `old` reads.
    #[must_use]
    pub fn after(
        old: &RecordReader,
        records: &StateDirectory,
        key: RecordKey,
        unique: u64,
    ) -> Self {
        Self {
            records: records.clone(),
            key,
            unique,
            old: old.file.clone(),
            held: HEAD_BYTES as u64,
            lines: None,
            buffer: Vec::new(),
        }
    }

    /// Adds a file, and what the old record says of it. Paths must come in order.
    pub fn add(
        &mut self,
        path: &RelPath,
        known: &Known,
        recorded: Option<&Recorded>,
    ) -> Result<(), StateError> {
        let next = recorded.filter(|old| old.known == *known && old.line.start == self.held);
        if let (Some(old), None) = (next, &self.lines) {
            self.held = old.line.end;
            return Ok(());
        }
        let lines = match self.lines.take() {
            Some(lines) => lines,
            None => self.records.spool(self.unique)?,
        };
        self.buffer.clear();
        write_line(&mut self.buffer, &(path, known));
        self.lines.insert(lines).write(&self.buffer)
    }

    /// Begins the record with the lines so far, for those that are still to come.
    pub fn writer(mut self) -> Result<RecordWriter, StateError> {
        let mut writer = RecordWriter::create(&self.records, self.key, self.unique)?;
        if let Some(old) = &self.old {
            let head = HEAD_BYTES as u64;
            writer.file.copy_from(&mut old.from(head).take(self.held - head))?;
        }
        if let Some(lines) = &mut self.lines {
            writer.file.copy_from(&mut lines.reader()?)?;
        }
        Ok(writer)
    }

    /// Replaces the old record, unless it says the same, and ends its tail.
    pub fn commit(self, durable: bool) -> Result<(), StateError> {
        let says_the_same = match (&self.old, &self.lines) {
            (Some(old), None) => old.length() == Some(self.held),
            _ => false,
        };
        if says_the_same {
            // One that looks unused for longer than it was is compared by content once more.
            let _used = self.records.touch(&self.key.file_name());
            return self.records.remove(&super::tail::name(self.key));
        }
        self.writer()?.commit(durable)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use xfer_protocol::digest::Digest;
    use xfer_protocol::manifest::{ProofLevel, Stamp};

    use super::*;

    const FILES: u32 = 4;

    fn path(number: u32) -> RelPath {
        RelPath::new(format!("d/{number}")).unwrap()
    }

    /// A tree in which each file is absent, or has one of two contents.
    fn tree(number: u32) -> Vec<(RelPath, Known)> {
        let content = |file: u32| number / 3_u32.pow(file) % 3;
        let known = |content: u32| {
            let stamp = Stamp { size: content.into(), ..Stamp::default() };
            let digest = Digest::from_bytes([content.to_le_bytes()[0]; 32]);
            Known { source: stamp, destination: stamp, digest, level: ProofLevel::Durable }
        };
        let there = (0..FILES).filter(|file| content(*file) > 0);
        there.map(|file| (path(file), known(content(file)))).collect()
    }

    fn draft(records: &StateDirectory, key: RecordKey, lines: &[(RelPath, Known)]) -> RecordDraft {
        let mut old = RecordReader::open(records, key).unwrap();
        let mut draft = RecordDraft::after(&old, records, key, 1);
        for (path, known) in lines {
            draft.add(path, known, old.find(path).as_ref()).unwrap();
        }
        draft
    }

    /// From every tree to every other: the next record says what is there now, and nothing else.
    #[test]
    fn every_change_is_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let records = StateDirectory::open(directory.path()).unwrap();
        let key = RecordKey::of(&[b"a", b"b"]);
        let file = records.path_of(&key.file_name());
        let trees = 3_u32.pow(FILES);
        for (before, after) in (0..trees).flat_map(|b| (0..trees).map(move |a| (b, a))) {
            draft(&records, key, &tree(before)).commit(false).unwrap();
            let inode = file.metadata().unwrap().ino();
            draft(&records, key, &tree(after)).commit(false).unwrap();
            let mut reader = RecordReader::open(&records, key).unwrap();
            let said: Vec<_> = std::iter::from_fn(|| reader.take()).collect();
            assert_eq!(said, tree(after), "{before} {after}");
            let is_old = inode == file.metadata().unwrap().ino();
            assert_eq!(is_old, before == after, "{before} {after}");
        }
    }

    #[test]
    fn what_comes_later_follows_what_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let records = StateDirectory::open(directory.path()).unwrap();
        let key = RecordKey::of(&[b"a", b"b"]);
        let whole = tree(3_u32.pow(FILES) - 1);
        for held in 0..whole.len() {
            draft(&records, key, &whole).commit(false).unwrap();
            let mut writer = draft(&records, key, &whole[..held]).writer().unwrap();
            for (path, known) in &whole[held + 1..] {
                writer.add(path, known).unwrap();
            }
            writer.commit(false).unwrap();
            let mut reader = RecordReader::open(&records, key).unwrap();
            let said: Vec<_> = std::iter::from_fn(|| reader.take()).collect();
            assert_eq!(said, [&whole[..held], &whole[held + 1..]].concat());
        }
    }
}
