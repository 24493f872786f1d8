//! Large files being assembled.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{Notify, RwLock};
use xfer_protocol::digest::{range_digests, zero_range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Metadata;
use xfer_protocol::message::{Commit, Keep, OpenPartial, Partial, PartialIndex, WriteBlock};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::{ByteRange, RangeSet};
use xfer_protocol::session::assembly::{Accept, Assembly};

use super::entry::wanted;
use super::fault::sort;
use super::publish::Staged;
use super::roots::OpenRoot;
use super::{Shared, guard};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::transport::sftp::{Attributes, FileKind, OpenHandle, Opening, Refusal, SftpError};

/// Partials that are done, remembered so that a call that comes late or again is understood.
const DONE_MAX: usize = 1 << 16;

/// Zeros written at a time where a hole lies over bytes of an earlier session.
const ZEROS_BYTES: usize = 1 << 20;

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
    state: Mutex<State>,
    /// Ranges are claimed in it.
    assembly: Mutex<Assembly>,
    released: Notify,
    /// Shared by those who work on ranges, exclusive for whoever ends or takes over the file.
    pub(super) calls: RwLock<()>,
    /// What an earlier session may have written.
    held: Option<ByteRange>,
}

struct State {
    stage: Stage,
    /// `None` once the file is complete.
    handle: Option<Arc<OpenHandle>>,
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
    pub(super) fn holds(&self, root: &OpenRoot, partial: &[u8]) -> bool {
        let is = |p: &Arc<PartialFile>| {
            p.root.index == root.index && root.partial_at(&p.path) == partial
        };
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

    /// The open file, while it may be written.
    pub(super) fn handle(&self, during: Operation) -> Result<Arc<OpenHandle>, Fault> {
        let state = guard(&self.state);
        match (&state.handle, state.stage) {
            (Some(handle), Stage::Open) => Ok(Arc::clone(handle)),
            (_, Stage::Tainted) => Err(self.fault(FaultKind::Tainted, during)),
            _ => Err(self.fault(FaultKind::Protocol, during)),
        }
    }

    fn stage(&self) -> Stage {
        guard(&self.state).stage
    }

    fn set_stage(&self, stage: Stage) {
        let mut state = guard(&self.state);
        state.stage = stage;
        state.handle = None;
    }

    /// Checks that a block fits the file, and its bytes their digests.
    fn check_block(&self, write: &WriteBlock, payload: &[u8]) -> Result<(), Fault> {
        let fault = |kind| self.fault(kind, Operation::Write);
        let (range, size) = (write.range, self.size());
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let expected = if write.hole { 0 } else { range.len() };
        if range.end() > size || length != expected {
            return Err(fault(FaultKind::Protocol));
        }
        let found = match write.hole {
            true => zero_range_digests(range, size),
            false => range_digests(range.start(), payload, size),
        };
        match found {
            Some(found) if found == write.digests => Ok(()),
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
        self.reach_new(&root, &open.path, Operation::Open).await?;
        guard(&root.staged).remove(&open.path);
        self.release_partial(&root, &open.path).await;
        let (handle, length) = self.open_or_make(&root, &open).await?;
        let held = ByteRange::new(0, length.min(open.size)).ok();
        let state = State { stage: Stage::Open, handle: Some(Arc::new(handle)) };
        let partial = PartialFile {
            index: open.partial,
            root,
            path: open.path.clone(),
            state: Mutex::new(state),
            assembly: Mutex::new(assembly),
            released: Notify::new(),
            calls: RwLock::default(),
            held,
        };
        let mut table = guard(&self.partials.0);
        if table.open.len() >= limits::PARTIALS_MAX {
            return Err(fault(FaultKind::Limit).into());
        }
        table.open.insert(open.partial, Arc::new(partial));
        Ok(Partial { held: held.into_iter().collect() })
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
        let mut held: RangeSet = known.assembly().present().clone();
        known.held.into_iter().for_each(|range| held.insert(range));
        Ok(Some(Partial { held: held.iter().collect() }))
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

    /// Opens what an earlier session left, or begins anew; tells how long it is.
    async fn open_or_make(
        &self,
        root: &OpenRoot,
        open: &OpenPartial,
    ) -> EndpointResult<(OpenHandle, u64)> {
        let failed = |error| sort(error, Operation::Open, &open.path);
        let at = root.partial_at(&open.path);
        let found = match self.sftp.attributes(&at, false).await {
            Ok(found) => Some(found),
            Err(SftpError::Refused(Refusal::NotFound)) => None,
            Err(error) => return Err(failed(error)),
        };
        match found.and_then(|found| found.kind()) {
            Some(FileKind::Regular) => {
                // A file that was complete may have lost its owner's permission.
                let mode = Attributes { permissions: Some(0o600), ..Attributes::default() };
                self.sftp.set(&at, &mode).await.map_err(failed)?;
                let handle = self.sftp.open(&at, Opening::Write).await.map_err(failed)?;
                let found = handle.attributes().await.map_err(failed)?;
                let length = found.size.unwrap_or_default();
                if length > open.size {
                    let size = Attributes { size: Some(open.size), ..Attributes::default() };
                    handle.set(&size).await.map_err(failed)?;
                }
                Ok((handle, length))
            }
            _ => Ok((self.make_partial(root, &open.path, Operation::Open).await?, 0)),
        }
    }

    /// Opens a new file under its partial's name, in the place of whatever has that name.
    pub(super) async fn make_partial(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
    ) -> EndpointResult<OpenHandle> {
        let at = root.partial_at(path);
        let mut made = self.sftp.open(&at, Opening::Create).await;
        if made.as_ref().is_err_and(|e| *e == SftpError::Refused(Refusal::Failure))
            && self.sftp.remove(&at).await.is_ok()
        {
            made = self.sftp.open(&at, Opening::Create).await;
        }
        match made {
            Ok(handle) => Ok(handle),
            Err(error) => Err(self.write_fault(root, error, during, path).await),
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
        partial.handle(Operation::Hash)?;
        for range in &keep.ranges {
            let kept = partial.assembly().keep(*range);
            kept.map_err(|_| partial.fault(FaultKind::Protocol, Operation::Hash))?;
        }
        Ok(())
    }

    pub(super) async fn write_block(
        &self,
        write: &WriteBlock,
        payload: Bytes,
    ) -> EndpointResult<()> {
        let Some(partial) = self.partial(write.partial, Operation::Write)? else { return Ok(()) };
        partial.check_block(write, &payload)?;
        let _call = partial.calls.read().await;
        if partial.assembly().present().contains(write.range) {
            return Ok(());
        }
        let handle = partial.handle(Operation::Write)?;
        let claimed = partial.claim(write.range, write.digests.len()).await?;
        let Some(claimed) = claimed else { return Ok(()) };
        let protocol = || partial.fault(FaultKind::Protocol, Operation::Write);
        for piece in &claimed.pieces {
            let bytes = if write.hole {
                None
            } else {
                Some(slice_of(&payload, write.range, *piece).ok_or_else(protocol)?)
            };
            let digests = match &bytes {
                _ if *piece == write.range => Some(write.digests.clone()),
                Some(bytes) => range_digests(piece.start(), bytes, partial.size()),
                None => zero_range_digests(*piece, partial.size()),
            };
            let digests = digests.ok_or_else(protocol)?;
            let written = match bytes {
                Some(bytes) => handle.write(piece.start(), bytes).await,
                None => write_zeros(&handle, *piece).await,
            };
            if let Err(error) = written {
                return Err(self.write_failed(&partial, error).await);
            }
            partial.assembly().written(*piece, &digests).map_err(|_| protocol())?;
        }
        Ok(())
    }

    /// What a failed write leaves is kept where room was short, and given up otherwise.
    async fn write_failed(&self, partial: &PartialFile, error: SftpError) -> EndpointError {
        let fault = self.write_fault(&partial.root, error, Operation::Write, &partial.path).await;
        let kept = match &fault {
            EndpointError::Fault(f) => {
                matches!(f.kind, FaultKind::NoSpace | FaultKind::NoInodes | FaultKind::ReadOnly)
            }
            EndpointError::Lost(_) | EndpointError::Protocol(_) => true,
        };
        if !kept {
            self.taint(partial).await;
        }
        fault
    }

    /// Gives the file up: what the server says after a failed write or sync proves nothing.
    async fn taint(&self, partial: &PartialFile) {
        partial.set_stage(Stage::Tainted);
        // If even this fails, the next opening hashes what is there before it counts.
        let _ = self.sftp.remove(&partial.root.partial_at(&partial.path)).await;
    }

    pub(super) async fn commit(&self, commit: &Commit) -> EndpointResult<()> {
        let Some(partial) = self.partial(commit.partial, Operation::Commit)? else { return Ok(()) };
        let _claim = self.claims.claim(partial.root.index, [&partial.path]).await;
        let _calls = partial.calls.write().await;
        if partial.stage() == Stage::Staged {
            return Ok(());
        }
        let handle = partial.handle(Operation::Commit)?;
        let complete = partial.assembly().complete(commit.digest);
        complete.map_err(|_| partial.fault(FaultKind::Mismatch, Operation::Commit))?;
        // Zeros at the end may count as there without having been written.
        let failed = |error| sort(error, Operation::Commit, &partial.path);
        let found = handle.attributes().await.map_err(failed)?;
        if found.size != Some(partial.size()) {
            let size = Attributes { size: Some(partial.size()), ..Attributes::default() };
            handle.set(&size).await.map_err(failed)?;
        }
        let synced = match self.complete(&handle, &commit.metadata, true).await {
            Ok(synced) => synced,
            Err((Operation::Sync, SftpError::Refused(_))) => {
                self.taint(&partial).await;
                return Err(partial.fault(FaultKind::Tainted, Operation::Sync).into());
            }
            Err((during, error)) => return Err(sort(error, during, &partial.path)),
        };
        partial.set_stage(Stage::Staged);
        let staged = Staged { ticket: commit.ticket, partial: Some(partial.index), synced };
        guard(&partial.root.staged).insert(partial.path.clone(), staged);
        Ok(())
    }

    /// Sets the metadata of a file whose bytes are all written, and syncs it where that is asked:
    /// whether it is synced comes back.
    pub(super) async fn complete(
        &self,
        handle: &OpenHandle,
        metadata: &Metadata,
        sync: bool,
    ) -> Result<bool, (Operation, SftpError)> {
        let (owner, rest) = wanted(metadata, &self.options);
        for attributes in owner.iter().chain([&rest]) {
            let set = handle.set(attributes).await;
            set.map_err(|error| (Operation::SetMetadata, error))?;
        }
        let sync = sync && self.options.sync && self.sftp.extensions().fsync;
        if sync {
            handle.sync().await.map_err(|error| (Operation::Sync, error))?;
        }
        Ok(sync)
    }

    pub(super) async fn discard(&self, index: PartialIndex) -> EndpointResult<()> {
        let Some(partial) = guard(&self.partials.0).open.get(&index).map(Arc::clone) else {
            return Ok(());
        };
        let _claim = self.claims.claim(partial.root.index, [&partial.path]).await;
        let _calls = partial.calls.write().await;
        if partial.stage() != Stage::Replaced {
            guard(&partial.root.staged).remove(&partial.path);
            match self.sftp.remove(&partial.root.partial_at(&partial.path)).await {
                Ok(()) | Err(SftpError::Refused(Refusal::NotFound)) => {}
                Err(error) => return Err(sort(error, Operation::Remove, &partial.path)),
            }
        }
        self.partials.forget(index);
        Ok(())
    }
}

async fn write_zeros(handle: &OpenHandle, range: ByteRange) -> Result<(), SftpError> {
    let zeros = Bytes::from(vec![0; ZEROS_BYTES]);
    let mut start = range.start();
    while start < range.end() {
        let left = usize::try_from(range.end() - start).unwrap_or(usize::MAX);
        let piece = zeros.slice(..left.min(ZEROS_BYTES));
        let count = piece.len() as u64;
        handle.write(start, piece).await?;
        start += count;
    }
    Ok(())
}

/// The bytes of `piece`, where `payload` holds those of `range`.
fn slice_of(payload: &Bytes, range: ByteRange, piece: ByteRange) -> Option<Bytes> {
    let start = usize::try_from(piece.start().checked_sub(range.start())?).ok()?;
    let end = start.checked_add(usize::try_from(piece.len()).ok()?)?;
    (end <= payload.len()).then(|| payload.slice(start..end))
}
