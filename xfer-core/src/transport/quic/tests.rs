use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use quinn::VarInt;

use super::{QuicConnection, QuicError, QuicPort, dial, dial_peer};
use crate::transport::keys::SessionKey;

const DEADLINE: Duration = Duration::from_secs(5);

fn port(key: &SessionKey, peer: &SessionKey) -> (QuicPort, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (QuicPort::new(socket, key, peer.digest()).unwrap(), address)
}

async fn meet() -> (QuicConnection, QuicConnection, QuicPort) {
    let (near, far) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
    let (port, address) = port(&far, &near);
    let dialled = dial(address, &near, far.digest(), DEADLINE);
    let answered = async { port.next().await.unwrap().prove(DEADLINE).await };
    let (dialled, answered) = tokio::join!(dialled, answered);
    (dialled.unwrap(), answered.unwrap(), port)
}

#[tokio::test]
async fn bytes_arrive_as_they_were_sent_on_every_stream() {
    let (near, far, _port) = meet().await;
    let echo = async {
        for _ in 0..3 {
            let mut stream = far.accept().await.unwrap();
            let mut bytes = Vec::new();
            stream.reader.read_to_end(&mut bytes).await.unwrap();
            stream.writer.write_all(&bytes).await.unwrap();
            stream.writer.shutdown().await.unwrap();
        }
    };
    let send = async {
        for number in 0_u8..3 {
            let mut stream = near.open().await.unwrap();
            let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8 ^ number).collect();
            let mut left = Bytes::from(sent.clone());
            while !left.is_empty() {
                std::future::poll_fn(|cx| {
                    std::pin::Pin::new(&mut *stream.writer).poll_take(cx, &mut left)
                })
                .await
                .unwrap();
            }
            stream.writer.shutdown().await.unwrap();
            let mut back = Vec::new();
            stream.reader.read_to_end(&mut back).await.unwrap();
            assert!(back == sent);
        }
    };
    tokio::join!(echo, send);
}

/// Rows: E13.
#[tokio::test]
async fn whoever_holds_another_key_gets_no_connection() {
    let keys: Vec<_> = (0..3).map(|_| SessionKey::generate().unwrap()).collect();
    let (port, address) = port(&keys[1], &keys[0]);
    let answer = async { port.next().await.unwrap().prove(DEADLINE).await };
    let (dialled, answered) =
        tokio::join!(dial(address, &keys[0], keys[2].digest(), DEADLINE), answer);
    assert!(matches!(dialled, Err(QuicError::Identity)), "{dialled:?}");
    assert!(answered.is_err());
    let answer = async { port.next().await.unwrap().prove(DEADLINE).await };
    let dialled = async {
        // The dialling side is done first, and told of the refusal by the first use.
        let connection = dial(address, &keys[2], keys[1].digest(), DEADLINE).await?;
        Err::<(), _>(connection.closed().await)
    };
    let (dialled, answered) = tokio::join!(dialled, answer);
    assert!(dialled.is_err());
    assert!(matches!(answered, Err(QuicError::Identity)), "{answered:?}");
}

/// Rows: E8.
#[tokio::test]
async fn nobody_is_waited_for_longer_than_allowed() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let key = SessionKey::generate().unwrap();
    let peer = SessionKey::generate().unwrap().digest();
    let short = Duration::from_millis(100);
    let dialled = dial(silent.local_addr().unwrap(), &key, peer, short).await;
    assert!(matches!(dialled, Err(QuicError::Silent(_))), "{dialled:?}");
}

#[tokio::test]
async fn a_connection_that_ends_ends_its_streams_with_an_error() {
    let (near, far, _port) = meet().await;
    let mut stream = near.open().await.unwrap();
    stream.writer.write_all(b"x").await.unwrap();
    let mut theirs = far.accept().await.unwrap();
    far.connection.close(VarInt::from_u32(0), b"");
    let mut buffer = Vec::new();
    // Not an end of file: what was cut off is never taken for what is complete.
    assert!(stream.reader.read_to_end(&mut buffer).await.is_err());
    assert!(theirs.writer.write_all(b"y").await.is_err());
}

/// Rows: E15.
#[tokio::test]
async fn an_address_is_proven_on_demand() {
    let (near, far) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
    let (port, address) = port(&far, &near);
    let answer = async {
        let first = port.next().await.unwrap();
        assert!(!first.is_proven_address());
        first.demand_address();
        let again = port.next().await.unwrap();
        assert!(again.is_proven_address());
        again.prove(DEADLINE).await
    };
    let (dialled, answered) = tokio::join!(dial(address, &near, far.digest(), DEADLINE), answer);
    assert!(dialled.is_ok() && answered.is_ok());
}

#[tokio::test]
async fn packets_over_the_loopback_grow_beyond_those_of_a_link() {
    let (near, far, _port) = meet().await;
    let sink = async {
        let mut stream = far.accept().await.unwrap();
        tokio::io::copy(&mut stream.reader, &mut tokio::io::sink()).await.unwrap()
    };
    let send = async {
        let mut stream = near.open().await.unwrap();
        // Sizes are searched for while something is sent.
        while near.reading().path_mtu <= 1_472 {
            stream.writer.write_all(&[7; 64 << 10]).await.unwrap();
        }
        stream.writer.shutdown().await.unwrap();
    };
    let both = async { tokio::join!(sink, send) };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
}

#[tokio::test]
async fn who_has_proven_nothing_opens_one_stream() {
    let key = SessionKey::generate().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let port = QuicPort::of_peer(socket, &key).unwrap();
    let answered = async { port.next().await.unwrap().prove(DEADLINE).await };
    let dialled = dial_peer(address, key.digest(), DEADLINE);
    let (dialled, answered) = tokio::join!(dialled, answered);
    let (dialled, answered) = (dialled.unwrap(), answered.unwrap());
    let mut first = dialled.open().await.unwrap();
    first.writer.write_all(b"x").await.unwrap();
    let _theirs = answered.accept().await.unwrap();
    let mut second = pin!(dialled.open());
    // How many it may open was told with the handshake: it is asked once, and not waited for.
    let early = tokio::time::timeout(Duration::ZERO, second.as_mut()).await;
    assert!(early.is_err(), "a second stream");
    answered.trust();
    assert!(second.await.is_ok());
}
