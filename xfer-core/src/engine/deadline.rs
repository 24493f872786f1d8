//! When a transfer is to end, done or not (`--deadline`).
//!
//! What is whole by then is published and in the receipt, partials stay for the next run, and the
//! rest is counted as failed. Nothing is cut once all has been moved.

use std::time::Duration;

use xfer_protocol::manifest::Timestamp;

use super::Shared;
use super::context::Stop;
use crate::clock::Clock;
use crate::discover::{DangerClock, MachineRow};
use crate::error::{Failure, PolicyReason, Remedy, TransferError};
use crate::event::Event;
use crate::options::Deadline;

/// How long before the nearest danger clock a transfer ends that is told no time itself.
const AHEAD_SECONDS: i64 = 5 * 60;

/// Between two looks at the clocks: the time of day may be set.
const LOOK: Duration = Duration::from_millis(100);

/// A time at which a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// By the clock that nobody turns.
    Elapsed(Duration),
    /// By the time of day.
    Moment(Timestamp),
}

impl Until {
    /// What is known before any machine is reached.
    pub(super) fn asked(deadline: Option<Deadline>, began: Duration) -> Option<Self> {
        match deadline? {
            Deadline::In(span) => Some(Self::Elapsed(began.saturating_add(span))),
            Deadline::At(moment) => Some(Self::Moment(moment)),
            Deadline::Auto => None,
        }
    }

    /// Some minutes before the first of what may end a machine; `None` where nothing has a time.
    fn nearest(clocks: impl Iterator<Item = DangerClock>, now: Timestamp) -> Option<Self> {
        let second = |clock: DangerClock| match clock {
            DangerClock::ContractEnds(second) => Some(second),
            // Since when it is idle nobody tells; a copy keeps no machine busy.
            DangerClock::IdleEnds { minutes, .. } => {
                Some(now.seconds.saturating_add(i64::from(minutes) * 60))
            }
            DangerClock::Interruptible | DangerClock::DiskIsPaidFor => None,
        };
        let seconds = clocks.filter_map(second).min()?.saturating_sub(AHEAD_SECONDS);
        Some(Self::Moment(Timestamp { seconds, nanoseconds: 0 }))
    }

    /// Whether it has come.
    pub(super) fn has_come(self, clock: &dyn Clock) -> bool {
        match self {
            Self::Elapsed(until) => clock.elapsed() >= until,
            Self::Moment(moment) => clock.now() >= moment,
        }
    }
}

impl Shared {
    /// Whether the transfer is to end now.
    pub(super) fn is_due(&self) -> bool {
        self.until.get().is_some_and(|until| until.has_come(&*self.clock))
    }

    /// Returns once the transfer is to end; never where nobody said when.
    pub(super) async fn deadline(&self) {
        if self.transfer.options.retry.deadline.is_none() {
            return std::future::pending().await;
        }
        while !self.is_due() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes the deadline from what platforms say of these machines, where that is asked.
    pub(super) fn learn_deadline<'a>(
        &self,
        rows: impl Iterator<Item = &'a MachineRow>,
    ) -> Result<(), Stop> {
        if self.transfer.options.retry.deadline != Some(Deadline::Auto)
            || self.until.get().is_some()
        {
            return Ok(());
        }
        let clocks = rows.flat_map(|row| row.clocks.iter().copied());
        match Until::nearest(clocks, self.clock.now()) {
            Some(until) => {
                let _first = self.until.set(until);
            }
            None => self.observer.observe(&Event::Notice(
                "--deadline auto: no platform tells when a machine ends, so there is none".into(),
            )),
        }
        if self.is_due() { Err(Stop::Deadline) } else { Ok(()) }
    }

    /// What a deadline is that came before the end could be told entry by entry.
    pub(super) fn deadline_error(&self) -> TransferError {
        let place = self.transfer.destination.to_string();
        let has_begun = self.meter.progress().payload_bytes > 0;
        let (reason, next) = if has_begun {
            (PolicyReason::DeadlineCut, "repeat the same command with a later one: it goes on")
        } else {
            (PolicyReason::Deadline, "repeat with a later --deadline, or without one")
        };
        TransferError::Policy(Failure::new(place, reason).next(Remedy::text(next)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Hand(Mutex<(Duration, Timestamp)>);

    impl Clock for Hand {
        fn elapsed(&self) -> Duration {
            self.0.lock().unwrap().0
        }

        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().1
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    #[test]
    fn spans_and_moments_come_by_clocks_of_their_own() {
        let span = Duration::from_secs(30);
        let began = Duration::from_secs(5);
        let until = Until::asked(Some(Deadline::In(span)), began).unwrap();
        let moment = Until::asked(Some(Deadline::At(at(1000))), began).unwrap();
        for (elapsed, now, by_span, by_moment) in [
            (5, 999, false, false),
            (34, 2000, false, true),
            (35, 10, true, false),
            (36, 1000, true, true),
        ] {
            let clock = Hand(Mutex::new((Duration::from_secs(elapsed), at(now))));
            assert_eq!(until.has_come(&clock), by_span, "{elapsed}");
            assert_eq!(moment.has_come(&clock), by_moment, "{now}");
        }
        assert_eq!(Until::asked(Some(Deadline::Auto), began), None);
        assert_eq!(Until::asked(None, began), None);
    }

    #[test]
    fn the_nearest_clock_counts_less_five_minutes() {
        use DangerClock::{ContractEnds, DiskIsPaidFor, IdleEnds, Interruptible};
        let idle = IdleEnds { minutes: 10, destroys: true };
        for (clocks, second) in [
            (&[ContractEnds(9000), idle][..], Some(1300)),
            (&[ContractEnds(1100), idle], Some(800)),
            (&[Interruptible, DiskIsPaidFor], None),
            (&[], None),
        ] {
            let until = Until::nearest(clocks.iter().copied(), at(1000));
            assert_eq!(until, second.map(|second| Until::Moment(at(second))), "{clocks:?}");
        }
    }
}
