//! From the engine's events to lines, bars and counts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xfer_core::error::{ExitClass, fault_id};
use xfer_core::event::{
    Cost, EntryAction, Event, Observer, Phase, PlanTotals, Progress, Route, RouteTrial, WatchRound,
};
use xfer_core::location::Location;
use xfer_core::options::VerifyLevel;
use xfer_core::receipt::PathText;
use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::path::{Escaped, RelPath};

use crate::output::json::{
    Body, CostBody, CountsBody, FileBody, Mapping, ProgressBody, RetryBody, RouteBody, WatchBody,
};
use crate::output::{Output, amounts, phase_name};
use crate::progress::{Display, View};
use crate::speed::Speed;

/// Time between two `progress` events.
const EVENT_EVERY: Duration = Duration::from_millis(100);

/// Large files whose progress is told at a time.
const FILES_SHOWN_MAX: usize = 8;

/// Characters of a problem that are shown at each end where it is longer: a path may have 32 KiB.
/// Events hold all of it.
const SHOWN_AT_AN_END: usize = 500;

/// The two ends of a long text.
fn shortened(text: &str) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= 2 * SHOWN_AT_AN_END {
        return Cow::Borrowed(text);
    }
    let first: String = text.chars().take(SHOWN_AT_AN_END).collect();
    let last: String = text.chars().skip(count - SHOWN_AT_AN_END).collect();
    Cow::Owned(format!("{first} … {last}"))
}

/// Problems that are printed; all are sent as events.
const PROBLEMS_SHOWN_MAX: u64 = 50;

/// Hears the engine.
pub(crate) struct Reporter {
    output: Arc<Output>,
    verb: &'static str,
    /// Whether entries are a plan and not deeds.
    dry_run: bool,
    state: Mutex<State>,
}

/// What is known so far.
#[derive(Default)]
pub(crate) struct State {
    /// The latest numbers.
    pub(crate) progress: Progress,
    /// The latest plan.
    pub(crate) plan: PlanTotals,
    /// The route.
    pub(crate) route: Option<Route>,
    /// Entries, by what became of them in this session.
    entries: CountsBody,
    /// Bytes, by what became of them in this session.
    bytes: CountsBody,
    /// Entries of the destination that are gone.
    pub(crate) deleted: u64,
    /// Entries and bytes that earlier sessions moved.
    moved_earlier: (u64, u64),
    /// How many problems.
    pub(crate) problems: u64,
    /// The class of the gravest.
    pub(crate) gravest: Option<ExitClass>,
    is_cost_told: bool,
    /// Whether a watch waits for something to do.
    is_idle: bool,
    /// What the last round of a watch came to.
    watch: WatchBody,
    /// The level that is asked for, where the reporter tells what was proven.
    asked: VerifyLevel,
    mapping: Vec<Mapping>,
    files: BTreeMap<RelPath, (u64, u64)>,
    phase: Option<Phase>,
    speed: Speed,
    next_event: Duration,
    display: Display,
}

impl Reporter {
    /// One for a transfer.
    pub(crate) fn new(output: Arc<Output>, verb: &'static str, dry_run: bool) -> Arc<Self> {
        let display = Display::choose(&output);
        let state = Mutex::new(State { display, ..State::default() });
        Arc::new(Self { output, verb, dry_run, state })
    }

    /// Shows the passing of time; to be called some times a second.
    pub(crate) fn tick(&self) {
        let mut state = self.lock();
        self.show(&mut state, false);
    }

