//! Serves a session: every request is put to a local endpoint, every answer goes back.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xfer_protocol::codec::FrameError;
use xfer_protocol::encoding::{Accepts, Encoded};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::hello::{
    FEATURE_DELTA, FEATURE_ENCODED_PAYLOAD, FEATURE_ERRANDS, FEATURE_IN_PLACE,
    FEATURE_MAPPED_PORTS, FEATURE_PASSAGES, FEATURE_PROBES, FEATURE_REMOVALS, FEATURE_RENAMES,
    FEATURE_SETTLING, FEATURE_SURVEYS, Hello, Role, SessionId,
};
use xfer_protocol::message::errand::RedeemAll;
use xfer_protocol::message::passage::{ParcelIndex, Purpose, Redeem, RedeemedWrite};
use xfer_protocol::message::{Begin, Begun, Message, OpenRoot, Reply, Request, RequestId, Root};
use xfer_protocol::path::RelPath;
use xfer_protocol::session::handshake::AwaitHello;

use super::condition;
use super::data_ports::DataPorts;
use super::deltas;
use super::errands::Errands;
use super::lending;
use super::parcels::{self, Parcels};
use super::passage::Passage;
use super::stock::Parcel;
use super::surveys::Surveys;
use crate::clock::Clock;
use crate::endpoint::filler::filler;
use crate::endpoint::{self, EndpointError, EndpointResult, Sink, Source};
use crate::transport::Stream;
use crate::transport::compression::Coder;
use crate::transport::framed::{FrameReader, Outgoing, ReadError, Room, Tally, write_frames};
use crate::transport::greeting::{GreetingError, greet};

/// Payload in memory at a time, over all streams.
const ROOM_BYTES: usize = 64 << 20;

/// Answers that wait for the writer.
const QUEUE_FRAMES: usize = 8;

/// Requests that are being served at a time.
const REQUESTS_SERVED: usize = 64;

/// Errands under way at a time. They last as long as a store lets them, and must not keep the
/// session's other requests waiting.
const ERRANDS_MAX: usize = 256;

/// Streams of another machine at a time.
const DELIVERING_MAX: usize = 64;

/// Why a session ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The first bytes were no acceptable hello, or none came in time.
    #[error("no greeting: {0}")]
    Greeting(#[from] GreetingError),
    /// A frame could not be read.
    #[error("a frame could not be read")]
    BadFrame,
    /// A name that leads out, or is none.
    #[error("a name that leads out, or is none")]
    UnsafeName,
    /// The controller said nothing for too long.
    #[error("the controller fell silent")]
    Abandoned,
}

/// Streams that arrive at a session's data ports.
pub struct Arrivals(mpsc::Receiver<Stream>);

/// A session as the far side sees it.
pub struct Served<E> {
    endpoint: Arc<E>,
    room: Room,
    coder: Coder,
    slots: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    heard: Arc<AtomicU64>,
    /// Streams that greeted and have not ended.
    live: Arc<AtomicUsize>,
    /// Whether a stream broke the protocol.
    broken: Arc<AtomicBool>,
    /// Ends all streams once the session is over.
    over: CancellationToken,
    /// None where streams arrive by themselves.
    ports: Option<Arc<DataPorts>>,
    /// The way to another machine; none where there are no data ports either.
    passage: Option<Arc<Passage>>,
    parcels: Arc<Parcels>,
    /// None where there are no data ports: whoever holds a token has no errands here.
    errands: Option<Arc<Errands>>,
    /// None where there are no data ports: whoever holds a token is told nothing of the machine.
    surveys: Option<Arc<Surveys>>,
    /// Places of errands.
    running: Arc<Semaphore>,
    /// Places of streams that deliver.
    delivering: Arc<Semaphore>,
    /// The session that something was lent to.
    lent: Arc<OnceLock<SessionId>>,
    /// The root that a beginning opened: asked again, it locks below the same.
    begun: Arc<tokio::sync::Mutex<Option<(OpenRoot, Root)>>>,
}

/// A stream whose other side has greeted, and been greeted.
pub(super) struct Greeted {
    stream: Stream,
    pub(super) theirs: Hello,
}

