//! One bucket, as the endpoint needs it: what every kind of store can be asked.
//!
//! A [`Store`] asks once and tells what came of it; patience is above it. What cannot be told is an
//! error and never a guess: an answer that got lost is [`StoreError::Unknown`], and whoever asked
//! looks up what became of it.

mod carrier;
mod credentials;
pub(crate) mod dates;
mod load;
pub mod memory;
pub mod open;
pub mod patience;
pub mod plain;
mod rate;
pub mod signed;
pub(crate) mod xml;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::range::ByteRange;

use crate::endpoint::EndpointError;
use crate::endpoint::errands::{Kept, Porter};

pub use load::{Cargo, Load, Unit};

/// The key of an object: 1 to 1,024 bytes of UTF-8, no component of which is empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Bytes of a key in every store that is known.
pub const KEY_BYTES_MAX: usize = 1024;

impl Key {
    /// Takes a key as it is; `None` where it is none that we write or read.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        (text.len() <= KEY_BYTES_MAX && text.split('/').all(is_plain)).then_some(Self(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        xfer_protocol::path::Escaped(self.0.as_bytes()).fmt(f)
    }
}

/// What names one state of an object: no later write leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// The entity tag, with its quotes where the store gives them.
    pub etag: Option<String>,
    /// The version id, of a bucket that keeps versions.
    pub id: Option<String>,
}

/// A checksum over a whole object, or over one part, that a store computed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-64/NVME, over all bytes.
    Crc64Nvme(u64),
    /// CRC-32C, over all bytes.
    Crc32c(u32),
    /// SHA-256, over all bytes.
    Sha256([u8; 32]),
    /// MD5, over all bytes.
    Md5([u8; 16]),
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// Its state.
    pub version: Version,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
    /// Checksums over the whole object that the store computed; of parts put together, none.
    pub checksums: Vec<Checksum>,
    /// What was written with it: names in lower case, without the store's prefix.
    pub attributes: Vec<(String, String)>,
    /// The coding that the store says it has, where that is another than none.
    pub coding: Option<String>,
}

/// One object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key as the store says it: it may be one that we cannot use.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The entity tag.
    pub etag: Option<String>,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

/// A page of a list, in the order of the keys' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects.
    pub objects: Vec<Listed>,
    /// What lies behind the next `/`, each once, with that `/`; none where nothing is folded.
    pub prefixes: Vec<String>,
    /// What asks for the next page; `None` at the end.
    pub next: Option<String>,
}

/// What a list is asked for.
#[derive(Clone, Debug)]
pub struct List<'a> {
    /// What keys begin with.
    pub prefix: &'a str,
    /// Whether what lies behind the next `/` is told as one prefix.
    pub folded: bool,
    /// The page, as an earlier one told.
    pub page: Option<&'a str>,
    /// Objects of a page at most; 1,000 is what every store gives.
    pub most: u16,
}

/// A reading.
#[derive(Clone, Debug)]
pub struct Get<'a> {
    /// The object.
    pub key: &'a Key,
    /// Which bytes; at least one.
    pub range: ByteRange,
    /// The state that it must have; in any, where nothing is said of it.
    pub version: &'a Version,
}

/// What another machine fetched, and keeps.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What it keeps.
    pub kept: Arc<Kept>,
    /// The digest of each aligned span of it.
    pub digests: Vec<Digest>,
}

/// What must be so for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Anything.
    Always,
    /// There is no such object.
    Absent,
    /// The object has this entity tag.
    Has(String),
}

/// A writing of a whole object.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// The object.
    pub key: &'a Key,
    /// Its bytes.
    pub body: Load,
    /// What is written with it: names of `a-z`, digits and `-`, values of printable ASCII.
    pub attributes: &'a [(String, String)],
    /// Over the body; the store compares where it can.
    pub checksum: Checksum,
    /// What must be so.
    pub condition: Condition,
}

