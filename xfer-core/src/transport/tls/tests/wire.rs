//! What happens to the bytes on their way
//!
//! Goal: no cut and no flipped bit between the two sides gives a byte that was not sent, or an end
//! that was not said. Method: a relay passes what the far side says on until a given byte, and
//! there cuts or flips; the near side reads to its end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{LONG, Sequence, listener, sides};
use crate::transport::tls::TlsError;
use crate::transport::tls::records::{RECORD_BYTES, SEAL_BYTES};

/// What the relay does at a byte of the far side's.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Cut(usize),
    Flip { byte: usize, bit: u8 },
    None,
}

/// Passes one connection on; gives what the far side said.
async fn relay(entrance: TcpListener, exit: SocketAddr, harm: Harm) -> Vec<u8> {
    let (near, _) = entrance.accept().await.unwrap();
    let far = TcpStream::connect(exit).await.unwrap();
    let (mut near_reader, mut near_writer) = near.into_split();
    let (mut far_reader, mut far_writer) = far.into_split();
    let up = tokio::spawn(async move {
        let _over = tokio::io::copy(&mut near_reader, &mut far_writer).await;
    });
    let mut said = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = far_reader.read(&mut piece).await.unwrap_or(0);
        let start = said.len();
        said.extend_from_slice(&piece[..count]);
        let end = match harm {
            Harm::Cut(at) => said.len().min(at),
            Harm::Flip { byte, bit } => {
                if (start..said.len()).contains(&byte) {
                    said[byte] ^= 1 << bit;
                }
                said.len()
            }
            Harm::None => said.len(),
        };
        if near_writer.write_all(&said[start..end]).await.is_err() || count == 0 {
            break;
        }
        if end < said.len() {
            break;
        }
    }
    let _gone = near_writer.shutdown().await;
    up.abort();
    said
}

/// What became of what the far side said
struct Outcome {
    /// What the relay saw
    wire: Vec<u8>,
    received: Vec<u8>,
    ended: io::Result<()>,
}

/// The far side sends, with harm done on the way; each handshake has `limit`.
async fn transmit(payload: &Bytes, harm: Harm, limit: Duration) -> Outcome {
    let (dialler, acceptor) = sides();
    let (entrance, by) = listener().await;
    let (exit, address) = listener().await;
    let relayed = tokio::spawn(relay(entrance, address, harm));
    let accepted = async {
        let (socket, _) = exit.accept().await.unwrap();
        acceptor.accept_within(limit, socket).await
    };
    let (near, far) = tokio::join!(dialler.dial(by, limit), accepted);
    let far = match far {
        Ok(far) => far,
        Err(error) => {
            drop(near);
            let (wire, ended) = (relayed.await.unwrap(), Err(error.into_io()));
            return Outcome { wire, received: Vec::new(), ended };
        }
    };
    let mut near = near.unwrap();
    let payload = payload.clone();
    let sent = tokio::spawn(async move {
        let mut writer = far.writer;
        for piece in [&payload[..5], &payload[5..]] {
            let _gone = writer.write_all(piece).await;
            let _gone = writer.flush().await;
        }
        let _gone = writer.shutdown().await;
    });
    let mut received = Vec::new();
    let ended = near.reader.read_to_end(&mut received).await.map(drop);
    drop(near);
    sent.await.unwrap();
    Outcome { wire: relayed.await.unwrap(), received, ended }
}

/// Where each record begins, and the end of the last.
fn records(wire: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut at = 0;
    while at < wire.len() {
        at += 5 + usize::from(u16::from_be_bytes([wire[at + 3], wire[at + 4]]));
        starts.push(at);
    }
    assert_eq!(at, wire.len(), "the wire holds a part of a record");
    starts
}

/// The payload, the starts of records, and how many of these are the handshake's.
async fn unharmed() -> (Bytes, Vec<usize>, usize) {
    let payload = Sequence(42).bytes(5 + 2 * RECORD_BYTES + 1000);
    let Outcome { wire, received, ended } = transmit(&payload, Harm::None, LONG).await;
    ended.unwrap();
    assert!(received == payload);
    let starts = records(&wire);
    // Four of payload and the end.
    let first = starts.len() - 6;
    let sizes: Vec<usize> = starts[first..].windows(2).map(|ends| ends[1] - ends[0]).collect();
    let sealed = |length: usize| length + SEAL_BYTES;
    let full = sealed(RECORD_BYTES);
    assert_eq!(sizes, [sealed(5), full, full, sealed(1000), sealed(2)]);
    (payload, starts, first)
}

#[tokio::test]
async fn a_cut_is_an_error_wherever_it_is() {
    let (payload, starts, first) = unharmed().await;
    let wire = *starts.last().unwrap();
    for (record, start) in starts.iter().enumerate().take(starts.len() - 1) {
        for cut in [*start, start + 1, start + 5, start + 6, starts[record + 1] - 1] {
            let outcome = transmit(&payload, Harm::Cut(cut), LONG).await;
            let error = outcome.ended.expect_err(&format!("the wire ended at {cut} of {wire}"));
            let whole = [0, 5, 5 + RECORD_BYTES, 5 + 2 * RECORD_BYTES, payload.len()];
            let expected = &payload[..whole[record.saturating_sub(first)]];
            assert!(outcome.received == expected, "cut at {cut}: {}", outcome.received.len());
            if record >= first {
                let reason = error.get_ref().and_then(|inner| inner.downcast_ref());
                assert!(matches!(reason, Some(TlsError::Truncated { .. })), "{cut}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_wherever_it_is() {
    let (payload, starts, first) = unharmed().await;
    let mut sequence = Sequence(99);
    for (record, start) in starts.iter().enumerate().take(starts.len() - 1) {
        let end = starts[record + 1];
        let middle = start + 5 + usize::try_from(sequence.next()).unwrap() % (end - start - 5);
        for byte in [*start, start + 1, start + 3, start + 4, start + 5, middle, end - 1] {
            let bit = u8::try_from(sequence.next() % 8).unwrap();
            let harm = Harm::Flip { byte, bit };
            // A handshake that waits for what never comes is given up.
            let limit = if record < first { Duration::from_millis(500) } else { LONG };
            let outcome = transmit(&payload, harm, limit).await;
            assert!(payload.starts_with(&outcome.received), "{harm:?}: other bytes were read");
            // The outer kind and version of a handshake's sealed record mean nothing to rustls.
            let is_outer = record < first && byte < start + 3;
            let is_whole = outcome.ended.is_ok() && outcome.received == payload;
            let is_error = outcome.ended.is_err();
            assert!(is_error || is_outer && is_whole, "{harm:?} of record {record} was accepted");
        }
    }
}
