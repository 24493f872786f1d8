//! How far acknowledgements run ahead of the path's rate
//!
//! They come in clumps: the far side acknowledges many packets at once, and both sides' threads
//! wait for a processor. Without an allowance for a clump the sender would stand still between two.

use std::time::Duration;

use super::highest::Highest;
use super::rate::Rate;

/// The largest clump of the last rounds
#[derive(Clone, Debug)]
pub(super) struct Surplus {
    since: Duration,
    bytes: u64,
    largest: Highest<u64>,
}

impl Surplus {
    pub(super) fn over(rounds: u64) -> Self {
        Self { since: Duration::ZERO, bytes: 0, largest: Highest::over(rounds) }
    }

    /// Bytes by which acknowledgements ran ahead at most
    pub(super) fn largest(&self) -> u64 {
        self.largest.best()
    }

    /// `bytes` were acknowledged at `now`, on a path that is believed to deliver at `rate`
    pub(super) fn saw(&mut self, now: Duration, round: u64, bytes: u64, rate: Rate) {
        let expected = rate.within(now.saturating_sub(self.since));
        if self.bytes <= expected {
            self.bytes = 0;
            self.since = now;
        }
        self.bytes += bytes;
        let expected = rate.within(now.saturating_sub(self.since));
        self.largest.saw(round, self.bytes.saturating_sub(expected));
    }
}