/// What a store says of what it has just written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its state.
    pub version: Version,
    /// A checksum over all of it that the store computed, where the answer has one.
    pub checksum: Option<Checksum>,
}

/// Where a store is, and its bucket: what two of them have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service, by the address that all its buckets have in common.
    pub at: String,
    /// The name of the bucket there.
    pub bucket: String,
}

/// An object of a service in one state, of which the service itself can make another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: Key,
    /// The state that it must have.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// Names an upload in parts, for as long as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(pub String);

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The object that it will become.
    pub key: String,
    /// Its name.
    pub id: UploadId,
    /// When it was begun, by the store's clock.
    pub begun: Timestamp,
}

/// A part that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1 on.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// What names it when the upload is completed.
    pub tag: String,
    /// A checksum over it that the store computed, where it tells one.
    pub checksum: Option<Checksum>,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such object or upload.
    #[error("there is no such object")]
    Missing,
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoBucket,
    /// The credentials are not believed, or are over.
    #[error("the credentials are refused: {0}")]
    Refused(String),
    /// The credentials do not allow that.
    #[error("access denied: {0}")]
    Denied(String),
    /// The object is in another state than it must be.
    #[error("the object changed")]
    Changed,
    /// Somebody else writes the same object.
    #[error("another writer holds the object")]
    Busy,
    /// The store wants to be asked more slowly, or later.
    #[error("the store asks for less: {reason}")]
    Slow {
        /// What it says.
        reason: String,
        /// How long to wait, where it says that.
        after: Option<Duration>,
    },
    /// Nothing was done, and the same request may succeed.
    #[error("{0}")]
    Again(String),
    /// Whether it was done is not known.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// What arrived there is not what was sent, or what came is not what was asked for.
    #[error("damaged on its way: {0}")]
    Damaged(String),
    /// The store cannot do that.
    #[error("the store cannot do that")]
    Unsupported,
    /// The endpoint's certificate, or where it leads, is not believed.
    #[error("{0}")]
    Untrusted(String),
    /// The bucket is somewhere else, where nobody goes by himself.
    #[error("{0}")]
    Elsewhere(String),
    /// What the store says makes no sense, or is more than a limit of ours.
    #[error("the store answers nonsense: {0}")]
    Nonsense(String),
    /// The machine that asks in our place is out of reach, or broke the protocol.
    #[error("{0}")]
    Porter(EndpointError),
    /// What was to be written is kept no longer.
    #[error("what was to be written is kept no longer")]
    Unkept,
    /// The request is not to be repeated.
    #[error("{0}")]
    Failed(String),
}

/// The result of a request.
pub type StoreResult<T> = Result<T, StoreError>;

/// What a store can do; constant over its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Bytes of the smallest part but the last.
    pub part_min: u64,
    /// Bytes of the largest part.
    pub part_max: u64,
    /// Parts of one object at most.
    pub parts_max: u32,
    /// Bytes that one writing takes whole.
    pub put_max: u64,
    /// Whether the parts of an upload that was begun earlier can be listed.
    pub lists_parts: bool,
    /// Whether attributes are given when an upload is completed, and not when it begins.
    pub attributes_at_end: bool,
    /// Whether ending an upload removes its parts at once.
    pub takes_back: bool,
}

/// Scheme and host of an address: what stands behind them may be a secret.
fn origin(address: &str) -> &str {
    let host = address.find("://").map_or(0, |mark| mark + 3);
    let end = address[host..].find(['/', '?', '#']).map_or(address.len(), |end| host + end);
    &address[..end]
}

