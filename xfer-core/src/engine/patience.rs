//! How many sessions a transfer is worth.

use std::time::Duration;

use crate::options::RetryOptions;

/// Counts sessions that came no farther than one before them.
#[derive(Debug)]
pub(super) struct Patience {
    /// Bytes that the best session dealt with.
    farthest: u64,
    attempts: u32,
    last_progress: Duration,
}

impl Patience {
    /// Begins at a moment of the clock.
    pub(super) fn new(now: Duration) -> Self {
        Self { farthest: 0, attempts: 0, last_progress: now }
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
            *self = Self { farthest: reached, attempts: 0, last_progress: now };
        }
        let waited = now.saturating_sub(self.last_progress);
        if self.attempts >= retry.attempts || waited >= retry.give_up {
            return None;
        }
        self.attempts += 1;
        Some(self.attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sessions: &[u64], attempts: u32) -> Vec<Option<u32>> {
        let retry = RetryOptions { attempts, ..RetryOptions::default() };
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
}
