//! How many sessions a transfer is worth.

use std::time::Duration;

use crate::options::RetryOptions;

/// Counts sessions that came no farther than one before them.
#[derive(Debug)]
pub(super) struct Patience {
    /// Bytes that the best session dealt with.
    farthest: u64,
    attempts: u32,
    /// Times that nobody was reached since.
    outages: u32,
    last_progress: Duration,
}

impl Patience {
    /// Begins at a moment of the clock.
    pub(super) fn new(now: Duration) -> Self {
        Self { farthest: 0, attempts: 0, outages: 0, last_progress: now }
    }

    /// What follows a session that was lost: the number of the next attempt, or none.
    ///
    /// `reached` are the bytes that it moved, compared or found there. One that ends where an
    /// earlier one did was for nothing, however much it moved.
    pub(super) fn after(
        &mut self,
        reached: u64,
        now: Duration,
        retry: &RetryOptions,
    ) -> Option<u32> {
        if reached > self.farthest {
            *self = Self { farthest: reached, ..Self::new(now) };
        }
        let waited = now.saturating_sub(self.last_progress);
        if self.attempts >= retry.retries || waited >= retry.give_up {
            return None;
        }
        self.attempts += 1;
        Some(self.attempts)
    }

    /// Time in which there was nothing to be had does not count.
    pub(super) fn spare(&mut self, time: Duration) {
        self.last_progress += time;
    }

    /// What follows when nobody was reached who had been there before: that says nothing of them,
    /// so only the time without progress counts.
    pub(super) fn after_outage(&mut self, now: Duration, retry: &RetryOptions) -> Option<u32> {
        let waited = now.saturating_sub(self.last_progress);
        if retry.retries == 0 || waited >= retry.give_up {
            return None;
        }
        self.outages += 1;
        Some(self.outages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sessions: &[u64], retries: u32) -> Vec<Option<u32>> {
        let retry = RetryOptions { retries, ..RetryOptions::default() };
        let mut patience = Patience::new(Duration::ZERO);
        sessions.iter().map(|reached| patience.after(*reached, Duration::ZERO, &retry)).collect()
    }

    #[test]
    fn a_session_that_gets_farther_renews_it() {
        assert_eq!(after(&[5, 6, 7], 1), [Some(1), Some(1), Some(1)]);
    }

    /// A far side that ends at the same byte every time is given up, though it takes bytes.
    #[test]
    fn a_session_that_ends_where_the_last_did_spends_it() {
        assert_eq!(after(&[5, 5, 5, 5], 2), [Some(1), Some(2), None, None]);
        assert_eq!(after(&[5], 0), [None]);
    }

    #[test]
    fn it_ends_after_a_time_without_progress() {
        let retry = RetryOptions::default();
        let mut patience = Patience::new(Duration::ZERO);
        assert_eq!(patience.after(1, retry.give_up, &retry), Some(1));
        assert_eq!(patience.after(1, retry.give_up * 2, &retry), None);
    }

    #[test]
    fn an_outage_spends_time_alone() {
        let retry = RetryOptions { retries: 1, ..RetryOptions::default() };
        let mut patience = Patience::new(Duration::ZERO);
        for outage in 1..100 {
            assert_eq!(patience.after_outage(Duration::from_secs(1), &retry), Some(outage));
        }
        assert_eq!(patience.after(0, Duration::ZERO, &retry), Some(1));
        assert_eq!(patience.after_outage(retry.give_up, &retry), None);
        let never = RetryOptions { retries: 0, ..retry };
        assert_eq!(patience.after_outage(Duration::ZERO, &never), None);
    }
}
