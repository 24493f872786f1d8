//! How many streams or logins a route uses: as many as make it faster, and no more.
//!
//! Pure: it is told what has moved, and tells what to do. The rate of what there is is taken until
//! it stays; then there are twice as many, or another multiple, for as long as that makes it faster
//! by 15 per cent. What did not is taken back, and tried again after a pause that grows, or when
//! the rate falls.

use std::time::Duration;

/// The shortest time over which a rate is taken.
const INTERVAL_MIN: Duration = Duration::from_millis(1500);

/// Round trips of that time at least.
const INTERVAL_ROUND_TRIPS: u32 = 4;

/// The shortest time that further streams are given to find their rate.
const SETTLE_MIN: Duration = Duration::from_millis(500);

/// Round trips of that time at least: a stream doubles its rate in each.
const SETTLE_ROUND_TRIPS: u32 = 8;

/// Intervals after which a rate is taken as it is, though it still grows.
const GROWS_AT_MOST: u32 = 6;

/// The pause after more streams were no faster; it doubles.
const HOLD: Duration = Duration::from_secs(30);

/// The longest such pause.
const HOLD_MAX: Duration = Duration::from_secs(600);

/// A rate at which processors are the limit and not the link, in bytes a second.
const FAST: u64 = 300_000_000;

/// Decides for one route.
#[derive(Clone, Debug)]
pub(super) struct Tuner {
    streams: usize,
    most: usize,
    factor: usize,
    interval: Duration,
    settle: Duration,
    phase: Phase,
    /// When the interval under way began, and what had moved by then.
    since: Option<(Duration, u64)>,
    /// None begins before this.
    not_before: Duration,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The rate of what there is, interval by interval.
    Growing { last: u64, intervals: u32 },
    /// More streams than gave the rate before.
    Trying { before: usize, rate: u64 },
    /// What there is is enough.
    Holding { rate: u64, until: Duration, below: u32 },
}

/// What is to be done, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Streams until now.
    pub(super) from: usize,
    /// Streams from now on.
    pub(super) to: usize,
    /// Bytes a second until now.
    pub(super) rate: u64,
}

impl Step {
    /// What is done and why, for the user; of streams, or what else there are more of.
    pub(super) fn told(self, of: &str) -> String {
        let Self { from, to, rate } = self;
        let tenths = rate / 100_000;
        let rate = format!("{}.{} MB/s", tenths / 10, tenths % 10);
        if to > from {
            format!("from {from} to {to} {of}: {from} carry {rate}, more may carry more")
        } else {
            format!("from {from} back to {to} {of}: {from} carry {rate}, which is no faster")
        }
    }
}

impl Tuner {
    /// Begins with so many streams, of which there may be `most`.
    pub(super) fn new(streams: usize, most: usize, round_trip: Duration) -> Self {
        Self {
            streams,
            most,
            factor: 2,
            interval: INTERVAL_MIN.max(round_trip * INTERVAL_ROUND_TRIPS),
            settle: SETTLE_MIN.max(round_trip * SETTLE_ROUND_TRIPS),
            phase: Phase::Growing { last: 0, intervals: 0 },
            since: None,
            not_before: Duration::ZERO,
            pause: HOLD,
        }
    }

    /// Has each step make so many of one, and the first rate be taken for what there is: the
    /// streams have been there for a while.
    pub(super) fn stepping_by(self, factor: usize) -> Self {
        Self { factor, phase: Phase::Growing { last: u64::MAX, intervals: 0 }, ..self }
    }

