//! Bytes from the wire.

use crate::codec::{self, FrameHead, HEAD_BYTES};
use crate::hello::{Hello, HelloProgress, HelloReader, Role, Sentinel, SessionId, negotiate};
use crate::limits;
use crate::path::RelPath;

/// A frame: what is accepted encodes to the same bytes again.
pub fn frame(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return };
    let parsed = FrameHead::parse(head);
    let payload = parsed.map_or(0, FrameHead::payload_length);
    if let Ok(message) = codec::decode(rest, payload) {
        let again = codec::encode(&message, payload).unwrap();
        assert_eq!(&again[HEAD_BYTES..], rest);
        assert_eq!(
            FrameHead::parse(again.first_chunk().unwrap()).unwrap().decode(rest),
            Ok(message)
        );
    }
}

/// A hello: however it is split, the same comes out.
pub fn hello(bytes: &[u8]) {
    let whole = HelloReader::new().read(bytes);
    let mut reader = HelloReader::new();
    let mut split = Ok(HelloProgress::NeedsMore(0));
    let mut before = 0;
    for byte in bytes.chunks(1) {
        split = reader.read(byte);
        before += 1;
        if !matches!(split, Ok(HelloProgress::NeedsMore(_))) {
            break;
        }
    }
    match (whole, split) {
        (
            Ok(HelloProgress::Complete { hello, taken }),
            Ok(HelloProgress::Complete { hello: h, .. }),
        ) => {
            assert_eq!((hello, taken), (h, before));
            assert!(taken <= 10 + limits::HELLO_BYTES_MAX);
            let ours = Hello::new(Role::Agent, SessionId([0; 16]), 0);
            assert_eq!(negotiate(&ours, &hello).is_ok(), negotiate(&hello, &ours).is_ok());
        }
        (Err(error), Err(e)) => assert_eq!(error, e),
        (Ok(HelloProgress::NeedsMore(_)), Ok(HelloProgress::NeedsMore(_))) => {}
        (whole, split) => panic!("{whole:?} at once, {split:?} byte by byte"),
    }
}

/// Noise of few letters, so that near-misses are common: a slow search agrees.
pub fn sentinel(bytes: &[u8]) {
    let Some((mark, noise)) = bytes.split_first_chunk::<32>() else { return };
    let letter = |byte: &u8| byte % 3;
    let mark: Vec<u8> = mark.iter().map(letter).collect();
    let noise = &noise[..noise.len().min(limits::NOISE_BYTES_MAX)];
    let noise: Vec<u8> = [noise.iter().map(letter).collect::<Vec<_>>(), mark.clone()].concat();
    let expected = noise.windows(32).position(|window| window == mark).map(|start| start + 32);
    let sentinel = Sentinel(mark.try_into().unwrap());
    assert_eq!(sentinel.scan().feed(&noise), Ok(expected));
    let mut scan = sentinel.scan();
    let ends = noise.iter().position(|byte| scan.feed(&[*byte]) != Ok(None));
    assert_eq!(ends.map(|end| end + 1), expected);
}

/// A path: what is accepted is safe to walk, and every way to take it apart puts it together again.
pub fn path(bytes: &[u8]) {
    let Ok(path) = RelPath::new(bytes) else { return };
    assert_eq!(path.as_bytes(), bytes);
    let components: Vec<_> = path.components().collect();
    for name in &components {
        assert!(!name.is_empty() && *name != b"." && *name != b"..");
        assert!(!name.contains(&b'/') && !name.contains(&0));
        assert!(name.len() <= limits::NAME_BYTES_MAX);
    }
    assert_eq!(components.join(&b'/'), bytes);
    if let (Some(parent), Some(name)) = (path.parent(), path.name()) {
        assert_eq!(parent.child(name).as_ref(), Ok(&path));
        assert!(path.starts_with(&parent) && !parent.starts_with(&path) && parent < path);
        let below = path.strip_prefix(&parent).unwrap();
        assert_eq!((below.as_bytes(), parent.join(&below)), (name, Ok(path.clone())));
    }
    assert!(!path.to_string().chars().any(char::is_control));
    let encoded = postcard::to_stdvec(&path).unwrap();
    assert_eq!(encoded, postcard::to_stdvec(&bytes.to_vec()).unwrap());
    assert_eq!(postcard::from_bytes::<RelPath>(&encoded).unwrap(), path);
}
