//! Authenticated streams between two machines

pub mod address;
pub(crate) mod companion;
pub(crate) mod compression;
pub mod congestion;
pub(crate) mod framed;
pub(crate) mod gathering;
pub mod gauge;
pub mod greeting;
pub(crate) mod guard;
pub mod http;
pub mod keys;
pub mod peer;
pub(crate) mod pipe;
pub(crate) mod quic;
pub(crate) mod quic_tuning;
pub(crate) mod sftp;
pub mod ssh;
pub mod tls;
pub mod web;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use gauge::Gauge;

/// One ordered lane of bytes in both directions
///
/// Shutting the writer down tells the far end that nothing more comes; dropping both halves ends
/// the lane.
pub struct Stream {
    /// What the far end sends
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What the far end receives
    pub writer: Box<dyn StreamWriter>,
}

/// A writer that can be handed bytes it may keep, where it would have to copy them otherwise
pub trait StreamWriter: AsyncWrite + Send + Unpin {
    /// Takes some of the bytes away from their front; ready once these are on their way
    ///
    /// After `Pending` the part that was taken is still held, and the next call goes on with it.
    fn poll_take(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<io::Result<()>>;

    /// What tells of the connection that carries the bytes, where there is such a thing
    fn gauge(&self) -> Option<Gauge> {
        None
    }
}

impl Stream {
    /// A stream whose writer copies what it is given
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(Copying(writer)) }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// Any writer, with what it cannot do better
struct Copying<W>(W);

impl<W: AsyncWrite + Send + Unpin> StreamWriter for Copying<W> {
    fn poll_take(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(context, bytes))?;
        if written == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        bytes.advance(written);
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Copying<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
