//! One direction of a link
//!
//! A reader takes packets from one device, decides their fate and says when they arrive; a writer
//! gives them to the other device at that time. Neither holds the lock while it reads or writes.
//! Where packets cross the devices in bursts, the writer lets a few arrive before it gives them on,
//! as a card does before it interrupts its host.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Direction;
use super::burst::Burst;
use super::counts::Counts;
use super::fate::{Bytes, Packet, State, TAKEN_AT_ONCE};
use super::link::Setup;
use super::translation::Translation;
use super::weather::Weather;

/// The largest burst, and what precedes it
const READ_MAX: usize = (64 << 10) + 64;

/// How long the first of a burst waits for others
const MODERATED: Duration = Duration::from_micros(100);

/// How late the writer may wake
const TIMER_SLACK_NANOSECONDS: NonZeroU64 = NonZeroU64::new(1000).expect("not 0");

/// One direction of a link
#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<State>,
    /// The first packet under way is another, or arrives at another time
    first_changed: Condvar,
    /// Notified while somebody waits for a count
    counted: Condvar,
    offloads: bool,
}

impl Lane {
    pub(super) fn new(
        direction: Direction,
        weather: &Weather,
        setup: &Setup,
        translation: &Arc<Translation>,
    ) -> Self {
        let state = State::new(direction, weather, setup.seed, translation);
        let (first_changed, counted) = (Condvar::new(), Condvar::new());
        Self { state: Mutex::new(state), first_changed, counted, offloads: setup.offloads }
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
        let can = !self.offloads || !state.weather.looks_inside();
        assert!(can, "packets in bursts are neither looked at nor changed");
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
        let mut buffer = vec![0; READ_MAX];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(length @ 1..) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                _ => break,
            };
            let read = &mut buffer[..length];
            // Neighbours of IPv6 are looked for on every new device.
            let burst = if self.offloads { Burst::of(read) } else { None };
            if burst.is_none() && (self.offloads || read[0] >> 4 != 4) {
                continue;
            }
            let mut state = self.lock();
            let first_changed = match burst {
                Some(burst) => state.enter_burst(burst, Instant::now()),
                None => state.enter(read, Instant::now()),
            };
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

    fn write(&self, to: &File) {
        let moderated = if self.offloads { MODERATED } else { Duration::ZERO };
        let slack = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NANOSECONDS));
        slack.expect("a thread sets its own timer slack");
        let mut taken = Vec::with_capacity(TAKEN_AT_ONCE);
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            if state.under_way.front().is_some_and(|first| first.arrives + moderated <= now) {
                state.leave(now, &mut taken);
            }
            if !taken.is_empty() {
                drop(state);
                let whole = taken.len() as u64;
                let delivered = deliver(&taken, to);
                taken.clear();
                state = self.lock();
                state.counts.delivered += delivered;
                state.counts.refused += whole - delivered;
                if state.watchers > 0 {
                    self.counted.notify_all();
                }
                continue;
            }
            state = match state.under_way.front().map(|first| first.arrives + moderated - now) {
                None => self.first_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.first_changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Gives packets to a device, the parts of a burst that follow each other at once; tells how many
/// it took
fn deliver(packets: &[Packet], mut to: &File) -> u64 {
    let mut delivered = 0;
    for run in packets.chunk_by(|one, next| one.bytes.leads_to(&next.bytes)) {
        let written = match &run[0].bytes {
            Bytes::Bare(bytes) => to.write(bytes),
            Bytes::Part(burst, part) => burst.write(to, *part..*part + run.len()),
        };
        if written.is_ok() {
            delivered += run.len() as u64;
        }
    }
    delivered
}
