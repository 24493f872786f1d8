//! From staged to there: groups of files are made durable and appear together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits::{BATCH_ENTRIES_MAX, HEADER_BYTES_MAX};
use xfer_protocol::manifest::{ProofLevel, Stamp};
use xfer_protocol::message::{
    FileAt, FilesAt, HashFiles, Outcome, PartialIndex, Publish, Reading, Ticket,
};
use xfer_protocol::path::RelPath;

use super::batch::{Carried, Most, batches, path_bytes};
use super::context::{Context, Stop, fault};
use super::ledger::Side;
use super::pack::PACK_FILE_MAX;
use super::pieces::root_of;
use crate::endpoint::EndpointError;
use crate::event::EntryAction;
use crate::journal::Known;
use crate::options::VerifyLevel;

/// Files and bytes after which what is staged is published: few syncs, and little to lose.
const FILES_STAGED: usize = 2048;
const BYTES_STAGED: u64 = 1 << 30;

/// The same for files that were staged one by one: the sink holds each of them open until then.
const OPEN_STAGED: usize = 128;

/// The same for bytes of their paths, and the most of them: each may come back in one answer.
const PATH_BYTES_STAGED: usize = HEADER_BYTES_MAX / 2;
const PATH_BYTES_STAGED_MAX: usize = HEADER_BYTES_MAX / 4 * 3;

/// Files that are staged at most: all outcomes of a publishing travel in one answer.
const FILES_STAGED_MAX: usize = BATCH_ENTRIES_MAX - 512;

/// Files and their bytes read back in one request.
const READ_BACK: Most = Most { entries: 512, content: 256 << 20 };

/// Bytes hashed in one request, so that an answer never takes long.
const HASH_BYTES: u64 = 256 << 20;

/// A file that the sink holds complete, but not yet under its name.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub(super) path: RelPath,
    pub(super) size: u64,
    /// What the source was when its bytes were read.
    pub(super) source: Stamp,
    pub(super) digest: Option<Digest>,
    /// Whether it was written over what it replaces.
    pub(super) in_place: bool,
}

impl Carried for (Ticket, Staged, Stamp) {
    fn header_bytes(&self) -> usize {
        path_bytes(&self.1.path)
    }

    fn content_bytes(&self) -> u64 {
        self.1.size
    }
}

/// What is staged, and its sums.
#[derive(Default)]
struct Staging {
    files: HashMap<Ticket, (Staged, bool)>,
    bytes: u64,
    path_bytes: usize,
    open: usize,
}

#[derive(Default)]
pub(super) struct Publisher {
    staged: Mutex<Staging>,
    /// One publishing at a time: a second would only wait for the same disk.
    running: tokio::sync::Mutex<()>,
    partials: AtomicU64,
    /// Of all mappings of a session: a sink answers none that comes after a later one.
    publishings: Arc<AtomicU64>,
}

impl Publisher {
    /// Notes what is about to be published with its own answer; before the sink is asked, for its
    /// answer and a publishing may overtake each other.
    pub(super) fn stage(&self, pack: Vec<(Ticket, Staged)>) {
        let mut staged = self.lock();
        pack.into_iter().for_each(|(ticket, file)| staged.add(ticket, file, false));
    }

    /// Notes a pack that is about to be staged, unless one answer could then not tell of all that
    /// is.
    pub(super) fn try_stage(&self, pack: &[(Ticket, Staged)]) -> bool {
        self.try_add(pack, false)
    }

    /// The same of a file that the sink holds open.
    pub(super) fn try_stage_open(&self, ticket: Ticket, file: Staged) -> bool {
        self.try_add(&[(ticket, file)], true)
    }

    fn try_add(&self, pack: &[(Ticket, Staged)], open: bool) -> bool {
        let mut staged = self.lock();
        let path_bytes: usize = pack.iter().map(|(_, file)| path_bytes(&file.path)).sum();
        let fits = staged.files.is_empty()
            || staged.files.len() + pack.len() <= FILES_STAGED_MAX
                && staged.path_bytes + path_bytes <= PATH_BYTES_STAGED_MAX;
        if fits {
            pack.iter().cloned().for_each(|(ticket, file)| staged.add(ticket, file, open));
        }
        fits
    }

