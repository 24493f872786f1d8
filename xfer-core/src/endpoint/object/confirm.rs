//! The writing of objects, and what proves that they are there: what the store itself says of them,
//! or else their bytes, read back.

use std::time::Duration;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::attributes;
use super::entry::{number_of, stamp};
use super::fault::sort;
use super::manifest::{Described, DescribedKind};
use super::places::Standing;
use super::roots::OpenRoot;
use super::store::{
    Checksum, Condition, Key, Load, Object, Part, Put, StoreError, StoreResult, Stored, UploadId,
};
use super::sums::{acknowledges, crc_of, is_of, told_crc};
use super::upload::Upload;
use crate::endpoint::EndpointResult;

/// Pauses before an object that was written and is not seen is looked for again: about 6 s in all.
const UNSEEN_FIRST: Duration = Duration::from_millis(100);
const UNSEEN_LAST: Duration = Duration::from_millis(3200);

/// Times that an object is written, or an upload completed, whose outcome remains unknown: either
/// may be done twice.
const TRIES_MAX: u32 = 2;

/// A file that becomes an object.
pub(super) struct Written<'a> {
    pub(super) root: &'a OpenRoot,
    pub(super) path: &'a RelPath,
    pub(super) metadata: &'a Metadata,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What makes an object of ours.
pub(super) struct Mark<'a> {
    pub(super) attempt: Option<&'a str>,
    pub(super) size: u64,
    /// Of what was sent, where it is known.
    pub(super) crc: Option<u64>,
}

impl Mark<'_> {
    /// Whether an object is the one that was sent: an older one at its key never is.
    fn is_of(&self, object: &Object) -> bool {
        let kept = attributes::read(&object.attributes);
        let told = told_crc(&object.checksums);
        let same = told.zip(self.crc).is_none_or(|(told, ours)| told == ours);
        let is_marked = match self.attempt {
            Some(attempt) => kept.attempt.as_deref() == Some(attempt),
            // An upload that was found has another's mark: its bytes must speak for it.
            None => told.is_some() && self.crc.is_some(),
        };
        is_marked && same && object.size == self.size
    }
}

/// What was sent, to be compared with what the store says.
struct Sent<'a> {
    crc: u64,
    /// Of an object that was written whole.
    load: Option<&'a Load>,
    /// Whether the store acknowledged each part of an upload with a sum of it.
    acknowledged: bool,
}

impl Sent<'_> {
    /// Whether the store has said by a sum which bytes it received.
    fn is_acknowledged(&self, stored: &Stored) -> bool {
        let tag = stored.version.etag.as_deref();
        self.acknowledged
            || matches!(stored.checksum, Some(Checksum::Crc64Nvme(told)) if told == self.crc)
            || self.load.is_some_and(|load| acknowledges(stored.checksum, tag, load))
    }

    /// Whether one of the checksums over a whole object is that of what was sent.
    fn is_told(&self, checksums: &[Checksum]) -> bool {
        self.load.is_some_and(|load| checksums.iter().any(|told| is_of(*told, load)))
    }
}

impl Written<'_> {
    fn fault(&self, kind: FaultKind) -> Fault {
        Fault::new(kind, Operation::Commit, self.path.clone())
    }

    fn key(&self) -> Result<Key, Fault> {
        self.root.key(self.path, Operation::Commit)
    }
}

