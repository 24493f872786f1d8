//! Time, read in one place.
//!
//! The engine is given a [`Clock`]; tests give it one that they turn by hand.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use xfer_protocol::manifest::Timestamp;

use crate::disk::boot::since_boot;

/// The time of day and a monotonic time.
pub trait Clock: Send + Sync {
    /// Monotonic time since the clock was made; what all timeouts are measured with.
    fn elapsed(&self) -> Duration;

    /// The time of day, for receipts and events; never decides what is safe.
    fn now(&self) -> Timestamp;

    /// The boot of this machine and milliseconds since then, sleep included: what nobody turns.
    /// Default: that cannot be told, as by a clock that is turned by hand.
    fn since_boot(&self) -> Option<([u8; 16], u64)> {
        None
    }

    /// Waits. A clock that is turned by hand lets the time pass and is done.
    fn pause(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self(start()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
fn start() -> Instant {
    Instant::now()
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp {
                seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: since.subsec_nanos(),
            },
            Err(_) => Timestamp::default(),
        }
    }

    fn since_boot(&self) -> Option<([u8; 16], u64)> {
        since_boot()
    }
}

/// The pause before the attempt of this number, counted from one: a second at first, doubled each
/// time up to `longest`, and shortened by up to a half as `seed` decides, so that many who failed
/// together do not come back together.
#[must_use]
pub fn backoff(attempt: u32, longest: Duration, seed: u64) -> Duration {
    let half = doubled(attempt, longest) / 2;
    half + half * jitter(attempt, seed) / u32::from(u16::MAX)
}

/// The same for many who ask one store: anything up to the whole, so that they spread evenly over
/// the time in which it recovers.
#[must_use]
pub fn spread_backoff(attempt: u32, longest: Duration, seed: u64) -> Duration {
    doubled(attempt, longest) * jitter(attempt, seed) / u32::from(u16::MAX)
}

fn doubled(attempt: u32, longest: Duration) -> Duration {
    let times = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_secs(1).saturating_mul(times).min(longest)
}

/// Of 65,535.
fn jitter(attempt: u32, seed: u64) -> u32 {
    u32::try_from(mixed(seed.wrapping_add(attempt.into())) >> 48).unwrap_or_default()
}

/// SplitMix64 (Steele, Lea and Flood 2014): spreads any seed evenly, which is all that jitter asks.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_differ_by_seed() {
        let longest = Duration::from_secs(15);
        for seed in 0..200 {
            for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (40, 15)] {
                let (pause, whole) =
                    (backoff(attempt, longest, seed), Duration::from_secs(seconds));
                assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            }
        }
        for attempt in 1..50 {
            let pauses = || (0..200).map(|seed| spread_backoff(attempt, longest, seed));
            let whole = doubled(attempt, longest);
            assert!(pauses().all(|pause| pause <= whole), "attempt {attempt}");
            assert!(pauses().any(|pause| pause < whole / 10), "attempt {attempt}");
            assert!(pauses().any(|pause| pause > whole / 10 * 9), "attempt {attempt}");
        }
        let first: std::collections::BTreeSet<_> =
            (0..100).map(|seed| backoff(1, longest, seed)).collect();
        assert!(first.len() > 90, "only {} different pauses", first.len());
    }
}
