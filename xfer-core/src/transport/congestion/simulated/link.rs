//! The link and those who send over it

use std::collections::VecDeque;
use std::time::Duration;

use super::super::model::Model;
use super::super::rate::Rate;
use super::cubic::Cubic;

pub(super) const PACKET: u64 = 1452;

/// What decides a sender's window
pub(super) enum Driver {
    Model(Box<Model>),
    Cubic(Cubic),
}

impl Driver {
    pub(super) fn model() -> Self {
        Self::Model(Box::new(Model::new(PACKET)))
    }

    fn window(&self) -> u64 {
        match self {
            Self::Model(model) => model.window(),
            Self::Cubic(cubic) => cubic.window(),
        }
    }
}

/// What a link does to packets
#[derive(Clone)]
pub(super) struct Link {
    pub(super) rate: Rate,
    pub(super) round_trip: Duration,
    pub(super) queue: u64,
    /// Packets lost of a million
    pub(super) loss: u64,
    /// The far side acknowledges at multiples of this
    pub(super) clump: Duration,
}

impl Link {
    /// With a queue of one product, and acknowledgements in clumps of a millisecond
    pub(super) fn of(megabits: u64, milliseconds: u64, loss: u64) -> Self {
        let rate = Rate(megabits * 125_000);
        let round_trip = Duration::from_millis(milliseconds);
        let queue = rate.within(round_trip).max(256 * 1024);
        Self { rate, round_trip, queue, loss, clump: Duration::from_millis(1) }
    }

    pub(super) fn product(&self) -> u64 {
        self.rate.within(self.round_trip)
    }
}

struct Packet {
    sent: Duration,
    /// When its acknowledgement arrives; none if it was lost
    back: Option<Duration>,
}

/// One sender that always has something to send, or that waits for its application now and then
pub(super) struct Sender {
    pub(super) driver: Driver,
    begins: Duration,
    /// Bytes a second that the application has to send, and since when
    supply: Option<(Rate, Duration)>,
    out: VecDeque<Packet>,
    in_flight: u64,
    smoothed: Duration,
    tokens: u64,
    filled: Duration,
    offered: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

impl Sender {
    pub(super) fn new(driver: Driver, begins: Duration) -> Self {
        Self {
            driver,
            begins,
            supply: None,
            out: VecDeque::new(),
            in_flight: 0,
            smoothed: Duration::ZERO,
            tokens: 0,
            filled: begins,
            offered: 0,
            delivered: 0,
            lost: 0,
        }
    }

    /// From now on the application has so much to send, or always something
    pub(super) fn limit(&mut self, supply: Option<Rate>, now: Duration) {
        self.supply = supply.map(|rate| (rate, now));
        self.offered = 0;
    }

    /// quinn's pacer: two milliseconds' worth at a time, at five quarters of a window a round trip
    fn pace(&mut self, now: Duration) {
        let window = self.driver.window();
        let elapsed = now.saturating_sub(self.filled);
        let earned = Rate::over(window, self.smoothed).map_or(0, |rate| rate.within(elapsed));
        let capacity = Rate::over(window, self.smoothed)
            .map_or(0, |rate| rate.within(Duration::from_millis(2)))
            .clamp(10 * PACKET, 256 * PACKET);
        self.tokens = (self.tokens + earned * 5 / 4).min(capacity);
        self.filled = now;
    }

    fn send(&mut self, now: Duration, wire: &mut Wire) {
        if now < self.begins {
            return;
        }
        if self.smoothed.is_zero() {
            self.smoothed = wire.link.round_trip;
        }
        self.pace(now);
        while self.in_flight + PACKET < self.driver.window() && self.tokens >= PACKET {
            let supplied = self.supply.map(|(rate, since)| rate.within(now - since));
            if supplied.is_some_and(|supplied| self.offered + PACKET > supplied) {
                break;
            }
            self.offered += PACKET;
            self.tokens -= PACKET;
            self.out.push_back(Packet { sent: now, back: wire.pass(now) });
            if let Driver::Model(model) = &mut self.driver {
                model.departed(now, PACKET);
            }
            self.in_flight += PACKET;
        }
    }

