//! What is known of the path, and how much may be in flight on it
//!
//! The path delivers at some rate and takes some time when nothing waits in its queue; their
//! product is what fills it. Both are measured from acknowledgements alone, so a lost packet costs
//! itself and no more. The window stays near that product: it probes above it for one round in
//! several, lets the queue run empty after each probe, and follows the round trip upwards only as
//! far as others fill the queue.

use std::time::Duration;

use super::delivery::{Delivery, Sample};
use super::highest::Highest;
use super::phase::Phase;
use super::rate::{Rate, percent};
use super::round::Round;
use super::surplus::Surplus;

/// Rounds for which the highest delivery rate counts: longer than a whole cycle of probing, so
/// that the rate reached by a probe is held until the next.
const RATE_ROUNDS: u64 = 10;

/// Rounds for which the largest clump of acknowledgements counts.
const SURPLUS_ROUNDS: u64 = 10;

/// How long the shortest round trip counts before it is measured anew.
pub(super) const SHORTEST_HOLDS: Duration = Duration::from_secs(10);

/// Packets in flight before anything is known of the path; paced over the handshake's round trip.
const INITIAL_PACKETS: u64 = 32;

/// Packets that may always be in flight, so that acknowledgements keep coming.
const LEAST_PACKETS: u64 = 4;

/// While the rate is being found, the window is at most this many times what it proved.
const GROWTH: u64 = 3;

/// Late batches on end that show a queue: one alone may have waited for a processor.
const LATE: u32 = 8;

/// Hundredths that a raise adds to the window, and the least where more overran the queue.
const RAISE: u64 = 25;
const LEAST_RAISE: u64 = 5;

/// The shortest time for which a path is kept full. On a shorter one what acknowledgements are held
/// back for, and threads wait for a processor, is most of the round trip, and would set the rate.
const SPAN_MIN: Duration = Duration::from_millis(5);

/// The least round trip that tells of a longer way: one that began shorter takes as long while
/// threads are busy, and does not set the window there.
const FAR_MIN: Duration = Duration::from_millis(20);

/// Hundredths of what others make the queue longer by which the window follows.
const FOLLOWED: u32 = 75;

/// The path, as its acknowledgements show it
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) mtu: u64,
    delivery: Delivery,
    rate: Highest<Rate>,
    /// Rounds in which the window was not held low to measure the round trip
    rate_rounds: u64,
    surplus: Surplus,
    shortest: Option<Duration>,
    pub(super) shortest_at: Duration,
    pub(super) round: Round,
    /// The shortest round trip of the last whole round: what the queue takes now
    recent: Option<Duration>,
    /// Rounds on end whose shortest round trip was over twice the shortest of all, and no little
    pub(super) far_rounds: u64,
    /// Batches of acknowledgements on end that came later than the shortest round trip allows
    late: u32,
    /// The most that may be in flight after too much was lost
    bound: Option<u64>,
    /// Hundredths that a raise adds
    raise: u64,
    pub(super) in_flight: u64,
    phase: Phase,
    window: u64,
}

impl Model {
    pub(super) fn new(mtu: u64) -> Self {
        Self {
            mtu,
            delivery: Delivery::default(),
            rate: Highest::over(RATE_ROUNDS),
            rate_rounds: 0,
            surplus: Surplus::over(SURPLUS_ROUNDS),
            shortest: None,
            shortest_at: Duration::ZERO,
            round: Round::default(),
            recent: None,
            far_rounds: 0,
            late: 0,
            bound: None,
            raise: RAISE,
            in_flight: 0,
            phase: Phase::startup(),
            window: INITIAL_PACKETS * mtu,
        }
    }

    /// Bytes that may be in flight
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// The rate that the path is believed to deliver
    pub(super) fn rate(&self) -> Rate {
        self.rate.best()
    }

    pub(super) fn initial_window(&self) -> u64 {
        INITIAL_PACKETS * self.mtu
    }

    fn least_window(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }

    /// Packets of these many bytes left
    pub(super) fn departed(&mut self, now: Duration, bytes: u64) {
        self.delivery.departed(now, self.in_flight);
        self.in_flight += bytes;
        self.round.most = self.round.most.max(self.in_flight);
    }

    /// One packet was acknowledged; [`Self::acknowledged`] completes the batch
    pub(super) fn packet(&mut self, sent: Duration, bytes: u64) {
        self.delivery.acknowledged(sent, bytes);
    }

    /// All packets of one acknowledgement were given; `in_flight` bytes are still out
    pub(super) fn acknowledged(&mut self, now: Duration, in_flight: u64, limited: bool) {
        self.in_flight = in_flight;
        let Some(sample) = self.delivery.sample(now, in_flight, limited) else { return };
        self.round.delivered += sample.bytes;
        self.observe_round_trip(now, sample.rtt);
        self.observe_rate(now, sample);
        let ended = sample.known >= self.round.ends_at;
        let ended = ended.then(|| self.end_round());
        let phase = self.phase;
        self.phase = phase.after(self, now, ended, sample.limited);
        self.window = self.wanted(sample.bytes);
    }

