//! What is written beside the data, and what it is proven by.

use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::EntryKind;
use xfer_protocol::message::{FileAt, NewEntry, NewKind, ReadBlock};

use super::*;
use crate::endpoint::object::manifest::Manifest;
use crate::endpoint::object::store::StoreError;
use crate::endpoint::object::store::memory::{BucketTrouble, Request};

const MANIFEST: &str = "r/.xfer-receipts/manifest";

async fn link(stand: &Stand, name: &str, content: &str) {
    let kind = NewKind::Symlink { content: content.into() };
    let entry = NewEntry { ticket: Ticket(0), path: path(name), kind, metadata: metadata(0o777) };
    let create = Create { root: stand.root, entries: vec![entry] };
    assert!(stand.side.create(create).await.unwrap()[0].result.is_ok());
}

#[tokio::test]
async fn a_session_that_changes_nothing_writes_nothing() {
    let bucket = MemoryBucket::new("b");
    bucket.put_as_is("r/a", Bytes::from_static(b"a"), &[]);
    let stand = Stand::new(&bucket, None, "/r").await;
    stand.scan().await;
    stand.finish().await;
    assert_eq!(bucket.keys(), ["r/a"]);
    assert_eq!(bucket.calls(Request::Put), 0);
}

#[tokio::test]
async fn two_sessions_write_one_manifest() {
    let bucket = MemoryBucket::new("b");
    let stands = [Stand::new(&bucket, None, "/r").await, Stand::new(&bucket, None, "/r").await];
    for (stand, name) in stands.iter().zip(["one", "two"]) {
        link(stand, name, name).await;
        stand.pack(&format!("d/{name}"), name.as_bytes(), true).await.unwrap()[0]
            .result
            .clone()
            .unwrap();
    }
    for stand in &stands {
        stand.finish().await;
    }
    let manifest = Manifest::decode(&bucket.content(MANIFEST).unwrap()).unwrap();
    for name in ["one", "two", "d/one", "d/two"] {
        assert!(manifest.get(&path(name)).is_some(), "{name}");
    }
    let later = Stand::new(&bucket, None, "/r").await;
    let names: Vec<_> = later.entries().await.iter().map(|e| e.path.to_string()).collect();
    assert_eq!(names, [".", "d", "d/one", "d/two", "one", "two"]);
    // Nothing had to be looked at: the manifest tells all.
    let before = bucket.calls(Request::Head);
    later.scan().await;
    assert_eq!(bucket.calls(Request::Head), before);
    // The manifest of what lies above is one too.
    bucket.put_as_is("top", Bytes::new(), &[]);
    let below = Stand::new(&bucket, None, "/r/d").await;
    assert!(below.entries().await.iter().any(|e| e.metadata.mode == 0o640));
}

#[tokio::test]
async fn manifests_below_are_met_on_the_way() {
    let bucket = MemoryBucket::new("b");
    for at in ["/r", "/r/only/links"] {
        let stand = Stand::new(&bucket, None, at).await;
        link(&stand, "l", "old").await;
        stand.finish().await;
    }
    let inner = Stand::new(&bucket, None, "/r").await;
    inner.pack("d/file", b"1", true).await.unwrap();
    inner.finish().await;
    for many in [0, 1200] {
        (0..many).for_each(|n| bucket.put_as_is(&format!("many/{n}"), Bytes::new(), &[]));
        let outer = Stand::new(&bucket, None, "/").await;
        let entries = outer.entries().await;
        let names = entries.iter().map(|e| e.path.to_string());
        let names: Vec<_> = names.filter(|name| !name.starts_with("many")).collect();
        let all = [".", "r", "r/d", "r/d/file", "r/l", "r/only", "r/only/links", "r/only/links/l"];
        assert_eq!(names, all);
        let file = entries.iter().find(|e| e.path == path("r/d/file")).unwrap();
        assert_eq!(file.metadata.mode, 0o640);
    }
    // What is written from above is what the nearer one says too.
    let outer = Stand::new(&bucket, None, "/").await;
    outer.scan().await;
    link(&outer, "r/l", "new").await;
    outer.finish().await;
    for at in ["/", "/r"] {
        let entries = Stand::new(&bucket, None, at).await.entries().await;
        let content = |e: &Entry| match &e.kind {
            EntryKind::Symlink { content } => Some(content.clone()),
            _ => None,
        };
        assert_eq!(entries.iter().find_map(content).unwrap(), b"new", "{at}");
    }
}

#[tokio::test]
async fn an_object_that_another_wrote_since_is_not_as_described() {
    let bucket = MemoryBucket::new("b");
    let stand = Stand::new(&bucket, None, "/r").await;
    stand.pack("a", b"one", true).await.unwrap();
    stand.finish().await;
    bucket.put_as_is("r/a", Bytes::from_static(b"two"), &[("mtime", "5.25")]);
    let later = Stand::new(&bucket, None, "/r").await;
    let entries = later.entries().await;
    let (seconds, nanoseconds) = (5, 250_000_000);
    assert_eq!(entries[1].metadata.modified, Timestamp { seconds, nanoseconds });
    assert_eq!(entries[1].metadata.mode, 0o644);
}

