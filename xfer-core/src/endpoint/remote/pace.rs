//! How much payload the link takes, and what follows from it.
//!
//! On a slow link a megabyte is a long time: what is on its way cannot be stopped, and what is lost
//! with it is sent again. So once the rate is known, blocks and window are cut to it. A block that
//! lost a packet lands two round trips late or later, so a window of four leaves the rate room to
//! grow: it never is what holds it down.

use std::time::Duration;

use xfer_protocol::digest::BlockSize;

/// Time over which the rate is taken.
const SPAN: Duration = Duration::from_secs(2);

/// Bytes that must have landed for the rate to be known.
const KNOWN_BYTES: u64 = 1 << 20;

/// What a block may take on the link.
const OF_A_BLOCK: Duration = Duration::from_millis(500);

/// Round trips that a window lasts.
const ROUND_TRIPS: u32 = 4;

/// Beside them: what reading, writing and waiting for a turn take.
const BESIDE: Duration = Duration::from_millis(500);

/// The smallest window.
const WINDOW_MIN: u64 = 512 << 10;

/// The rate of a link as its payload lands.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<(Duration, u64)>,
    rate: Option<u64>,
}

impl Pace {
    /// Takes what has landed so far; `is_moving` tells whether there was anything to send.
    pub(super) fn observe(&mut self, now: Duration, landed: u64, is_moving: bool) {
        let Some((since, before)) = self.since.filter(|_| is_moving) else {
            self.since = Some((now, landed));
            return;
        };
        let span = now.saturating_sub(since);
        if span < SPAN {
            return;
        }
        self.since = Some((now, landed));
        if landed >= KNOWN_BYTES {
            let micros = span.as_micros().max(1);
            let rate = u128::from(landed.saturating_sub(before)) * 1_000_000 / micros;
            self.rate = Some(u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }

    /// Bytes of a block at most; nothing where the rate bears any.
    pub(super) fn block_max(&self) -> Option<u64> {
        let bears = within(self.rate?, OF_A_BLOCK).max(BlockSize::MIN.bytes());
        (bears < BlockSize::DEFAULT.bytes()).then(|| 1 << bears.ilog2())
    }

    /// Bytes on their way, where that is less than `most`.
    pub(super) fn window(&self, round_trip: Duration, most: u64) -> u64 {
        let Some(rate) = self.rate else { return most };
        within(rate, round_trip * ROUND_TRIPS + BESIDE).max(WINDOW_MIN).min(most)
    }
}

fn within(rate: u64, span: Duration) -> u64 {
    let bytes = u128::from(rate) * span.as_micros() / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A pace after ten seconds at a rate.
    fn at(rate: u64) -> Pace {
        let mut pace = Pace::default();
        for second in 0..=10 {
            pace.observe(Duration::from_secs(second), rate * second, true);
        }
        pace
    }

    #[test]
    fn nothing_is_cut_before_the_rate_is_known() {
        let mut pace = Pace::default();
        pace.observe(Duration::ZERO, 0, true);
        pace.observe(Duration::from_secs(60), MIB - 1, true);
        assert_eq!((pace.block_max(), pace.window(Duration::ZERO, 8 * MIB)), (None, 8 * MIB));
    }

    /// Rows: E9.
    #[test]
    fn a_slow_link_gets_small_blocks_and_a_small_window() {
        let slow = at(120_000);
        assert_eq!(slow.block_max(), Some(64 << 10));
        assert_eq!(slow.window(Duration::from_millis(40), 8 * MIB), WINDOW_MIN);
        let fair = at(MIB);
        assert_eq!(fair.block_max(), Some(512 << 10));
        let fast = at(100 * MIB);
        assert_eq!((fast.block_max(), fast.window(Duration::ZERO, 8 * MIB)), (None, 8 * MIB));
    }

    #[test]
    fn the_window_grows_faster_than_the_rate_that_it_allows() {
        for millis in [1, 10, 100, 300] {
            let round_trip = Duration::from_millis(millis);
            let (mut pace, mut landed, mut now) = (at(200_000), 2_000_000, 10);
            for _ in 0..40 {
                let window = pace.window(round_trip, 64 * MIB);
                // Each block lost a packet twice, and both ends take their time.
                let rate = window * 1_000 / (3 * millis + 100);
                (landed, now) = (landed + 2 * rate, now + 2);
                pace.observe(Duration::from_secs(now), landed, true);
            }
            assert_eq!(pace.window(round_trip, 64 * MIB), 64 * MIB, "{millis} ms");
        }
    }

    #[test]
    fn a_pause_of_the_sender_is_no_slow_link() {
        let mut pace = at(100 * MIB);
        let landed = 1000 * MIB;
        pace.observe(Duration::from_secs(11), landed, false);
        pace.observe(Duration::from_secs(60), landed, false);
        pace.observe(Duration::from_secs(61), landed, true);
        assert_eq!(pace.block_max(), None);
    }
}
