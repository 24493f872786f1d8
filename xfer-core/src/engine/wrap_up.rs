//! What remains of a transfer: its records, its receipt, its summary.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::{EntryKind, ProofLevel};
use xfer_protocol::message::RootIndex;
use xfer_protocol::path::Escaped;

use super::beside::write_beside;
use super::context::{Context, Stop};
use super::ledger::{Counts, Kept, Pending, Results, Spooled, Totals};
use super::manifest::{Manifest, Proven};
use super::{Shared, Summary, Unfinished};
use crate::disk::state::{StateDirectory, StateError};
use crate::endpoint::Sink;
use crate::error::{ExitClass, Failure, OutputReason, Remedy, TransferError};
use crate::event::{Event, Route, decimal};
use crate::journal::LineReader;
use crate::receipt::{Excluded, PathText, Provenance, ReceiptHead, SCHEMA};

/// Bytes of a receipt that is left beside the data; meanwhile it is in memory.
pub(super) const RECEIPT_BYTES_MAX: u64 = 64 << 20;

/// Paths that are told of what a deadline cut off.
const EXAMPLES_MAX: usize = 16;

/// What the summary says of the session.
pub(super) struct Ends {
    /// The destination's root as resolved there.
    pub(super) root: Vec<u8>,
    pub(super) route: Option<Route>,
    pub(super) overhead_bytes: u64,
    pub(super) shrunk_bytes: u64,
    /// What the receipt says of both; nothing of a plan alone.
    pub(super) provenance: Option<Box<Provenance>>,
    /// Whether a deadline came before all was moved.
    pub(super) is_cut: bool,
}

/// Writes records and receipt; where this machine keeps the receipt comes back as well.
pub(super) fn wrap_up(
    shared: &Shared,
    moved: Vec<Arc<Context>>,
    ends: Ends,
    mut manifest: Option<Manifest>,
    state: &StateDirectory,
) -> Result<(Summary, Option<PathBuf>), Stop> {
    let mut sums = Sums::default();
    for cx in moved {
        let mut totals = cx.ledger.totals();
        if shared.transfer.plan_only {
            totals.entries.defer_rest();
            totals.bytes.defer_rest();
        } else if ends.is_cut {
            totals.fail_rest(sums.unfinished.get_or_insert_default());
        } else if totals.entries.unaccounted() > 0 {
            return Err(Stop::Bug("an entry is neither there nor failed"));
        }
        sums.add(totals);
        let Some(cx) = Arc::into_inner(cx) else {
            return Err(Stop::Bug("a worker outlived its mapping"));
        };
        if let Some(results) = cx.ledger.into_results()? {
            manifest = settle(results, manifest, sums.unfinished.as_mut())?;
        }
    }
    let earlier = *shared.moved_earlier.lock().unwrap_or_else(PoisonError::into_inner);
    sums.entries.with_earlier(earlier.0);
    sums.bytes.with_earlier(earlier.1);
    let receipt = match &mut manifest {
        Some(manifest) => {
            let head = receipt_head(shared, manifest, &sums, &ends);
            let asked_for = shared.transfer.options.disk.receipt.as_deref();
            let unique = shared.connector.unique();
            let durable = shared.transfer.options.verify.level.is_durable();
            let kept = manifest.write_receipt(&head, state, unique, durable)?;
            let shown = match asked_for {
                None => kept.clone(),
                Some(path) => manifest
                    .write_receipt_to(path, unique, durable)
                    .map_err(|error| receipt_lost(path, &kept, error))?,
            };
            (Some(shown), Some(kept))
        }
        None => (None, None),
    };
    let (shown, kept) = receipt;
    let summary = summary(shared, sums, manifest.as_ref(), ends, shown);
    tell_unfinished(shared, &summary);
    Ok((summary, kept))
}

/// Tells what is safe where the time was over, and what is not.
fn tell_unfinished(shared: &Shared, summary: &Summary) {
    let Some(unfinished) = &summary.unfinished else { return };
    let (entries, bytes) = (&summary.entries, &summary.bytes);
    let level = summary.proof_level.map_or("received", ProofLevel::name);
    let mut text = format!(
        "the deadline came: at the destination, proven {level}: {} of {} entries ({}); not there: \
         {} ({})",
        entries.moved + entries.unchanged,
        entries.selected,
        decimal(bytes.moved + bytes.unchanged),
        unfinished.entries,
        decimal(unfinished.bytes),
    );
    for (nth, path) in unfinished.examples.iter().enumerate() {
        let _never_fails = write!(text, "{}{path}", if nth == 0 { ": " } else { ", " });
    }
    if unfinished.entries > unfinished.examples.len() as u64 {
        text.push_str(" and more");
    }
    shared.observer.observe(&Event::Notice(text));
}

