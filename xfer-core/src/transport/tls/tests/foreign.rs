//! Against the same library's own records, over a socket

use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{Sequence, listener, receive, send, sides};

/// Rustls's own records, and its own changes of keys, in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn another_end_understands_and_is_understood() {
    let (dialler, acceptor) = sides();
    let (listener, address) = listener().await;
    let up = Sequence(21).bytes(3 << 20);
    let down = Sequence(22).bytes(3 << 20);
    let (up_sent, down_expected) = (up.clone(), down.clone());
    let foreign = tokio::task::spawn_blocking(move || {
        let name = ServerName::try_from("there").unwrap();
        let connection = ClientConnection::new(Arc::clone(&dialler.0), name).unwrap();
        let socket = BlockingStream::connect(address).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        for piece in up_sent.chunks(100_000) {
            stream.write_all(piece).unwrap();
            stream.conn.refresh_traffic_keys().unwrap();
        }
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == down_expected, "what came is not what was sent");
    });
    let (socket, _) = listener.accept().await.unwrap();
    let stream = acceptor.accept(socket).await.unwrap();
    assert!(receive(stream.reader, Sequence(23)).await == up);
    send(stream.writer, down, Sequence(24)).await;
    foreign.await.unwrap();
}
