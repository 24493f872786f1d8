//! Files that a later session finishes.
//!
//! Where an endpoint cannot hash a partial, each clause shows that it holds nothing, and begins
//! anew.

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::{BlockSize, Digest, span_digest};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::ScanItem;
use xfer_protocol::message::{
    HashBlocks, Keep, PartialIndex, Paths, Reading, ScanOptions, Subject,
};
use xfer_protocol::range::{ByteRange, RangeSet};

use super::Fixture;
use super::partials::nothing_else_is_left;
use super::stand::{Stand, cut, fault_of, path, slice};
use crate::endpoint::{Endpoint, Sink, Source};

/// Writes a part of a file in a session that ends without finishing it.
async fn interrupted<F: Fixture>(fixture: &F, whole: &Bytes, parts: &[usize]) {
    let stand = Stand::new(fixture).await;
    let size = whole.len() as u64;
    stand.open_partial(0, "file", size).await;
    let ranges: Vec<_> = cut(size, stand.part()).collect();
    for part in parts {
        stand.write(0, ranges[*part], whole).await.unwrap();
    }
    stand.end().await;
}

async fn hash<S: Sink + Source>(stand: &Stand<S>, range: ByteRange) -> Vec<Digest> {
    let subject = Subject::Partial(PartialIndex(0));
    let block = BlockSize::MIN;
    let hash = HashBlocks { subject, range, block, reading: Reading::Cached };
    stand.side.hash_blocks(hash).await.unwrap().digests
}

async fn keep<S: Sink + Source>(stand: &Stand<S>, ranges: Vec<ByteRange>) {
    let keep = Keep { partial: PartialIndex(0), ranges };
    stand.side.keep(keep.clone()).await.unwrap();
    stand.side.keep(keep).await.unwrap();
}

/// Hashes what is held and keeps what is equal; yields what is still missing, in parts.
async fn resume<S: Sink + Source>(stand: &Stand<S>, whole: &Bytes) -> Vec<ByteRange> {
    let size = whole.len() as u64;
    let held: RangeSet = stand.open_partial(0, "file", size).await.into_iter().collect();
    let mut missing = Vec::new();
    for part in cut(size, stand.part()) {
        let mut equal = stand.capabilities().rehash && held.contains(part);
        if equal {
            let digests = hash(stand, part).await;
            let expected = cut(size, BlockSize::MIN.bytes())
                .filter(|span| part.contains(*span))
                .map(|span| span_digest(span.start(), &slice(whole, span), size));
            equal = expected.eq(digests);
        }
        if equal { keep(stand, vec![part]).await } else { missing.push(part) }
    }
    missing
}

async fn finish<S: Sink + Source>(stand: &Stand<S>, whole: &Bytes, missing: &[ByteRange]) {
    for range in missing {
        stand.write(0, *range, whole).await.unwrap();
    }
    stand.commit(0, whole).await.unwrap();
    assert_eq!(stand.publish().await.len(), 1);
    assert_eq!(stand.content(&path("file")).await.unwrap(), *whole);
    nothing_else_is_left(stand, &["file"]).await;
}

/// What an earlier session wrote is held, hashed, compared and kept; only the rest is sent.
pub async fn a_later_session_sends_only_what_is_missing<F: Fixture>(fixture: &F) {
    let whole = Stand::new(fixture).await.several_parts();
    interrupted(fixture, &whole, &[0, 2]).await;
    let stand = Stand::new(fixture).await;
    let missing = resume(&stand, &whole).await;
    let all: Vec<_> = cut(whole.len() as u64, stand.part()).collect();
    if stand.capabilities().rehash {
        assert_eq!(missing, [all[1], all[3]]);
    } else {
        assert_eq!(missing, all);
    }
    finish(&stand, &whole, &missing).await;
}

/// Where the source has other bytes by now, those are sent and the old ones do not survive.
pub async fn what_differs_is_written_again<F: Fixture>(fixture: &F) {
    let old = Stand::new(fixture).await.several_parts();
    interrupted(fixture, &old, &[0, 1, 2, 3]).await;
    let stand = Stand::new(fixture).await;
    let mut new = BytesMut::from(&old[..]);
    new[usize::try_from(stand.part()).unwrap() + 5] ^= 1;
    let new = new.freeze();
    let missing = resume(&stand, &new).await;
    if stand.capabilities().rehash {
        assert_eq!(missing, [cut(new.len() as u64, stand.part()).nth(1).unwrap()]);
    }
    finish(&stand, &new, &missing).await;
}

