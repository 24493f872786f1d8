//! Watches the lanes: keeps them alive, and gives up those on which nothing moves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use xfer_protocol::message::{Request, RequestId};
use xfer_protocol::session::sender::StreamId;

use super::Shared;
use super::compressing::Coding;
use super::lane::{Answer, Lane};
use super::lanes::Member;
use crate::endpoint::LostReason;

/// A far side is asked whether it lives after this share of the stall timeout without a word.
const PINGS_PER_STALL: u32 = 3;

/// What an answered ping counts as: enough that its stream is not taken for a trickle.
const LIFE_BYTES: u64 = 64 * 1024;

/// How often the rate is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// While it is still to be found, so often in a round trip, and no more often than this.
const LOOKS_PER_ROUND_TRIP: u32 = 4;
const LOOK_MIN: Duration = Duration::from_millis(10);

/// Fits the window to the rate of what crosses the link.
pub(super) async fn fit_window(shared: Arc<Shared>, round_trip: Duration) {
    let early = (round_trip / LOOKS_PER_ROUND_TRIP).clamp(LOOK_MIN, LOOK);
    let (mut crossed, mut seen) = (0, HashMap::new());
    loop {
        let is_early = shared.widen(round_trip, crossed);
        tokio::select! {
            () = tokio::time::sleep(if is_early { early } else { LOOK }) => {}
            () = shared.closed.cancelled() => return,
        }
        for Member { lane, .. } in shared.lanes.members() {
            let moved = lane.moved();
            crossed += moved.saturating_sub(seen.insert(lane.index(), moved).unwrap_or(0));
        }
    }
}

/// Tells the flight control what moves, pings a lane that has fallen silent, and gives it up when
/// it stays so for the stall timeout.
pub(super) async fn watch(shared: Arc<Shared>) {
    let pings_every = shared.stall / PINGS_PER_STALL;
    let pause = (pings_every / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let mut seen: HashMap<u16, u64> = HashMap::new();
    let mut pinged = shared.clock.elapsed();
    let mut pings = JoinSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.closed.cancelled() => return,
        }
        while pings.try_join_next().is_some() {}
        let now = shared.clock.elapsed();
        let ping_due = now.saturating_sub(pinged) >= pings_every;
        if ping_due {
            pinged = now;
        }
        for Member { lane, carrying, .. } in shared.lanes.members() {
            let moved = lane.moved();
            let before = seen.insert(lane.index(), moved).unwrap_or(0);
            if let Some(stream) = carrying.filter(|_| moved > before) {
                shared.flights.moved(stream, moved - before);
            }
            let silence = lane.silence(now);
            if silence >= shared.stall && moved == before {
                lane.lose(LostReason::Stalled);
                shared.forget(&lane);
            } else if ping_due {
                let shared = Arc::clone(&shared);
                pings.spawn(async move { ping(&shared, &lane, carrying).await });
            }
        }
        for stream in shared.flights.stalled() {
            if let Some(lane) = shared.lanes.carrying(stream) {
                lane.lose(LostReason::Stalled);
                shared.forget(&lane);
            }
        }
    }
}

/// A far side that answers is alive, however long its disk takes over what was sent.
async fn ping(shared: &Shared, lane: &Lane, carrying: Option<StreamId>) {
    let id = RequestId(shared.next_id.fetch_add(1, Ordering::Relaxed));
    let answer = lane.ask(id, Request::Ping, Coding::Plain, Bytes::new()).await;
    if let (Answer::Reply(..), Some(stream)) = (answer, carrying) {
        shared.flights.moved(stream, LIFE_BYTES);
    }
}
