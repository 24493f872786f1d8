//! What is said to the peer

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustls::Error;
use tokio::io::AsyncWrite;

use super::error::TlsError;
use super::records::{ASIDE_BYTES, RECORD_BYTES, SEAL_BYTES, Sealer};
use crate::transport::StreamWriter;
use crate::transport::gathering::GatheringWriter;
use crate::transport::gauge::Gauge;

/// Payload that is sealed at a time, and goes to the socket in one piece: the smaller the pieces
/// the more calls, and beyond this nothing is gained.
const TAKEN_BYTES_MAX: usize = 256 << 10;

/// Small pieces are sealed as they come and wait up to this many bytes for what follows them.
const GATHER_BYTES: usize = 32 << 10;

/// Room for the small, the large and the word that nothing more comes.
const SEALED_BYTES: usize =
    GATHER_BYTES + TAKEN_BYTES_MAX / RECORD_BYTES * (RECORD_BYTES + SEAL_BYTES) + ASIDE_BYTES;

/// The writing half of a stream
pub(super) struct TlsWriter {
    socket: GatheringWriter,
    address: SocketAddr,
    sealer: Sealer,
    /// Of which `sent..sealed` is on its way
    buffer: Vec<u8>,
    sent: usize,
    sealed: usize,
    has_ended: bool,
}

impl TlsWriter {
    pub(super) fn new(socket: GatheringWriter, address: SocketAddr, sealer: Sealer) -> Self {
        let buffer = vec![0; SEALED_BYTES];
        Self { socket, address, sealer, buffer, sent: 0, sealed: 0, has_ended: false }
    }

    /// Sends what is sealed.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.sealed {
            let rest = &self.buffer[self.sent..self.sealed];
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        (self.sent, self.sealed) = (0, 0);
        Poll::Ready(Ok(()))
    }

    /// Sends what has waited long enough, so that there is room for as much as is taken at a time.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sealed > GATHER_BYTES { self.poll_sent(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Seals a piece; there is room for it.
    fn seal(&mut self, piece: &[u8]) -> io::Result<()> {
        let sealed = self.sealer.seal(piece, &mut self.buffer[self.sealed..]);
        self.sealed += sealed.map_err(|error| self.failure(error))?;
        Ok(())
    }

    fn failure(&self, error: Error) -> io::Error {
        TlsError::failed(self.address, error).into_io()
    }
}

impl StreamWriter for TlsWriter {
    /// Small pieces are taken and held until there are enough, or until a flush.
    fn poll_take(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        let writer = self.get_mut();
        ready!(writer.poll_room(cx))?;
        let piece = &bytes[..bytes.len().min(TAKEN_BYTES_MAX)];
        writer.seal(piece)?;
        bytes.advance(piece.len());
        writer.poll_room(cx)
    }

    fn gauge(&self) -> Option<Gauge> {
        self.socket.gauge()
    }
}

impl AsyncWrite for TlsWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let writer = self.get_mut();
        ready!(writer.poll_room(cx))?;
        let piece = &bytes[..bytes.len().min(TAKEN_BYTES_MAX)];
        writer.seal(piece)?;
        // The piece is taken either way; what must wait for room goes on with the next call.
        match writer.poll_room(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(piece.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writer = self.get_mut();
        ready!(writer.poll_sent(cx))?;
        Pin::new(&mut writer.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writer = self.get_mut();
        ready!(writer.poll_room(cx))?;
        if !writer.has_ended {
            let sealed = writer.sealer.seal_end(&mut writer.buffer[writer.sealed..]);
            writer.sealed += sealed.map_err(|error| writer.failure(error))?;
            writer.has_ended = true;
        }
        ready!(writer.poll_sent(cx))?;
        Pin::new(&mut writer.socket).poll_shutdown(cx)
    }
}
