//! The order of things: connect, scan, plan, move, publish, verify, record.
//!
//! A transfer is one request and survives its sessions: when one is lost, the next plans anew,
//! finds what is there and moves the rest, exactly as the same command would after a crash.

mod ahead;
mod attempt;
mod batch;
mod beside;
mod bill;
mod context;
mod copying;
mod create;
mod deadline;
mod delta;
mod dispatch;
mod file;
mod hashing;
mod in_place;
mod in_step;
mod inspect;
mod late;
mod ledger;
mod listing;
mod load_command;
mod manifest;
mod meter;
mod outcome;
mod pack;
mod patience;
mod payload;
mod pieces;
mod preflight;
pub mod probe;
mod provenance;
mod proxy;
mod publisher;
mod refusals;
mod relay;
pub mod release;
mod removal;
mod rescue;
mod scanned;
mod settling;
mod vigil;
mod waiting;
#[cfg(target_os = "linux")]
mod watch;
mod way;
mod wrap_up;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::path::RelPath;

use crate::clock::Clock;
use crate::connect::Connector;
use crate::error::{
    ExitClass, Failure, NetworkReason, PlatformReason, StopSignal, TransferError, UsageReason,
};
use crate::event::{Event, Route, SharedObserver};
use crate::location::Location;
use crate::options::{TransferOptions, Via};
use context::{Pacer, Stop, pause};
use deadline::Until;
use meter::Meter;
use patience::Patience;
use settling::Finished;
use waiting::Waited;

pub use dispatch::is_first_pattern;
pub use inspect::{Inspection, Verified};
pub use ledger::{Counts, Side};
pub use outcome::MappedPath;
#[cfg(target_os = "linux")]
pub use watch::{check_watch, watch};

/// How much longer than its silence allows a far side that lost us may hold its locks.
const SILENCE_MARGIN: Duration = Duration::from_secs(10);

/// How long a transfer that is to stop may take to publish what has arrived and to let go.
const STOP_DEADLINE: Duration = Duration::from_secs(12);

/// How often what stands in the way of another kind of entry is removed: somebody may put it there
/// again and again.
const WAYS_MADE_MAX: u32 = 3;

/// What is to be moved, and how.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Where bytes come from; at least one.
    pub sources: Vec<Location>,
    /// Where they go.
    pub destination: Location,
    /// How.
    pub options: TransferOptions,
    /// Only decides what would be done (`--dry-run`): nothing is written anywhere.
    pub plan_only: bool,
}

impl Transfer {
    /// Moves sources to a destination, with the default of every option.
    #[must_use]
    pub fn new(sources: impl Into<Vec<Location>>, destination: Location) -> Self {
        let options = TransferOptions::default();
        Self { sources: sources.into(), destination, options, plan_only: false }
    }
}

/// What a finished transfer did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Entries by what became of them.
    pub entries: Counts,
    /// Their bytes.
    pub bytes: Counts,
    /// File bytes that the destination took.
    pub payload_bytes: u64,
    /// Bytes on the wire beside them.
    pub overhead_bytes: u64,
    /// File bytes that compression kept from the wire of the last session.
    pub shrunk_bytes: u64,
    /// File bytes that were sent more than once.
    pub wasted_bytes: u64,
    /// File bytes that were there already, partials included.
    pub reused_bytes: u64,
    /// From the request to the end.
    pub elapsed: Duration,
    /// The route of the last session.
    pub route: Option<Route>,
    /// The root of the manifest of all that was selected.
    pub manifest_root: Option<Digest>,
    /// The weakest level at which any entry is proven.
    pub proof_level: Option<ProofLevel>,
    /// Where the receipt is.
    pub receipt: Option<PathBuf>,
    /// Entries that failed, up to a bound.
    pub problems: Vec<Fault>,
    /// All that failed.
    pub problem_count: u64,
    /// The class of the gravest problem; done where there is none.
    pub class: ExitClass,
    /// Entries of the destination that were removed.
    pub removed: u64,
    /// Entries that filters left out, and a digest of their list.
    pub excluded: (u64, Option<Digest>),
    /// What the deadline cut off, where it came before the end.
    pub unfinished: Option<Unfinished>,
}

