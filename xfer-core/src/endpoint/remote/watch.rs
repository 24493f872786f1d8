//! Watches the lanes: keeps them alive, and gives up those on which nothing moves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;
use xfer_protocol::message::{Request, RequestId};

use super::Shared;
use super::lane::Answer;
use crate::endpoint::LostReason;

/// A far side is asked whether it lives after this share of the stall timeout without a word.
const PINGS_PER_STALL: u32 = 3;

/// Pings a lane that has fallen silent; gives it up when it stays so for the stall timeout.
pub(super) async fn watch(shared: Arc<Shared>) {
    let pause =
        (shared.stall / PINGS_PER_STALL).clamp(Duration::from_millis(50), Duration::from_secs(10));
    let mut pings = JoinSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.closed.cancelled() => return,
        }
        while pings.try_join_next().is_some() {}
        for lane in shared.lanes() {
            let silence = lane.silence(shared.clock.elapsed());
            if silence >= shared.stall {
                lane.lose(LostReason::Stalled);
                shared.forget(&lane);
            } else if silence >= pause {
                let id = RequestId(shared.next_id.fetch_add(1, Ordering::Relaxed));
                pings.spawn(async move {
                    match lane.ask(id, Request::Ping, Bytes::new(), 0).await {
                        Answer::Reply(..) | Answer::Broken(_) | Answer::Lost(_) => {}
                    }
                });
            }
        }
    }
}