#[tokio::test]
async fn a_broken_manifest_is_told_and_replaced() {
    let bucket = MemoryBucket::new("b");
    bucket.put_as_is("r/a", Bytes::from_static(b"one"), &[]);
    bucket.put_as_is(MANIFEST, Bytes::from_static(b"{}"), &[]);
    let stand = Stand::new(&bucket, None, "/r").await;
    let items = stand.scan().await;
    let problem = |item: &ScanItem| matches!(item, ScanItem::Problem(f) if f.path.is_root());
    assert!(problem(&items[0]), "{items:?}");
    assert_eq!(items.len(), 3);
    stand.pack("b", b"two", true).await.unwrap();
    stand.finish().await;
    assert!(Manifest::decode(&bucket.content(MANIFEST).unwrap()).is_ok());
    let copy = format!("{MANIFEST}-{}", &blake3::hash(b"{}").to_hex()[..16]);
    assert_eq!(bucket.content(&copy).unwrap(), &b"{}"[..]);
    let newer = b"{\"schema\":\"xfer.bucket/9\",\"entries\":0}\n";
    bucket.put_as_is(MANIFEST, Bytes::from_static(newer), &[]);
    let stand = Stand::new(&bucket, None, "/r").await;
    stand.pack("c", b"three", true).await.unwrap();
    let finished = stand.side.finish(Finish { root: stand.root, durable: true }).await;
    assert!(matches!(finished, Err(EndpointError::Fault(f)) if f.kind == FaultKind::Unsupported));
    assert_eq!(bucket.content(MANIFEST).unwrap(), &newer[..]);
}

#[tokio::test]
async fn a_link_takes_the_place_of_an_object_once_it_is_written() {
    let bucket = MemoryBucket::new("b");
    bucket.put_as_is("r/a", Bytes::from_static(b"old"), &[]);
    let stand = Stand::new(&bucket, None, "/r").await;
    link(&stand, "a", "target").await;
    assert!(bucket.content("r/a").is_some());
    stand.finish().await;
    assert!(bucket.content("r/a").is_none());
    let entries = Stand::new(&bucket, None, "/r").await.entries().await;
    let content = b"target".to_vec();
    assert_eq!(entries[1].kind, EntryKind::Symlink { content });
}

#[tokio::test]
async fn an_object_that_stays_in_place_of_a_link_is_told() {
    let bucket = MemoryBucket::new("b");
    bucket.put_as_is("r/a", Bytes::from_static(b"old"), &[]);
    let stand = Stand::new(&bucket, None, "/r").await;
    link(&stand, "a", "target").await;
    let denied = BucketTrouble::Fail(StoreError::Denied("no".to_owned()));
    bucket.order(Request::Remove, 0, 1, denied);
    let finish = Finish { root: stand.root, durable: true };
    let finished = stand.side.finish(finish).await;
    assert!(matches!(finished, Err(EndpointError::Fault(f)) if f.path == path("a")));
    assert!(bucket.content("r/a").is_some());
    stand.finish().await;
    assert!(bucket.content("r/a").is_none());
}

#[tokio::test]
async fn a_closed_session_writes_no_more() {
    let bucket = MemoryBucket::new("b");
    let stand = Stand::new(&bucket.slowed(10), None, "/r").await;
    let (packed, ()) = tokio::join!(stand.pack("a", b"one", true), stand.side.close());
    assert_eq!(packed, Err(EndpointError::Lost(LostReason::ClosedHere)));
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_without_checksums_is_read_back() {
    let bucket = MemoryBucket::new("b").without_checksums();
    let stand = Stand::new(&bucket, None, "/r").await;
    stand.pack("a", b"one", false).await.unwrap();
    let before = bucket.calls(Request::Get);
    assert!(stand.publish(0).await.unwrap()[0].result.is_ok());
    assert_eq!(bucket.calls(Request::Get), before + 1);
    let tells = MemoryBucket::new("c");
    let stand = Stand::new(&tells, None, "/r").await;
    stand.pack("a", b"one", false).await.unwrap();
    let before = tells.calls(Request::Get);
    assert!(stand.publish(0).await.unwrap()[0].result.is_ok());
    assert_eq!(tells.calls(Request::Get), before);
}

#[tokio::test]
async fn what_a_store_unpacks_is_refused() {
    let bucket = MemoryBucket::new("b");
    bucket.put_as_is("r/a", Bytes::from_static(b"zipped"), &[]);
    bucket.set_coding("r/a", "gzip");
    let stand = Stand::new(&bucket, None, "/r").await;
    let entry = stand.entries().await.remove(1);
    let file = FileAt { root: stand.root, path: path("a"), stamp: entry.stamp() };
    let read = ReadBlock { file, range: ByteRange::whole(6).unwrap() };
    let read = stand.side.read_block(read).await;
    assert!(matches!(read, Err(EndpointError::Fault(f)) if f.kind == FaultKind::Unsupported));
}
