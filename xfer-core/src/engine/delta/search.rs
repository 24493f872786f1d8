//! The search for what a file has in common with its basis: a sample first, then what stands at
//! its own place, and where that leaves much, what was shifted.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use xfer_protocol::digest::BlockSize;
use xfer_protocol::message::delta::{
    CopiedRange, Match, Sign,
    SumKind::{self, Placed},
};
use xfer_protocol::message::{FileAt, HashBlocks, Reading, Subject};
use xfer_protocol::range::{ByteRange, RangeSet};

use super::{COARSE, Delta, LEAST};
use crate::endpoint::EndpointResult;
use crate::engine::context::{Context, Stop};
use crate::engine::ledger::Side;
use crate::engine::pack::FileWork;
use crate::engine::pieces::pieces_of;

/// Bytes to be sent below which nothing is looked for.
pub(super) const WORTH: u64 = 1 << 20;

/// Bytes of the blocks that are looked for at their own places.
pub(super) const FINE: u32 = 16 << 10;

/// The share of a sample from which whole blocks of [`COARSE`] are likely to be equal, however what
/// differs lies.
const NEARLY_ALL: f64 = 0.99;

/// The share from which that is so where what differs lies together.
const MANY: f64 = 0.25;

/// Places that are looked at before anything else is, and their bytes.
pub(super) const SAMPLES: u64 = 24;
pub(super) const SAMPLED_AT_ONCE: usize = 24;
pub(super) const SAMPLED: u64 = 64 << 10;

/// Places that may be equal in part where what differs lies together: a run begins in one.
const SCATTERED: usize = 2;

/// Bytes that one request compares.
pub(super) const COMPARED: u64 = 64 << 20;

/// Requests under way for one file.
pub(super) const ASKED: usize = 3;

/// Whether anything may be gained between these two ends.
pub(in crate::engine) fn may_pay(cx: &Context) -> bool {
    let is_far = cx.source.is_far() || cx.sink.is_far();
    let capabilities = cx.sink.capabilities();
    let is_fine = capabilities.write_grid.max(capabilities.part_min) <= LEAST;
    is_far && is_fine && cx.source.makes_deltas() && cx.sink.makes_deltas()
}

/// Finds what need not be sent of a file, of which some ranges are missing at the destination.
pub(in crate::engine) async fn find(
    cx: &Arc<Context>,
    work: &FileWork,
    missing: &RangeSet,
) -> Result<Option<Delta>, Stop> {
    if missing.bytes() < WORTH || !may_pay(cx) {
        return Ok(None);
    }
    let ours = cx.source_file(&work.source_path, work.stamp);
    let mut best: Option<(Search<'_>, Sample, bool)> = None;
    for (path, stamp) in cx.bases.of(work) {
        let is_own = path == work.path;
        let basis = FileAt { root: cx.sink_root, path, stamp };
        let delta = Delta::new(basis);
        let search = Search { cx, ours: ours.clone(), delta, missing };
        let Some(sample) = search.sample().await? else { continue };
        let share = sample.share;
        if best.as_ref().is_none_or(|(_, before, _)| share > before.share) {
            best = Some((search, sample, is_own));
        }
        if share > NEARLY_ALL || is_own && share > 0.0 {
            break;
        }
    }
    let Some((mut search, sample, is_own)) = best else { return Ok(None) };
    let (is_alike, is_nearly_all) = (sample.share > 0.0, sample.share > NEARLY_ALL);
    if is_nearly_all || sample.share >= MANY && !sample.is_scattered {
        search.compare().await?;
    }
    if is_alike {
        search.look_in_place().await?;
    }
    if is_alike || is_own {
        search.look_for_shifts().await?;
    }
    let delta = search.delta;
    Ok((delta.copies.bytes() >= LEAST).then_some(delta))
}

/// Looks again where what was assumed of a basis is not so: at the places where it was expected,
/// block by small block, and then everywhere.
pub(in crate::engine) async fn look_closer(
    cx: &Arc<Context>,
    work: &FileWork,
    mut delta: Delta,
    refused: &RangeSet,
) -> Result<Option<Delta>, Stop> {
    let Some(shift) = delta.assumed.take() else { return Ok(Some(delta)) };
    let ours = cx.source_file(&work.source_path, work.stamp);
    let mut search = Search { cx, ours, delta, missing: refused };
    search.look_at(shift).await?;
    search.look_for_shifts().await?;
    Ok(Some(search.delta))
}

/// What a few places say of two files.
struct Sample {
    /// The share of what was looked at that is equal at its own place.
    share: f64,
    /// Whether some places are equal in part: what differs is everywhere then, and not in a few
    /// long runs that leave large blocks equal.
    is_scattered: bool,
}

pub(super) struct Search<'a> {
    pub(super) cx: &'a Arc<Context>,
    pub(super) ours: FileAt,
    pub(super) delta: Delta,
    pub(super) missing: &'a RangeSet,
}

