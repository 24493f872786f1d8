//! Small files travel whole, many to a frame.

use std::sync::Arc;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, ProofLevel, ScanItem, Stamp};
use xfer_protocol::message::{
    FilesAt, HashFiles, Outcome, PackedFile, Reading, RootIndex, Scan, SetMetadata, Ticket,
    WritePack,
};
use xfer_protocol::path::RelPath;

use super::batch::{Carried, Most, batches, metadata_bytes, path_bytes};
use super::context::{Context, Stop, fault};
use super::copying::{copy_within, unchanged_within};
use super::ledger::Side;
use super::listing::Listing;
use super::payload::Payload;
use super::publisher::{Staged, publish, publish_if_due, read_back, settle};
use super::removal::keep_replaced;
use crate::endpoint::{EndpointError, EndpointResult};
use crate::event::{EntryAction, Event};
use crate::journal::Known;

/// Bytes of the largest file that travels whole; a larger one is cut into blocks.
pub(super) const PACK_FILE_MAX: u64 = 4 << 20;

/// Bytes and files after which a pack is sent.
pub(super) const PACK: Most = Most { entries: PACK_FILES, content: 1 << 20 };
pub(super) const PACK_FILES: usize = 256;

/// Bytes of holes, and of a file that has them, from which they are worth a partial of its own.
const HOLES_LEAST: u64 = 1 << 16;
const SPARSE_LEAST: u64 = 1 << 17;

/// Times that a file which keeps changing is copied anew.
const CHANGES_MAX: u32 = 3;

/// A file to be copied.
#[derive(Clone, Debug)]
pub(super) struct FileWork {
    pub(super) ticket: Ticket,
    /// Below the source's root.
    pub(super) source_path: RelPath,
    /// Below the destination's root.
    pub(super) path: RelPath,
    pub(super) size: u64,
    pub(super) allocated: u64,
    pub(super) stamp: Stamp,
    pub(super) wanted: Metadata,
    /// What stands at the destination, and whether its metadata is what is wanted.
    pub(super) found: Option<(Stamp, bool)>,
    /// The file that it replaces, whatever was found out about that.
    pub(super) basis: Option<Box<Stamp>>,
    /// Bytes that this takes, where it is written over that.
    pub(super) over: Option<u64>,
    pub(super) changes: u32,
}

impl FileWork {
    /// Bytes that it takes at the destination, holes not counted.
    pub(super) fn written(&self) -> u64 {
        self.size.min(self.allocated.max(1).checked_next_multiple_of(4096).unwrap_or(u64::MAX))
    }

    /// The room that it needs there: beside what it replaces, unless it is written over that.
    pub(super) fn room(&self) -> u64 {
        self.written().saturating_sub(self.over.unwrap_or(0))
    }

    /// Whether it is cut into blocks.
    pub(super) fn is_large(&self) -> bool {
        let allocated = self.allocated.saturating_add(HOLES_LEAST);
        let has_holes = self.size > SPARSE_LEAST && allocated < self.size;
        self.over.is_some() || self.size > PACK_FILE_MAX || has_holes
    }

    /// Takes what a later look at the source found.
    fn renewed(&self, cx: &Context, entry: &Entry) -> Self {
        let wanted = crate::plan::wanted_metadata(entry, &cx.options.preserve);
        Self {
            size: entry.kind.size(),
            allocated: match entry.kind {
                EntryKind::File { allocated, .. } => allocated,
                _ => 0,
            },
            stamp: entry.stamp(),
            wanted,
            found: None,
            changes: self.changes + 1,
            ..self.clone()
        }
    }
}

impl Carried for FileWork {
    fn header_bytes(&self) -> usize {
        path_bytes(&self.path).max(path_bytes(&self.source_path)) + metadata_bytes(&self.wanted)
    }

    fn content_bytes(&self) -> u64 {
        self.size
    }
}

/// A file that is worth another attempt, and what it fails with if there is none.
type Again = (FileWork, Side, Fault);

/// Keeps what files will replace, where that is asked; those for which that failed are left out.
pub(super) async fn keep_aside(
    cx: &Arc<Context>,
    mut files: Vec<FileWork>,
) -> Result<Vec<FileWork>, Stop> {
    let mut lost = keep_replaced(cx, files.iter().map(|file| file.ticket)).await?;
    files.retain(|file| match lost.remove(&file.ticket) {
        Some(fault) => {
            cx.ledger.fail(file.ticket, Side::Destination, &file.path, file.size, fault);
            false
        }
        None => true,
    });
    Ok(files)
}

