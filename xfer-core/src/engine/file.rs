//! One large file: what the sink holds of it, what is missing, and its blocks on their way.

use std::sync::Arc;

use tokio::task::JoinSet;
use xfer_protocol::digest::{BlockSize, Digest, TreeAssembler, zero_span_digest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::{
    Commit, FileAt, HashBlocks, Keep, OpenPartial, PartialIndex, ReadBlock, Reading, Subject,
    WriteBlock,
};
use xfer_protocol::range::{ByteRange, RangeSet};

use super::context::{Context, Stop, fault};
use super::copying::{copy_within, unchanged_within};
use super::delta::{self, Delta, Outcome, Patched};
use super::in_place;
use super::ledger::Side;
use super::pack::{FileWork, keep_aside, settle_equal, source_failed};
use super::payload::Payload;
use super::pieces::{pieces, pieces_of};
use super::publisher::{Staged, publish, publish_if_due};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::event::Event;

/// Bytes hashed in one request while two ends are compared.
const COMPARE_BYTES: u64 = 64 << 20;

/// The largest hole sent as one block; both sides hash its zeros.
const HOLE_BYTES: u64 = 64 << 20;

/// Times that a file which is not what its source knows of it is read again: it may have been
/// damaged on its way, and of what arrived only the damaged part is sent anew.
const DOUBTS_MAX: u32 = 1;

/// Times that a file is begun anew after its partial was lost to a failed sync.
const TAINTS_MAX: u32 = 2;

/// Times that a sink which has too much open is asked again; what is staged is published before.
const LIMITS_MAX: u32 = 3;

/// How one attempt at a file ended, where it did not stop the transfer.
enum Ended {
    Staged,
    /// The file failed at one end.
    Failed(Side, Fault),
}

/// Copies a large file, or finds it equal.
pub(super) async fn copy_file(cx: &Arc<Context>, mut work: FileWork) -> Result<(), Stop> {
    match find_equal(cx, work).await? {
        Some(different) => work = different,
        None => return Ok(()),
    }
    let kept = keep_aside(cx, vec![work]).await?;
    match copy_within(cx, kept).await?.pop() {
        Some(left) => work = left,
        None => return Ok(()),
    }
    let (mut taints, mut limits, mut doubts, mut room) = (0, 0, 0, 0);
    loop {
        if cx.halt.is_halted() {
            return Ok(());
        }
        let (side, failed) = match copy_once(cx, &work, &mut room).await? {
            Ended::Staged => return publish_one(cx).await,
            Ended::Failed(side, failed) => (side, failed),
        };
        drop(cx.publisher.unstage(work.ticket));
        match (side, failed.kind) {
            (Side::Source, FaultKind::Mismatch) if doubts < DOUBTS_MAX => {
                doubts += 1;
                cx.observe(&Event::Retry { reason: failed.to_string(), attempt: doubts });
            }
            (Side::Source, _) => match source_failed(cx, work, failed, u64::MAX).await? {
                Some(renewed) => work = renewed,
                None => return Ok(()),
            },
            (_, FaultKind::Tainted | FaultKind::Mismatch) if taints < TAINTS_MAX => {
                taints += 1;
                cx.observe(&Event::Retry { reason: failed.to_string(), attempt: taints });
            }
            (_, FaultKind::Limit) if limits < LIMITS_MAX => {
                limits += 1;
                cx.observe(&Event::Retry { reason: failed.to_string(), attempt: limits });
                publish(cx).await?;
                cx.pause(limits).await;
            }
            _ => {
                cx.ledger.fail(work.ticket, side, &work.path, work.size, failed);
                return Ok(());
            }
        }
    }
}

async fn publish_one(cx: &Arc<Context>) -> Result<(), Stop> {
    if cx.publishes_at_once() { publish(cx).await } else { publish_if_due(cx).await }
}

/// Books a file if what stands at the destination is equal, else returns it.
pub(super) async fn find_equal(
    cx: &Arc<Context>,
    work: FileWork,
) -> Result<Option<FileWork>, Stop> {
    let is_compared = work.found.is_some();
    let Some(work) = unchanged_within(cx, vec![work]).await?.pop() else { return Ok(None) };
    let found = work.found.map(|(stamp, _)| {
        let path = work.path.clone();
        FileAt { root: cx.sink_root, path, stamp }
    });
    let equal = match found {
        Some(theirs) => compare(cx, &work, theirs).await?,
        None => None,
    };
    let different = match equal {
        Some(digest) => settle_equal(cx, vec![(work, digest)]).await?.pop(),
        None => Some(work),
    };
    if let (Some(work), true) = (&different, is_compared) {
        cx.meter.different(work.size);
    }
    Ok(different)
}

/// Compares a file with one of the destination by content; its digest where both are equal.
pub(super) async fn compare(
    cx: &Arc<Context>,
    work: &FileWork,
    theirs: FileAt,
) -> Result<Option<Digest>, Stop> {
    let ours = cx.source_file(&work.source_path, work.stamp);
    let mut tree = TreeAssembler::new(work.size);
    for piece in pieces(work.size, COMPARE_BYTES) {
        let (ours, theirs) = tokio::join!(
            cx.source.hash_blocks(request(Subject::File(ours.clone()), piece)),
            cx.sink.hash_blocks(request(Subject::File(theirs.clone()), piece)),
        );
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return Ok(None) };
        cx.meter.verified(piece.len());
        if cx.halt.is_halted() {
            return Err(Stop::Cancelled);
        }
        if ours.digests != theirs.digests {
            return Ok(None);
        }
        for (range, digest) in pieces_of(piece, BlockSize::DEFAULT.bytes()).zip(ours.digests) {
            if tree.add(range, digest).is_err() {
                return Ok(None);
            }
        }
    }
    Ok(tree.root())
}

