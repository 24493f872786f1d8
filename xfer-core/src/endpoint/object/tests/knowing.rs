//! What is held to what is known of it, and what nobody knows enough of to touch.

use xfer_protocol::digest::file_digest;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{FileAt, ReadBlock};

use super::*;
use crate::endpoint::object::store::memory::Request;
use crate::endpoint::object::store::{Key, Store};

impl Stand {
    async fn stamp_of(&self, name: &str) -> Stamp {
        let entries = self.entries().await;
        entries.iter().find(|entry| entry.path == path(name)).unwrap().stamp()
    }

    async fn read_all(&self, name: &str, stamp: Stamp) -> FileAt {
        let file = FileAt { root: self.root, path: path(name), stamp };
        for range in hash::pieces(ByteRange::whole(stamp.size).unwrap(), 1 << 20) {
            self.side.read_block(ReadBlock { file: file.clone(), range }).await.unwrap();
        }
        file
    }

    /// Reads a small file, and a large one with that digest.
    async fn outcomes(&self, digest: Digest) -> [Option<FaultKind>; 2] {
        let small = (path("small"), self.stamp_of("small").await);
        let pack = FilesAt { root: self.root, files: vec![small] };
        let small = self.side.read_pack(pack).await.unwrap().0.remove(0);
        let large = self.read_all("large", self.stamp_of("large").await).await;
        let large = self.side.confirm(&large, digest).await;
        let kind = |error| match error {
            EndpointError::Fault(fault) => fault.kind,
            error => panic!("{error:?}"),
        };
        [small.err().map(|fault| fault.kind), large.err().map(kind)]
    }
}

fn content(length: usize) -> Bytes {
    (0..length).map(|i| u8::try_from(i * i % 251).unwrap()).collect()
}

#[tokio::test]
async fn an_attribute_that_is_of_other_bytes_fails_its_object() {
    let (small, large) = (content(1000), content(5 << 20));
    let other = file_digest(b"other").to_string();
    for (told, expected) in [
        ([file_digest(&small).to_string(), file_digest(&large).to_string()], None),
        ([other.clone(), other], Some(FaultKind::Mismatch)),
    ] {
        let bucket = MemoryBucket::new("b");
        for ((name, bytes), told) in [("r/small", &small), ("r/large", &large)].iter().zip(&told) {
            bucket.put_as_is(name, Bytes::clone(bytes), &[("xfer-blake3", told)]);
        }
        let stand = Stand::new(&bucket, None, "/r").await;
        assert_eq!(stand.outcomes(file_digest(&large)).await, [expected; 2]);
        let words = guard(&stand.side.shared.options.told).clone();
        assert_eq!(words.len(), if expected.is_some() { 2 } else { 0 }, "{words:?}");
        assert!(words.iter().all(|words| words.contains("mem://b/r/") || words.contains("BLAKE3")));
    }
}

/// Asked again, a file that is not what it should be is none still.
#[tokio::test]
async fn a_verdict_stays_what_it_is() {
    let bucket = MemoryBucket::new("b");
    let large = content(5 << 20);
    bucket.put_as_is("r/large", large.clone(), &[("xfer-blake3", &"0".repeat(64))]);
    let stand = Stand::new(&bucket, None, "/r").await;
    let file = stand.read_all("large", stand.stamp_of("large").await).await;
    for _ in 0..2 {
        assert!(stand.side.confirm(&file, file_digest(&large)).await.is_err());
    }
    assert_eq!(guard(&stand.side.shared.options.told).len(), 1);
}

/// What a look told is not asked for again, and what nothing is known of is believed.
#[tokio::test]
async fn what_the_store_alone_knows_costs_no_request() {
    for bucket in [MemoryBucket::new("b"), MemoryBucket::new("b").without_checksums()] {
        let large = content(5 << 20);
        bucket.put_as_is("r/small", content(1000), &[]);
        bucket.put_as_is("r/large", large.clone(), &[]);
        let stand = Stand::new(&bucket, None, "/r").await;
        let stamp = stand.stamp_of("large").await;
        let before = bucket.calls(Request::Head);
        let file = stand.read_all("large", stamp).await;
        stand.side.confirm(&file, file_digest(&large)).await.unwrap();
        assert!(bucket.calls(Request::Head) - before <= 1);
        assert_eq!(stand.outcomes(file_digest(&large)).await, [None; 2]);
    }
}

#[tokio::test]
async fn only_what_is_recorded_here_is_aborted() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    let (whole, ranges) = parts(3);
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    stand.open_partial(0, whole.len() as u64).await;
    stand.write(0, ranges[0], &whole).await.unwrap();
    let theirs = Key::new("r/file2").unwrap();
    bucket.begin(&theirs, &[]).await.unwrap();
    bucket.begin(&Key::new("r/file").unwrap(), &[]).await.unwrap();
    let lock = Lock { root: stand.root, entries: vec![path("file")] };
    stand.side.lock(lock).await.unwrap();

    let later = session(&bucket, Some(&state));
    for (place, ours, others) in
        [("/", 1, 2), ("/r", 1, 2), ("/r/", 1, 2), ("/r/file", 1, 1), ("/r/f", 0, 0), ("/q", 0, 0)]
    {
        let found = later.uploads(place.as_bytes()).await.unwrap();
        assert_eq!((found.ours.len(), found.others), (ours, Some(others)), "{place}");
    }
    let found = later.uploads(b"/r").await.unwrap().ours.remove(0);
    assert_eq!((found.key.as_str(), found.parts, found.bytes), ("r/file", 1, ranges[0].len()));
    assert!(found.begun.is_some() && found.worked_on.is_some());
    assert_eq!(later.abort(&found).await.unwrap(), Aborted::InUse);
    assert_eq!(bucket.open_uploads().len(), 3);
    drop(stand);
    // Somebody else's records are none of ours.
    let other = tempfile::tempdir().unwrap();
    let other = session(&bucket, Some(&other));
    assert_eq!(other.uploads(b"/").await.unwrap(), Uploads { ours: vec![], others: Some(3) });
    assert_eq!(other.abort(&found).await.unwrap(), Aborted::Gone);
    assert_eq!(bucket.open_uploads().len(), 3);
    for _ in 0..2 {
        assert_eq!(later.abort(&found).await.unwrap(), Aborted::Gone);
        assert_eq!(bucket.open_uploads().len(), 2);
    }
    assert_eq!(later.uploads(b"/").await.unwrap().ours, []);
}
