//! A channel as a stream, with what runs beside it: stderr and the exit status

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::ReusableBoxFuture;

use super::connection::SshConnection;
use super::error::SshError;
use super::handshake::Lifetime;
use super::tuning::{STDERR_BYTES_MAX, TAKEN_BYTES_MAX};
use crate::transport::gauge::Gauge;
use crate::transport::{Stream, StreamWriter};

/// A started command
#[derive(Debug)]
pub struct Exec {
    /// Its stdin and stdout
    ///
    /// The reader must be read or dropped: a connection serves all its channels in turn, and one
    /// whose data nobody takes holds up the others.
    pub stream: Stream,
    /// The last 64 KiB of its stderr
    pub stderr: StderrTail,
    ended: watch::Receiver<Ended>,
    _keeper: Arc<ChannelKeeper>,
}

impl Exec {
    /// Waits for the end; `None` when it came without an exit status (a signal, or a lost
    /// connection)
    ///
    /// Reads nothing: stdout must be read to its end, or dropped, for the end to be seen.
    pub async fn wait(&mut self) -> Option<u32> {
        match self.ended.wait_for(|ended| ended.closed).await {
            Ok(ended) => ended.status,
            Err(_) => None,
        }
    }
}

/// What a command left behind
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status, unless a signal or the end of the connection came first
    pub status: Option<u32>,
    /// All of stdout
    pub stdout: Vec<u8>,
    /// The last 64 KiB of stderr
    pub stderr: Vec<u8>,
}

/// The last bytes of a command's stderr
#[derive(Debug, Clone, Default)]
pub struct StderrTail(Arc<Mutex<VecDeque<u8>>>);

impl StderrTail {
    /// What is there until now, at most 64 KiB
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn push(&self, data: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&data[data.len().saturating_sub(STDERR_BYTES_MAX)..]);
        let excess = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..excess);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Ended {
    status: Option<u32>,
    closed: bool,
}

/// Closes the channel when nobody uses it any more, and keeps its connection until then
pub(super) struct ChannelKeeper {
    writer: Arc<ChannelWriteHalf<Msg>>,
    connection: SshConnection,
}

impl fmt::Debug for ChannelKeeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ChannelKeeper").finish_non_exhaustive()
    }
}

impl ChannelKeeper {
    pub(super) fn new(writer: ChannelWriteHalf<Msg>, connection: SshConnection) -> Self {
        Self { writer: Arc::new(writer), connection }
    }
}

impl Drop for ChannelKeeper {
    fn drop(&mut self) {
        let (writer, connection) = (Arc::clone(&self.writer), self.connection.clone());
        // Outside a runtime the connection is ending, and its channels with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                drop(writer.close().await);
                drop(connection);
            });
        }
    }
}

/// Makes the stream of a channel whose request was accepted
pub(super) fn open_lane(half: ChannelReadHalf, keeper: ChannelKeeper) -> Exec {
    let keeper = Arc::new(keeper);
    let stderr = StderrTail::default();
    let (end, ended) = watch::channel(Ended::default());
    let writer = LaneWriter {
        sending: None,
        over: Some(Box::pin(over(ended.clone(), keeper.connection.lifetime()))),
        keeper: Arc::clone(&keeper),
        shut_down: false,
    };
    let side = SideBand { stderr: stderr.clone(), end };
    let reader = LaneReader {
        next: ReusableBoxFuture::new(receive(half)),
        current: Bytes::new(),
        side: Some(side),
        _keeper: Arc::clone(&keeper),
    };
    let stream = Stream { reader: Box::new(reader), writer: Box::new(writer) };
    Exec { stream, stderr, ended, _keeper: keeper }
}

/// Feeds a command and collects what it prints
pub(super) async fn collect(
    mut exec: Exec,
    stdin: Bytes,
    output_limit: usize,
    host: String,
) -> Result<Output, SshError> {
    let Stream { mut reader, mut writer } = std::mem::replace(&mut exec.stream, ended_stream());
    let feed = async move {
        // A command may end without reading all of its input; its status tells whether that is
        // wrong.
        if writer.write_all(&stdin).await.is_ok() {
            drop(writer.shutdown().await);
        }
    };
    let mut stdout = Vec::new();
    let limit = u64::try_from(output_limit).unwrap_or(u64::MAX);
    let drain = async {
        let read = (&mut reader).take(limit.saturating_add(1)).read_to_end(&mut stdout).await;
        let too_long = stdout.len() > output_limit;
        drop(reader);
        (read, too_long)
    };
    let ((), (read, too_long)) = tokio::join!(feed, drain);
    if too_long {
        return Err(SshError::OutputTooLong { host, limit: output_limit });
    }
    read.map_err(|error| SshError::Lost { host, reason: error.to_string() })?;
    let status = exec.wait().await;
    Ok(Output { status, stdout, stderr: exec.stderr.bytes() })
}

fn ended_stream() -> Stream {
    Stream::new(tokio::io::empty(), tokio::io::sink())
}

type Received = (ChannelReadHalf, Option<ChannelMsg>);

async fn receive(mut half: ChannelReadHalf) -> Received {
    let message = half.wait().await;
    (half, message)
}

