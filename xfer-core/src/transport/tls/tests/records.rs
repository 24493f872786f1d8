//! One record at a time, and what a peer may not put into one

use std::sync::Arc;

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{AlertDescription, ConnectionTrafficSecrets, Error, PeerMisbehaved};

use super::Sequence;
use crate::transport::tls::records::{
    ASIDE_BYTES, Content, KeyMaterial, Opened, Opener, RECORD_BYTES, SEAL_BYTES, Sealer,
    Succession, Successor,
};

/// Keys that follow each other in the same way on both sides.
struct Counted {
    sealing: u8,
    opening: u8,
}

fn key(number: u8) -> KeyMaterial {
    let (key, iv) = (AeadKey::from([number; 32]), Iv::from([number; 12]));
    (0, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv })
}

impl Successor for Counted {
    fn next_to_seal(&mut self) -> Result<KeyMaterial, Error> {
        self.sealing += 1;
        Ok(key(self.sealing))
    }

    fn next_to_open(&mut self) -> Result<KeyMaterial, Error> {
        self.opening += 1;
        Ok(key(self.opening))
    }
}

/// One side of a connection on which both directions begin with the same key.
fn side() -> (Sealer, Opener) {
    let succession = Succession::new(Counted { sealing: 0, opening: 0 });
    let sealer = Sealer::new(key(0), Arc::clone(&succession)).unwrap();
    (sealer, Opener::new(key(0), succession).unwrap())
}

/// What the other side makes of a record with this content.
fn opened(kind: u8, content: &[u8]) -> Result<Option<Opened>, Error> {
    let (mut sealer, _) = side();
    let (_, mut opener) = side();
    let mut bytes = vec![0; content.len() + SEAL_BYTES];
    sealer.record(kind, content, &mut bytes).unwrap();
    let first = opener.open(&mut bytes, 0, 0);
    if first.is_err() {
        assert_eq!(opener.open(&mut bytes, 0, 0), first, "an error is the last that is told");
    }
    first
}

#[test]
fn what_is_sealed_opens_at_another_place() {
    let (mut sealer, _) = side();
    let (_, mut opener) = side();
    let mut sequence = Sequence(5);
    for round in 0..200 {
        let size = sequence.size(3 * RECORD_BYTES);
        let payload = sequence.bytes(size);
        let before = usize::try_from(sequence.next() % 100).unwrap();
        let mut bytes = vec![0; before + payload.len() + 4 * SEAL_BYTES + ASIDE_BYTES];
        let length = sealer.seal(&payload, &mut bytes[before..]).unwrap();
        let (mut start, mut place) = (before, 0);
        while start < before + length {
            let all = before + length;
            assert_eq!(
                opener.open(&mut bytes[..all - 1], all - 1, 0),
                Ok(None),
                "a head is missing"
            );
            let opened = opener.open(&mut bytes[..all], start, place).unwrap().unwrap();
            start += opened.length;
            let Content::Payload(count) = opened.content else { panic!("{opened:?}") };
            place += count;
        }
        assert!(bytes[..place] == payload, "round {round}");
    }
}

#[test]
fn no_record_opens_twice_or_out_of_turn() {
    let (mut sealer, _) = side();
    let mut records = vec![0; 2 * (100 + SEAL_BYTES)];
    let (first, second) = records.split_at_mut(100 + SEAL_BYTES);
    sealer.record(23, &[1; 100], first).unwrap();
    sealer.record(23, &[2; 100], second).unwrap();
    let (_, mut opener) = side();
    assert_eq!(opener.open(&mut second.to_vec(), 0, 0), Err(Error::DecryptError));
    let (_, mut opener) = side();
    assert!(opener.open(&mut first.to_vec(), 0, 0).is_ok());
    assert_eq!(opener.open(&mut first.to_vec(), 0, 0), Err(Error::DecryptError));
}

#[test]
fn padding_is_not_payload() {
    let padded = [&b"text"[..], &[23], &[0; 40]].concat();
    let length = padded.len() + SEAL_BYTES;
    let content = Content::Payload(4);
    // The kind behind the padding is zero as well.
    assert_eq!(opened(0, &padded), Ok(Some(Opened { length, content })));
    let nothing = Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext);
    assert_eq!(opened(0, &[0; 40]), Err(nothing));
}

/// Rows: NL8.
#[test]
fn what_no_peer_of_ours_says_is_refused() {
    let is_refused = |kind: u8, content: &[u8]| opened(kind, content).unwrap_err();
    assert_eq!(is_refused(23, &[0; RECORD_BYTES + 1]), Error::PeerSentOversizedRecord);
    for message in [&[][..], &[24, 0], &[24, 0, 0, 1], &[24, 0, 0, 1, 2], &[24, 0, 0, 1, 0, 24]] {
        let error = is_refused(22, message);
        assert!(matches!(error, Error::InappropriateHandshakeMessage { .. }), "{error:?}");
    }
    let ticket = is_refused(22, &[4, 0, 0, 2, 0, 0]);
    assert!(matches!(ticket, Error::InappropriateHandshakeMessage { .. }), "{ticket:?}");
    assert!(matches!(is_refused(20, &[1]), Error::InappropriateMessage { .. }));
    let refusal = Error::AlertReceived(AlertDescription::BadCertificate);
    assert_eq!(is_refused(21, &[2, 42]), refusal);
    assert!(matches!(is_refused(21, &[1]), Error::AlertReceived(_)));
    let end = Opened { length: 2 + SEAL_BYTES, content: Content::End };
    assert_eq!(opened(21, &[1, 0]), Ok(Some(end)));
}

/// Rows: NL8.
#[test]
fn a_head_is_believed_only_so_far() {
    let (_, mut opener) = side();
    let mut open = |head: [u8; 5]| opener.open(&mut head.to_vec(), 0, 0);
    assert_eq!(open([23, 3, 3, 65, 0]), Ok(None), "16,640 bytes may follow");
    let head = [23, 3, 3, 65, 1];
    assert_eq!(open(head), Err(Error::PeerSentOversizedRecord));
    for head in [[23, 3, 3, 0, 16], [22, 3, 3, 1, 0], [20, 3, 3, 0, 1], [72, 84, 84, 80, 47]] {
        let (_, mut opener) = side();
        assert!(opener.open(&mut head.to_vec(), 0, 0).is_err(), "{head:?}");
    }
}

#[test]
fn who_is_asked_for_another_key_changes_it() {
    let (mut near_sealer, mut near_opener) = side();
    let (mut far_sealer, mut far_opener) = side();
    let mut bytes = vec![0; 4096];
    let mut question = |asks: u8| {
        let length = near_sealer.record(22, &[24, 0, 0, 1, asks], &mut bytes).unwrap();
        let opened = far_opener.open(&mut bytes[..length], 0, 0).unwrap().unwrap();
        assert_eq!(opened.content, Content::Payload(0));
        far_sealer.seal(b"payload", &mut bytes).map(|length| bytes[..length].to_vec()).unwrap()
    };
    let plain = 7 + SEAL_BYTES;
    let mut answer = question(1);
    assert_eq!(answer.len(), 5 + SEAL_BYTES + plain, "the key changes, then payload follows");
    let changed = near_opener.open(&mut answer, 0, 0).unwrap().unwrap();
    assert_eq!(changed.content, Content::Payload(0));
    let payload = near_opener.open(&mut answer, changed.length, 0).unwrap().unwrap();
    assert_eq!(payload.content, Content::Payload(7));
    assert_eq!(&answer[..7], b"payload");
}
