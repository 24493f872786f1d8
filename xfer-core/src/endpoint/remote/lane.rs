//! One stream of a session: requests out, replies in, and who waits for which.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xfer_protocol::encoding::Encoded;
use xfer_protocol::fault::Fault;
use xfer_protocol::hello::{Hello, HelloError, Role, SessionId};
use xfer_protocol::message::{Message, Reply, Request, RequestId};
use xfer_protocol::session::handshake::{AwaitHello, HandshakeFailure};

use super::Shared;
use super::compressing::Coding;
use crate::endpoint::{EndpointError, EndpointResult, LostReason, ProtocolReason};
use crate::transport::Stream;
use crate::transport::framed::{Frame, FrameReader, Outgoing, ReadError, Tally, write_frames};
use crate::transport::greeting::{GreetingError, hear};

/// Frames that wait for the writer: enough that it never idles.
const QUEUE_FRAMES: usize = 4;

/// What came of a request.
pub(super) enum Answer {
    /// With its payload, and how that is encoded.
    Reply(Result<Reply, Fault>, Bytes, Option<Encoded>),
    /// The far side cannot be believed any more.
    Broken(ProtocolReason),
    /// Nothing is known.
    Lost(LostReason),
}

pub(super) struct Lane {
    /// `None` once the last word was said.
    queue: Mutex<Option<mpsc::Sender<Outgoing>>>,
    waiting: Mutex<Waiting>,
    index: u16,
    /// What the far side said of itself on another stream, and on this one.
    presumed: u64,
    features: OnceLock<u64>,
    /// Whether the far side has greeted, and how.
    greeted: watch::Sender<Option<EndpointResult<()>>>,
    /// Bytes that moved, in either direction.
    moved: Arc<Tally>,
    /// When something last arrived, in milliseconds of the clock.
    heard: AtomicU64,
    /// Cancelled when nothing more is written.
    written: CancellationToken,
    /// Cancelled when nothing more is read.
    silent: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Waiting {
    requests: HashMap<RequestId, Asked>,
    /// Set once nothing can be asked any more.
    ended: Option<End>,
}

/// Who waits for a reply, and the most payload that may come with it.
pub(super) struct Asked {
    answer: oneshot::Sender<Answer>,
    payload_max: u64,
    /// Whether it may be encoded.
    accepting: bool,
}

/// What a stream begins with: what is not said yet, and the requests in what was.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) unsaid: Vec<u8>,
    pub(super) waiting: HashMap<RequestId, Asked>,
    /// What the far side has said of itself on another stream.
    pub(super) features: u64,
}

impl Asked {
    /// Waits for a reply without payload.
    pub(super) fn plainly() -> (Self, oneshot::Receiver<Answer>) {
        let (answer, told) = oneshot::channel();
        (Self { answer, payload_max: 0, accepting: false }, told)
    }
}

#[derive(Clone, Copy)]
enum End {
    Broken(ProtocolReason),
    Lost(LostReason),
}

impl End {
    fn answer(self) -> Answer {
        match self {
            Self::Broken(reason) => Answer::Broken(reason),
            Self::Lost(reason) => Answer::Lost(reason),
        }
    }
}

