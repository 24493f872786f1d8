//! What all workers of one mapping share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::{FileAt, RootIndex};
use xfer_protocol::path::RelPath;

use super::delta::Bases;
use super::ledger::{Ledger, Side};
use super::load_command::CopyCheck;
use super::meter::Meter;
use super::preflight::Spare;
use super::publisher::Publisher;
use super::removal::Aside;
use crate::clock::{Clock, backoff};
use crate::disk::state::StateError;
use crate::endpoint::passage::{Passage, Within};
use crate::endpoint::{EndpointError, LostReason, ProtocolReason, Sink, Source};
use crate::error::{Shortage, TransferError};
use crate::event::{Event, SharedObserver};
use crate::journal::{Tail, Unsynced};
use crate::options::{TransferOptions, VerifyLevel};
use crate::plan::Policy;
use crate::plan::mapping::{Mapping, MappingError};

/// Bytes of payload that may be in memory or on their way.
const BYTES_IN_FLIGHT: u64 = 64 * 1024 * 1024;

/// Bytes that one permit of the budget stands for.
const PERMIT_BYTES: u64 = 4096;

/// Packs, files and batches that may be worked on at a time.
const UNITS_IN_FLIGHT: usize = 64;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What may go before its time, at the rate that was asked for.
const BURST: Duration = Duration::from_millis(100);

/// Why an attempt ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// What stood in the way is gone, and the next session moves what comes in its place.
    Again,
    Bug(&'static str),
    Cancelled,
    /// The time is over.
    Deadline,
    Error(TransferError),
    Fault(Side, Fault),
    Lost(LostReason),
    Mapping(MappingError),
    Protocol(ProtocolReason),
    Shortage(Shortage),
    State(StateError),
}

impl Stop {
    /// A sink told less, or other things, than it was asked for.
    pub(super) const MISMATCHED: Self = Self::Protocol(ProtocolReason::Mismatched);
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

pub(super) struct Context {
    pub(super) source: Arc<dyn Source>,
    pub(super) source_root: RootIndex,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) sink_root: RootIndex,
    /// The way of payload, where it does not lead through here.
    pub(super) passage: Option<Arc<Passage>>,
    /// The store that both ends are buckets of, where it copies by itself.
    pub(super) within: Option<Arc<Within>>,
    pub(super) mapping: Mapping,
    /// Whether files that open accounts stay here: somebody else's host can read them there.
    pub(super) withholds_secrets: bool,
    pub(super) options: Arc<TransferOptions>,
    pub(super) policy: Policy,
    pub(super) ledger: Ledger,
    /// What is finished; `None` where nothing is written.
    pub(super) tail: Option<Tail>,
    /// Whether the destination failed to sync; `None` where nothing is written.
    pub(super) unsynced: Option<Unsynced>,
    pub(super) meter: Arc<Meter>,
    pub(super) publisher: Publisher,
    /// What says whether files load where they arrived.
    pub(super) load_check: Option<CopyCheck>,
    /// What files may be copied from in part.
    pub(super) bases: Bases,
    /// What is kept before it is replaced.
    pub(super) aside: Aside,
    pub(super) budget: Budget,
    /// What is left over at the destination, once that is known.
    pub(super) spare: OnceLock<Arc<Spare>>,
    pub(super) pacer: Arc<Pacer>,
    pub(super) observer: SharedObserver,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) halt: Halt,
}

impl Context {
    /// Names a source file as the scan saw it.
    pub(super) fn source_file(
        &self,
        path: &RelPath,
        stamp: xfer_protocol::manifest::Stamp,
    ) -> FileAt {
        FileAt { root: self.source_root, path: path.clone(), stamp }
    }

    /// Sorts an error: one that ends the attempt comes back as a stop, one entry's own as its
    /// fault.
    pub(super) fn sort(&self, side: Side, error: EndpointError) -> Result<Fault, Stop> {
        match error {
            EndpointError::Fault(fault) => {
                if side == Side::Destination && tells_of_a_sync(&fault) {
                    self.note_unsynced();
                }
                if ends_transfer(side, fault.kind) {
                    return Err(Stop::Fault(side, fault));
                }
                Ok(fault)
            }
            EndpointError::Lost(reason) => Err(Stop::Lost(reason)),
            EndpointError::Protocol(reason) => Err(Stop::Protocol(reason)),
        }
    }

