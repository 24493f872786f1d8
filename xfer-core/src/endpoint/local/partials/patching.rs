//! Ranges of a partial that are copied from a file beside it, but for what is sent.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use xfer_protocol::codec::deltas::check_patch;
use xfer_protocol::digest::{Digest, span_digest_of};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::delta::{CopiedRange, Patch, gaps};
use xfer_protocol::range::{ByteRange, RangeSet};

use super::super::hash::{Readable, WARM_BYTES, cut, hash_all, in_threads_of};
use super::super::source::changed;
use super::super::{Shared, guard};
use super::{PartialFile, Progress};
use crate::disk::fault::fault;
use crate::disk::file;
use crate::disk::space::may_share_blocks;

/// Bytes that pass through this process at a time.
const PASSED_BYTES: u64 = 1 << 20;

/// Bytes from which the system is asked to copy: it may share blocks of files instead.
const COPIED_LEAST: u64 = 1 << 16;

impl Shared {
    pub(in super::super) fn patch(&self, patch: &Patch, payload: &[u8]) -> Result<(), Fault> {
        let Some(partial) = self.partial(patch.partial, Operation::Write)? else { return Ok(()) };
        let blocks = partial.patched(patch, payload)?;
        let range = patch.range;
        let _claim = partial.claim(range);
        {
            let mut progress = partial.progress();
            if progress.present.contains(range) {
                return Ok(());
            }
            partial.usable(&progress, Operation::Write)?;
            // What is proven is never written over by what is not.
            if progress.present.missing_from(range) != RangeSet::from_iter([range]) {
                return Err(partial.fault(FaultKind::Protocol, Operation::Write));
            }
            progress.rewrites(range);
        }
        partial.begin(Operation::Write)?;
        let basis = self.open_at(&patch.basis, Operation::Read)?;
        let shares = self.options.shares_blocks;
        if !shares.unwrap_or_else(|| may_share_blocks(partial.file())) {
            self.reading(&patch.basis, &basis, || partial.put(patch, payload, &basis, &blocks))?;
            let added = partial.progress().add_blocks(range, &blocks, &patch.digests);
            return added.ok_or_else(|| partial.fault(FaultKind::Protocol, Operation::Write));
        }
        self.reading(&patch.basis, &basis, || partial.fill(patch, payload, &basis))?;
        let readable = Readable::Cached(Arc::clone(partial.body.file()));
        let written = RangeSet::from_iter([range]);
        let found = hash_all(&readable, &blocks, partial.size, &written)
            .map_err(|errno| fault(errno, Operation::Hash, &partial.path))?;
        if found.as_ref() != Some(&patch.digests) {
            return Err(partial.fault(FaultKind::Mismatch, Operation::Write));
        }
        let added = partial.progress().add_blocks(range, &blocks, &patch.digests);
        added.ok_or_else(|| partial.fault(FaultKind::Protocol, Operation::Write))
    }
}

impl PartialFile {
    /// The blocks of a patch, checked against the file and the payload.
    fn patched(&self, patch: &Patch, payload: &[u8]) -> Result<Vec<ByteRange>, Fault> {
        let protocol = || self.fault(FaultKind::Protocol, Operation::Write);
        let expected = check_patch(patch).map_err(|_| protocol())?;
        let (range, block) = (patch.range, patch.block.bytes());
        let on_grid = range.end() == self.size || range.end().is_multiple_of(block);
        if !on_grid || range.end() > self.size || expected != payload.len() as u64 {
            return Err(protocol());
        }
        let starts = (0..range.len().div_ceil(block)).map(|number| range.start() + number * block);
        let block = |start| ByteRange::new(start, range.end().min(start + block));
        starts.map(|start| block(start).map_err(|_| protocol())).collect()
    }

    /// Puts every block together piece by piece, each of which is hashed and written while the
    /// processor's cache holds it. Where no blocks of files can be shared, that is one pass less
    /// than to copy and to hash then.
    fn put(
        &self,
        patch: &Patch,
        payload: &[u8],
        basis: &OwnedFd,
        blocks: &[ByteRange],
    ) -> Result<(), Fault> {
        let numbered: Vec<_> = blocks.iter().copied().zip(&patch.digests).collect();
        let put = in_threads_of(&numbered, |(block, digest)| {
            let (start, length) = (block.start(), block.len());
            let mut bytes = Vec::new();
            let found = span_digest_of(start, length, self.size, |update| {
                for piece in cut(start, length, WARM_BYTES) {
                    bytes.clear();
                    self.gather(patch, payload, basis, piece, &mut bytes)?;
                    update(&bytes);
                    // Bytes that are not what they should be stay unproven, as they were before.
                    self.write(&bytes, piece.start())?;
                }
                Ok(())
            })?;
            match found == **digest {
                true => Ok(()),
                false => Err(self.fault(FaultKind::Mismatch, Operation::Write)),
            }
        });
        put.into_iter().collect()
    }

