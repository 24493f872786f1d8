//! The endpoint behind a session: asks the agent on the far machine.
//!
//! Every method is one request and its reply. Requests that carry payload travel on the lane with
//! the fewest bytes on their way, the others on the lane that answers soonest; a request whose lane
//! is lost goes out again on another, for every request may be repeated.

mod calls;
mod hello;
mod lane;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::hello::SessionId;
use xfer_protocol::message::{Reply, Request, RequestId};

use super::{Capabilities, EndpointError, EndpointResult, LostReason, ProtocolReason};
use crate::clock::Clock;
use crate::transport::Stream;
use crate::transport::framed::{Overhead, Room};
use lane::{Answer, Lane};

/// Payload bytes that may be on their way at first: what is lost with a session must be sent again.
const WINDOW_BYTES: u64 = 8 << 20;

/// Payload bytes on their way at most, reached on long links.
const WINDOW_BYTES_MAX: u64 = 64 << 20;

/// The link rate that the window is laid out for, in bytes a second.
const RATE: u64 = 500 << 20;

/// How often a request goes out again after its lane was lost.
const SENDINGS_MAX: u32 = 8;

/// How a session behaves; the far side has no say in it.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Silence after which a lane is given up.
    pub stall: Duration,
    /// What the far side can do, as this side sees it.
    pub random: [u8; 16],
}

/// The near side of a session.
pub struct RemoteEndpoint {
    shared: Arc<Shared>,
    capabilities: Capabilities,
    session: SessionId,
    _watch: JoinSet<()>,
}

struct Shared {
    lanes: Mutex<Vec<Arc<Lane>>>,
    next_id: AtomicU64,
    /// Payload bytes that may still be put on their way.
    window: Arc<Semaphore>,
    overhead: Arc<Overhead>,
    room: Room,
    clock: Arc<dyn Clock>,
    stall: Duration,
    closed: tokio_util::sync::CancellationToken,
}

impl RemoteEndpoint {
    /// Greets the agent at the far end of the first stream and begins a session.
    pub async fn open(
        stream: Stream,
        capabilities: Capabilities,
        options: SessionOptions,
        clock: Arc<dyn Clock>,
    ) -> EndpointResult<Self> {
        let session = SessionId(options.random);
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Vec::new()),
            next_id: AtomicU64::new(0),
            window: Arc::new(Semaphore::new(permits(WINDOW_BYTES))),
            overhead: Arc::default(),
            room: Room::new(usize::try_from(WINDOW_BYTES_MAX).unwrap_or(usize::MAX) * 2),
            clock,
            stall: options.stall,
            closed: tokio_util::sync::CancellationToken::new(),
        });
        let began = shared.clock.elapsed();
        shared.add_lane(stream, session, 0).await?;
        let round_trip = shared.clock.elapsed().saturating_sub(began);
        shared.widen(round_trip);
        let mut watch = JoinSet::new();
        watch.spawn(watch::watch(Arc::clone(&shared)));
        Ok(Self { shared, capabilities, session, _watch: watch })
    }

    /// Names the session to a process that brings one more stream.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Adds a stream to the session.
    pub async fn add_stream(&self, stream: Stream, index: u16) -> EndpointResult<()> {
        self.shared.add_lane(stream, self.session, index).await
    }

    /// Streams that are alive.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.lanes().len()
    }

    /// Bytes written and read beside payload.
    #[must_use]
    pub fn overhead_bytes(&self) -> u64 {
        self.shared.overhead.bytes()
    }

    /// Asks, and asks again on another lane when one is lost.
    pub(super) async fn call(
        &self,
        request: Request,
        payload: Bytes,
        expected: u64,
    ) -> EndpointResult<(Reply, Bytes)> {
        let weight = expected.max(payload.len() as u64);
        let _window = self.shared.window(weight).await?;
        let mut lost = LostReason::Ended;
        for _ in 0..SENDINGS_MAX {
            let Some(lane) = self.shared.choose(weight) else { break };
            let id = RequestId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
            match lane.ask(id, request.clone(), payload.clone(), weight).await {
                Answer::Reply(Ok(reply), payload) => return Ok((reply, payload)),
                Answer::Reply(Err(fault), _) if fault.kind == FaultKind::Protocol => {
                    return Err(EndpointError::Protocol(ProtocolReason::Mismatched));
                }
                Answer::Reply(Err(fault), _) => return Err(fault.into()),
                Answer::Broken(reason) => return Err(EndpointError::Protocol(reason)),
                Answer::Lost(reason) => lost = reason,
            }
            self.shared.forget(&lane);
        }
        let closed_here = self.shared.closed.is_cancelled();
        Err(EndpointError::Lost(if closed_here { LostReason::ClosedHere } else { lost }))
    }

    pub(super) fn capabilities_of_far_side(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(super) async fn end(&self) {
        self.shared.closed.cancel();
        let lanes = self.shared.lanes();
        for lane in &lanes {
            lane.end().await;
        }
        self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    async fn add_lane(
        self: &Arc<Self>,
        stream: Stream,
        session: SessionId,
        index: u16,
    ) -> EndpointResult<()> {
        let lane = Lane::open(stream, session, index, self).await?;
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        Ok(())
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lane with the fewest bytes on their way; lanes beyond the first are for payload.
    fn choose(&self, weight: u64) -> Option<Arc<Lane>> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if weight == 0 {
            return lanes.first().cloned();
        }
        let payload_lanes = if lanes.len() > 1 { &lanes[1..] } else { &lanes[..] };
        payload_lanes.iter().min_by_key(|lane| lane.bytes_under_way()).cloned()
    }

    fn forget(&self, lane: &Arc<Lane>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|other| !Arc::ptr_eq(other, lane));
    }

    async fn window(&self, bytes: u64) -> EndpointResult<Option<OwnedSemaphorePermit>> {
        if bytes == 0 {
            return Ok(None);
        }
        let permits = u32::try_from(permits(bytes.min(WINDOW_BYTES))).unwrap_or(u32::MAX);
        let acquired = Arc::clone(&self.window).acquire_many_owned(permits).await;
        acquired.map(Some).map_err(|_| EndpointError::Lost(LostReason::ClosedHere))
    }

    /// Gives the window a link's bandwidth-delay product, where that is more.
    fn widen(&self, round_trip: Duration) {
        let product =
            RATE.saturating_mul(u64::try_from(round_trip.as_millis()).unwrap_or(0)) / 1000;
        let wanted = product.min(WINDOW_BYTES_MAX);
        self.window.add_permits(permits(wanted.saturating_sub(WINDOW_BYTES)));
    }
}

/// Permits of the window stand for 4 KiB each.
fn permits(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(4096)).unwrap_or(usize::MAX >> 4)
}