impl Search<'_> {
    /// Bytes that both files have.
    fn common(&self) -> u64 {
        self.ours.stamp.size.min(self.delta.basis.stamp.size)
    }

    /// What is missing of the bytes that both files have, and nothing brings yet.
    pub(super) fn uncovered(&self) -> Vec<ByteRange> {
        let Some(common) = ByteRange::whole(self.common()) else { return Vec::new() };
        self.left().into_iter().filter_map(|range| range.intersection(common)).collect()
    }

    /// What is missing, and nothing brings yet.
    pub(super) fn left(&self) -> Vec<ByteRange> {
        let left = |range| self.delta.copies.missing_from(range).iter().collect::<Vec<_>>();
        self.missing.iter().flat_map(left).collect()
    }

    /// What a few places say; `None` where one of the two cannot be read.
    async fn sample(&self) -> Result<Option<Sample>, Stop> {
        let common = self.common();
        if common < SAMPLED {
            return Ok(None);
        }
        let last = (common - SAMPLED) / LEAST;
        let mut places: Vec<_> = (0..SAMPLES).map(|n| last * n / (SAMPLES - 1) * LEAST).collect();
        places.dedup();
        let looked = SAMPLED * places.len() as u64;
        let each = places.into_iter().map(|start| async move {
            match ByteRange::at(start, SAMPLED) {
                Ok(range) => self.in_place(range).await,
                Err(_) => Ok(None),
            }
        });
        let found: Vec<_> =
            stream::iter(each).buffer_unordered(SAMPLED_AT_ONCE).try_collect().await?;
        let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let equal = found.iter().map(|place| place.iter().map(|copy| copy.length).sum::<u64>());
        let equal: Vec<_> = equal.collect();
        let in_part = equal.iter().filter(|equal| (1..SAMPLED).contains(*equal)).count();
        let wholly = equal.iter().filter(|equal| **equal == 0).count();
        let is_scattered = in_part > SCATTERED.min(wholly);
        let share = equal.iter().sum::<u64>() as f64 / looked as f64;
        Ok(Some(Sample { share, is_scattered }))
    }

    /// What is equal at its own place, by sums; `None` where one of the two cannot be read.
    async fn in_place(&self, range: ByteRange) -> Result<Option<Vec<CopiedRange>>, Stop> {
        self.placed(range, range).await
    }

    /// What of a range stands in one of the basis that is as long, each block at its place.
    pub(super) async fn placed(
        &self,
        range: ByteRange,
        basis: ByteRange,
    ) -> Result<Option<Vec<CopiedRange>>, Stop> {
        let Some(sums) = self.sums(basis, FINE, Placed).await? else { return Ok(None) };
        self.look(range, FINE, basis.start(), sums, Placed).await
    }

    /// Sums of blocks of the basis; `None` where it cannot be read.
    pub(super) async fn sums(
        &self,
        range: ByteRange,
        block: u32,
        kind: SumKind,
    ) -> Result<Option<Bytes>, Stop> {
        let sign = Sign { file: self.delta.basis.clone(), range, block, kind };
        let sums = self.cx.sink.sign(sign).await;
        if self.cx.halt.is_halted() {
            return Err(Stop::Cancelled);
        }
        self.there(sums)
    }

    pub(super) async fn look(
        &self,
        range: ByteRange,
        block: u32,
        from: u64,
        sums: Bytes,
        kind: SumKind,
    ) -> Result<Option<Vec<CopiedRange>>, Stop> {
        let count = u32::try_from(sums.len() / kind.bytes()).unwrap_or(u32::MAX);
        let looked = Match { file: self.ours.clone(), range, block, from, sums: count, kind };
        let found = self.cx.source.find_copies(looked, sums).await;
        if self.cx.halt.is_halted() {
            return Err(Stop::Cancelled);
        }
        self.sorted(Side::Source, found)
    }

    fn there<T>(&self, answer: EndpointResult<T>) -> Result<Option<T>, Stop> {
        self.sorted(Side::Destination, answer)
    }

    /// What one file's own fault keeps from being known is not known; the file is sent.
    fn sorted<T>(&self, side: Side, answer: EndpointResult<T>) -> Result<Option<T>, Stop> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) => self.cx.sort(side, error).map(|_| None),
        }
    }

    /// Compares large blocks at their own places, where most are equal.
    async fn compare(&mut self) -> Result<(), Stop> {
        let same_size = self.ours.stamp.size == self.delta.basis.stamp.size;
        let common = if same_size { self.common() } else { self.common() / COARSE * COARSE };
        let Some(whole) = ByteRange::whole(common) else { return Ok(()) };
        let pieces: Vec<_> = pieces_of(whole, COMPARED)
            .filter(|piece| self.missing.iter().any(|range| range.intersection(*piece).is_some()))
            .collect();
        let search = &*self;
        let each = pieces.into_iter().map(|piece| search.compare_piece(piece));
        let equal: Vec<_> = stream::iter(each).buffered(ASKED).try_collect().await?;
        for (block, digest) in equal.into_iter().flatten() {
            let (to, length) = (block.start(), block.len());
            self.delta.copies.add(CopiedRange { to, from: to, length });
            self.delta.known.insert(to, digest);
        }
        Ok(())
    }

    async fn compare_piece(
        &self,
        range: ByteRange,
    ) -> Result<Vec<(ByteRange, xfer_protocol::digest::Digest)>, Stop> {
        let zeros = u8::try_from(COARSE.trailing_zeros()).unwrap_or(0);
        let Ok(block) = BlockSize::from_log(zeros) else { return Ok(Vec::new()) };
        let request = |file: &FileAt| {
            let (subject, reading) = (Subject::File(file.clone()), Reading::Cached);
            HashBlocks { subject, range, block, reading }
        };
        let (ours, theirs) = tokio::join!(
            self.cx.source.hash_blocks(request(&self.ours)),
            self.cx.sink.hash_blocks(request(&self.delta.basis)),
        );
        if self.cx.halt.is_halted() {
            return Err(Stop::Cancelled);
        }
        let ours = self.sorted(Side::Source, ours)?;
        let theirs = self.there(theirs)?;
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(Vec::new()) };
        self.cx.meter.verified(range.len());
        let blocks = pieces_of(range, block.bytes());
        let both = blocks.zip(ours.digests).zip(theirs.digests);
        Ok(both.filter(|((_, ours), theirs)| ours == theirs).map(|(equal, _)| equal).collect())
    }

    /// Looks at what is not known to be equal, block by small block.
    async fn look_in_place(&mut self) -> Result<(), Stop> {
        let fine = u64::from(FINE);
        let start = |range: &ByteRange| range.start() / fine * fine;
        let ranges = self.uncovered();
        let ranges = ranges.iter().filter_map(|r| ByteRange::new(start(r), r.end()).ok());
        let pieces: Vec<_> = ranges.flat_map(|range| pieces_of(range, COMPARED)).collect();
        let search = &*self;
        let each = pieces.into_iter().map(|piece| search.in_place(piece));
        let found: Vec<_> = stream::iter(each).buffered(ASKED).try_collect().await?;
        found.into_iter().flatten().flatten().for_each(|copy| self.delta.copies.add(copy));
        Ok(())
    }
}
