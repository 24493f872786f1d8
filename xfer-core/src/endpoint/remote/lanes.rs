//! Which lanes a session has, and which of them carry payload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xfer_protocol::session::sender::StreamId;

use super::flights::Flights;
use super::lane::Lane;

/// What a lane is worth to payload: the best that are there carry it, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// On a data port.
    Direct,
    /// A further channel of the session's login, or of a login beside it.
    Beside,
    /// The session's first channel, which carries control.
    First,
}

/// The lanes of a session.
#[derive(Default)]
pub(super) struct Lanes(Mutex<State>);

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// Names are not used again, not even those of lanes that carry once more.
    streams: u32,
    /// Whether payload waits for a better lane.
    held: bool,
    /// How many lanes of a tier carry payload at most, where there is a limit; the others rest.
    in_use: BTreeMap<Tier, usize>,
}

/// One lane, with its name in the flight control while it carries payload.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) lane: Arc<Lane>,
    pub(super) tier: Tier,
    pub(super) carrying: Option<StreamId>,
}

impl Lanes {
    /// Adds a lane that is open.
    pub(super) fn add(&self, lane: Arc<Lane>, tier: Tier, flights: &Flights) {
        let mut state = self.lock();
        state.members.push(Member { lane, tier, carrying: None });
        // Held until the flight control knows too: another may just then find the last lane lost.
        state.settle(flights);
    }

    /// Takes a lane out that has ended; its payload goes out again on the others.
    pub(super) fn remove(&self, lane: &Arc<Lane>, flights: &Flights) {
        let mut state = self.lock();
        let is_it = |member: &Member| Arc::ptr_eq(&member.lane, lane);
        for stream in state.members.iter().filter(|m| is_it(m)).filter_map(|m| m.carrying) {
            flights.stream_lost(stream);
        }
        state.members.retain(|member| !is_it(member));
        state.settle(flights);
        if state.members.is_empty() {
            flights.abandon_all();
        }
    }

    /// Has payload wait for a better lane, or go with what there is.
    pub(super) fn hold(&self, held: bool, flights: &Flights) {
        let mut state = self.lock();
        state.held = held;
        state.settle(flights);
    }

    /// Has so many lanes of a tier carry payload, if there are as many, and the others rest; all of
    /// them where there is no limit.
    pub(super) fn use_of(&self, tier: Tier, in_use: Option<usize>, flights: &Flights) {
        let mut state = self.lock();
        match in_use {
            Some(lanes) => state.in_use.insert(tier, lanes),
            None => state.in_use.remove(&tier),
        };
        state.settle(flights);
    }

    /// All of them, the first that joined first.
    pub(super) fn members(&self) -> Vec<Member> {
        self.lock().members.clone()
    }

    /// The lane of requests without payload: the session's first while it is there.
    pub(super) fn control(&self) -> Option<Arc<Lane>> {
        let state = self.lock();
        let first = state.members.iter().find(|member| member.tier == Tier::First);
        first.or_else(|| state.members.iter().min_by_key(|m| m.tier)).map(|m| Arc::clone(&m.lane))
    }

    /// The lane that carries under a name.
    pub(super) fn carrying(&self, stream: StreamId) -> Option<Arc<Lane>> {
        let state = self.lock();
        let found = state.members.iter().find(|member| member.carrying == Some(stream));
        found.map(|member| Arc::clone(&member.lane))
    }

    /// How many carry payload.
    pub(super) fn carriers(&self) -> usize {
        self.lock().members.iter().filter(|member| member.carrying.is_some()).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Has the best lanes carry payload, and no others.
    fn settle(&mut self, flights: &Flights) {
        let best = self.members.iter().map(|member| member.tier).min();
        let best = best.filter(|tier| !self.held || *tier == Tier::Direct);
        // What is on its way on a lane that is to rest still lands there.
        let limit = best.and_then(|tier| self.in_use.get(&tier)).copied().unwrap_or(usize::MAX);
        let mut carriers = 0;
        for member in &mut self.members {
            let carries = Some(member.tier) == best && carriers < limit;
            carriers += usize::from(carries);
            match (member.carrying, carries) {
                (None, true) => {
                    let stream = StreamId(self.streams);
                    self.streams += 1;
                    member.carrying = Some(stream);
                    flights.stream_opened(stream);
                }
                (Some(stream), false) => {
                    member.carrying = None;
                    flights.stream_lost(stream);
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }
}
