//! Files that are written over what they replace.

use bytes::BytesMut;
use xfer_protocol::digest::BlockSize;
use xfer_protocol::manifest::{Entry, ScanItem, Stamp};
use xfer_protocol::message::{
    HashBlocks, Keep, OpenPartial, Partial, PartialIndex, Paths, Reading, ScanOptions, Subject,
};
use xfer_protocol::range::ByteRange;

use super::Fixture;
use super::stand::{Stand, path};
use crate::endpoint::{Endpoint, Sink, Source};

const KIB64: u64 = 1 << 16;

async fn open<S: Sink + Source>(stand: &Stand<S>, index: u64, size: u64, over: Stamp) -> Partial {
    let open = OpenPartial { over: Some(over), ..stand.opening(index, "file", size) };
    stand.side.open_partial(open).await.unwrap()
}

async fn before<S: Sink + Source>(stand: &Stand<S>, content: &[u8]) -> Entry {
    stand.put("file", content).await;
    stand.entry(&path("file")).await.unwrap()
}

/// What stands at the name of the file, whatever else is there.
async fn stands<S: Sink + Source>(stand: &Stand<S>) -> Option<Entry> {
    let items = stand.scan("", ScanOptions::default()).await;
    items.into_iter().find_map(|item| match item {
        ScanItem::Entry(entry) if entry.path == path("file") => Some(entry),
        _ => None,
    })
}

/// What is not what was seen is not written over, nor is anything where that is not done.
pub async fn only_what_was_seen_is_written_over<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    let stamp = before(&stand, b"before").await.stamp();
    let over = match stand.side.writes_in_place() {
        true => Stamp { size: stamp.size + 1, ..stamp },
        false => stamp,
    };
    let opened = open(&stand, 0, size, over).await;
    assert_eq!(opened, Partial { held: Vec::new(), in_place: false });
    stand.write_all(0, &whole).await;
    assert_eq!(stands(&stand).await.unwrap().stamp(), stamp);
    stand.commit(0, &whole).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
}

/// It keeps its name and its bytes until the first of these changes, and its inode beyond.
pub async fn what_is_written_over_stands_until_then<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.writes_in_place() {
        return;
    }
    let old = stand.several_parts();
    let mut new = BytesMut::from(&old[..]);
    new[7] ^= 1;
    new.extend_from_slice(b"more");
    let (new, size) = (new.freeze(), old.len() as u64 + 4);
    let found = before(&stand, &old).await;
    for index in [0, 1] {
        let opened = open(&stand, index, size, found.stamp()).await;
        assert!(opened.in_place && !opened.held.is_empty(), "{opened:?}");
        assert_eq!(stands(&stand).await.unwrap().stamp(), found.stamp());
        stand.side.discard(PartialIndex(index)).await.unwrap();
        assert_eq!(stand.content(&path("file")).await.unwrap(), old);
    }
    open(&stand, 2, size, found.stamp()).await;
    let equal = ByteRange::new(KIB64, old.len() as u64 / KIB64 * KIB64).unwrap();
    let (subject, reading) = (Subject::Partial(PartialIndex(2)), Reading::Cached);
    let whole = ByteRange::whole(size).unwrap();
    let hash = HashBlocks { subject, range: whole, block: BlockSize::MIN, reading };
    stand.side.hash_blocks(hash).await.unwrap();
    let keep = Keep { partial: PartialIndex(2), ranges: vec![equal] };
    stand.side.keep(keep).await.unwrap();
    assert_eq!(stand.content(&path("file")).await.unwrap(), old);
    for range in [ByteRange::new(0, KIB64), ByteRange::new(equal.end(), size)] {
        stand.write(2, range.unwrap(), &new).await.unwrap();
        assert!(stands(&stand).await.is_none());
    }
    stand.commit(2, &new).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), new);
    let written = stand.entry(&path("file")).await.unwrap();
    assert_eq!(written.inode.number, found.inode.number);
}

/// What was begun is all that there is of a file, and is gone on with whoever comes next.
pub async fn what_was_begun_stays<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.writes_in_place() {
        return;
    }
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    let found = before(&stand, &whole).await;
    open(&stand, 0, size, found.stamp()).await;
    let first = ByteRange::new(0, KIB64).unwrap();
    stand.write(0, first, &whole).await.unwrap();
    stand.end().await;
    let stand = Stand::new(fixture).await;
    let paths = vec![path(".xfer-in-place-file")];
    stand.side.remove_partials(Paths { root: stand.root, paths }).await.unwrap();
    let opened = stand.side.open_partial(stand.opening(0, "file", size)).await.unwrap();
    assert!(opened.in_place && !opened.held.is_empty(), "{opened:?}");
    stand.write_all(0, &whole).await;
    stand.commit(0, &whole).await.unwrap();
    stand.publish().await;
    let written = stand.entry(&path("file")).await.unwrap();
    assert_eq!(written.inode.number, found.inode.number);
}
