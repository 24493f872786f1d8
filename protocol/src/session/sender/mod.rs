//! Flight control: which unit of payload goes on which stream, when, and when again.

mod backoff;
mod flight;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backoff::Backoff;
pub use backoff::RetryPolicy;
use flight::Streams;

/// Names a unit of payload, a block or a pack; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u64);

/// Names a stream; chosen by the caller, and not used again once it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// How much may be under way at a time, over all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlightLimits {
    /// Units under way; at least one is.
    pub units: usize,
    /// Bytes under way, but for a stream without any: it gets one unit all the same, since what is
    /// under way on others cannot come to it.
    pub bytes: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This unit can never land: it was under way on too many streams that were lost or stalled.
    Abandon(UnitId),
    /// Everything landed or failed for good, and nothing more is to come.
    Done,
    /// Nothing landed for too long. Said again until something does.
    GiveUp,
    /// Nothing to do until more is offered.
    Idle,
    /// Send this unit, or ask for it, on this stream. It counts as under way from now on.
    Send {
        /// The unit.
        unit: UnitId,
        /// The stream.
        stream: StreamId,
    },
    /// Nothing to do before this moment, unless something happens first.
    WaitUntil(Duration),
}

/// Whether a unit landed for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landed {
    /// It did, and is done.
    First,
    /// It landed or failed for good before, or was never offered.
    Duplicate,
}

/// How a unit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may work later.
    Retry,
    /// It never will.
    Final,
}

/// What becomes of a unit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It comes again, not before this moment.
    Again(Duration),
    /// It is given up, for good or because its attempts are used up.
    GivenUp,
    /// The word is stale: the unit is done, or under way on another stream.
    Stale,
}

/// Flight control of one transfer's payload, in either direction: a push sends units, a pull asks
/// for them, and both end by landing.
///
/// Units start in the order in which they were offered, each on the stream with the fewest bytes
/// under way. Three things can go wrong, and cost different things:
/// - the unit *failed*: that counts an attempt of its own, and it waits for its backoff;
/// - its stream was *lost* or *stalled*: that is not the unit's fault, so it counts no attempt and
///   goes to the front of the queue; only [`RetryPolicy::moves`] of these make it suspect;
/// - nothing lands *anywhere*: after [`RetryPolicy::give_up`] the whole transfer gives up.
///
/// A stalled stream gets nothing more until it shows life. What was on it is sent elsewhere, and
/// whichever copy lands first counts.
#[derive(Clone, Debug)]
pub struct Sender {
    limits: FlightLimits,
    policy: RetryPolicy,
    backoff: Backoff,
    units: BTreeMap<UnitId, Unit>,
    /// Units ready to go, by their place; the front has the lowest.
    queue: BTreeMap<i64, UnitId>,
    front: i64,
    back: i64,
    waiting: BTreeSet<(Duration, UnitId)>,
    abandoned: BTreeSet<UnitId>,
    streams: Streams,
    /// Since when there was work and nothing landed.
    quiet_since: Option<Duration>,
    finished: bool,
    sent_bytes: u64,
    landed_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    bytes: u64,
    attempts: u32,
    moves: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Abandoned,
    Flying(StreamId),
    Queued(i64),
    Waiting(Duration),
}

impl Sender {
    /// A flight control without streams. `seed` decides the backoffs.
    #[must_use]
    pub fn new(limits: FlightLimits, policy: RetryPolicy, seed: u64) -> Self {
        Self {
            limits,
            policy,
            backoff: Backoff::new(policy, seed),
            units: BTreeMap::new(),
            queue: BTreeMap::new(),
            front: 0,
            back: 0,
            waiting: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            streams: Streams::default(),
            quiet_since: None,
            finished: false,
            sent_bytes: 0,
            landed_bytes: 0,
        }
    }

    /// Changes the limits; what is under way stays so.
    pub fn set_limits(&mut self, limits: FlightLimits) {
        self.limits = limits;
    }

    /// Adds a unit at the end of the queue. One that is known already is left as it is.
    pub fn offer(&mut self, unit: UnitId, bytes: u64) {
        if self.units.contains_key(&unit) {
            return;
        }
        let state = State::Queued(self.back);
        self.queue.insert(self.back, unit);
        self.back += 1;
        self.units.insert(unit, Unit { bytes, attempts: 0, moves: 0, state });
    }

    /// Says that nothing more will be offered.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Adds a stream.
    pub fn stream_opened(&mut self, stream: StreamId) {
        self.streams.open(stream);
    }

    /// Removes a stream. What was under way on it goes to the front of the queue.
    pub fn stream_lost(&mut self, stream: StreamId) {
        let units = self.streams.close(stream);
        self.requeue(units);
    }

    /// Tells that bytes moved on a stream, in either direction, though no unit has landed yet: a
    /// slow stream is not a stalled one, as long as it moves [`RetryPolicy::progress_bytes`] in the
    /// time.
    pub fn moved(&mut self, stream: StreamId, bytes: u64, now: Duration) {
        if self.streams.moved(stream, bytes, self.policy.progress_bytes, now) {
            self.quiet_since = self.quiet_since.map(|_| now);
        }
    }

    /// Tells that a unit landed on a stream.
    pub fn landed(&mut self, unit: UnitId, stream: StreamId, now: Duration) -> Landed {
        self.streams.alive(stream, now);
        let Some(removed) = self.take_out(unit) else { return Landed::Duplicate };
        self.landed_bytes = self.landed_bytes.saturating_add(removed.bytes);
        self.quiet_since = if self.units.is_empty() { None } else { Some(now) };
        Landed::First
    }

