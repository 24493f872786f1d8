//! How much payload the link takes, and what follows from it.
//!
//! On a slow link a megabyte is a long time: what is on its way cannot be stopped, and what is lost
//! with it is sent again. So once the rate is known, blocks and window are cut to it. A block that
//! lost a packet lands two round trips late or later, so a window of four leaves the rate room to
//! grow: it never is what holds it down.
//!
//! What was asked of one connection cannot come by another. So on a long link little is on its way
//! at first, and more as fast as the connection itself begins: the rest is there for connections
//! that join.

use std::time::Duration;

use xfer_protocol::digest::BlockSize;

/// Time over which the rate is taken.
const SPAN: Duration = Duration::from_secs(2);

/// The same while payload begins, or its connections are others than before; a round trip at least.
const SPAN_AT_FIRST: Duration = Duration::from_millis(20);

/// More streams than this share what may be on its way, so that each has a block.
const FEW_STREAMS: u64 = 16;

/// Bytes that must have moved for the rate to be known.
const KNOWN_BYTES: u64 = 1 << 20;

/// What a block may take on the link, were it alone there, and on its own stream beside the round
/// trips of a window: streams that share few blocks would wait for each other.
const OF_A_BLOCK: Duration = Duration::from_millis(500);

/// Round trips that a window lasts. A connection that begins doubles its rate in each, and what is
/// asked for now leaves two later: at least three of the latest.
const ROUND_TRIPS: u32 = 4;

/// Beside them: what reading, writing and waiting for a turn take.
const BESIDE: Duration = Duration::from_millis(500);

/// The smallest window.
const WINDOW_MIN: u64 = 512 << 10;

/// The rate of a link as its payload moves.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<(Duration, u64)>,
    rate: Option<u64>,
    /// Until a rate is known of the connections that there are now.
    beginning: Beginning,
}

/// The rate while it may still double from one round trip to the next.
#[derive(Debug, Default)]
struct Beginning {
    is_over: bool,
    since: Option<(Duration, u64)>,
    highest: u64,
    /// That of the last whole span.
    before: Option<u64>,
}

impl Pace {
    /// Begins anew: there are other connections than before.
    pub(super) fn begin(&mut self) {
        self.since = None;
        self.beginning = Beginning::default();
    }

    /// Whether payload has not moved for long enough to know its rate.
    pub(super) fn is_beginning(&self) -> bool {
        !self.beginning.is_over
    }

    /// Takes what has moved so far; `is_moving` tells whether there was anything to send.
    pub(super) fn observe(
        &mut self,
        now: Duration,
        moved: u64,
        is_moving: bool,
        round_trip: Duration,
    ) {
        self.beginning.observe(now, moved, is_moving, round_trip);
        let Some((since, before)) = self.since.filter(|_| is_moving) else {
            self.since = Some((now, moved));
            return;
        };
        let span = now.saturating_sub(since);
        if span < SPAN {
            return;
        }
        self.since = Some((now, moved));
        let rate = rate(moved.saturating_sub(before), span);
        self.beginning.settle(rate);
        if moved >= KNOWN_BYTES {
            self.rate = Some(rate);
        }
    }

    /// Bytes of a block at most, over so many streams on which `most` may be on its way; nothing
    /// where the rate bears any.
    pub(super) fn block_max(&self, round_trip: Duration, streams: u64, most: u64) -> Option<u64> {
        let rate = self.rate?;
        let share = if streams > FEW_STREAMS { most / streams } else { u64::MAX };
        let of_stream = within(rate / streams.max(1), OF_A_BLOCK + round_trip * ROUND_TRIPS);
        let bears = within(rate, OF_A_BLOCK).min(of_stream).min(share).max(BlockSize::MIN.bytes());
        (bears < BlockSize::DEFAULT.bytes()).then(|| 1 << bears.ilog2())
    }

    /// Bytes on their way, where that is less than `most`; `first` of them before anything moved.
    pub(super) fn window(&self, round_trip: Duration, first: u64, most: u64) -> u64 {
        let lasts = round_trip * ROUND_TRIPS + BESIDE;
        let known = self.rate.map_or(WINDOW_MIN, |rate| within(rate, lasts).max(WINDOW_MIN));
        let begun = match &self.beginning {
            Beginning { is_over: true, .. } => 0,
            Beginning { highest, .. } => within(*highest, lasts).max(first),
        };
        known.max(begun).min(most)
    }
}

impl Beginning {
    /// Is over once the rate of a whole span no longer grows: what buffers took at first may never
    /// come again, and a connection may begin for longer than that.
    fn settle(&mut self, rate: u64) {
        self.is_over |= self.before.is_some_and(|before| rate <= before + before / 2);
        self.before = Some(rate);
    }

    fn observe(&mut self, now: Duration, moved: u64, is_moving: bool, round_trip: Duration) {
        if self.is_over {
            return;
        }
        let Some((since, before)) = self.since.filter(|_| is_moving) else {
            self.since = Some((now, moved));
            return;
        };
        let span = now.saturating_sub(since);
        if span >= SPAN_AT_FIRST.max(round_trip) {
            self.since = Some((now, moved));
            self.highest = self.highest.max(rate(moved.saturating_sub(before), span));
        }
    }
}

