//! Large files being assembled.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use xfer_protocol::digest::{range_digests, zero_range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Metadata;
use xfer_protocol::message::{Commit, Keep, OpenPartial, Partial, PartialIndex, WriteBlock};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::{ByteRange, RangeSet};
use xfer_protocol::session::assembly::Assembly;

use super::entry::wanted;
use super::fault::sort;
use super::publish::Staged;
use super::roots::OpenRoot;
use super::{Shared, guard};
use crate::endpoint::agentless::partials::{self, Known, Stage};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::transport::sftp::{Attributes, FileKind, OpenHandle, Opening, Refusal, SftpError};

/// Zeros written at a time where a hole lies over bytes of an earlier session.
const ZEROS_BYTES: usize = 1 << 20;

/// The partials of a session.
pub(super) type Partials = partials::Partials<OpenRoot, Opened>;

/// One file being assembled.
pub(super) type PartialFile = partials::PartialFile<OpenRoot, Opened>;

/// The file on the far machine.
pub(super) struct Opened {
    /// `None` once the file is complete.
    handle: Mutex<Option<Arc<OpenHandle>>>,
    /// What an earlier session may have written.
    held: Option<ByteRange>,
}

impl Partials {
    /// Whether a file of a root is being assembled here.
    pub(super) fn holds(&self, root: &OpenRoot, partial: &[u8]) -> bool {
        self.any(|p| p.root.index == root.index && root.partial_at(&p.path) == partial)
    }
}

impl PartialFile {
    /// The open file, while it may be written.
    pub(super) fn handle(&self, during: Operation) -> Result<Arc<OpenHandle>, Fault> {
        self.check_open(during)?;
        let handle = guard(&self.content.handle);
        let open = handle.as_ref().map(Arc::clone);
        open.ok_or_else(|| self.fault(FaultKind::Protocol, during))
    }

    fn held(&self) -> Vec<ByteRange> {
        let mut held: RangeSet = self.assembly().present().clone();
        self.content.held.into_iter().for_each(|range| held.insert(range));
        held.iter().collect()
    }

    /// Lets go of the far file.
    fn end(&self, stage: Stage) {
        self.set_stage(stage);
        *guard(&self.content.handle) = None;
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
        match self.partials.known(&open)? {
            Known::Done => return Ok(Partial { held: Vec::new(), in_place: false }),
            Known::Open(same) => return Ok(Partial { held: same.held(), in_place: false }),
            Known::Nothing => {}
        }
        self.reach_new(&root, &open.path, Operation::Open).await?;
        guard(&root.staged).remove(&open.path);
        self.release_partial(&root, &open.path).await;
        let (handle, length) = self.open_or_make(&root, &open).await?;
        let held = ByteRange::new(0, length.min(open.size)).ok();
        let content = Opened { handle: Mutex::new(Some(Arc::new(handle))), held };
        self.partials.add(PartialFile::new(&open, root, assembly, content))?;
        Ok(Partial { held: held.into_iter().collect(), in_place: false })
    }

    /// Takes a file away from an earlier opening of it, whose calls fail from now on; those under
    /// way end first.
    pub(super) async fn release_partial(&self, root: &OpenRoot, path: &RelPath) {
        if let Some(before) = self.partials.take(root.index, path) {
            before.end(Stage::Replaced);
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
        self.partials.get(index, during)
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
        partial.end(Stage::Tainted);
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
        partial.end(Stage::Staged);
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
        let Some(partial) = self.partials.find(index) else {
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
