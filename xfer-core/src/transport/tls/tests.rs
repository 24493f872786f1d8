mod ends;
mod foreign;
mod records;
mod refusals;
mod wire;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Acceptor, Dialler, TlsError, socket};
use crate::transport::keys::SessionKey;
use crate::transport::{Stream, StreamWriter};

/// More than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// Two sides that expect each other.
fn sides() -> (Dialler, Acceptor) {
    let (near, far) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
    let dialler = Dialler::new(&near, far.digest()).unwrap();
    (dialler, Acceptor::new(&far, near.digest()).unwrap())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What either side has once both have tried, `by` way of an address.
async fn meet(
    dialler: &Dialler,
    acceptor: &Acceptor,
    listener: &TcpListener,
    by: SocketAddr,
) -> (Result<Stream, TlsError>, Result<Stream, TlsError>) {
    let accepted = async {
        let (socket, _) = listener.accept().await.unwrap();
        acceptor.accept(socket).await
    };
    tokio::join!(dialler.dial(by, LONG), accepted)
}

/// A stream's two ends.
async fn pair() -> (Stream, Stream) {
    let (dialler, acceptor) = sides();
    let (listener, address) = listener().await;
    let (near, far) = meet(&dialler, &acceptor, &listener, address).await;
    (near.unwrap(), far.unwrap())
}

/// A sequence that looks random, the same for a seed.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `limit`, small numbers as often as large ones.
    fn size(&mut self, limit: usize) -> usize {
        let bits = self.next() % u64::from(limit.ilog2() + 1);
        let number = self.next() % (2 << bits);
        usize::try_from(number).unwrap().min(limit)
    }

    fn bytes(&mut self, length: usize) -> Bytes {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

async fn take(writer: &mut Box<dyn StreamWriter>, mut bytes: Bytes) -> std::io::Result<()> {
    while !bytes.is_empty() {
        poll_fn(|cx| Pin::new(&mut **writer).poll_take(cx, &mut bytes)).await?;
    }
    Ok(())
}

/// Sends all of it in pieces of every size and in every way, and says that it was all.
async fn send(mut writer: Box<dyn StreamWriter>, mut bytes: Bytes, mut sizes: Sequence) {
    while !bytes.is_empty() {
        let piece = bytes.split_to(sizes.size(1 << 20).min(bytes.len()));
        match sizes.next() % 4 {
            0 => writer.write_all(&piece).await.unwrap(),
            1 => {
                take(&mut writer, piece).await.unwrap();
                writer.flush().await.unwrap();
            }
            _ => take(&mut writer, piece).await.unwrap(),
        }
    }
    writer.shutdown().await.unwrap();
}

async fn receive(
    mut reader: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
    mut sizes: Sequence,
) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let mut piece = vec![0; sizes.size(1 << 20).max(1)];
        let count = reader.read(&mut piece).await.unwrap();
        if count == 0 {
            return received;
        }
        received.extend_from_slice(&piece[..count]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_both_ways_at_once() {
    for seed in 1..=6 {
        let (near, far) = pair().await;
        let sequence = |way: u64| Sequence(seed * 7919 + way);
        let up = sequence(0).bytes(9 << 20);
        let down = sequence(1).bytes(9 << 20);
        let (up_sent, down_sent) = (up.clone(), down.clone());
        let sending = [
            tokio::spawn(send(near.writer, up_sent, sequence(2))),
            tokio::spawn(send(far.writer, down_sent, sequence(3))),
        ];
        let receiving = tokio::spawn(receive(far.reader, sequence(4)));
        let down_received = receive(near.reader, sequence(5)).await;
        assert!(down_received == down, "seed {seed}: what came is not what was sent");
        assert!(receiving.await.unwrap() == up, "seed {seed}: what came is not what was sent");
        for sent in sending {
            sent.await.unwrap();
        }
    }
}

/// A small message that is flushed waits for nothing.
#[tokio::test]
async fn what_is_flushed_goes_out() {
    let (mut near, mut far) = pair().await;
    for question in 0..50_u8 {
        near.writer.write_all(&[question; 100]).await.unwrap();
        near.writer.flush().await.unwrap();
        let mut asked = [0; 100];
        far.reader.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, [question; 100]);
        take(&mut far.writer, Bytes::from(vec![!question; 100])).await.unwrap();
        far.writer.flush().await.unwrap();
        near.reader.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, [!question; 100]);
    }
}

/// Rows: NL8.
#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_writer_back() {
    let (mut near, far) = pair().await;
    let mut taken = 0_usize;
    let piece = Bytes::from(vec![7; 256 << 10]);
    loop {
        let mut bytes = piece.clone();
        let took = poll_fn(|cx| {
            let polled = Pin::new(&mut *near.writer).poll_take(cx, &mut bytes);
            std::task::Poll::Ready(polled.is_ready())
        });
        let is_ready = took.await;
        taken += piece.len() - bytes.len();
        if !is_ready {
            break;
        }
        assert!(taken < 1 << 30, "{taken} bytes were taken and nobody read them");
    }
    // Whatever was taken is there for a reader that begins.
    let mut received = vec![0; taken];
    let mut reader = far.reader;
    let flushed = near.writer.flush();
    let (flushed, read) = tokio::join!(flushed, reader.read_exact(&mut received));
    flushed.unwrap();
    assert_eq!(read.unwrap(), taken);
    assert!(received.iter().all(|byte| *byte == 7));
}

/// Pacing by the system costs much where there is no delay to speak of.
#[tokio::test]
async fn a_near_socket_is_not_paced() {
    let (listener, address) = listener().await;
    let (near, far) = tokio::join!(socket::connect(address), listener.accept());
    let (near, _far) = (near.unwrap(), far.unwrap());
    socket::tune_to_distance(&near);
    #[cfg(target_os = "linux")]
    {
        let chosen = rustix::net::sockopt::tcp_congestion(&near).unwrap();
        assert!(["cubic", "reno"].contains(&&*chosen), "{chosen}");
    }
}
