//! How far behind a watch is, and how often something comes: pure, told the time.

use std::time::Duration;

/// What waits to be moved, and since when.
#[derive(Debug)]
pub(super) struct Backlog {
    /// How long anything may wait before somebody is told.
    bound: Duration,
    /// When the oldest was noticed of what waits for the round under way, or the next one.
    since: Option<Duration>,
    /// The same of what the round under way came too early for.
    later: Option<Duration>,
    in_round: bool,
    is_told: bool,
    /// When something was moved last, and how long before that the time before.
    moved: Option<Duration>,
    cadence: Option<Duration>,
}

impl Backlog {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            since: None,
            later: None,
            in_round: false,
            is_told: false,
            moved: None,
            cadence: None,
        }
    }

    /// Something is there that has to be moved.
    pub(super) fn noticed(&mut self, now: Duration) {
        let slot = if self.in_round { &mut self.later } else { &mut self.since };
        slot.get_or_insert(now);
    }

    pub(super) fn begins(&mut self, now: Duration) {
        self.noticed(now);
        self.in_round = true;
    }

    /// A round is over; what it was to move waits on where it failed.
    pub(super) fn ended(&mut self, is_done: bool, has_moved: bool, now: Duration) {
        self.in_round = false;
        let later = self.later.take();
        if is_done {
            self.since = later;
            self.is_told = false;
        }
        if has_moved {
            self.cadence = self.moved.map(|before| now.saturating_sub(before));
            self.moved = Some(now);
        }
    }

    /// How long the oldest has waited.
    pub(super) fn lag(&self, now: Duration) -> Duration {
        self.since.map(|since| now.saturating_sub(since)).unwrap_or_default()
    }

    /// Between the last two rounds that moved anything.
    pub(super) fn cadence(&self) -> Option<Duration> {
        self.cadence
    }

    /// How long the oldest has waited, once, where that is too long.
    pub(super) fn is_late(&mut self, now: Duration) -> Option<Duration> {
        let lag = self.lag(now);
        let is_new = lag >= self.bound && !std::mem::replace(&mut self.is_told, lag >= self.bound);
        is_new.then_some(lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_counts_and_is_told_once() {
        let mut backlog = Backlog::new(at(300));
        assert_eq!(backlog.is_late(at(1000)), None);
        backlog.noticed(at(1000));
        backlog.noticed(at(1200));
        assert_eq!(backlog.is_late(at(1299)), None);
        assert_eq!(backlog.is_late(at(1300)), Some(at(300)));
        assert_eq!(backlog.is_late(at(1301)), None);
    }

    #[test]
    fn a_round_that_failed_moves_nothing_on() {
        let mut backlog = Backlog::new(at(300));
        backlog.begins(at(10));
        backlog.noticed(at(20));
        backlog.ended(false, false, at(30));
        assert_eq!(backlog.lag(at(40)), at(30));
        backlog.begins(at(50));
        backlog.noticed(at(55));
        backlog.ended(true, true, at(60));
        assert_eq!((backlog.lag(at(61)), backlog.cadence()), (at(6), None));
        backlog.begins(at(62));
        assert_eq!(backlog.is_late(at(355)), Some(at(300)));
        backlog.ended(true, true, at(360));
        assert_eq!((backlog.lag(at(361)), backlog.cadence()), (at(0), Some(at(300))));
        // The next time it is told again.
        backlog.noticed(at(400));
        assert_eq!(backlog.is_late(at(700)), Some(at(300)));
    }
}
