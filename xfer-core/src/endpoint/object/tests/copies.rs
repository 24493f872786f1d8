//! Files that the store copies by itself.

use super::super::copying::{Copied, Copying, Known, Uncopied};
use super::super::store::memory::{BucketTrouble, Request};
use super::super::store::{self, Store, StoreError};
use super::*;

/// Bytes of a copy that takes three parts.
const LARGE: usize = (60 << 20) + 77;

/// Two endpoints over one bucket, with an object in the one root.
struct Two {
    from: Stand,
    to: Stand,
    entry: Entry,
    /// Bytes that it was told of as copied.
    copied: Arc<AtomicU64>,
}

impl Two {
    async fn new(bucket: &MemoryBucket, state: Option<&tempfile::TempDir>) -> Self {
        let from = Stand::new(bucket, None, "/from").await;
        let to = Stand::new(bucket, state, "/to").await;
        let entry = from.entries().await.into_iter().find(|entry| entry.path == path("file"));
        Self { from, to, entry: entry.unwrap(), copied: Arc::default() }
    }

    async fn known(&self) -> Known {
        let at = FileAt {
            root: self.from.root,
            path: self.entry.path.clone(),
            stamp: self.entry.stamp(),
        };
        self.from.side.known(&at).await.unwrap().unwrap()
    }