    /// Takes what has moved by now; `is_busy` tells whether there was anything to move.
    pub(super) fn sample(&mut self, now: Duration, moved: u64, is_busy: bool) -> Option<Step> {
        if !is_busy || now < self.not_before {
            self.since = None;
            return None;
        }
        let Some((since, before)) = self.since else {
            self.since = Some((now, moved));
            return None;
        };
        let span = now.saturating_sub(since);
        if span < self.interval {
            return None;
        }
        self.since = Some((now, moved));
        let rate = u128::from(moved.saturating_sub(before)) * 1_000_000 / span.as_micros().max(1);
        self.weigh(now, u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Streams that came about may be fewer than were decided, and late.
    pub(super) fn has(&mut self, streams: usize, now: Duration) {
        self.streams = streams;
        self.not_before = now.saturating_add(self.settle);
        self.since = None;
    }

    /// The streams that were found to be enough, and their bytes a second.
    pub(super) fn found(&self) -> Option<(usize, u64)> {
        match self.phase {
            Phase::Holding { rate, .. } => Some((self.streams, rate)),
            Phase::Growing { .. } | Phase::Trying { .. } => None,
        }
    }

    fn weigh(&mut self, now: Duration, rate: u64) -> Option<Step> {
        match self.phase {
            Phase::Growing { last, intervals } => {
                if is_faster(rate, last) && intervals < GROWS_AT_MOST {
                    self.phase = Phase::Growing { last: rate, intervals: intervals + 1 };
                    return None;
                }
                self.climb(now, rate)
            }
            Phase::Trying { rate: last, .. } if is_faster(rate, last) => {
                self.pause = HOLD;
                self.climb(now, rate)
            }
            Phase::Trying { before, rate: last } => {
                self.hold(now, last);
                Some(self.step(before, rate, now))
            }
            Phase::Holding { rate: usual, until, below } => {
                let below = if rate < usual / 10 * 7 { below + 1 } else { 0 };
                if below >= 2 || now >= until {
                    // The link is another one now, or may be.
                    self.phase = Phase::Growing { last: rate, intervals: 0 };
                } else {
                    let usual = if below == 0 { usual / 4 * 3 + rate / 4 } else { usual };
                    self.phase = Phase::Holding { rate: usual, until, below };
                }
                None
            }
        }
    }

    /// Tries more, where there may be more and the link is not faster than what moves the bytes.
    fn climb(&mut self, now: Duration, rate: u64) -> Option<Step> {
        let next = self.streams.saturating_mul(self.factor).min(self.most);
        if next <= self.streams || rate >= FAST {
            self.hold(now, rate);
            return None;
        }
        self.phase = Phase::Trying { before: self.streams, rate };
        Some(self.step(next, rate, now))
    }

    fn hold(&mut self, now: Duration, rate: u64) {
        self.phase = Phase::Holding { rate, until: now.saturating_add(self.pause), below: 0 };
        self.pause = (self.pause * 2).min(HOLD_MAX);
    }

    fn step(&mut self, to: usize, rate: u64, now: Duration) -> Step {
        let from = self.streams;
        self.has(to, now);
        Step { from, to, rate }
    }
}

/// By 15 per cent: less is what buffers that fill, and any link by itself, can do.
fn is_faster(rate: u64, than: u64) -> bool {
    rate > than.saturating_add(than / 20 * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    /// A link whose streams reach a rate of their own and share what it carries.
    #[derive(Clone, Copy)]
    struct Link {
        each: u64,
        all: u64,
        /// What every stream beyond this many costs the others, in per cent.
        crowd: usize,
        /// Per cent by which the rate swings from one interval to the next.
        swings: u64,
    }

    impl Link {
        fn rate(self, streams: usize, tick: u64) -> u64 {
            let beyond = streams.saturating_sub(self.crowd).min(90) as u64;
            let rate = (self.each * streams as u64).min(self.all) * (100 - beyond) / 100;
            let swing = rate * self.swings / 100;
            rate - swing * (tick / 4 % 2)
        }
    }

    /// Steps of a tuner over a link, with the time of each in seconds; the link may change.
    fn run(
        mut tuner: Tuner,
        seconds: u64,
        link: impl Fn(u64) -> Link,
    ) -> (Vec<(u64, Step)>, Tuner) {
        let (mut steps, mut moved) = (Vec::new(), 0);
        for tick in 0..seconds * 4 {
            moved += link(tick / 4).rate(tuner.streams, tick) / 4;
            let now = Duration::from_millis((tick + 1) * 250);
            if let Some(step) = tuner.sample(now, moved, true) {
                steps.push((tick / 4, step));
            }
        }
        (steps, tuner)
    }

    fn tuner(streams: usize) -> Tuner {
        Tuner::new(streams, 32, Duration::from_millis(50))
    }

    const PLAIN: Link = Link { each: 0, all: 0, crowd: 99, swings: 0 };

    #[test]
    fn it_climbs_as_far_as_that_makes_it_faster() {
        for (start, each, all, crowd, ends) in [
            // One stream fills the link, or several that there are do.
            (2, 50, 50, 99, 2),
            (8, 20, 100, 99, 8),
            // Each is bound by loss, and the link is far from full.
            (8, 1, 1000, 99, 32),
            (1, 1, 1000, 99, 32),
            // Four fill it; eight are not faster than four.
            (1, 25, 100, 99, 4),
            (2, 30, 100, 99, 4),
            // More would do harm.
            (4, 10, 100, 4, 8),
            (8, 10, 80, 8, 8),
        ] {
            let link = Link { each: each * MB, all: all * MB, crowd, ..PLAIN };
            let (steps, tuner) = run(tuner(start), 29, |_| link);
            assert_eq!(tuner.streams, ends, "{start} of {each} in {all}: {steps:?}");
            assert_eq!(tuner.found().map(|(streams, _)| streams), Some(ends));
            let last = steps.last().map_or(0, |(at, _)| *at);
            assert!(last < 20, "{steps:?}");
        }
    }

    #[test]
    fn it_finds_the_best_within_a_tenth_wherever_it_starts() {
        for each in [1, 3, 10, 40, 250] {
            for start in [1, 2, 4, 8, 16] {
                let link = Link { each: each * MB, all: 250 * MB, crowd: 24, ..PLAIN };
                let (steps, tuner) = run(tuner(start), 29, |_| link);
                let best = (0..6).map(|n| link.rate(1 << n, 0)).max().unwrap();
                let rate = link.rate(tuner.streams, 0);
                assert!(rate * 10 >= best * 9, "{start} of {each}: {rate} of {best}, {steps:?}");
            }
        }
    }

    #[test]
    fn what_swings_is_not_climbed_for_ever() {
        let link = Link { each: 60 * MB, all: 60 * MB, swings: 8, ..PLAIN };
        let (steps, tuner) = run(tuner(8), 600, |_| link);
        assert_eq!(tuner.streams, 8);
        // One try and its end, after each pause: 30, 60, 120, 240 s.
        assert!(steps.len() <= 10, "{steps:?}");
    }

    #[test]
    fn a_link_that_changes_is_looked_at_again() {
        let lossy = Link { each: MB, all: 100 * MB, ..PLAIN };
        let clean = Link { each: 100 * MB, all: 100 * MB, ..PLAIN };
        let (steps, tuner) = run(tuner(8), 60, |second| if second < 20 { clean } else { lossy });
        assert_eq!(tuner.streams, 32, "{steps:?}");
        assert!(steps.iter().any(|(at, step)| *at < 20 && step.to == 8), "{steps:?}");
    }

    #[test]
    fn a_rate_that_only_processors_bound_is_left_alone() {
        let link = Link { each: 400 * MB, all: 800 * MB, ..PLAIN };
        let (steps, tuner) = run(tuner(2), 60, |_| link);
        assert_eq!((steps.len(), tuner.streams), (0, 2));
    }

    #[test]
    fn a_pause_of_the_sender_tells_nothing() {
        let mut tuner = tuner(8);
        for second in 0..100 {
            let now = Duration::from_secs(second);
            assert_eq!(tuner.sample(now, second * MB, second % 2 == 0), None);
        }
        assert_eq!(tuner.found(), None);
    }

    #[test]
    fn streams_that_did_not_come_about_are_not_counted_on() {
        let mut tuner = tuner(8);
        let step = (1..)
            .find_map(|second| tuner.sample(Duration::from_secs(second), second * 20 * MB, true));
        assert_eq!(step, Some(Step { from: 8, to: 16, rate: 20 * MB }));
        tuner.has(9, Duration::from_secs(10));
        assert_eq!(tuner.sample(Duration::from_millis(10_300), 500 * MB, true), None);
        assert_eq!(tuner.since, None, "still finding their rate");
        assert_eq!(tuner.streams, 9);
    }
}
