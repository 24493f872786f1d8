//! Which payload is on which lane: the flight control of the protocol, with the callers that wait
//! for their turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use xfer_protocol::session::sender::{FlightLimits, Next, RetryPolicy, Sender, StreamId, UnitId};

use crate::clock::Clock;

/// Units on their way at most; bytes are the limit that counts.
const UNITS_MAX: usize = 256;

/// A stream that no unit was ever sent on: a landing without a flight.
const NO_STREAM: StreamId = StreamId(u32::MAX);

/// Shared by all calls that carry payload.
pub(super) struct Flights {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

struct State {
    sender: Sender,
    next_unit: u64,
    waiting: HashMap<UnitId, oneshot::Sender<Turn>>,
    /// Turns that came before their caller asked.
    early: HashMap<UnitId, Turn>,
    /// Whether no lane is left, so that no turn can come.
    stranded: bool,
}

/// Where a unit goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    On(StreamId),
    /// It was on too many streams that were lost, or none is left.
    Abandoned,
}

impl Flights {
    pub(super) fn new(bytes: u64, stall: Duration, seed: u64, clock: Arc<dyn Clock>) -> Self {
        let policy = RetryPolicy { stall, ..RetryPolicy::default() };
        let sender = Sender::new(FlightLimits { units: UNITS_MAX, bytes }, policy, seed);
        let state = State {
            sender,
            next_unit: 0,
            waiting: HashMap::new(),
            early: HashMap::new(),
            stranded: false,
        };
        Self { state: Mutex::new(state), clock }
    }

    pub(super) fn set_window(&self, bytes: u64) {
        let mut state = self.lock();
        state.sender.set_limits(FlightLimits { units: UNITS_MAX, bytes });
        state.pump(self.clock.elapsed());
    }

    /// Queues a unit; it leaves the flight control when the flight is dropped.
    pub(super) fn offer(&self, bytes: u64) -> Flight<'_> {
        let mut state = self.lock();
        let unit = UnitId(state.next_unit);
        state.next_unit += 1;
        state.sender.offer(unit, bytes);
        state.pump(self.clock.elapsed());
        Flight { flights: self, unit, stream: NO_STREAM }
    }

    pub(super) fn stream_opened(&self, stream: StreamId) {
        let mut state = self.lock();
        state.stranded = false;
        state.sender.stream_opened(stream);
        state.pump(self.clock.elapsed());
    }

    /// What was on the stream goes out again on another.
    pub(super) fn stream_lost(&self, stream: StreamId) {
        let mut state = self.lock();
        state.sender.stream_lost(stream);
        state.pump(self.clock.elapsed());
    }

    /// Bytes of payload that landed.
    pub(super) fn landed_bytes(&self) -> u64 {
        self.lock().sender.landed_bytes()
    }

    /// Whether any payload is on its way, or waits to be.
    pub(super) fn are_any_under_way(&self) -> bool {
        self.lock().sender.units_left() > 0
    }

    /// Bytes moved on a stream.
    pub(super) fn moved(&self, stream: StreamId, bytes: u64) {
        self.lock().sender.moved(stream, bytes, self.clock.elapsed());
    }

    /// The streams on which nothing landed for too long.
    pub(super) fn stalled(&self) -> Vec<StreamId> {
        let mut state = self.lock();
        let now = self.clock.elapsed();
        let stalled = state.sender.timeouts(now);
        state.pump(now);
        stalled
    }

    /// Tells all who wait, and all who will, that no lane is left.
    pub(super) fn abandon_all(&self) {
        let mut state = self.lock();
        state.stranded = true;
        for (_, caller) in state.waiting.drain() {
            let _gone = caller.send(Turn::Abandoned);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands out every turn that is due.
    fn pump(&mut self, now: Duration) {
        loop {
            match self.sender.next(now) {
                Next::Send { unit, stream } => self.turn(unit, Turn::On(stream)),
                Next::Abandon(unit) => self.turn(unit, Turn::Abandoned),
                Next::Done | Next::GiveUp | Next::Idle | Next::WaitUntil(_) => return,
            }
        }
    }

    fn turn(&mut self, unit: UnitId, turn: Turn) {
        match self.waiting.remove(&unit) {
            Some(caller) => {
                // A caller that is gone has dropped its flight, or is about to.
                let _gone = caller.send(turn);
            }
            None => {
                self.early.insert(unit, turn);
            }
        }
    }
}

/// One unit, from its offer to its landing.
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    unit: UnitId,
    stream: StreamId,
}

impl Flight<'_> {
    /// Waits for the unit's turn; once more after its stream was lost.
    pub(super) async fn turn(&mut self) -> Turn {
        let waiting = {
            let mut state = self.flights.lock();
            match state.early.remove(&self.unit) {
                Some(turn) => Err(turn),
                None if state.stranded => Err(Turn::Abandoned),
                None => {
                    let (caller, turn) = oneshot::channel();
                    state.waiting.insert(self.unit, caller);
                    Ok(turn)
                }
            }
        };
        let turn = match waiting {
            Ok(turn) => turn.await.unwrap_or(Turn::Abandoned),
            Err(turn) => turn,
        };
        if let Turn::On(stream) = turn {
            self.stream = stream;
        }
        turn
    }
}

/// However a call ended, its bytes are not on their way any more.
impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        state.waiting.remove(&self.unit);
        state.early.remove(&self.unit);
        let now = self.flights.clock.elapsed();
        let _first_or_not = state.sender.landed(self.unit, self.stream, now);
        state.pump(now);
    }
}
