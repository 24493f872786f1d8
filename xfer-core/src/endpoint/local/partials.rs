//! Large files being assembled.

mod body;
mod patching;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use xfer_protocol::digest::{Digest, TreeAssembler, range_digests, spans, zero_span_digest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{
    Commit, Digests, HashBlocks, Keep, OpenPartial, Partial, PartialIndex, Reading, WriteBlock,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::{ByteRange, RangeSet};

use self::body::Body;
use super::directories::open_making;
use super::hash::{Readable, blocks_of, hash_all};
use super::publish::{Staged, StagedFile};
use super::roots::{OpenRoot, keeps_bytes, write_fault};
use super::{Shared, guard};
use crate::disk::direct::DirectFile;
use crate::disk::fault::fault;
use crate::disk::metadata::set_on_file;
use crate::disk::{Errno, file, is_partial_name, sparse};

/// Partials that are done, remembered so that a call that comes late or again is understood.
const DONE_MAX: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Partials(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<PartialIndex, Arc<PartialFile>>,
    done: std::collections::BTreeSet<PartialIndex>,
}

/// One file being assembled.
pub(super) struct PartialFile {
    index: PartialIndex,
    root: Arc<OpenRoot>,
    pub(super) path: RelPath,
    body: Arc<Body>,
    size: u64,
    progress: Mutex<Progress>,
    released: Condvar,
    /// Held around a write: file systems let one write at a time into a file, and make the others
    /// spin.
    writing: Mutex<()>,
}

struct Progress {
    stage: Stage,
    size: u64,
    tree: TreeAssembler,
    /// Ranges whose digests are in the tree.
    present: RangeSet,
    /// Where bytes may be that nobody has proven: what an earlier session left.
    stale: RangeSet,
    /// Blocks that were hashed here and await the word that they are kept.
    hashed: BTreeMap<u64, (ByteRange, Digest)>,
    /// Ranges that a call works on.
    claimed: Vec<ByteRange>,
    /// Whether bytes were written since the last sync.
    dirty: bool,
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
}

impl PartialFile {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        guard(&self.progress)
    }

    fn fault(&self, kind: FaultKind, during: Operation) -> Fault {
        Fault::new(kind, during, self.path.clone())
    }

    pub(super) fn index(&self) -> PartialIndex {
        self.index
    }

    pub(super) fn place(&self) -> &OwnedFd {
        self.body.place()
    }

    pub(super) fn file(&self) -> &OwnedFd {
        self.body.file()
    }

    pub(super) fn name(&self) -> &[u8] {
        self.path.name().unwrap_or_default()
    }

    /// The name that the file has now.
    pub(super) fn own_name(&self) -> &[u8] {
        self.body.own_name()
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.body.is_in_place()
    }

    /// Sees to it that the file may be written to.
    fn begin(&self, during: Operation) -> Result<(), Fault> {
        self.body.begin(self.size).map_err(|errno| match errno {
            Errno::STALE => self.fault(FaultKind::Changed, during),
            errno => write_fault(&self.root, errno, during, &self.path),
        })
    }

    /// Gives the file up: what the system says after a failed write or sync proves nothing.
    pub(super) fn taint(&self) {
        self.progress().stage = Stage::Tainted;
        // If even this fails, the next opening replaces or re-hashes what is there.
        let _ = self.body.remove();
    }

    /// Waits until no other call works on a range, and takes it.
    fn claim(&self, range: ByteRange) -> RangeClaim<'_> {
        let mut progress = self.progress();
        while progress.claimed.iter().any(|c| c.intersection(range).is_some()) {
            progress = self.released.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.claimed.push(range);
        RangeClaim { partial: self, range }
    }

    fn usable(&self, progress: &Progress, during: Operation) -> Result<(), Fault> {
        match progress.stage {
            Stage::Open => Ok(()),
            Stage::Tainted => Err(self.fault(FaultKind::Tainted, during)),
            Stage::Staged | Stage::Replaced => Err(self.fault(FaultKind::Protocol, during)),
        }
    }
}

struct RangeClaim<'a> {
    partial: &'a PartialFile,
    range: ByteRange,
}

impl Drop for RangeClaim<'_> {
    fn drop(&mut self) {
        let mut progress = self.partial.progress();
        if let Some(at) = progress.claimed.iter().position(|c| *c == self.range) {
            progress.claimed.swap_remove(at);
        }
        drop(progress);
        self.partial.released.notify_all();
    }
}

