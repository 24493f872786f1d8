//! The program's own TLS streams, without what the program does with the bytes

use std::fmt::Display;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use xfer_core::transport::keys::SessionKey;
use xfer_core::transport::tls::{Acceptor, Dialler};
use xfer_protocol::data_port::KeyDigest;

use super::{Load, PIECE, ready};
use crate::Done;

const DIALLED_WITHIN: Duration = Duration::from_secs(5);

/// A key for one run
pub(super) fn key() -> Done<SessionKey> {
    SessionKey::generate().map_err(told)
}

/// What the other side is told of a key
pub(super) fn word(key: &SessionKey) -> String {
    key.digest().0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Receives all streams and says how many bytes came
pub(super) fn receive(load: Load, peer: &str) -> Done<u64> {
    let key = key()?;
    let acceptor = Acceptor::new(&key, digest(peer)?).map_err(told)?;
    Runtime::new().map_err(told)?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(told)?;
        ready(listener.local_addr().map_err(told)?, &word(&key));
        let mut streams = JoinSet::new();
        for _ in 0..load.streams {
            let (socket, _) = listener.accept().await.map_err(told)?;
            let acceptor = acceptor.clone();
            streams.spawn(async move {
                let mut stream = acceptor.accept(socket).await.map_err(told)?;
                let mut buffer = vec![0; PIECE];
                let mut count = 0;
                loop {
                    match stream.reader.read(&mut buffer).await.map_err(told)? {
                        0 => return Ok::<_, String>(count),
                        length => count += length as u64,
                    }
                }
            });
        }
        streams.join_all().await.into_iter().sum()
    })
}

/// Sends all streams
pub(super) fn send(to: SocketAddr, load: Load, key: &SessionKey, peer: &str) -> Done {
    let dialler = Dialler::new(key, digest(peer)?).map_err(told)?;
    Runtime::new().map_err(told)?.block_on(async {
        let piece = Bytes::from(vec![1; PIECE]);
        let mut streams = JoinSet::new();
        for number in 0..load.streams {
            let (dialler, piece) = (dialler.clone(), piece.clone());
            streams.spawn(async move {
                let mut stream = dialler.dial(to, DIALLED_WITHIN).await.map_err(told)?;
                let mut left = load.of_stream(number);
                while left > 0 {
                    let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
                    let mut bytes = piece.slice(..length);
                    left -= length as u64;
                    while !bytes.is_empty() {
                        let writer = &mut stream.writer;
                        let taken = poll_fn(|context| {
                            Pin::new(&mut **writer).poll_take(context, &mut bytes)
                        });
                        taken.await.map_err(told)?;
                    }
                }
                stream.writer.shutdown().await.map_err(told)
            });
        }
        streams.join_all().await.into_iter().collect()
    })
}

fn digest(word: &str) -> Done<KeyDigest> {
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        let pair = word.get(2 * index..2 * index + 2).ok_or("half a key")?;
        *byte = u8::from_str_radix(pair, 16).map_err(told)?;
    }
    Ok(KeyDigest(digest))
}

fn told(error: impl Display) -> String {
    error.to_string()
}
