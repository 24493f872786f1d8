//! One direction of a link
//!
//! A reader takes packets from one device, decides their fate and says when they arrive; a writer
//! gives them to the other device at that time. Neither holds the lock while it reads or writes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::weather::Weather;
use crate::random::Random;

const PACKET_MAX: usize = 64 << 10;

/// Packets that the writer takes under one lock
const TAKEN_AT_ONCE: usize = 64;

/// How late the writer may wake
const TIMER_SLACK_NANOSECONDS: NonZeroU64 = NonZeroU64::new(1000).expect("not 0");

/// What a direction did until now, in packets where nothing else is said
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entered the link
    pub packets: u64,
    /// The same in bytes, headers of IP included
    pub bytes: u64,
    /// Given to the host at the other end
    pub delivered: u64,
    /// Lost by chance
    pub lost: u64,
    /// Dropped because the queue was full
    pub overflowed: u64,
    /// Dropped because the link is cut
    pub cut: u64,
}

impl Counts {
    /// Packets whose fate is known: those that arrived, and those that never will
    pub fn settled(&self) -> u64 {
        self.delivered + self.lost + self.overflowed + self.cut
    }
}

/// One direction of a link
#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<State>,
    /// The first packet under way is another, or arrives at another time
    first_changed: Condvar,
    /// Notified while somebody waits for a count
    counted: Condvar,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// By arrival
    under_way: VecDeque<Packet>,
    /// When everything before has been serialised
    free_at: Instant,
    in_burst: bool,
    random: Random,
    counts: Counts,
    watchers: usize,
    closed: bool,
}

#[derive(Debug)]
struct Packet {
    serialised: Instant,
    arrives: Instant,
    bytes: Box<[u8]>,
}

impl Lane {
    pub(super) fn new(weather: &Weather, seed: u64) -> Self {
        let state = State {
            weather: weather.clone(),
            under_way: VecDeque::new(),
            free_at: Instant::now(),
            in_burst: false,
            random: Random::new(seed),
            counts: Counts::default(),
            watchers: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), first_changed: Condvar::new(), counted: Condvar::new() }
    }

    /// Starts to carry packets; the threads end after [`Lane::close`] and the end of both devices
    pub(super) fn carry(self: &Arc<Self>, from: &Arc<File>, to: &Arc<File>) -> [JoinHandle<()>; 2] {
        let (lane, from) = (Arc::clone(self), Arc::clone(from));
        let reader = std::thread::spawn(move || lane.read(&from));
        let (lane, to) = (Arc::clone(self), Arc::clone(to));
        let writer = std::thread::spawn(move || lane.write(&to));
        [reader, writer]
    }

    /// Changes the weather; what waits to be serialised goes on at the new rate
    pub(super) fn change(&self, change: impl FnOnce(&mut Weather)) {
        let mut state = self.lock();
        let before = state.weather.rate;
        change(&mut state.weather);
        state.go_on_from(before, Instant::now());
        drop(state);
        self.first_changed.notify_one();
    }

    pub(super) fn weather(&self) -> Weather {
        self.lock().weather.clone()
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Waits until the counts are as wanted; false if they are not after `within`
    pub(super) fn wait_for(&self, wanted: impl Fn(&Counts) -> bool, within: Duration) -> bool {
        let mut state = self.lock();
        state.watchers += 1;
        let waiting = |state: &mut State| !wanted(&state.counts);
        let woken = self.counted.wait_timeout_while(state, within, waiting);
        let (mut state, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        state.watchers -= 1;
        !waited.timed_out()
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.first_changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut from: &File) {
        let mut buffer = vec![0; PACKET_MAX];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            // Neighbours of IPv6 are looked for on every new device.
            if buffer[0] >> 4 != 4 {
                continue;
            }
            let mut state = self.lock();
            let first_changed = state.enter(&mut buffer[..length], Instant::now());
            let watched = state.watchers > 0;
            drop(state);
            if first_changed {
                self.first_changed.notify_one();
            }
            if watched {
                self.counted.notify_all();
            }
        }
    }

    fn write(&self, mut to: &File) {
        let slack = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NANOSECONDS));
        slack.expect("a thread sets its own timer slack");
        let mut taken = Vec::with_capacity(TAKEN_AT_ONCE);
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            state.leave(now, &mut taken);
            if !taken.is_empty() {
                drop(state);
                // A device that is down takes nothing.
                let delivered = taken.drain(..).filter(|packet| to.write(&packet.bytes).is_ok());
                let delivered = delivered.count() as u64;
                state = self.lock();
                state.counts.delivered += delivered;
                if state.watchers > 0 {
                    self.counted.notify_all();
                }
                continue;
            }
            state = match state.under_way.front().map(|first| first.arrives - now) {
                None => self.first_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.first_changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl State {
    /// Takes a packet from a host; whether the first packet under way is now another
    fn enter(&mut self, bytes: &mut [u8], now: Instant) -> bool {
        let length = bytes.len() as u64;
        self.counts.packets += 1;
        self.counts.bytes += length;
        if self.weather.harms() && !self.survives() {
            return false;
        }
        let Some(serialised) = self.serialise(length, now) else {
            self.counts.overflowed += 1;
            return false;
        };
        let arrives = serialised + self.weather.delay;
        self.put(Packet { serialised, arrives, bytes: Box::from(&*bytes) })
    }

    fn survives(&mut self) -> bool {
        if self.weather.cut {
            self.counts.cut += 1;
            return false;
        }
        if self.loses() {
            self.counts.lost += 1;
            return false;
        }
        true
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
    fn leave(&mut self, now: Instant, taken: &mut Vec<Packet>) {
        while taken.len() < TAKEN_AT_ONCE {
            match self.under_way.pop_front_if(|packet| packet.arrives <= now) {
                Some(packet) => taken.push(packet),
                None => break,
            }
        }
    }

    /// Serialises what waits at the present rate, no longer at the one before
    fn go_on_from(&mut self, before: u64, now: Instant) {
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
    }
}