/// What has not arrived by a deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Entries that were found at the source; there may be more where its scan was cut.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Some of their paths at the destination.
    pub examples: Vec<RelPath>,
}

/// What all attempts of one transfer share.
struct Shared {
    transfer: Transfer,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    pacer: Arc<Pacer>,
    /// Whether both ends were once reached: then they are there, and what keeps us off passes.
    reached: AtomicBool,
    /// When a machine that was waited for began to run, in ns of the clock; 0 where none was.
    woke: AtomicU64,
    /// Files that need not settle any more.
    finished: Arc<Finished>,
    /// Entries that were removed, in all sessions.
    removed: AtomicU64,
    /// Entries and bytes that sessions moved which were lost.
    moved_earlier: std::sync::Mutex<(u64, u64)>,
    /// Times the sessions.
    began: Duration,
    /// When it is to end, once that is known.
    until: OnceLock<Until>,
}

/// Moves what is asked, over as many sessions as it takes.
///
/// Returns a summary when every selected entry was dealt with, failed ones included: its `class`
/// says whether all is proven. Cancelling flushes what has arrived; the same request continues
/// later.
///
/// # Errors
/// What ended the transfer as a whole.
pub fn run(
    transfer: Transfer,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> LocalBoxFuture<'static, Result<Summary, TransferError>> {
    Box::pin(async move {
        check(&transfer)?;
        let begun = Event::Begun {
            sources: transfer.sources.clone(),
            destination: transfer.destination.clone(),
        };
        observer.observe(&begun);
        run_round(transfer, connector, observer, cancel, Arc::default()).await
    })
}

/// Refuses what makes no sense whatever stands where.
fn check(transfer: &Transfer) -> Result<(), TransferError> {
    if transfer.destination.is_source_only() {
        return Err(UsageReason::SourceOnly(transfer.destination.clone()).into());
    }
    removal::check_request(transfer)
}

/// The same where some files need not settle.
async fn run_round(
    transfer: Transfer,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
    finished: Arc<Finished>,
) -> Result<Summary, TransferError> {
    match transfer.options.network.via.clone() {
        Via::Store(way) => relay::relay(transfer, &way, connector, observer, cancel).await,
        Via::Nothing | Via::Here => {
            let shared = Shared::new(transfer, connector, observer, cancel);
            Shared { finished, ..shared }.until_done().await
        }
    }
}

