//! What became of every entry: counted, and spooled until the record and the receipt are written.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, ProofLevel, Stamp, Timestamp};
use xfer_protocol::message::Ticket;
use xfer_protocol::path::RelPath;

use super::Unfinished;
use super::manifest::{Manifest, Proven};
use crate::disk::state::{Spool, StateError};
use crate::error::ExitClass;
use crate::event::{EntryAction, Event, SharedObserver};
use crate::journal::{RecordDraft, Recorded, write_unguarded};
use crate::options::VerifyLevel;
use crate::plan::Evidence;

/// Problems that are kept whole; further ones are only counted.
const PROBLEMS_KEPT: usize = 1000;

/// Which end an entry failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Where bytes come from.
    Source,
    /// Where bytes go.
    Destination,
}

/// What one entry's problem at one end makes of the whole.
fn class_of(side: Side, fault: &Fault) -> ExitClass {
    let during = match (side, fault.kind) {
        // It was there when its directory was listed.
        (Side::Source, FaultKind::NotFound) => return ExitClass::SourceChanged,
        (Side::Destination, FaultKind::NotFound) => return ExitClass::DestinationIo,
        (Side::Source, _) => Operation::Read,
        (Side::Destination, _) => Operation::Write,
    };
    ExitClass::of_fault(&Fault { during, ..fault.clone() })
}

/// Counts entries and their bytes by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Found and not left out.
    pub selected: u64,
    /// Made or replaced.
    pub moved: u64,
    /// Found equal, if need be but for the metadata, which was set.
    pub unchanged: u64,
    /// Left for later.
    pub deferred: u64,
    /// Left out by a filter, without a counterpart at the destination, or left alone there.
    pub skipped: u64,
    /// Failed.
    pub failed: u64,
}

impl Counts {
    /// What earlier sessions of the transfer moved was moved, though the last one found it there.
    pub(super) fn with_earlier(&mut self, moved: u64) {
        let found = moved.min(self.unchanged);
        self.unchanged -= found;
        self.moved = self.moved.saturating_add(found);
    }

    /// What nothing was done about is left for later.
    pub fn defer_rest(&mut self) {
        self.deferred = self.deferred.saturating_add(self.unaccounted());
    }

    /// Selected entries of which nobody said what became of them: an outcome that was lost must not
    /// pass for success.
    pub(super) fn unaccounted(&self) -> u64 {
        [self.moved, self.unchanged, self.deferred, self.failed]
            .into_iter()
            .fold(self.selected, u64::saturating_sub)
    }
}

/// One entry as spooled, in the order of paths.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spooled {
    pub(super) path: RelPath,
    pub(super) kind: EntryKind,
    pub(super) metadata: Metadata,
    pub(super) source: Stamp,
    pub(super) result: Pending,
}

/// What is known of an entry when it is spooled.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Pending {
    /// It was found equal.
    Known { digest: Option<Digest>, destination: Stamp, level: ProofLevel },
    /// A slot will say.
    Slot(u32),
}

/// What became of an entry that needed work; small, for there may be millions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    digest: [u8; 32],
    changed: Timestamp,
    inode: u64,
    flags: u8,
}

const HAS_DIGEST: u8 = 1;
const DONE: u8 = 2;
const READ_BACK: u8 = 4;
const READ_BACK_CACHED: u8 = 8;
const ASSUMED: u8 = 16;
/// A finished entry was counted as moved.
const MOVED: u8 = 32;
/// A directory that is done once its metadata is set was made.
const MADE: u8 = 64;
/// Whatever comes of the entry later, it failed.
const FAILED: u8 = 128;

/// A finished entry's result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    pub(super) digest: Option<Digest>,
    pub(super) changed: Timestamp,
    pub(super) inode: u64,
    /// Whether it was read back, and past the cache.
    pub(super) read_back: Option<bool>,
    /// Whether its content was believed to be equal.
    pub(super) assumed: bool,
}

/// What is kept of a mapping on this machine.
pub(super) struct Kept {
    /// Entries in order, from the first on whose outcome is not known while it is scanned.
    pub(super) spool: Spool,
    /// Entries before those; `None` while an earlier mapping is not settled.
    pub(super) manifest: Option<Manifest>,
    /// The same of its files.
    pub(super) record: RecordDraft,
    /// The level that all is proven at in the end.
    pub(super) asked: VerifyLevel,
}

