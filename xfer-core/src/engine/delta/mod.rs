//! What a file has in common with something that stands at its destination already, its *basis*:
//! found by sums, and copied there instead of sent.
//!
//! Sums say what is worth copying, and prove nothing. What a copy brought is held to the source's
//! digests as every block is, so a basis that changes meanwhile, or a sum that deceives, costs the
//! range that it concerns: that is sent after all.

mod bases;
mod copies;
mod search;
mod shifts;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use xfer_protocol::digest::{BlockSize, Digest};
use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::message::delta::{CopiedRange, Patch, ReadParts, gaps};
use xfer_protocol::message::{FileAt, PartialIndex};
use xfer_protocol::range::{ByteRange, RangeSet};

pub(super) use self::bases::Bases;
use self::copies::Copies;
pub(super) use self::search::{find, look_closer, may_pay};
use self::shifts::Shift;
use super::context::{Context, Stop};
use super::ledger::Side;
use super::pack::FileWork;
use super::pieces::pieces_of;

/// The longest range that is copied at once; all of it is hashed before it is answered.
const RANGE_MAX: u64 = 64 << 20;

/// The same where something was only assumed: of what is wrong all is done in vain.
const BELIEVED_MAX: u64 = 16 << 20;

/// The grid of digests where there is a choice: that of what was compared.
const COARSE: u64 = 4 << 20;

/// The least that has a digest.
const LEAST: u64 = 1 << 16;

/// What of one file need not be sent.
pub(super) struct Delta {
    basis: FileAt,
    copies: Copies,
    /// Digests of the source's blocks that were compared already.
    known: BTreeMap<u64, Digest>,
    /// Where all of it is expected that a few places spoke for.
    assumed: Option<Shift>,
    /// What was assumed, and nothing looked at.
    believed: RangeSet,
    /// How often anything was assumed.
    assumptions: u8,
}

/// A range that is copied but for some of its bytes.
pub(super) struct Patched {
    pub(super) range: ByteRange,
    block: BlockSize,
    basis: FileAt,
    copies: Vec<CopiedRange>,
    /// The digests of its blocks, where they are known.
    known: Option<Vec<Digest>>,
}

/// What came of a patch.
pub(super) enum Outcome {
    Written(Vec<(ByteRange, Digest)>),
    /// It is sent instead.
    Refused(Fault),
    Failed(Side, Fault),
}

impl Delta {
    fn new(basis: FileAt) -> Self {
        let (copies, known) = (Copies::default(), BTreeMap::new());
        Self { basis, copies, known, assumed: None, believed: RangeSet::new(), assumptions: 0 }
    }

    /// What is patched from an offset on, up to a limit; `None` where it is sent. At most
    /// `literal` bytes are sent with it, where that leaves a range.
    pub(super) fn next(&self, start: u64, limit: u64, size: u64, literal: u64) -> Option<Patched> {
        if !start.is_multiple_of(LEAST) || limit <= start {
            return None;
        }
        let whole = self.copies.run(start, limit);
        let end = if whole == size { size } else { whole / LEAST * LEAST };
        if end == limit || end >= start.saturating_add(COARSE) {
            let most = if self.believed.is_empty() { RANGE_MAX } else { BELIEVED_MAX };
            return self.patched(start, even(start, end, size, most), size);
        }
        let mut cell = COARSE;
        loop {
            let end = limit.min((start / cell + 1).saturating_mul(cell));
            let range = ByteRange::new(start, end).ok()?;
            let copies = self.copies.within(range);
            let copied: u64 = copies.iter().map(|copy| copy.length).sum();
            if copied == 0 {
                return None;
            }
            let is_few = copies.len() < xfer_protocol::limits::COPIES_MAX / 2;
            if cell == LEAST || is_few && range.len() - copied <= literal {
                return self.patched(start, end, size);
            }
            cell /= 2;
        }
    }