impl Lane {
    /// Says what a stream begins with, and begins to read and write: requests need not wait until
    /// the far side has greeted too.
    pub(super) fn open(
        stream: Stream,
        session: SessionId,
        index: u16,
        opening: Opening,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let features = shared.compressing.features();
        let ours = Hello { features, ..Hello::new(Role::Controller, session, index) };
        let (state, _) = AwaitHello::asking(ours, shared.clock.elapsed());
        let moved = Arc::<Tally>::default();
        let (queue, outgoing) = mpsc::channel(QUEUE_FRAMES);
        let lane = Arc::new(Self {
            queue: Mutex::new(Some(queue)),
            waiting: Mutex::new(Waiting { requests: opening.waiting, ended: None }),
            index,
            presumed: opening.features,
            features: OnceLock::new(),
            greeted: watch::Sender::new(None),
            moved: Arc::clone(&moved),
            heard: AtomicU64::new(millis(shared.clock.elapsed())),
            written: CancellationToken::new(),
            silent: CancellationToken::new(),
            tasks: Mutex::default(),
        });
        let Stream { mut reader, mut writer } = stream;
        let overhead = Arc::clone(&shared.overhead);
        let writing = Arc::downgrade(&lane);
        let mut tasks = JoinSet::new();
        let last = lane.written.clone().drop_guard();
        tasks.spawn(async move {
            let _last = last;
            let written = async {
                writer.write_all(&opening.unsaid).await?;
                writer.flush().await?;
                write_frames(writer, outgoing, overhead, moved).await
            };
            let written = written.await;
            if let (Err(_), Some(lane)) = (written, writing.upgrade()) {
                lane.lose(LostReason::Ended);
            }
        });
        let reading = Arc::downgrade(&lane);
        let (room, moved) = (shared.room.clone(), Arc::clone(&lane.moved));
        let clock = Arc::clone(&shared.clock);
        let silent = lane.silent.clone().drop_guard();
        tasks.spawn(async move {
            let _silent = silent;
            let heard = hear(&mut *reader, state, &*clock).await;
            let heard = heard.and_then(|heard| heard.map_err(|error| error.reason.into()));
            let Some(lane) = reading.upgrade() else { return };
            if !lane.greet(heard.map(|open| open.theirs.features)) {
                return;
            }
            drop(lane);
            let mut frames = FrameReader::new(reader, room, moved);
            loop {
                let next = frames.next().await;
                let Some(lane) = reading.upgrade() else { return };
                lane.heard.store(millis(clock.elapsed()), Ordering::Relaxed);
                if let Err(end) = lane.take(next) {
                    return lane.finish(end);
                }
            }
        });
        *lane.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        lane
    }

    /// Waits until the far side has greeted; an error where it does not, or not as it should.
    pub(super) async fn greeted(&self) -> EndpointResult<()> {
        let mut greeted = self.greeted.subscribe();
        let heard = greeted.wait_for(Option::is_some).await.ok().and_then(|heard| heard.clone());
        heard.unwrap_or(Err(EndpointError::Lost(LostReason::Ended)))
    }

    /// Books how the far side greeted; false where nothing can follow.
    fn greet(&self, heard: Result<u64, GreetingError>) -> bool {
        let heard = heard.map_err(refused).map(|features| {
            let _told_once = self.features.set(features);
        });
        // What was asked goes out again on a lane that did greet.
        if heard.is_err() {
            self.finish(End::Lost(LostReason::Ended));
        }
        let is_open = heard.is_ok();
        self.greeted.send_replace(Some(heard));
        is_open
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn ask(
        &self,
        id: RequestId,
        request: Request,
        coding: Coding,
        payload: Bytes,
    ) -> Answer {
        let payload_max = payload_of_reply(&request);
        let accepting = matches!(coding, Coding::Accepting(_));
        let message = match coding {
            Coding::Plain => Message::Request(id, request),
            Coding::Encoded(encoded) => Message::EncodedRequest(id, request, encoded),
            Coding::Accepting(accepts) => Message::AcceptingRequest(id, request, accepts),
        };
        let Ok(frame) = Outgoing::new(&message, payload) else {
            return Answer::Broken(ProtocolReason::Oversize);
        };
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(end) = waiting.ended {
                return end.answer();
            }
            waiting.requests.insert(id, Asked { answer: sender, payload_max, accepting });
        }
        let queue = self.queue().clone();
        let sent = match queue {
            Some(queue) => queue.send(frame).await.is_ok(),
            // Whoever said it tells all who wait.
            None => true,
        };
        if !sent {
            self.lose(LostReason::Ended);
        }
        answer.await.unwrap_or(Answer::Lost(LostReason::Ended))
    }

    /// Names it within the session.
    pub(super) fn index(&self) -> u16 {
        self.index
    }

    /// What the far side offers, as far as it has greeted here or elsewhere.
    pub(super) fn features(&self) -> u64 {
        self.features.get().copied().unwrap_or(self.presumed)
    }

    /// Bytes that moved so far, in either direction.
    pub(super) fn moved(&self) -> u64 {
        self.moved.bytes()
    }