    fn receive(&mut self, now: Duration) {
        let arrived = self.out.iter().rposition(|packet| packet.back.is_some_and(|at| at <= now));
        let Some(last) = arrived else { return self.time_out(now) };
        let (mut lost, mut batch) = (0, 0);
        for packet in self.out.drain(..=last) {
            if packet.back.is_none() {
                lost += PACKET;
                continue;
            }
            batch += PACKET;
            let rtt = now - packet.sent;
            self.smoothed = (7 * self.smoothed + rtt) / 8;
            if let Driver::Model(model) = &mut self.driver {
                model.packet(packet.sent, PACKET);
            }
        }
        self.delivered += batch;
        self.in_flight -= batch;
        let limited = self.supply.is_some() && self.in_flight + PACKET < self.driver.window();
        match &mut self.driver {
            Driver::Model(model) => model.acknowledged(now, self.in_flight, limited),
            Driver::Cubic(cubic) => cubic.acknowledged(now, batch, self.smoothed),
        }
        self.forget(now, lost, false);
    }

    fn forget(&mut self, now: Duration, lost: u64, persistent: bool) {
        self.lost += lost;
        self.in_flight -= lost;
        match &mut self.driver {
            Driver::Model(model) if lost > 0 => model.lost(lost, persistent),
            Driver::Cubic(cubic) if lost > 0 => cubic.lost(now, self.smoothed),
            _ => {}
        }
    }

    /// Everything that was out is lost
    fn time_out(&mut self, now: Duration) {
        let silent = self.out.back().is_some_and(|last| {
            now > last.sent + 3 * self.smoothed && self.out.iter().all(|p| p.back.is_none())
        });
        if silent {
            self.out.clear();
            self.forget(now, self.in_flight, true);
        }
    }
}

/// The link's state
pub(super) struct Wire {
    pub(super) link: Link,
    free_at: Duration,
    random: u64,
    pub(super) dropped: u64,
}

impl Wire {
    /// When the acknowledgement of a packet that enters now comes back
    fn pass(&mut self, now: Duration) -> Option<Duration> {
        if self.unit() % 1_000_000 < self.link.loss {
            return None;
        }
        if self.link.rate.within(self.free_at.saturating_sub(now)) > self.link.queue {
            self.dropped += 1;
            return None;
        }
        let spent = Duration::from_nanos(PACKET * 1_000_000_000 / self.link.rate.0);
        self.free_at = self.free_at.max(now) + spent;
        let arrives = self.free_at + self.link.round_trip;
        let clump = self.link.clump.as_nanos().max(1);
        let late = arrives.as_nanos().next_multiple_of(clump) - arrives.as_nanos();
        Some(arrives + Duration::from_nanos(u64::try_from(late).unwrap()))
    }

    /// splitmix64
    fn unit(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A link, its senders, and the time
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) wire: Wire,
    pub(super) senders: Vec<Sender>,
    /// Bytes waiting in the queue, summed over steps, and their number
    waited: (u64, u64),
    pub(super) most_waiting: u64,
}

impl World {
    pub(super) fn new(link: Link, drivers: Vec<Driver>) -> Self {
        let senders = drivers.into_iter().map(|driver| Sender::new(driver, Duration::ZERO));
        Self {
            now: Duration::ZERO,
            wire: Wire { link, free_at: Duration::ZERO, random: 7, dropped: 0 },
            senders: senders.collect(),
            waited: (0, 0),
            most_waiting: 0,
        }
    }

    /// Runs for so long in steps of a quarter of a millisecond
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            for sender in &mut self.senders {
                sender.receive(self.now);
                sender.send(self.now, &mut self.wire);
            }
            let waiting = self.wire.free_at.saturating_sub(self.now);
            let waiting = self.wire.link.rate.within(waiting);
            self.waited = (self.waited.0 + waiting, self.waited.1 + 1);
            self.most_waiting = self.most_waiting.max(waiting);
            self.now += Duration::from_micros(250);
        }
    }

    /// Runs for so long, and says what share of the link each sender had of it, in hundredths
    pub(super) fn shares(&mut self, span: Duration) -> Vec<u64> {
        let before: Vec<u64> = self.senders.iter().map(|sender| sender.delivered).collect();
        self.waited = (0, 0);
        self.most_waiting = 0;
        self.run(span);
        let possible = self.wire.link.rate.within(span);
        let shares = self.senders.iter().zip(before);
        shares.map(|(sender, before)| 100 * (sender.delivered - before) / possible).collect()
    }

    /// The mean of what waited in the queue since [`Self::shares`] began
    pub(super) fn mean_waiting(&self) -> u64 {
        self.waited.0 / self.waited.1.max(1)
    }
}
