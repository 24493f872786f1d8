//! What becomes of each packet of a direction, and when it arrives

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Direction;
use super::burst::Burst;
use super::counts::Counts;
use super::packet::Segment;
use super::translation::Translation;
use super::weather::Weather;
use crate::random::Random;

/// Packets that leave at once
pub(super) const TAKEN_AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) struct State {
    direction: Direction,
    pub(super) weather: Weather,
    translation: Arc<Translation>,
    opened: Instant,
    /// By arrival
    pub(super) under_way: VecDeque<Packet>,
    /// When everything before has been serialised
    free_at: Instant,
    /// When the last packet arrives that is not held back; no later one overtakes it
    in_order_at: Instant,
    in_burst: bool,
    random: Random,
    pub(super) counts: Counts,
    pub(super) watchers: usize,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Packet {
    serialised: Instant,
    pub(super) arrives: Instant,
    pub(super) bytes: Bytes,
}

/// What a device is given
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    Bare(Box<[u8]>),
    /// One of a burst, by its place
    Part(Arc<Burst>, usize),
}

impl Bytes {
    /// Whether the other follows at once in the same burst
    pub(super) fn leads_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Part(burst, part), Self::Part(next, then)) => {
                Arc::ptr_eq(burst, next) && part + 1 == *then
            }
            _ => false,
        }
    }
}

impl State {
    pub(super) fn new(
        direction: Direction,
        weather: &Weather,
        seed: u64,
        translation: &Arc<Translation>,
    ) -> Self {
        let opened = Instant::now();
        // Two directions of one seed share no future.
        let seed = Random::new(seed ^ (1 + direction as u64)).next_u64();
        Self {
            direction,
            weather: weather.clone(),
            translation: Arc::clone(translation),
            opened,
            under_way: VecDeque::new(),
            free_at: opened,
            in_order_at: opened,
            in_burst: false,
            random: Random::new(seed),
            counts: Counts::default(),
            watchers: 0,
            closed: false,
        }
    }

    /// Takes a packet from a host; whether the first packet under way is now another
    pub(super) fn enter(&mut self, bytes: &mut [u8], now: Instant) -> bool {
        let length = bytes.len() as u64;
        self.counts.packets += 1;
        self.counts.bytes += length;
        // Faults see the ports that the near host knows.
        let outward = self.direction == Direction::Out;
        let translates = self.translation.is_active();
        if translates && !outward && !self.readdress(bytes) {
            return false;
        }
        let harms = self.weather.harms();
        let altered = harms && self.weather.alters() && self.weather.only.holds(bytes);
        if harms && !self.passes(bytes, altered) {
            return false;
        }
        if translates && outward && !self.readdress(bytes) {
            return false;
        }
        let Some(serialised) = self.serialise(length, now) else {
            self.counts.overflowed += 1;
            return false;
        };
        if altered {
            return self.put_altered(bytes, serialised);
        }
        let arrives = self.arrival(serialised);
        self.put(Packet { serialised, arrives, bytes: Bytes::Bare(Box::from(&*bytes)) })
    }

    /// Takes packets from a host that it gave at once; as [`Self::enter`]
    pub(super) fn enter_burst(&mut self, burst: Burst, now: Instant) -> bool {
        let burst = Arc::new(burst);
        let mut first_changed = false;
        for part in 0..burst.parts() {
            let length = burst.length(part) as u64;
            self.counts.packets += 1;
            self.counts.bytes += length;
            if self.weather.cut {
                self.counts.cut += 1;
            } else if self.loses() {
                self.counts.lost += 1;
            } else if let Some(serialised) = self.serialise(length, now) {
                let arrives = self.arrival_by_chance(serialised);
                let bytes = Bytes::Part(Arc::clone(&burst), part);
                first_changed |= self.put(Packet { serialised, arrives, bytes });
            } else {
                self.counts.overflowed += 1;
            }
        }
        first_changed
    }

    /// Rewrites ports; false if the packet leads nowhere
    fn readdress(&mut self, bytes: &mut [u8]) -> bool {
        let done = self.translation.apply(bytes, self.direction);
        self.counts.remapped += u64::from(done.mapped);
        self.counts.rebound += u64::from(done.rebound);
        self.counts.unsolicited += u64::from(done.unsolicited);
        !done.unsolicited
    }

    fn passes(&mut self, bytes: &mut [u8], altered: bool) -> bool {
        if self.weather.cut {
            self.counts.cut += 1;
            return false;
        }
        if self.weather.drops.iter().any(|dropped| dropped.holds(bytes)) {
            self.counts.dropped += 1;
            return false;
        }
        if altered && self.loses() {
            self.counts.lost += 1;
            return false;
        }
        true
    }

