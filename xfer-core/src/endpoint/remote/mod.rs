//! The endpoint behind a session: asks the agent on the far machine.
//!
//! Every method is one request and its reply. The protocol's flight control says on which lane
//! payload travels, and when; control stays on the first lane. A request whose lane is lost goes
//! out again on another, for every request may be repeated.

mod calls;
mod compressing;
mod errands;
mod flights;
mod lane;
mod lanes;
mod opening;
mod pace;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::hello::{FEATURE_MAPPED_PORTS, SessionId};
use xfer_protocol::message::{Access, Reply, Request, RequestId};

use super::{Capabilities, EndpointError, EndpointResult, LostReason, ProtocolReason};
use crate::clock::Clock;
use crate::options::Compression;
use crate::transport::Stream;
use crate::transport::compression::Coder;
use crate::transport::framed::{Room, Tally};
pub(crate) use calls::are_whole;
use compressing::{Coding, Compressing};
use flights::{Flights, Turn};
use lane::{Answer, Lane};
use lanes::Lanes;
pub use lanes::Tier;
pub use opening::Opening;
use pace::Pace;

/// Payload bytes that may be on their way at first: what is lost with a session must be sent again.
const WINDOW_BYTES: u64 = 8 << 20;

/// Payload bytes on their way at most, reached on long links.
const WINDOW_BYTES_MAX: u64 = 64 << 20;

/// Payload bytes for each lane that is there while others are being opened, and at first on a long
/// link: they cannot be moved to another. On a new connection of TCP so many take 6 round trips to
/// leave.
const FIRST_BYTES: u64 = 1 << 20;

/// The link rate that the window is laid out for, in bytes a second.
const RATE: u64 = 500 << 20;

/// A delay from which on another question to measure it anew would be felt.
const FAR: Duration = Duration::from_millis(5);

/// How long the far side may take to end the session once it was told to.
const FAR_END_DEADLINE: Duration = Duration::from_secs(1);

/// How often a request goes out again after its lane was lost.
const SENDINGS_MAX: u32 = 8;

/// How a session behaves; the far side has no say in it.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Silence after which a lane is given up.
    pub stall: Duration,
    /// Names the session, and seeds its flight control.
    pub random: [u8; 16],
    /// Whether payload is compressed.
    pub compression: Compression,
}

/// The near side of a session.
pub struct RemoteEndpoint {
    shared: Arc<Shared>,
    capabilities: Capabilities,
    session: SessionId,
    round_trip: Duration,
    _watch: JoinSet<()>,
}

struct Shared {
    lanes: Lanes,
    next_id: AtomicU64,
    flights: Flights,
    window: AtomicU64,
    /// Whether lanes beside the first are being opened.
    expecting: AtomicBool,
    /// Whether the far side may hold what others wait for.
    holding: AtomicBool,
    pace: Mutex<Pace>,
    compressing: Compressing,
    foretold: opening::Foretold,
    overhead: Arc<Tally>,
    room: Room,
    clock: Arc<dyn Clock>,
    stall: Duration,
    closed: tokio_util::sync::CancellationToken,
}

