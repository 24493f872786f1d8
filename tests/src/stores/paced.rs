//! A stream that carries no more than so many bytes a second, all streams of a store together

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What may be carried at once, so that a pause is longer than the system's clock is coarse
const BURST: Duration = Duration::from_millis(5);

/// One direction of a link, which all streams share
#[derive(Debug)]
pub(super) struct Lane {
    bytes_a_second: f64,
    free: Mutex<Instant>,
}

impl Lane {
    pub(super) fn new(bytes_a_second: u64) -> Arc<Self> {
        let free = Mutex::new(Instant::now());
        Arc::new(Self { bytes_a_second: bytes_a_second as f64, free })
    }

    /// Books bytes, and says when they have passed
    fn book(&self, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_a_second);
        *free = (*free).max(Instant::now()) + took;
        *free
    }
}

/// A direction of one stream
#[derive(Debug)]
struct Gate {
    lane: Option<Arc<Lane>>,
    until: Pin<Box<Sleep>>,
}

impl Gate {
    fn new(lane: Option<Arc<Lane>>) -> Self {
        Self { lane, until: Box::pin(sleep_until(Instant::now())) }
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.lane {
            Some(_) => self.until.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }

    fn passed(&mut self, bytes: usize) {
        if let Some(lane) = &self.lane {
            let until = lane.book(bytes);
            self.until.as_mut().reset(until.checked_sub(BURST).unwrap_or(until));
        }
    }
}

/// A connection between two lanes
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    inbound: Gate,
    outbound: Gate,
}

impl Paced {
    /// Without lanes it is the stream itself
    pub(super) fn new(stream: TcpStream, lanes: [Option<Arc<Lane>>; 2]) -> Self {
        let [inbound, outbound] = lanes.map(Gate::new);
        Self { stream, inbound, outbound }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.inbound.poll_open(context));
        let before = room.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, room));
        self.inbound.passed(room.filled().len() - before);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.outbound.poll_open(context));
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.outbound.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.outbound.poll_open(context));
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces))?;
        self.outbound.passed(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