/// Answers a stream's hello; `features` are ours.
pub(super) async fn greeted(
    mut stream: Stream,
    features: u64,
    clock: &dyn Clock,
) -> Result<Greeted, GreetingError> {
    let offer = Hello { features, ..Hello::new(Role::Agent, SessionId([0; 16]), 0) };
    let state = AwaitHello::answering(offer, None, clock.elapsed());
    let theirs = greet(&mut stream, state, clock).await?.theirs;
    Ok(Greeted { stream, theirs })
}

impl<E> Clone for Served<E> {
    fn clone(&self) -> Self {
        Self {
            endpoint: Arc::clone(&self.endpoint),
            room: self.room.clone(),
            coder: self.coder.clone(),
            slots: Arc::clone(&self.slots),
            clock: Arc::clone(&self.clock),
            heard: Arc::clone(&self.heard),
            live: Arc::clone(&self.live),
            broken: Arc::clone(&self.broken),
            over: self.over.clone(),
            ports: self.ports.clone(),
            passage: self.passage.clone(),
            parcels: Arc::clone(&self.parcels),
            errands: self.errands.clone(),
            surveys: self.surveys.clone(),
            running: Arc::clone(&self.running),
            delivering: Arc::clone(&self.delivering),
            lent: Arc::clone(&self.lent),
            begun: Arc::clone(&self.begun),
        }
    }
}

