//! What is known of an upload that a later session may go on with: one file for each, in this
//! machine's state directory. It is a cache: whatever is wrong with one, it is none.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::path::RelPath;

use super::Shared;
use super::keys::path_of;
use super::roots::OpenRoot;
use super::store::{Key, UploadId};
use crate::disk::state::{StateDirectory, StateLog};

/// Bytes of a row; of the largest part, the digests take 64 KiB.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Bytes of a check before each row.
const CHECK_BYTES: usize = 8;

/// The form of rows.
const FORM: u32 = 2;

/// What ends the name of a record.
const ENDING: &str = ".upload";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Row {
    Begun(Begun),
    Part(RecordedPart),
    CopyOf(CopyOf),
}

/// The upload that a record is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    form: u32,
    pub(super) store: String,
    pub(super) key: String,
    pub(super) upload: String,
    /// What the object will be marked with; of an upload that was found, nothing.
    pub(super) attempt: Option<String>,
    pub(super) part_length: u64,
}

/// What the parts of an upload are copied from, by the store itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyOf {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) etag: String,
    /// What the upload was begun with, but for its mark.
    pub(super) attributes: Vec<(String, String)>,
}

/// A part that the store acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedPart {
    pub(super) number: u32,
    pub(super) size: u64,
    pub(super) tag: String,
    pub(super) crc: u64,
    /// Whether the store told a sum of it, and it was ours.
    pub(super) acknowledged: bool,
    /// Of each 64 KiB, or of each block of the grid where the bytes never were here; none where the
    /// store copied them.
    pub(super) digests: Vec<Digest>,
}

/// A record that was read.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) begun: Begun,
    pub(super) copy_of: Option<CopyOf>,
    pub(super) parts: BTreeMap<u32, RecordedPart>,
}

/// A record of an upload that was begun here.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) record: Record,
    /// When a part was added last, in seconds since 1970.
    pub(super) modified: Option<i64>,
}

impl Kept {
    pub(super) fn key(&self) -> &str {
        &self.record.begun.key
    }
}

/// A record that grows.
#[derive(Debug)]
pub(super) struct Recording(StateLog);

impl Begun {
    pub(super) fn new(
        store: &str,
        key: &Key,
        upload: &UploadId,
        attempt: Option<String>,
        part_length: u64,
    ) -> Self {
        let (store, key) = (store.to_owned(), key.as_str().to_owned());
        Self { form: FORM, store, key, upload: upload.0.clone(), attempt, part_length }
    }
}

impl Recording {
    /// Begins a record, in the place of an earlier one.
    pub(super) fn begin<'a>(
        directory: &StateDirectory,
        begun: &Begun,
        parts: impl Iterator<Item = &'a RecordedPart>,
    ) -> Option<Self> {
        let mut log = directory.log(&name_of(&begun.store, &begun.key)).ok()?;
        log.append(&row(&Row::Begun(begun.clone()))?).ok()?;
        let mut recording = Self(log);
        parts.for_each(|part| recording.add(part));
        Some(recording)
    }

    /// Says that what follows is copied from there; without it, no later session goes on with it.
    pub(super) fn tell_origin(&mut self, copy_of: &CopyOf) {
        if let Some(row) = row(&Row::CopyOf(copy_of.clone())) {
            let _as_far_as_it_goes = self.0.append(&row);
        }
    }

    /// Adds a part; one that cannot be recorded is sent again by a later session.
    pub(super) fn add(&mut self, part: &RecordedPart) {
        if let Some(row) = row(&Row::Part(part.clone())) {
            let _as_far_as_it_goes = self.0.append(&row);
        }
    }
}

fn row(row: &Row) -> Option<Vec<u8>> {
    let body = postcard::to_stdvec(row).ok()?;
    let length = u32::try_from(body.len()).ok()?;
    let mut framed = length.to_le_bytes().to_vec();
    framed.extend_from_slice(&blake3::hash(&body).as_bytes()[..CHECK_BYTES]);
    framed.extend_from_slice(&body);
    Some(framed)
}

fn next_row(reader: &mut impl Read) -> Option<Row> {
    let mut head = [0; 4 + CHECK_BYTES];
    reader.read_exact(&mut head).ok()?;
    let (length, check) = head.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > ROW_BYTES_MAX {
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let is_whole = blake3::hash(&body).as_bytes()[..CHECK_BYTES] == *check;
    is_whole.then(|| postcard::from_bytes(&body).ok()).flatten()
}

fn name_of(store: &str, key: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(store.as_bytes());
    hasher.update(&[0]);
    hasher.update(key.as_bytes());
    format!("{}{ENDING}", hasher.finalize().to_hex())
}

fn read(directory: &StateDirectory, name: &str) -> Option<Record> {
    let mut reader = directory.read(name).ok()??;
    let Some(Row::Begun(begun)) = next_row(&mut reader) else { return None };
    if begun.form != FORM || name_of(&begun.store, &begun.key) != name || begun.part_length == 0 {
        return None;
    }
    let mut record = Record { begun, copy_of: None, parts: BTreeMap::new() };
    while let Some(row) = next_row(&mut reader) {
        match row {
            Row::Begun(_) => {}
            Row::Part(part) => drop(record.parts.insert(part.number, part)),
            Row::CopyOf(copy_of) => record.copy_of = Some(copy_of),
        }
    }
    Some(record)
}

impl Shared {
    /// What is recorded of a key's upload.
    pub(super) fn record_of(&self, key: &Key) -> Option<Record> {
        let directory = self.options.records.as_ref()?;
        read(directory, &name_of(self.store.name(), key.as_str()))
    }

    /// Forgets an upload that is no more.
    pub(super) fn drop_record(&self, key: &Key) {
        if let Some(directory) = &self.options.records {
            let _as_far_as_it_goes = directory.remove(&name_of(self.store.name(), key.as_str()));
        }
    }

    /// Records of the uploads to this store that were begun here; one that was found is another's.
    pub(super) fn own_records(&self) -> Vec<Kept> {
        let Some(directory) = &self.options.records else { return Vec::new() };
        let names = directory.names().unwrap_or_default();
        let ours = names.iter().filter(|name| name.ends_with(ENDING));
        let kept = ours.filter_map(|name| {
            let record = read(directory, name)?;
            Some(Kept { record, modified: directory.modified(name) })
        });
        let is_own = |kept: &Kept| {
            let begun = &kept.record.begun;
            begun.store == self.store.name() && begun.attempt.is_some()
        };
        kept.filter(is_own).collect()
    }

    /// Files below a root of which parts are recorded, with their bytes.
    pub(super) fn recorded(&self, root: &OpenRoot) -> Vec<(RelPath, u64)> {
        let Some(directory) = &self.options.records else { return Vec::new() };
        let names = directory.names().unwrap_or_default();
        let ours = names.iter().filter(|name| name.ends_with(ENDING));
        let records = ours.filter_map(|name| read(directory, name));
        let of_root = records.filter(|record| record.begun.store == self.store.name());
        of_root
            .filter_map(|record| {
                let path = path_of(&root.prefix, &record.begun.key)?;
                let bytes = record.parts.values().map(|part| part.size);
                Some((path, bytes.fold(0, u64::saturating_add)))
            })
            .collect()
    }
}