/// One bucket.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// What it can do.
    fn abilities(&self) -> Abilities;

    /// How it is shown: `s3://bucket`.
    fn name(&self) -> &str;

    /// Where it is asked: `https://host`; nothing where nobody is.
    fn address(&self) -> Option<&str> {
        None
    }

    /// What an object is; [`StoreError::Missing`] where there is none.
    async fn head(&self, key: &Key) -> StoreResult<Object>;

    /// Bytes of an object, exactly as many as were asked for, and what it is.
    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)>;

    /// Whether another machine can ask it, with requests that are made here: what such a machine
    /// keeps can be written, and what is read can be kept there.
    fn is_asked_by_others(&self) -> bool {
        false
    }

    /// The same as [`Self::get`] of an object of `size` bytes, by another machine, which keeps the
    /// bytes and says the digests of their aligned spans.
    async fn fetch(
        &self,
        _get: Get<'_>,
        _size: u64,
        _porter: &Arc<Porter>,
    ) -> StoreResult<(Fetched, Object)> {
        Err(StoreError::Unsupported)
    }

    /// Has another machine ask the least that there is to ask, to see whether it reaches the store.
    async fn try_from_there(&self, _porter: &Arc<Porter>) -> StoreResult<()> {
        Err(StoreError::Unsupported)
    }

    /// Where it is, if it makes objects of others of the same service by itself. Default: it does
    /// not.
    fn service(&self) -> Option<Service> {
        None
    }

    /// Makes an object of another one, with attributes of its own. A second time changes nothing;
    /// where the other one is in another state, it is [`StoreError::Changed`].
    async fn copy(
        &self,
        _key: &Key,
        _original: &Original,
        _attributes: &[(String, String)],
    ) -> StoreResult<Stored> {
        Err(StoreError::Unsupported)
    }

    /// The same of a part, from a range of the other object that has at least one byte.
    async fn copy_part(
        &self,
        _key: &Key,
        _upload: &UploadId,
        _number: u32,
        _original: &Original,
        _range: ByteRange,
    ) -> StoreResult<Part> {
        Err(StoreError::Unsupported)
    }

    /// Writes an object whole.
    async fn put(&self, put: Put<'_>) -> StoreResult<Stored>;

    /// Removes an object; one that is not there is no error.
    async fn remove(&self, key: &Key) -> StoreResult<()>;

    /// Removes an object that has this entity tag. A store that cannot be told so removes it as it
    /// is: whoever asks has just looked.
    async fn remove_if(&self, key: &Key, etag: &str) -> StoreResult<()> {
        let _untold = etag;
        self.remove(key).await
    }

    /// Removes a directory in which nothing is left and that is told all the same; `prefix` ends
    /// with its `/`.
    async fn remove_directory(&self, _prefix: &str) -> StoreResult<()> {
        Err(StoreError::Unsupported)
    }

    /// Whether something that was removed is kept as an older version, as far as a store has said.
    fn keeps_removed(&self) -> bool {
        false
    }

    /// One page of what is there.
    async fn list(&self, list: List<'_>) -> StoreResult<Page>;

    /// Begins an upload in parts.
    async fn begin(&self, key: &Key, attributes: &[(String, String)]) -> StoreResult<UploadId>;

    /// Writes a part; the same number again replaces it.
    async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Load,
        checksum: Checksum,
    ) -> StoreResult<Part>;

    /// The parts that are there, with numbers above `after`, in order; none at the end.
    async fn parts(&self, key: &Key, upload: &UploadId, after: u32) -> StoreResult<Vec<Part>>;

    /// Makes the object of its parts, which lie one behind the other and are all there are.
    async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        attributes: &[(String, String)],
        checksum: Option<Checksum>,
        condition: Condition,
    ) -> StoreResult<Stored>;

    /// Ends an upload, and removes its parts.
    async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()>;

    /// Uploads that are under way, of keys that begin so.
    async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_no_more_than_scheme_and_host() {
        for (address, expected) in [
            ("https://h", "https://h"),
            ("http://h:9/b/c", "http://h:9"),
            ("http://[::1]:9/b", "http://[::1]:9"),
            ("https://h?sig=a/b", "https://h"),
            ("", ""),
        ] {
            assert_eq!(origin(address), expected);
        }
    }
}
