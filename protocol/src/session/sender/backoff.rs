//! How long a unit that failed waits, and how often it may fail.

use std::time::Duration;

/// When to try again, and when to stop trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Times that a unit may fail; the last is final. Default: 5.
    pub attempts: u32,
    /// The longest first wait of a unit that failed; doubles with each failure. Default: 1 s.
    pub backoff_min: Duration,
    /// The longest wait of all. Default: 30 s.
    pub backoff_max: Duration,
    /// Times that a unit may be on a stream that is lost or stalls. Default: 32.
    pub moves: u32,
    /// Time without a landing, or without [`Self::progress_bytes`], after which a stream counts as
    /// stalled. Default: 15 s.
    pub stall: Duration,
    /// Bytes that must move within the stall time where nothing lands. Default: 16 KiB, so a stream
    /// that trickles does not hold its blocks for ever.
    pub progress_bytes: u64,
    /// Time without a landing on any stream after which the transfer gives up. Default: 5 min.
    pub give_up: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            moves: 32,
            stall: Duration::from_secs(15),
            progress_bytes: 16 * 1024,
            give_up: Duration::from_secs(300),
        }
    }
}

/// Waits with full jitter: any time from zero to a bound that doubles, so that what failed together
/// does not come back together.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    policy: RetryPolicy,
    state: u64,
}

impl Backoff {
    pub(super) fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self { policy, state: seed }
    }

    /// The wait after the failure that is the `attempt`th, counted from one.
    pub(super) fn delay(&mut self, attempt: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = self.policy.backoff_min.saturating_mul(doubled).min(self.policy.backoff_max);
        let nanoseconds = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.step() % nanoseconds.saturating_add(1).max(1))
    }

    /// One step of SplitMix64 (Steele, Lea and Flood 2014).
    fn step(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_below_a_bound_that_doubles() {
        let policy = RetryPolicy::default();
        for (attempt, bound) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (33, 30), (u32::MAX, 30)]
        {
            let bound = Duration::from_secs(bound);
            let mut backoff = Backoff::new(policy, 7);
            let delays: Vec<_> = (0..1000).map(|_| backoff.delay(attempt)).collect();
            assert!(delays.iter().all(|d| *d <= bound), "attempt {attempt}");
            for quarter in 0..4 {
                let within = bound / 4 * quarter..=bound / 4 * (quarter + 1);
                let count = delays.iter().filter(|d| within.contains(d)).count();
                assert!((150..350).contains(&count), "{count} in {within:?} of attempt {attempt}");
            }
        }
    }
}
