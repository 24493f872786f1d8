//! Large files being assembled: in parts, or in memory where one part is all there is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{Notify, RwLock};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{Commit, Keep, OpenPartial, Partial, PartialIndex, WriteBlock};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;
use xfer_protocol::session::assembly::{Accept, Assembly};

use super::places::Standing;
use super::publish::{Body, Staged};
use super::roots::OpenRoot;
use super::sums::{grains, length, span_digests};
use super::upload::{Upload, part_length};
use super::{GRID, Shared, guard};
use crate::endpoint::EndpointResult;

/// Partials that are done, remembered so that a call that comes late or again is understood.
const DONE_MAX: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Partials(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<PartialIndex, Arc<PartialFile>>,
    done: BTreeSet<PartialIndex>,
}

/// One file being assembled.
pub(super) struct PartialFile {
    index: PartialIndex,
    pub(super) root: Arc<OpenRoot>,
    pub(super) path: RelPath,
    stage: Mutex<Stage>,
    /// Ranges are claimed in it.
    assembly: Mutex<Assembly>,
    released: Notify,
    /// Shared by those who work on ranges, exclusive for whoever ends or takes over the file.
    calls: RwLock<()>,
    pub(super) content: Content,
}

/// Where the bytes are.
pub(super) enum Content {
    Whole(Mutex<Bytes>),
    Parts(Arc<Upload>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Staged,
    /// Another opening took the file over.
    Replaced,
    Tainted,
}

impl Partials {
    pub(super) fn clear(&self) {
        guard(&self.0).open.clear();
    }

    /// Forgets a partial that was published or removed.
    pub(super) fn forget(&self, index: PartialIndex) {
        let mut table = guard(&self.0);
        if table.open.remove(&index).is_some() {
            table.done.insert(index);
            if table.done.len() > DONE_MAX {
                table.done.pop_first();
            }
        }
    }

    /// Whether a file of a root is being assembled here.
    pub(super) fn holds(&self, root: &OpenRoot, path: &RelPath) -> bool {
        let is = |p: &Arc<PartialFile>| p.root.prefix == root.prefix && p.path == *path;
        guard(&self.0).open.values().any(is)
    }
}

impl PartialFile {
    pub(super) fn size(&self) -> u64 {
        self.assembly().size()
    }

    pub(super) fn assembly(&self) -> MutexGuard<'_, Assembly> {
        guard(&self.assembly)
    }

    pub(super) fn fault(&self, kind: FaultKind, during: Operation) -> Fault {
        Fault::new(kind, during, self.path.clone())
    }

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

    fn check_open(&self, during: Operation) -> Result<(), Fault> {
        match self.stage() {
            Stage::Open => Ok(()),
            Stage::Tainted => Err(self.fault(FaultKind::Tainted, during)),
            Stage::Staged | Stage::Replaced => Err(self.fault(FaultKind::Protocol, during)),
        }
    }

    fn stage(&self) -> Stage {
        *guard(&self.stage)
    }

    fn set_stage(&self, stage: Stage) {
        *guard(&self.stage) = stage;
    }

    /// Checks that a block fits the file and the grid, and its bytes their digests; those of each
    /// 64 KiB come back.
    fn check_block(
        &self,
        write: &WriteBlock,
        payload: &Bytes,
        part_max: u64,
    ) -> Result<(Bytes, Vec<Digest>), Fault> {
        let fault = |kind| self.fault(kind, Operation::Write);
        let (range, size) = (write.range, self.size());
        let expected = if write.hole { 0 } else { range.len() };
        if range.end() > size || length(payload) != expected {
            return Err(fault(FaultKind::Protocol));
        }
        let on_grid = range.start().is_multiple_of(GRID)
            && (range.end() == size || range.end().is_multiple_of(GRID));
        if !on_grid || (range.len() > part_max && !write.hole) {
            return Err(fault(FaultKind::Protocol));
        }
        let bytes = match write.hole {
            // A store has no holes.
            true if range.len() > HOLE_BYTES_MAX => return Err(fault(FaultKind::Limit)),
            true => {
                let zeros = usize::try_from(range.len()).map_err(|_| fault(FaultKind::Limit))?;
                Bytes::from(vec![0; zeros])
            }
            false => payload.clone(),
        };
        let grains = grains(range.start(), &bytes, size);
        match span_digests(range, &grains, size) {
            Some(found) if found == write.digests => Ok((bytes, grains)),
            Some(found) if found.len() == write.digests.len() => Err(fault(FaultKind::Mismatch)),
            _ => Err(fault(FaultKind::Protocol)),
        }
    }

    /// Takes what of a range is to be written, once no other call works on it.
    async fn claim(&self, range: ByteRange, digests: usize) -> Result<Option<Claimed<'_>>, Fault> {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Whoever lets go after the look below is heard.
            released.as_mut().enable();
            let accepted = self.assembly().accept(range, digests);
            match accepted.map_err(|_| self.fault(FaultKind::Protocol, Operation::Write))? {
                Accept::Duplicate => return Ok(None),
                Accept::Write(pieces) => {
                    return Ok(Some(Claimed { partial: self, range, pieces }));
                }
                Accept::Busy => released.await,
            }
        }
    }
}

/// Bytes of a hole that are written as zeros in one call.
const HOLE_BYTES_MAX: u64 = 64 << 20;

/// A range that nobody else writes until this is dropped.
struct Claimed<'a> {
    partial: &'a PartialFile,
    range: ByteRange,
    pieces: Vec<ByteRange>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.partial.assembly().release(self.range);
        self.partial.released.notify_waiters();
    }
}