impl Shared {
    pub(super) fn open_partial(&self, open: &OpenPartial) -> Result<Partial, Fault> {
        let root = self.writable(open.root, Operation::Open)?;
        let path = &open.path;
        let Some(name) = path.name() else {
            return Err(Fault::new(FaultKind::Protocol, Operation::Open, path.clone()));
        };
        if is_partial_name(name) {
            return Err(Fault::new(FaultKind::Unsafe, Operation::Open, path.clone()));
        }
        if open.size > limits::FILE_BYTES_MAX {
            return Err(Fault::new(FaultKind::FileTooLarge, Operation::Open, path.clone()));
        }
        let _claim = self.claims.claim(open.root, [path]);
        let failed = |errno| write_fault(&root, errno, Operation::Open, path);
        let body = match self.take_over(open, &root)? {
            Taken::Same(partial) => return Ok(partial),
            Taken::Body(body) => body,
            Taken::Nothing => {
                let parent = path.parent().unwrap_or_default();
                let place =
                    open_making(&root, &parent, self.options.confinement, rustix::fs::Mode::RWXU)
                        .map_err(failed)?;
                Arc::new(Body::open(place, name, open.over.as_ref()).map_err(failed)?)
            }
        };
        let file = &**body.file();
        let held = sparse::data_ranges(file, open.size, limits::RANGES_MAX).map_err(failed)?;
        if body.is_ready() {
            file::set_length(file, open.size).map_err(failed)?;
        }
        let in_place = body.is_in_place();
        let progress = Progress {
            stage: Stage::Open,
            size: open.size,
            tree: TreeAssembler::new(open.size),
            present: RangeSet::new(),
            stale: held.iter().copied().collect(),
            hashed: BTreeMap::new(),
            claimed: Vec::new(),
            dirty: true,
        };
        let partial = PartialFile {
            index: open.partial,
            root: Arc::clone(&root),
            path: path.clone(),
            body,
            size: open.size,
            progress: Mutex::new(progress),
            released: Condvar::new(),
            writing: Mutex::default(),
        };
        let mut table = guard(&self.partials.0);
        if table.open.len() >= limits::PARTIALS_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Open, path.clone()));
        }
        table.open.insert(open.partial, Arc::new(partial));
        Ok(Partial { held, in_place })
    }

    /// What this endpoint already has open of a file that is opened again.
    fn take_over(&self, open: &OpenPartial, root: &Arc<OpenRoot>) -> Result<Taken, Fault> {
        let table = guard(&self.partials.0);
        if table.done.contains(&open.partial) {
            // A first run of this call that comes too late.
            return Ok(Taken::Same(Partial { held: Vec::new(), in_place: false }));
        }
        let known = table.open.get(&open.partial).map(Arc::clone);
        if let Some(known) = &known {
            if known.path != open.path || known.root.index != open.root {
                return Err(known.fault(FaultKind::Protocol, Operation::Open));
            }
            let progress = known.progress();
            let goes_on = matches!(progress.stage, Stage::Open | Stage::Staged);
            if goes_on && known.size == open.size {
                // Answered again: all that may be there, proven or not.
                let mut held = progress.stale.clone();
                progress.present.iter().for_each(|range| held.insert(range));
                let (held, in_place) = (held.iter().collect(), known.body.is_in_place());
                return Ok(Taken::Same(Partial { held, in_place }));
            }
        }
        drop(table);
        root.staging.withdraw(&open.path);
        let before = self.release_partial(root, &open.path);
        Ok(before.map_or(Taken::Nothing, |before| Taken::Body(Arc::clone(&before.body))))
    }

    /// Takes a file away from an earlier opening of it, whose calls fail from now on; those under
    /// way end first. `None` where there is none, or nothing of it to be used.
    pub(super) fn release_partial(
        &self,
        root: &OpenRoot,
        path: &RelPath,
    ) -> Option<Arc<PartialFile>> {
        let mut table = guard(&self.partials.0);
        let of_path = |p: &&Arc<PartialFile>| p.path == *path && p.root.index == root.index;
        let before = table.open.values().find(of_path).map(Arc::clone)?;
        table.open.remove(&before.index);
        drop(table);
        let mut progress = before.progress();
        while !progress.claimed.is_empty() {
            progress = before.released.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        let usable = progress.stage != Stage::Tainted;
        progress.stage = Stage::Replaced;
        drop(progress);
        usable.then_some(before)
    }

    /// An open partial; `None` if it is done, so that nothing remains to be done.
    fn partial(
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

    pub(super) fn keep(&self, keep: &Keep) -> Result<(), Fault> {
        let Some(partial) = self.partial(keep.partial, Operation::Hash)? else { return Ok(()) };
        for range in &keep.ranges {
            let _claim = partial.claim(*range);
            let mut progress = partial.progress();
            partial.usable(&progress, Operation::Hash)?;
            progress
                .keep(*range)
                .ok_or_else(|| partial.fault(FaultKind::Protocol, Operation::Hash))?;
        }
        Ok(())
    }

    pub(super) fn hash_partial(
        &self,
        hash: &HashBlocks,
        index: PartialIndex,
    ) -> Result<Digests, Fault> {
        let Some(partial) = self.partial(index, Operation::Hash)? else {
            return Err(Fault::new(FaultKind::Protocol, Operation::Hash, RelPath::root()));
        };
        let failed = |errno| fault(errno, Operation::Hash, &partial.path);
        let blocks = blocks_of(hash, partial.size, &partial.path)?;
        let _claim = partial.claim(hash.range);
        {
            let mut progress = partial.progress();
            partial.usable(&progress, Operation::Hash)?;
            if std::mem::take(&mut progress.dirty) {
                drop(progress);
                if let Err(errno) = file::drop_cache(partial.file()) {
                    partial.taint();
                    return Err(fault(errno, Operation::Sync, &partial.path));
                }
            }
        }
        let reading = match partial.body.was_begun() {
            // A failed sync leaves it where it is, and pages in the cache that no medium has.
            true => Reading::PastCache,
            false => hash.reading,
        };
        let readable = match reading {
            Reading::Cached => Readable::Partial(Arc::clone(partial.body.file())),
            Reading::PastCache => {
                partial.begin(Operation::Hash)?;
                let (place, file) = (partial.place().as_fd(), partial.file().as_fd());
                let file = DirectFile::open(place, partial.own_name(), file);
                Readable::Direct(file.map_err(failed)?)
            }
        };
        let file = partial.body.file();
        let data = super::hash::data_in(file, hash.range, partial.size).map_err(failed)?;
        let digests = hash_all(&readable, &blocks, partial.size, &data)
            .map_err(failed)?
            .ok_or_else(|| partial.fault(FaultKind::Io, Operation::Hash))?;
        let mut progress = partial.progress();
        for (block, digest) in blocks.iter().zip(&digests) {
            if progress.hashed.len() >= limits::HASHED_MAX {
                progress.hashed.pop_first();
            }
            progress.hashed.insert(block.start(), (*block, *digest));
        }
        Ok(Digests { digests, past_cache: readable.is_past_cache() })
    }

    pub(super) fn write_block(&self, write: &WriteBlock, payload: &[u8]) -> Result<(), Fault> {
        let Some(partial) = self.partial(write.partial, Operation::Write)? else { return Ok(()) };
        let range = write.range;
        partial.check_block(write, payload)?;
        let _claim = partial.claim(range);
        let (missing, untouched) = {
            let mut progress = partial.progress();
            if progress.present.contains(range) {
                return Ok(());
            }
            partial.usable(&progress, Operation::Write)?;
            let missing: Vec<_> = progress.present.missing_from(range).iter().collect();
            let untouched = progress.stale.missing_from(range).contains(range);
            if !write.hole {
                // A write that fails half-way leaves bytes that nobody has proven.
                progress.stale.insert(range);
                progress.dirty = true;
            }
            (missing, untouched)
        };
        partial.begin(Operation::Write)?;
        let whole = missing == [range];
        for piece in missing {
            let bytes = if write.hole { None } else { slice_of(payload, range, piece) };
            let writing = guard(&partial.writing);
            let written = match bytes {
                Some(bytes) => file::write_at(partial.file(), bytes, piece.start()),
                None if untouched => Ok(()),
                None => sparse::punch(partial.file(), piece),
            };
            drop(writing);
            written.map_err(|errno| partial.write_failed(errno))?;
            let digests = match bytes {
                _ if whole => Some(write.digests.clone()),
                Some(bytes) => range_digests(piece.start(), bytes, partial.size),
                None => xfer_protocol::digest::zero_range_digests(piece, partial.size),
            };
            let added = digests.and_then(|digests| partial.progress().add(piece, digests));
            added.ok_or_else(|| partial.fault(FaultKind::Protocol, Operation::Write))?;
        }
        Ok(())
    }

    pub(super) fn commit(&self, commit: &Commit) -> Result<(), Fault> {
        let Some(partial) = self.partial(commit.partial, Operation::Commit)? else { return Ok(()) };
        let _name = self.claims.claim(partial.root.index, [&partial.path]);
        let _claim = ByteRange::whole(partial.size).map(|whole| partial.claim(whole));
        {
            let progress = partial.progress();
            if progress.stage == Stage::Staged {
                return Ok(());
            }
            partial.usable(&progress, Operation::Commit)?;
            let root = progress.tree.root();
            if root != Some(commit.digest) {
                return Err(partial.fault(FaultKind::Mismatch, Operation::Commit));
            }
        }
        partial.begin(Operation::Commit)?;
        let now = rustix::fs::fstat(partial.file())
            .map_err(|errno| fault(errno, Operation::Stat, &partial.path))?;
        set_on_file(partial.file().as_fd(), &now, &commit.metadata, self.preserve)
            .map_err(|errno| fault(errno, Operation::SetMetadata, &partial.path))?;
        partial.progress().stage = Stage::Staged;
        let staged =
            Staged { ticket: commit.ticket, file: StagedFile::Partial(Arc::clone(&partial)) };
        partial.root.staging.stage(&partial.path, staged);
        Ok(())
    }

    pub(super) fn discard(&self, index: PartialIndex) -> Result<(), Fault> {
        let Some(partial) = guard(&self.partials.0).open.get(&index).map(Arc::clone) else {
            return Ok(());
        };
        let _name = self.claims.claim(partial.root.index, [&partial.path]);
        let _claim = ByteRange::whole(partial.size).map(|whole| partial.claim(whole));
        partial.root.staging.withdraw(&partial.path);
        if partial.progress().stage != Stage::Replaced {
            partial
                .body
                .remove()
                .map_err(|errno| fault(errno, Operation::Remove, &partial.path))?;
        }
        self.partials.forget(index);
        Ok(())
    }
}

enum Taken {
    /// The very partial was open; the answer is given again.
    Same(Partial),
    /// An older opening of the file left this.
    Body(Arc<Body>),
    Nothing,
}

impl PartialFile {
    /// Checks that a block fits the file, and its bytes their digests.
    fn check_block(&self, write: &WriteBlock, payload: &[u8]) -> Result<(), Fault> {
        let protocol = || self.fault(FaultKind::Protocol, Operation::Write);
        let range = write.range;
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let expected = if write.hole { 0 } else { range.len() };
        if range.end() > self.size || length != expected {
            return Err(protocol());
        }
        let mut digests = write.digests.iter();
        let mut covered = 0;
        for span in spans(range, self.size) {
            let expected = digests.next().ok_or_else(protocol)?;
            let found = if write.hole {
                zero_span_digest(span.start(), span.len(), self.size)
            } else {
                let bytes = slice_of(payload, range, span).ok_or_else(protocol)?;
                xfer_protocol::digest::span_digest(span.start(), bytes, self.size)
            };
            if found != *expected {
                return Err(self.fault(FaultKind::Mismatch, Operation::Write));
            }
            covered += span.len();
        }
        if covered == range.len() && digests.next().is_none() { Ok(()) } else { Err(protocol()) }
    }

    fn write_failed(&self, errno: Errno) -> Fault {
        if !keeps_bytes(errno) {
            self.taint();
        }
        write_fault(&self.root, errno, Operation::Write, &self.path)
    }
}

impl Progress {
    /// Adds the digests of a range's spans; `None` if they do not fit.
    fn add(&mut self, range: ByteRange, digests: Vec<Digest>) -> Option<()> {
        let mut digests = digests.into_iter();
        for span in spans(range, self.size) {
            self.tree.add(span, digests.next()?).ok()?;
        }
        self.settle(range);
        Some(())
    }

    /// Takes hashed blocks that tile a range as present; `None` if they do not.
    fn keep(&mut self, range: ByteRange) -> Option<()> {
        let mut kept = Vec::new();
        for missing in self.present.missing_from(range).iter() {
            let mut start = missing.start();
            while start < missing.end() {
                let (block, digest) = *self.hashed.get(&start)?;
                if !missing.contains(block) {
                    return None;
                }
                kept.push((block, digest));
                start = block.end();
            }
        }
        for (block, digest) in kept {
            self.tree.add(block, digest).ok()?;
        }
        self.settle(range);
        Some(())
    }

    fn settle(&mut self, range: ByteRange) {
        self.present.insert(range);
        self.stale.remove(range);
        let gone: Vec<u64> =
            self.hashed.range(range.start()..range.end()).map(|(s, _)| *s).collect();
        for start in gone {
            self.hashed.remove(&start);
        }
    }
}

/// The bytes of `piece`, where `payload` holds those of `range`.
fn slice_of(payload: &[u8], range: ByteRange, piece: ByteRange) -> Option<&[u8]> {
    let start = usize::try_from(piece.start().checked_sub(range.start())?).ok()?;
    let length = usize::try_from(piece.len()).ok()?;
    payload.get(start..start.checked_add(length)?)
}
