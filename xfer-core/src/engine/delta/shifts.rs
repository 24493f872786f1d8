//! The search for what was shifted: blocks that stand elsewhere in the basis.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use xfer_protocol::limits;
use xfer_protocol::message::delta::CopiedRange;
use xfer_protocol::message::delta::SumKind::Rolling;
use xfer_protocol::range::ByteRange;

use super::search::{ASKED, COMPARED, FINE, SAMPLED, SAMPLED_AT_ONCE, SAMPLES, Search, WORTH};
use crate::engine::context::Stop;
use crate::engine::pieces::pieces_of;

/// Bytes in which shifted blocks are looked for at a time.
const LOOKED: u64 = 128 << 20;

/// How far from where they are expected blocks are looked for, where their sums have to be told.
const SLACK: u64 = 16 << 20;

/// What is to be gained, in sums that have to be told for it.
const GAIN: u64 = 16;

/// Bytes of sums that are told in all where blocks may be anywhere.
const MOST_TOLD: u64 = 1 << 20;

/// Places of what is left at which a shift is tried for.
const TRIES: u64 = 4;

/// How often all of what is left may be assumed to be shifted as a few places are.
const ASSUMPTIONS_MAX: u8 = 3;

/// How far from its own place something stands in the basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    /// Further on. One of the two is nothing.
    ahead: u64,
    behind: u64,
}

impl Shift {
    fn of(copy: CopiedRange) -> Self {
        let (ahead, behind) =
            (copy.from.saturating_sub(copy.to), copy.to.saturating_sub(copy.from));
        Self { ahead, behind }
    }

    /// Where in the basis what is at an offset stands.
    fn from(self, to: u64) -> u64 {
        to.saturating_add(self.ahead).saturating_sub(self.behind)
    }

    /// Where what is at an offset of the basis stands.
    fn to(self, from: u64) -> u64 {
        from.saturating_add(self.behind).saturating_sub(self.ahead)
    }

    /// The part of a range of which a basis of some size has anything.
    fn known(self, range: ByteRange, size: u64) -> Option<ByteRange> {
        let end = size.saturating_add(self.behind).saturating_sub(self.ahead);
        ByteRange::new(range.start().max(self.behind), range.end().min(end)).ok()
    }
}