    /// Packets were lost; `persistent` says that nothing else arrived for several round trips
    pub(super) fn lost(&mut self, bytes: u64, persistent: bool) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.round.lost += bytes;
        if persistent {
            // The path that was measured may be gone: find out from the beginning.
            self.rate.restart(self.rate_rounds, Rate::default());
            self.phase = Phase::startup();
            self.window = self.initial_window();
        }
    }

    /// The network marked packets where it would have dropped them: its queue is filling
    pub(super) fn marked(&mut self) {
        self.phase = self.phase.after_mark();
    }

    fn observe_round_trip(&mut self, now: Duration, rtt: Duration) {
        self.round.shortest = Some(self.round.shortest.map_or(rtt, |shortest| shortest.min(rtt)));
        let shortest = self.shortest.unwrap_or(rtt);
        // Nearly as short as ever: the queue was empty, whatever a thread's delay added.
        if rtt <= shortest + shortest / 32 + Duration::from_micros(250) {
            self.shortest_at = now;
        }
        self.late = if rtt > shortest + slack(shortest) { self.late + 1 } else { 0 };
        self.shortest = Some(shortest.min(rtt));
    }

    /// The shortest round trip was measured anew
    pub(super) fn renew_shortest(&mut self, now: Duration) {
        self.far_rounds = 0;
        self.shortest = self.recent.or(self.shortest);
        self.shortest_at = now;
    }

    fn observe_rate(&mut self, now: Duration, sample: Sample) {
        if let Some(rate) = sample.rate {
            let low = sample.limited || matches!(self.phase, Phase::Measure { .. });
            if !low || rate >= self.rate.best() {
                self.rate.saw(self.rate_rounds, rate);
            }
            self.round.best = self.round.best.max(rate);
        }
        self.surplus.saw(now, self.round.count, sample.bytes, self.rate.best());
    }

    /// Closes the round and says what it was like
    fn end_round(&mut self) -> Round {
        let round = self.round;
        self.recent = round.shortest;
        let far = self
            .shortest
            .zip(round.shortest)
            .is_some_and(|(all, here)| here > FAR_MIN.max(2 * all));
        self.far_rounds = if far { self.far_rounds + 1 } else { 0 };
        self.rate_rounds += u64::from(!matches!(self.phase, Phase::Measure { .. }));
        if round.excess(self.mtu) {
            let lowered = self.rate.best().percent(70).max(round.best);
            self.rate.restart(self.rate_rounds, lowered);
            self.bound = Some(percent(self.window, 85));
        } else {
            let grown = self.bound.map(|bound| percent(bound, 105));
            self.bound = grown.filter(|bound| *bound < 2 * self.product());
        }
        self.round = Round {
            count: round.count + 1,
            ends_at: self.delivery.total(),
            most: self.in_flight,
            ..Round::default()
        };
        round
    }

    /// A raise is over: the next one is smaller if this one overran the queue
    pub(super) fn raised(&mut self, overran: bool) {
        self.raise =
            if overran { self.raise / 2 } else { self.raise * 2 }.clamp(LEAST_RAISE, RAISE);
    }

    /// What fills the path when its queue is empty
    pub(super) fn product(&self) -> u64 {
        let span = self.shortest.unwrap_or_default().max(SPAN_MIN);
        self.rate.best().within(span).max(self.least_window())
    }

    /// Whether a round's packets waited in the queue
    pub(super) fn queued(&self, round: &Round) -> bool {
        let shortest = self.shortest.unwrap_or_default();
        round.shortest.is_some_and(|rtt| rtt > shortest + slack(shortest))
    }

    /// What keeps the path full at the rate that was measured, beside those who fill its queue
    fn filling(&self) -> u64 {
        let shortest = self.shortest.unwrap_or_default();
        let recent = self.recent.unwrap_or(shortest).saturating_sub(slack(shortest));
        let queue = recent.saturating_sub(shortest).min(shortest);
        let span = (shortest + queue * FOLLOWED / 100).max(SPAN_MIN);
        self.rate.best().within(span).max(self.least_window())
    }

    /// A thread's wait for a processor, and what the far side holds acknowledgements back for, are
    /// no longer than this; more would only stand in the queue.
    fn longest_clump(&self) -> Duration {
        let share = self.shortest.unwrap_or_default() / 4;
        share.clamp(Duration::from_millis(3), Duration::from_millis(10))
    }

    fn wanted(&self, acknowledged: u64) -> u64 {
        if self.rate.best() == Rate::default() {
            return self.window.max(self.initial_window());
        }
        let product = self.product();
        let clump = self.surplus.largest().min(self.rate().within(self.longest_clump()));
        let wanted = match self.phase {
            // A queue that begins to form is seen a round trip late: enough is in flight.
            Phase::Startup { .. } if self.late >= LATE => {
                self.window.min(2 * (product + clump)).max(self.initial_window())
            }
            Phase::Startup { .. } => {
                self.window.max((self.window + acknowledged).min(GROWTH * (product + clump)))
            }
            Phase::Drain => product + clump,
            Phase::Raise { .. } => percent(self.filling() + clump, 100 + self.raise),
            Phase::Cruise { .. } => self.filling() + clump,
            Phase::Measure { .. } => product / 8,
        };
        wanted.min(self.bound.unwrap_or(u64::MAX)).max(self.least_window())
    }

    /// Bytes acknowledged so far
    pub(super) fn delivered(&self) -> u64 {
        self.delivery.total()
    }
}

/// A longer round trip than the shortest by less than this is not taken for a queue
fn slack(shortest: Duration) -> Duration {
    shortest / 8 + Duration::from_millis(1)
}