    /// How long nothing arrived.
    pub(super) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    /// Ends the lane: everybody who waits is told.
    pub(super) fn lose(&self, reason: LostReason) {
        self.finish(End::Lost(reason));
        self.greeted.send_if_modified(|greeted| {
            let is_first = greeted.is_none();
            if is_first {
                *greeted = Some(Err(EndpointError::Lost(reason)));
            }
            is_first
        });
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Tells the far side that no more comes, and waits until that was written.
    pub(super) async fn end(&self) {
        let queue = self.queue().take();
        if let (Ok(frame), Some(queue)) = (Outgoing::new(&Message::End, Bytes::new()), queue) {
            let said = async {
                drop(queue.send(frame).await);
                drop(queue);
                self.written.cancelled().await;
            };
            // A lane that is stuck is dropped; its far side sees the end of the stream instead.
            drop(tokio::time::timeout(Duration::from_secs(1), said).await);
        }
        self.finish(End::Lost(LostReason::ClosedHere));
    }

    fn queue(&self) -> MutexGuard<'_, Option<mpsc::Sender<Outgoing>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing more is read, because the far side ended too or the lane was lost.
    pub(super) async fn silent(&self) {
        self.silent.cancelled().await;
    }

    /// Books one frame; an end where no more can follow.
    fn take(&self, next: Result<Frame, ReadError>) -> Result<(), End> {
        let frame = match next {
            Ok(frame) => frame,
            Err(ReadError::Ended) => return Err(End::Lost(LostReason::Ended)),
            Err(ReadError::Frame(error)) => return Err(End::Broken(reason(error))),
        };
        let (id, reply, encoded) = match frame.message {
            Message::Reply(id, reply) => (id, reply, None),
            Message::EncodedReply(id, reply, encoded) => (id, Ok(reply), Some(encoded)),
            Message::End => return Err(End::Lost(LostReason::Ended)),
            Message::Request(..) | Message::EncodedRequest(..) | Message::AcceptingRequest(..) => {
                return Err(End::Broken(ProtocolReason::Mismatched));
            }
        };
        self.hand_over(id, reply, frame.payload, encoded)
    }

    /// Gives a reply to whoever waits for it.
    fn hand_over(
        &self,
        id: RequestId,
        reply: Result<Reply, Fault>,
        payload: Bytes,
        encoded: Option<Encoded>,
    ) -> Result<(), End> {
        let waiting = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asked) = waiting.requests.remove(&id) else {
            return Err(End::Broken(ProtocolReason::Mismatched));
        };
        // Many more bytes than were asked for could be in memory at a time.
        let length = encoded.map_or(payload.len() as u64, |encoded| encoded.length.into());
        if length > asked.payload_max || encoded.is_some() && !asked.accepting {
            drop(asked.answer.send(Answer::Broken(ProtocolReason::Mismatched)));
            return Err(End::Broken(ProtocolReason::Mismatched));
        }
        drop(asked.answer.send(Answer::Reply(reply, payload, encoded)));
        Ok(())
    }

    fn finish(&self, end: End) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.ended.get_or_insert(end);
        for (_, asked) in waiting.requests.drain() {
            drop(asked.answer.send(end.answer()));
        }
    }
}

/// The most payload that answers a request.
fn payload_of_reply(request: &Request) -> u64 {
    match request {
        Request::ReadBlock(read) => read.range.len(),
        Request::Supply(length) => (*length).into(),
        Request::ReadPack(files) => {
            files.files.iter().fold(0, |sum: u64, (_, stamp)| sum.saturating_add(stamp.size))
        }
        Request::Sign(sign) => sign.length_of_sums(),
        Request::ReadParts(read) => read.parts.iter().map(|part| part.len()).sum(),
        _ => 0,
    }
}

fn refused(error: GreetingError) -> EndpointError {
    match error {
        GreetingError::Ended => EndpointError::Lost(LostReason::Ended),
        GreetingError::Refused(HandshakeFailure::Late) => EndpointError::Lost(LostReason::Stalled),
        GreetingError::Refused(HandshakeFailure::Hello(error)) => {
            EndpointError::Protocol(match error {
                HelloError::Version { .. } => ProtocolReason::Version,
                HelloError::TooLong(_) => ProtocolReason::Limit,
                _ => ProtocolReason::BadHello,
            })
        }
    }
}

fn reason(error: xfer_protocol::codec::FrameError) -> ProtocolReason {
    use xfer_protocol::codec::FrameError;
    match error {
        FrameError::HeaderLength(_) | FrameError::PayloadLength(_) => ProtocolReason::Limit,
        FrameError::UnsafeName(_) => ProtocolReason::UnsafeName,
        _ => ProtocolReason::BadFrame,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
