//! Objects that another machine reads and writes by its own link.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Operation;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{
    FileRead, FilesAt, Outcome, ReadBlock, ReadFile, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::fault::{own, sort};
use super::readings::WRITTEN_DIGEST;
use super::roots::OpenRoot;
use super::source::{check, check_block, check_pack};
use super::store::{Fetched, Get, Load, Object, StoreResult};
use super::{OBJECTS_AT_ONCE, ObjectEndpoint, Shared, at_once};
use crate::endpoint::errands::{Kept, Porter};
use crate::endpoint::{EndpointError, EndpointResult, ProtocolReason};

impl ObjectEndpoint {
    /// Whether another machine can ask the store.
    #[must_use]
    pub fn is_asked_by_others(&self) -> bool {
        self.shared.store.is_asked_by_others()
    }

    /// Has another machine ask the store for the least that there is.
    ///
    /// # Errors
    /// Where it does not reach the store, or is refused.
    pub async fn try_from_there(&self, porter: &Arc<Porter>) -> StoreResult<()> {
        self.shared.store.try_from_there(porter).await
    }

    /// From now on, what is read to be compared is read by that machine, or by this one; what is
    /// said first holds.
    pub fn read_by(&self, porter: Option<&Arc<Porter>>) {
        let _once = self.shared.porter.set(porter.map(Arc::clone));
    }

    /// As [`Sink::write_block`](crate::endpoint::Sink::write_block), wherever the bytes are.
    pub async fn write_load(&self, write: WriteBlock, load: Load) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.write_block(&write, load).await }).await
    }

    /// As [`Sink::write_pack`](crate::endpoint::Sink::write_pack), wherever the bytes are.
    pub async fn write_loads(&self, pack: WritePack, load: Load) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.write_pack(pack, load).await }).await
    }

    /// As [`Source::read_block`](crate::endpoint::Source::read_block), the bytes kept by another
    /// machine.
    pub async fn read_block_there(
        &self,
        read: &ReadBlock,
        porter: &Arc<Porter>,
    ) -> EndpointResult<(Vec<Digest>, Arc<Kept>)> {
        self.shared.check_open()?;
        check_block(read)?;
        let (at, range) = (&read.file, read.range);
        let root = self.shared.root(at.root, Operation::Read)?;
        let place = (&*root, &at.path, &at.stamp);
        let shared = &self.shared;
        let (fetched, object) = shared.fetch(place, range, porter, Operation::Read).await?;
        shared.note_read((&root, &at.path), &at.stamp, (range.start(), &Bytes::new()), &object);
        Ok((fetched.digests, fetched.kept))
    }

    /// As [`Source::read_pack`](crate::endpoint::Source::read_pack), each file that is not empty
    /// kept for itself by another machine.
    pub async fn read_pack_there(
        &self,
        files: &FilesAt,
        porter: &Arc<Porter>,
    ) -> EndpointResult<(Vec<FileRead>, Vec<Arc<Kept>>)> {
        self.shared.check_open()?;
        check_pack(files)?;
        let root = self.shared.root(files.root, Operation::Read)?;
        let each = files.files.iter();
        let each = each.map(|(path, stamp)| {
            let place = (&*root, path, stamp);
            async move { own(self.shared.fetch_whole(place, porter).await) }.boxed()
        });
        let (mut reads, mut kept) = (Vec::new(), Vec::new());
        for read in at_once(OBJECTS_AT_ONCE, each.collect()).await? {
            reads.push(read.map(|(read, bytes)| {
                kept.extend(bytes);
                read
            }));
        }
        Ok((reads, kept))
    }
}

/// An object below a root, in the state that a stamp stands for.
type Place<'a> = (&'a OpenRoot, &'a RelPath, &'a Stamp);

impl Shared {
    async fn fetch_whole(
        &self,
        (root, path, stamp): Place<'_>,
        porter: &Arc<Porter>,
    ) -> EndpointResult<(ReadFile, Option<Arc<Kept>>)> {
        let Some(whole) = ByteRange::whole(stamp.size) else {
            self.look_at(root, path, stamp, Operation::Read).await?;
            let digest = xfer_protocol::digest::file_digest(&[]);
            return Ok((ReadFile { size: 0, digest }, None));
        };
        let mut is_again = false;
        loop {
            let place = (root, path, stamp);
            let (fetched, object) = self.fetch(place, whole, porter, Operation::Read).await?;
            let &[digest] = &fetched.digests[..] else { return Err(MISMATCHED) };
            match self.written_digest((root, path), stamp, &object) {
                Some(written) if written != digest && is_again => {
                    let key = root.key(path, Operation::Read)?;
                    return Err(self.differs(&key, path, WRITTEN_DIGEST).into());
                }
                // It may have been damaged on its way.
                Some(written) if written != digest => is_again = true,
                _ => return Ok((ReadFile { size: stamp.size, digest }, Some(fetched.kept))),
            }
        }
    }

    /// Has a machine fetch bytes of an object, and keep them.
    async fn fetch(
        &self,
        (root, path, stamp): Place<'_>,
        range: ByteRange,
        porter: &Arc<Porter>,
        during: Operation,
    ) -> EndpointResult<(Fetched, Object)> {
        let key = root.key(path, during)?;
        let version = self.version(root, path, stamp, during).await?;
        let get = Get { key: &key, range, version: &version };
        let fetched = self.store.fetch(get, stamp.size, porter).await;
        let (fetched, object) = fetched.map_err(|error| sort(error, during, path))?;
        check(&object, path, stamp, during)?;
        match fetched.digests.len() == xfer_protocol::digest::spans(range, stamp.size).count() {
            true => Ok((fetched, object)),
            false => Err(MISMATCHED),
        }
    }

    /// The digest of one span of an object, read by the machine that reads for us.
    pub(super) async fn digest_there(
        &self,
        place: Place<'_>,
        span: ByteRange,
        porter: &Arc<Porter>,
    ) -> EndpointResult<Digest> {
        let (fetched, _) = self.fetch(place, span, porter, Operation::Hash).await?;
        match fetched.digests[..] {
            [digest] => Ok(digest),
            _ => Err(MISMATCHED),
        }
    }

    /// The machine that reads for us, where the store lets it.
    pub(super) fn reader(&self) -> Option<&Arc<Porter>> {
        self.porter.get()?.as_ref().filter(|_| self.store.is_asked_by_others())
    }
}

const MISMATCHED: EndpointError = EndpointError::Protocol(ProtocolReason::Mismatched);
