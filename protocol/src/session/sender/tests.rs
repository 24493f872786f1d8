//! Flight control on a virtual clock: single situations first, then whole transfers over a network
//! that delays, loses, repeats and cuts off by a seed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const WIDE: FlightLimits = FlightLimits { units: 1000, bytes: u64::MAX };
const NEVER: Duration = Duration::from_secs(300);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn sender(limits: FlightLimits, streams: u32, units: u64) -> Sender {
    let mut sender = Sender::new(limits, RetryPolicy::default(), 1);
    (0..streams).for_each(|s| sender.stream_opened(StreamId(s)));
    (0..units).for_each(|u| sender.offer(UnitId(u), MIB));
    sender
}

fn departures(sender: &mut Sender, now: Duration) -> Vec<(u64, u32)> {
    std::iter::from_fn(|| match sender.next(now) {
        Next::Send { unit, stream } => Some((unit.0, stream.0)),
        _ => None,
    })
    .collect()
}

#[test]
fn units_go_in_order_to_the_lightest_stream_within_both_limits() {
    let mut units = sender(FlightLimits { units: 3, bytes: u64::MAX }, 2, 5);
    assert_eq!(departures(&mut units, at(0)), [(0, 0), (1, 1), (2, 0)]);
    assert_eq!(units.landed(UnitId(0), StreamId(0), at(1)), Landed::First);
    assert_eq!(units.landed(UnitId(2), StreamId(0), at(1)), Landed::First);
    assert_eq!(departures(&mut units, at(1)), [(3, 0), (4, 0)]);

    let mut bytes = sender(FlightLimits { units: 9, bytes: 2 * MIB + 1 }, 1, 5);
    assert_eq!(departures(&mut bytes, at(0)), [(0, 0), (1, 0)]);
    bytes.set_limits(FlightLimits { units: 9, bytes: 4 * MIB });
    assert_eq!(departures(&mut bytes, at(0)), [(2, 0), (3, 0)]);
    assert_eq!((bytes.units_in_flight(), bytes.bytes_in_flight()), (4, 4 * MIB));
}

#[test]
fn a_unit_above_the_window_goes_alone() {
    let mut sender = sender(FlightLimits { units: 9, bytes: MIB - 1 }, 1, 2);
    assert_eq!(departures(&mut sender, at(0)), [(0, 0)]);
    sender.landed(UnitId(0), StreamId(0), at(1));
    assert_eq!(departures(&mut sender, at(1)), [(1, 0)]);
}

/// What was asked of others cannot come to it.
#[test]
fn a_stream_without_any_gets_one_whatever_the_window_holds() {
    let mut sender = sender(FlightLimits { units: 9, bytes: 2 * MIB }, 1, 9);
    assert_eq!(departures(&mut sender, at(0)), [(0, 0), (1, 0)]);
    sender.stream_opened(StreamId(1));
    sender.stream_opened(StreamId(2));
    assert_eq!(departures(&mut sender, at(0)), [(2, 1), (3, 2)]);
    sender.landed(UnitId(3), StreamId(2), at(1));
    assert_eq!(departures(&mut sender, at(1)), [(4, 2)]);
    sender.landed(UnitId(0), StreamId(0), at(1));
    assert_eq!(departures(&mut sender, at(1)), [], "it has one, and the window is full");
}

#[test]
fn idle_wait_and_done_are_told_apart() {
    let mut sender = sender(WIDE, 1, 0);
    assert_eq!(sender.next(at(0)), Next::Idle);
    assert_eq!(sender.next(NEVER), Next::Idle, "idling is no silence");
    sender.offer(UnitId(1), MIB);
    assert_eq!(departures(&mut sender, NEVER), [(1, 0)]);
    let stall = NEVER + RetryPolicy::default().stall;
    assert_eq!(sender.next(NEVER), Next::WaitUntil(stall));
    sender.finish();
    assert_eq!(sender.next(NEVER), Next::WaitUntil(stall));
    assert_eq!(sender.landed(UnitId(1), StreamId(0), NEVER), Landed::First);
    assert_eq!(sender.landed(UnitId(1), StreamId(0), NEVER), Landed::Duplicate);
    assert_eq!(sender.landed(UnitId(7), StreamId(0), NEVER), Landed::Duplicate);
    assert_eq!(sender.next(NEVER), Next::Done);
    assert_eq!((sender.sent_bytes(), sender.landed_bytes()), (MIB, MIB));
}