    /// Takes the bars away and gives what is known.
    pub(crate) fn finish<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        let mut state = self.lock();
        self.show(&mut state, true);
        state.display.clear();
        read(&state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &mut State, now: bool) {
        let elapsed = self.output.clock().elapsed();
        if state.is_idle && !now {
            return;
        }
        state.speed.record(elapsed, state.progress.payload_bytes);
        if now || elapsed >= state.next_event {
            state.next_event = elapsed + EVENT_EVERY;
            self.output.event(&Body::Progress(Box::new(state.progress_body())));
        }
        let view = View {
            elapsed,
            phase: state.phase,
            progress: state.progress,
            plan: state.plan,
            rate_now: state.speed.now(),
            rate_average: state.speed.average(elapsed),
            eta: state.eta(elapsed),
            streams: state.route.as_ref().map_or(0, |route| route.streams),
            files: &state.files,
        };
        if let Some(line) = state.display.show(&view) {
            self.output.say(&line);
        }
    }

    fn told(&self, state: &mut State, notice: Option<String>, retry: Option<RetryBody>) {
        let body = ProgressBody { notice, retry, ..state.progress_body() };
        self.output.event(&Body::Progress(Box::new(body)));
    }

    fn print(&self, state: &State, text: &str) {
        state.display.suspend(|| self.output.say(text));
    }

    /// Words that are printed though `-q` was given.
    fn warn(&self, state: &State, text: &str) {
        state.display.suspend(|| self.output.warn(text));
    }

    /// Tells that locations are to be looked at.
    pub(crate) fn inspects(&self, locations: &[Location]) {
        self.output.event(&Body::Run {
            version: env!("CARGO_PKG_VERSION"),
            verb: self.verb,
            sources: locations.iter().map(|l| PathText::from(&l.to_bytes()[..])).collect(),
            destination: None,
        });
    }

    /// Takes the level to which each round of a watch proves.
    pub(crate) fn proves(&self, level: VerifyLevel) {
        self.lock().asked = level;
    }

    /// Tells what a round of a watch came to.
    fn round(&self, state: &mut State, round: &WatchRound) {
        let seconds = |time: Duration| time.as_secs_f64();
        state.watch = WatchBody {
            rounds: round.number,
            moved: round.entries_moved,
            moved_bytes: round.bytes_moved,
            waiting: round.entries_waiting,
            waiting_bytes: round.bytes_waiting,
            failed: round.failed,
            deleted: round.removed,
            elapsed_s: seconds(round.elapsed),
            lag_s: seconds(round.lag),
            cadence_s: round.cadence.map(seconds),
            late: false,
        };
        let proof_level = round.proof_level.map(ProofLevel::name);
        let manifest_root = round.manifest_root.map(|root| root.to_string());
        self.output.event(&Body::Verify {
            asked: state.asked.name(),
            proof_level,
            entries: round.proven.0,
            bytes: round.proven.1,
        });
        if let Some(path) = &round.receipt {
            let path = PathText::from(path.as_os_str().as_encoded_bytes());
            self.output.event(&Body::Receipt { path, manifest_root, proof_level });
        }
        self.told_of_watch(state);
        let line = round_text(round);
        let is_quiet = round.entries_moved + round.removed + round.failed == 0;
        let level = u32::from(is_quiet && round.number > 1);
        if self.output.settings().verbose >= level {
            self.print(state, &line);
        }
        state.is_idle = true;
    }

    /// Tells, whatever was said of being quiet, that something waits for too long.
    fn late(&self, state: &mut State, lag: Duration) {
        state.watch.late = true;
        state.watch.lag_s = lag.as_secs_f64();
        self.told_of_watch(state);
        let line = format!(
            "xfer: LATE: something has waited {} to be moved, and only this machine has it\n",
            amounts::span(lag)
        );
        self.warn(state, &line);
    }

    fn told_of_watch(&self, state: &mut State) {
        let body = ProgressBody { watch: Some(state.watch.clone()), ..state.progress_body() };
        self.output.event(&Body::Progress(Box::new(body)));
    }

    /// Takes counts that no event told.
    pub(crate) fn counted(&self, entries: CountsBody, bytes: CountsBody) {
        let mut state = self.lock();
        (state.entries, state.bytes) = (entries, bytes);
    }

