//! Streams in memory that can be cut, or brought to a stand, from outside.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use xfer_core::transport::Stream;

/// Decides whether anything is read from a line.
#[derive(Default)]
pub struct Gate(Mutex<(Flow, Option<Waker>)>);

#[derive(Clone, Copy, Default)]
enum Flow {
    #[default]
    Open,
    Frozen,
    Cut,
}

impl Gate {
    /// Nothing more is read, as if the far side had fallen silent.
    pub fn freeze(&self) {
        self.0.lock().unwrap().0 = Flow::Frozen;
    }

    /// The line ends.
    pub fn cut(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = Flow::Cut;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    fn meet(&self, cx: &Context<'_>) -> Flow {
        let mut state = self.0.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        state.0
    }
}

/// One end of a stream.
pub struct Line {
    inner: DuplexStream,
    /// Bytes in both directions after which it ends.
    left: Option<u64>,
    gate: Option<Arc<Gate>>,
    /// Shared by whoever wants to know whether it is still held.
    _held: Option<Arc<()>>,
}

impl Line {
    pub fn new(inner: DuplexStream) -> Self {
        Self { inner, left: None, gate: None, _held: None }
    }

    pub fn cut_after(self, bytes: Option<u64>) -> Self {
        Self { left: bytes, ..self }
    }

    pub fn behind(self, gate: &Arc<Gate>) -> Self {
        Self { gate: Some(Arc::clone(gate)), ..self }
    }

    pub fn holding(self, held: &Arc<()>) -> Self {
        Self { _held: Some(Arc::clone(held)), ..self }
    }

    fn room(&self, wanted: usize) -> usize {
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap());
        wanted.min(left)
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.map(|left| left - bytes as u64);
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.gate.as_ref().map(|gate| gate.meet(cx)) {
            Some(Flow::Frozen) => return Poll::Pending,
            Some(Flow::Cut) => return Poll::Ready(Ok(())),
            Some(Flow::Open) | None => {}
        }
        let mut bytes = vec![0; this.room(buffer.remaining())];
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(&mut bytes);
        let polled = Pin::new(&mut this.inner).poll_read(cx, &mut part);
        buffer.put_slice(part.filled());
        let read = part.filled().len();
        this.spend(read);
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let room = this.room(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let polled = Pin::new(&mut this.inner).poll_write(cx, &bytes[..room]);
        if let Poll::Ready(Ok(written)) = polled {
            this.spend(written);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Both halves of a line.
pub fn stream(line: Line) -> Stream {
    let (reader, writer) = tokio::io::split(line);
    Stream::new(reader, writer)
}