    /// Takes back what could not be staged, or was published.
    pub(super) fn unstage(&self, ticket: Ticket) -> Option<Staged> {
        self.lock().remove(ticket)
    }

    /// A name for one more partial of this mapping.
    pub(super) fn next_partial(&self) -> PartialIndex {
        PartialIndex(self.partials.fetch_add(1, Ordering::Relaxed))
    }

    /// A publisher whose partials are numbered from `first` on, and its publishings with those of
    /// the session's others.
    pub(super) fn numbered_from(first: u64, publishings: Arc<AtomicU64>) -> Self {
        Self { partials: AtomicU64::new(first), publishings, ..Self::default() }
    }

    fn is_due(&self) -> bool {
        let staged = self.lock();
        staged.files.len() >= FILES_STAGED
            || staged.bytes >= BYTES_STAGED
            || staged.open >= OPEN_STAGED
            || staged.path_bytes >= PATH_BYTES_STAGED
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().files.is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Staging> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staging {
    fn add(&mut self, ticket: Ticket, file: Staged, open: bool) {
        // A file that is copied anew is staged under its ticket again.
        drop(self.remove(ticket));
        self.bytes = self.bytes.saturating_add(file.size);
        self.path_bytes += path_bytes(&file.path);
        self.open += usize::from(open);
        self.files.insert(ticket, (file, open));
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Staged> {
        let (file, open) = self.files.remove(&ticket)?;
        self.bytes = self.bytes.saturating_sub(file.size);
        self.path_bytes -= path_bytes(&file.path);
        self.open -= usize::from(open);
        Some(file)
    }
}

/// Publishes if enough is staged.
pub(super) async fn publish_if_due(cx: &Context) -> Result<(), Stop> {
    if cx.publisher.is_due() { publish(cx).await } else { Ok(()) }
}

/// Publishes all that is staged, and reads it back where that is asked.
pub(super) async fn publish(cx: &Context) -> Result<(), Stop> {
    let running = cx.publisher.running.lock().await;
    if cx.publisher.is_empty() {
        return Ok(());
    }
    let durable = cx.options.verify.level.is_durable();
    let number = cx.publisher.publishings.fetch_add(1, Ordering::Relaxed);
    let publish = Publish { root: cx.sink_root, durable, number };
    let outcomes =
        cx.sink.publish(publish).await.map_err(|e| Context::stop(Side::Destination, e))?;
    drop(running);
    settle(cx, outcomes).await
}

/// Books outcomes, and reads files back where that is asked.
pub(super) async fn settle(cx: &Context, outcomes: Vec<Outcome>) -> Result<(), Stop> {
    let mut arrived = Vec::new();
    for Outcome { ticket, result } in outcomes {
        match result {
            Ok(None) => {}
            Ok(Some(stamp)) => {
                let Some(staged) = cx.publisher.unstage(ticket) else { continue };
                cx.meter.files_done(1);
                let Staged { path, size, .. } = &staged;
                if stamp.size != *size {
                    let found = fault(FaultKind::Mismatch, Operation::Commit, path);
                    cx.ledger.fail(ticket, Side::Destination, path, *size, found);
                    continue;
                }
                if cx.load_check.is_none() {
                    book(cx, ticket, &staged, stamp);
                }
                arrived.push((ticket, staged, stamp));
            }
            Err(error) => {
                let Some(staged) = cx.publisher.unstage(ticket) else { continue };
                let error = cx.sort(Side::Destination, error.into())?;
                cx.ledger.fail(ticket, Side::Destination, &staged.path, staged.size, error);
            }
        }
    }
    let refused = |found: Option<Fault>, ticket, staged: &Staged| match found {
        Some(found) => {
            cx.ledger.fail(ticket, Side::Destination, &staged.path, staged.size, found);
            false
        }
        None => true,
    };
    if cx.options.verify.level == VerifyLevel::ReadBack {
        let mut failed = read_back(cx, &arrived).await?;
        arrived.retain(|(ticket, staged, _)| refused(failed.remove(ticket), *ticket, staged));
    }
    if let Some(check) = &cx.load_check {
        let places = arrived.iter().map(|(_, staged, stamp)| (staged.path.clone(), *stamp));
        let mut failed = check.look_at(cx, places.collect()).await?.into_iter();
        arrived.retain(|(ticket, staged, _)| refused(failed.next().flatten(), *ticket, staged));
        // Whatever ends this before leaves files of which no receipt may tell.
        arrived.iter().for_each(|(ticket, staged, stamp)| book(cx, *ticket, staged, *stamp));
    }
    let finished = arrived.iter().filter_map(|(_, staged, stamp)| {
        let digest = staged.digest?;
        Some((staged.path.clone(), known(cx, staged.source, *stamp, digest)))
    });
    cx.tail.iter().for_each(|tail| tail.note(finished.clone()));
    Ok(())
}

fn book(cx: &Context, ticket: Ticket, staged: &Staged, stamp: Stamp) {
    cx.ledger.done(ticket, &staged.path, staged.size, EntryAction::Moved, stamp);
    cx.meter.write_over(staged.in_place);
}

/// What is proven of a file as soon as it stands under its name.
fn known(cx: &Context, source: Stamp, destination: Stamp, digest: Digest) -> Known {
    let level = match cx.options.verify.level {
        VerifyLevel::Received => ProofLevel::Received,
        VerifyLevel::Durable | VerifyLevel::ReadBack => ProofLevel::Durable,
    };
    Known { source, destination, digest, level }
}

/// Reads files under their names again, past the cache. Returns what was found of those that are
/// not what they should be; the others are noted as read back.
pub(super) async fn read_back(
    cx: &Context,
    files: &[(Ticket, Staged, Stamp)],
) -> Result<HashMap<Ticket, Fault>, Stop> {
    let mut failed = HashMap::new();
    let (large, small): (Vec<_>, Vec<_>) =
        files.iter().cloned().partition(|(_, staged, _)| staged.size > PACK_FILE_MAX);
    for batch in batches(small, READ_BACK) {
        let listed = batch.iter().map(|(_, staged, stamp)| (staged.path.clone(), *stamp));
        let files = FilesAt { root: cx.sink_root, files: listed.collect() };
        let request = HashFiles { files, reading: Reading::PastCache };
        let (digests, past_cache) =
            cx.sink.hash_files(request).await.map_err(|e| Context::stop(Side::Destination, e))?;
        for ((ticket, staged, _), found) in batch.iter().zip(digests) {
            cx.meter.verified(staged.size);
            let judged = judge(cx, *ticket, staged, found.map_err(Into::into), past_cache)?;
            failed.extend(judged.map(|found| (*ticket, found)));
        }
    }
    for (ticket, staged, stamp) in &large {
        let file = FileAt { root: cx.sink_root, path: staged.path.clone(), stamp: *stamp };
        let go_on = |length| {
            cx.meter.verified(length);
            !cx.halt.is_halted()
        };
        let (size, reading) = (staged.size, Reading::PastCache);
        let root = root_of(&*cx.sink, file, size, reading, HASH_BYTES, go_on).await;
        let (found, past_cache) = match root {
            Ok((digest, past_cache)) => (Ok(digest), past_cache),
            Err(error) => (Err(error), false),
        };
        let judged = judge(cx, *ticket, staged, found, past_cache)?;
        failed.extend(judged.map(|found| (*ticket, found)));
    }
    Ok(failed)
}

/// What is wrong with a file that was read back, if anything is.
fn judge(
    cx: &Context,
    ticket: Ticket,
    staged: &Staged,
    found: Result<Digest, EndpointError>,
    past_cache: bool,
) -> Result<Option<Fault>, Stop> {
    match found {
        Ok(digest) if staged.digest.is_none_or(|expected| expected == digest) => {
            cx.ledger.read_back(ticket, past_cache);
            Ok(None)
        }
        Ok(_) => Ok(Some(fault(FaultKind::Mismatch, Operation::Hash, &staged.path))),
        Err(error) => cx.sort(Side::Destination, error).map(Some),
    }
}
