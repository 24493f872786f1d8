//! One session: requests out, answers in, and who waits for which

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::packet::{Decoder, Encoder, PACKET_BYTES_MAX, VERSION, kind};
use super::reply::{Extensions, Refusal, Reply};
use crate::transport::Stream;

/// Requests under way at a time: a server that answers one after the other never idles.
const REQUESTS_MAX: usize = 256;

/// Bytes of reads and writes under way at a time: the channel's own windows are smaller.
const DATA_BYTES_MAX: usize = 8 << 20;

/// Bytes that one permit of that stands for
const PERMIT_BYTES: usize = 1024;

/// Bytes in one read or write where the server names no limit: what every server takes
const STEP_BYTES: usize = 32 << 10;

/// Bytes in the longest read or write: more brings nothing
const STEP_BYTES_MAX: u64 = 255 << 10;

/// Silences of the stall timeout that are borne while something waits that takes a disk's time: the
/// connection's own keepalives tell of a dead link much sooner
const PATIENCE: u32 = 10;

/// Small packets are gathered up to this many bytes before they are written
const GATHER_BYTES: usize = 32 << 10;

/// A session; clones share it, and it ends with the last of them
#[derive(Clone)]
pub(crate) struct Sftp {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::UnboundedSender<Packet>,
    waiting: Mutex<Waiting>,
    next: AtomicU32,
    requests: Semaphore,
    data: Arc<Semaphore>,
    overhead: AtomicU64,
    extensions: Extensions,
    steps: (AtomicU64, AtomicU64),
    tasks: Mutex<JoinSet<()>>,
}

/// A packet on its way out
struct Packet {
    head: Bytes,
    payload: Bytes,
}

#[derive(Default)]
struct Waiting {
    requests: BTreeMap<u32, oneshot::Sender<Result<Reply, SftpError>>>,
    /// Set once nothing can be asked any more
    ended: Option<SftpError>,
}

/// Why a request has no answer of the wanted kind
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SftpError {
    /// The far side said what it may not say
    #[error("the SFTP server broke the protocol: {0}")]
    Broken(Broken),
    /// This side closed the session
    #[error("the session was closed")]
    Closed,
    /// The far side or the network ended it
    #[error("the session ended")]
    Ended,
    /// The far side refused
    #[error("the SFTP server refused: {0}")]
    Refused(Refusal),
    /// Nothing came for too long
    #[error("nothing came for too long")]
    Stalled,
}

/// How a server broke the protocol
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a packet is longer than any may be")]
    Limit,
    #[error("a packet cannot be decoded")]
    Malformed,
    #[error("an answer does not fit its question")]
    Mismatched,
    #[error("it speaks no version that we speak")]
    Version,
}

/// An answer of another kind than was asked for
pub(super) fn mismatched() -> SftpError {
    SftpError::Broken(Broken::Mismatched)
}

/// What an answer means where another one was wanted
pub(super) fn refused(reply: Reply) -> SftpError {
    match reply {
        Reply::Refused(refusal) => SftpError::Refused(refusal),
        _ => mismatched(),
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sftp").finish_non_exhaustive()
    }
}

impl Sftp {
    /// Greets the server on a stream and begins to read and write; `stall` is the silence after
    /// which it is given up.
    pub(crate) async fn begin(stream: Stream, stall: Duration) -> Result<Self, SftpError> {
        let Stream { reader, mut writer } = stream;
        let mut reader = BufReader::with_capacity(GATHER_BYTES, reader);
        let mut hello = Encoder::new(kind::INIT);
        hello.u32(VERSION);
        let greeting = async {
            let hello = hello.finish(0);
            writer.write_all(&hello).await.map_err(|_| SftpError::Ended)?;
            writer.flush().await.map_err(|_| SftpError::Ended)?;
            read_packet(&mut reader).await
        };
        let answer = tokio::time::timeout(stall, greeting).await;
        let extensions = greeted(answer.map_err(|_| SftpError::Stalled)??)?;
        let (queue, outgoing) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            queue,
            waiting: Mutex::default(),
            next: AtomicU32::new(0),
            requests: Semaphore::new(REQUESTS_MAX),
            data: Arc::new(Semaphore::new(DATA_BYTES_MAX / PERMIT_BYTES)),
            overhead: AtomicU64::new(0),
            extensions,
            steps: (AtomicU64::new(STEP_BYTES as u64), AtomicU64::new(STEP_BYTES as u64)),
            tasks: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(write_packets(writer, outgoing, Arc::downgrade(&inner)));
        tasks.spawn(read_packets(reader, stall, Arc::downgrade(&inner)));
        *inner.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        let sftp = Self { inner };
        if extensions.limits {
            sftp.learn_limits().await?;
        }
        Ok(sftp)
    }