fn request(subject: Subject, range: ByteRange) -> HashBlocks {
    HashBlocks { subject, range, block: BlockSize::DEFAULT, reading: Reading::Cached }
}

/// One file under way.
struct Copy<'a> {
    cx: &'a Arc<Context>,
    work: &'a FileWork,
    partial: PartialIndex,
    /// Whether that is what it replaces.
    in_place: bool,
    block: u64,
    /// The grid on which data and holes are told apart.
    grain: u64,
    tree: TreeAssembler,
    done: u64,
    /// What is copied at the destination instead of sent.
    delta: Option<Delta>,
    /// What could not be copied.
    refused: RangeSet,
}

async fn copy_once(cx: &Arc<Context>, work: &FileWork, room: &mut u64) -> Result<Ended, Stop> {
    let partial = cx.publisher.next_partial();
    let open = OpenPartial {
        partial,
        root: cx.sink_root,
        path: work.path.clone(),
        size: work.size,
        over: in_place::over(work),
    };
    let opened = match cx.sink.open_partial(open).await {
        Ok(opened) => opened,
        Err(error) => {
            return Ok(Ended::Failed(Side::Destination, cx.sort(Side::Destination, error)?));
        }
    };
    if let Err(full) = in_place::make_room(cx, work, &opened, room) {
        return Ok(Ended::Failed(Side::Destination, full));
    }
    let block = block_length(cx);
    let grain = if grid(cx) <= BlockSize::MIN.bytes() { BlockSize::MIN.bytes() } else { block };
    let tree = TreeAssembler::new(work.size);
    let refused = RangeSet::new();
    let in_place = opened.in_place;
    let mut copy =
        Copy { cx, work, partial, in_place, block, grain, tree, done: 0, delta: None, refused };
    let kept = match copy.keep_held(opened.held).await {
        Ok(kept) => kept,
        Err((side, error)) => return Ok(Ended::Failed(side, cx.sort(side, error)?)),
    };
    cx.meter.reused(kept.bytes());
    cx.meter.spared(kept.bytes());
    copy.done = kept.bytes();
    let event = Event::FileBegun { path: work.path.clone(), size: work.size, held: kept.bytes() };
    cx.observe(&event);
    let data = match copy.data_ranges().await {
        Ok(data) => data,
        Err(error) => return Ok(Ended::Failed(Side::Source, cx.sort(Side::Source, error)?)),
    };
    copy.delta = copy.find_delta(&kept, &data).await?;
    if let Some(ended) = copy.send_missing(kept, &data).await? {
        return Ok(ended);
    }
    copy.commit().await
}

