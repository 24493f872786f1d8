//! Large files being assembled: in parts, or in memory where one part is all there is.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::{Commit, Keep, OpenPartial, Partial, PartialIndex, WriteBlock};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;
use xfer_protocol::session::assembly::Assembly;

use super::places::Standing;
use super::publish::{Body, Staged};
use super::roots::OpenRoot;
use super::store::Load;
use super::sums::Grains;
use super::upload::{Upload, part_length};
use super::{GRID, Shared, guard};
use crate::endpoint::EndpointResult;
use crate::endpoint::agentless::partials::{self, Known, Stage};

/// The partials of a session.
pub(super) type Partials = partials::Partials<OpenRoot, Content>;

/// One file being assembled.
pub(super) type PartialFile = partials::PartialFile<OpenRoot, Content>;

/// Where the bytes are.
pub(super) enum Content {
    Whole(Mutex<Load>),
    Parts(Arc<Upload>),
}

impl Partials {
    /// Whether a file of a root is being assembled here.
    pub(super) fn holds(&self, root: &OpenRoot, path: &RelPath) -> bool {
        self.any(|p| p.root.prefix == root.prefix && p.path == *path)
    }
}

impl PartialFile {
    /// The digest of a block that an earlier session left.
    pub(super) fn recorded(&self, block: ByteRange) -> Option<Digest> {
        match &self.content {
            Content::Whole(_) => None,
            Content::Parts(upload) => upload.recorded(block),
        }
    }

    fn held(&self) -> Vec<ByteRange> {
        match &self.content {
            Content::Whole(_) => Vec::new(),
            Content::Parts(upload) => upload.held(),
        }
    }

    /// Checks that a block fits the file and the grid, and its bytes their digests; those of its
    /// pieces come back.
    fn check_block(
        &self,
        write: &WriteBlock,
        payload: &Load,
        part_max: u64,
    ) -> Result<(Load, Grains), Fault> {
        let fault = |kind| self.fault(kind, Operation::Write);
        let (range, size) = (write.range, self.size());
        let expected = if write.hole { 0 } else { range.len() };
        if range.end() > size || payload.length() != expected {
            return Err(fault(FaultKind::Protocol));
        }
        let on_grid = range.start().is_multiple_of(GRID)
            && (range.end() == size || range.end().is_multiple_of(GRID));
        if !on_grid || (range.len() > part_max && !write.hole) {
            return Err(fault(FaultKind::Protocol));
        }
        let load = match write.hole {
            // A store has no holes.
            true if range.len() > HOLE_BYTES_MAX => return Err(fault(FaultKind::Limit)),
            true => {
                let zeros = usize::try_from(range.len()).map_err(|_| fault(FaultKind::Limit))?;
                Bytes::from(vec![0; zeros]).into()
            }
            false => payload.clone(),
        };
        let grains = Grains::of(&load, range.start(), size);
        let grains = grains.ok_or_else(|| fault(FaultKind::Protocol))?;
        match grains.span_digests(range, size) {
            Some(found) if found == write.digests => Ok((load, grains)),
            Some(found) if found.len() == write.digests.len() => Err(fault(FaultKind::Mismatch)),
            _ => Err(fault(FaultKind::Protocol)),
        }
    }
}

/// Bytes of a hole that are written as zeros in one call.
const HOLE_BYTES_MAX: u64 = 64 << 20;

impl Shared {
    pub(super) async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial> {
        let root = self.writable(open.root, Operation::Open)?;
        let fault = |kind| Fault::new(kind, Operation::Open, open.path.clone());
        if open.path.is_root() {
            return Err(fault(FaultKind::Protocol).into());
        }
        let assembly = Assembly::new(open.size).map_err(|_| fault(FaultKind::FileTooLarge))?;
        let _claim = self.claims.claim(open.root, [&open.path]).await;
        match self.partials.known(&open)? {
            Known::Done => return Ok(Partial { held: Vec::new(), in_place: false }),
            Known::Open(same) => return Ok(Partial { held: same.held(), in_place: false }),
            Known::Nothing => {}
        }
        if self.reach_new(&root, &open.path, Operation::Open).await? == Standing::Directory {
            return Err(fault(FaultKind::Conflict).into());
        }
        self.unstage(&root, &open.path).await?;
        self.release_partial(&root, &open.path).await;
        let key = root.key(&open.path, Operation::Open)?;
        let content = if open.size <= GRID {
            Content::Whole(Mutex::default())
        } else {
            let parts_max = self.store.abilities().parts_max;
            let length = part_length(open.size, parts_max);
            let length = length.ok_or_else(|| fault(FaultKind::FileTooLarge))?;
            let upload = Upload::new(key, open.path.clone(), open.size, length);
            upload.resume(self).await?;
            Content::Parts(Arc::new(upload))
        };
        let partial = PartialFile::new(&open, root, assembly, content);
        let held = partial.held();
        self.partials.add(partial)?;
        Ok(Partial { held, in_place: false })
    }

    /// Takes a file away from an earlier opening of it, whose calls fail from now on; those under
    /// way end first.
    pub(super) async fn release_partial(&self, root: &OpenRoot, path: &RelPath) {
        if let Some(before) = self.partials.take(root.index, path) {
            drop(before.calls.write().await);
        }
    }

