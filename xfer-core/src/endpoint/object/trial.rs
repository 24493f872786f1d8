//! What a bucket bears, for whoever thinks of a transfer: requests that leave nothing behind.

use std::sync::Arc;

use bytes::Bytes;
use xfer_protocol::limits::TRIAL_PAYLOAD_MAX;
use xfer_protocol::range::ByteRange;

use super::RECORDS;
use super::keys::key_of;
use super::locate::typed;
use super::store::{Checksum, Get, Key, List, Store, StoreError, StoreResult, UploadId, Version};
use super::sums::crc;
use crate::endpoint::filler::filler;

/// Objects among which the largest is looked for.
const LISTED: u16 = 1000;

/// Bytes of a piece at most.
pub(crate) const PIECE_MAX: u32 = 8 * TRIAL_PAYLOAD_MAX;

/// How often an upload is ended whose parts are still told.
const ENDED_MAX: usize = 3;

/// A place in a bucket that is tried.
pub(crate) struct Trial {
    store: Arc<dyn Store>,
    /// The object that has the place's own name.
    itself: Option<Key>,
    /// What the keys below the place begin with.
    prefix: String,
    /// A key that no object has.
    nothing: Key,
    payload: Bytes,
}

impl Trial {
    /// Asks nobody yet; `None` for a path that no key has. `unique` names what is tried.
    pub(crate) fn new(store: Arc<dyn Store>, path: &[u8], unique: u64) -> Option<Self> {
        let path = typed(path)?;
        let (itself, prefix) = if path.is_root() {
            (None, String::new())
        } else {
            let key = key_of("", &path).ok()?;
            let prefix = format!("{}/", key.as_str());
            (Some(key), prefix)
        };
        let nothing = Key::new(format!("{prefix}{RECORDS}/probe-{unique:016x}"))?;
        let pieces = usize::try_from(PIECE_MAX / TRIAL_PAYLOAD_MAX).unwrap_or(1);
        let payload = Bytes::from(filler(TRIAL_PAYLOAD_MAX).repeat(pieces));
        Some(Self { store, itself, prefix, nothing, payload })
    }

    /// A small request and its answer: that there is no such object.
    pub(crate) async fn ask(&self) -> StoreResult<()> {
        match self.store.head(&self.nothing).await {
            // Who may not list is not told what is missing.
            Ok(_) | Err(StoreError::Missing | StoreError::Denied(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether ending an upload removes its parts.
    pub(crate) fn takes_back(&self) -> bool {
        self.store.abilities().takes_back
    }

    /// The object that an upload would become, which is never made.
    pub(crate) fn key(&self) -> &Key {
        &self.nothing
    }

    /// Begins an upload.
    pub(crate) async fn begin(&self) -> StoreResult<UploadId> {
        self.store.begin(&self.nothing, &[]).await
    }

    /// Writes a part that means nothing, of [`PIECE_MAX`] bytes at most.
    pub(crate) async fn put(&self, upload: &UploadId, number: u32, length: u32) -> StoreResult<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.payload.len());
        let body = self.payload.slice(..length);
        let checksum = Checksum::Crc64Nvme(crc(&body));
        self.store.put_part(&self.nothing, upload, number, body.into(), checksum).await.map(drop)
    }

    /// Ends an upload, until the store tells no part of it any more: one that was under way may
    /// have arrived after the end.
    pub(crate) async fn take_back(&self, upload: &UploadId) -> StoreResult<()> {
        for _ in 0..ENDED_MAX {
            match self.store.abort(&self.nothing, upload).await {
                Ok(()) | Err(StoreError::Missing) => {}
                Err(error) => return Err(error),
            }
            match self.store.parts(&self.nothing, upload, 0).await {
                Ok(parts) if !parts.is_empty() => {}
                _ => return Ok(()),
            }
        }
        Err(StoreError::Failed("parts of it are still there".to_owned()))
    }

    /// The largest object of the first page below the place, or the object of that name.
    pub(crate) async fn largest(&self) -> StoreResult<Option<(Key, u64)>> {
        let list = List { prefix: &self.prefix, folded: false, page: None, most: LISTED };
        let page = self.store.list(list).await?;
        let usable = page.objects.into_iter().filter_map(|listed| {
            let key = Key::new(listed.key)?;
            Some((key, listed.size))
        });
        match (usable.max_by_key(|(_, size)| *size), &self.itself) {
            (None, Some(key)) => match self.store.head(key).await {
                Ok(object) => Ok(Some((key.clone(), object.size))),
                Err(StoreError::Missing) => Ok(None),
                Err(error) => Err(error),
            },
            (largest, _) => Ok(largest),
        }
    }

    /// Reads a range of an object, in whatever state it is.
    pub(crate) async fn get(&self, key: &Key, range: ByteRange) -> StoreResult<()> {
        let version = Version::default();
        self.store.get(Get { key, range, version: &version }).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::memory::{BucketTrouble, MemoryBucket, Request};
    use super::*;

    fn trial(bucket: &MemoryBucket, path: &[u8]) -> Trial {
        Trial::new(Arc::new(bucket.clone()), path, 7).unwrap()
    }

    #[tokio::test]
    async fn what_was_tried_leaves_nothing() {
        let bucket = MemoryBucket::new("tried");
        let trial = trial(&bucket, b"/run 7/");
        assert_eq!(trial.key().as_str(), "run 7/.xfer-receipts/probe-0000000000000007");
        trial.ask().await.unwrap();
        let upload = trial.begin().await.unwrap();
        trial.put(&upload, 1, 1000).await.unwrap();
        assert_eq!(bucket.open_uploads().len(), 1);
        trial.take_back(&upload).await.unwrap();
        assert!(bucket.open_uploads().is_empty() && bucket.keys().is_empty());
        // What is gone needs no taking back.
        trial.take_back(&upload).await.unwrap();
    }

    #[tokio::test]
    async fn an_upload_that_cannot_be_taken_back_is_told() {
        let bucket = MemoryBucket::new("kept");
        let trial = trial(&bucket, b"/");
        let upload = trial.begin().await.unwrap();
        let denied = StoreError::Denied("no".to_owned());
        bucket.order(Request::Abort, 0, 1, BucketTrouble::Fail(denied));
        assert!(matches!(trial.take_back(&upload).await, Err(StoreError::Denied(_))));
    }

    #[tokio::test]
    async fn the_largest_below_the_place_is_read_or_the_place_itself() {
        let bucket = MemoryBucket::new("read");
        for (key, length) in [("a", 9), ("d/small", 1), ("d/large", 5), ("e/huge", 99)] {
            bucket.put_as_is(key, vec![0; length], &[]);
        }
        let largest = async |path: &[u8]| {
            let found = trial(&bucket, path).largest().await.unwrap();
            found.map(|(key, size)| (key.as_str().to_owned(), size))
        };
        assert_eq!(largest(b"/").await, Some(("e/huge".into(), 99)));
        assert_eq!(largest(b"/d").await, Some(("d/large".into(), 5)));
        assert_eq!(largest(b"/a").await, Some(("a".into(), 9)));
        assert_eq!(largest(b"/nothing").await, None);
        let range = ByteRange::new(1, 4).unwrap();
        trial(&bucket, b"/").get(&Key::new("d/large").unwrap(), range).await.unwrap();
    }
}
