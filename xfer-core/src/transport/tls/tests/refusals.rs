//! Who is not let in

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{LONG, listener, meet, sides};
use crate::transport::Stream;
use crate::transport::keys::SessionKey;
use crate::transport::tls::{Acceptor, Dialler, PROVEN_WITHIN, TlsError};

/// What the dialler learns from the first that comes.
async fn first(stream: Stream) -> io::Error {
    let mut reader = stream.reader;
    reader.read(&mut [0; 8]).await.unwrap_err()
}

fn reason(error: &io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn with_config(dialler: &Dialler, change: impl FnOnce(&mut ClientConfig)) -> Dialler {
    let mut config = ClientConfig::clone(&dialler.0);
    change(&mut config);
    Dialler(Arc::new(config))
}

/// Rows: E13.
#[tokio::test]
async fn another_machine_on_the_port_is_a_stranger() {
    let (_, acceptor) = sides();
    let (near, expected) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
    let dialler = Dialler::new(&near, expected.digest()).unwrap();
    let (listener, address) = listener().await;
    let (dialled, accepted) = meet(&dialler, &acceptor, &listener, address).await;
    let error = dialled.unwrap_err();
    assert!(matches!(error, TlsError::Stranger { address: at, .. } if at == address), "{error:?}");
    assert!(matches!(accepted, Err(TlsError::Unknown { .. })), "{accepted:?}");
}

/// Rows: E13.
#[tokio::test]
async fn whoever_dials_with_another_key_is_a_stranger() {
    let (near, far) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
    let expected = SessionKey::generate().unwrap();
    let dialler = Dialler::new(&near, far.digest()).unwrap();
    let acceptor = Acceptor::new(&far, expected.digest()).unwrap();
    let (listener, address) = listener().await;
    let (dialled, accepted) = meet(&dialler, &acceptor, &listener, address).await;
    assert!(matches!(accepted, Err(TlsError::Stranger { .. })), "{accepted:?}");
    let error = first(dialled.unwrap()).await;
    assert!(matches!(reason(&error), Some(TlsError::Unknown { .. })), "{error:?}");
}

/// Rows: E13.
#[tokio::test]
async fn whoever_dials_without_a_key_is_a_stranger() {
    #[derive(Debug)]
    struct Nobody;

    impl ResolvesClientCert for Nobody {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }

        fn only_raw_public_keys(&self) -> bool {
            true
        }

        fn has_certs(&self) -> bool {
            false
        }
    }

    let (dialler, acceptor) = sides();
    let dialler =
        with_config(&dialler, |config| config.client_auth_cert_resolver = Arc::new(Nobody));
    let (listener, address) = listener().await;
    let (dialled, accepted) = meet(&dialler, &acceptor, &listener, address).await;
    assert!(matches!(accepted, Err(TlsError::Stranger { .. })), "{accepted:?}");
    let error = first(dialled.unwrap()).await;
    assert!(matches!(reason(&error), Some(TlsError::Unknown { .. })), "{error:?}");
}

/// Rows: E13.
#[tokio::test]
async fn another_version_is_refused() {
    let (dialler, acceptor) = sides();
    let dialler =
        with_config(&dialler, |config| config.alpn_protocols = vec![b"xfer/999".to_vec()]);
    let (listener, address) = listener().await;
    let (dialled, accepted) = meet(&dialler, &acceptor, &listener, address).await;
    assert!(matches!(dialled, Err(TlsError::Garbled { .. })), "{dialled:?}");
    assert!(matches!(accepted, Err(TlsError::Garbled { .. })), "{accepted:?}");
}

/// Rows: E13.
#[tokio::test]
async fn what_is_not_tls_is_refused_on_either_side() {
    let (dialler, acceptor) = sides();
    let (listener, address) = listener().await;
    for said in [&b"GET / HTTP/1.1\r\nHost: there\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0; 64]] {
        let dialled = async {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(said).await.unwrap();
            let mut answer = Vec::new();
            let _reset = socket.read_to_end(&mut answer).await;
            answer
        };
        let accepted = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        let (answer, accepted) = tokio::join!(dialled, accepted);
        assert!(matches!(accepted, Err(TlsError::Garbled { .. })), "{accepted:?}");
        assert!(answer.len() < 16, "a stranger was told {answer:?}");

        let accepted = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _gone = socket.write_all(said).await;
            let _reset = socket.read_to_end(&mut Vec::new()).await;
        };
        let (dialled, ()) = tokio::join!(dialler.dial(address, LONG), accepted);
        assert!(matches!(dialled, Err(TlsError::Garbled { .. })), "{dialled:?}");
    }
}

/// Rows: NL8.
#[tokio::test]
async fn whoever_is_slow_to_prove_a_key_is_gone_in_time() {
    assert!(PROVEN_WITHIN <= Duration::from_secs(5));
    let (_, acceptor) = sides();
    let (listener, address) = listener().await;
    let limit = Duration::from_millis(50);
    // Nothing, and the beginning of a handshake that promises 16,000 bytes more.
    for said in [&b""[..], &[22, 3, 1, 62, 128, 1, 0, 62, 124, 3, 3]] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said).await.unwrap();
        let accepted = listener.accept().await.unwrap().0;
        let outcome = acceptor.accept_within(limit, accepted).await;
        assert!(matches!(outcome, Err(TlsError::Late { .. })), "{outcome:?}");
        let ended = socket.read(&mut [0; 8]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "the connection is still there");
    }
}

/// Rows: NL8.
#[tokio::test]
async fn a_handshake_without_end_is_refused() {
    let (_, acceptor) = sides();
    let (listener, address) = listener().await;
    let flood = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let record = [&[22, 3, 1, 62, 128, 1, 0, 255, 255][..], &[0; 15_996]].concat();
        while socket.write_all(&record).await.is_ok() {}
    };
    let accepted = async { acceptor.accept(listener.accept().await.unwrap().0).await };
    let ((), accepted) = tokio::join!(flood, accepted);
    assert!(matches!(accepted, Err(TlsError::Garbled { .. })), "{accepted:?}");
}

#[tokio::test]
async fn whoever_does_not_answer_is_given_up() {
    let (dialler, _) = sides();
    let (_listener, address) = listener().await;
    let outcome = dialler.dial(address, Duration::from_millis(50)).await;
    assert!(matches!(outcome, Err(TlsError::Late { .. })), "{outcome:?}");
    // A place that is held and not listened on: no other test can listen there.
    let held = TcpSocket::new_v4().unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let outcome = dialler.dial(held.local_addr().unwrap(), LONG).await;
    assert!(matches!(outcome, Err(TlsError::Unreachable { .. })), "{outcome:?}");
}