impl Shared {
    /// Writes an object whole.
    pub(super) async fn put_file(
        &self,
        file: &Written<'_>,
        load: &Load,
        durable: bool,
    ) -> EndpointResult<Stamp> {
        let key = file.key()?;
        let attempt = self.attempt();
        let told = attributes::written(file.metadata, Some(file.digest), Some(&attempt));
        let sum = crc_of(load);
        let mark = Mark { attempt: Some(&attempt), size: file.size, crc: Some(sum) };
        let mut outcome = Err(StoreError::Missing);
        for _ in 0..TRIES_MAX {
            let put = Put {
                key: &key,
                body: load.clone(),
                attributes: &told,
                checksum: Checksum::Crc64Nvme(sum),
                condition: Condition::Always,
            };
            outcome = self.store.put(put).await;
            let unknown = matches!(outcome, Err(StoreError::Unknown(_)));
            if unknown && let Some(found) = self.look_up(&key, &mark).await {
                outcome = Ok(found);
            }
            if !matches!(outcome, Err(StoreError::Unknown(_))) {
                break;
            }
        }
        let stored = outcome.map_err(|error| sort(error, Operation::Commit, file.path))?;
        let sent = Sent { crc: sum, load: Some(load), acknowledged: false };
        self.settle_file(file, &key, stored, &sent, durable).await
    }

    /// Makes an object of the parts of an upload.
    pub(super) async fn complete_file(
        &self,
        file: &Written<'_>,
        upload: &Upload,
        durable: bool,
    ) -> EndpointResult<Stamp> {
        let key = file.key()?;
        let table = upload.parts().ok_or_else(|| file.fault(FaultKind::Mismatch))?;
        let under = upload.under().await.ok_or_else(|| file.fault(FaultKind::Mismatch))?;
        let attempt = under.attempt.as_deref();
        let told = attributes::written(file.metadata, Some(file.digest), attempt);
        let sum = Some(Checksum::Crc64Nvme(table.crc));
        let mark = Mark { attempt, size: file.size, crc: Some(table.crc) };
        let completed = self.completed(&key, (&under.id, &table.parts), &told, sum, &mark).await;
        let stored = match completed {
            Ok(stored) => stored,
            Err(StoreError::Unknown(_) | StoreError::Missing) => {
                // Nothing that was sent can be relied on: the file is sent anew.
                upload.abort(self).await?;
                return Err(file.fault(FaultKind::Tainted).into());
            }
            Err(StoreError::Damaged(_)) => {
                upload.abort(self).await?;
                return Err(file.fault(FaultKind::Mismatch).into());
            }
            Err(error) => return Err(sort(error, Operation::Commit, file.path)),
        };
        self.drop_record(&key);
        let sent = Sent { crc: table.crc, load: None, acknowledged: table.acknowledged };
        self.settle_file(file, &key, stored, &sent, durable).await
    }

    /// Makes an object of parts; where the outcome is not known, it is looked up.
    pub(super) async fn completed(
        &self,
        key: &Key,
        (id, parts): (&UploadId, &[Part]),
        told: &[(String, String)],
        sum: Option<Checksum>,
        mark: &Mark<'_>,
    ) -> StoreResult<Stored> {
        let mut completed = Err(StoreError::Missing);
        for _ in 0..TRIES_MAX {
            let always = Condition::Always;
            completed = self.store.complete(key, id, parts, told, sum, always).await;
            if matches!(completed, Err(StoreError::Unknown(_) | StoreError::Missing))
                && let Some(found) = self.look_up(key, mark).await
            {
                completed = Ok(found);
            }
            if !matches!(completed, Err(StoreError::Unknown(_))) {
                break;
            }
        }
        completed
    }

    /// What became of a writing whose answer was lost.
    pub(super) async fn look_up(&self, key: &Key, mark: &Mark<'_>) -> Option<Stored> {
        let object = self.store.head(key).await.ok().filter(|object| mark.is_of(object))?;
        let checksum = object.checksums.first().copied();
        Some(Stored { version: object.version, checksum })
    }