/// Copies small files.
pub(super) async fn copy_pack(cx: &Arc<Context>, files: Vec<FileWork>) -> Result<(), Stop> {
    let files = keep_aside(cx, files).await?;
    let (mut files, mut attempt) = (copy_within(cx, files).await?, 0);
    while !files.is_empty() && !cx.halt.is_halted() {
        let again = copy_once(cx, files).await?;
        if again.is_empty() {
            return Ok(());
        }
        if !cx.may_retry(attempt) {
            for (file, side, fault) in again {
                cx.ledger.fail(file.ticket, side, &file.path, file.size, fault);
            }
            return Ok(());
        }
        attempt += 1;
        files = again.into_iter().map(|(file, ..)| file).collect();
        cx.pause(attempt).await;
    }
    Ok(())
}

/// One attempt; returns what is worth another.
async fn copy_once(cx: &Arc<Context>, files: Vec<FileWork>) -> Result<Vec<Again>, Stop> {
    let listed = files.iter().map(|f| (f.source_path.clone(), f.stamp)).collect();
    let request = FilesAt { root: cx.source_root, files: listed };
    let (reads, payload) = match cx.read_pack(request).await {
        Ok(answer) => answer,
        Err(error) => {
            let error = cx.sort(Side::Source, error)?;
            fail_each(cx, Side::Source, &files, &error);
            return Ok(Vec::new());
        }
    };
    let mut packed = Vec::with_capacity(files.len());
    let mut sent = Vec::with_capacity(files.len());
    let mut again = Vec::new();
    for (file, read) in files.into_iter().zip(reads) {
        match read {
            Ok(read) => {
                packed.push(PackedFile {
                    ticket: file.ticket,
                    path: file.path.clone(),
                    size: read.size,
                    digest: read.digest,
                    metadata: file.wanted.clone(),
                });
                sent.push(file);
            }
            Err(fault) => {
                let renewed = source_failed(cx, file, fault.clone(), PACK_FILE_MAX).await?;
                again.extend(renewed.map(|file| (file, Side::Source, fault)));
            }
        }
    }
    if !packed.is_empty() {
        let damaged = write(cx, sent, packed, payload).await?.into_iter();
        again.extend(damaged.map(|file| {
            let found = fault(FaultKind::Mismatch, Operation::Write, &file.path);
            (file, Side::Destination, found)
        }));
    }
    Ok(again)
}

/// A file that could not be read: what changed, and still is a file of at most so many bytes, is
/// copied anew, unless it has to settle; the rest has failed.
pub(super) async fn source_failed(
    cx: &Arc<Context>,
    file: FileWork,
    fault: Fault,
    size_max: u64,
) -> Result<Option<FileWork>, Stop> {
    if cx.puts_off(fault.kind) {
        cx.ledger.put_off(file.ticket, &file.path, file.size);
        return Ok(None);
    }
    if fault.kind == FaultKind::Changed && file.changes < CHANGES_MAX {
        let event = Event::Retry { reason: fault.to_string(), attempt: file.changes + 1 };
        cx.observe(&event);
        let found = look(cx, cx.source_root, &file.source_path).await?;
        let is_wanted = |entry: &Entry| match entry.kind {
            EntryKind::File { size, .. } => size <= size_max,
            _ => false,
        };
        if let Some(entry) = found.filter(is_wanted) {
            let renewed = file.renewed(cx, &entry);
            cx.ledger.rescanned(file.ticket, &entry, renewed.wanted.clone());
            return Ok(Some(renewed));
        }
    }
    cx.ledger.fail(file.ticket, Side::Source, &file.path, file.size, fault);
    Ok(None)
}

/// The entry as it is now at the source.
async fn look(cx: &Context, root: RootIndex, path: &RelPath) -> Result<Option<Entry>, Stop> {
    let options = cx.options.source_scan();
    let options =
        xfer_protocol::message::ScanOptions { filter: Default::default(), only: None, ..options };
    let scan = Scan { root, under: path.clone(), options };
    match first_of(cx, scan).await {
        Ok(Some(ScanItem::Entry(entry))) => Ok(Some(entry)),
        Ok(_) => Ok(None),
        // Its directory is gone too.
        Err(EndpointError::Fault(fault)) if fault.kind == FaultKind::NotFound => Ok(None),
        Err(error) => Err(Context::stop(Side::Source, error)),
    }
}

pub(super) async fn first_of(cx: &Context, scan: Scan) -> EndpointResult<Option<ScanItem>> {
    Listing::begin(Arc::clone(&cx.source), scan).await?.next().await
}

