//! One upload in parts: begun with its first part, recorded as parts are acknowledged, and taken up
//! again by what was recorded or by what the parts themselves prove.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Metadata;
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::fault::sort;
use super::records::{Begun, RecordedPart, Recording};
use super::store::{Checksum, Key, Load, Part, StoreError, StoreResult, UploadId};
use super::sums::{Grains, acknowledges, combined, crc_of, proves};
use super::{GRID, Shared, attributes, guard};
use crate::endpoint::{EndpointError, EndpointResult};

/// Bytes of the largest part: what is collected of it waits in memory.
const PART_BYTES_MAX: u64 = 128 << 20;

/// Parts of one object at most.
const PARTS_MAX: u64 = 10_000;

/// Uploads of one key that are looked at.
const FOUND_MAX: usize = 8;

/// An upload of one file.
pub(super) struct Upload {
    pub(super) key: Key,
    path: RelPath,
    size: u64,
    part_length: u64,
    /// Whether it carries its file's attributes, which most have not until the file is complete.
    pub(super) tells: bool,
    under: tokio::sync::Mutex<Option<Arc<Under>>>,
    table: Mutex<Table>,
}

/// An upload that the store knows.
pub(super) struct Under {
    pub(super) id: UploadId,
    /// What the object will be marked with; of an upload that was found, nothing.
    pub(super) attempt: Option<String>,
    /// Parts of an upload that was found, which may prove to be ours.
    found: BTreeMap<u32, Part>,
}

#[derive(Default)]
struct Table {
    /// Parts that were written or kept in this session.
    done: BTreeMap<u32, Done>,
    /// Blocks of parts that are not whole yet.
    collecting: HashMap<u32, BTreeMap<u64, Block>>,
    /// What an earlier session left, until it is kept or written again.
    recorded: BTreeMap<u32, RecordedPart>,
    recording: Option<Recording>,
}

struct Done {
    part: Part,
    crc: u64,
    /// Whether the store told a sum of it, and it was ours.
    acknowledged: bool,
}

struct Block {
    load: Load,
    grains: Grains,
}

/// The parts of a whole object, and its checksum.
pub(super) struct PartTable {
    pub(super) parts: Vec<Part>,
    pub(super) crc: u64,
    /// Whether the store told a sum of each part, and it was ours.
    pub(super) acknowledged: bool,
}

/// Bytes of all parts but the last; `None` where a file is too large.
pub(super) fn part_length(size: u64, parts_max: u32) -> Option<u64> {
    let most = PARTS_MAX.min(u64::from(parts_max)).max(1);
    let mut lengths = std::iter::successors(Some(GRID), |length| length.checked_mul(2));
    let fits = lengths.find(|length| size.div_ceil(*length) <= most)?;
    (fits <= PART_BYTES_MAX).then_some(fits)
}

impl Upload {
    pub(super) fn new(key: Key, path: RelPath, size: u64, part_length: u64) -> Self {
        let (under, table) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { key, path, size, part_length, tells: false, under, table }
    }

    fn count(&self) -> u64 {
        self.size.div_ceil(self.part_length).max(1)
    }

    /// Where a part lies.
    fn range(&self, number: u32) -> Option<ByteRange> {
        let start = u64::from(number.checked_sub(1)?).checked_mul(self.part_length)?;
        ByteRange::new(start, self.size.min(start.checked_add(self.part_length)?)).ok()
    }

    fn number(&self, offset: u64) -> Option<u32> {
        u32::try_from(offset / self.part_length + 1).ok()
    }