impl<E: Source + Sink + 'static> Served<E> {
    /// A session that puts requests to `endpoint`.
    ///
    /// Streams that arrive at data ports are served by [`Self::arrivals`].
    pub fn new(endpoint: Arc<E>, clock: Arc<dyn Clock>) -> (Self, Arrivals) {
        let coder = Coder::new(Arc::clone(&clock));
        let mut served = Self::without_ports(endpoint, coder, Arc::clone(&clock));
        let (ports, arrived, called) = DataPorts::new(served.over.clone());
        served.ports = Some(Arc::new(ports));
        served.passage = Some(Arc::new(Passage::new(clock, called)));
        served.errands = Some(Arc::new(Errands::new()));
        served.surveys = Some(Arc::default());
        (served, Arrivals(arrived))
    }

    /// A session that neither opens ports nor dials, whatever it is asked.
    pub(super) fn without_ports(endpoint: Arc<E>, coder: Coder, clock: Arc<dyn Clock>) -> Self {
        let heard = Arc::new(AtomicU64::new(millis(clock.elapsed())));
        Self {
            endpoint,
            room: Room::new(ROOM_BYTES),
            coder,
            slots: Arc::new(Semaphore::new(REQUESTS_SERVED)),
            clock,
            heard,
            live: Arc::default(),
            broken: Arc::default(),
            over: CancellationToken::new(),
            ports: None,
            passage: None,
            parcels: Arc::default(),
            errands: None,
            surveys: None,
            running: Arc::new(Semaphore::new(ERRANDS_MAX)),
            delivering: Arc::new(Semaphore::new(DELIVERING_MAX)),
            lent: Arc::default(),
            begun: Arc::default(),
        }
    }

    /// Streams that are served now.
    pub(super) fn streams(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether the session is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends the session, and lets go of all that it holds.
    pub(super) async fn end(&self) {
        self.over.cancel();
        self.endpoint.close().await;
    }

    /// Serves what arrives at data ports until the session is over.
    pub async fn arrivals(&self, mut arrivals: Arrivals) {
        let mut streams = JoinSet::new();
        loop {
            let next = tokio::select! {
                next = arrivals.0.recv() => next,
                () = self.over.cancelled() => return,
            };
            while streams.try_join_next().is_some() {}
            let Some(stream) = next else { return };
            let purpose = self.ports.as_ref().and_then(|ports| ports.purpose());
            let served = self.clone();
            streams.spawn(async move {
                // How one stream ended is told by what its requests were answered.
                let _ended = match purpose {
                    None => served.stream(stream).await.map(drop),
                    Some(Purpose::Deliveries | Purpose::Passage) => served.deliveries(stream).await,
                };
            });
        }
    }

    /// Takes back what was lent to other machines.
    pub(super) async fn reclaim(&self) {
        if let Some(session) = self.lent.get() {
            // What cannot be taken back expires.
            let _as_far_as_it_goes = lending::reclaim(*session).await;
        }
    }

    /// Waits until the session is over, and tells whether it ended well.
    pub async fn ended(&self) -> Result<(), ServeError> {
        self.over.cancelled().await;
        if self.broken.load(Ordering::Relaxed) { Err(ServeError::BadFrame) } else { Ok(()) }
    }

    /// Ends the session when nothing was heard for `silence`.
    pub async fn watch(&self, silence: Duration) -> ServeError {
        loop {
            tokio::time::sleep(silence / 10).await;
            let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
            if self.clock.elapsed().saturating_sub(heard) >= silence {
                self.over.cancel();
                return ServeError::Abandoned;
            }
        }
    }

    /// Answers a stream's hello and serves it to its end.
    ///
    /// A session is over with `End` on its first stream, with its last stream, and with the first
    /// that breaks the protocol. All is let go of before the far side sees the end of that stream.
    pub async fn stream(&self, stream: Stream) -> Result<Hello, ServeError> {
        let mapped = self.ports.as_ref().is_some_and(|ports| ports.are_mapped());
        let features = if mapped { FEATURE_MAPPED_PORTS } else { 0 };
        let passages = if self.passage.is_some() { FEATURE_PASSAGES } else { 0 };
        let errands = if self.errands.is_some() { FEATURE_ERRANDS } else { 0 };
        let surveys = if self.surveys.is_some() { FEATURE_SURVEYS } else { 0 };
        let always = FEATURE_ENCODED_PAYLOAD | FEATURE_PROBES | FEATURE_REMOVALS;
        let deltas = if self.endpoint.makes_deltas() { FEATURE_DELTA } else { 0 };
        let renames = if self.endpoint.renames() { FEATURE_RENAMES } else { 0 };
        let in_place = if self.endpoint.writes_in_place() { FEATURE_IN_PLACE } else { 0 };
        let renames = renames | in_place;
        let always = always | FEATURE_SETTLING;
        let features = features | passages | errands | surveys | deltas | renames | always;
        self.serve(greeted(stream, features, &*self.clock).await?).await
    }

    /// Serves a stream that was greeted to its end.
    pub(super) async fn serve(&self, greeted: Greeted) -> Result<Hello, ServeError> {
        let Greeted { stream, theirs } = greeted;
        self.live.fetch_add(1, Ordering::Relaxed);
        let Stream { reader, writer } = stream;
        let (queue, outgoing) = mpsc::channel(QUEUE_FRAMES);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (overhead, moved) = (Arc::<Tally>::default(), Arc::<Tally>::default());
            drop(write_frames(writer, outgoing, overhead, moved).await);
        });
        let mut frames = FrameReader::new(reader, self.room.clone(), Arc::default());
        let ended = loop {
            let next = tokio::select! {
                next = frames.next() => next,
                () = self.over.cancelled() => break Ok(Last::Stream),
            };
            self.heard.store(millis(self.clock.elapsed()), Ordering::Relaxed);
            match next {
                Ok(frame) => match frame.message {
                    Message::Request(id, Request::Ping) => {
                        send(&queue, (Message::Reply(id, Ok(Reply::Done)), Bytes::new())).await;
                    }
                    Message::End => break Ok(Last::Word),
                    message => {
                        let Some(asked) = Asked::of(message) else {
                            break Err(ServeError::BadFrame);
                        };
                        let Some(slot) = self.place(&asked.request).await else {
                            send(&queue, (asked.too_many(), Bytes::new())).await;
                            continue;
                        };
                        let (served, queue) = (self.clone(), queue.clone());
                        tasks.spawn(async move {
                            let answer = served.reply(asked, frame.payload).await;
                            drop(frame.room);
                            send(&queue, answer).await;
                            drop(slot);
                        });
                    }
                },
                Err(ReadError::Ended) => break Ok(Last::Stream),
                Err(ReadError::Frame(FrameError::UnsafeName(_))) => {
                    break Err(ServeError::UnsafeName);
                }
                Err(ReadError::Frame(_)) => break Err(ServeError::BadFrame),
            }
            while tasks.try_join_next().is_some() {}
        };
        self.broken.fetch_or(ended.is_err(), Ordering::Relaxed);
        let is_last = self.live.fetch_sub(1, Ordering::Relaxed) == 1;
        let is_over = theirs.stream == 0 && matches!(ended, Ok(Last::Word));
        if is_last || is_over || ended.is_err() {
            self.over.cancel();
            self.endpoint.close().await;
        }
        ended.map(|_| theirs)
    }
}

