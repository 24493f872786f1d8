//! `--watch`: a transfer that goes on, round after round, for as long as nobody stops it.
//!
//! Each round is a transfer of its own over the whole selection, with its receipt; what earlier
//! ones moved is known by their records. A round begins where a look at the sources finds something
//! that was not there before. What the system tells of changes, where a source is here, only says
//! when to look; without it the look comes by itself, a little later.

mod backlog;
mod eyes;
mod look;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;

use self::backlog::Backlog;
use self::eyes::Eyes;
use self::look::{Look, Looker};
use super::context::{Stop, pause};
use super::{Shared, Summary, Transfer};
use crate::connect::Connector;
use crate::disk::changes::Noticed;
use crate::error::{ExitClass, PlatformReason, StopSignal, TransferError, UsageReason};
use crate::event::{Event, SharedObserver, WatchRound};
use crate::location::Machine;
use crate::options::WatchOptions;

/// How often it is looked whether anything waits for too long.
const LAG_CHECK: Duration = Duration::from_secs(1);

/// Of the time, a look may take so many parts less one: a large tree is looked at less often.
const LOOKING_PART: u32 = 20;

/// Moves what is asked, and goes on with what comes later; it ends by an error alone, a stop among
/// them. Once both ends were reached, what keeps them away is waited for.
///
/// # Errors
/// What ended it: a stop, a mistake, or something that does not pass.
pub fn watch(
    transfer: Transfer,
    options: WatchOptions,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> LocalBoxFuture<'static, Result<Infallible, TransferError>> {
    Box::pin(async move {
        check_watch(&transfer)?;
        let begun = Event::Begun {
            sources: transfer.sources.clone(),
            destination: transfer.destination.clone(),
        };
        observer.observe(&begun);
        Watch::new(transfer, options, connector, observer, cancel).await.go_on().await
    })
}

/// Refuses what cannot be watched, or makes no sense whatever stands where.
///
/// # Errors
/// What was asked, and makes no sense.
pub fn check_watch(transfer: &Transfer) -> Result<(), TransferError> {
    for source in &transfer.sources {
        if matches!(
            source.machine,
            Machine::Store(_) | Machine::Rclone(_) | Machine::Web(_) | Machine::Hub(_)
        ) {
            return Err(UsageReason::NotWatched(source.clone()).into());
        }
    }
    if transfer.plan_only {
        return Err(UsageReason::WatchedPlan.into());
    }
    super::check(transfer)
}

struct Watch {
    transfer: Transfer,
    options: WatchOptions,
    connector: Connector,
    cancel: CancellationToken,
    /// For looks.
    shared: Shared,
    eyes: Eyes,
    looker: Option<Looker>,
    backlog: Backlog,
    /// What the last round saw that left nothing undone.
    seen: Option<Digest>,
    /// When to look again, by what was noticed.
    due: Option<Duration>,
    rounds: u64,
    /// Rounds and looks in a row that failed.
    failures: u32,
}

impl Watch {
    async fn new(
        transfer: Transfer,
        options: WatchOptions,
        connector: Connector,
        observer: SharedObserver,
        cancel: CancellationToken,
    ) -> Self {
        let told = Arc::clone(&observer);
        let observer: SharedObserver = Arc::new(move |event: &Event| {
            // The whole was told to begin.
            if !matches!(event, Event::Begun { .. }) {
                told.observe(event);
            }
        });
        let shared =
            Shared::new(transfer.clone(), connector.clone(), Arc::clone(&observer), cancel.clone());
        let finished = Arc::clone(&shared.finished);
        let eyes = Eyes::open(&transfer.sources, finished, observer).await;
        let backlog = Backlog::new(options.lag);
        Self {
            transfer,
            options,
            connector,
            cancel,
            shared,
            eyes,
            looker: None,
            backlog,
            seen: None,
            due: None,
            rounds: 0,
            failures: 0,
        }
    }

    async fn go_on(mut self) -> Result<Infallible, TransferError> {
        loop {
            let look = match self.look().await {
                Ok(look) => look,
                Err(error) => {
                    self.outlast(error).await?;
                    continue;
                }
            };
            if self.seen != Some(look.print) {
                // A session for looks need not last as long as a round.
                self.forget_looker().await;
                match self.round().await {
                    Ok(class) => {
                        self.failures = 0;
                        self.seen = (class == ExitClass::Done).then_some(look.print);
                    }
                    Err(error) => {
                        self.seen = None;
                        self.outlast(error).await?;
                        continue;
                    }
                }
            }
            self.wait(&look).await?;
        }
    }