#[test]
fn a_lost_stream_costs_no_attempt_and_its_units_go_first() {
    let mut sender = sender(FlightLimits { units: 4, bytes: u64::MAX }, 2, 6);
    assert_eq!(departures(&mut sender, at(0)), [(0, 0), (1, 1), (2, 0), (3, 1)]);
    sender.stream_lost(StreamId(0));
    assert_eq!(departures(&mut sender, at(1)), [(0, 1), (2, 1)]);
    sender.stream_lost(StreamId(1));
    assert_eq!(departures(&mut sender, at(1)), []);
    assert_eq!(sender.next(at(1)), Next::WaitUntil(NEVER));
    sender.stream_opened(StreamId(2));
    assert_eq!(departures(&mut sender, at(1)), [(1, 2), (3, 2), (0, 2), (2, 2)]);
}

#[test]
fn a_stalled_stream_hands_its_work_over_and_rests_until_it_lives() {
    let mut sender = sender(WIDE, 2, 4);
    departures(&mut sender, at(0));
    assert_eq!(sender.landed(UnitId(1), StreamId(1), at(14)), Landed::First);
    assert_eq!(sender.timeouts(at(14)), []);
    assert_eq!(sender.timeouts(at(15)), [StreamId(0)]);
    assert_eq!(sender.timeouts(at(15)), [], "told once");
    assert_eq!(departures(&mut sender, at(15)), [(0, 1), (2, 1)]);
    assert_eq!(sender.landed(UnitId(0), StreamId(0), at(16)), Landed::First, "late, but the first");
    assert_eq!(sender.landed(UnitId(0), StreamId(1), at(16)), Landed::Duplicate);
    sender.offer(UnitId(9), MIB);
    assert_eq!(departures(&mut sender, at(16)), [(9, 0)], "it lives again");
}

#[test]
fn where_every_stream_stalls_the_transfer_gives_up() {
    let mut sender = sender(WIDE, 2, 4);
    departures(&mut sender, at(0));
    assert_eq!(sender.timeouts(at(15)), [StreamId(0), StreamId(1)]);
    assert_eq!(departures(&mut sender, at(15)), []);
    assert_eq!(sender.next(at(15)), Next::WaitUntil(NEVER));
    assert_eq!(sender.next(NEVER - at(1)), Next::WaitUntil(NEVER));
    assert_eq!(sender.next(NEVER), Next::GiveUp);
    assert_eq!(sender.next(NEVER), Next::GiveUp);
    assert_eq!(sender.landed(UnitId(0), StreamId(0), NEVER), Landed::First);
    assert!(matches!(sender.next(NEVER), Next::Send { .. }), "something landed after all");
}

#[test]
fn a_slow_stream_is_no_stalled_one_but_a_trickle_is() {
    let mut sender = sender(WIDE, 1, 1);
    departures(&mut sender, at(0));
    for second in 1..400 {
        sender.moved(StreamId(0), 4096, at(second));
        assert_eq!(sender.timeouts(at(second)), []);
        assert!(matches!(sender.next(at(second)), Next::WaitUntil(_)));
    }
    for second in 400..411 {
        sender.moved(StreamId(0), 1, at(second));
        assert_eq!(sender.timeouts(at(second)), []);
    }
    assert_eq!(sender.timeouts(at(411)), [StreamId(0)]);
}