    /// Cuts a range where parts end.
    pub(super) fn cut(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> {
        let mut start = range.start();
        std::iter::from_fn(move || {
            let end = (start / self.part_length + 1).saturating_mul(self.part_length);
            let piece = ByteRange::new(start, end.min(range.end())).ok()?;
            start = piece.end();
            Some(piece)
        })
    }

    fn fault(&self, kind: FaultKind, during: Operation) -> Fault {
        Fault::new(kind, during, self.path.clone())
    }

    /// What an earlier session left, as ranges that are kept whole or not at all.
    pub(super) fn held(&self) -> Vec<ByteRange> {
        let table = guard(&self.table);
        table.recorded.keys().filter_map(|number| self.range(*number)).collect()
    }

    /// The digest of a block of what an earlier session left.
    pub(super) fn recorded(&self, block: ByteRange) -> Option<Digest> {
        let table = guard(&self.table);
        let mut grains = Vec::new();
        let mut first = None;
        for piece in self.cut(block) {
            let number = self.number(piece.start())?;
            let part = table.recorded.get(&number)?;
            first = first.or_else(|| self.range(number).map(ByteRange::start));
            grains.push(Grains::recorded(&part.digests, part.size)?);
        }
        Grains::joined(grains.iter())?.digest_of(block, first?, self.size)
    }

    /// Takes recorded parts as written; a range that is not made of whole parts is refused.
    pub(super) fn keep(&self, range: ByteRange) -> Result<(), Fault> {
        let protocol = || self.fault(FaultKind::Protocol, Operation::Hash);
        let numbers: Option<Vec<u32>> = self
            .cut(range)
            .map(|piece| self.number(piece.start()).filter(|n| self.range(*n) == Some(piece)))
            .collect();
        let numbers = numbers.ok_or_else(protocol)?;
        let mut table = guard(&self.table);
        let is_there = |n: &u32| table.recorded.contains_key(n) || table.done.contains_key(n);
        if !numbers.iter().all(is_there) {
            return Err(protocol());
        }
        for number in numbers {
            let Some(kept) = table.recorded.remove(&number) else { continue };
            let RecordedPart { size, tag, crc, acknowledged, .. } = kept;
            let part = Part { number, size, tag, checksum: None };
            table.done.insert(number, Done { part, crc, acknowledged });
        }
        Ok(())
    }

    /// The parts of the whole object, which lie one behind the other; `None` while one is missing.
    pub(super) fn parts(&self) -> Option<PartTable> {
        let table = guard(&self.table);
        let (mut parts, mut sum, mut end) = (Vec::new(), 0, 0);
        for (number, Done { part, crc, .. }) in &table.done {
            let range = self.range(*number)?;
            if range.start() != end || range.len() != part.size || part.number != *number {
                return None;
            }
            sum = if end == 0 { *crc } else { combined(sum, *crc, part.size) };
            end = range.end();
            parts.push(part.clone());
        }
        let acknowledged = table.done.values().all(|done| done.acknowledged);
        (end == self.size && end > 0).then_some(PartTable { parts, crc: sum, acknowledged })
    }

    /// The upload that the store knows, once there is one.
    pub(super) async fn under(&self) -> Option<Arc<Under>> {
        self.under.lock().await.as_ref().map(Arc::clone)
    }

    /// Takes a block; the one that makes a part whole writes it.
    pub(super) async fn write(
        &self,
        shared: &Shared,
        start: u64,
        load: Load,
        grains: Grains,
    ) -> EndpointResult<()> {
        let protocol = || self.fault(FaultKind::Protocol, Operation::Write);
        let number = self.number(start).ok_or_else(protocol)?;
        let range = self.range(number).ok_or_else(protocol)?;
        let blocks = {
            let mut table = guard(&self.table);
            let blocks = table.collecting.entry(number).or_default();
            blocks.insert(start, Block { load, grains });
            if blocks.values().map(|block| block.load.length()).sum::<u64>() != range.len() {
                return Ok(());
            }
            table.collecting.remove(&number).unwrap_or_default()
        };
        let written = self.write_part(shared, number, &blocks).await;
        if written.is_err() {
            let mut blocks = blocks;
            // Those that were taken before are not sent again.
            blocks.remove(&start);
            guard(&self.table).collecting.entry(number).or_default().extend(blocks);
        }
        written
    }

    async fn write_part(
        &self,
        shared: &Shared,
        number: u32,
        blocks: &BTreeMap<u64, Block>,
    ) -> EndpointResult<()> {
        let protocol = || self.fault(FaultKind::Protocol, Operation::Write);
        let grains = Grains::joined(blocks.values().map(|block| &block.grains));
        let digests = grains.ok_or_else(protocol)?.digests().to_vec();
        let loads: Vec<_> = blocks.values().map(|block| block.load.clone()).collect();
        let size = loads.iter().map(Load::length).sum();
        let summed = shared.apart(size, move || {
            let body = Load::joined(loads)?;
            Some((crc_of(&body), body))
        });
        let (sum, body) = summed.await?.ok_or_else(protocol)?;
        let under = self.begun(shared, number, &body).await?;
        let found = under.found.get(&number).filter(|part| proves(part, &body));
        let part = match found {
            Some(found) => found.clone(),
            None => {
                let checksum = Checksum::Crc64Nvme(sum);
                let sent = body.clone();
                let put = shared.store.put_part(&self.key, &under.id, number, sent, checksum);
                self.judged(put.await, blocks.len())?
            }
        };
        let differs = matches!(part.checksum, Some(Checksum::Crc64Nvme(told)) if told != sum);
        if part.size != size || part.number != number || differs {
            return Err(self.fault(FaultKind::Mismatch, Operation::Write).into());
        }
        // Where all is confirmed in the end, nothing follows from it.
        let acknowledged = match part.checksum {
            _ if !shared.options.believes_answers => false,
            Some(Checksum::Crc64Nvme(_)) => true,
            told => {
                let tag = part.tag.clone();
                shared.apart(size, move || acknowledges(told, Some(&tag), &body)).await?
            }
        };
        let mut table = guard(&self.table);
        table.recorded.remove(&number);
        let tag = part.tag.clone();
        let recorded = RecordedPart { number, size, tag, crc: sum, acknowledged, digests };
        if let Some(recording) = &mut table.recording {
            recording.add(&recorded);
        }
        table.done.insert(number, Done { part, crc: sum, acknowledged });
        Ok(())
    }

    /// What became of a part of so many blocks; an upload that is gone cannot be finished.
    fn judged(&self, put: StoreResult<Part>, blocks: usize) -> Result<Part, EndpointError> {
        match put {
            Ok(part) => Ok(part),
            Err(StoreError::Missing) => {
                Err(self.fault(FaultKind::Tainted, Operation::Write).into())
            }
            // Of those that were taken before, too, nobody keeps anything.
            Err(StoreError::Unkept) if blocks > 1 => {
                Err(self.fault(FaultKind::Tainted, Operation::Write).into())
            }
            Err(error) => Err(sort(error, Operation::Write, &self.path)),
        }
    }

    /// The upload, begun now if there is none.
    async fn begun(&self, shared: &Shared, number: u32, body: &Load) -> EndpointResult<Arc<Under>> {
        let mut under = self.under.lock().await;
        if let Some(known) = &*under {
            return Ok(Arc::clone(known));
        }
        let begun = match self.find(shared, number, body).await? {
            Some(found) => found,
            None => {
                let attempt = shared.attempt();
                let marks = attributes::marked(&attempt);
                let id = shared.store.begin(&self.key, &marks).await;
                let id = id.map_err(|error| sort(error, Operation::Write, &self.path))?;
                Under { id, attempt: Some(attempt), found: BTreeMap::new() }
            }
        };
        let begun = Arc::new(begun);
        self.record(shared, &begun);
        *under = Some(Arc::clone(&begun));
        Ok(begun)
    }

    fn record(&self, shared: &Shared, under: &Under) {
        let Some(directory) = &shared.options.records else { return };
        let (name, attempt) = (shared.store.name(), under.attempt.clone());
        let begun = Begun::new(name, &self.key, &under.id, attempt, self.part_length);
        let mut table = guard(&self.table);
        table.recording = Recording::begin(directory, &begun, table.recorded.values());
    }

    /// An upload of this very key, all of whose parts lie as ours would, and one of which has the
    /// bytes of one of ours: so it is of the same file. Whether somebody is still making it nothing
    /// tells: the newest whose parts have the checksum that we ask for is the likeliest to be ours;
    /// without that checksum, only one that is alone.
    async fn find(
        &self,
        shared: &Shared,
        number: u32,
        body: &Load,
    ) -> EndpointResult<Option<Under>> {
        if self.tells || !shared.store.abilities().lists_parts {
            return Ok(None);
        }
        // Nobody has to allow us to look at what others began.
        let Ok(uploads) = shared.store.uploads(self.key.as_str()).await else { return Ok(None) };
        let mut of_key: Vec<_> =
            uploads.into_iter().filter(|upload| upload.key == self.key.as_str()).collect();
        of_key.sort_by_key(|upload| Reverse(upload.begun));
        let mut others = Vec::new();
        for upload in of_key.into_iter().take(FOUND_MAX) {
            let Ok(parts) = all_parts(shared, &self.key, &upload.id).await else { continue };
            let fits =
                |part: &Part| self.range(part.number).is_some_and(|range| range.len() == part.size);
            let has_our_sum = |part: &Part| matches!(part.checksum, Some(Checksum::Crc64Nvme(_)));
            let (all_fit, all_ours) = (parts.iter().all(fits), parts.iter().all(has_our_sum));
            let found: BTreeMap<u32, Part> =
                parts.into_iter().map(|part| (part.number, part)).collect();
            if !all_fit || !found.get(&number).is_some_and(|part| proves(part, body)) {
                continue;
            }
            let under = Under { id: upload.id, attempt: None, found };
            if all_ours {
                return Ok(Some(under));
            }
            others.push(under);
        }
        Ok(if others.len() == 1 { others.pop() } else { None })
    }

    /// Goes on with what is recorded, as far as the store still holds it.
    pub(super) async fn resume(&self, shared: &Shared) -> EndpointResult<()> {
        let Some(record) = shared.record_of(&self.key) else { return Ok(()) };
        let id = UploadId(record.begun.upload.clone());
        let listed = match all_parts(shared, &self.key, &id).await {
            Ok(parts) => Some(parts),
            // Who may not look has what is recorded; the tags are compared in the end.
            Err(StoreError::Unsupported | StoreError::Denied(_)) => None,
            Err(StoreError::Missing) => {
                shared.drop_record(&self.key);
                return Ok(());
            }
            Err(error) => return Err(sort(error, Operation::Open, &self.path)),
        };
        // What the store was copying into has the attributes of that copy.
        if record.begun.part_length != self.part_length || record.copy_of.is_some() {
            if record.begun.attempt.is_some() {
                let _gone = shared.store.abort(&self.key, &id).await;
            }
            shared.drop_record(&self.key);
            return Ok(());
        }
        let listed: Option<HashMap<u32, Part>> =
            listed.map(|parts| parts.into_iter().map(|part| (part.number, part)).collect());
        let holds = |part: &RecordedPart| match &listed {
            None => true,
            Some(listed) => listed
                .get(&part.number)
                // Where no tag is told, completing compares the one that is recorded.
                .is_some_and(|found| {
                    found.size == part.size && (found.tag.is_empty() || found.tag == part.tag)
                }),
        };
        let fits = |part: &RecordedPart| {
            u64::from(part.number) <= self.count()
                && self.range(part.number).is_some_and(|range| range.len() == part.size)
                && Grains::recorded(&part.digests, part.size).is_some()
        };
        let parts = record.parts.into_iter().filter(|(_, part)| holds(part) && fits(part));
        guard(&self.table).recorded = parts.collect();
        let under = Arc::new(Under { id, attempt: record.begun.attempt, found: BTreeMap::new() });
        self.record(shared, &under);
        *self.under.lock().await = Some(under);
        Ok(())
    }

    /// Ends the upload, if it is one of ours.
    pub(super) async fn abort(&self, shared: &Shared) -> EndpointResult<()> {
        shared.drop_record(&self.key);
        let Some(under) = self.under.lock().await.take() else { return Ok(()) };
        if under.attempt.is_none() {
            return Ok(());
        }
        match shared.store.abort(&self.key, &under.id).await {
            Ok(()) | Err(StoreError::Missing) => Ok(()),
            Err(error) => Err(sort(error, Operation::Remove, &self.path)),
        }
    }

    /// Begins an upload of one part that is there already, with all that its object tells.
    pub(super) async fn of_one(
        shared: &Shared,
        (key, path): (Key, RelPath),
        body: Load,
        metadata: &Metadata,
        digest: Digest,
    ) -> EndpointResult<Self> {
        let size = body.length();
        let upload = Self { tells: true, ..Self::new(key, path, size, GRID.max(size)) };
        let attempt = shared.attempt();
        let told = attributes::written(metadata, Some(digest), Some(&attempt));
        let id = shared.store.begin(&upload.key, &told).await;
        let id = id.map_err(|error| sort(error, Operation::Write, &upload.path))?;
        let under = Under { id, attempt: Some(attempt), found: BTreeMap::new() };
        upload.record(shared, &under);
        *upload.under.lock().await = Some(Arc::new(under));
        let grains = Grains::of(&body, 0, size);
        let grains = grains.ok_or_else(|| upload.fault(FaultKind::Protocol, Operation::Write))?;
        upload.write(shared, 0, body, grains).await?;
        Ok(upload)
    }
}

/// All parts that a store holds of an upload.
pub(super) async fn all_parts(shared: &Shared, key: &Key, id: &UploadId) -> StoreResult<Vec<Part>> {
    let mut all: Vec<Part> = Vec::new();
    loop {
        let after = all.last().map_or(0, |part| part.number);
        let more = shared.store.parts(key, id, after).await?;
        let Some(last) = more.last() else { return Ok(all) };
        if last.number <= after || all.len() + more.len() > 20_000 {
            return Err(StoreError::Nonsense("parts without an end".to_owned()));
        }
        all.extend(more);
    }
}