    fn now(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    async fn look(&mut self) -> Result<Look, TransferError> {
        self.due = None;
        if self.cancel.is_cancelled() {
            return Err(TransferError::Stopped { signal: StopSignal::Interrupt });
        }
        let looked = {
            let looking = look_by(&self.shared, self.looker.take());
            let cancel = self.cancel.clone();
            tokio::select! {
                looked = looking => looked,
                () = cancel.cancelled() => Err(Stop::Cancelled),
            }
        };
        match looked {
            Ok((look, looker)) if looker.is_worn() || self.transfer_is_here() => {
                looker.close().await;
                Ok(look)
            }
            Ok((look, looker)) => {
                self.looker = Some(looker);
                Ok(look)
            }
            Err(stop) => Err(self.shared.error_of(stop)),
        }
    }

    /// Sources here cost nothing to open.
    fn transfer_is_here(&self) -> bool {
        self.transfer.sources.iter().all(|source| source.machine == Machine::Local)
    }

    async fn forget_looker(&mut self) {
        if let Some(looker) = self.looker.take() {
            looker.close().await;
        }
    }

    /// One transfer, and what came of it.
    async fn round(&mut self) -> Result<ExitClass, TransferError> {
        let began = self.now();
        self.backlog.begins(began);
        self.rounds += 1;
        let (connector, observer) = (self.connector.clone(), Arc::clone(&self.shared.observer));
        let (cancel, finished) = (self.cancel.clone(), Arc::clone(&self.shared.finished));
        let transfer = self.transfer.clone();
        let running = super::run_round(transfer, connector, observer, cancel, finished);
        let ended = self.alongside(running).await;
        let now = self.now();
        let has_moved = |summary: &Summary| summary.entries.moved > 0 || summary.removed > 0;
        let is_done = ended.as_ref().is_ok_and(|summary| summary.class == ExitClass::Done);
        self.backlog.ended(is_done, ended.as_ref().is_ok_and(has_moved), now);
        let summary = ended?;
        let (entries, bytes) = (summary.entries, summary.bytes);
        self.shared.observer.observe(&Event::Round(Box::new(WatchRound {
            number: self.rounds,
            proven: (entries.moved + entries.unchanged, bytes.moved + bytes.unchanged),
            entries_moved: entries.moved,
            bytes_moved: bytes.moved,
            entries_waiting: entries.deferred,
            bytes_waiting: bytes.deferred,
            failed: entries.failed,
            removed: summary.removed,
            elapsed: now.saturating_sub(began),
            lag: self.backlog.lag(now),
            cadence: self.backlog.cadence(),
            proof_level: summary.proof_level,
            manifest_root: summary.manifest_root,
            receipt: summary.receipt,
        })));
        Ok(summary.class)
    }

    /// Waits until it is time to look again.
    async fn wait(&mut self, look: &Look) -> Result<(), TransferError> {
        let began = self.now();
        let latest = self.eyes.interval().max(look.took * LOOKING_PART);
        let ready = look.ready.map_or(latest, |ready| ready.min(latest));
        loop {
            let due = self.due.unwrap_or(began + ready).min(began + ready);
            let left = due.max(began + look.took).saturating_sub(self.now());
            if left.is_zero() {
                return Ok(());
            }
            let pause = self.shared.clock.pause(left.min(LAG_CHECK));
            tokio::select! {
                noticed = self.eyes.noticed() => self.take(&noticed),
                () = pause => self.tell_lag(),
                () = self.cancel.cancelled() => {
                    self.forget_looker().await;
                    return Err(TransferError::Stopped { signal: StopSignal::Interrupt });
                }
            }
        }
    }

    /// Does something, and notices meanwhile.
    async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let pause = self.shared.clock.pause(LAG_CHECK);
            tokio::select! {
                biased;
                done = &mut work => return done,
                noticed = self.eyes.noticed() => self.take(&noticed),
                () = pause => self.tell_lag(),
            }
        }
    }

    fn take(&mut self, noticed: &Noticed) {
        let now = self.now();
        let settle = self.transfer.options.selection.settle.time;
        let mut due = |at: Duration| self.due = Some(self.due.map_or(at, |due| due.min(at)));
        if noticed.names {
            due(now);
        }
        if noticed.touched {
            due(now + settle);
        }
        if !noticed.finished.is_empty() {
            self.backlog.noticed(now);
        }
    }

    fn tell_lag(&mut self) {
        let now = self.now();
        if let Some(lag) = self.backlog.is_late(now) {
            self.shared.observer.observe(&Event::Late(lag));
        }
    }

    /// Waits until something may be tried again that failed.
    async fn outlast(&mut self, error: TransferError) -> Result<(), TransferError> {
        self.looker = None;
        if self.cancel.is_cancelled() {
            return Err(TransferError::Stopped { signal: StopSignal::Interrupt });
        }
        let has_worked = self.seen.is_some() || self.rounds > 1 || self.failures > 0;
        let is_over = self.options.failures.is_some_and(|most| self.failures >= most);
        if !passes(&error) || !has_worked || is_over {
            return Err(error);
        }
        self.failures = self.failures.saturating_add(1);
        let (reason, attempt) = (error.to_string(), self.failures);
        self.shared.observer.observe(&Event::Retry { reason, attempt });
        let (clock, cancel) = (Arc::clone(&self.shared.clock), self.cancel.clone());
        self.alongside(pause(&*clock, attempt, cancel.cancelled())).await;
        Ok(())
    }
}

async fn look_by(shared: &Shared, looker: Option<Looker>) -> Result<(Look, Looker), Stop> {
    let mut looker = match looker {
        Some(looker) => looker,
        None => Looker::open(shared).await?,
    };
    let look = looker.look(shared).await?;
    Ok((look, looker))
}

/// Whether an error says no more than that somebody is away for now.
fn passes(error: &TransferError) -> bool {
    match error {
        TransferError::Network(_) | TransferError::Busy { .. } | TransferError::NotRunning(_) => {
            true
        }
        TransferError::Platform(failure) => {
            matches!(failure.reason, PlatformReason::Unreached | PlatformReason::Busy)
        }
        _ => false,
    }
}
