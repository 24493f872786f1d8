//! The bytes below SSH: what is said before the banner, and a limit for writes that go nowhere

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::time::Sleep;

use super::tuning::{GREETING_BYTES_MAX, SOCKET_READ_BYTES};

/// A byte stream in both directions
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A socket, a tunnel through a jump host, or the stdin and stdout of a ProxyCommand
pub(super) type BoxedDuplex = Box<dyn Duplex>;

/// What the peer said until its banner
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    banner: bool,
}

impl Greeting {
    /// Whether an SSH banner came
    pub(super) fn has_banner(&self) -> bool {
        self.lock().banner
    }

    /// The text before the banner, made safe to show
    pub(super) fn text(&self) -> String {
        let heard = self.lock();
        let text = String::from_utf8_lossy(&heard.bytes);
        let lines = text.lines().filter(|line| !line.starts_with("SSH-"));
        lines.collect::<Vec<_>>().join("; ").escape_debug().to_string()
    }

    /// Listens until the banner; answers whether it must hear more
    fn hear(&self, bytes: &[u8]) -> bool {
        let mut heard = self.lock();
        let room = GREETING_BYTES_MAX.saturating_sub(heard.bytes.len());
        heard.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        heard.banner =
            heard.bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-"));
        !heard.banner && room > 0
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duplex that remembers the greeting, reads in large pieces and gives up on writes without
/// progress
pub(super) struct Wire {
    inner: BufReader<BoxedDuplex>,
    greeting: Option<Greeting>,
    stalled: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
}

impl Wire {
    pub(super) fn new(inner: BoxedDuplex, greeting: Greeting, stall_max: Duration) -> Self {
        let inner = BufReader::with_capacity(SOCKET_READ_BYTES, inner);
        Self { inner, greeting: Some(greeting), stalled: None, stall_max }
    }

    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stall_max = self.stall_max;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        ready!(timer.as_mut().poll(context));
        let text = "the peer took no byte for too long";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(greeting) = &self.greeting
            && !greeting.hear(&buffer.filled()[before..])
        {
            self.greeting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.watched(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watched(context, outcome)
    }
}