/// A range that was not hashed in this session is not kept, and counts as missing; nor is one of
/// which a part was hashed, and that part may still become another.
pub async fn only_proven_bytes_are_kept<F: Fixture>(fixture: &F) {
    let mut whole = Stand::new(fixture).await.several_parts();
    interrupted(fixture, &whole, &[0, 1, 2, 3]).await;
    let stand = Stand::new(fixture).await;
    let size = whole.len() as u64;
    stand.open_partial(0, "file", size).await;
    let all: Vec<_> = cut(size, stand.part()).collect();
    let unproven = Keep { partial: PartialIndex(0), ranges: vec![all[0]] };
    assert_eq!(fault_of(stand.side.keep(unproven).await), FaultKind::Protocol);
    assert_eq!(fault_of(stand.commit(0, &whole).await), FaultKind::Mismatch);
    if !stand.capabilities().rehash {
        let subject = Subject::Partial(PartialIndex(0));
        let (block, reading) = (BlockSize::DEFAULT, Reading::Cached);
        let hash = HashBlocks { subject, range: all[0], block, reading };
        assert_eq!(fault_of(stand.side.hash_blocks(hash).await), FaultKind::Unsupported);
    } else {
        hash(&stand, all[0]).await;
        let ranges = vec![ByteRange::new(all[0].start(), all[1].end()).unwrap()];
        let half = Keep { partial: PartialIndex(0), ranges };
        assert_eq!(fault_of(stand.side.keep(half).await), FaultKind::Protocol);
        let mut new = BytesMut::from(&whole[..]);
        new[0] ^= 1;
        whole = new.freeze();
    }
    let missing = resume(&stand, &whole).await;
    finish(&stand, &whole, &missing).await;
}

/// A partial of another size is the same file's: what fits may be held.
pub async fn a_file_may_change_its_size<F: Fixture>(fixture: &F) {
    let whole = Stand::new(fixture).await.several_parts();
    interrupted(fixture, &whole, &[0, 1, 2, 3]).await;
    let part = usize::try_from(Stand::new(fixture).await.part()).unwrap();
    let shorter = whole.slice(..part * 2 + 77);
    interrupted(fixture, &shorter, &[0]).await;
    let longer = Bytes::from([&whole[..], &whole[..part]].concat());
    let stand = Stand::new(fixture).await;
    let missing = resume(&stand, &longer).await;
    if stand.capabilities().rehash {
        assert!(!missing.contains(&ByteRange::new(0, stand.part()).unwrap()));
    }
    finish(&stand, &longer, &missing).await;
}

/// A partial that nobody resumes is removed by the name that a scan told.
pub async fn partials_can_be_removed<F: Fixture>(fixture: &F) {
    let whole = Stand::new(fixture).await.several_parts();
    interrupted(fixture, &whole, &[1]).await;
    let stand = Stand::new(fixture).await;
    let mut paths = Vec::new();
    for item in stand.scan("", ScanOptions::default()).await {
        match item {
            ScanItem::Partial { path, allocated } => {
                assert!(allocated >= stand.part());
                paths.push(path);
            }
            ScanItem::Entry(entry) => assert!(entry.path.is_root(), "{entry:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(paths.len(), usize::from(stand.capabilities().rehash));
    let partials = Paths { root: stand.root, paths };
    for _ in 0..2 {
        stand.side.remove_partials(partials.clone()).await.unwrap();
    }
    nothing_else_is_left(&stand, &[]).await;
    // No other name is ever removed so.
    stand.put("file", b"1").await;
    let file = Paths { root: stand.root, paths: vec![path("file")] };
    assert_eq!(fault_of(stand.side.remove_partials(file).await), FaultKind::Protocol);
    assert_eq!(stand.content(&path("file")).await.unwrap(), b"1");
}
