//! The search for what was shifted: blocks that stand elsewhere in the basis.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use xfer_protocol::limits;
use xfer_protocol::message::delta::CopiedRange;
use xfer_protocol::message::delta::SumKind::Rolling;
use xfer_protocol::range::ByteRange;

use super::search::{ASKED, COMPARED, Search, WORTH};
use crate::engine::context::Stop;
use crate::engine::pieces::pieces_of;

/// Bytes in which shifted blocks are looked for at a time.
const LOOKED: u64 = 128 << 20;

/// How far from where they are expected blocks are looked for, where their sums have to be told.
const SLACK: u64 = 16 << 20;

/// What is to be gained, in sums that have to be told for it.
const GAIN: u64 = 16;

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
        let uncovered: Vec<_> = self.uncovered().into_iter().filter(is_long).collect();
        let left: u64 = uncovered.iter().map(|range| range.len()).sum();
        let told = count.saturating_mul(limits::ROLLING_SUM_BYTES as u64);
        let is_too_much = usize::try_from(count).map_or(true, |count| count > limits::SUMS_MAX);
        if count == 0 || is_too_much || left < WORTH.max(told.saturating_mul(GAIN)) {
            return Ok(());
        }
        let Some(first) = self.try_shifts(block, &uncovered).await? else { return Ok(()) };
        let Some(sums) = self.sums_of_basis(block).await? else { return Ok(()) };
        let pieces: Vec<_> = self
            .missing
            .iter()
            .flat_map(|r| self.delta.copies.missing_from(r).iter().collect::<Vec<_>>())
            .filter(is_long)
            .flat_map(|range| pieces_of(range, LOOKED))
            .collect();
        let search = &*self;
        let each = pieces.into_iter().map(|piece| {
            let (from, near) = search.near(piece, first, block, &sums);
            search.look(piece, block, from, near, Rolling)
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
        for at in places(uncovered) {
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

/// A few places within ranges, evenly apart.
fn places(ranges: &[ByteRange]) -> impl Iterator<Item = u64> {
    let left: u64 = ranges.iter().map(|range| range.len()).sum();
    [1, 3, 5, 7].into_iter().filter_map(move |eighth| {
        let mut offset = left / 8 * eighth;
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