fn rate(bytes: u64, span: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000 / span.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn within(rate: u64, span: Duration) -> u64 {
    let bytes = u128::from(rate) * span.as_micros() / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NEAR: Duration = Duration::ZERO;

    fn after(pace: &mut Pace, second: u64, moved: u64) {
        pace.observe(Duration::from_secs(second), moved, true, NEAR);
    }

    /// A pace after ten seconds at a rate.
    fn at(rate: u64) -> Pace {
        let mut pace = Pace::default();
        (0..=10).for_each(|second| after(&mut pace, second, rate * second));
        pace
    }

    #[test]
    fn no_block_is_cut_before_the_rate_is_known() {
        let mut pace = Pace::default();
        after(&mut pace, 0, 0);
        after(&mut pace, 60, MIB - 1);
        assert_eq!(
            (pace.block_max(NEAR, 1, 8 * MIB), pace.window(NEAR, 8 * MIB, 8 * MIB)),
            (None, 8 * MIB)
        );
        assert!(pace.is_beginning());
    }

    /// Rows: E9.
    #[test]
    fn a_slow_link_gets_small_blocks_and_a_small_window() {
        let slow = at(120_000);
        assert_eq!(slow.block_max(NEAR, 1, 8 * MIB), Some(64 << 10));
        assert_eq!(slow.window(Duration::from_millis(40), 4 * MIB, 8 * MIB), WINDOW_MIN);
        let fair = at(MIB);
        assert_eq!(fair.block_max(NEAR, 1, 8 * MIB), Some(512 << 10));
        let fast = at(100 * MIB);
        assert_eq!(
            (fast.block_max(NEAR, 1, 8 * MIB), fast.window(NEAR, MIB, 8 * MIB)),
            (None, 8 * MIB)
        );
        assert!(!fast.is_beginning());
    }

    #[test]
    fn the_window_grows_faster_than_the_rate_that_it_allows() {
        for millis in [1, 10, 100, 300] {
            let round_trip = Duration::from_millis(millis);
            let (mut pace, mut landed, mut now) = (at(200_000), 2_000_000, 10);
            for _ in 0..40 {
                let window = pace.window(round_trip, 0, 64 * MIB);
                // Each block lost a packet twice, and both ends take their time.
                let rate = window * 1_000 / (3 * millis + 100);
                (landed, now) = (landed + 2 * rate, now + 2);
                pace.observe(Duration::from_secs(now), landed, true, round_trip);
            }
            assert_eq!(pace.window(round_trip, 0, 64 * MIB), 64 * MIB, "{millis} ms");
        }
    }

    /// A connection begins with ten packets and doubles them in each round trip. What is asked for
    /// now comes a round trip later, and it is looked at four times in one.
    #[test]
    fn what_is_on_its_way_grows_as_fast_as_a_connection_begins() {
        let come = |ticks: u32| {
            let whole = 14_600 * ((1_u64 << (ticks / 4)) - 1);
            whole + (14_600 << (ticks / 4)) * u64::from(ticks % 4) / 4
        };
        for millis in [10, 50, 100, 250, 600] {
            let round_trip = Duration::from_millis(millis);
            let mut pace = Pace::default();
            for tick in 0..48 {
                pace.observe(round_trip * tick / 4, come(tick), true, round_trip);
                let window = pace.window(round_trip, MIB, 64 * MIB);
                let wanted = (come(tick + 5) - come(tick)).min(64 * MIB);
                assert!(window >= wanted, "{millis} ms, {tick}: {window} of {wanted}");
            }
        }
    }

    #[test]
    fn what_buffers_took_at_first_is_no_rate() {
        let (mut pace, round_trip) = (Pace::default(), Duration::from_millis(40));
        for tick in 0..500 {
            let moved = 4 * MIB.min(u64::from(tick) * MIB) + u64::from(tick) * 1_200;
            pace.observe(Duration::from_millis(10) * tick, moved, true, round_trip);
        }
        assert!(!pace.is_beginning());
        assert_eq!(pace.window(round_trip, 4 * MIB, 8 * MIB), WINDOW_MIN);
    }

    #[test]
    fn a_connection_that_loses_packets_holds_little() {
        let (mut pace, round_trip) = (Pace::default(), Duration::from_millis(50));
        for tick in 0..40 {
            pace.observe(round_trip * tick, u64::from(tick) * 15_000, true, round_trip);
            assert_eq!(pace.window(round_trip, 4 * MIB, 25 * MIB), 4 * MIB);
        }
    }

    #[test]
    fn streams_that_are_slow_share_small_blocks() {
        let (pace, round_trip) = (at(7_000_000), Duration::from_millis(50));
        let blocks = [1, 5, 16, 64].map(|streams| pace.block_max(round_trip, streams, 25 * MIB));
        assert_eq!(blocks, [None, Some(512 << 10), Some(256 << 10), Some(64 << 10)]);
        assert_eq!(at(25_000_000).block_max(round_trip, 16, 25 * MIB), None);
        let fast = [16, 17, 64].map(|streams| at(MIB << 10).block_max(NEAR, streams, 8 * MIB));
        assert_eq!(fast, [None, Some(256 << 10), Some(128 << 10)]);
    }

    #[test]
    fn other_connections_begin_anew() {
        let (mut pace, round_trip) = (at(200_000), Duration::from_millis(50));
        assert_eq!(pace.window(round_trip, 6 * MIB, 25 * MIB), WINDOW_MIN);
        pace.begin();
        assert_eq!(pace.window(round_trip, 6 * MIB, 25 * MIB), 6 * MIB);
        assert_eq!(pace.block_max(NEAR, 1, 8 * MIB), Some(64 << 10));
    }

    #[test]
    fn a_pause_of_the_sender_is_no_slow_link() {
        let mut pace = at(100 * MIB);
        let landed = 1000 * MIB;
        for (second, is_moving) in [(11, false), (60, false), (61, true)] {
            pace.observe(Duration::from_secs(second), landed, is_moving, NEAR);
        }
        assert_eq!(pace.block_max(NEAR, 1, 8 * MIB), None);
    }
}
