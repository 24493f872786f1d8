//! Files that the store copies by itself: of another object of the same service, in one state, and
//! no byte of it passes here.
//!
//! What proves such a copy is what the store tells of both objects: one sum over all of either that
//! it computed by itself. Where it tells none, the copy is read back, and must have the digest that
//! was written with the other object. Without either nothing is proven, and the file passes here.

use std::sync::Arc;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::{FileAt, RootIndex};
use xfer_protocol::path::RelPath;

use super::confirm::Mark;
use super::entry::{number_of, stamp};
use super::fault::{own, sort};
use super::manifest::{Described, DescribedKind};
use super::places::Standing;
use super::roots::OpenRoot;
use super::store::{Checksum, Key, Original, StoreError, StoreResult, Stored};
use super::sums::told_crc;
use super::{ObjectEndpoint, Shared, attributes};
use crate::endpoint::EndpointResult;

/// Bytes that are copied in one request, and the least part of a larger object. No part that is
/// sent from here has that length or a multiple by a power of two: neither upload is taken for one
/// of the other kind.
pub(super) const PART_BYTES: u64 = 24 << 20;

/// Times that a copy is made whose outcome remains unknown: it may be made twice.
const TRIES_MAX: u32 = 2;

/// An object that is to be copied, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(super) original: Original,
    /// By the word of whoever wrote it.
    pub(super) digest: Option<Digest>,
    pub(super) checksums: Vec<Checksum>,
}

/// A file that is to be a copy.
pub(crate) struct Copying {
    pub(crate) root: RootIndex,
    pub(crate) path: RelPath,
    pub(crate) metadata: Metadata,
    /// Whether it is read back later, and held to the digest of what it was copied from.
    pub(crate) is_read_back: bool,
    /// Hears of bytes as they are copied.
    pub(crate) on_copied: Arc<dyn Fn(u64) + Send + Sync>,
}

/// A copy that is proven, or will be where it is read back later.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) stamp: Stamp,
    /// What its bytes were read back as, or must be.
    pub(crate) digest: Option<Digest>,
    /// Bytes that an earlier session had copied.
    pub(crate) kept: u64,
}

/// Why there is no copy that could be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Uncopied {
    /// The store does not do that.
    Refused(String),
    /// It does not do that with this one.
    Failed(String),
    /// What was to be copied is in another state.
    Changed,
    /// Nothing would tell, or tells, that it is the same.
    Unproven,
    /// It is another.
    Differs,
}

/// How a copy ended.
pub(crate) type CopyResult = EndpointResult<Result<Copied, Uncopied>>;

/// What became of a request.
pub(super) enum Ended {
    Refused(Uncopied),
    Store(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Known {
    /// Whether a copy can be proven where it is read back, or where it is not.
    pub(crate) fn is_provable(&self, is_read_back: bool) -> bool {
        self.digest.is_some() || !is_read_back && self.checksums.iter().any(is_strong)
    }

    /// Whether the store's sums say that both are the same; `None` where they do not say.
    fn compared(&self, size: u64, checksums: &[Checksum]) -> Option<bool> {
        let both = self.checksums.iter().flat_map(|ours| {
            let of_kind = checksums.iter().filter(|told| is_of_one_kind(ours, told));
            of_kind.map(move |told| (ours, told))
        });
        let (mut is_equal, mut differs) = (false, size != self.original.size);
        for (ours, told) in both {
            differs |= ours != told;
            is_equal |= ours == told && is_strong(ours);
        }
        (differs || is_equal).then_some(!differs)
    }

    /// Whether both are one object's bytes, by the store's sums.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.compared(other.original.size, &other.checksums) == Some(true)
    }
}

/// Whether chance makes no other bytes have it.
fn is_strong(checksum: &Checksum) -> bool {
    matches!(checksum, Checksum::Crc64Nvme(_) | Checksum::Sha256(_))
}

fn is_of_one_kind(one: &Checksum, other: &Checksum) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

impl ObjectEndpoint {
    /// Whether the store can make objects of those of the other one.
    pub(crate) fn copies_from(&self, other: &Self) -> bool {
        let (to, from) = (self.shared.store.service(), other.shared.store.service());
        to.is_some_and(|to| from.is_some_and(|from| to.at == from.at))
    }

    /// An object in the state that a stamp stands for, and what the store knows of it.
    pub(crate) async fn known(&self, at: &FileAt) -> EndpointResult<Result<Known, Fault>> {
        self.shared.check_open()?;
        own(self.shared.known(at).await)
    }

    /// Makes a file of what an object of `from` has, a bucket of the same service.
    pub(crate) async fn copy_known(
        &self,
        copying: Copying,
        known: Known,
        from: &Self,
    ) -> CopyResult {
        let from = Arc::clone(&from.shared);
        self.whole(|shared| async move { shared.copy_known(&copying, &known, &from).await }).await
    }
}

impl Shared {
    async fn known(&self, at: &FileAt) -> EndpointResult<Known> {
        let fault = |kind| Fault::new(kind, Operation::Read, at.path.clone());
        let root = self.root(at.root, Operation::Read)?;
        let service = self.store.service().ok_or_else(|| fault(FaultKind::Unsupported))?;
        let object = self.look_at(&root, &at.path, &at.stamp, Operation::Read).await?;
        let digest = self.written_digest((&root, &at.path), &at.stamp, &object);
        let key = root.key(&at.path, Operation::Read)?;
        let etag = object.version.etag.ok_or_else(|| fault(FaultKind::Unsupported))?;
        let original = Original { bucket: service.bucket, key, etag, size: object.size };
        Ok(Known { original, digest, checksums: object.checksums })
    }

