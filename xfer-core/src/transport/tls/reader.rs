//! What the peer says

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Error;
use tokio::io::{AsyncRead, ReadBuf};

use super::error::TlsError;
use super::handshake::Early;
use super::records::{Content, Opened, Opener, SEALED_RECORD_BYTES_MAX};
use crate::transport::gathering::GatheringReader;

/// Room of our own for what is read in small pieces, and for a record that came in part.
const RECEIVED_BYTES: usize = 2 * SEALED_RECORD_BYTES_MAX;

/// The reading half of a stream
///
/// Where there is much room for payload the socket is read straight into it, and the records are
/// opened there: payload is not copied.
pub(super) struct TlsReader {
    socket: GatheringReader,
    address: SocketAddr,
    opener: Opener,
    /// Payload at `opened`; behind it what has not been opened, at `sealed`
    received: Vec<u8>,
    opened: Range<usize>,
    sealed: Range<usize>,
    has_ended: bool,
}

impl TlsReader {
    /// Goes on where the handshake ended.
    pub(super) fn new(
        socket: GatheringReader,
        address: SocketAddr,
        opener: Opener,
        early: Early,
    ) -> Self {
        let Early { mut payload, has_ended, sealed } = early;
        let opened = 0..payload.len();
        let sealed_end = opened.end + sealed.len();
        let received = &mut payload;
        received.extend_from_slice(&sealed);
        received.resize(sealed_end.max(RECEIVED_BYTES), 0);
        let (received, sealed) = (payload, opened.end..sealed_end);
        Self { socket, address, opener, received, opened, sealed, has_ended }
    }

    /// Gives what is open, as far as there is room.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.opened.len().min(buffer.remaining());
        buffer.put_slice(&self.received[self.opened.start..][..count]);
        self.opened.start += count;
    }

    /// Opens the next record in our own room; whether there was one.
    fn open(&mut self) -> Result<bool, Error> {
        let start = self.sealed.start;
        let received = &mut self.received[..self.sealed.end];
        let Some(Opened { length, content }) = self.opener.open(received, start, start)? else {
            return Ok(false);
        };
        self.sealed.start += length;
        match content {
            Content::Payload(length) => self.opened = start..start + length,
            Content::End => self.has_ended = true,
        }
        Ok(true)
    }

    /// Takes a little from the socket into our own room, where nothing is open.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.received.copy_within(self.sealed.clone(), 0);
        self.sealed = 0..self.sealed.len();
        let mut room = ReadBuf::new(&mut self.received[self.sealed.end..]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.sealed.end += read;
        Poll::Ready(self.not_cut_off(read))
    }

    /// Takes much from the socket into the buffer and opens it there.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        buffer.put_slice(&self.received[self.sealed.clone()]);
        let held = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buffer);
        let read = buffer.filled().len() - held;
        if !matches!(polled, Poll::Ready(Ok(()))) || read == 0 {
            buffer.set_filled(before);
            ready!(polled)?;
            return Poll::Ready(self.not_cut_off(read));
        }
        let bytes = &mut buffer.filled_mut()[before..];
        let (mut start, mut place) = (0, 0);
        let outcome = loop {
            match self.opener.open(bytes, start, place) {
                Ok(Some(Opened { length, content })) => {
                    start += length;
                    match content {
                        Content::Payload(length) => place += length,
                        Content::End => self.has_ended = true,
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if self.has_ended {
                break Ok(());
            }
        };
        // A part of a record is shorter than a record, and what follows an error or the end is
        // nothing to anybody.
        let rest = &bytes[start..][..(bytes.len() - start).min(self.received.len())];
        self.received[..rest.len()].copy_from_slice(rest);
        self.sealed = 0..rest.len();
        buffer.set_filled(before + place);
        match outcome {
            Err(error) if place == 0 => Poll::Ready(Err(self.failure(error))),
            // What was given comes first; the next call fails again.
            Ok(()) | Err(_) => Poll::Ready(Ok(())),
        }
    }

    /// A socket that ended before the peer said so was cut off.
    fn not_cut_off(&self, read: usize) -> io::Result<()> {
        let address = self.address;
        if read == 0 { Err(TlsError::Truncated { address }.into_io()) } else { Ok(()) }
    }

    fn failure(&self, error: Error) -> io::Error {
        TlsError::failed(self.address, error).into_io()
    }
}

impl AsyncRead for TlsReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = self.get_mut();
        let before = buffer.filled().len();
        loop {
            reader.give(buffer);
            let gave = buffer.filled().len() > before;
            if buffer.remaining() == 0 || reader.has_ended {
                return Poll::Ready(Ok(()));
            }
            match reader.open() {
                Ok(true) => {}
                // What was given comes first; the next call finds the same again.
                Ok(false) | Err(_) if gave => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(reader.failure(error))),
                Ok(false) if buffer.remaining() >= RECEIVED_BYTES => {
                    ready!(reader.poll_through(cx, buffer))?;
                }
                Ok(false) => ready!(reader.poll_receive(cx))?,
            }
        }
    }
}