    /// Tells what is to go where.
    pub(crate) fn begun(&self, sources: &[Location], destination: &Location) {
        self.output.event(&Body::Run {
            version: env!("CARGO_PKG_VERSION"),
            verb: self.verb,
            sources: sources.iter().map(|s| PathText::from(&s.to_bytes()[..])).collect(),
            destination: Some(PathText::from(&destination.to_bytes()[..])),
        });
    }

    /// A line of the plan: the result of a dry run, else for those who ask.
    fn planned(&self, line: &str) {
        if self.dry_run {
            self.output.result(line.as_bytes());
        } else {
            self.output.detail(1, &format!("xfer: {line}"));
        }
    }

    fn mapped(&self, state: &mut State, source: &[u8], destination: &[u8]) {
        let row =
            Mapping { source: PathText::from(source), destination: PathText::from(destination) };
        // A further session maps anew.
        if !state.mapping.contains(&row) {
            self.planned(&format!("{} -> {}\n", Escaped(source), Escaped(destination)));
            state.mapping.push(row);
        }
    }

    /// Told once: a further session plans what is left.
    fn cost(&self, state: &mut State, cost: &Cost) {
        if std::mem::replace(&mut state.is_cost_told, true) {
            return;
        }
        self.output.event(&Body::Cost(CostBody::from(cost)));
        let cost = Escaped(cost.to_string().as_bytes()).to_string();
        if self.dry_run {
            self.planned(&format!("cost {cost}\n"));
        } else {
            self.print(state, &format!("xfer: costs {cost}\n"));
        }
    }

    fn tried(&self, state: &State, trial: &RouteTrial) {
        self.output.event(&Body::Route(RouteBody::from(trial)));
        let (place, reason) = (Escaped(trial.place.as_bytes()), Escaped(trial.reason.as_bytes()));
        let decision = trial.decision.name();
        let line = format!("xfer: {} {place}: {decision}: {reason}\n", trial.kind);
        state.display.suspend(|| self.output.detail(1, &line));
    }

    fn problem(&self, state: &mut State, fault: &Fault, class: ExitClass) {
        state.problems += 1;
        state.entries.failed += 1;
        state.gravest = Some(state.gravest.map_or(class, |gravest| gravest.gravest(class)));
        self.output.event(&Body::Problem {
            path: Some(PathText::from(fault.path.as_bytes())),
            reason: fault_id(fault.kind),
            exit_code: class.code(),
            message: fault.to_string(),
        });
        if state.problems <= PROBLEMS_SHOWN_MAX {
            self.warn(state, &format!("xfer: problem: {}\n", shortened(&fault.to_string())));
        } else if state.problems == PROBLEMS_SHOWN_MAX + 1 {
            self.warn(state, "xfer: more problems are not shown; --json and --events tell all\n");
        }
    }

    fn entry(&self, state: &mut State, path: &RelPath, action: EntryAction, size: u64) {
        let (name, sign) = match action {
            EntryAction::Compare => ("compare", '?'),
            EntryAction::Deferred => ("deferred", '.'),
            EntryAction::Removed if self.dry_run => ("delete", '-'),
            EntryAction::Removed => ("deleted", '-'),
            _ if self.dry_run && action != EntryAction::Unchanged => ("planned", '+'),
            EntryAction::Moved => ("moved", '+'),
            EntryAction::Unchanged => ("unchanged", '='),
            EntryAction::Metadata => ("metadata", '~'),
        };
        let moved = action == EntryAction::Moved;
        let (entries, bytes) = match action {
            EntryAction::Moved => (&mut state.entries.moved, &mut state.bytes.moved),
            EntryAction::Deferred => (&mut state.entries.deferred, &mut state.bytes.deferred),
            _ => (&mut state.entries.unchanged, &mut state.bytes.unchanged),
        };
        if action == EntryAction::Removed {
            state.deleted += u64::from(!self.dry_run);
        } else if !self.dry_run {
            *entries += 1;
            *bytes += size;
        }
        state.files.remove(path);
        self.output.event(&Body::Entry {
            path: PathText::from(path.as_bytes()),
            action: name,
            kind: None,
            size,
            mode: None,
            modified: None,
            content: None,
            digest: None,
        });
        let line = format!("{sign} {path}  {}\n", amounts::bytes(size));
        if self.dry_run {
            if action != EntryAction::Unchanged || self.output.settings().verbose > 0 {
                self.output.result(line.as_bytes());
            }
        } else if self.output.settings().verbose > u32::from(!moved && name != "deleted") {
            self.print(state, &line);
        }
    }
}