impl Search<'_> {
    /// Looks for blocks that are elsewhere in the basis, where much is left and a try finds one.
    pub(super) async fn look_for_shifts(&mut self) -> Result<(), Stop> {
        let size = self.delta.basis.stamp.size;
        let block = shifted_block(size);
        let count = size / u64::from(block);
        // To look at a short range costs more sums than it spares bytes.
        let near = 2 * SLACK / u64::from(block) * limits::ROLLING_SUM_BYTES as u64;
        let least = (near * GAIN).max(4 * u64::from(block));
        let is_long = |range: &ByteRange| range.len() >= least;
        let long = |ranges: Vec<ByteRange>| ranges.into_iter().filter(is_long).collect::<Vec<_>>();
        // Where it was looked before, what is behind the basis' end is not what was appended.
        let is_first = self.delta.assumptions == 0;
        let uncovered = long(if is_first { self.uncovered() } else { self.left() });
        let told = count.saturating_mul(limits::ROLLING_SUM_BYTES as u64);
        let is_little = |ranges: &[ByteRange]| {
            let left: u64 = ranges.iter().map(|range| range.len()).sum();
            left < WORTH.max(told.saturating_mul(GAIN))
        };
        let is_too_much = usize::try_from(count).map_or(true, |count| count > limits::SUMS_MAX);
        if count == 0 || is_too_much || is_little(&uncovered) {
            return Ok(());
        }
        let Some(first) = self.try_shifts(block, &uncovered).await? else { return Ok(()) };
        let (shift, left) = (Shift::of(first), long(self.left()));
        if self.delta.assumptions < ASSUMPTIONS_MAX && self.are_all_at(shift, &left).await? {
            self.assume(shift, &left);
            if is_little(&long(self.left())) {
                return Ok(());
            }
        }
        let Some(sums) = self.sums_of_basis(block).await? else { return Ok(()) };
        let left = long(self.left());
        let pieces: Vec<_> = left.iter().flat_map(|range| pieces_of(*range, LOOKED)).collect();
        // What is left beside an assumption may be anywhere.
        let is_cheap = !is_little(&left) && told.saturating_mul(pieces.len() as u64) <= MOST_TOLD;
        let tells_all = self.delta.assumptions > 0 && is_cheap;
        let search = &*self;
        let each = pieces.into_iter().map(|piece| {
            let (from, near) = match tells_all {
                true => (0, sums.clone()),
                false => search.near(piece, first, block, &sums),
            };
            search.look(piece, block, from, near, Rolling)
        });
        let found: Vec<_> = stream::iter(each).buffered(ASKED).try_collect().await?;
        found.into_iter().flatten().flatten().for_each(|copy| self.delta.copies.add(copy));
        Ok(())
    }

    /// Whether a few places of some ranges all stand in the basis at one shift.
    async fn are_all_at(&self, shift: Shift, ranges: &[ByteRange]) -> Result<bool, Stop> {
        let size = self.delta.basis.stamp.size;
        let ranges: Vec<_> = ranges.iter().filter_map(|range| shift.known(*range, size)).collect();
        let looked = evenly(&ranges, SAMPLES).filter_map(|at| {
            let from = shift.from(at).next_multiple_of(FINE.into());
            let basis = ByteRange::at(from, SAMPLED).ok().filter(|basis| basis.end() <= size)?;
            let range = ByteRange::at(shift.to(from), SAMPLED).ok()?;
            ranges.iter().any(|whole| whole.contains(range)).then_some((range, basis))
        });
        let each = looked.map(|(range, basis)| self.placed(range, basis));
        let found: Vec<_> =
            stream::iter(each).buffer_unordered(SAMPLED_AT_ONCE).try_collect().await?;
        let is_equal = |copies: &Option<Vec<CopiedRange>>| {
            let equal = copies.iter().flatten().map(|copy| copy.length).sum::<u64>();
            equal == SAMPLED
        };
        // At the ends of ranges there may be no such place.
        Ok(found.len() as u64 >= SAMPLES / 2 && found.iter().all(is_equal))
    }

    /// Takes what a few places spoke for as shifted so. What is not is told when it is copied, and
    /// is looked for then: where all is, as after an insertion, both files are read once less.
    fn assume(&mut self, shift: Shift, ranges: &[ByteRange]) {
        for copy in self.shifted(shift, ranges) {
            self.delta.copies.add(copy);
            if let Ok(range) = ByteRange::at(copy.to, copy.length) {
                self.delta.believed.insert(range);
            }
        }
        self.delta.assumed = Some(shift);
        self.delta.assumptions += 1;
    }

    /// Where some ranges would stand.
    fn shifted(&self, shift: Shift, ranges: &[ByteRange]) -> Vec<CopiedRange> {
        let size = self.delta.basis.stamp.size;
        let known = ranges.iter().filter_map(|range| shift.known(*range, size));
        let copy = |range: ByteRange| CopiedRange {
            to: range.start(),
            from: shift.from(range.start()),
            length: range.len(),
        };
        known.map(copy).collect()
    }

    /// Looks at all that is missing where one shift says that it stands.
    pub(super) async fn look_at(&mut self, shift: Shift) -> Result<(), Stop> {
        let fine = u64::from(FINE);
        let ranges = self.shifted(shift, &self.left()).into_iter().filter_map(|copy| {
            let from = copy.from.next_multiple_of(fine);
            ByteRange::new(from, copy.from + copy.length).ok()
        });
        let pieces: Vec<_> = ranges.flat_map(|range| pieces_of(range, COMPARED)).collect();
        let search = &*self;
        let each = pieces.into_iter().map(|basis| async move {
            match ByteRange::at(shift.to(basis.start()), basis.len()) {
                Ok(range) => search.placed(range, basis).await,
                Err(_) => Ok(None),
            }
        });
        let found: Vec<_> = stream::iter(each).buffered(ASKED).try_collect().await?;
        found.into_iter().flatten().flatten().for_each(|copy| self.delta.copies.add(copy));
        Ok(())
    }

    async fn sums_of_basis(&self, block: u32) -> Result<Option<Bytes>, Stop> {
        let Some(whole) = ByteRange::whole(self.delta.basis.stamp.size) else { return Ok(None) };
        let each = pieces_of(whole, COMPARED).map(|range| self.sums(range, block, Rolling));
        let pieces: Vec<_> = stream::iter(each).buffered(ASKED).try_collect().await?;
        let mut sums = BytesMut::new();
        for piece in pieces {
            let Some(piece) = piece else { return Ok(None) };
            sums.extend_from_slice(&piece);
        }
        Ok(Some(sums.freeze()))
    }

    /// The first copy that is found at one of a few places, of blocks that are not far away: to
    /// look further costs a pass over the whole basis, which is worth it once there is one. Blocks
    /// twice as long as those that are looked for then find as much, by half the sums.
    async fn try_shifts(
        &self,
        block: u32,
        uncovered: &[ByteRange],
    ) -> Result<Option<CopiedRange>, Stop> {
        let size = self.delta.basis.stamp.size;
        let block = block.saturating_mul(2).min(limits::SUMMED_MAX);
        let (length, reach) = (u64::from(block), SLACK.max(size / 64));
        for at in evenly(uncovered, TRIES) {
            let start = at.saturating_sub(reach) / length * length;
            let Ok(near) = ByteRange::new(start, at.saturating_add(reach).min(size)) else {
                continue;
            };
            let end = at.saturating_add(length).min(self.ours.stamp.size);
            let Ok(range) = ByteRange::new(at, end) else { continue };
            let Some(sums) = self.sums(near, block, Rolling).await? else { return Ok(None) };
            match self.look(range, block, start, sums, Rolling).await? {
                None => return Ok(None),
                Some(found) => {
                    let shifted = found.into_iter().find(|copy| copy.from != copy.to);
                    if shifted.is_some() {
                        return Ok(shifted);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The sums that are told to find a piece by, and where the first of their blocks begins: all,
    /// or those near where the piece is expected if they have to cross a link.
    fn near(&self, piece: ByteRange, first: CopiedRange, block: u32, sums: &Bytes) -> (u64, Bytes) {
        if !self.cx.source.is_far() {
            return (0, sums.clone());
        }
        let block = u64::from(block);
        let count = sums.len() / limits::ROLLING_SUM_BYTES;
        let expected = |at: u64| at.saturating_add(first.from).saturating_sub(first.to);
        let number = |at: u64| usize::try_from(at / block).map_or(count, |n| n.min(count));
        let start = number(expected(piece.start()).saturating_sub(SLACK));
        let end = number(expected(piece.end()).saturating_add(SLACK)).max(start);
        let near = sums.slice(start * limits::ROLLING_SUM_BYTES..end * limits::ROLLING_SUM_BYTES);
        (start as u64 * block, near)
    }
}

/// The middles of so many equal parts of some ranges.
fn evenly(ranges: &[ByteRange], count: u64) -> impl Iterator<Item = u64> {
    let left: u64 = ranges.iter().map(|range| range.len()).sum();
    (0..count).filter_map(move |number| {
        let mut offset = left / (2 * count) * (2 * number + 1);
        ranges.iter().find_map(|range| {
            let here = (offset < range.len()).then(|| range.start() + offset);
            offset = offset.saturating_sub(range.len());
            here
        })
    })
}

/// Bytes of the blocks by which a whole file is described: about as many blocks as bytes in each.
fn shifted_block(size: u64) -> u32 {
    let log = size.max(1).ilog2().div_ceil(2).clamp(12, limits::SUMMED_MAX.ilog2());
    1 << log
}