    async fn copy(&self, known: Known) -> EndpointResult<Result<Copied, Uncopied>> {
        let (root, path, metadata) = (self.to.root, path("file"), metadata(0o640));
        let copied = Arc::clone(&self.copied);
        let on_copied = Arc::new(move |bytes| {
            copied.fetch_add(bytes, Ordering::Relaxed);
        });
        let copying = Copying { root, path, metadata, is_read_back: false, on_copied };
        self.to.side.copy_known(copying, known, &self.from.side).await
    }
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn with_object(bucket: MemoryBucket, bytes: &Bytes, digest: Option<Digest>) -> MemoryBucket {
    let digest = digest.map(|digest| digest.to_string());
    let told: Vec<_> = digest.iter().map(|digest| ("xfer-blake3", digest.as_str())).collect();
    bucket.put_as_is("from/file", bytes.clone(), &told);
    bucket
}

async fn attributes_of(bucket: &MemoryBucket, key: &str) -> Vec<(String, String)> {
    bucket.head(&store::Key::new(key).unwrap()).await.unwrap().attributes
}

#[tokio::test]
async fn a_copy_has_what_is_wanted_of_it_and_no_byte_is_read() {
    for (length, copies, parts) in [(0, 1, 0), (5000, 1, 0), (LARGE, 0, 3)] {
        let whole = bytes(length);
        let digest = file_digest(&whole);
        let bucket = with_object(MemoryBucket::new("b"), &whole, Some(digest));
        let two = Two::new(&bucket, None).await;
        let before = bucket.calls(Request::Get);
        let copied = two.copy(two.known().await).await.unwrap().unwrap();
        assert_eq!((copied.digest, copied.kept), (None, 0), "nobody here computed a digest");
        assert_eq!(bucket.content("to/file").unwrap(), whole);
        let told = attributes_of(&bucket, "to/file").await;
        let kept = attributes::read(&told);
        assert_eq!((kept.mode, kept.digest), (Some(0o640), Some(digest)));
        assert_eq!(kept.modified, Some(metadata(0).modified));
        let asked = [Request::Copy, Request::CopyPart, Request::Put, Request::PutPart];
        assert_eq!(asked.map(|request| bucket.calls(request)), [copies, parts, 0, 0]);
        assert_eq!(bucket.calls(Request::Get), before, "bytes were read");
        let found = two.to.entries().await.into_iter().find(|entry| entry.path == path("file"));
        assert_eq!(found.unwrap().stamp(), copied.stamp);
    }
}

#[tokio::test]
async fn without_sums_a_copy_is_read_back_and_held_to_its_digest() {
    let whole = bytes(5000);
    let plain = || MemoryBucket::new("b").without_checksums();
    let digest = file_digest(&whole);
    let bucket = with_object(plain(), &whole, Some(digest));
    let two = Two::new(&bucket, None).await;
    let copied = two.copy(two.known().await).await.unwrap().unwrap();
    assert_eq!(copied.digest, Some(digest));

    let bucket = with_object(plain(), &whole, Some(file_digest(b"other")));
    let two = Two::new(&bucket, None).await;
    let copied = two.copy(two.known().await).await.unwrap();
    assert_eq!(copied.unwrap_err(), Uncopied::Differs);

    let bucket = with_object(plain(), &whole, None);
    let two = Two::new(&bucket, None).await;
    let known = two.known().await;
    assert!(!known.is_provable(false));
    assert_eq!(two.copy(known).await.unwrap().unwrap_err(), Uncopied::Unproven);
    assert_eq!(bucket.calls(Request::Copy), 0, "a copy that nothing would prove");
}

#[tokio::test]
async fn sums_alone_prove_a_copy_and_say_that_both_are_equal() {
    let whole = bytes(5000);
    let bucket = with_object(MemoryBucket::new("b"), &whole, None);
    let two = Two::new(&bucket, None).await;
    let known = two.known().await;
    assert!(known.is_provable(false) && !known.is_provable(true));
    let copied = two.copy(known.clone()).await.unwrap().unwrap();
    let at = FileAt { root: two.to.root, path: path("file"), stamp: copied.stamp };
    assert!(known.is_same_as(&two.to.side.known(&at).await.unwrap().unwrap()));
    bucket.put_as_is("from/file", bytes(4999), &[]);
    let two = Two::new(&bucket, None).await;
    assert!(!two.known().await.is_same_as(&known));
}

#[tokio::test]
async fn another_state_is_not_copied() {
    for length in [5000, LARGE] {
        let bucket = with_object(MemoryBucket::new("b"), &bytes(length), None);
        let two = Two::new(&bucket, None).await;
        let known = two.known().await;
        bucket.put_as_is("from/file", bytes(length - 1), &[]);
        assert_eq!(two.copy(known).await.unwrap().unwrap_err(), Uncopied::Changed);
        assert_eq!(bucket.content("to/file"), None);
        assert_eq!(bucket.open_uploads(), []);
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_a_refusal_is_told() {
    for (length, request) in [(5000, Request::Copy), (LARGE, Request::Complete)] {
        let whole = bytes(length);
        let bucket = with_object(MemoryBucket::new("b"), &whole, None);
        let two = Two::new(&bucket, None).await;
        bucket.order(request, 0, 1, BucketTrouble::LoseReply);
        two.copy(two.known().await).await.unwrap().unwrap();
        assert_eq!(bucket.content("to/file").unwrap(), whole);
        assert_eq!(bucket.calls(request), 1);
    }
    for (length, request) in [(5000, Request::Copy), (LARGE, Request::CopyPart)] {
        let bucket = with_object(MemoryBucket::new("b"), &bytes(length), None);
        let two = Two::new(&bucket, None).await;
        bucket.order(request, 0, 1, BucketTrouble::Fail(StoreError::Denied("no".into())));
        let copied = two.copy(two.known().await).await.unwrap();
        assert!(matches!(copied, Err(Uncopied::Refused(_))), "{copied:?}");
        assert_eq!(bucket.open_uploads(), []);
    }
}

/// A store that looks at no state while it copies parts makes no object of two.
#[tokio::test]
async fn a_source_that_changes_between_parts_is_seen_before_there_is_an_object() {
    let bucket = with_object(MemoryBucket::new("b").heedless(), &bytes(LARGE), None);
    let two = Two::new(&bucket, None).await;
    let known = two.known().await;
    bucket.put_as_is("from/file", bytes(LARGE + 1), &[]);
    assert_eq!(two.copy(known).await.unwrap().unwrap_err(), Uncopied::Changed);
    assert_eq!(bucket.calls(Request::CopyPart), 3);
    assert_eq!(bucket.calls(Request::Complete), 0);
    assert_eq!((bucket.content("to/file"), bucket.open_uploads()), (None, vec![]));
}

/// Ends the first session after the first part.
async fn interrupted(bucket: &MemoryBucket, state: &tempfile::TempDir) {
    let two = Two::new(bucket, Some(state)).await;
    bucket.order(Request::CopyPart, 1, 9, BucketTrouble::Fail(StoreError::Again("gone".into())));
    assert!(two.copy(two.known().await).await.is_err());
    bucket.clear_orders();
    two.to.side.close().await;
}

#[tokio::test]
async fn a_copy_in_parts_goes_on_in_a_later_session() {
    let whole = bytes(LARGE);
    let bucket = with_object(MemoryBucket::new("b"), &whole, None);
    let state = tempfile::tempdir().unwrap();
    interrupted(&bucket, &state).await;
    let two = Two::new(&bucket, Some(&state)).await;
    let before = bucket.calls(Request::CopyPart);
    let copied = two.copy(two.known().await).await.unwrap().unwrap();
    assert_eq!(copied.kept, 24 << 20);
    assert_eq!(copied.kept + two.copied.load(Ordering::Relaxed), LARGE as u64);
    assert_eq!(bucket.calls(Request::CopyPart) - before, 2);
    assert_eq!(bucket.content("to/file").unwrap(), whole);
    assert_eq!(bucket.open_uploads(), []);
}

#[tokio::test]
async fn parts_of_another_state_are_not_gone_on_with() {
    let bucket = with_object(MemoryBucket::new("b"), &bytes(LARGE), None);
    let state = tempfile::tempdir().unwrap();
    interrupted(&bucket, &state).await;
    let other = bytes(LARGE + 1);
    bucket.put_as_is("from/file", other.clone(), &[]);
    let two = Two::new(&bucket, Some(&state)).await;
    let copied = two.copy(two.known().await).await.unwrap().unwrap();
    assert_eq!(copied.kept, 0);
    assert_eq!(bucket.content("to/file").unwrap(), other);
    assert_eq!(bucket.open_uploads(), []);
}

/// What the store was copying into tells of a digest that the bytes from here may not have.
#[tokio::test]
async fn what_is_sent_from_here_does_not_go_into_a_copy() {
    let whole = bytes(LARGE);
    let bucket = with_object(MemoryBucket::new("b"), &whole, Some(file_digest(b"stale")));
    let state = tempfile::tempdir().unwrap();
    interrupted(&bucket, &state).await;
    let to = Stand::new(&bucket, Some(&state), "/to").await;
    assert_eq!(to.open_partial(1, whole.len() as u64).await, []);
    assert_eq!(bucket.open_uploads(), [], "its upload is still there");
}
