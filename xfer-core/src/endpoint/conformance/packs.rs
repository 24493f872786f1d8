//! Small files, packed many to a frame.

use bytes::Bytes;
use xfer_protocol::digest::file_digest;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::message::{ScanOptions, WritePack};

use super::Fixture;
use super::stand::{Stand, entries, fault_of, item_path, path, plain};
use crate::endpoint::Sink;

/// A staged file is invisible until it is published; then its stamp is the one that was told.
pub async fn files_appear_when_they_are_published<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let names = ["a", "b", "empty"].map(path);
    let contents = [b"first".as_slice(), b"second", b""];
    let files: Vec<_> = names
        .iter()
        .zip(contents)
        .map(|(name, content)| stand.packed(name, content, plain()))
        .collect();
    let tickets: Vec<_> = files.iter().map(|file| file.ticket).collect();
    let pack = WritePack { root: stand.root, files, publish: false };
    let payload = Bytes::from(contents.concat());
    for _ in 0..2 {
        let staged = stand.side.write_pack(pack.clone(), payload.clone()).await.unwrap();
        assert_eq!(staged.iter().map(|o| o.ticket).collect::<Vec<_>>(), tickets);
        assert!(staged.iter().all(|outcome| outcome.result == Ok(None)), "{staged:?}");
    }
    let seen = Stand::new(fixture).await.scan("", ScanOptions::default()).await;
    for name in &names {
        assert!(!seen.iter().any(|item| item_path(item) == name), "{name} is seen");
    }
    let mut outcomes = stand.publish().await;
    outcomes.sort_by_key(|outcome| outcome.ticket);
    assert_eq!(outcomes.iter().map(|o| o.ticket).collect::<Vec<_>>(), tickets);
    for ((name, content), outcome) in names.iter().zip(contents).zip(outcomes) {
        let entry = stand.entry(name).await.unwrap();
        assert_eq!(outcome.result, Ok(Some(entry.stamp())));
        assert_eq!(stand.content(name).await.unwrap(), content);
        if stand.keeps.mode {
            assert_eq!(entry.metadata.mode, plain().mode);
        }
        assert!(stand.keeps.modified.same(entry.metadata.modified, plain().modified));
    }
}

/// With `publish` a file stands under its name in the answer already.
pub async fn files_may_be_published_at_once<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let stamp = stand.put("a", b"1").await;
    assert_eq!(stand.entry(&path("a")).await.unwrap().stamp(), stamp);
    assert!(stand.publish().await.is_empty());
}

/// A file whose bytes do not have its digest is refused, and only that one.
pub async fn wrong_bytes_are_refused_alone<F: Fixture>(fixture: &F) {
    for publish in [true, false] {
        let stand = Stand::new(fixture).await;
        let mut files = vec![
            stand.packed(&path("good"), b"good", plain()),
            stand.packed(&path("bad"), b"bad", plain()),
            stand.packed(&path("also good"), b"good too", plain()),
        ];
        files[1].digest = file_digest(b"other");
        let pack = WritePack { root: stand.root, files, publish };
        let payload = Bytes::from_static(b"goodbadgood too");
        let outcomes = stand.side.write_pack(pack, payload).await.unwrap();
        assert!(outcomes[0].result.is_ok());
        let bad = outcomes[1].result.clone().unwrap_err();
        assert_eq!((bad.kind, bad.path), (FaultKind::Mismatch, path("bad")));
        assert!(outcomes[2].result.is_ok());
        stand.publish().await;
        assert_eq!(stand.content(&path("good")).await.unwrap(), b"good");
        assert_eq!(stand.content(&path("also good")).await.unwrap(), b"good too");
        assert_eq!(stand.content(&path("bad")).await, None);
        stand.end().await;
    }
}

/// Lengths that do not add up to the payload are no pack.
pub async fn a_pack_of_another_length_is_refused<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for payload in [b"123".as_slice(), b"12345", b""] {
        let files = vec![stand.packed(&path("a"), b"1234", plain())];
        let pack = WritePack { root: stand.root, files, publish: true };
        let refused = stand.side.write_pack(pack, Bytes::from_static(payload)).await;
        assert_eq!(fault_of(refused), FaultKind::Protocol);
    }
    let mut files = vec![stand.packed(&path("a"), b"", plain()); 2];
    files.iter_mut().for_each(|file| file.size = u64::MAX);
    let pack = WritePack { root: stand.root, files, publish: true };
    assert_eq!(fault_of(stand.side.write_pack(pack, Bytes::new()).await), FaultKind::Protocol);
    assert_eq!(stand.content(&path("a")).await, None);
}

/// The old file is there until the new one is, and no mixture ever.
pub async fn files_are_replaced_whole<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let old = stand.put("file", b"the old content").await;
    let files = vec![stand.packed(&path("file"), b"new", plain())];
    let pack = WritePack { root: stand.root, files, publish: false };
    stand.side.write_pack(pack, Bytes::from_static(b"new")).await.unwrap();
    let before = Stand::new(fixture).await;
    let seen = entries(before.scan("file", ScanOptions::default()).await);
    assert_eq!(seen[0].stamp(), old);
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), b"new");
    assert_ne!(stand.entry(&path("file")).await.unwrap().stamp(), old);
}

/// An answer that was lost is told again, also after more was staged, and nothing is published
/// twice. A publishing that comes after a later one publishes nothing: nobody waits for its answer.
pub async fn publishing_again_tells_the_same<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let stage = async |name: &str| {
        let files = vec![stand.packed(&path(name), b"1", plain())];
        let pack = WritePack { root: stand.root, files, publish: false };
        stand.side.write_pack(pack, Bytes::from_static(b"1")).await.unwrap();
    };
    let is_there = async |name: &str| {
        let items = stand.scan("", ScanOptions::default()).await;
        items.iter().any(|item| *item_path(item) == path(name))
    };
    stage("file").await;
    let first = stand.publish_as(3).await;
    assert_eq!(first.len(), 1);
    assert_eq!(stand.publish_as(3).await, first);
    let stamp = stand.entry(&path("file")).await.unwrap().stamp();
    assert_eq!(first[0].result, Ok(Some(stamp)));
    stage("later").await;
    assert_eq!(stand.publish_as(3).await, first);
    assert_eq!(stand.publish_as(2).await, []);
    assert!(!is_there("later").await);
    let second = stand.publish_as(4).await;
    assert_eq!(second.len(), 1);
    assert_ne!(second, first);
    assert!(is_there("later").await);
}