    fn patched(&self, start: u64, end: u64, size: u64) -> Option<Patched> {
        let range = ByteRange::new(start, end).ok()?;
        let block = grid_of(range, size);
        let known: Option<Vec<_>> = pieces_of(range, block.bytes())
            .map(|piece| self.known.get(&piece.start()).copied())
            .collect();
        let known = known.filter(|_| block.bytes() == COARSE);
        let (basis, copies) = (self.basis.clone(), self.copies.within(range));
        Some(Patched { range, block, basis, copies, known })
    }

    /// Takes that a range could not be copied; if its basis is to blame, nothing can be, and if
    /// something was assumed of it, that was wrong.
    pub(super) fn refuse(&mut self, range: ByteRange, fault: &Fault) {
        if fault.kind != FaultKind::Mismatch {
            (self.copies, self.assumed) = (Copies::default(), None);
            return;
        }
        let mut believed = RangeSet::from_iter([range]);
        self.believed.missing_from(range).iter().for_each(|other| believed.remove(other));
        if believed.is_empty() {
            self.copies.remove(range);
        }
        for range in believed.iter() {
            self.copies.remove(range);
            self.believed.remove(range);
        }
    }
}

impl Patched {
    /// Bytes that are sent.
    pub(super) fn literal(&self) -> u64 {
        self.range.len() - self.copies.iter().map(|copy| copy.length).sum::<u64>()
    }

    /// Bytes that it counts for among those in flight: copying is work too.
    pub(super) fn weight(&self) -> u64 {
        self.literal() + self.range.len() / 16
    }

    /// Reads what is sent, and has the rest copied.
    pub(super) async fn send(
        self,
        cx: &Arc<Context>,
        work: &FileWork,
        partial: PartialIndex,
    ) -> Result<Outcome, Stop> {
        let Self { range, block, basis, copies, known } = self;
        let parts = gaps(range, &copies);
        let (digests, bytes) = match known.filter(|_| parts.is_empty()) {
            Some(known) => (known, Bytes::new()),
            None => {
                let file = cx.source_file(&work.source_path, work.stamp);
                match cx.source.read_parts(ReadParts { file, range, block, parts }).await {
                    Ok(read) => read,
                    Err(error) => {
                        return Ok(Outcome::Failed(Side::Source, cx.sort(Side::Source, error)?));
                    }
                }
            }
        };
        cx.pacer.pace(bytes.len() as u64).await;
        let blocks = pieces_of(range, block.bytes()).zip(digests.iter().copied()).collect();
        let patch = Patch { partial, range, block, digests, basis, copies };
        match cx.sink.patch(patch, bytes).await {
            Ok(()) => Ok(Outcome::Written(blocks)),
            Err(error) => {
                let failed = cx.sort(Side::Destination, error)?;
                let is_lost = failed.kind == FaultKind::Tainted;
                Ok(match is_lost {
                    true => Outcome::Failed(Side::Destination, failed),
                    false => Outcome::Refused(failed),
                })
            }
        }
    }
}

/// The end of a range that is copied whole: on the grid of what was compared, where it can be.
fn even(start: u64, end: u64, size: u64, most: u64) -> u64 {
    let end = end.min((start / most + 1).saturating_mul(most));
    let next = start.saturating_add(1).next_multiple_of(COARSE);
    if !start.is_multiple_of(COARSE) {
        return end.min(next);
    }
    let last = end / COARSE * COARSE;
    if end == size || last <= start { end } else { last }
}

/// The coarsest grid on which a range lies.
fn grid_of(range: ByteRange, size: u64) -> BlockSize {
    let zeros = |offset: u64| offset.trailing_zeros();
    let end = if range.end() == size { u64::BITS } else { zeros(range.end()) };
    let log = zeros(range.start()).min(end).clamp(zeros(LEAST), zeros(COARSE));
    u8::try_from(log).ok().and_then(|log| BlockSize::from_log(log).ok()).unwrap_or(BlockSize::MIN)
}

#[cfg(test)]
mod tests;