    /// As [`Self::sort`] where there is no entry that could fail alone.
    pub(super) fn stop(side: Side, error: EndpointError) -> Stop {
        match error {
            EndpointError::Fault(fault) => Stop::Fault(side, fault),
            EndpointError::Lost(reason) => Stop::Lost(reason),
            EndpointError::Protocol(reason) => Stop::Protocol(reason),
        }
    }

    /// Notes a failure at the source that is no selected entry's own, under the name that the entry
    /// has at the destination, as all are told.
    pub(super) fn source_problem(&self, found: Fault) {
        // Where paths are named, nothing is listed that could be gone by now.
        let is_named = self.options.selection.only.is_some() && found.during == Operation::Stat;
        let is_missing = is_named && found.kind == FaultKind::NotFound;
        let path = self.mapping.destination_of(&found.path).unwrap_or(found.path);
        let found = Fault { path, ..found };
        if is_missing {
            self.ledger.missing(found);
        } else {
            self.ledger.problem(Side::Source, found);
        }
    }

    /// Whether a file that fails so at the source is left for later.
    pub(super) fn puts_off(&self, kind: FaultKind) -> bool {
        let settle = &self.options.selection.settle;
        match kind {
            FaultKind::Changed => !settle.time.is_zero(),
            FaultKind::NotFound => settle.gone,
            _ => false,
        }
    }

    /// Notes that the destination failed to sync, and lost nobody knows what.
    pub(super) fn note_unsynced(&self) {
        self.unsynced.iter().for_each(Unsynced::note);
    }

    /// Whether what is found equal is read back: where that is asked, and where the system may show
    /// what never reached the medium.
    pub(super) fn reads_back_found(&self) -> bool {
        self.options.verify.level == VerifyLevel::ReadBack || self.may_have_lost()
    }

    /// Whether the system may show what never reached the medium, and what is there has to last.
    pub(super) fn may_have_lost(&self) -> bool {
        let may_be_lost = || self.unsynced.as_ref().is_some_and(Unsynced::is_noted);
        self.options.verify.level.is_durable() && may_be_lost()
    }

    /// Whether what arrives appears by itself and at once: where nothing has to last, and where an
    /// entry lasts as soon as it is there, so that nothing is gained by waiting for others.
    pub(super) fn publishes_at_once(&self) -> bool {
        let is_whole = !self.sink.capabilities().rename;
        is_whole || self.options.verify.level == VerifyLevel::Received
    }

    pub(super) fn observe(&self, event: &Event) {
        self.observer.observe(event);
    }

    /// Whether bytes that failed their check may be fetched once more.
    pub(super) fn may_retry(&self, attempt: u32) -> bool {
        attempt < self.options.retry.retries
    }

    /// The pause before an attempt, unless the others are halted.
    pub(super) async fn pause(&self, attempt: u32) {
        pause(&*self.clock, attempt, self.halt.halted()).await;
    }
}

/// The pause before an attempt, unless it is ended. The clock's low bits are its jitter, so that
/// two workers do not march in step.
pub(super) async fn pause(clock: &dyn Clock, attempt: u32, ended: impl Future<Output = ()>) {
    let seed = u64::from(clock.elapsed().subsec_nanos());
    tokio::select! {
        () = tokio::time::sleep(backoff(attempt.saturating_add(1), PAUSE_MAX, seed)) => {}
        () = ended => {}
    }
}

/// No entry after this one can fare better.
fn ends_transfer(side: Side, kind: FaultKind) -> bool {
    use FaultKind::{Busy, NoInodes, NoSpace, Quota, ReadOnly};
    matches!(kind, Busy)
        || side == Side::Destination && matches!(kind, NoSpace | NoInodes | Quota | ReadOnly)
}

/// Whether a fault is that of a sync; setting metadata syncs too.
fn tells_of_a_sync(fault: &Fault) -> bool {
    fault.during == Operation::Sync
        || fault.kind == FaultKind::Tainted
        || fault.kind == FaultKind::Io && fault.during == Operation::SetMetadata
}

/// Ends all workers of an attempt; the first reason stands.
pub(super) struct Halt {
    token: CancellationToken,
    reason: Mutex<Option<Stop>>,
}

impl Halt {
    /// A halt that the user's cancellation triggers too.
    pub(super) fn under(cancel: &CancellationToken) -> Self {
        Self { token: cancel.child_token(), reason: Mutex::new(None) }
    }

    /// Halts for a reason. A worker that only stopped because it found the rest halted has none.
    pub(super) fn now(&self, stop: Stop) {
        if !matches!(stop, Stop::Cancelled) {
            self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(stop);
        }
        self.token.cancel();
    }