    async fn copy_known(&self, copying: &Copying, known: &Known, from: &Self) -> CopyResult {
        let Copying { root, path, .. } = copying;
        let _claim = self.claims.claim(*root, [path]).await;
        let root = self.writable(*root, Operation::Write)?;
        if !known.is_provable(copying.is_read_back) {
            return Ok(Err(Uncopied::Unproven));
        }
        if self.reach_new(&root, path, Operation::Write).await? == Standing::Directory {
            return Err(Fault::new(FaultKind::Conflict, Operation::Write, path.clone()).into());
        }
        self.unstage(&root, path).await?;
        self.release_partial(&root, path).await;
        let key = root.key(path, Operation::Write)?;
        let made = if known.original.size <= PART_BYTES {
            let made = self.copy_whole(&key, copying, known).await;
            made.map(|stored| (stored, 0)).map_err(Ended::Store)
        } else {
            self.copy_in_parts(&key, copying, known, from).await
        };
        let (stored, kept) = match made {
            Ok(made) => made,
            Err(Ended::Refused(why)) => return Ok(Err(why)),
            Err(Ended::Store(error)) => return self.uncopied(error, path),
        };
        self.settle_copy((&root, &key), copying, known, &stored, kept).await
    }

    /// What is no error of the session leads the file through here.
    fn uncopied(&self, error: StoreError, path: &RelPath) -> CopyResult {
        match error {
            StoreError::Changed => Ok(Err(Uncopied::Changed)),
            StoreError::Damaged(_) => Ok(Err(Uncopied::Differs)),
            // Whoever reads it is told what is missing.
            StoreError::Missing | StoreError::Busy => Ok(Err(Uncopied::Unproven)),
            StoreError::Denied(_)
            | StoreError::Elsewhere(_)
            | StoreError::NoBucket
            | StoreError::Nonsense(_)
            | StoreError::Unsupported => Ok(Err(Uncopied::Refused(error.to_string()))),
            StoreError::Failed(why) => Ok(Err(Uncopied::Failed(why))),
            error => Err(sort(error, Operation::Write, path)),
        }
    }

    async fn copy_whole(&self, key: &Key, copying: &Copying, known: &Known) -> StoreResult<Stored> {
        let attempt = self.attempt();
        let told = attributes::written(&copying.metadata, known.digest, Some(&attempt));
        let (size, crc) = (known.original.size, told_crc(&known.checksums));
        let mark = Mark { attempt: Some(&attempt), size, crc };
        let mut copied = Err(StoreError::Missing);
        for _ in 0..TRIES_MAX {
            copied = self.store.copy(key, &known.original, &told).await;
            if !matches!(copied, Err(StoreError::Unknown(_))) {
                break;
            }
            if let Some(found) = self.look_up(key, &mark).await {
                copied = Ok(found);
                break;
            }
        }
        if copied.is_ok() {
            (copying.on_copied)(size);
        }
        copied
    }

    /// Holds a copy to what the store tells of it, or to its bytes, and books it.
    async fn settle_copy(
        &self,
        (root, key): (&OpenRoot, &Key),
        copying: &Copying,
        known: &Known,
        stored: &Stored,
        kept: u64,
    ) -> CopyResult {
        let Copying { path, metadata, is_read_back, .. } = copying;
        let fault = |kind| Fault::new(kind, Operation::Commit, path.clone());
        let object = self.confirmed(key, path).await?;
        let etag = object.version.etag.clone();
        let etag = etag.ok_or_else(|| fault(FaultKind::Unsupported))?;
        let number = number_of(&etag);
        if stored.version.etag.as_deref().is_some_and(|told| number_of(told) != number) {
            // Somebody else wrote it since.
            return Err(fault(FaultKind::Busy).into());
        }
        self.versions.note(&etag);
        let size = known.original.size;
        let found = stamp(size, metadata.modified, number);
        let digest = match (known.compared(object.size, &object.checksums), known.digest) {
            (Some(false), _) => return Ok(Err(Uncopied::Differs)),
            (_, digest) if *is_read_back => digest,
            (Some(true), _) => None,
            (None, None) => return Ok(Err(Uncopied::Unproven)),
            (None, Some(digest)) => {
                if self.hash_whole(root, path, &found).await? != digest {
                    return Ok(Err(Uncopied::Differs));
                }
                Some(digest)
            }
        };
        let kind = DescribedKind::File { size, etag, digest: known.digest };
        root.change(path, Described::new(kind, metadata));
        root.layer.restore(key);
        root.note(path, Standing::File);
        Ok(Ok(Copied { stamp: found, digest, kept }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sum_of_a_kind_that_is_enough_says_that_two_are_equal() {
        let crc = Checksum::Crc64Nvme(7);
        let (sha, weak) = (Checksum::Sha256([7; 32]), Checksum::Crc32c(7));
        let known = |checksums: &[Checksum]| {
            let key = Key::new("k").unwrap();
            let original = Original { bucket: "b".into(), key, etag: "e".into(), size: 9 };
            Known { original, digest: None, checksums: checksums.to_vec() }
        };
        for (ours, theirs, expected) in [
            (&[crc][..], &[crc][..], Some(true)),
            (&[sha], &[crc, sha], Some(true)),
            (&[weak], &[weak], None),
            (&[crc], &[sha], None),
            (&[], &[], None),
            (&[crc], &[Checksum::Crc64Nvme(8)], Some(false)),
            (&[crc, weak], &[crc, Checksum::Crc32c(8)], Some(false)),
        ] {
            let found = known(ours).compared(9, theirs);
            assert_eq!(found, expected, "{ours:?} {theirs:?}");
        }
        assert_eq!(known(&[crc]).compared(8, &[crc]), Some(false));
    }
}