impl<E: Source + Sink + 'static> Served<E> {
    /// Waits for a place among the requests that are served; an errand has one at once or none,
    /// for what is asked behind it must not wait for a store.
    async fn place(&self, request: &Request) -> Option<OwnedSemaphorePermit> {
        match request {
            Request::Gather(_) | Request::Carry(_) => {
                Arc::clone(&self.running).try_acquire_owned().ok()
            }
            _ => Arc::clone(&self.slots).acquire_owned().await.ok(),
        }
    }

    /// Takes parcels from a stream of another machine, which can ask for nothing else. Such a
    /// stream neither keeps the session up nor ends it.
    pub(super) async fn deliveries(&self, stream: Stream) -> Result<(), ServeError> {
        let Ok(_place) = self.delivering.try_acquire() else { return Ok(()) };
        let Greeted { stream: Stream { reader, writer }, .. } =
            greeted(stream, FEATURE_ENCODED_PAYLOAD, &*self.clock).await?;
        let (queue, outgoing) = mpsc::channel(QUEUE_FRAMES);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (overhead, moved) = (Arc::<Tally>::default(), Arc::<Tally>::default());
            drop(write_frames(writer, outgoing, overhead, moved).await);
        });
        let mut frames = FrameReader::new(reader, self.room.clone(), Arc::default());
        loop {
            let next = tokio::select! {
                next = frames.next() => next,
                () = self.over.cancelled() => return Ok(()),
            };
            let frame = match next {
                Ok(frame) => frame,
                Err(ReadError::Ended) => return Ok(()),
                Err(ReadError::Frame(_)) => return Err(ServeError::BadFrame),
            };
            let Some(asked) = Asked::of(frame.message) else { return Ok(()) };
            let payload = match asked.encoded {
                None => Some(frame.payload),
                Some(encoded) => self.coder.decode(encoded, frame.payload).await,
            };
            let refused = |kind| Err(Fault::new(kind, Operation::Write, RelPath::root()));
            let reply = match (asked.request, payload) {
                (Request::Ping, _) => Ok(Reply::Done),
                (Request::Deliver(parcel, _), Some(payload)) => {
                    self.parcels.keep(parcel, payload, frame.room);
                    Ok(Reply::Done)
                }
                (_, None) => refused(FaultKind::Protocol),
                (_, Some(_)) => refused(FaultKind::Unsupported),
            };
            send(&queue, (Message::Reply(asked.id, reply), Bytes::new())).await;
        }
    }

    /// Writes what another machine delivered.
    async fn redeem(&self, redeem: Redeem) -> Result<(Reply, Bytes), Fault> {
        self.redeem_all(RedeemAll { parcels: vec![redeem.parcel], write: redeem.write }).await
    }

    /// Writes what several parcels hold, one behind the other.
    async fn redeem_all(&self, redeem: RedeemAll) -> Result<(Reply, Bytes), Fault> {
        let RedeemAll { parcels, write } = redeem;
        let length = parcels::length(&write);
        let taken: Option<Vec<_>> = if length == 0 {
            // Files without bytes were not delivered.
            Some(Vec::new())
        } else {
            parcels.into_iter().map(|parcel| self.taken(parcel)).collect()
        };
        let held = |taken: &Vec<Taken>| taken.iter().map(|t| t.payload.len() as u64).sum::<u64>();
        let Some(taken) = taken.filter(|taken| held(taken) == length) else {
            return parcels::missing(write).map(|reply| (reply, Bytes::new()));
        };
        let payload = match &*taken {
            [] => Bytes::new(),
            [one] => one.payload.clone(),
            several => {
                let mut payload = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
                several.iter().for_each(|taken| payload.extend_from_slice(&taken.payload));
                payload.freeze()
            }
        };
        let request = match write {
            RedeemedWrite::Block(block) => Request::WriteBlock(block),
            RedeemedWrite::Pack(pack) => Request::WritePack(pack),
        };
        answer(&*self.endpoint, request, payload).await
    }

    /// Gives a parcel up: one of an errand, or else one that was delivered.
    fn taken(&self, parcel: ParcelIndex) -> Option<Taken> {
        if let Some(kept) = self.errands.as_ref().and_then(|errands| errands.take(parcel)) {
            return Some(Taken { payload: kept.payload.clone(), _room: (None, Some(kept)) });
        }
        let (payload, room) = self.parcels.take(parcel)?;
        Some(Taken { payload, _room: (room, None) })
    }

    /// The frame that answers what was asked.
    async fn reply(&self, asked: Asked, payload: Bytes) -> (Message, Bytes) {
        let Asked { id, request, encoded, accepts } = asked;
        let payload = match encoded {
            None => payload,
            Some(encoded) => match self.coder.decode(encoded, payload).await {
                Some(payload) => payload,
                None => {
                    let broken = Fault::new(FaultKind::Protocol, Operation::Write, RelPath::root());
                    return (Message::Reply(id, Err(broken)), Bytes::new());
                }
            },
        };
        let (reply, payload) = match self.answer(request, payload).await {
            Ok(answer) => answer,
            Err(fault) => return (Message::Reply(id, Err(fault)), Bytes::new()),
        };
        if let Some(accepts) = accepts
            && let Some((encoded, shorter)) = self.coder.encode(payload.clone(), accepts).await
        {
            return (Message::EncodedReply(id, reply, encoded), shorter);
        }
        (Message::Reply(id, Ok(reply)), payload)
    }

    /// Puts one request to the data ports or to the endpoint.
    async fn answer(&self, request: Request, payload: Bytes) -> Result<(Reply, Bytes), Fault> {
        let plain = |reply| (reply, Bytes::new());
        match (request, &self.ports) {
            (Request::Listen(listen), Some(ports)) => {
                ports.listen(listen, None).await.map(|told| plain(Reply::Listening(told)))
            }
            (Request::ListenFor(listen, purpose), Some(ports)) => {
                let told = ports.listen(listen, Some(purpose)).await;
                told.map(|told| plain(Reply::Listening(told)))
            }
            (Request::Dial(dial), Some(ports)) => {
                ports.dial(dial).await.map(|()| plain(Reply::Done))
            }
            (Request::MakeKey, Some(ports)) => {
                ports.own_key().await.map(|key| plain(Reply::Key(key.digest())))
            }
            (Request::Reach(reach), Some(ports)) => {
                let (key, passage) = (ports.own_key().await?, self.passage.as_ref());
                let passage = passage.ok_or_else(unsupported)?;
                passage.reach(key, reach).await.map(|reached| plain(Reply::Reached(reached)))
            }
            (Request::MakeLogin, Some(_)) => {
                let passage = self.passage.as_ref().ok_or_else(unsupported)?;
                passage.make_login().await.map(|key| plain(Reply::Login(key)))
            }
            (Request::ReachByLogin(reach), Some(_)) => {
                let passage = self.passage.as_ref().ok_or_else(unsupported)?;
                passage.reach_by_login(reach).await.map(|reached| plain(Reply::Reached(reached)))
            }
            (Request::Lend(lend), Some(_)) => {
                let _first = self.lent.set(lend.session);
                lending::lend(lend).await.map(|()| plain(Reply::Done))
            }
            (Request::Reclaim(session), Some(_)) => {
                lending::reclaim(session).await.map(|()| plain(Reply::Done))
            }
            (Request::Forward(forward), Some(_)) => {
                let passage = self.passage.as_ref().ok_or_else(unsupported)?;
                let forwarded = passage.forward(&*self.endpoint, forward).await;
                fault_of(forwarded).map(|forwarded| plain(Reply::Forwarded(forwarded)))
            }
            (Request::Redeem(redeem), Some(_)) => self.redeem(redeem).await,
            (Request::RedeemAll(redeem), Some(_)) => self.redeem_all(redeem).await,
            (Request::Gather(gather), _) => {
                let errands = self.errands.as_ref().ok_or_else(unsupported)?;
                let gathered = errands.gather(&*self.endpoint, gather).await;
                fault_of(gathered).map(|gathered| plain(Reply::Gathered(gathered)))
            }
            (Request::Carry(carry), _) => {
                let errands = self.errands.as_ref().ok_or_else(unsupported)?;
                Ok(plain(Reply::Carried(errands.carry(carry).await)))
            }
            (Request::Dispose(parcels), Some(_)) => {
                parcels.into_iter().for_each(|parcel| drop(self.taken(parcel)));
                Ok(plain(Reply::Done))
            }
            (asked @ (Request::Identify(_) | Request::Survey(_) | Request::WriteBack(_)), _) => {
                let surveys = self.surveys.as_ref().ok_or_else(unsupported)?;
                fault_of(surveys.answer(&self.endpoint, asked).await).map(plain)
            }
            (Request::Begin(begin), _) => {
                fault_of(self.begin(begin).await).map(|begun| plain(Reply::Begun(begun)))
            }
            (request, _) => answer(&*self.endpoint, request, payload).await,
        }
    }
}