impl RemoteEndpoint {
    /// Greets the agent at the far end of the first stream and begins a session.
    pub fn open(
        stream: Stream,
        capabilities: Capabilities,
        options: SessionOptions,
        clock: Arc<dyn Clock>,
    ) -> BoxFuture<'static, EndpointResult<Self>> {
        Box::pin(async move {
            let opening = Opening::new(SessionId(options.random), options.compression, &[]);
            Self::open_with(stream, capabilities, options, clock, opening, None).await
        })
    }

    /// The same with what was said ahead: the requests in it have their answers sooner.
    ///
    /// `round_trip` is what is known of the link's delay. Where that is nothing, or so little that
    /// it may be the delay of a relay nearby, the far side itself is asked.
    pub fn open_with(
        stream: Stream,
        capabilities: Capabilities,
        options: SessionOptions,
        clock: Arc<dyn Clock>,
        opening: Opening,
        round_trip: Option<Duration>,
    ) -> BoxFuture<'static, EndpointResult<Self>> {
        Box::pin(async move {
            let session = SessionId(options.random);
            let (was_said, index) = (opening.was_said(), opening.index());
            let holding = opening.asks(begins_to_hold);
            let (said, first_id, foretold) = opening.begin();
            let seed = options.random.iter().fold(0, |seed, &b| (seed << 8) ^ u64::from(b));
            let shared = Arc::new(Shared {
                lanes: Lanes::default(),
                next_id: AtomicU64::new(first_id),
                flights: Flights::new(WINDOW_BYTES, options.stall, seed, Arc::clone(&clock)),
                window: AtomicU64::new(WINDOW_BYTES),
                expecting: AtomicBool::new(false),
                holding: AtomicBool::new(holding),
                pace: Mutex::default(),
                compressing: Compressing::new(options.compression, Coder::new(Arc::clone(&clock))),
                foretold,
                overhead: Arc::default(),
                room: Room::new(usize::try_from(WINDOW_BYTES_MAX).unwrap_or(usize::MAX) * 2),
                clock,
                stall: options.stall,
                closed: tokio_util::sync::CancellationToken::new(),
            });
            let known = round_trip.filter(|&time| time >= FAR);
            let mut began = shared.clock.elapsed();
            let lane = Lane::open(stream, session, index, said, &shared);
            lane.greeted().await?;
            if was_said && known.is_none() {
                began = shared.clock.elapsed();
                let asked = lane.ask(shared.next_id(), Request::Ping, Coding::Plain, Bytes::new());
                let answered = tokio::time::timeout(options.stall, asked).await;
                answered.map_err(|_| EndpointError::Lost(LostReason::Stalled))?;
            }
            let measured = shared.clock.elapsed().saturating_sub(began);
            shared.lanes.add(lane, Tier::First, &shared.flights);
            let round_trip = known.unwrap_or(measured);
            shared.widen(round_trip, 0);
            let mut watch = JoinSet::new();
            watch.spawn(watch::watch(Arc::clone(&shared)));
            watch.spawn(watch::fit_window(Arc::clone(&shared), round_trip));
            Ok(Self { shared, capabilities, session, round_trip, _watch: watch })
        })
    }

    /// How long the far side takes to answer, as far as that was known when the session began.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// What names the session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Adds a stream to the session; no two have one index, not even one after the other.
    pub fn add_stream<'a>(
        &'a self,
        stream: Stream,
        index: u16,
        tier: Tier,
    ) -> BoxFuture<'a, EndpointResult<()>> {
        Box::pin(async move {
            let theirs = self.shared.lanes.control().map_or(0, |lane| lane.features());
            let ours = self.shared.compressing.features();
            let opening = Opening::of_stream(self.session, ours, index, theirs);
            let lane = Lane::open(stream, self.session, index, opening, &self.shared);
            // Who answers on a data port has proven its key, and who answers on a login its mark,
            // so payload need not wait for the greeting.
            let is_better = self.shared.lanes.members().iter().all(|member| tier < member.tier);
            self.shared.lanes.add(Arc::clone(&lane), tier, &self.shared.flights);
            if is_better {
                self.shared.pace().begin();
            }
            self.shared.fit_flights();
            let greeted = lane.greeted().await;
            if greeted.is_err() {
                self.shared.forget(&lane);
            }
            greeted
        })
    }

    /// Has payload wait for a lane on a data port, or go with what there is.
    pub fn hold_payload(&self, held: bool) {
        self.shared.lanes.hold(held, &self.shared.flights);
    }

    /// Gives the lanes that are there little payload while others are being opened.
    pub fn expect_streams(&self, expected: bool) {
        self.shared.expecting.store(expected, Ordering::Relaxed);
        self.shared.fit_flights();
    }

    /// Whether the far machine's environment maps data ports.
    #[must_use]
    pub fn maps_ports(&self) -> bool {
        self.offers(FEATURE_MAPPED_PORTS)
    }

    /// Whether the far side offers a feature.
    fn offers(&self, feature: u64) -> bool {
        self.shared.lanes.control().is_some_and(|lane| lane.features() & feature != 0)
    }

    /// Streams that are alive on a tier.
    #[must_use]
    pub fn streams(&self, tier: Tier) -> usize {
        self.shared.lanes.members().iter().filter(|member| member.tier == tier).count()
    }

    /// Bytes that moved on a tier's streams that are alive, in either direction.
    #[must_use]
    pub fn moved_bytes(&self, tier: Tier) -> u64 {
        let members = self.shared.lanes.members();
        members.iter().filter(|m| m.tier == tier).map(|m| m.lane.moved()).sum()
    }

    /// Whether payload is on its way.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.shared.flights.are_any_under_way()
    }

    /// Has so many streams of a tier carry payload, those that joined first, or all where there is
    /// no limit; the others stay, and rest.
    pub fn use_streams(&self, tier: Tier, in_use: Option<usize>) {
        self.shared.lanes.use_of(tier, in_use, &self.shared.flights);
    }

    /// Takes the bytes a second that the link had at another time, until its own are known.
    pub fn expect_rate(&self, rate: u64) {
        self.shared.compressing.expect(rate);
    }

    /// Gives up the streams of a tier; what was on them goes out again on others.
    pub fn give_up(&self, tier: Tier) {
        for member in self.shared.lanes.members().iter().filter(|m| m.tier == tier) {
            member.lane.lose(LostReason::Stalled);
            self.shared.forget(&member.lane);
        }
    }

    /// Waits until the session is closed on this side.
    pub fn closed<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.shared.closed.cancelled().await;
        })
    }

    /// Streams that carry payload.
    #[must_use]
    pub fn payload_streams(&self) -> usize {
        self.shared.lanes.carriers()
    }

    /// Bytes of payload that have arrived, in either direction.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.shared.flights.landed_bytes()
    }

    /// Bytes of payload that compression kept from the link.
    #[must_use]
    pub fn shrunk_bytes(&self) -> u64 {
        self.shared.compressing.shrunk_bytes()
    }

    /// Bytes written and read beside payload.
    #[must_use]
    pub fn overhead_bytes(&self) -> u64 {
        self.shared.overhead.bytes()
    }

    /// Whether a request was made ahead, and its answer has not been asked for.
    pub(super) fn was_foretold(&self, request: &Request) -> bool {
        self.shared.foretold.holds(request)
    }

    /// Asks, and asks again on another lane when one is lost.
    pub(super) async fn call(
        &self,
        request: Request,
        payload: Bytes,
        expected: u64,
    ) -> EndpointResult<(Reply, Bytes)> {
        let weight = expected.max(payload.len() as u64);
        if weight > 0 && !self.shared.flights.are_any_under_way() {
            self.shared.compressing.rested();
        }
        let mut lost = LostReason::Ended;
        if begins_to_hold(&request) {
            self.shared.holding.store(true, Ordering::Relaxed);
        }
        if let Some(answer) = self.shared.foretold.answer(&request).await {
            match self.outcome_of(answer, 0).await {
                Ok(outcome) => return outcome,
                Err(reason) => lost = reason,
            }
        }
        let mut flight = (weight > 0).then(|| self.shared.flights.offer(weight));
        for _ in 0..SENDINGS_MAX {
            let lane = match &mut flight {
                None => self.shared.lanes.control(),
                Some(flight) => match flight.turn().await {
                    Turn::On(stream) => self.shared.lanes.carrying(stream),
                    Turn::Abandoned => break,
                },
            };
            // A lane that ended between its turn and now is about to be reported lost.
            let Some(lane) = lane else {
                if self.shared.lanes.members().is_empty() {
                    break;
                }
                continue;
            };
            let compressing = &self.shared.compressing;
            if weight > 0 {
                compressing.observe(self.shared.clock.elapsed(), self.payload_bytes());
            }
            let (coding, carried) = compressing.coded(lane.features(), &request, &payload).await;
            let spared = payload.len().saturating_sub(carried.len());
            let answer = lane.ask(self.shared.next_id(), request.clone(), coding, carried).await;
            match self.outcome_of(answer, spared).await {
                Ok(outcome) => return outcome,
                Err(reason) => lost = reason,
            }
            self.shared.forget(&lane);
        }
        let closed_here = self.shared.closed.is_cancelled();
        Err(EndpointError::Lost(if closed_here { LostReason::ClosedHere } else { lost }))
    }

    /// What a call comes to; an error where its lane was lost and nothing is known. Its payload was
    /// `spared` so many bytes of the way there.
    async fn outcome_of(
        &self,
        answer: Answer,
        spared: usize,
    ) -> Result<EndpointResult<(Reply, Bytes)>, LostReason> {
        let compressing = &self.shared.compressing;
        Ok(match answer {
            Answer::Reply(Ok(reply), answer, encoded) => {
                compressing.shrank(spared, 0);
                let decoded = compressing.decoded(encoded, answer).await;
                let broken = EndpointError::Protocol(ProtocolReason::BadFrame);
                decoded.map(|payload| (reply, payload)).ok_or(broken)
            }
            Answer::Reply(Err(fault), ..) if fault.kind == FaultKind::Protocol => {
                Err(EndpointError::Protocol(ProtocolReason::Mismatched))
            }
            Answer::Reply(Err(fault), ..) => Err(fault.into()),
            Answer::Broken(reason) => Err(EndpointError::Protocol(reason)),
            Answer::Lost(reason) => return Err(reason),
        })
    }

    pub(super) fn window_of_payload(&self) -> u64 {
        window_max(self.round_trip)
    }

    pub(super) fn longest_block(&self) -> Option<u64> {
        let streams = self.shared.lanes.carriers() as u64;
        self.shared.pace().block_max(self.round_trip, streams, window_max(self.round_trip))
    }

    pub(super) fn capabilities_of_far_side(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Notes that the far side has let go of what it held: nobody needs to wait for its end.
    pub(super) fn holds_nothing(&self) {
        self.shared.holding.store(false, Ordering::Relaxed);
    }

    pub(super) async fn end(&self) {
        self.shared.closed.cancel();
        let members = self.shared.lanes.members();
        let lanes: Vec<_> = members.into_iter().map(|member| member.lane).collect();
        for lane in &lanes {
            lane.end().await;
        }
        if self.shared.holding.load(Ordering::Relaxed) {
            // The far side ends its last lane once it has let go of everything, its locks included.
            let silent = futures_util::future::join_all(lanes.iter().map(|lane| lane.silent()));
            drop(tokio::time::timeout(FAR_END_DEADLINE, silent).await);
        }
        for lane in &lanes {
            self.shared.forget(lane);
        }
    }
}