/// Where everything goes that is not stdout
struct SideBand {
    stderr: StderrTail,
    end: watch::Sender<Ended>,
}

impl SideBand {
    fn take(&self, message: ChannelMsg) {
        match message {
            ChannelMsg::ExtendedData { data, .. } => self.stderr.push(&data),
            ChannelMsg::ExitStatus { exit_status } => {
                self.end.send_modify(|ended| ended.status = Some(exit_status));
            }
            _ => {}
        }
    }

    /// Follows the channel to its end, so that the status arrives and nothing is held up
    async fn follow(self, mut half: ChannelReadHalf) {
        while let Some(message) = half.wait().await {
            self.take(message);
        }
        self.close();
    }

    fn close(&self) {
        self.end.send_modify(|ended| ended.closed = true);
    }
}

/// Stdout; after its end, or when it is dropped, a task follows the channel to its close
struct LaneReader {
    next: ReusableBoxFuture<'static, Received>,
    current: Bytes,
    side: Option<SideBand>,
    _keeper: Arc<ChannelKeeper>,
}

impl AsyncRead for LaneReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.current.is_empty() {
                let count = self.current.len().min(buffer.remaining());
                buffer.put_slice(&self.current[..count]);
                self.current.advance(count);
                return Poll::Ready(Ok(()));
            }
            if self.side.is_none() {
                return Poll::Ready(Ok(()));
            }
            let (half, message) = ready!(self.next.poll(context));
            match message {
                Some(ChannelMsg::Data { data }) => {
                    self.next.set(receive(half));
                    self.current = data;
                }
                Some(ChannelMsg::Eof) => {
                    if let (Some(side), Ok(runtime)) = (self.side.take(), Handle::try_current()) {
                        runtime.spawn(side.follow(half));
                    }
                }
                None => {
                    if let Some(side) = self.side.take() {
                        side.close();
                    }
                }
                Some(other) => {
                    self.next.set(receive(half));
                    if let Some(side) = &self.side {
                        side.take(other);
                    }
                }
            }
        }
    }
}

impl Drop for LaneReader {
    fn drop(&mut self) {
        let pending =
            std::mem::replace(&mut self.next, ReusableBoxFuture::new(std::future::pending()));
        if let (Some(side), Ok(runtime)) = (self.side.take(), Handle::try_current()) {
            runtime.spawn(async move {
                let mut pending = pending;
                let (half, message) = std::future::poll_fn(|context| pending.poll(context)).await;
                match message {
                    Some(message) => {
                        side.take(message);
                        side.follow(half).await;
                    }
                    None => side.close(),
                }
            });
        }
    }
}

/// Stdin; the far end sees its end when this is shut down or dropped
struct LaneWriter {
    /// What was taken and is not yet with the engine
    sending: Option<Sending>,
    /// `None` once the channel or its connection has ended
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    keeper: Arc<ChannelKeeper>,
    shut_down: bool,
}

type Sending = Pin<Box<dyn Future<Output = Result<(), russh::Error>> + Send>>;

impl LaneWriter {
    /// Waits until the engine has what was taken
    ///
    /// The engine itself waits for the window of a channel that will never open it again; we do
    /// not.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(sending) = &mut self.sending else { return Poll::Ready(Ok(())) };
        if let Poll::Ready(sent) = sending.as_mut().poll(context) {
            self.sending = None;
            return Poll::Ready(sent.map_err(|_| io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(over) = &mut self.over {
            ready!(over.as_mut().poll(context));
            self.over = None;
        }
        self.sending = None;
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn send(&mut self, bytes: Bytes) {
        let keeper = Arc::clone(&self.keeper);
        self.sending = Some(Box::pin(async move { keeper.writer.data_bytes(bytes).await }));
    }
}

impl StreamWriter for LaneWriter {
    fn poll_take(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        if self.sending.is_none() && !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(TAKEN_BYTES_MAX));
            self.send(piece);
        }
        self.poll_sent(context)
    }

    fn gauge(&self) -> Option<Gauge> {
        self.keeper.connection.gauge()
    }
}

async fn over(mut ended: watch::Receiver<Ended>, lifetime: Lifetime) {
    let closed = async { drop(ended.wait_for(|ended| ended.closed).await) };
    tokio::select! {
        () = closed => {}
        () = lifetime.over() => {}
    }
}

impl AsyncWrite for LaneWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(context))?;
        let piece = &bytes[..bytes.len().min(TAKEN_BYTES_MAX)];
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send(Bytes::copy_from_slice(piece));
        // The piece is taken either way; one that must wait for room goes on with the next call.
        match self.poll_sent(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(piece.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(context))?;
        if !self.shut_down {
            self.shut_down = true;
            let keeper = Arc::clone(&self.keeper);
            self.sending = Some(Box::pin(async move { keeper.writer.eof().await }));
        }
        self.poll_sent(context)
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        let keeper = Arc::clone(&self.keeper);
        keeper.connection.channel_given_back();
        if let (false, Ok(runtime)) = (self.shut_down, Handle::try_current()) {
            runtime.spawn(async move { keeper.writer.eof().await });
        }
    }
}
