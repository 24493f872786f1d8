//! Reading objects, each in the state that the scan saw.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use xfer_protocol::digest::{BlockSize, Digest, file_digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{FileAt, FileRead, FilesAt, ReadBlock, ReadFile};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::entry::Seen;
use super::fault::{own, sort};
use super::roots::OpenRoot;
use super::store::{Get, Key, Object, Version};
use super::{OBJECTS_AT_ONCE, Shared, at_once};
use crate::endpoint::EndpointResult;

impl Shared {
    pub(super) async fn read_block(
        &self,
        read: &ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Bytes)> {
        check_block(read)?;
        let (at, range) = (&read.file, read.range);
        let size = at.stamp.size;
        let protocol = || protocol(&at.path);
        let root = self.root(at.root, Operation::Read)?;
        let bytes = self.read_noted(&root, &at.path, &at.stamp, range, Operation::Read).await?;
        let hashed = bytes.clone();
        let hash = move || range_digests(range.start(), &hashed, size);
        let digests = self.apart(range.len(), hash).await?.ok_or_else(protocol)?;
        Ok((digests, bytes))
    }

    /// All of it: objects have no holes.
    pub(super) async fn data_ranges(&self, at: &FileAt) -> EndpointResult<Vec<ByteRange>> {
        let root = self.root(at.root, Operation::Read)?;
        self.version(&root, &at.path, &at.stamp, Operation::Read).await?;
        Ok(ByteRange::whole(at.stamp.size).into_iter().collect())
    }

    pub(super) async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        check_pack(&files)?;
        let root = self.root(files.root, Operation::Read)?;
        let each = files.files.iter();
        let each = each.map(|(path, stamp)| self.read_own(&root, path, stamp).boxed()).collect();
        let mut payload = BytesMut::new();
        let mut reads = Vec::with_capacity(files.files.len());
        for read in at_once(OBJECTS_AT_ONCE, each).await? {
            reads.push(read.map(|(bytes, digest)| {
                payload.extend_from_slice(&bytes);
                ReadFile { size: bytes.len() as u64, digest }
            }));
        }
        Ok((reads, payload.freeze()))
    }

    async fn read_own(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<Result<(Bytes, Digest), Fault>> {
        let Some(whole) = ByteRange::whole(stamp.size) else {
            let looked = self.look_at(root, path, stamp, Operation::Read).await;
            return own(looked.map(|_| (Bytes::new(), file_digest(b""))));
        };
        own(self.read_whole(root, path, stamp, whole).await)
    }

    /// All of a small object, held to what is known of it. What differs is read once more: it may
    /// have been damaged on its way.
    async fn read_whole(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
        whole: ByteRange,
    ) -> EndpointResult<(Bytes, Digest)> {
        let during = Operation::Read;
        let key = root.key(path, during)?;
        let version = self.version(root, path, stamp, during).await?;
        let mut is_again = false;
        loop {
            let (bytes, object) =
                self.read_checked(&key, path, stamp, whole, &version, during).await?;
            match self.digest_of_whole((root, path), (&key, stamp), &bytes, &object) {
                Ok(digest) => return Ok((bytes, digest)),
                Err(what) if is_again => return Err(self.differs(&key, path, what).into()),
                Err(_) => is_again = true,
            }
        }
    }

    /// As [`Self::read_range`], and remembered until the file is held to what is known of it.
    pub(super) async fn read_noted(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
        range: ByteRange,
        during: Operation,
    ) -> EndpointResult<Bytes> {
        let key = root.key(path, during)?;
        let version = self.version(root, path, stamp, during).await?;
        let (bytes, object) = self.read_checked(&key, path, stamp, range, &version, during).await?;
        self.note_read((root, path), stamp, (range.start(), &bytes), &object);
        Ok(bytes)
    }

    /// Bytes of an object in the state that a stamp stands for.
    pub(super) async fn read_range(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
        range: ByteRange,
        during: Operation,
    ) -> EndpointResult<Bytes> {
        let key = root.key(path, during)?;
        let version = self.version(root, path, stamp, during).await?;
        let read = self.read_checked(&key, path, stamp, range, &version, during).await;
        read.map(|(bytes, _)| bytes)
    }

    async fn read_checked(
        &self,
        key: &Key,
        path: &RelPath,
        stamp: &Stamp,
        range: ByteRange,
        version: &Version,
        during: Operation,
    ) -> EndpointResult<(Bytes, Object)> {
        let read = self.store.get(Get { key, range, version }).await;
        let (bytes, object) = read.map_err(|error| sort(error, during, path))?;
        check(&object, path, stamp, during)?;
        if bytes.len() as u64 != range.len() {
            return Err(Fault::new(FaultKind::Mismatch, during, path.clone()).into());
        }
        Ok((bytes, object))
    }

    /// The state that a stamp stands for.
    pub(super) async fn version(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
        during: Operation,
    ) -> EndpointResult<Version> {
        match self.versions.find(stamp) {
            Some(version) => Ok(version),
            None => Ok(self.look_at(root, path, stamp, during).await?.version),
        }
    }

    /// Looks at an object, which must be what its stamp says.
    pub(super) async fn look_at(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
        during: Operation,
    ) -> EndpointResult<Object> {
        let key = root.key(path, during)?;
        let object = self.store.head(&key).await.map_err(|error| sort(error, during, path))?;
        check(&object, path, stamp, during)?;
        if let Some(etag) = &object.version.etag {
            self.versions.note(etag);
        }
        self.readings.tell(&key, &object);
        Ok(object)
    }
}

/// Whether a block may be asked for.
pub(super) fn check_block(read: &ReadBlock) -> Result<(), Fault> {
    let (size, range) = (read.file.stamp.size, read.range);
    let grid = BlockSize::MIN.bytes();
    let on_grid = range.start().is_multiple_of(grid)
        && (range.end() == size || range.end().is_multiple_of(grid));
    let is_short = usize::try_from(range.len()).is_ok_and(|len| len <= limits::PAYLOAD_BYTES_MAX);
    match is_short && range.end() <= size && on_grid {
        true => Ok(()),
        false => Err(protocol(&read.file.path)),
    }
}

/// Whether files may be asked for together.
pub(super) fn check_pack(files: &FilesAt) -> Result<(), Fault> {
    let sizes = files.files.iter().map(|(_, stamp)| stamp.size);
    let total = sizes.fold(0_u64, u64::saturating_add);
    let is_short = usize::try_from(total).is_ok_and(|total| total <= limits::PAYLOAD_BYTES_MAX);
    match is_short && files.files.len() <= limits::BATCH_ENTRIES_MAX {
        true => Ok(()),
        false => Err(Fault::new(FaultKind::Limit, Operation::Read, RelPath::root())),
    }
}

fn protocol(path: &RelPath) -> Fault {
    Fault::new(FaultKind::Protocol, Operation::Read, path.clone())
}

/// Whether an object is what its stamp says, and is read as it is stored.
pub(super) fn check(
    object: &Object,
    path: &RelPath,
    stamp: &Stamp,
    during: Operation,
) -> Result<(), Fault> {
    let fault = |kind| Err(Fault::new(kind, during, path.clone()));
    if object.size != stamp.size || Seen::of(object).number() != stamp.inode {
        return fault(FaultKind::Changed);
    }
    // What a store unpacks on the way has another length than it says, and no digest of ours.
    match &object.coding {
        Some(coding) if coding != "identity" && coding != "aws-chunked" => {
            fault(FaultKind::Unsupported)
        }
        _ => Ok(()),
    }
}