/// Leaves the receipt beside what was moved, where the destination has a place for it or that is
/// asked for. All has arrived by then: what keeps it from there is told, and ends nothing unless
/// somebody asked.
pub(super) async fn leave_receipt(
    shared: &Shared,
    sink: &dyn Sink,
    root: RootIndex,
    number: u64,
    summary: &Summary,
    kept: Option<&Path>,
) -> Result<(), Stop> {
    let options = &shared.transfer.options;
    let (has_place, is_asked) = (sink.keeps_receipts(), options.disk.remote_receipt);
    let is_due = if has_place { summary.entries.moved > 0 } else { is_asked };
    let Some(kept) = kept.filter(|_| is_due) else { return Ok(()) };
    let left = match read_receipt(kept) {
        Ok((name, text)) if has_place => sink.keep_receipt(root, &name, text).await,
        Ok((name, text)) => {
            let durable = options.verify.level.is_durable();
            let now = shared.clock.now();
            write_beside(sink, root, (&name, text), now, (durable, number)).await
        }
        Err(why) => return told_lost(shared, kept, &why, is_asked),
    };
    match left {
        Ok(()) => Ok(()),
        Err(error) => told_lost(shared, kept, &error.to_string(), is_asked),
    }
}

fn told_lost(shared: &Shared, kept: &Path, why: &str, is_asked: bool) -> Result<(), Stop> {
    let place = Escaped(kept.as_os_str().as_encoded_bytes());
    if is_asked {
        let to = shared.transfer.destination.to_string();
        let next = Remedy::text(format!("all has arrived; take the receipt from {place}"));
        let failure = Failure::new(to, OutputReason::Receipt).next(next);
        return Err(Stop::Error(TransferError::Output(
            failure.because(std::io::Error::other(why.to_owned())),
        )));
    }
    let text = format!("the receipt is in {place} alone, and not beside the data: {why}");
    shared.observer.observe(&Event::Notice(text));
    Ok(())
}