    /// What the server can do beyond version 3
    pub(crate) fn extensions(&self) -> Extensions {
        self.inner.extensions
    }

    /// Bytes on the wire beside payload
    pub(crate) fn overhead_bytes(&self) -> u64 {
        self.inner.overhead.load(Ordering::Relaxed)
    }

    /// Ends the session: everybody who waits is told.
    pub(crate) fn close(&self) {
        self.inner.finish(SftpError::Closed);
    }

    pub(super) fn read_bytes_max(&self) -> usize {
        usize::try_from(self.inner.steps.0.load(Ordering::Relaxed)).unwrap_or(STEP_BYTES)
    }

    pub(super) fn write_bytes_max(&self) -> usize {
        usize::try_from(self.inner.steps.1.load(Ordering::Relaxed)).unwrap_or(STEP_BYTES)
    }

    /// Room for bytes of a read or write; given back when dropped
    pub(super) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.inner.data).acquire_many_owned(permits).await.ok()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(
        &self,
        kind: u8,
        payload: Bytes,
        build: impl FnOnce(&mut Encoder),
    ) -> Result<Reply, SftpError> {
        let _place = self.inner.requests.acquire().await;
        self.inner.send(kind, payload, build)?.await.unwrap_or(Err(SftpError::Ended))
    }

    /// Closes a handle and waits for nothing.
    pub(super) fn forget(&self, handle: &[u8]) {
        self.inner.forget(handle);
    }

    async fn learn_limits(&self) -> Result<(), SftpError> {
        let build = |out: &mut Encoder| {
            out.string(b"limits@openssh.com");
        };
        let reply = match self.ask(kind::EXTENDED, Bytes::new(), build).await? {
            Reply::Extended(reply) => reply,
            // It was announced and is denied: the least that every server takes will do.
            Reply::Refused(_) => return Ok(()),
            other => return Err(refused(other)),
        };
        let mut input = Decoder::new(reply);
        let mut next = || input.u64().map_err(|_| SftpError::Broken(Broken::Malformed));
        let (_packet, read, write) = (next()?, next()?, next()?);
        for (step, limit) in [(&self.inner.steps.0, read), (&self.inner.steps.1, write)] {
            // Zero means that there is no limit.
            let limit = if limit == 0 { STEP_BYTES_MAX } else { limit.min(STEP_BYTES_MAX) };
            step.store(limit, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(
        &self,
        kind: u8,
        payload: Bytes,
        build: impl FnOnce(&mut Encoder),
    ) -> Result<oneshot::Receiver<Result<Reply, SftpError>>, SftpError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut packet = Encoder::new(kind);
        packet.u32(id);
        build(&mut packet);
        let head = packet.finish(payload.len());
        self.overhead.fetch_add(head.len() as u64, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        if let Some(ended) = waiting.ended {
            return Err(ended);
        }
        waiting.requests.insert(id, sender);
        drop(waiting);
        // A writer that is gone has told why, or will.
        let _ = self.queue.send(Packet { head, payload });
        Ok(answer)
    }

    fn forget(&self, handle: &[u8]) {
        // Nobody waits for the answer.
        let _ = self.send(kind::CLOSE, Bytes::new(), |out| {
            out.string(handle);
        });
    }

    /// Books one answer.
    fn take(&self, packet: Bytes) -> Result<(), SftpError> {
        let length = packet.len();
        let decoded = Reply::decode(packet);
        let (id, reply) = decoded.map_err(|_| SftpError::Broken(Broken::Malformed))?;
        let payload = match &reply {
            Reply::Data(data) => data.len(),
            _ => 0,
        };
        self.overhead.fetch_add((length + 4 - payload) as u64, Ordering::Relaxed);
        let asked = self.waiting().requests.remove(&id).ok_or_else(mismatched)?;
        // Whoever asked may be gone; what was opened for it is closed again.
        if let Err(Ok(Reply::Handle(handle))) = asked.send(Ok(reply)) {
            self.forget(&handle);
        }
        Ok(())
    }

    fn finish(&self, end: SftpError) {
        let mut waiting = self.waiting();
        waiting.ended.get_or_insert(end);
        for (_, asked) in std::mem::take(&mut waiting.requests) {
            // Whoever asked may be gone.
            let _ = asked.send(Err(end));
        }
    }

    /// The request that waits longest
    fn oldest(&self) -> Option<u32> {
        self.waiting().requests.keys().next().copied()
    }
}

fn greeted(answer: Bytes) -> Result<Extensions, SftpError> {
    let malformed = |_| SftpError::Broken(Broken::Malformed);
    let mut answer = Decoder::new(answer);
    if answer.u8().map_err(malformed)? != kind::VERSION {
        return Err(mismatched());
    }
    if answer.u32().map_err(malformed)? != VERSION {
        return Err(SftpError::Broken(Broken::Version));
    }
    Extensions::decode(answer).map_err(malformed)
}

/// The next packet without its length, which is checked before memory is taken
async fn read_packet(reader: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, SftpError> {
    let length = reader.read_u32().await.map_err(|_| SftpError::Ended)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > PACKET_BYTES_MAX {
        return Err(SftpError::Broken(Broken::Limit));
    }
    let mut packet = BytesMut::zeroed(length);
    reader.read_exact(&mut packet).await.map_err(|_| SftpError::Ended)?;
    Ok(packet.freeze())
}

async fn read_packets(mut reader: impl AsyncRead + Unpin, stall: Duration, session: Weak<Inner>) {
    let mut silences = 0;
    let mut oldest = None;
    loop {
        // A packet that is cut off by the timeout is read on, not anew.
        let next = read_packet(&mut reader);
        tokio::pin!(next);
        let read = loop {
            match tokio::time::timeout(stall, &mut next).await {
                Ok(read) => break read,
                Err(_) => {
                    let Some(inner) = session.upgrade() else { return };
                    let waiting = inner.oldest();
                    silences =
                        if waiting.is_some() && waiting == oldest { silences + 1 } else { 0 };
                    oldest = waiting;
                    if silences >= PATIENCE {
                        return inner.finish(SftpError::Stalled);
                    }
                }
            }
        };
        silences = 0;
        let Some(inner) = session.upgrade() else { return };
        if let Err(end) = read.and_then(|packet| inner.take(packet)) {
            return inner.finish(end);
        }
    }
}

async fn write_packets(
    writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Packet>,
    session: Weak<Inner>,
) {
    let mut writer = BufWriter::with_capacity(GATHER_BYTES, writer);
    let written = async {
        while let Some(mut packet) = queue.recv().await {
            loop {
                writer.write_all(&packet.head).await?;
                writer.write_all(&packet.payload).await?;
                match queue.try_recv() {
                    Ok(next) => packet = next,
                    Err(_) => break,
                }
            }
            writer.flush().await?;
        }
        writer.shutdown().await
    };
    let written: std::io::Result<()> = written.await;
    if let (Err(_), Some(inner)) = (written, session.upgrade()) {
        inner.finish(SftpError::Ended);
    }
}
