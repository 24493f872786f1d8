//! Entries of a bucket, and what names their state.

use std::collections::HashMap;
use std::sync::Mutex;

use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, Stamp, Timestamp};
use xfer_protocol::path::RelPath;

use super::attributes;
use super::guard;
use super::manifest::{Described, DescribedKind};
use super::store::{Listed, Object, Version};

/// Entity tags that are remembered by their digests; forgotten all at once beyond that.
const VERSIONS_MAX: usize = 1 << 17;

/// The permission bits of what tells none.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// An object as a list or a look tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) size: u64,
    pub(super) etag: Option<Box<str>>,
    pub(super) modified: Timestamp,
}

impl Seen {
    pub(super) fn of(object: &Object) -> Self {
        let etag = object.version.etag.as_deref().map(Into::into);
        Self { size: object.size, etag, modified: object.modified }
    }

    pub(super) fn listed(listed: &Listed) -> Self {
        let etag = listed.etag.as_deref().map(Into::into);
        Self { size: listed.size, etag, modified: listed.modified }
    }

    /// What stands for an inode's number: no write leaves it as it is.
    pub(super) fn number(&self) -> u64 {
        match &self.etag {
            Some(etag) => number_of(etag),
            None => first(format!("{}:{:?}", self.size, self.modified).as_bytes()),
        }
    }

    pub(super) fn is_described(&self, described: &Described) -> bool {
        match &described.kind {
            DescribedKind::File { size, etag, .. } => {
                let same = |found: &str| plain(found) == plain(etag);
                *size == self.size && self.etag.as_deref().is_some_and(same)
            }
            _ => false,
        }
    }
}

/// The number of an entity tag.
pub(super) fn number_of(etag: &str) -> u64 {
    first(plain(etag).as_bytes())
}

/// An entity tag without quotes, which not every answer has.
fn plain(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// The number of a directory, which has no state: that of its key.
pub(super) fn directory_number(prefix: &str) -> u64 {
    first(prefix.as_bytes())
}

fn first(bytes: &[u8]) -> u64 {
    let digest = blake3::hash(bytes);
    digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The metadata of an object that no manifest describes.
pub(super) fn metadata_of(object: &Object) -> Metadata {
    let kept = attributes::read(&object.attributes);
    Metadata {
        mode: kept.mode.unwrap_or(FILE_MODE),
        modified: kept.modified.unwrap_or(object.modified),
        ..Metadata::default()
    }
}

/// The metadata of a directory that nothing describes.
pub(super) fn implied() -> Metadata {
    Metadata { mode: DIRECTORY_MODE, ..Metadata::default() }
}

pub(super) fn entry(path: RelPath, kind: EntryKind, metadata: Metadata, number: u64) -> Entry {
    Entry { path, kind, metadata, inode: Inode { number, links: 1, ..Inode::default() } }
}

pub(super) fn file(path: RelPath, seen: &Seen, metadata: Metadata) -> Option<Entry> {
    let (size, number) = (seen.size, seen.number());
    let kind = EntryKind::File { size, allocated: size };
    (size <= limits::FILE_BYTES_MAX).then(|| entry(path, kind, metadata, number))
}

pub(super) fn stamp(size: u64, modified: Timestamp, number: u64) -> Stamp {
    Stamp { size, modified, inode: number, changed: Timestamp::default() }
}

/// Which entity tag a number stands for.
#[derive(Default)]
pub(super) struct Versions(Mutex<HashMap<u64, Box<str>>>);

impl Versions {
    pub(super) fn note(&self, etag: &str) {
        let mut known = guard(&self.0);
        if known.len() >= VERSIONS_MAX {
            known.clear();
        }
        known.insert(number_of(etag), etag.into());
    }

    pub(super) fn find(&self, stamp: &Stamp) -> Option<Version> {
        let etag = guard(&self.0).get(&stamp.inode).map(|etag| String::from(&**etag));
        etag.map(|etag| Version { etag: Some(etag), id: None })
    }
}
