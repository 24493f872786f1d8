//! What the peer says

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::records::{Opened, Records, SEALED_RECORD_BYTES_MAX, Side};
use crate::transport::gathering::GatheringReader;

/// Bytes taken from the socket at once: what lies here is opened before it leaves the cache.
const RECEIVED_BYTES: usize = 256 << 10;

/// The reading half of a stream
pub(super) struct TlsReader<S> {
    socket: GatheringReader,
    records: Arc<Mutex<Records<S>>>,
    /// What came, of which `start..end` has not been opened
    received: Vec<u8>,
    start: usize,
    end: usize,
    /// Payload that had no room where it was wanted, given away up to `given`
    opened: Vec<u8>,
    given: usize,
}

impl<S: Side> TlsReader<S> {
    /// Goes on where the handshake ended.
    pub(super) fn new(
        socket: GatheringReader,
        records: Arc<Mutex<Records<S>>>,
        opened: Vec<u8>,
        unopened: &[u8],
    ) -> Self {
        let mut received = vec![0; RECEIVED_BYTES];
        let end = unopened.len();
        received[..end].copy_from_slice(unopened);
        Self { socket, records, received, start: 0, end, opened, given: 0 }
    }

    /// Gives what was opened before.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.opened[self.given..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.given += count;
    }

    /// Opens one record into the buffer.
    fn open(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<Opened> {
        let Self { opened, given, .. } = self;
        let take = |payload: &[u8]| {
            let (now, later) = payload.split_at(payload.len().min(buffer.remaining()));
            buffer.put_slice(now);
            if *given == opened.len() {
                opened.clear();
                *given = 0;
            }
            opened.extend_from_slice(later);
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, outcome) = records.open(&mut self.received[self.start..self.end], take);
        self.start += used;
        outcome.map_err(super::TlsError::into_io)
    }

    /// Takes more from the socket.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.start == self.end || self.received.len() - self.end < SEALED_RECORD_BYTES_MAX {
            self.received.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut room = ReadBuf::new(&mut self.received[self.end..]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        if read == 0 {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            return Poll::Ready(Err(records.truncated().into_io()));
        }
        self.end += read;
        Poll::Ready(Ok(()))
    }
}

impl<S: Side> AsyncRead for TlsReader<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = self.get_mut();
        let before = buffer.filled().len();
        reader.give(buffer);
        while buffer.remaining() > 0 {
            let opened = reader.open(buffer);
            let gave = buffer.filled().len() > before;
            match opened {
                Ok(Opened::Payload) => {}
                Ok(Opened::Nothing) if !gave => ready!(reader.poll_receive(cx))?,
                Err(error) if !gave => return Poll::Ready(Err(error)),
                // What was given comes first; the next call finds the same again.
                Ok(Opened::Nothing | Opened::Ended) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