    /// An open partial; `None` if it is done, so that nothing remains to be done.
    pub(super) fn partial(
        &self,
        index: PartialIndex,
        during: Operation,
    ) -> Result<Option<Arc<PartialFile>>, Fault> {
        self.partials.get(index, during)
    }

    pub(super) fn keep(&self, keep: &Keep) -> EndpointResult<()> {
        let Some(partial) = self.partial(keep.partial, Operation::Hash)? else { return Ok(()) };
        partial.check_open(Operation::Hash)?;
        let protocol = || partial.fault(FaultKind::Protocol, Operation::Hash);
        for range in &keep.ranges {
            let Content::Parts(upload) = &partial.content else { return Err(protocol().into()) };
            // First what was hashed is asked, for without that nothing is proven.
            let mut tried = partial.assembly().clone();
            tried.keep(*range).map_err(|_| protocol())?;
            upload.keep(*range)?;
            partial.assembly().keep(*range).map_err(|_| protocol())?;
        }
        Ok(())
    }

    pub(super) async fn write_block(
        &self,
        write: &WriteBlock,
        payload: Load,
    ) -> EndpointResult<()> {
        let Some(partial) = self.partial(write.partial, Operation::Write)? else { return Ok(()) };
        let part_max = self.capabilities.part_max;
        let (checking, asked) = (Arc::clone(&partial), write.clone());
        let check = move || checking.check_block(&asked, &payload, part_max);
        let (load, grains) = self.apart(write.range.len(), check).await??;
        let _call = partial.calls.read().await;
        if partial.assembly().present().contains(write.range) {
            return Ok(());
        }
        partial.check_open(Operation::Write)?;
        let claimed = partial.claim(write.range, write.digests.len()).await?;
        let Some(claimed) = claimed else { return Ok(()) };
        for piece in &claimed.pieces {
            let written = self.write_piece(&partial, write.range, *piece, &load, &grains).await;
            if let Err(error) = written {
                let is_gone = |fault: &Fault| fault.kind == FaultKind::Tainted;
                if matches!(&error, crate::endpoint::EndpointError::Fault(f) if is_gone(f)) {
                    partial.set_stage(Stage::Tainted);
                    self.drop_record(&partial.root.key(&partial.path, Operation::Write)?);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_piece(
        &self,
        partial: &PartialFile,
        range: ByteRange,
        piece: ByteRange,
        load: &Load,
        grains: &Grains,
    ) -> EndpointResult<()> {
        let protocol = || partial.fault(FaultKind::Protocol, Operation::Write);
        let cut = |piece: ByteRange| {
            let first = piece.start().checked_sub(range.start())?;
            let end = first.checked_add(piece.len())?;
            Some((load.cut(first, end)?, grains.cut(first, end)?))
        };
        match &partial.content {
            Content::Whole(whole) => {
                let (load, _) = cut(piece).ok_or_else(protocol)?;
                *guard(whole) = load;
            }
            Content::Parts(upload) => {
                for piece in upload.cut(piece) {
                    let (load, grains) = cut(piece).ok_or_else(protocol)?;
                    upload.write(self, piece.start(), load, grains).await?;
                }
            }
        }
        let (_, of_piece) = cut(piece).ok_or_else(protocol)?;
        let digests = of_piece.span_digests(piece, partial.size()).ok_or_else(protocol)?;
        partial.assembly().written(piece, &digests).map_err(|_| protocol())?;
        Ok(())
    }

    pub(super) async fn commit(&self, commit: &Commit) -> EndpointResult<()> {
        let Some(partial) = self.partial(commit.partial, Operation::Commit)? else { return Ok(()) };
        let _claim = self.claims.claim(partial.root.index, [&partial.path]).await;
        let _calls = partial.calls.write().await;
        if partial.stage() == Stage::Staged {
            return Ok(());
        }
        partial.check_open(Operation::Commit)?;
        let mismatch = || partial.fault(FaultKind::Mismatch, Operation::Commit);
        let complete = partial.assembly().complete(commit.digest);
        complete.map_err(|_| mismatch())?;
        let metadata = &commit.metadata;
        let body = match &partial.content {
            Content::Whole(whole) => {
                let load = guard(whole).clone();
                let file = (&*partial.root, &partial.path);
                self.stage_load(file, load, metadata, commit.digest).await?
            }
            Content::Parts(upload) => {
                // Before anybody asks the store to make an object of them.
                upload.parts().ok_or_else(mismatch)?;
                Body::Upload(Arc::clone(upload))
            }
        };
        if let Content::Whole(whole) = &partial.content {
            *guard(whole) = Load::default();
        }
        partial.set_stage(Stage::Staged);
        let staged = Staged {
            ticket: commit.ticket,
            partial: Some(partial.index),
            metadata: metadata.clone(),
            digest: commit.digest,
            size: partial.size(),
            body,
        };
        guard(&partial.root.staged).insert(partial.path.clone(), staged);
        Ok(())
    }

    pub(super) async fn discard(&self, index: PartialIndex) -> EndpointResult<()> {
        let Some(partial) = self.partials.find(index) else {
            return Ok(());
        };
        let _claim = self.claims.claim(partial.root.index, [&partial.path]).await;
        let _calls = partial.calls.write().await;
        if partial.stage() != Stage::Replaced {
            self.unstage(&partial.root, &partial.path).await?;
            if let Content::Parts(upload) = &partial.content {
                upload.abort(self).await?;
            }
        }
        self.partials.forget(index);
        Ok(())
    }
}