impl Shared {
    pub(super) async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial> {
        let root = self.writable(open.root, Operation::Open)?;
        let fault = |kind| Fault::new(kind, Operation::Open, open.path.clone());
        if open.path.is_root() {
            return Err(fault(FaultKind::Protocol).into());
        }
        let assembly = Assembly::new(open.size).map_err(|_| fault(FaultKind::FileTooLarge))?;
        let _claim = self.claims.claim(open.root, [&open.path]).await;
        if let Some(same) = self.known(&open)? {
            return Ok(same);
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
        let partial = PartialFile {
            index: open.partial,
            root,
            path: open.path.clone(),
            stage: Mutex::new(Stage::Open),
            assembly: Mutex::new(assembly),
            released: Notify::new(),
            calls: RwLock::default(),
            content,
        };
        let held = partial.held();
        let mut table = guard(&self.partials.0);
        if table.open.len() >= limits::PARTIALS_MAX {
            return Err(fault(FaultKind::Limit).into());
        }
        table.open.insert(open.partial, Arc::new(partial));
        Ok(Partial { held })
    }

    /// The answer to an opening that was answered before.
    fn known(&self, open: &OpenPartial) -> Result<Option<Partial>, Fault> {
        let table = guard(&self.partials.0);
        if table.done.contains(&open.partial) {
            // A first run of this call that comes too late.
            return Ok(Some(Partial { held: Vec::new() }));
        }
        let Some(known) = table.open.get(&open.partial) else { return Ok(None) };
        if known.path != open.path || known.root.index != open.root {
            return Err(known.fault(FaultKind::Protocol, Operation::Open));
        }
        let goes_on = matches!(known.stage(), Stage::Open | Stage::Staged);
        if !goes_on || known.size() != open.size {
            return Ok(None);
        }
        Ok(Some(Partial { held: known.held() }))
    }

    /// Takes a file away from an earlier opening of it, whose calls fail from now on; those under
    /// way end first.
    pub(super) async fn release_partial(&self, root: &OpenRoot, path: &RelPath) {
        let before = {
            let mut table = guard(&self.partials.0);
            let of_path = |p: &&Arc<PartialFile>| p.path == *path && p.root.index == root.index;
            let before = table.open.values().find(of_path).map(Arc::clone);
            before.inspect(|before| drop(table.open.remove(&before.index)))
        };
        if let Some(before) = before {
            before.set_stage(Stage::Replaced);
            drop(before.calls.write().await);
        }
    }

    /// An open partial; `None` if it is done, so that nothing remains to be done.
    pub(super) fn partial(
        &self,
        index: PartialIndex,
        during: Operation,
    ) -> Result<Option<Arc<PartialFile>>, Fault> {
        let table = guard(&self.partials.0);
        match table.open.get(&index) {
            Some(partial) => Ok(Some(Arc::clone(partial))),
            None if table.done.contains(&index) => Ok(None),
            None => Err(Fault::new(FaultKind::Protocol, during, RelPath::root())),
        }
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
        payload: Bytes,
    ) -> EndpointResult<()> {
        let Some(partial) = self.partial(write.partial, Operation::Write)? else { return Ok(()) };
        let part_max = self.capabilities.part_max;
        let (bytes, grains) = partial.check_block(write, &payload, part_max)?;
        let _call = partial.calls.read().await;
        if partial.assembly().present().contains(write.range) {
            return Ok(());
        }
        partial.check_open(Operation::Write)?;
        let claimed = partial.claim(write.range, write.digests.len()).await?;
        let Some(claimed) = claimed else { return Ok(()) };
        for piece in &claimed.pieces {
            let written = self.write_piece(&partial, write.range, *piece, &bytes, &grains).await;
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
        bytes: &Bytes,
        grains: &[Digest],
    ) -> EndpointResult<()> {
        let protocol = || partial.fault(FaultKind::Protocol, Operation::Write);
        let cut = |piece: ByteRange| {
            let first = usize::try_from(piece.start().checked_sub(range.start())?).ok()?;
            let last = first.checked_add(usize::try_from(piece.len()).ok()?)?;
            let grain = usize::try_from(xfer_protocol::digest::BlockSize::MIN.bytes()).ok()?;
            let grains = grains.get(first / grain..last.div_ceil(grain))?;
            (last <= bytes.len()).then(|| (bytes.slice(first..last), grains.to_vec()))
        };
        match &partial.content {
            Content::Whole(whole) => {
                let (bytes, _) = cut(piece).ok_or_else(protocol)?;
                *guard(whole) = bytes;
            }
            Content::Parts(upload) => {
                for piece in upload.cut(piece) {
                    let (bytes, grains) = cut(piece).ok_or_else(protocol)?;
                    upload.write(self, piece.start(), bytes, grains).await?;
                }
            }
        }
        let (_, of_piece) = cut(piece).ok_or_else(protocol)?;
        let digests = span_digests(piece, &of_piece, partial.size()).ok_or_else(protocol)?;
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
                let bytes = guard(whole).clone();
                let file = (&*partial.root, &partial.path);
                self.stage_bytes(file, bytes, metadata, commit.digest).await?
            }
            Content::Parts(upload) => {
                // Before anybody asks the store to make an object of them.
                upload.parts().ok_or_else(mismatch)?;
                Body::Upload(Arc::clone(upload))
            }
        };
        if let Content::Whole(whole) = &partial.content {
            *guard(whole) = Bytes::new();
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
        let Some(partial) = guard(&self.partials.0).open.get(&index).map(Arc::clone) else {
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