/// A round of a watch, in a line.
fn round_text(round: &WatchRound) -> String {
    let mut text = format!(
        "xfer: round {}: {} moved, {}, in {}",
        round.number,
        amounts::entries(round.entries_moved),
        amounts::bytes(round.bytes_moved),
        amounts::span(round.elapsed),
    );
    if round.removed > 0 {
        text.push_str(&format!("; {} deleted", amounts::entries(round.removed)));
    }
    if round.failed > 0 {
        text.push_str(&format!("; {} failed, and will be tried again", round.failed));
    }
    if round.entries_waiting > 0 {
        let (entries, bytes) = (round.entries_waiting, round.bytes_waiting);
        text.push_str(&format!(
            "; still being written: {}, {}",
            amounts::entries(entries),
            amounts::bytes(bytes)
        ));
    }
    if let Some(cadence) = round.cadence {
        text.push_str(&format!("; {} after the one before", amounts::span(cadence)));
    }
    text + "\n"
}

impl Observer for Reporter {
    fn observe(&self, event: &Event) {
        let mut guard = self.lock();
        let state = &mut *guard;
        match event {
            Event::Begun { sources, destination } => self.begun(sources, destination),
            Event::Mapped { source, destination } => self.mapped(state, source, destination),
            Event::Route(route) => {
                self.output.event(&Body::Route(RouteBody::from(route)));
                self.planned(&format!("route {}\n", route_text(route)));
                state.route = Some(route.clone());
            }
            Event::RouteTrial(trial) => self.tried(state, trial),
            Event::Plan(totals) => {
                let first = totals.complete && !state.plan.complete;
                state.plan = *totals;
                state.entries.selected = totals.entries;
                state.bytes.selected = totals.bytes;
                state.entries.skipped = totals.excluded;
                if first {
                    self.output.event(&state.plan_body());
                }
            }
            Event::Cost(cost) => self.cost(state, cost),
            Event::FileBegun { path, size, held } => {
                state.files.insert(path.clone(), (*held, *size));
            }
            Event::FileProgress { path, done } => {
                if let Some((known, size)) = state.files.get_mut(path) {
                    *known = (*done).min(*size);
                }
            }
            Event::Progress(progress) => {
                if progress.payload_bytes > state.progress.payload_bytes {
                    state.phase = state.phase.max_by_order(Phase::Send);
                }
                state.progress = *progress;
            }
            Event::Entry { path, action, size } => self.entry(state, path, *action, *size),
            Event::Problem { fault, class } => self.problem(state, fault, *class),
            Event::Retry { reason, attempt } => {
                let retry = RetryBody { reason: reason.clone(), attempt: *attempt };
                self.told(state, None, Some(retry));
                let reason = Escaped(reason.as_bytes());
                let line = format!("xfer: attempt {attempt}: {reason}\n");
                state.display.suspend(|| self.output.detail(1, &line));
            }
            Event::Notice(text) => {
                self.told(state, Some(text.clone()), None);
                self.print(state, &format!("xfer: {}\n", Escaped(text.as_bytes())));
            }
            Event::Phase(phase) => {
                if *phase == Phase::Connect {
                    state.is_idle = false;
                    state.begin_session();
                }
                state.phase = state.phase.max_by_order(*phase);
                self.told(state, None, None);
            }
            Event::Round(round) => self.round(state, round),
            Event::Late(lag) => self.late(state, *lag),
            _ => {}
        }
        self.show(state, false);
    }
}