async fn write(
    cx: &Arc<Context>,
    files: Vec<FileWork>,
    packed: Vec<PackedFile>,
    payload: Payload,
) -> Result<Vec<FileWork>, Stop> {
    let staged: Vec<_> = packed
        .iter()
        .zip(&files)
        .map(|(file, work)| {
            cx.ledger.digest(file.ticket, file.digest);
            let (path, digest) = (file.path.clone(), Some(file.digest));
            (
                file.ticket,
                Staged { path, size: file.size, source: work.stamp, digest, in_place: false },
            )
        })
        .collect();
    let at_once = cx.publishes_at_once();
    if at_once {
        // Such a pack is published with its own answer.
        cx.publisher.stage(staged);
    } else {
        while !cx.publisher.try_stage(&staged) {
            publish(cx).await?;
        }
    }
    let bytes = payload.bytes();
    let pack = WritePack { root: cx.sink_root, files: packed, publish: at_once };
    cx.pacer.pace(payload.bytes_to_pace()).await;
    let outcomes = match cx.write_pack(pack, payload).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            files.iter().for_each(|f| drop(cx.publisher.unstage(f.ticket)));
            let error = cx.sort(Side::Destination, error)?;
            fail_each(cx, Side::Destination, &files, &error);
            return Ok(Vec::new());
        }
    };
    cx.meter.payload(bytes);
    let (again, rest) = split_damaged(cx, files, outcomes);
    settle(cx, rest).await?;
    publish_if_due(cx).await?;
    Ok(again)
}

/// Parts what arrived damaged, and is worth sending again, from what has its answer.
fn split_damaged(
    cx: &Context,
    files: Vec<FileWork>,
    outcomes: Vec<Outcome>,
) -> (Vec<FileWork>, Vec<Outcome>) {
    let is_damaged = |o: &Outcome| o.result.as_ref().is_err_and(|f| f.kind == FaultKind::Mismatch);
    let (damaged, rest): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(is_damaged);
    if damaged.is_empty() {
        return (Vec::new(), rest);
    }
    let tickets: Vec<_> = damaged.iter().map(|o| o.ticket).collect();
    let again: Vec<_> = files.into_iter().filter(|f| tickets.contains(&f.ticket)).collect();
    for file in &again {
        drop(cx.publisher.unstage(file.ticket));
        cx.meter.wasted(file.size);
    }
    (again, rest)
}

/// Compares small files by content; copies those that differ.
pub(super) async fn compare_pack(cx: &Arc<Context>, files: Vec<FileWork>) -> Result<(), Stop> {
    for pack in batches(compare_files(cx, files).await?, PACK) {
        copy_pack(cx, pack).await?;
    }
    Ok(())
}

/// Compares small files by content; returns those that differ.
pub(super) async fn compare_files(
    cx: &Arc<Context>,
    files: Vec<FileWork>,
) -> Result<Vec<FileWork>, Stop> {
    let files = unchanged_within(cx, files).await?;
    let theirs = files.iter().map(|file| (file.path.clone(), found_stamp(file))).collect();
    let digests = digests_of_both(cx, &files, theirs).await?;
    let (mut equal, mut different) = (Vec::new(), Vec::new());
    for (file, both) in files.into_iter().zip(digests) {
        match both {
            [Some(ours), Some(theirs)] if ours == theirs => equal.push((file, ours)),
            _ => different.push(file),
        }
    }
    different.extend(settle_equal(cx, equal).await?);
    cx.meter.different(different.iter().map(|file| file.size).sum());
    Ok(different)
}

/// The digests of small files at both ends, where each has a path and a stamp of its own; none of
/// what cannot be read.
pub(super) async fn digests_of_both(
    cx: &Context,
    files: impl IntoIterator<Item = &FileWork>,
    theirs: Vec<(RelPath, Stamp)>,
) -> Result<Vec<[Option<Digest>; 2]>, Stop> {
    let (mut ours, mut bytes) = (Vec::new(), Vec::new());
    for file in files {
        ours.push((file.source_path.clone(), file.stamp));
        bytes.push(file.size);
    }
    let hash = |root, files| HashFiles { files: FilesAt { root, files }, reading: Reading::Cached };
    let (ours, theirs) = tokio::join!(
        cx.source.hash_files(hash(cx.source_root, ours)),
        cx.sink.hash_files(hash(cx.sink_root, theirs)),
    );
    let (ours, _) = ours.map_err(|error| Context::stop(Side::Source, error))?;
    let (theirs, _) = theirs.map_err(|error| Context::stop(Side::Destination, error))?;
    if (ours.len(), theirs.len()) != (bytes.len(), bytes.len()) {
        return Err(Stop::MISMATCHED);
    }
    cx.meter.verified(bytes.iter().sum());
    let both = ours.into_iter().zip(theirs);
    Ok(both.map(|(ours, theirs)| [ours.ok(), theirs.ok()]).collect())
}