    /// Tells that a unit failed on a stream, which itself is well.
    pub fn failed(
        &mut self,
        unit: UnitId,
        stream: StreamId,
        now: Duration,
        failure: Failure,
    ) -> AfterFailure {
        self.streams.alive(stream, now);
        let Some(known) = self.units.get_mut(&unit) else { return AfterFailure::Stale };
        if failure == Failure::Retry {
            if known.state != State::Flying(stream) {
                return AfterFailure::Stale;
            }
            known.attempts += 1;
            if known.attempts < self.policy.attempts {
                let until = now.saturating_add(self.backoff.delay(known.attempts));
                known.state = State::Waiting(until);
                self.streams.take_off(stream, unit);
                self.waiting.insert((until, unit));
                return AfterFailure::Again(until);
            }
        }
        self.take_out(unit);
        AfterFailure::GivenUp
    }

    /// Finds the streams on which nothing has landed for [`RetryPolicy::stall`] since they had
    /// something to do. What was on them goes to the front of the queue. Returns the newly stalled;
    /// they are best closed and replaced, but may stay and come back to life.
    pub fn timeouts(&mut self, now: Duration) -> Vec<StreamId> {
        let stalled = self.streams.stalled(now, self.policy.stall);
        for stream in &stalled {
            let units = self.streams.ground(*stream);
            self.requeue(units);
        }
        stalled
    }

    /// What to do next. Call [`Self::timeouts`] first, and this again until it answers neither
    /// [`Next::Send`] nor [`Next::Abandon`].
    pub fn next(&mut self, now: Duration) -> Next {
        if let Some(unit) = self.abandoned.pop_first() {
            self.units.remove(&unit);
            return Next::Abandon(unit);
        }
        if self.units.is_empty() {
            self.quiet_since = None;
            return if self.finished { Next::Done } else { Next::Idle };
        }
        let quiet_since = *self.quiet_since.get_or_insert(now);
        let give_up = quiet_since.saturating_add(self.policy.give_up);
        if now >= give_up {
            return Next::GiveUp;
        }
        self.end_waits(now);
        if let Some((unit, stream)) = self.departure() {
            self.depart(unit, stream, now);
            return Next::Send { unit, stream };
        }
        let backoff = self.waiting.first().map(|(until, _)| *until);
        let stall = self.streams.next_stall(self.policy.stall);
        let first = [backoff, stall].into_iter().flatten().fold(give_up, Duration::min);
        Next::WaitUntil(first)
    }

    /// Units under way.
    #[must_use]
    pub fn units_in_flight(&self) -> usize {
        self.streams.units()
    }

    /// Bytes under way.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.streams.bytes()
    }

    /// Units that neither landed nor failed for good.
    #[must_use]
    pub fn units_left(&self) -> usize {
        self.units.len()
    }

    /// Bytes of all departures, those of units sent again included.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Bytes of units that landed, each counted once.
    #[must_use]
    pub fn landed_bytes(&self) -> u64 {
        self.landed_bytes
    }

    fn departure(&self) -> Option<(UnitId, StreamId)> {
        let (_, &unit) = self.queue.first_key_value()?;
        let bytes = self.units.get(&unit)?.bytes;
        let (stream, on_it) = self.streams.lightest()?;
        let flying = self.streams.units();
        let together = self.streams.bytes().saturating_add(bytes);
        let is_full = flying >= self.limits.units || (on_it > 0 && together > self.limits.bytes);
        if flying > 0 && is_full { None } else { Some((unit, stream)) }
    }

    fn depart(&mut self, unit: UnitId, stream: StreamId, now: Duration) {
        self.queue.pop_first();
        if let Some(known) = self.units.get_mut(&unit) {
            known.state = State::Flying(stream);
            self.sent_bytes = self.sent_bytes.saturating_add(known.bytes);
            self.streams.put_on(stream, unit, known.bytes, now);
        }
    }

    fn end_waits(&mut self, now: Duration) {
        while let Some(&(until, unit)) = self.waiting.first() {
            if until > now {
                break;
            }
            self.waiting.pop_first();
            if let Some(known) = self.units.get_mut(&unit) {
                known.state = State::Queued(self.back);
                self.queue.insert(self.back, unit);
                self.back += 1;
            }
        }
    }

    /// Puts units at the front of the queue, in their order.
    fn requeue(&mut self, units: Vec<UnitId>) {
        for unit in units.into_iter().rev() {
            let Some(known) = self.units.get_mut(&unit) else { continue };
            known.moves += 1;
            if known.moves > self.policy.moves {
                known.state = State::Abandoned;
                self.abandoned.insert(unit);
                continue;
            }
            self.front -= 1;
            known.state = State::Queued(self.front);
            self.queue.insert(self.front, unit);
        }
    }

    fn take_out(&mut self, unit: UnitId) -> Option<Unit> {
        let known = self.units.remove(&unit)?;
        match known.state {
            State::Abandoned => {
                self.abandoned.remove(&unit);
            }
            State::Flying(stream) => self.streams.take_off(stream, unit),
            State::Queued(place) => {
                self.queue.remove(&place);
            }
            State::Waiting(until) => {
                self.waiting.remove(&(until, unit));
            }
        }
        Some(known)
    }
}

#[cfg(test)]
mod tests;
