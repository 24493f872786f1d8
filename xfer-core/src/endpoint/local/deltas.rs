//! What two versions of a file have in common, read piece by piece.

use bytes::Bytes;
use xfer_protocol::codec::deltas::{check_match, check_read_parts, check_sign};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::delta::{CopiedRange, Match, ReadParts, Sign, SumKind};
use xfer_protocol::message::{FileAt, HashBlocks, Reading, Subject};
use xfer_protocol::range::ByteRange;

use super::Shared;
use super::hash::{WARM_BYTES, cut, in_pieces};
use super::source::changed;
use crate::delta::{Found, Index, find_in_place, sums_of};
use crate::disk::fault::fault;
use crate::disk::{Errno, file};

/// Bytes that are looked through at once: few enough to be read from a processor's own cache, and
/// many to the block that is read twice.
const LOOKED_BYTES: u64 = 1 << 20;

impl Shared {
    pub(super) fn sign(&self, sign: &Sign) -> Result<Bytes, Fault> {
        let at = &sign.file;
        check_sign(sign).map_err(|_| protocol(at))?;
        let block = u64::from(sign.block);
        let whole = sign.range.len() / block * block;
        let pieces = cut(sign.range.start(), whole, (WARM_BYTES / block).max(1) * block);
        let file = self.open_at(at, Operation::Hash)?;
        let length = usize::try_from(block).map_err(|_| protocol(at))?;
        self.reading(at, &file, || {
            let summed = in_pieces(&pieces, |piece| {
                read(&file, piece)
                    .map(|bytes| bytes.map(|bytes| sums_of(&bytes, length, sign.kind)))
            });
            let mut sums = Vec::new();
            for piece in summed {
                let piece = piece.map_err(|errno| fault(errno, Operation::Hash, &at.path))?;
                sums.extend_from_slice(&piece.ok_or_else(|| changed(&at.path))?);
            }
            Ok(sums.into())
        })
    }

    pub(super) fn find_copies(
        &self,
        looked: &Match,
        sums: &[u8],
    ) -> Result<Vec<CopiedRange>, Fault> {
        let at = &looked.file;
        let expected = check_match(looked).map_err(|_| protocol(at))?;
        let length = usize::try_from(looked.block).map_err(|_| protocol(at))?;
        if expected != sums.len() as u64 {
            return Err(protocol(at));
        }
        let file = self.open_at(at, Operation::Read)?;
        let failed = |errno| fault(errno, Operation::Read, &at.path);
        let mut found = Found::new(looked.range.len());
        self.reading(at, &file, || {
            let whole = |piece| {
                let bytes = read(&file, piece).map_err(failed)?;
                bytes.ok_or_else(|| changed(&at.path))
            };
            match looked.kind {
                SumKind::Rolling => look_anywhere(looked, sums, length, &mut found, whole),
                SumKind::Placed => look_in_place(looked, sums, length, &mut found, whole),
            }
        })?;
        Ok(found.into_copies())
    }

    pub(super) fn read_parts(&self, parts: &ReadParts) -> Result<(Vec<Digest>, Bytes), Fault> {
        let at = &parts.file;
        check_read_parts(parts).map_err(|_| protocol(at))?;
        let (range, block) = (parts.range, parts.block);
        let subject = Subject::File(at.clone());
        let hash = HashBlocks { subject, range, block, reading: Reading::Cached };
        let digests = self.hash_blocks(&hash)?.digests;
        let wanted: u64 = parts.parts.iter().map(|part| part.len()).sum();
        if wanted == 0 {
            return Ok((digests, Bytes::new()));
        }
        let file = self.open_at(at, Operation::Read)?;
        let mut bytes = self.buffers.take(usize::try_from(wanted).map_err(|_| protocol(at))?);
        self.reading(at, &file, || {
            parts.parts.iter().try_for_each(|part| {
                let length = usize::try_from(part.len()).map_err(|_| protocol(at))?;
                let count = file::read_at(&*file, &mut bytes, part.start(), length)
                    .map_err(|errno| fault(errno, Operation::Read, &at.path))?;
                if count == length { Ok(()) } else { Err(changed(&at.path)) }
            })
        })?;
        Ok((digests, self.buffers.lend(bytes)))
    }
}

/// The first sum is that of a block at the start of the range.
fn look_in_place(
    looked: &Match,
    sums: &[u8],
    block: usize,
    found: &mut Found,
    read: impl Fn(ByteRange) -> Result<Vec<u8>, Fault>,
) -> Result<(), Fault> {
    let length = u64::from(looked.block);
    let step = LOOKED_BYTES / length * length;
    let start = looked.range.start();
    let sum = looked.kind.bytes();
    let told = sums.len() / sum;
    for piece in cut(start, looked.range.len(), step) {
        let skipped = usize::try_from((piece.start() - start) / length).unwrap_or(told);
        let Some(sums) = sums.get(skipped.min(told) * sum..) else { return Ok(()) };
        let from = looked.from + (piece.start() - start);
        find_in_place(sums, block, from, &read(piece)?, piece.start(), found);
    }
    Ok(())
}

fn look_anywhere(
    looked: &Match,
    sums: &[u8],
    block: usize,
    found: &mut Found,
    read: impl Fn(ByteRange) -> Result<Vec<u8>, Fault>,
) -> Result<(), Fault> {
    let index = Index::new(sums, block, looked.from);
    let (end, size) = (looked.range.end(), looked.file.stamp.size);
    let mut at = looked.range.start();
    while at < end {
        let starts = LOOKED_BYTES.min(end - at);
        let read_to = size.min(at + starts + u64::from(looked.block) - 1);
        let Ok(piece) = ByteRange::new(at, read_to) else { break };
        let bytes = read(piece)?;
        let starts = usize::try_from(starts).unwrap_or(bytes.len());
        at += index.find(&bytes, at, starts, found) as u64;
    }
    Ok(())
}

fn protocol(at: &FileAt) -> Fault {
    Fault::new(FaultKind::Protocol, Operation::Hash, at.path.clone())
}

/// Reads a range whole; `None` where the file ends before.
fn read(of: &std::os::fd::OwnedFd, range: ByteRange) -> Result<Option<Vec<u8>>, Errno> {
    let length = usize::try_from(range.len()).map_err(|_| Errno::INVAL)?;
    let mut bytes = Vec::new();
    let count = file::read_at(of, &mut bytes, range.start(), length)?;
    Ok((count == length).then_some(bytes))
}