#[test]
fn a_unit_that_fails_waits_longer_each_time_and_then_no_more() {
    let policy = RetryPolicy::default();
    let mut sender = sender(WIDE, 1, 1);
    let (unit, stream) = (UnitId(0), StreamId(0));
    let mut now = at(0);
    for attempt in 1..policy.attempts {
        assert_eq!(departures(&mut sender, now), [(0, 0)]);
        let after = sender.failed(unit, stream, now, Failure::Retry);
        let AfterFailure::Again(until) = after else { panic!("{after:?}") };
        assert!(until <= now + policy.backoff_min * (1 << (attempt - 1)));
        assert_eq!(sender.failed(unit, stream, now, Failure::Retry), AfterFailure::Stale);
        if let Some(before) = until.checked_sub(Duration::from_nanos(1)).filter(|b| *b >= now) {
            assert_eq!(sender.next(before), Next::WaitUntil(until));
        }
        now = until;
    }
    assert_eq!(departures(&mut sender, now), [(0, 0)]);
    assert_eq!(sender.failed(unit, stream, now, Failure::Retry), AfterFailure::GivenUp);
    assert_eq!(sender.failed(unit, stream, now, Failure::Retry), AfterFailure::Stale);
    assert_eq!(sender.next(now), Next::Idle);
}

#[test]
fn a_final_failure_ends_a_unit_wherever_it_is() {
    let mut sender = sender(WIDE, 2, 3);
    departures(&mut sender, at(0));
    let retry = sender.failed(UnitId(1), StreamId(1), at(0), Failure::Retry);
    assert!(matches!(retry, AfterFailure::Again(_)));
    sender.timeouts(at(15));
    for unit in 0..3 {
        let after = sender.failed(UnitId(unit), StreamId(1), at(15), Failure::Final);
        assert_eq!(after, AfterFailure::GivenUp);
    }
    assert_eq!(
        (sender.units_left(), sender.units_in_flight(), sender.bytes_in_flight()),
        (0, 0, 0)
    );
    assert_eq!(sender.next(at(15)), Next::Idle);
}

#[test]
fn a_unit_that_takes_every_stream_down_is_abandoned() {
    let moves = RetryPolicy::default().moves;
    let mut sender = sender(WIDE, 0, 2);
    for stream in 0..=moves {
        sender.stream_opened(StreamId(stream));
        assert_eq!(departures(&mut sender, at(0)).len(), 2);
        sender.landed(UnitId(1), StreamId(stream), at(0));
        sender.offer(UnitId(1), MIB);
        sender.stream_lost(StreamId(stream));
    }
    assert_eq!(sender.next(at(0)), Next::Abandon(UnitId(0)));
    assert_eq!(sender.next(at(0)), Next::WaitUntil(NEVER));
    assert_eq!(sender.units_left(), 1);
}

/// What the network does with one departure.
#[derive(Clone, Copy, Debug)]
enum Event {
    Cut(StreamId),
    Fail(UnitId, StreamId),
    Land(UnitId, StreamId),
}

/// A network of streams that live, stall and die by a seed.
struct Network {
    seed: u64,
    loss: u64,
    events: BTreeMap<(Duration, u64), Event>,
    dead: Vec<StreamId>,
    count: u64,
}

impl Network {
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    fn after(&mut self, now: Duration, event: Event) {
        self.count += 1;
        let delay = Duration::from_millis(1 + self.random(4000));
        self.events.insert((now + delay, self.count), event);
    }

