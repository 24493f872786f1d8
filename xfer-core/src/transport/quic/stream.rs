//! One bidirectional stream of a connection

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::QuicConnection;
use crate::transport::gauge::Gauge;
use crate::transport::{Stream, StreamWriter};

/// Both directions; the connection stays while either is there.
pub(super) fn joined(send: SendStream, receive: RecvStream, connection: QuicConnection) -> Stream {
    let reader = Reader { receive, _connection: connection.clone() };
    let writer = Writer { send, connection };
    Stream { reader: Box::new(reader), writer: Box::new(writer) }
}

struct Reader {
    receive: RecvStream,
    _connection: QuicConnection,
}

struct Writer {
    send: SendStream,
    connection: QuicConnection,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), cx, buffer)
    }
}

impl StreamWriter for Writer {
    fn poll_take(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        // What is handed over is sent from where it lies. The future keeps nothing between polls.
        let chunks = std::slice::from_mut(bytes);
        let written = ready!(pin!(self.send.write_chunks(chunks)).poll(cx));
        Poll::Ready(written.map(drop).map_err(Into::into))
    }

    fn gauge(&self) -> Option<Gauge> {
        Some(Gauge::of_quic(self.connection.clone()))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}
