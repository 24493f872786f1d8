//! What remains of a transfer: its records, its receipt, its summary.

use std::collections::BTreeMap;
use std::sync::Arc;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::manifest::{EntryKind, ProofLevel, Stamp};
use xfer_protocol::path::RelPath;

use super::context::{Context, Stop};
use super::ledger::{Counts, Finished, Pending, Results, Side, Spooled, Totals};
use super::{MappedPath, Shared, Summary};
use crate::disk::state::{Spool, StateDirectory};
use crate::error::ExitClass;
use crate::event::{Route, proof_level_name};
use crate::journal::{Known, LineReader, RecordKey, RecordWriter};
use crate::options::VerifyLevel;
use crate::receipt::{
    Excluded, ManifestRoot, PathText, ReceiptHead, SCHEMA, manifest_entry, write_entry, write_head,
};

/// One mapping that was moved.
pub(super) struct Moved {
    pub(super) cx: Arc<Context>,
    pub(super) key: RecordKey,
}

/// What the summary says of the session.
pub(super) struct Ends {
    /// The destination's root as resolved there.
    pub(super) root: Vec<u8>,
    pub(super) route: Option<Route>,
    pub(super) overhead_bytes: u64,
}

pub(super) fn wrap_up(
    shared: &Shared,
    moved: Vec<Moved>,
    mapped: Vec<MappedPath>,
    ends: Ends,
    state: &StateDirectory,
) -> Result<Summary, Stop> {
    let mut sums = Sums::default();
    let mut manifest = Manifest::new(state.spool(shared.connector.unique())?);
    for Moved { cx, key } in moved {
        let totals = cx.ledger.totals();
        if !shared.transfer.plan_only && totals.entries.unaccounted() > 0 {
            return Err(Stop::Bug("an entry is neither there nor failed"));
        }
        sums.add(totals);
        let Some(cx) = Arc::into_inner(cx) else {
            return Err(Stop::Bug("a worker outlived its mapping"));
        };
        let asked = shared.transfer.options.verify.level;
        let results = cx.ledger.into_results()?;
        if !shared.transfer.plan_only {
            let records = state.child("records")?;
            let writer = RecordWriter::create(&records, key, shared.connector.unique())?;
            manifest.add(results, asked, writer)?;
        }
    }
    let receipt = if shared.transfer.plan_only {
        None
    } else {
        Some(manifest.write_receipt(shared, &sums, &ends, state)?)
    };
    Ok(summary(shared, sums, manifest, mapped, ends, receipt))
}

fn summary(
    shared: &Shared,
    sums: Sums,
    manifest: Manifest,
    mapped: Vec<MappedPath>,
    ends: Ends,
    receipt: Option<std::path::PathBuf>,
) -> Summary {
    let progress = shared.meter.progress();
    let class = sums.class();
    let excluded = (sums.excluded_count, (sums.excluded_count > 0).then(|| sums.excluded()));
    Summary {
        entries: sums.entries,
        bytes: sums.bytes,
        payload_bytes: progress.payload_bytes,
        overhead_bytes: ends.overhead_bytes,
        wasted_bytes: shared.meter.wasted_bytes(),
        reused_bytes: progress.reused_bytes,
        elapsed: shared.clock.elapsed().saturating_sub(shared.began),
        route: ends.route,
        manifest_root: (!shared.transfer.plan_only).then(|| manifest.root.root()),
        proof_level: manifest.level,
        receipt,
        problems: sums.problems,
        problem_count: sums.problem_kinds.values().sum(),
        class,
        excluded,
        mapped,
    }
}

/// The sums over all mappings.
#[derive(Default)]
struct Sums {
    entries: Counts,
    bytes: Counts,
    problems: Vec<Fault>,
    problem_kinds: BTreeMap<(Side, FaultKind), u64>,
    excluded_count: u64,
    excluded_lists: blake3::Hasher,
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
        for (kind, count) in totals.problem_kinds {
            *self.problem_kinds.entry(kind).or_default() += count;
        }
        self.excluded_count += totals.excluded_count;
        self.excluded_lists.update(totals.excluded.as_bytes());
    }

    fn excluded(&self) -> Digest {
        Digest::from_bytes(*self.excluded_lists.finalize().as_bytes())
    }

    fn class(&self) -> ExitClass {
        let classes = self.problem_kinds.keys().map(|(side, kind)| class_of(*side, *kind));
        classes.fold(ExitClass::Done, ExitClass::gravest)
    }
}

/// What a problem at one end makes of the whole.
fn class_of(side: Side, kind: FaultKind) -> ExitClass {
    use xfer_protocol::fault::Operation;
    let during = match side {
        Side::Source => Operation::Read,
        Side::Destination => Operation::Write,
    };
    if side == Side::Source && kind == FaultKind::NotFound {
        // It was there when its directory was listed.
        return ExitClass::SourceChanged;
    }
    ExitClass::of_fault(&Fault::new(kind, during, RelPath::root()))
}