/// A receipt's name and text.
fn read_receipt(path: &Path) -> Result<(String, Bytes), String> {
    let (directory, name) = StateDirectory::holding(path).map_err(|error| error.to_string())?;
    let reader = directory.read(&name).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let reader = reader.ok_or("it is gone")?;
    let read = reader.take(RECEIPT_BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > RECEIPT_BYTES_MAX {
        return Err(format!("it has more than {RECEIPT_BYTES_MAX} bytes"));
    }
    Ok((name, Bytes::from(text)))
}

/// What a receipt that cannot be written is, once all is there.
fn receipt_lost(path: &Path, kept: &Path, error: StateError) -> Stop {
    let kept = Escaped(kept.as_os_str().as_encoded_bytes());
    let next = Remedy::text(format!("all has arrived; take the receipt from {kept}"));
    let failure = Failure::new(path.to_string_lossy(), OutputReason::Receipt).next(next);
    Stop::Error(TransferError::Output(failure.because(error)))
}

/// Writes what was not known while the mapping was scanned. Of a transfer that was cut what was
/// finished is in the tail already, and the record keeps what it says of the rest.
fn settle(
    results: Results,
    earlier: Option<Manifest>,
    mut cut: Option<&mut Unfinished>,
) -> Result<Option<Manifest>, Stop> {
    let Results { kept, slots, rescanned } = results;
    let Kept { mut spool, manifest, record, asked } = kept;
    let durable = asked.is_durable();
    let mut manifest = manifest.or(earlier);
    let mut lines = LineReader::unguarded(spool.reader()?);
    let Some(first) = lines.next_line::<Spooled>() else {
        if cut.is_none() {
            record.commit(durable)?;
        }
        return Ok(manifest);
    };
    let Some(writing) = manifest.as_mut() else {
        return Err(Stop::Bug("a mapping was settled before an earlier one"));
    };
    let mut record = record.writer()?;
    let mut next = Some(first);
    while let Some(mut line) = next {
        if let Pending::Slot(slot) = line.result
            && let Some((stamp, metadata)) = rescanned.get(&slot)
        {
            line.source = *stamp;
            line.metadata = metadata.clone();
            if let EntryKind::File { size, .. } = &mut line.kind {
                *size = stamp.size;
            }
        }
        let finished = |slot: u32| slots.get(slot as usize).and_then(|s| s.finished());
        if let Some(proven) = Proven::of(&line, asked, finished) {
            if let Some(known) = proven.known(&line.kind, line.source) {
                record.add(&line.path, &known)?;
            }
            writing.add(line.path, &line.kind, &line.metadata, &proven)?;
        } else if let Some(cut) = cut.as_mut().filter(|cut| cut.examples.len() < EXAMPLES_MAX) {
            cut.examples.push(line.path);
        }
        next = lines.next_line();
    }
    if cut.is_none() {
        record.commit(durable)?;
    }
    Ok(manifest)
}

fn receipt_head(shared: &Shared, manifest: &Manifest, sums: &Sums, ends: &Ends) -> ReceiptHead {
    let (lines, key) = manifest.vouched();
    ReceiptHead {
        schema: SCHEMA.to_owned(),
        id: format!("{:016x}", shared.connector.unique()),
        time: shared.clock.now().seconds,
        sources: shared.transfer.sources.iter().map(ToString::to_string).collect(),
        destination: shared.transfer.destination.to_string(),
        destination_root: PathText::from(ends.root.as_slice()),
        manifest_root: manifest.root.root().to_string(),
        proof_level: manifest.level.map_or("none", ProofLevel::name).to_owned(),
        entries: manifest.entries,
        bytes: manifest.bytes,
        excluded: Excluded {
            count: sums.excluded_count,
            digest: (sums.excluded_count > 0).then(|| sums.excluded().to_string()),
        },
        // Where its scan was cut as well, nobody knows how many there are.
        failed: sums.entries.failed.max(u64::from(ends.is_cut)),
        in_place: shared.meter.written_over(),
        provenance: ends.provenance.clone(),
        lines: Some(lines),
        key: Some(key),
    }
}

fn summary(
    shared: &Shared,
    sums: Sums,
    manifest: Option<&Manifest>,
    ends: Ends,
    receipt: Option<PathBuf>,
) -> Summary {
    let progress = shared.meter.progress();
    let class = sums.class();
    let excluded = (sums.excluded_count, (sums.excluded_count > 0).then(|| sums.excluded()));
    Summary {
        entries: sums.entries,
        bytes: sums.bytes,
        payload_bytes: progress.payload_bytes,
        overhead_bytes: ends.overhead_bytes,
        shrunk_bytes: ends.shrunk_bytes,
        wasted_bytes: shared.meter.wasted_bytes(),
        reused_bytes: progress.reused_bytes,
        elapsed: shared.clock.elapsed().saturating_sub(shared.began),
        route: ends.route,
        manifest_root: manifest.map(|manifest| manifest.root.root()),
        proof_level: manifest.and_then(|manifest| manifest.level),
        receipt,
        problems: sums.problems,
        problem_count: sums.problem_count,
        class,
        removed: shared.removed.load(Ordering::Relaxed),
        excluded,
        unfinished: sums.unfinished,
    }
}

/// The sums over all mappings.
#[derive(Default)]
struct Sums {
    entries: Counts,
    bytes: Counts,
    problems: Vec<Fault>,
    problem_count: u64,
    gravest: Option<ExitClass>,
    excluded_count: u64,
    excluded_lists: blake3::Hasher,
    unfinished: Option<Unfinished>,
}

impl Sums {
    fn add(&mut self, totals: Totals) {
        for (sum, part) in [(&mut self.entries, totals.entries), (&mut self.bytes, totals.bytes)] {
            sum.selected += part.selected;
            sum.moved += part.moved;
            sum.unchanged += part.unchanged;
            sum.deferred += part.deferred;
            sum.skipped += part.skipped;
            sum.failed += part.failed;
        }
        self.problems.extend(totals.problems);
        self.problem_count += totals.problem_count;
        let gravest = [self.gravest, totals.gravest].into_iter().flatten();
        self.gravest = gravest.reduce(ExitClass::gravest);
        self.excluded_count += totals.excluded_count;
        self.excluded_lists.update(totals.excluded.as_bytes());
    }

    fn excluded(&self) -> Digest {
        Digest::from_bytes(*self.excluded_lists.finalize().as_bytes())
    }

    fn class(&self) -> ExitClass {
        self.gravest.unwrap_or(ExitClass::Done)
    }
}