impl<E: Source + Sink + 'static> Served<E> {
    /// Opens, locks and lists. A lock is its root's, and would be in the way of another root's.
    async fn begin(&self, begin: Begin) -> EndpointResult<Begun> {
        let mut begun = self.begun.lock().await;
        if let Some(only_if) = &begin.only_if {
            condition::check(&*self.endpoint, only_if).await?;
        }
        let root = match &*begun {
            Some((open, root)) if *open == begin.open => root.clone(),
            _ => self.endpoint.open_root(begin.open.clone()).await?,
        };
        *begun = Some((begin.open, root.clone()));
        endpoint::begin_below(&*self.endpoint, root, begin.entries, begin.lists).await
    }
}

/// What a message asks.
struct Asked {
    id: RequestId,
    request: Request,
    /// How its payload is encoded.
    encoded: Option<Encoded>,
    /// How that of the answer may be.
    accepts: Option<Accepts>,
}

impl Asked {
    /// `None` for a message that asks nothing.
    fn of(message: Message) -> Option<Self> {
        let (id, request, encoded, accepts) = match message {
            Message::Request(id, request) => (id, request, None, None),
            Message::EncodedRequest(id, request, encoded) => (id, request, Some(encoded), None),
            Message::AcceptingRequest(id, request, accepts) => (id, request, None, Some(accepts)),
            Message::Reply(..) | Message::EncodedReply(..) | Message::End => return None,
        };
        Some(Self { id, request, encoded, accepts })
    }
}