/// Blocks of a power of two that lie on the sink's write grid, and that the link bears now.
fn block_length(cx: &Context) -> u64 {
    let (grid, least) = (cx.sink.capabilities().write_grid.max(1), grid(cx));
    if least <= BlockSize::DEFAULT.bytes() {
        if let Some(fixed) = cx.options.network.block {
            return fixed.bytes().max(least);
        }
        let borne = [cx.pacer.block_max(), cx.source.block_max(), cx.sink.block_max()];
        let paced = borne.into_iter().flatten().min().unwrap_or(u64::MAX);
        let paced = paced.max(BlockSize::MIN.bytes()).max(least);
        let smaller = 1 << paced.ilog2();
        if smaller >= least { BlockSize::DEFAULT.bytes().min(smaller) } else { least }
    } else {
        grid.saturating_mul(least.div_ceil(grid))
    }
}

/// The blocks by which what is held is compared: of a coarse grid nothing finer may be known, and
/// an older version differs in small places.
fn compared(cx: &Context, in_place: bool) -> BlockSize {
    let grid = grid(cx);
    if in_place && grid <= BlockSize::MIN.bytes() {
        return BlockSize::MIN;
    }
    let log = u8::try_from(grid.ilog2()).ok().filter(|_| grid.is_power_of_two());
    let coarse = log.and_then(|log| BlockSize::from_log(log).ok());
    coarse.map_or(BlockSize::DEFAULT, |coarse| coarse.max(BlockSize::DEFAULT))
}

/// The least that the sink takes at once.
fn grid(cx: &Context) -> u64 {
    let capabilities = cx.sink.capabilities();
    capabilities.write_grid.max(capabilities.part_min)
}