impl State {
    /// Another session finds anew what there is, and tells its problems anew.
    fn begin_session(&mut self) {
        self.moved_earlier.0 += self.entries.moved;
        self.moved_earlier.1 += self.bytes.moved;
        (self.entries, self.bytes, self.problems) = Default::default();
    }

    /// Entries and bytes, by what became of them in all sessions.
    pub(crate) fn counts(&self) -> (CountsBody, CountsBody) {
        let sum = |counts: CountsBody, earlier: u64| {
            let unchanged = counts.unchanged.saturating_sub(earlier);
            let moved = counts.moved + earlier;
            // What nobody came to is left for the next run.
            let deferred = counts.selected.saturating_sub(moved + unchanged + counts.failed);
            CountsBody { moved, unchanged, deferred, ..counts }
        };
        (sum(self.entries, self.moved_earlier.0), sum(self.bytes, self.moved_earlier.1))
    }

    fn progress_body(&self) -> ProgressBody {
        let files = self.files.iter().filter(|(_, (done, size))| done < size);
        ProgressBody {
            phase: phase_name(self.phase),
            files_done: self.progress.files_done,
            payload_bytes: self.progress.payload_bytes,
            verified_bytes: self.progress.verified_bytes,
            reused_bytes: self.progress.reused_bytes,
            bytes_to_move: self.plan.payload_expected(&self.progress),
            rate_now: self.speed.now(),
            rate_average: self.speed.average(self.speed.latest()),
            eta_s: self.eta(self.speed.latest()).map(|eta| eta.as_secs()),
            files: files
                .take(FILES_SHOWN_MAX)
                .map(|(path, (done, size))| FileBody {
                    path: PathText::from(path.as_bytes()),
                    size: *size,
                    done: *done,
                })
                .collect(),
            notice: None,
            retry: None,
            watch: None,
        }
    }

    fn plan_body(&self) -> Body {
        Body::Plan {
            mapping: self.mapping.clone(),
            entries: self.plan.entries,
            bytes: self.plan.bytes,
            entries_to_move: self.plan.entries_to_move,
            bytes_to_move: self.plan.bytes_to_move,
            entries_to_compare: self.plan.entries_to_compare,
            bytes_to_compare: self.plan.bytes_to_compare,
            entries_to_delete: self.plan.entries_to_remove,
            excluded: self.plan.excluded,
            complete: self.plan.complete,
        }
    }

    /// The time that remains at the rate of late; unknown while the scan runs.
    fn eta(&self, elapsed: Duration) -> Option<Duration> {
        let rate = self.speed.now().max(self.speed.average(elapsed) / 4);
        let left = self.plan.payload_expected(&self.progress) - self.progress.payload_bytes;
        (self.plan.complete && rate > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
    }
}

/// A route in one line, with why it is as it is.
pub(crate) fn route_text(route: &Route) -> String {
    let direct = if route.direct { "direct" } else { "through a proxy" };
    let transport = Escaped(route.transport.as_bytes());
    let streams = if route.streams == 1 { "1 stream" } else { "streams" };
    match route.streams {
        0 | 1 => format!("{}: {transport}, {direct}, {streams}", route.kind),
        several => format!("{}: {transport}, {direct}, {several} {streams}", route.kind),
    }
}

/// Phases overlap; the one shown never goes back.
trait MaxByOrder {
    fn max_by_order(self, next: Phase) -> Self;
}

impl MaxByOrder for Option<Phase> {
    fn max_by_order(self, next: Phase) -> Self {
        let order = |phase| match phase {
            Phase::Connect => 0,
            Phase::Scan => 1,
            Phase::Send => 2,
            Phase::Verify => 3,
        };
        match self {
            Some(known) if order(known) > order(next) => Some(known),
            _ => Some(next),
        }
    }
}