impl Asked {
    /// What a request is answered for which there is no place.
    fn too_many(&self) -> Message {
        let limit = Fault::new(FaultKind::Limit, Operation::Open, RelPath::root());
        Message::Reply(self.id, Err(limit))
    }
}

/// A parcel that was given up, with the room that it has.
struct Taken {
    payload: Bytes,
    _room: (Option<OwnedSemaphorePermit>, Option<Arc<Parcel>>),
}

/// What ended a stream.
enum Last {
    /// Nothing more came, or the session is over.
    Stream,
    /// The controller's `End`.
    Word,
}

async fn send(queue: &mpsc::Sender<Outgoing>, (message, payload): (Message, Bytes)) {
    let id = match &message {
        Message::Reply(id, _) | Message::EncodedReply(id, ..) => *id,
        _ => return,
    };
    let frame = Outgoing::new(&message, payload).or_else(|_| {
        let limit = Fault::new(FaultKind::Limit, Operation::Read, RelPath::root());
        Outgoing::new(&Message::Reply(id, Err(limit)), Bytes::new())
    });
    if let Ok(frame) = frame {
        // The stream is gone when nobody takes the answer, and so is whoever asked.
        drop(queue.send(frame).await);
    }
}

/// Puts one request to the endpoint.
async fn answer<E: Source + Sink>(
    endpoint: &E,
    request: Request,
    payload: Bytes,
) -> Result<(Reply, Bytes), Fault> {
    let plain = |reply: Reply| (reply, Bytes::new());
    let done = |()| (Reply::Done, Bytes::new());
    let outcomes = |rows| (Reply::Outcomes(rows), Bytes::new());
    let answered = match request {
        Request::Locate(r) => endpoint.locate(r).await.map(|rows| plain(Reply::Located(rows))),
        Request::OpenRoot(r) => endpoint.open_root(r).await.map(|root| plain(Reply::Root(root))),
        Request::Scan(r) => endpoint.scan(r).await.map(|index| plain(Reply::Scan(index))),
        Request::ScanNext(r) => endpoint.scan_next(r).await.map(|b| plain(Reply::ScanBatch(b))),
        Request::DataRanges(r) => endpoint.data_ranges(r).await.map(|rs| plain(Reply::Ranges(rs))),
        Request::ReadBlock(r) => endpoint.read_block(r).await.map(|(d, b)| (Reply::Block(d), b)),
        Request::ReadPack(r) => endpoint.read_pack(r).await.map(|(rs, b)| (Reply::Pack(rs), b)),
        Request::HashBlocks(r) => endpoint.hash_blocks(r).await.map(|d| plain(Reply::Digests(d))),
        Request::HashFiles(r) => endpoint
            .hash_files(r)
            .await
            .map(|(digests, past_cache)| plain(Reply::FileDigests(digests, past_cache))),
        Request::Lock(r) => endpoint.lock(r).await.map(done),
        Request::Settling(r) => endpoint.settling(r).await.map(|s| plain(Reply::Settling(s))),
        Request::Space(r) => endpoint.space(r).await.map(|space| plain(Reply::Space(space))),
        Request::Create(r) => endpoint.create(r).await.map(outcomes),
        Request::OpenPartial(r) => {
            endpoint.open_partial(r).await.map(|partial| plain(Reply::Partial(partial)))
        }
        Request::Keep(r) => endpoint.keep(r).await.map(done),
        Request::WriteBlock(r) => endpoint.write_block(r, payload).await.map(done),
        Request::Commit(r) => endpoint.commit(r).await.map(done),
        Request::Discard(r) => endpoint.discard(r).await.map(done),
        Request::WritePack(r) => endpoint.write_pack(r, payload).await.map(outcomes),
        Request::Publish(r) => endpoint.publish(r).await.map(outcomes),
        Request::SetMetadata(r) => endpoint.set_metadata(r).await.map(outcomes),
        Request::RemovePartials(r) => endpoint.remove_partials(r).await.map(done),
        Request::Remove(r) => endpoint.remove(r).await.map(outcomes),
        Request::Rename(r) => endpoint.rename(r).await.map(outcomes),
        Request::Sign(_) | Request::Match(_) | Request::ReadParts(_) | Request::Patch(_) => {
            deltas::answer(endpoint, request, payload).await
        }
        Request::Finish(r) => endpoint.finish(r).await.map(done),
        Request::Ping | Request::Sink(_) => Ok(plain(Reply::Done)),
        Request::Supply(length) => Ok((Reply::Supplied(length), filler(length))),
        Request::Facts => endpoint.facts().await.map(|facts| plain(Reply::Facts(facts))),
        Request::TryDisk(r) => endpoint.try_disk(r).await.map(|t| plain(Reply::DiskTrial(t))),
        Request::Survey(_)
        | Request::Identify(_)
        | Request::WriteBack(_)
        | Request::Listen(_)
        | Request::Dial(_)
        | Request::Begin(_)
        | Request::MakeKey
        | Request::Reach(_)
        | Request::Forward(_)
        | Request::Deliver(..)
        | Request::Redeem(_)
        | Request::ListenFor(..)
        | Request::MakeLogin
        | Request::ReachByLogin(_)
        | Request::Lend(_)
        | Request::Reclaim(_)
        | Request::Gather(_)
        | Request::Carry(_)
        | Request::RedeemAll(_)
        | Request::Dispose(_) => Err(unsupported().into()),
    };
    fault_of(answered)
}

fn unsupported() -> Fault {
    Fault::new(FaultKind::Unsupported, Operation::Open, RelPath::root())
}

/// A local endpoint neither loses streams nor breaks the protocol; if one behind a session does,
/// the caller learns that its request could not be served.
fn fault_of<T>(answered: EndpointResult<T>) -> Result<T, Fault> {
    answered.map_err(|error| match error {
        EndpointError::Fault(fault) => fault,
        EndpointError::Lost(_) | EndpointError::Protocol(_) => {
            Fault::new(FaultKind::Io, Operation::Read, RelPath::root())
        }
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