    fn carry(&mut self, unit: UnitId, stream: StreamId, now: Duration) {
        if self.random(100) >= self.loss {
            self.after(now, Event::Land(unit, stream));
            return;
        }
        match self.random(4) {
            0 => {}
            1 => self.after(now, Event::Cut(stream)),
            2 => self.after(now, Event::Fail(unit, stream)),
            _ => (0..2).for_each(|_| self.after(now, Event::Land(unit, stream))),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Story {
    landed: BTreeMap<u64, u32>,
    failed: BTreeMap<u64, u32>,
    gave_up: bool,
    end: Duration,
    sent: u64,
}

/// A transfer on a network, and what has become of it.
struct Play {
    sender: Sender,
    network: Network,
    streams: u32,
    story: Story,
}

impl Play {
    /// Runs a whole transfer; a lost or stalled stream is replaced.
    fn run(seed: u64, loss: u64, units: u64, limits: FlightLimits) -> Story {
        let network = Network { seed, loss, events: BTreeMap::new(), dead: Vec::new(), count: 0 };
        let sender = sender(limits, 4, units);
        let mut play = Self { sender, network, streams: 4, story: Story::default() };
        play.sender.finish();
        let mut now = at(0);
        loop {
            for stalled in play.sender.timeouts(now) {
                play.replace(stalled);
            }
            match play.sender.next(now) {
                Next::Abandon(unit) => play.fails(unit),
                Next::Idle => unreachable!("all was offered"),
                Next::Send { unit, stream } => {
                    assert!(play.sender.units_in_flight() <= limits.units);
                    assert!(play.sender.bytes_in_flight() <= limits.bytes);
                    assert!(!play.network.dead.contains(&stream));
                    play.network.carry(unit, stream, now);
                }
                Next::WaitUntil(until) => {
                    assert!(until > now);
                    let events = &mut play.network.events;
                    match events.first_entry().filter(|event| event.key().0 < until) {
                        None => now = until,
                        Some(event) => {
                            now = event.key().0;
                            let event = event.remove();
                            play.happens(event, now);
                        }
                    }
                }
                end => {
                    let (sent, gave_up) = (play.sender.sent_bytes(), end == Next::GiveUp);
                    return Story { end: now, sent, gave_up, ..play.story };
                }
            }
        }
    }

    fn happens(&mut self, event: Event, now: Duration) {
        match event {
            Event::Land(unit, stream) => {
                if self.sender.landed(unit, stream, now) == Landed::First {
                    *self.story.landed.entry(unit.0).or_default() += 1;
                }
            }
            Event::Fail(unit, stream) => {
                let after = self.sender.failed(unit, stream, now, Failure::Retry);
                if after == AfterFailure::GivenUp {
                    self.fails(unit);
                }
            }
            Event::Cut(stream) if !self.network.dead.contains(&stream) => self.replace(stream),
            Event::Cut(_) => {}
        }
    }

    fn fails(&mut self, unit: UnitId) {
        *self.story.failed.entry(unit.0).or_default() += 1;
    }

    fn replace(&mut self, lost: StreamId) {
        self.network.dead.push(lost);
        self.sender.stream_lost(lost);
        self.sender.stream_opened(StreamId(self.streams));
        self.streams += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_unit_ends_exactly_once(
        seed in 1_u64..u64::MAX, loss in 0_u64..90, units in 1_u64..60, window in 1_usize..20,
    ) {
        let limits = FlightLimits { units: window, bytes: 13 * MIB };
        let story = Play::run(seed, loss, units, limits);
        prop_assert!(!story.gave_up, "something always lands here: {story:?}");
        for unit in 0..units {
            let landed = story.landed.get(&unit).unwrap_or(&0);
            let failed = story.failed.get(&unit).unwrap_or(&0);
            prop_assert_eq!(landed + failed, 1, "unit {}", unit);
        }
        if loss < 30 {
            prop_assert!(story.failed.is_empty(), "{:?}", story);
        }
        if loss == 0 {
            prop_assert_eq!(story.sent, units * MIB);
        }
        let again = Play::run(seed, loss, units, limits);
        prop_assert_eq!(again, story, "the same seed, the same story");
    }
}

#[test]
fn where_nothing_ever_lands_it_gives_up_on_time() {
    let limits = FlightLimits { units: 4, bytes: u64::MAX };
    let mut sender = sender(limits, 1, 100);
    let mut now = at(0);
    let mut streams = 1;
    loop {
        for stalled in sender.timeouts(now) {
            sender.stream_lost(stalled);
            sender.stream_opened(StreamId(streams));
            streams += 1;
        }
        match sender.next(now) {
            Next::Send { .. } => {}
            Next::WaitUntil(until) => now = until,
            other => {
                assert_eq!((other, now), (Next::GiveUp, NEVER));
                break;
            }
        }
    }
    assert_eq!(streams, 21);
}