pub(super) struct Ledger {
    state: Mutex<State>,
    observer: SharedObserver,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// Whether any entry was spooled.
    spooled: bool,
    slots: Vec<Slot>,
    /// Entries that changed at the source between the scan and the copy, by slot.
    rescanned: HashMap<u32, (Stamp, Metadata)>,
    entries: Counts,
    bytes: Counts,
    problems: Vec<Fault>,
    problem_count: u64,
    /// The class of the gravest problem.
    gravest: Option<ExitClass>,
    left_paths: Vec<RelPath>,
    excluded: blake3::Hasher,
    excluded_count: u64,
    buffer: Vec<u8>,
    kept_error: Option<StateError>,
}

impl Ledger {
    pub(super) fn new(kept: Option<Kept>, observer: SharedObserver) -> Self {
        Self { state: Mutex::new(State { kept, ..State::default() }), observer }
    }

    /// Notes a selected entry that needs work; its outcome will come under the ticket.
    pub(super) fn begin(&self, path: &RelPath, source: &Entry, wanted: Metadata) -> Ticket {
        let mut state = self.lock();
        let slot = u32::try_from(state.slots.len()).unwrap_or(u32::MAX);
        state.slots.push(Slot::default());
        state.select(source);
        state.spool(path.clone(), source, wanted, Pending::Slot(slot));
        Ticket(u64::from(slot))
    }

    /// Notes a selected entry that was found equal.
    pub(super) fn keep(
        &self,
        path: RelPath,
        source: &Entry,
        destination: Stamp,
        wanted: Metadata,
        evidence: Evidence,
        recorded: Option<&Recorded>,
    ) {
        let mut state = self.lock();
        state.select(source);
        state.entries.unchanged += 1;
        add(&mut state.bytes.unchanged, source.kind.size());
        if state.spooled || !state.may_settle() {
            let Evidence { digest, level } = evidence;
            let pending = Pending::Known { digest, destination, level };
            state.spool(path, source, wanted, pending);
        } else {
            state.settle(path, source, destination, &wanted, evidence, recorded);
        }
    }

    /// Hands the manifest on to the next mapping, unless entries of this one are not settled.
    pub(super) fn manifest(&self) -> Option<Manifest> {
        let mut state = self.lock();
        if state.spooled {
            return None;
        }
        state.kept.as_mut()?.manifest.take()
    }

    /// Notes an entry that a filter left out.
    pub(super) fn exclude(&self, path: &RelPath) {
        let mut state = self.lock();
        state.excluded.update(path.as_bytes()).update(b"\0");
        state.excluded_count += 1;
        state.entries.skipped += 1;
    }

    /// Notes a selected file that is left for later.
    pub(super) fn defer(&self, path: &RelPath, source: &Entry) {
        let mut state = self.lock();
        state.select(source);
        state.count_deferred(path, source.kind.size());
    }

    /// Notes that a file which was to be moved is left for later.
    pub(super) fn put_off(&self, ticket: Ticket, path: &RelPath, size: u64) {
        let mut state = self.lock();
        let Some(slot) = state.slot(ticket).filter(|slot| slot.flags & (FAILED | DONE) == 0) else {
            return;
        };
        // Nothing more is done in its name.
        slot.flags = FAILED;
        state.count_deferred(path, size);
        drop(state);
        let (path, action) = (path.clone(), EntryAction::Deferred);
        self.observer.observe(&Event::Entry { path, action, size });
    }

    /// Notes an entry that the destination has no kind for.
    pub(super) fn skip(&self) {
        self.lock().entries.skipped += 1;
    }

    /// Notes an entry in whose place something stays as it is.
    pub(super) fn leave(&self, size: u64) {
        let mut state = self.lock();
        state.entries.skipped += 1;
        add(&mut state.bytes.skipped, size);
    }

    /// Notes the digest of a file that is on its way.
    pub(super) fn digest(&self, ticket: Ticket, digest: Digest) {
        if let Some(slot) = self.lock().slot(ticket) {
            slot.digest = *digest.as_bytes();
            slot.flags |= HAS_DIGEST;
        }
    }

    /// Notes that an entry was another one by the time that it was copied.
    pub(super) fn rescanned(&self, ticket: Ticket, entry: &Entry, wanted: Metadata) {
        if let Ok(slot) = u32::try_from(ticket.0) {
            self.lock().rescanned.insert(slot, (entry.stamp(), wanted));
        }
    }

    /// Notes that a directory was made, which is done once its metadata is set.
    pub(super) fn made(&self, ticket: Ticket) {
        if let Some(slot) = self.lock().slot(ticket) {
            slot.flags |= MADE;
        }
    }