    /// What else can happen to a packet by chance
    fn put_altered(&mut self, bytes: &mut [u8], serialised: Instant) -> bool {
        let Weather { corrupt, forge, duplicate, .. } = self.weather;
        if self.random.happens(corrupt) && self.turn_bit(bytes, |found, place| found.corrupt(place))
        {
            self.counts.corrupted += 1;
        }
        if self.random.happens(forge) && self.turn_bit(bytes, |found, place| found.forge(place)) {
            self.counts.forged += 1;
        }
        let arrives = self.arrival_by_chance(serialised);
        let bytes = Bytes::Bare(Box::from(&*bytes));
        let mut first_changed = false;
        if self.random.happens(duplicate) {
            self.counts.duplicated += 1;
            let arrives = arrives + self.weather.duplicate_after;
            first_changed = self.put(Packet { serialised, arrives, bytes: bytes.clone() });
        }
        self.put(Packet { serialised, arrives, bytes }) || first_changed
    }

    /// Turns a bit of the payload, if there is one
    fn turn_bit(&mut self, bytes: &mut [u8], turn: fn(&mut Segment<'_>, usize)) -> bool {
        let Some(mut segment) = Segment::of(bytes) else { return false };
        let (begins, length) = segment.payload();
        if length == 0 {
            return false;
        }
        let place = self.random.below(length as u64);
        turn(&mut segment, begins + usize::try_from(place).expect("below a length"));
        true
    }

    /// When a packet arrives that may be held back
    fn arrival_by_chance(&mut self, serialised: Instant) -> Instant {
        if !self.random.happens(self.weather.reorder) {
            return self.arrival(serialised);
        }
        self.counts.reordered += 1;
        serialised + self.weather.delay + self.weather.reorder_by
    }

    /// When a packet arrives that nothing holds back
    fn arrival(&mut self, serialised: Instant) -> Instant {
        let mut arrives = (serialised + self.weather.delay).max(self.in_order_at);
        let period = self.weather.gather.as_nanos();
        if period > 0 {
            let over = (arrives - self.opened).as_nanos() % period;
            let left = u64::try_from((period - over) % period).expect("less than a long silence");
            arrives += Duration::from_nanos(left);
        }
        self.in_order_at = arrives;
        arrives
    }

    /// Each packet by itself, or the two states of Gilbert's model: between bursts, and in one
    fn loses(&mut self) -> bool {
        let Weather { loss, burst, .. } = self.weather;
        if loss <= 0.0 {
            return false;
        }
        let chance = match self.in_burst {
            _ if burst <= 1.0 => loss,
            true => 1.0 - 1.0 / burst,
            false => loss / (burst * (1.0 - loss)),
        };
        self.in_burst = self.random.happens(chance);
        self.in_burst
    }

    /// When the last bit has left, after all that waits before; `None` where the queue is full
    fn serialise(&mut self, length: u64, now: Instant) -> Option<Instant> {
        if self.weather.rate == 0 {
            return Some(now);
        }
        let rate = self.weather.rate as f64;
        let begins = self.free_at.max(now);
        let waiting = (begins - now).as_secs_f64() * rate;
        if waiting > self.weather.room() as f64 {
            return None;
        }
        self.free_at = begins + Duration::from_secs_f64(length as f64 / rate);
        Some(self.free_at)
    }

    fn put(&mut self, packet: Packet) -> bool {
        let later = |other: &Packet| other.arrives > packet.arrives;
        if !self.under_way.back().is_some_and(later) {
            self.under_way.push_back(packet);
            return self.under_way.len() == 1;
        }
        let place = self.under_way.partition_point(|other| !later(other));
        self.under_way.insert(place, packet);
        place == 0
    }

    /// Moves what has arrived
    pub(super) fn leave(&mut self, now: Instant, taken: &mut Vec<Packet>) {
        while taken.len() < TAKEN_AT_ONCE {
            match self.under_way.pop_front_if(|packet| packet.arrives <= now) {
                Some(packet) => taken.push(packet),
                None => break,
            }
        }
    }

    /// Serialises what waits at the present rate, no longer at the one before
    pub(super) fn go_on_from(&mut self, before: u64, now: Instant) {
        let rate = self.weather.rate;
        if rate == before {
            return;
        }
        let slower = if rate == 0 { 0.0 } else { before as f64 / rate as f64 };
        let moved = |time: Instant| now + time.saturating_duration_since(now).mul_f64(slower);
        for packet in self.under_way.iter_mut().filter(|packet| packet.serialised > now) {
            let left = packet.arrives - packet.serialised;
            packet.serialised = moved(packet.serialised);
            packet.arrives = packet.serialised + left;
        }
        self.free_at = moved(self.free_at);
        self.in_order_at = now;
        // What is held back may now come before what it came after.
        self.under_way.make_contiguous().sort_by_key(|packet| packet.arrives);
    }
}