/// The manifest of all mappings, as it is written.
struct Manifest {
    root: ManifestRoot,
    lines: Spool,
    level: Option<ProofLevel>,
    entries: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Manifest {
    fn new(lines: Spool) -> Self {
        Self {
            root: ManifestRoot::default(),
            lines,
            level: None,
            entries: 0,
            bytes: 0,
            buffer: Vec::new(),
        }
    }

    /// Adds one mapping's entries and writes its record.
    fn add(
        &mut self,
        results: Results,
        asked: VerifyLevel,
        mut record: RecordWriter,
    ) -> Result<(), Stop> {
        let Results { spool, slots, rescanned } = results;
        let Some(mut spool) = spool else { return Ok(()) };
        let mut lines = LineReader::unguarded(spool.reader()?);
        while let Some(mut line) = lines.next_line::<Spooled>() {
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
            let Some(known) = proven(&line, asked, finished) else { continue };
            self.level = Some(self.level.map_or(known.level, |l| l.min(known.level)));
            let is_file = matches!(line.kind, EntryKind::File { .. });
            if let (true, Some(digest)) = (is_file, known.digest) {
                let Proven { destination, level, .. } = known;
                let known = Known { source: line.source, destination, digest, level };
                record.add(&line.path, &known)?;
            }
            self.entries += 1;
            self.bytes += line.kind.size();
            let entry = manifest_entry(line.path, &line.kind, &line.metadata, known.digest);
            self.root.add(&entry);
            self.buffer.clear();
            write_entry(&mut self.buffer, &entry);
            self.lines.write(&self.buffer)?;
        }
        record.commit()?;
        Ok(())
    }

    fn write_receipt(
        &mut self,
        shared: &Shared,
        sums: &Sums,
        ends: &Ends,
        state: &StateDirectory,
    ) -> Result<std::path::PathBuf, Stop> {
        let id = format!("{:016x}", shared.connector.unique());
        let head = ReceiptHead {
            schema: SCHEMA.to_owned(),
            id: id.clone(),
            time: shared.clock.now().seconds,
            sources: shared.transfer.sources.iter().map(ToString::to_string).collect(),
            destination: shared.transfer.destination.to_string(),
            destination_root: PathText::from(ends.root.as_slice()),
            manifest_root: self.root.root().to_string(),
            proof_level: self.level.map_or("none", proof_level_name).to_owned(),
            entries: self.entries,
            bytes: self.bytes,
            excluded: Excluded {
                count: sums.excluded_count,
                digest: (sums.excluded_count > 0).then(|| sums.excluded().to_string()),
            },
            failed: sums.entries.failed,
        };
        self.buffer.clear();
        write_head(&mut self.buffer, &head);
        let asked_for = shared.transfer.options.disk.receipt.as_deref();
        if let Some(path) = asked_for {
            let (directory, name) = StateDirectory::holding(path)?;
            self.copy_to(directory.create(&name, shared.connector.unique())?)?;
        }
        let receipts = state.child("receipts")?;
        let file = receipts.create(&format!("{id}.ndjson"), shared.connector.unique())?;
        let kept = self.copy_to(file)?;
        Ok(asked_for.map_or(kept, ToOwned::to_owned))
    }

    fn copy_to(
        &mut self,
        mut file: crate::disk::state::StateFile,
    ) -> Result<std::path::PathBuf, Stop> {
        file.write(&self.buffer)?;
        file.copy_from(&mut self.lines.reader()?)?;
        Ok(file.commit()?)
    }
}

/// How an entry is proven at the end of the transfer.
struct Proven {
    destination: Stamp,
    digest: Option<Digest>,
    level: ProofLevel,
}

/// What is proven of an entry; `None` of one that failed.
fn proven(
    line: &Spooled,
    asked: VerifyLevel,
    finished: impl Fn(u32) -> Option<Finished>,
) -> Option<Proven> {
    // All that stands there was synced when the transfer finished.
    let base = match asked {
        VerifyLevel::Received => ProofLevel::Received,
        VerifyLevel::Durable | VerifyLevel::ReadBack => ProofLevel::Durable,
    };
    match line.result {
        Pending::Known { digest, destination, level: ProofLevel::Assumed } => {
            Some(Proven { destination, digest, level: ProofLevel::Assumed })
        }
        Pending::Known { digest, destination, level } => {
            Some(Proven { destination, digest, level: level.max(base) })
        }
        Pending::Slot(slot) => {
            let done = finished(slot)?;
            let destination = Stamp {
                size: line.kind.size(),
                modified: line.metadata.modified,
                changed: done.changed,
                inode: done.inode,
            };
            let level = match done.read_back {
                None => base,
                Some(true) => ProofLevel::ReadBack,
                Some(false) => ProofLevel::ReadBackCached,
            };
            Some(Proven { destination, digest: done.digest, level })
        }
    }
}