/// Payload bytes on their way at most, over a link of this delay.
fn window_max(round_trip: Duration) -> u64 {
    let product = RATE.saturating_mul(u64::try_from(round_trip.as_millis()).unwrap_or(0)) / 1000;
    product.clamp(WINDOW_BYTES, WINDOW_BYTES_MAX)
}

/// Whether the far side holds something from now on, until it has finished.
fn begins_to_hold(request: &Request) -> bool {
    match request {
        Request::Begin(_) | Request::Lock(_) => true,
        Request::OpenRoot(open) => open.access != Access::Read,
        _ => false,
    }
}

impl Shared {
    fn next_id(&self) -> RequestId {
        RequestId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a lane out that has ended; its payload goes out again on the others.
    fn forget(&self, lane: &Arc<Lane>) {
        self.lanes.remove(lane, &self.flights);
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the window a link's bandwidth-delay product, as far as its rate is known; so many
    /// bytes crossed the link by now. Tells whether that rate is still to be found, and felt.
    fn widen(&self, round_trip: Duration, crossed: u64) -> bool {
        let most = window_max(round_trip);
        // What compression spares the link is payload all the same.
        let moved = crossed.max(self.flights.landed_bytes());
        let lanes = self.lanes.carriers().max(1) as u64;
        let first = if round_trip < FAR { most } else { FIRST_BYTES.saturating_mul(lanes) };
        let is_moving = self.flights.are_any_under_way();
        let (window, is_beginning) = {
            let mut pace = self.pace();
            pace.observe(self.clock.elapsed(), moved, is_moving, round_trip);
            (pace.window(round_trip, first, most), pace.is_beginning())
        };
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.fit_flights();
        }
        is_beginning && round_trip >= FAR
    }

    fn fit_flights(&self) {
        let window = self.window.load(Ordering::Relaxed);
        let is_expecting = self.expecting.load(Ordering::Relaxed);
        let lanes = self.lanes.members().len() as u64;
        let most = if is_expecting { FIRST_BYTES.saturating_mul(lanes) } else { u64::MAX };
        self.flights.set_window(window.min(most));
    }
}