/// One transfer from its sources to its destination.
async fn run_once(
    transfer: Transfer,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> Result<Summary, TransferError> {
    Shared::new(transfer, connector, observer, cancel).until_done().await
}

/// What may come of another session.
enum Hope {
    None,
    /// It may get farther.
    OtherSession,
    /// It comes about at all, once what is in its way has passed.
    Outage,
}

impl Shared {
    fn new(
        transfer: Transfer,
        connector: Connector,
        observer: SharedObserver,
        cancel: CancellationToken,
    ) -> Self {
        let clock = connector.clock();
        let limit = transfer.options.network.bandwidth_limit;
        let until = Until::asked(transfer.options.retry.deadline, clock.elapsed());
        Self {
            until: until.map_or_else(OnceLock::new, OnceLock::from),
            pacer: Arc::new(Pacer::new(limit, Arc::clone(&clock))),
            transfer,
            connector: connector.telling(Arc::clone(&observer)),
            observer,
            cancel,
            reached: AtomicBool::new(false),
            woke: AtomicU64::new(0),
            finished: Arc::default(),
            removed: AtomicU64::new(0),
            moved_earlier: std::sync::Mutex::default(),
            began: clock.elapsed(),
            clock,
            meter: Arc::default(),
        }
    }

    async fn until_done(&self) -> Result<Summary, TransferError> {
        let mut patience = Patience::new(self.clock.elapsed());
        let (mut lost, mut waited) = (None, Waited::default());
        let mut ways_made = 0;
        if self.is_due() {
            return Err(self.deadline_error());
        }
        loop {
            let before = self.meter.dealt_with();
            let stop = match self.one_attempt().await {
                Ok(summary) => return Ok(summary),
                Err(stop) => stop,
            };
            if self.cancel.is_cancelled() {
                return Err(TransferError::Stopped { signal: StopSignal::Interrupt });
            }
            if matches!(stop, Stop::Again) && ways_made < WAYS_MADE_MAX {
                ways_made += 1;
                continue;
            }
            // What would be tried again ends by the deadline, whoever noticed first.
            let stop =
                if self.is_due() && matches!(stop, Stop::Lost(_)) { Stop::Deadline } else { stop };
            let is_over = matches!(stop, Stop::Deadline);
            let error = self.error_of(stop);
            if is_over || self.is_due() {
                return Err(self.with_rescue(error));
            }
            if self.is_worth_waiting(&error) {
                let began = self.clock.elapsed();
                let awaited = self.wait_for_machines(&mut waited).await;
                awaited.map_err(|error| self.with_rescue(error))?;
                patience.spare(self.clock.elapsed().saturating_sub(began));
                continue;
            }
            let reached = self.meter.dealt_with().saturating_sub(before);
            let (now, retry) = (self.clock.elapsed(), &self.transfer.options.retry);
            let next = match self.hope(&error, lost) {
                Hope::None => None,
                Hope::OtherSession => patience.after(reached, now, retry),
                Hope::Outage => patience.after_outage(now, retry),
            };
            if matches!(error, TransferError::Network(_)) {
                lost = Some(now);
            }
            let Some(attempt) = next else { return Err(self.with_rescue(error)) };
            self.observer.observe(&Event::Retry { reason: error.to_string(), attempt });
            let ended = async {
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = self.deadline() => {}
                }
            };
            pause(&*self.clock, attempt, ended).await;
        }
    }

    /// What may come of another session after an error, where one was lost before, at `lost`.
    fn hope(&self, error: &TransferError, lost: Option<Duration>) -> Hope {
        use NetworkReason::{
            Lost, NoDataPort, NoPassage, Stalled, StoreUnreachable, Throttled, TimedOut,
            Unreachable, Unresolved,
        };
        match error {
            error if self.is_waking(error) => Hope::Outage,
            TransferError::Network(failure) => match failure.reason {
                Lost | Stalled => Hope::OtherSession,
                NoDataPort | NoPassage | StoreUnreachable | Throttled | TimedOut | Unreachable
                | Unresolved => {
                    let reached = self.reached.load(Ordering::Relaxed);
                    if reached { Hope::Outage } else { Hope::None }
                }
            },
            // Whoever lost the far side may have lost the platform with it.
            TransferError::Platform(failure)
                if matches!(failure.reason, PlatformReason::Unreached | PlatformReason::Busy)
                    && self.reached.load(Ordering::Relaxed) =>
            {
                Hope::Outage
            }
            // Perhaps the far side of the session that was lost, which does not know it yet.
            TransferError::Busy { .. } if lost.is_some() => {
                let since = self.clock.elapsed().saturating_sub(lost.unwrap_or_default());
                let held = self.transfer.options.retry.silence() + SILENCE_MARGIN;
                if since < held { Hope::Outage } else { Hope::None }
            }
            _ => Hope::None,
        }
    }

    /// Returns long after the user asked the transfer to stop.
    async fn overdue(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(STOP_DEADLINE).await;
    }

    /// Runs one attempt with a reporter of its progress beside it.
    async fn one_attempt(&self) -> Result<Summary, Stop> {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let attempt = attempt::attempt(self);
        let overdue = self.overdue();
        tokio::pin!(attempt, overdue);
        let mut last = (self.meter.progress(), self.clock.elapsed());
        let summary = loop {
            tokio::select! {
                ended = &mut attempt => break ended,
                () = &mut overdue => break Err(Stop::Cancelled),
                _ = tick.tick() => {
                    let (progress, now) = (self.meter.progress(), self.clock.elapsed());
                    self.observer.observe(&Event::Progress(progress));
                    if progress != last.0 {
                        last = (progress, now);
                    } else if now.saturating_sub(last.1) >= self.transfer.options.retry.give_up {
                        // A far side that answers and never gets on must not hold us for ever.
                        break Err(Stop::Lost(crate::endpoint::LostReason::Stalled));
                    }
                }
            }
        };
        self.observer.observe(&Event::Progress(self.meter.progress()));
        summary
    }
}

/// Where the network failed, for a person.
fn network(place: &Location, reason: NetworkReason) -> TransferError {
    TransferError::Network(Failure::new(place.to_string(), reason))
}