    /// Compares what the store says with what was sent, and books the file.
    async fn settle_file(
        &self,
        file: &Written<'_>,
        key: &Key,
        stored: Stored,
        sent: &Sent<'_>,
        durable: bool,
    ) -> EndpointResult<Stamp> {
        let mismatch = || file.fault(FaultKind::Mismatch);
        if matches!(stored.checksum, Some(Checksum::Crc64Nvme(told)) if told != sent.crc) {
            return Err(mismatch().into());
        }
        // An answer without a sum says that something arrived, and not what.
        let is_open = durable || !sent.is_acknowledged(&stored);
        let mut version = stored.version;
        if is_open || version.etag.is_none() {
            let object = self.confirmed(key, file.path).await?;
            let differs = |ours: &Option<String>, theirs: &Option<String>| {
                ours.is_some() && theirs.is_some() && ours != theirs
            };
            let found = &object.version;
            if differs(&version.etag, &found.etag) || differs(&version.id, &found.id) {
                // Somebody else wrote it since.
                return Err(file.fault(FaultKind::Busy).into());
            }
            let told = told_crc(&object.checksums);
            if object.size != file.size || told.is_some_and(|told| told != sent.crc) {
                return Err(mismatch().into());
            }
            version = object.version;
            let is_told = told.is_some() || !durable && sent.is_told(&object.checksums);
            if is_open && !is_told {
                self.read_back(file, version.etag.as_deref()).await?;
            }
        }
        let etag = version.etag.ok_or_else(|| file.fault(FaultKind::Unsupported))?;
        let (size, digest) = (file.size, Some(file.digest));
        self.versions.note(&etag);
        let found = stamp(size, file.metadata.modified, number_of(&etag));
        let kind = DescribedKind::File { size, etag, digest };
        file.root.change(file.path, Described::new(kind, file.metadata));
        file.root.layer.restore(key);
        file.root.note(file.path, Standing::File);
        Ok(found)
    }

    /// What a store says of an object that it has just acknowledged; some need a while to see it.
    pub(super) async fn confirmed(&self, key: &Key, path: &RelPath) -> EndpointResult<Object> {
        let mut pause = UNSEEN_FIRST;
        loop {
            let looked: StoreResult<Object> = self.store.head(key).await;
            if looked != Err(StoreError::Missing) || pause > UNSEEN_LAST {
                return looked.map_err(|error| sort(error, Operation::Sync, path));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Reads an object back, of which the store tells no checksum that proves anything.
    async fn read_back(&self, file: &Written<'_>, etag: Option<&str>) -> EndpointResult<()> {
        let number = etag.map(number_of).unwrap_or_default();
        etag.into_iter().for_each(|etag| self.versions.note(etag));
        let wanted = stamp(file.size, file.metadata.modified, number);
        let found = self.hash_whole(file.root, file.path, &wanted).await?;
        if found == file.digest { Ok(()) } else { Err(file.fault(FaultKind::Mismatch).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::object::store::Version;

    /// An answer without a sum of all that was sent is none to rely on.
    #[test]
    fn what_a_store_received_its_answer_says_by_a_sum() {
        let load = Load::Here(bytes::Bytes::from_static(b"abc"));
        let stored = |etag: &str, checksum| {
            let version = Version { etag: Some(etag.to_owned()), id: None };
            Stored { version, checksum }
        };
        let ours = Checksum::Crc64Nvme(crc_of(&load));
        let md5 = "\"900150983cd24fb0d6963f7d28e17f72\"";
        let whole = Sent { crc: crc_of(&load), load: Some(&load), acknowledged: false };
        assert!(whole.is_acknowledged(&stored("\"x\"", Some(ours))));
        assert!(whole.is_acknowledged(&stored(md5, None)));
        assert!(!whole.is_acknowledged(&stored("\"x\"", None)));
        assert!(!whole.is_acknowledged(&stored(md5, Some(Checksum::Crc32c(1)))));
        assert!(whole.is_told(&[Checksum::Crc32c(1), ours]) && !whole.is_told(&[]));
        let parts = |acknowledged| Sent { crc: crc_of(&load), load: None, acknowledged };
        assert!(parts(true).is_acknowledged(&stored("\"x-2\"", None)));
        assert!(parts(false).is_acknowledged(&stored("\"x-2\"", Some(ours))));
        assert!(!parts(false).is_acknowledged(&stored(md5, None)));
    }
}