fn found_stamp(file: &FileWork) -> Stamp {
    file.found.map(|(stamp, _)| stamp).unwrap_or_default()
}

/// Books files whose content is equal, read back where that is asked; sets their metadata where it
/// is not equal. Returns files that are not what they seemed to be, and must be copied.
pub(super) async fn settle_equal(
    cx: &Arc<Context>,
    equal: Vec<(FileWork, Digest)>,
) -> Result<Vec<FileWork>, Stop> {
    let (equal, bad) = match cx.reads_back_found() {
        false => (equal, Vec::new()),
        true => read_back_found(cx, equal).await?,
    };
    let equal = without_broken(cx, equal).await?;
    let mut unset = Vec::new();
    for (file, digest) in &equal {
        cx.ledger.digest(file.ticket, *digest);
        cx.meter.reused(file.size);
        match file.found {
            Some((stamp, true)) => {
                let what = EntryAction::Unchanged;
                cx.ledger.done(file.ticket, &file.path, file.size, what, stamp);
            }
            _ => unset.push((file.ticket, file.path.clone(), file.wanted.clone())),
        }
    }
    let finished = equal.iter().filter_map(|(file, digest)| match file.found {
        // Until the transfer finishes, nobody has synced what was only found.
        Some((stamp, true)) => {
            let (source, digest, level) = (file.stamp, *digest, ProofLevel::Received);
            Some((file.path.clone(), Known { source, destination: stamp, digest, level }))
        }
        _ => None,
    });
    cx.tail.iter().for_each(|tail| tail.note(finished.clone()));
    if !unset.is_empty() {
        set_metadata(cx, unset).await?;
    }
    Ok(bad)
}

/// Fails files that do not load, as the user's command says; the others come back.
async fn without_broken(
    cx: &Context,
    equal: Vec<(FileWork, Digest)>,
) -> Result<Vec<(FileWork, Digest)>, Stop> {
    let Some(check) = &cx.load_check else { return Ok(equal) };
    let places = equal.iter().map(|(file, _)| (file.path.clone(), found_stamp(file)));
    let failed = check.look_at(cx, places.collect()).await?;
    let each = equal.into_iter().zip(failed).filter_map(|((file, digest), failed)| match failed {
        Some(failed) => {
            cx.ledger.fail(file.ticket, Side::Destination, &file.path, file.size, failed);
            None
        }
        None => Some((file, digest)),
    });
    Ok(each.collect())
}

/// Parts files that are equal at rest too from those that are not.
async fn read_back_found(
    cx: &Context,
    equal: Vec<(FileWork, Digest)>,
) -> Result<(Vec<(FileWork, Digest)>, Vec<FileWork>), Stop> {
    let files = equal.iter().map(|(file, digest)| {
        let (path, source, digest) = (file.path.clone(), file.stamp, Some(*digest));
        (
            file.ticket,
            Staged { path, size: file.size, source, digest, in_place: false },
            found_stamp(file),
        )
    });
    let failed = read_back(cx, &files.collect::<Vec<_>>()).await?;
    let (bad, good): (Vec<_>, Vec<_>) =
        equal.into_iter().partition(|(file, _)| failed.contains_key(&file.ticket));
    Ok((good, bad.into_iter().map(|(file, _)| file).collect()))
}

/// Sets metadata of entries at the sink and books them.
pub(super) async fn set_metadata(
    cx: &Context,
    entries: Vec<(Ticket, RelPath, Metadata)>,
) -> Result<(), Stop> {
    for batch in batches(entries, Most::entries(1024)) {
        let set = SetMetadata { root: cx.sink_root, entries: batch.clone() };
        let outcomes =
            cx.sink.set_metadata(set).await.map_err(|e| Context::stop(Side::Destination, e))?;
        for (outcome, (ticket, path, _)) in outcomes.into_iter().zip(batch) {
            match outcome.result {
                _ if outcome.ticket != ticket => return Err(Stop::MISMATCHED),
                Ok(Some(stamp)) => {
                    cx.ledger.done(ticket, &path, stamp.size, EntryAction::Metadata, stamp);
                }
                Ok(None) => return Err(Stop::MISMATCHED),
                Err(error) => {
                    let error = cx.sort(Side::Destination, error.into())?;
                    cx.ledger.fail(ticket, Side::Destination, &path, 0, error);
                }
            }
        }
    }
    Ok(())
}

fn fail_each(cx: &Context, side: Side, files: &[FileWork], fault: &Fault) {
    for file in files {
        let own = Fault { path: file.path.clone(), ..fault.clone() };
        cx.ledger.fail(file.ticket, side, &file.path, file.size, own);
    }
}