    pub(super) fn is_halted(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(super) async fn halted(&self) {
        self.token.cancelled().await;
    }

    /// Why it was halted; a cancellation where nobody said why.
    pub(super) fn take(&self) -> Option<Stop> {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
        reason.or_else(|| self.is_halted().then_some(Stop::Cancelled))
    }
}

/// The two limits of the scheduler: units of work, and bytes of payload.
pub(super) struct Budget {
    units: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most: u64,
    /// Bytes of blocks, from the request for them until they are written.
    window: u64,
    blocks: Arc<Semaphore>,
}

impl Budget {
    /// Blocks may be on their way with so many bytes, and all payload with at `most` so many.
    pub(super) fn new(window: u64, most: u64) -> Self {
        let most = most.min(BYTES_IN_FLIGHT);
        let window = window.min(most);
        let permits = |bytes: u64| usize::try_from(bytes / PERMIT_BYTES).unwrap_or(1);
        Self {
            units: Arc::new(Semaphore::new(UNITS_IN_FLIGHT)),
            bytes: Arc::new(Semaphore::new(permits(most))),
            most,
            window,
            blocks: Arc::new(Semaphore::new(permits(window))),
        }
    }

    /// Room for one block of a large file; given back when dropped.
    pub(super) async fn block(&self, bytes: u64) -> Option<[OwnedSemaphorePermit; 2]> {
        let permits = bytes.min(self.window).div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let block = Arc::clone(&self.blocks).acquire_many_owned(permits).await.ok()?;
        Some([block, self.bytes(bytes).await?])
    }

    /// A place for one unit; given back when dropped.
    pub(super) async fn unit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.units).acquire_owned().await.ok()
    }

    /// Room for bytes of payload; given back when dropped.
    pub(super) async fn bytes(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let permits = bytes.min(self.most).div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).acquire_many_owned(permits).await.ok()
    }
}

/// Spreads payload over time where a rate was asked for.
pub(super) struct Pacer {
    /// Bytes a second.
    rate: Option<u64>,
    /// When the bytes that were let through so far will have passed at that rate.
    free_at: Mutex<Duration>,
    clock: Arc<dyn Clock>,
}

impl Pacer {
    pub(super) fn new(rate: Option<u64>, clock: Arc<dyn Clock>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), free_at: Mutex::default(), clock }
    }

    /// Waits until these bytes may go.
    pub(super) async fn pace(&self, bytes: u64) {
        let wait = self.wait(bytes, self.clock.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long these bytes wait: until nearly as much time is over as they take at that rate.
    fn wait(&self, bytes: u64, now: Duration) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        let takes = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        *free_at = (*free_at).max(now).saturating_add(takes);
        free_at.saturating_sub(now).saturating_sub(BURST)
    }

    /// Bytes of a block at that rate: what goes in a tenth of a second.
    pub(super) fn block_max(&self) -> Option<u64> {
        self.rate.map(|rate| rate / 10)
    }
}

/// A fault of the engine's own finding.
pub(super) fn fault(kind: FaultKind, during: Operation, path: &RelPath) -> Fault {
    Fault::new(kind, during, path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first worker's reason stands, also beside workers that stopped because of it.
    #[test]
    fn a_worker_that_was_halted_gives_no_reason() {
        let halt = Halt::under(&CancellationToken::new());
        halt.now(Stop::Cancelled);
        halt.now(Stop::Lost(LostReason::Stalled));
        halt.now(Stop::Cancelled);
        assert!(matches!(halt.take(), Some(Stop::Lost(LostReason::Stalled))));
        assert!(matches!(halt.take(), Some(Stop::Cancelled)));
    }

    /// From the first byte on, no more has gone than the rate and a tenth of a second allow; time
    /// that passed unused gives no credit.
    #[test]
    fn a_rate_holds_from_the_first_byte() {
        let pacer = Pacer::new(Some(1000), crate::clock::SystemClock::shared());
        let second = Duration::from_secs;
        assert_eq!(pacer.wait(100, second(5)), Duration::ZERO);
        assert_eq!(pacer.wait(4000, second(5)), second(4));
        assert_eq!(pacer.wait(1000, second(9)), Duration::from_secs(1));
        assert_eq!(pacer.wait(1000, second(100)), Duration::from_millis(900));
        let unlimited = Pacer::new(None, Arc::clone(&pacer.clock));
        assert_eq!(
            (unlimited.wait(u64::MAX, second(1)), unlimited.block_max()),
            Default::default()
        );
    }
}