    /// The bytes of a piece: what is copied and what was sent, in order.
    fn gather(
        &self,
        patch: &Patch,
        payload: &[u8],
        basis: &OwnedFd,
        piece: ByteRange,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let failed = |errno| fault(errno, Operation::Read, &patch.basis.path);
        let (mut at, mut sent) = (patch.range.start(), 0);
        let first = patch.copies.partition_point(|copy| copy.end() <= piece.start());
        for copy in &patch.copies[..first] {
            sent += copy.to.saturating_sub(at);
            at = copy.end();
        }
        for copy in patch.copies[first..].iter().take_while(|copy| copy.to < piece.end()) {
            let gap = ByteRange::new(at, copy.to).ok();
            sent = append_sent(bytes, payload, sent, gap, piece);
            at = copy.end();
            let Some(part) = copy.within(piece) else { continue };
            let length = usize::try_from(part.length).unwrap_or(usize::MAX);
            let read = file::read_at(basis, bytes, part.from, length).map_err(failed)?;
            if read < length {
                return Err(changed(&patch.basis.path));
            }
        }
        let gap = ByteRange::new(at, patch.range.end()).ok();
        append_sent(bytes, payload, sent, gap, piece);
        match bytes.len() as u64 == piece.len() {
            true => Ok(()),
            false => Err(self.fault(FaultKind::Protocol, Operation::Write)),
        }
    }

    fn fill(&self, patch: &Patch, payload: &[u8], basis: &OwnedFd) -> Result<(), Fault> {
        for copy in &patch.copies {
            self.copy(patch, *copy, basis)?;
        }
        let mut rest = payload;
        for gap in gaps(patch.range, &patch.copies) {
            let length = usize::try_from(gap.len()).unwrap_or(usize::MAX);
            // The payload is as long as all gaps.
            let Some((bytes, behind)) = rest.split_at_checked(length) else {
                return Err(self.fault(FaultKind::Protocol, Operation::Write));
            };
            self.write(bytes, gap.start())?;
            rest = behind;
        }
        Ok(())
    }

    fn copy(&self, patch: &Patch, copy: CopiedRange, basis: &OwnedFd) -> Result<(), Fault> {
        let CopiedRange { to, from, length } = copy;
        if length >= COPIED_LEAST {
            let writing = guard(&self.writing);
            let copied = file::copy_between(basis, from, self.file(), to, length);
            drop(writing);
            match copied {
                Ok(done) if done == length => return Ok(()),
                Ok(_) => return Err(changed(&patch.basis.path)),
                // Whatever it is, writing tells it better.
                Err(_) => {}
            }
        }
        let mut bytes = Vec::new();
        let mut done = 0;
        while done < length {
            let step = PASSED_BYTES.min(length - done);
            bytes.clear();
            let count = usize::try_from(step).unwrap_or(usize::MAX);
            let read = file::read_at(basis, &mut bytes, from + done, count)
                .map_err(|errno| fault(errno, Operation::Read, &patch.basis.path))?;
            if read < count {
                return Err(changed(&patch.basis.path));
            }
            self.write(&bytes, to + done)?;
            done += step;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Fault> {
        let writing = guard(&self.writing);
        let written = file::write_at(self.file(), bytes, at);
        drop(writing);
        written.map_err(|errno| self.write_failed(errno))
    }
}

/// Appends what of a gap lies in a block, from bytes that were sent for all gaps in a row; where
/// those of the next gap begin.
fn append_sent(
    bytes: &mut Vec<u8>,
    payload: &[u8],
    sent: u64,
    gap: Option<ByteRange>,
    block: ByteRange,
) -> u64 {
    let Some(gap) = gap else { return sent };
    if let Some(part) = gap.intersection(block) {
        let at = |offset: u64| usize::try_from(sent + offset - gap.start()).unwrap_or(usize::MAX);
        // The payload is as long as all gaps, and a block that is too short is told.
        bytes.extend_from_slice(payload.get(at(part.start())..at(part.end())).unwrap_or_default());
    }
    sent + gap.len()
}

impl Progress {
    /// Notes that a range is about to hold bytes that nobody has proven.
    fn rewrites(&mut self, range: ByteRange) {
        self.stale.insert(range);
        self.dirty = true;
        self.forget_hashed(range);
    }

    /// Adds the digests of blocks that tile a range; `None` if they do not fit.
    fn add_blocks(
        &mut self,
        range: ByteRange,
        blocks: &[ByteRange],
        digests: &[Digest],
    ) -> Option<()> {
        for (block, digest) in blocks.iter().zip(digests) {
            self.tree.add(*block, *digest).ok()?;
        }
        self.settle(range);
        Some(())
    }

    /// Forgets the digests of blocks that share a byte with a range.
    fn forget_hashed(&mut self, range: ByteRange) {
        let shares = |block: ByteRange| block.intersection(range).is_some();
        self.hashed.retain(|_, (block, _)| !shares(*block));
    }
}