impl Copy<'_> {
    /// Proves what an earlier session left: both ends hash it, and what is equal is kept.
    async fn keep_held(&mut self, held: Vec<ByteRange>) -> Result<RangeSet, (Side, EndpointError)> {
        let mut kept = RangeSet::new();
        if !self.cx.sink.capabilities().rehash {
            return Ok(kept);
        }
        // On a grid that is coarser than blocks, what is held is kept as it is told: whole, or not
        // at all.
        let coarse = grid(self.cx) > BlockSize::DEFAULT.bytes();
        let ranges: Vec<ByteRange> = if coarse {
            held
        } else {
            // A block that is partly hole may be whole all the same.
            let widened = held.iter().filter_map(|r| widen(*r, self.block, self.work.size));
            let blocks: RangeSet = widened.collect();
            blocks.iter().flat_map(|range| pieces_of(range, COMPARE_BYTES)).collect()
        };
        let (mut equal, mut hashed) = (RangeSet::new(), 0);
        for range in ranges {
            let mut same = Vec::new();
            for piece in pieces_of(range, COMPARE_BYTES) {
                same.extend(self.compare_held(piece).await?);
            }
            let length: u64 = same.iter().map(|(block, _)| block.len()).sum();
            if !coarse || length == range.len() {
                for (block, digest) in same {
                    if self.tree.add(block, digest).is_ok() {
                        equal.insert(block);
                        kept.insert(block);
                    }
                }
            }
            hashed += range.len();
            if hashed >= COMPARE_BYTES {
                hashed = 0;
                self.keep(std::mem::take(&mut equal)).await?;
            }
        }
        self.keep(equal).await?;
        Ok(kept)
    }

    /// The blocks of which both ends hold the same.
    async fn compare_held(
        &self,
        piece: ByteRange,
    ) -> Result<Vec<(ByteRange, Digest)>, (Side, EndpointError)> {
        let ours = Subject::File(self.cx.source_file(&self.work.source_path, self.work.stamp));
        let (held, block) = (Subject::Partial(self.partial), compared(self.cx, self.in_place));
        let (ours, theirs) = tokio::join!(
            self.cx.source.hash_blocks(HashBlocks { block, ..request(ours, piece) }),
            self.cx.sink.hash_blocks(HashBlocks { block, ..request(held, piece) }),
        );
        let ours = ours.map_err(|e| (Side::Source, e))?;
        let theirs = theirs.map_err(|e| (Side::Destination, e))?;
        self.cx.meter.verified(piece.len());
        let blocks = pieces_of(piece, block.bytes());
        let both = blocks.zip(ours.digests).zip(theirs.digests);
        let equal = both.filter(|((_, ours), theirs)| ours == theirs);
        Ok(equal.map(|(block, _)| block).collect())
    }

    /// Tells the sink what is proven while it remembers the digests: their number is bounded.
    async fn keep(&self, equal: RangeSet) -> Result<(), (Side, EndpointError)> {
        if equal.is_empty() {
            return Ok(());
        }
        let keep = Keep { partial: self.partial, ranges: equal.iter().collect() };
        self.cx.sink.keep(keep).await.map_err(|error| (Side::Destination, error))
    }

    /// Where the source has data, in whole spans; everywhere, unless it is sparse.
    async fn data_ranges(&self) -> EndpointResult<RangeSet> {
        let whole: RangeSet = ByteRange::whole(self.work.size).into_iter().collect();
        if self.work.allocated >= self.work.size || !self.cx.sink.capabilities().metadata.sparse {
            return Ok(whole);
        }
        let file = self.cx.source_file(&self.work.source_path, self.work.stamp);
        let data = self.cx.source.data_ranges(file).await?;
        Ok(data.into_iter().filter_map(|r| widen(r, self.grain, self.work.size)).collect())
    }

    /// What of the missing data need not be sent. What passes elsewhere has a way of its own.
    async fn find_delta(&self, kept: &RangeSet, data: &RangeSet) -> Result<Option<Delta>, Stop> {
        // What is written over is no basis any more.
        if self.cx.passage.is_some() || self.cx.within.is_some() || self.in_place {
            return Ok(None);
        }
        let mut missing = data.clone();
        kept.iter().for_each(|range| missing.remove(range));
        delta::find(self.cx, self.work, &missing).await
    }

    /// Sends every block that is not kept; some outcome where the file cannot be finished.
    async fn send_missing(
        &mut self,
        mut kept: RangeSet,
        data: &RangeSet,
    ) -> Result<Option<Ended>, Stop> {
        loop {
            let mut blocks = JoinSet::new();
            let sent = self.send_each(&mut blocks, &kept, data).await;
            // A block that is given up still holds the transfer until its task has ended.
            blocks.shutdown().await;
            let refused = std::mem::take(&mut self.refused);
            if refused.is_empty() || !matches!(sent, Ok(None)) {
                return sent;
            }
            if let Some(delta) = self.delta.take() {
                self.delta = delta::look_closer(self.cx, self.work, delta, &refused).await?;
            }
            // What could not be copied is sent, and nothing else again.
            kept = ByteRange::whole(self.work.size).into_iter().collect();
            refused.iter().for_each(|range| kept.remove(range));
        }
    }

    async fn send_each(
        &mut self,
        blocks: &mut JoinSet<Sent>,
        kept: &RangeSet,
        data: &RangeSet,
    ) -> Result<Option<Ended>, Stop> {
        let mut start = 0;
        while start < self.work.size {
            let piece = self.next_piece(start, kept, data);
            let range = piece.range();
            start = range.end();
            if let Piece::Kept(_) = piece {
                continue;
            }
            let Some(room) = self.cx.budget.block(piece.weight()).await else {
                return Err(Stop::Cancelled);
            };
            if self.cx.halt.is_halted() {
                return Err(Stop::Cancelled);
            }
            let (cx, work, partial) = (Arc::clone(self.cx), self.work.clone(), self.partial);
            blocks.spawn(async move {
                let payload = piece.payload();
                let sent = send_piece(&cx, &work, partial, piece).await;
                drop(room);
                Sent { range, payload, digests: sent }
            });
            while let Some(finished) = blocks.try_join_next() {
                if let Some(ended) = self.book(finished)? {
                    return Ok(Some(ended));
                }
            }
        }
        while let Some(finished) = blocks.join_next().await {
            if let Some(ended) = self.book(finished)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// The piece at `start`: what is kept, at most one block of data, or a hole.
    fn next_piece(&self, start: u64, kept: &RangeSet, data: &RangeSet) -> Piece {
        let size = self.work.size;
        let until = |end: u64| {
            // A start below the size and an end above the start make a range.
            ByteRange::new(start, size.min(end))
                .unwrap_or_else(|_| unreachable!("{start} lies within the file"))
        };
        let next_kept = kept.first_after(start).map_or(size, ByteRange::start);
        if next_kept <= start {
            return Piece::Kept(until(kept.first_after(start).map_or(size, ByteRange::end)));
        }
        let boundary = |length: u64| (start / length + 1).saturating_mul(length).min(next_kept);
        match data.first_after(start) {
            Some(data) if data.start() <= start => {
                let (length, end) = (block_length(self.cx), data.end().min(next_kept));
                match self.delta.as_ref().and_then(|d| d.next(start, end.min(size), size, length)) {
                    Some(patched) => Piece::Patched(patched),
                    None => Piece::Data(until(data.end().min(boundary(length)))),
                }
            }
            Some(data) => Piece::Hole(until(data.start().min(boundary(HOLE_BYTES)))),
            None => Piece::Hole(until(boundary(HOLE_BYTES))),
        }
    }

    fn book(
        &mut self,
        finished: Result<Sent, tokio::task::JoinError>,
    ) -> Result<Option<Ended>, Stop> {
        let Ok(Sent { range, payload, digests }) = finished else { return Err(Stop::Cancelled) };
        match digests {
            Ok(digests) => {
                for (span, digest) in digests {
                    if self.tree.add(span, digest).is_err() {
                        let found = fault(FaultKind::Protocol, Operation::Read, &self.work.path);
                        return Ok(Some(Ended::Failed(Side::Source, found)));
                    }
                }
                self.cx.meter.payload(payload.sent);
                self.cx.meter.reused(payload.copied);
                self.cx.meter.spared(range.len() - payload.sent);
                self.done += range.len();
                let path = self.work.path.clone();
                self.cx.observe(&Event::FileProgress { path, done: self.done });
                Ok(None)
            }
            Err(SendError::Refused(failed)) => {
                self.cx.meter.wasted(payload.sent);
                self.delta.iter_mut().for_each(|delta| delta.refuse(range, &failed));
                self.refused.insert(range);
                Ok(None)
            }
            Err(SendError::Entry(side, failed)) => Ok(Some(Ended::Failed(side, failed))),
            Err(SendError::Stop(stop)) => Err(stop),
        }
    }

    async fn commit(self) -> Result<Ended, Stop> {
        let Some(digest) = self.tree.root() else {
            let found = fault(FaultKind::Protocol, Operation::Commit, &self.work.path);
            return Ok(Ended::Failed(Side::Source, found));
        };
        let file = self.cx.source_file(&self.work.source_path, self.work.stamp);
        if let Err(error) = self.cx.source.confirm(&file, digest).await {
            return Ok(Ended::Failed(Side::Source, self.cx.sort(Side::Source, error)?));
        }
        let FileWork { ticket, path, size, wanted, stamp: source, .. } = self.work.clone();
        self.cx.ledger.digest(ticket, digest);
        let in_place = self.in_place;
        let staged = Staged { path, size, source, digest: Some(digest), in_place };
        if self.cx.publishes_at_once() {
            // Such a file is published at once.
            self.cx.publisher.stage(vec![(ticket, staged)]);
        } else {
            while !self.cx.publisher.try_stage_open(ticket, staged.clone()) {
                publish(self.cx).await?;
            }
        }
        let commit = Commit { partial: self.partial, ticket, digest, metadata: wanted };
        match self.cx.sink.commit(commit).await {
            Ok(()) => Ok(Ended::Staged),
            Err(error) => {
                Ok(Ended::Failed(Side::Destination, self.cx.sort(Side::Destination, error)?))
            }
        }
    }
}

/// What is next to be done of a file.
enum Piece {
    /// The sink holds it, proven.
    Kept(ByteRange),
    Data(ByteRange),
    Hole(ByteRange),
    /// The sink has most of it elsewhere.
    Patched(Patched),
}

impl Piece {
    fn range(&self) -> ByteRange {
        match self {
            Self::Kept(range) | Self::Data(range) | Self::Hole(range) => *range,
            Self::Patched(patched) => patched.range,
        }
    }

    /// Bytes that it counts for among those in flight.
    fn weight(&self) -> u64 {
        match self {
            Self::Kept(_) | Self::Hole(_) => 0,
            Self::Data(range) => range.len(),
            Self::Patched(patched) => patched.weight(),
        }
    }

    fn payload(&self) -> Moved {
        match self {
            Self::Kept(_) | Self::Hole(_) => Moved { sent: 0, copied: 0 },
            Self::Data(range) => Moved { sent: range.len(), copied: 0 },
            Self::Patched(patched) => {
                let sent = patched.literal();
                Moved { sent, copied: patched.range.len() - sent }
            }
        }
    }
}

/// Bytes of a piece that cross the link, and those that the sink copies.
struct Moved {
    sent: u64,
    copied: u64,
}

/// The smallest range on a grid that holds another, within a file.
fn widen(range: ByteRange, grid: u64, size: u64) -> Option<ByteRange> {
    let end = range.end().checked_next_multiple_of(grid).unwrap_or(size);
    ByteRange::new(range.start() / grid * grid, end.min(size)).ok()
}

/// A piece that was sent, and the digests of what it is made of.
struct Sent {
    range: ByteRange,
    payload: Moved,
    digests: Result<Vec<(ByteRange, Digest)>, SendError>,
}

enum SendError {
    Entry(Side, Fault),
    /// The sink cannot copy it.
    Refused(Fault),
    Stop(Stop),
}

async fn send_piece(
    cx: &Arc<Context>,
    work: &FileWork,
    partial: PartialIndex,
    piece: Piece,
) -> Result<Vec<(ByteRange, Digest)>, SendError> {
    let (range, hole) = match piece {
        Piece::Patched(patched) => {
            return match patched.send(cx, work, partial).await.map_err(SendError::Stop)? {
                Outcome::Written(digests) => Ok(digests),
                Outcome::Refused(failed) => Err(SendError::Refused(failed)),
                Outcome::Failed(side, failed) => Err(SendError::Entry(side, failed)),
            };
        }
        Piece::Hole(range) => (range, true),
        Piece::Data(range) | Piece::Kept(range) => (range, false),
    };
    let digests = send_block(cx, work, partial, range, hole).await?;
    Ok(xfer_protocol::digest::spans(range, work.size).zip(digests).collect())
}

/// Moves one block; damaged on its way, it is fetched and sent once more.
async fn send_block(
    cx: &Arc<Context>,
    work: &FileWork,
    partial: PartialIndex,
    range: ByteRange,
    hole: bool,
) -> Result<Vec<Digest>, SendError> {
    let mut attempt = 0;
    loop {
        let (digests, payload) = if hole {
            (zero_digests(range, work.size).await, Payload::NONE)
        } else {
            let file = cx.source_file(&work.source_path, work.stamp);
            let read = cx.read_block(ReadBlock { file, range }).await;
            read.map_err(|e| own(cx, Side::Source, e))?
        };
        let write = WriteBlock { partial, range, digests: digests.clone(), hole };
        cx.pacer.pace(payload.bytes_to_pace()).await;
        let failed = match cx.write_block(write, payload).await {
            Ok(()) => return Ok(digests),
            Err(error) => error,
        };
        match own(cx, Side::Destination, failed) {
            SendError::Entry(_, f) if f.kind == FaultKind::Mismatch && cx.may_retry(attempt) => {
                attempt += 1;
                cx.meter.wasted(range.len());
                cx.observe(&Event::Retry { reason: f.to_string(), attempt });
                cx.pause(attempt).await;
            }
            other => return Err(other),
        }
    }
}

fn own(cx: &Context, side: Side, error: EndpointError) -> SendError {
    match cx.sort(side, error) {
        Ok(failed) => SendError::Entry(side, failed),
        Err(stop) => SendError::Stop(stop),
    }
}

async fn zero_digests(range: ByteRange, size: u64) -> Vec<Digest> {
    let hash = move || {
        xfer_protocol::digest::spans(range, size)
            .map(|span| zero_span_digest(span.start(), span.len(), size))
            .collect()
    };
    tokio::task::spawn_blocking(hash).await.unwrap_or_default()
}