    /// Notes that an entry stands under its own name.
    pub(super) fn done(
        &self,
        ticket: Ticket,
        path: &RelPath,
        size: u64,
        what: EntryAction,
        at: Stamp,
    ) {
        let mut state = self.lock();
        let Some(slot) = state.slot(ticket).filter(|slot| slot.flags & FAILED == 0) else {
            return;
        };
        let first = slot.flags & DONE == 0;
        let what = if slot.flags & MADE == 0 { what } else { EntryAction::Moved };
        slot.changed = at.changed;
        slot.inode = at.inode;
        if first {
            slot.flags |= DONE | if what == EntryAction::Moved { MOVED } else { 0 };
            let flags = slot.flags;
            let (entries, bytes) = state.counted(flags);
            *entries += 1;
            add(bytes, size);
        }
        drop(state);
        if first {
            self.observer.observe(&Event::Entry { path: path.clone(), action: what, size });
        }
    }

    /// Notes that a file was read back.
    pub(super) fn read_back(&self, ticket: Ticket, past_cache: bool) {
        if let Some(slot) = self.lock().slot(ticket) {
            slot.flags |= if past_cache { READ_BACK } else { READ_BACK_CACHED };
        }
    }

    /// Notes that a file's content was believed to be equal.
    pub(super) fn assumed(&self, ticket: Ticket) {
        if let Some(slot) = self.lock().slot(ticket) {
            slot.flags |= ASSUMED;
        }
    }

    /// Where a finished entry stands, `None` while it does not.
    pub(super) fn finished(&self, ticket: Ticket) -> Option<Finished> {
        self.lock().slot(ticket).and_then(|slot| slot.finished())
    }

    /// Notes that an entry failed, even if it was done before. It counts once, and what the source
    /// says of it is told under the name that it has at the destination.
    pub(super) fn fail(&self, ticket: Ticket, side: Side, path: &RelPath, size: u64, fault: Fault) {
        let fault = match side {
            Side::Source => Fault { path: path.clone(), ..fault },
            Side::Destination => fault,
        };
        let mut state = self.lock();
        let before = match state.slot(ticket) {
            Some(slot) => std::mem::replace(&mut slot.flags, FAILED),
            None => 0,
        };
        if before & DONE != 0 {
            let (entries, bytes) = state.counted(before);
            *entries -= 1;
            *bytes = bytes.saturating_sub(size);
        }
        if before & FAILED == 0 {
            state.entries.failed += 1;
            add(&mut state.bytes.failed, size);
            state.is_left(path);
        }
        drop(state);
        self.problem(side, fault);
    }

    /// Whether an entry failed, so that nothing more may be done in its name.
    pub(super) fn has_failed(&self, ticket: Ticket) -> bool {
        self.lock().slot(ticket).is_some_and(|slot| slot.flags & FAILED != 0)
    }

    /// Notes an entry that was asked for by its path, and is not there.
    pub(super) fn missing(&self, fault: Fault) {
        {
            let entries = &mut self.lock().entries;
            entries.selected += 1;
            entries.failed += 1;
        }
        self.note(ExitClass::NotFound, fault);
    }

    /// Notes a failure that is no selected entry's own.
    pub(super) fn problem(&self, side: Side, fault: Fault) {
        self.note(class_of(side, &fault), fault);
    }

    fn note(&self, class: ExitClass, fault: Fault) {
        let mut state = self.lock();
        state.problem_count += 1;
        state.gravest = Some(state.gravest.map_or(class, |gravest| gravest.gravest(class)));
        if state.problems.len() < PROBLEMS_KEPT {
            state.problems.push(fault.clone());
        }
        drop(state);
        self.observer.observe(&Event::Problem { fault, class });
    }

    pub(super) fn totals(&self) -> Totals {
        let mut state = self.lock();
        Totals {
            entries: state.entries,
            bytes: state.bytes,
            problems: std::mem::take(&mut state.problems),
            problem_count: state.problem_count,
            gravest: state.gravest,
            excluded_count: state.excluded_count,
            excluded: Digest::from_bytes(*state.excluded.finalize().as_bytes()),
        }
    }

    /// Entries and bytes that were moved so far.
    pub(super) fn moved(&self) -> (u64, u64) {
        let state = self.lock();
        (state.entries.moved, state.bytes.moved)
    }

    /// Whether anything failed so far.
    pub(super) fn has_problems(&self) -> bool {
        self.lock().problem_count > 0
    }

    /// The paths that failed or are left for later, up to a bound.
    pub(super) fn left_paths(&self) -> Vec<RelPath> {
        self.lock().left_paths.clone()
    }

    pub(super) fn selected(&self) -> (u64, u64, u64) {
        let state = self.lock();
        (state.entries.selected, state.bytes.selected, state.excluded_count)
    }

