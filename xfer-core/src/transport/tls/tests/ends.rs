//! How a stream ends, and how it must not

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Sequence, pair, receive, send, take};
use crate::transport::tls::TlsError;

#[tokio::test(flavor = "multi_thread")]
async fn one_way_ends_and_the_other_goes_on() {
    let (mut near, mut far) = pair().await;
    near.writer.write_all(b"the question").await.unwrap();
    near.writer.shutdown().await.unwrap();
    let mut asked = Vec::new();
    far.reader.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, b"the question");
    let answer = Sequence(11).bytes(3 << 20);
    let sent = tokio::spawn(send(far.writer, answer.clone(), Sequence(12)));
    assert!(receive(near.reader, Sequence(13)).await == answer);
    sent.await.unwrap();
    assert_eq!(far.reader.read(&mut [0; 8]).await.unwrap(), 0, "the end stays the end");
}

#[tokio::test]
async fn what_is_dropped_was_cut_off() {
    let (near, mut far) = pair().await;
    let mut writer = near.writer;
    take(&mut writer, Bytes::from_static(b"half a")).await.unwrap();
    writer.flush().await.unwrap();
    drop((writer, near.reader));
    let mut received = Vec::new();
    let error = far.reader.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(received, b"half a");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert!(matches!(inner, Some(TlsError::Truncated { .. })), "{error:?}");
}

/// One half that is dropped is no end: the other goes on.
#[tokio::test]
async fn the_halves_live_apart() {
    let (near, mut far) = pair().await;
    drop(near.writer);
    far.writer.write_all(b"still here").await.unwrap();
    far.writer.shutdown().await.unwrap();
    let mut reader = near.reader;
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"still here");
}

#[tokio::test]
async fn nothing_is_written_to_a_peer_that_is_gone() {
    let (mut near, far) = pair().await;
    drop((far.writer, far.reader));
    let bytes = Bytes::from(vec![1; 1 << 20]);
    for _ in 0..64 {
        if take(&mut near.writer, bytes.clone()).await.is_err() {
            return;
        }
    }
    panic!("64 MiB went to nobody");
}
