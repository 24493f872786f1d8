//! Frames on a stream: messages in, messages out, nothing allocated before it was checked.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use xfer_protocol::codec::{FrameError, FrameHead, HEAD_BYTES, encode};
use xfer_protocol::message::Message;

use super::StreamWriter;

/// Small frames are gathered up to this many bytes before they are written.
const GATHER_BYTES: usize = 32 * 1024;

/// Payload is counted as moved in pieces of this many bytes.
const MOVED_BYTES: usize = 256 * 1024;

/// Bytes that one permit of a frame's room stands for.
const ROOM_PERMIT_BYTES: usize = 4096;

/// Why no frame can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The stream ended, perhaps within a frame.
    #[error("the stream ended")]
    Ended,
    /// What came is no frame, or one beyond a limit.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// One frame as received; the room that its payload takes is given back with it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) message: Message,
    pub(crate) payload: Bytes,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Bounds the payload that is in memory at a time, over all streams of a session.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// Room for `bytes` of payload.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / ROOM_PERMIT_BYTES)))
    }

    /// What is left of room once so many bytes are all that it holds: what they came out of is
    /// gone.
    pub(crate) fn shrunk(mut room: OwnedSemaphorePermit, bytes: usize) -> OwnedSemaphorePermit {
        let needed = bytes.div_ceil(ROOM_PERMIT_BYTES).min(room.num_permits());
        room.split(needed).unwrap_or(room)
    }

    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(ROOM_PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.0).acquire_many_owned(permits).await.ok()
    }
}

/// Reads frames.
pub(crate) struct FrameReader<R> {
    inner: BufReader<R>,
    header: Vec<u8>,
    room: Room,
    moved: Arc<Tally>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `inner`, payload only as there is room for it.
    pub(crate) fn new(inner: R, room: Room, moved: Arc<Tally>) -> Self {
        let inner = BufReader::with_capacity(16 * 1024, inner);
        Self { inner, header: Vec::new(), room, moved }
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<Frame, ReadError> {
        let mut head = [0; HEAD_BYTES];
        self.inner.read_exact(&mut head).await.map_err(|_| ReadError::Ended)?;
        let head = FrameHead::parse(&head)?;
        self.header.resize(head.header_length(), 0);
        self.inner.read_exact(&mut self.header).await.map_err(|_| ReadError::Ended)?;
        let message = head.decode(&self.header)?;
        let length = head.payload_length();
        if length == 0 {
            return Ok(Frame { message, payload: Bytes::new(), room: None });
        }
        let room = self.room.take(length.saturating_add(decoded_length(&message))).await;
        let mut payload = BytesMut::with_capacity(length);
        while payload.len() < length {
            let missing = length - payload.len();
            let mut limited = bytes::BufMut::limit(&mut payload, missing);
            match self.inner.read_buf(&mut limited).await {
                Ok(read) if read > 0 => self.moved.add(read),
                _ => return Err(ReadError::Ended),
            }
        }
        Ok(Frame { message, payload: payload.freeze(), room })
    }
}

/// Bytes that come out of a frame's payload where that is encoded: its reader decodes it next.
fn decoded_length(message: &Message) -> usize {
    let length = match message {
        Message::EncodedRequest(_, _, encoded) | Message::EncodedReply(_, _, encoded) => {
            encoded.length
        }
        Message::Request(..)
        | Message::Reply(..)
        | Message::End
        | Message::AcceptingRequest(..) => 0,
    };
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// A frame to be written.
pub(crate) struct Outgoing {
    header: Vec<u8>,
    payload: Bytes,
}

impl Outgoing {
    /// Encodes a message; its payload follows in the same frame.
    pub(crate) fn new(message: &Message, payload: Bytes) -> Result<Self, FrameError> {
        let header = encode(message, payload.len())?;
        Ok(Self { header, payload })
    }
}

/// A count of bytes that several tasks share.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Writes frames until the queue closes or the stream fails; sends whenever the queue runs empty.
pub(crate) async fn write_frames(
    mut writer: Box<dyn StreamWriter>,
    mut queue: mpsc::Receiver<Outgoing>,
    overhead: Arc<Tally>,
    moved: Arc<Tally>,
) -> std::io::Result<()> {
    let mut gathered = BytesMut::with_capacity(GATHER_BYTES);
    while let Some(mut frame) = queue.recv().await {
        loop {
            overhead.add(frame.header.len());
            gathered.extend_from_slice(&frame.header);
            if frame.payload.len() < GATHER_BYTES {
                gathered.extend_from_slice(&frame.payload);
                moved.add(frame.payload.len());
            } else {
                give(&mut writer, gathered.split().freeze()).await?;
                let mut rest = std::mem::take(&mut frame.payload);
                while !rest.is_empty() {
                    let piece = rest.split_to(rest.len().min(MOVED_BYTES));
                    give_counted(&mut writer, piece, &moved).await?;
                }
            }
            if gathered.len() >= GATHER_BYTES {
                give(&mut writer, gathered.split().freeze()).await?;
            }
            match queue.try_recv() {
                Ok(next) => frame = next,
                Err(_) => break,
            }
        }
        give(&mut writer, gathered.split().freeze()).await?;
        writer.flush().await?;
    }
    writer.shutdown().await
}

/// Hands bytes over to their end.
async fn give(writer: &mut Box<dyn StreamWriter>, bytes: Bytes) -> std::io::Result<()> {
    give_counted(writer, bytes, &Tally::default()).await
}

/// The same, counted as they go: on a slow link that tells a lane that moves from one that does
/// not.
async fn give_counted(
    writer: &mut Box<dyn StreamWriter>,
    mut bytes: Bytes,
    moved: &Tally,
) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let before = bytes.len();
        poll_fn(|cx| Pin::new(&mut **writer).poll_take(cx, &mut bytes)).await?;
        moved.add(before - bytes.len());
    }
    Ok(())
}