    /// Takes what was kept, once all is done; `None` of a plan alone.
    pub(super) fn into_results(self) -> Result<Option<Results>, StateError> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let State { kept, slots, rescanned, kept_error, .. } = state;
        match kept_error {
            Some(error) => Err(error),
            None => Ok(kept.map(|kept| Results { kept, slots, rescanned })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn select(&mut self, source: &Entry) {
        self.entries.selected += 1;
        add(&mut self.bytes.selected, source.kind.size());
    }

    fn count_deferred(&mut self, path: &RelPath, size: u64) {
        self.entries.deferred += 1;
        add(&mut self.bytes.deferred, size);
        self.is_left(path);
    }

    fn is_left(&mut self, path: &RelPath) {
        if self.left_paths.len() < PROBLEMS_KEPT {
            self.left_paths.push(path.clone());
        }
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        usize::try_from(ticket.0).ok().and_then(|at| self.slots.get_mut(at))
    }

    /// The counts that an entry belongs to which was finished in a certain way.
    fn counted(&mut self, flags: u8) -> (&mut u64, &mut u64) {
        let (entries, bytes) = (&mut self.entries, &mut self.bytes);
        if flags & MOVED == 0 {
            (&mut entries.unchanged, &mut bytes.unchanged)
        } else {
            (&mut entries.moved, &mut bytes.moved)
        }
    }

    /// Whether the manifest waits for no earlier mapping.
    fn may_settle(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.manifest.is_some())
    }

    /// Writes an entry whose outcome is known, as those before it are.
    fn settle(
        &mut self,
        path: RelPath,
        source: &Entry,
        destination: Stamp,
        wanted: &Metadata,
        evidence: Evidence,
        recorded: Option<&Recorded>,
    ) {
        let Some(Kept { manifest: Some(manifest), record, asked, .. }) = &mut self.kept else {
            return;
        };
        let proven = Proven::found(&source.kind, destination, evidence, *asked);
        let noted = match proven.known(&source.kind, source.stamp()) {
            Some(known) => record.add(&path, &known, recorded),
            None => Ok(()),
        };
        let written = noted.and_then(|()| manifest.add(path, &source.kind, wanted, &proven));
        if let Err(error) = written {
            self.kept_error.get_or_insert(error);
        }
    }

    fn spool(&mut self, path: RelPath, source: &Entry, wanted: Metadata, result: Pending) {
        let Some(kept) = self.kept.as_mut() else { return };
        self.spooled = true;
        let line = Spooled {
            path,
            kind: source.kind.clone(),
            metadata: wanted,
            source: source.stamp(),
            result,
        };
        self.buffer.clear();
        write_unguarded(&mut self.buffer, &line);
        if let Err(error) = kept.spool.write(&self.buffer) {
            self.kept_error.get_or_insert(error);
        }
    }
}

impl Slot {
    pub(super) fn finished(&self) -> Option<Finished> {
        (self.flags & DONE != 0).then(|| Finished {
            digest: (self.flags & HAS_DIGEST != 0).then(|| Digest::from_bytes(self.digest)),
            changed: self.changed,
            inode: self.inode,
            read_back: match self.flags & (READ_BACK | READ_BACK_CACHED) {
                0 => None,
                flags => Some(flags & READ_BACK_CACHED == 0),
            },
            assumed: self.flags & ASSUMED != 0,
        })
    }
}

/// The sums of a ledger.
pub(super) struct Totals {
    pub(super) entries: Counts,
    pub(super) bytes: Counts,
    pub(super) problems: Vec<Fault>,
    pub(super) problem_count: u64,
    pub(super) gravest: Option<ExitClass>,
    pub(super) excluded_count: u64,
    pub(super) excluded: Digest,
}

impl Totals {
    /// Counts as failed what was selected and is not finished.
    pub(super) fn fail_rest(&mut self, unfinished: &mut Unfinished) {
        let (entries, bytes) = (self.entries.unaccounted(), self.bytes.unaccounted());
        self.entries.failed += entries;
        add(&mut self.bytes.failed, bytes);
        self.problem_count += entries;
        let partial = ExitClass::Partial;
        self.gravest = Some(self.gravest.map_or(partial, |gravest| gravest.gravest(partial)));
        unfinished.entries += entries;
        add(&mut unfinished.bytes, bytes);
    }
}

/// All that the record and the receipt are written from.
pub(super) struct Results {
    pub(super) kept: Kept,
    pub(super) slots: Vec<Slot>,
    pub(super) rescanned: HashMap<u32, (Stamp, Metadata)>,
}

/// Adds up sizes. A peer may name any size for any number of files, and a sum is no reason to end.
fn add(total: &mut u64, size: u64) {
    *total = total.saturating_add(size);
}
