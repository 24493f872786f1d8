//! The plan of all mappings together: what is to be done, and whether it fits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xfer_protocol::message::Space;

use super::context::Stop;
use crate::event::{EntryAction, PlanTotals};
use crate::plan::space::{Need, check, may_begin};

/// Payload waits this long for the scans to end before it may flow under them.
const BARRIER: Duration = Duration::from_millis(500);

/// Bytes of files, as their sizes say: what holes spare is found when they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// That are to be moved.
    pub(super) to_move: u64,
    /// Whose content decides.
    pub(super) to_compare: u64,
}

impl Load {
    /// All of it, should everything differ.
    pub(super) fn most(self) -> u64 {
        self.to_move.saturating_add(self.to_compare)
    }
}

/// Sums what the scans of one session find, whatever their mapping.
pub(super) struct Preflight {
    space: Space,
    reserve: Option<u64>,
    began: Duration,
    /// Whether nothing may be moved before all is planned.
    waits: bool,
    state: Mutex<State>,
    spare: Arc<Spare>,
}

/// Bytes that no file needs by the plan.
pub(super) struct Spare {
    all: AtomicU64,
    taken: AtomicU64,
}

impl Spare {
    /// Until all is planned, payload flows only where there is room in plenty.
    fn unknown() -> Self {
        Self { all: AtomicU64::new(u64::MAX), taken: AtomicU64::new(0) }
    }

    /// Notes how many there are.
    fn know(&self, bytes: u64) {
        self.all.store(bytes, Ordering::Relaxed);
    }

    /// Takes so many, if there are.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let take = |taken: u64| {
            taken.checked_add(bytes).filter(|sum| *sum <= self.all.load(Ordering::Relaxed))
        };
        bytes == 0 || self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[derive(Default)]
struct State {
    need: Need,
    /// By source of the request.
    loads: BTreeMap<usize, Load>,
    totals: PlanTotals,
    /// Whether every file whose content decides was compared.
    compared: bool,
    /// Entries, bytes and excluded entries of mappings that are scanned.
    scanned: (u64, u64, u64),
}

impl Preflight {
    /// One for a destination with this space. Payload of earlier sessions was planned too.
    pub(super) fn new(space: Space, reserve: Option<u64>, began: Duration, moved: u64) -> Self {
        let totals = PlanTotals { bytes_to_move: moved, ..PlanTotals::default() };
        let state = State { totals, ..State::default() };
        let spare = Arc::new(Spare::unknown());
        Self { space, reserve, began, waits: false, state: Mutex::new(state), spare }
    }

    /// What is left over.
    pub(super) fn spare(&self) -> Arc<Spare> {
        Arc::clone(&self.spare)
    }

    /// The same for a plan that may be refused by how much it moves.
    pub(super) fn waiting(self, waits: bool) -> Self {
        Self { waits, ..self }
    }

    /// What the sources of the request come to for which that is asked.
    pub(super) fn load(&self, of: impl Fn(usize) -> bool) -> Load {
        let state = self.lock();
        let chosen = state.loads.iter().filter(|(source, _)| of(**source));
        chosen.fold(Load::default(), |sum, (_, load)| Load {
            to_move: sum.to_move.saturating_add(load.to_move),
            to_compare: sum.to_compare.saturating_add(load.to_compare),
        })
    }

    /// Bytes that partials hold.
    pub(super) fn held(&self) -> u64 {
        self.lock().need.held
    }

    /// Counts a file of a source that is to be moved.
    pub(super) fn moves(&self, source: usize, bytes: u64) {
        let mut state = self.lock();
        let load = state.loads.entry(source).or_default();
        load.to_move = load.to_move.saturating_add(bytes);
    }

    /// Counts a file of a source whose content decides.
    pub(super) fn compares(&self, source: usize, bytes: u64) {
        let mut state = self.lock();
        let load = state.loads.entry(source).or_default();
        load.to_compare = load.to_compare.saturating_add(bytes);
    }

    /// Notes that all of those are about to be compared; whether they were not before.
    pub(super) fn begin_comparing(&self) -> bool {
        let mut state = self.lock();
        let is_first = !std::mem::replace(&mut state.compared, true);
        if is_first {
            state.need.rewrite = 0;
            state.loads.values_mut().for_each(|load| load.to_compare = 0);
        }
        is_first
    }

    /// Counts what will be taken at the destination.
    pub(super) fn needs(&self, count: impl FnOnce(&mut Need)) {
        count(&mut self.lock().need);
    }

    /// Counts an entry about which was decided.
    pub(super) fn planned(&self, action: EntryAction, bytes: u64) {
        let totals = &mut self.lock().totals;
        let (entries, sum) = match action {
            EntryAction::Moved => (&mut totals.entries_to_move, &mut totals.bytes_to_move),
            EntryAction::Compare => (&mut totals.entries_to_compare, &mut totals.bytes_to_compare),
            EntryAction::Removed => {
                totals.entries_to_remove += 1;
                return;
            }
            EntryAction::Unchanged | EntryAction::Metadata | EntryAction::Deferred => return,
        };
        *entries += 1;
        *sum += bytes;
    }

    /// The totals, with what was selected so far of the mapping that is being scanned.
    pub(super) fn so_far(&self, selected: (u64, u64, u64)) -> PlanTotals {
        let mut state = self.lock();
        let (entries, bytes, excluded) = sum(state.scanned, selected);
        state.totals = PlanTotals { entries, bytes, excluded, ..state.totals };
        state.totals
    }

    /// Notes what was selected of a mapping whose scan has ended.
    pub(super) fn scanned(&self, selected: (u64, u64, u64)) {
        let mut state = self.lock();
        state.scanned = sum(state.scanned, selected);
    }

    /// The totals, once every mapping is scanned.
    pub(super) fn complete(&self) -> PlanTotals {
        PlanTotals { complete: true, ..self.so_far((0, 0, 0)) }
    }

    /// Whether payload may flow although the scans go on.
    pub(super) fn may_begin(&self, now: Duration) -> bool {
        if self.waits {
            return false;
        }
        let need = self.lock().need;
        let fits = check(&need, &self.space, self.reserve).is_ok();
        now.saturating_sub(self.began) >= BARRIER && fits && may_begin(&need, &self.space)
    }

    /// Whether all that is known to be written fits.
    pub(super) fn check(&self) -> Result<(), Stop> {
        check(&Need { rewrite: 0, ..self.lock().need }, &self.space, self.reserve)
            .map(drop)
            .map_err(Stop::Shortage)
    }

    /// Whether it fits if every file that is yet to be compared turns out to differ.
    pub(super) fn check_rewrites(&self) -> Result<(), Stop> {
        let left = check(&self.lock().need, &self.space, self.reserve).map_err(Stop::Shortage)?;
        self.spare.know(left);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum(left: (u64, u64, u64), right: (u64, u64, u64)) -> (u64, u64, u64) {
    (left.0 + right.0, left.1 + right.1, left.2 + right.2)
}
