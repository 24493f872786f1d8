//! Uploads that a later session finishes, and answers that were lost.

use xfer_protocol::fault::FaultKind;

use super::*;
use crate::endpoint::object::store::memory::{BucketTrouble, Request};
use crate::endpoint::object::store::{Key, Store, StoreError};

/// Writes some parts in a session that ends without finishing it.
async fn interrupted(bucket: &MemoryBucket, state: Option<&tempfile::TempDir>, wanted: &[usize]) {
    let (whole, ranges) = parts(3);
    let stand = Stand::new(bucket, state, "/r").await;
    assert_eq!(stand.open_partial(0, whole.len() as u64).await, []);
    for part in wanted {
        stand.write(0, ranges[*part], &whole).await.unwrap();
    }
    stand.side.close().await;
}

async fn finished(bucket: &MemoryBucket, stand: &Stand, missing: &[ByteRange]) {
    let (whole, _) = parts(3);
    for range in missing {
        stand.write(0, *range, &whole).await.unwrap();
    }
    stand.commit(0, &whole).await.unwrap();
    assert!(stand.publish(0).await.unwrap()[0].result.is_ok());
    assert_eq!(bucket.content("r/file").unwrap(), whole);
}

#[tokio::test]
async fn with_a_record_only_what_is_missing_is_sent() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    interrupted(&bucket, Some(&state), &[0, 2]).await;
    let (whole, ranges) = parts(3);
    let size = whole.len() as u64;
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    assert_eq!(stand.open_partial(0, size).await, [ranges[0], ranges[2]]);
    for held in [ranges[0], ranges[2]] {
        let subject = xfer_protocol::message::Subject::Partial(PartialIndex(0));
        let (block, reading) =
            (xfer_protocol::digest::BlockSize::DEFAULT, xfer_protocol::message::Reading::Cached);
        let hash = HashBlocks { subject, range: held, block, reading };
        let found = stand.side.hash_blocks(hash).await.unwrap().digests;
        let expected: Vec<_> = hash::pieces(held, 1 << 20)
            .map(|span| {
                let at = |offset| usize::try_from(offset).unwrap();
                let bytes = &whole[at(span.start())..at(span.end())];
                xfer_protocol::digest::span_digest(span.start(), bytes, size)
            })
            .collect();
        assert_eq!(found, expected);
        let keep = Keep { partial: PartialIndex(0), ranges: vec![held] };
        stand.side.keep(keep).await.unwrap();
    }
    let before = bucket.calls(Request::PutPart);
    finished(&bucket, &stand, &[ranges[1], ranges[3]]).await;
    assert_eq!(bucket.calls(Request::PutPart) - before, 2);
    assert_eq!(bucket.open_uploads(), []);
}

#[tokio::test]
async fn a_part_is_kept_whole_or_not_at_all() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    interrupted(&bucket, Some(&state), &[0]).await;
    let (whole, ranges) = parts(3);
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    stand.open_partial(0, whole.len() as u64).await;
    let subject = xfer_protocol::message::Subject::Partial(PartialIndex(0));
    let (block, reading) =
        (xfer_protocol::digest::BlockSize::DEFAULT, xfer_protocol::message::Reading::Cached);
    let hash = HashBlocks { subject, range: ranges[0], block, reading };
    stand.side.hash_blocks(hash).await.unwrap();
    let half = vec![ByteRange::new(0, GRID / 2).unwrap()];
    let kept = stand.side.keep(Keep { partial: PartialIndex(0), ranges: half }).await;
    assert!(matches!(kept, Err(EndpointError::Fault(f)) if f.kind == FaultKind::Protocol));
    finished(&bucket, &stand, &ranges).await;
}

#[tokio::test]
async fn without_a_record_parts_that_prove_themselves_are_not_sent_again() {
    let bucket = MemoryBucket::new("b");
    interrupted(&bucket, None, &[0, 2]).await;
    let stand = Stand::new(&bucket, None, "/r").await;
    let (whole, ranges) = parts(3);
    assert_eq!(stand.open_partial(0, whole.len() as u64).await, []);
    let before = bucket.calls(Request::PutPart);
    finished(&bucket, &stand, &ranges).await;
    assert_eq!(bucket.calls(Request::PutPart) - before, 2);
    assert_eq!(bucket.open_uploads(), []);
}

#[tokio::test]
async fn uploads_of_others_are_left_alone() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    let key = Key::new("r/file").unwrap();
    let foreign = bucket.begin(&key, &[]).await.unwrap();
    let other = Bytes::from(vec![7; usize::try_from(GRID).unwrap()]);
    let sum = sums::crc(&other);
    let sum = store::Checksum::Crc64Nvme(sum);
    bucket.put_part(&key, &foreign, 1, other.into(), sum).await.unwrap();
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    let (whole, ranges) = parts(3);
    stand.open_partial(0, whole.len() as u64).await;
    stand.write(0, ranges[0], &whole).await.unwrap();
    stand.side.discard(PartialIndex(0)).await.unwrap();
    assert_eq!(bucket.open_uploads(), std::slice::from_ref(&foreign));
    stand.open_partial(1, whole.len() as u64).await;
    for range in &ranges {
        stand.write(1, *range, &whole).await.unwrap();
    }
    stand.commit(1, &whole).await.unwrap();
    assert!(stand.publish(0).await.unwrap()[0].result.is_ok());
    assert_eq!(bucket.open_uploads(), [foreign]);
}

#[tokio::test]
async fn what_another_process_assembles_further_in_is_no_left_over() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    let (whole, ranges) = parts(3);
    let other = Stand::new(&bucket, Some(&state), "/r").await;
    other.side.lock(Lock { root: other.root, entries: vec![path("file")] }).await.unwrap();
    other.open_partial(0, whole.len() as u64).await;
    other.write(0, ranges[0], &whole).await.unwrap();
    let outer = Stand::new(&bucket, Some(&state), "/").await;
    let name = crate::disk::partial_name(b"file");
    let paths = Paths { root: outer.root, paths: vec![path("r").child(&name).unwrap()] };
    outer.side.remove_partials(paths.clone()).await.unwrap();
    assert_eq!(bucket.open_uploads().len(), 1);
    other.side.close().await;
    outer.side.remove_partials(paths).await.unwrap();
    assert_eq!(bucket.open_uploads(), []);
}

#[tokio::test]
async fn an_upload_that_is_gone_is_begun_anew() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    interrupted(&bucket, Some(&state), &[0, 1]).await;
    let gone = bucket.open_uploads().remove(0);
    bucket.abort(&Key::new("r/file").unwrap(), &gone).await.unwrap();
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    let (whole, ranges) = parts(3);
    assert_eq!(stand.open_partial(0, whole.len() as u64).await, []);
    finished(&bucket, &stand, &ranges).await;
}

#[tokio::test]
async fn a_record_that_is_torn_is_none_beyond_its_tear() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    interrupted(&bucket, Some(&state), &[0, 1, 2]).await;
    let uploads = StateDirectory::open(&state.path().join("uploads")).unwrap();
    let name = uploads.names().unwrap().remove(0);
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut uploads.read(&name).unwrap().unwrap(), &mut text).unwrap();
    for cut in [0, 1, 11, 60, text.len() - 3000, text.len() - 1] {
        uploads.log(&name).unwrap().append(&text[..cut]).unwrap();
        let side = Stand::new(&bucket, Some(&state), "/r").await;
        let held = side.open_partial(0, parts(3).0.len() as u64).await;
        assert!(held.len() < 3, "cut at {cut}: {held:?}");
        side.side.close().await;
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_looked_up() {
    for request in [Request::Complete, Request::Put] {
        let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
        let stand = Stand::new(&bucket, Some(&state), "/r").await;
        let (whole, ranges) = match request {
            Request::Complete => parts(1),
            _ => (Bytes::from_static(b"small"), vec![ByteRange::whole(5).unwrap()]),
        };
        stand.open_partial(0, whole.len() as u64).await;
        for range in &ranges {
            stand.write(0, *range, &whole).await.unwrap();
        }
        stand.commit(0, &whole).await.unwrap();
        bucket.order(request, 0, 1, BucketTrouble::LoseReply);
        assert!(stand.publish(0).await.unwrap()[0].result.is_ok());
        assert_eq!(bucket.content("r/file").unwrap(), whole);
        assert_eq!(bucket.calls(request), 1);
    }
}

/// An object that was there before is no proof, though it has the very size of ours.
#[tokio::test]
async fn an_older_object_is_not_taken_for_ours() {
    let (whole, ranges) = parts(1);
    for error in [StoreError::Unknown("lost".to_owned()), StoreError::Missing] {
        let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
        bucket.put_as_is("r/file", whole.clone(), &[("xfer-attempt", "another")]);
        let stand = Stand::new(&bucket, Some(&state), "/r").await;
        stand.open_partial(0, whole.len() as u64).await;
        for range in &ranges {
            stand.write(0, *range, &whole).await.unwrap();
        }
        stand.commit(0, &whole).await.unwrap();
        bucket.order(Request::Complete, 0, 2, BucketTrouble::Fail(error.clone()));
        let outcomes = stand.publish(0).await.unwrap();
        let fault = outcomes[0].result.as_ref().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Tainted);
        assert_eq!(bucket.open_uploads(), []);
        if error == StoreError::Missing {
            // What is left of the order.
            let (key, id) = (Key::new("r/file").unwrap(), store::UploadId("none".to_owned()));
            let always = store::Condition::Always;
            bucket.complete(&key, &id, &[], &[], None, always).await.unwrap_err();
        }
        // It is sent anew.
        assert_eq!(stand.open_partial(1, whole.len() as u64).await, []);
        for range in &ranges {
            stand.write(1, *range, &whole).await.unwrap();
        }
        stand.commit(1, &whole).await.unwrap();
        assert!(stand.publish(1).await.unwrap()[0].result.is_ok());
    }
}

/// What appeared beside a file that was lost is told by the next publishing.
#[tokio::test]
async fn a_publishing_that_was_lost_tells_all_when_it_comes_again() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    for name in ["a", "b", "c"] {
        stand.pack(name, name.as_bytes(), false).await.unwrap();
    }
    bucket.order(Request::Put, 1, 1, BucketTrouble::Fail(StoreError::Again("no".to_owned())));
    assert_eq!(stand.publish(0).await, Err(EndpointError::Lost(LostReason::Ended)));
    let outcomes = stand.publish(0).await.unwrap();
    assert!(outcomes.len() == 3 && outcomes.iter().all(|o| o.result.is_ok()), "{outcomes:?}");
    assert_eq!(bucket.calls(Request::Put), 4);
}

#[tokio::test]
async fn what_does_not_fit_in_memory_waits_in_the_store() {
    let (bucket, state) = (MemoryBucket::new("b"), tempfile::tempdir().unwrap());
    let stand = Stand::new(&bucket, Some(&state), "/r").await;
    let file = vec![1; 3 << 20];
    for n in 0..40 {
        let staged = stand.pack(&format!("{n:02}"), &file, false).await.unwrap();
        assert_eq!(staged[0].result, Ok(None));
    }
    assert!(stand.side.shared.waiting.load(Ordering::Relaxed) <= 64 << 20);
    assert!(!bucket.open_uploads().is_empty());
    assert!(bucket.keys().is_empty());
    let outcomes = stand.publish(0).await.unwrap();
    assert!(outcomes.len() == 40 && outcomes.iter().all(|o| o.result.is_ok()), "{outcomes:?}");
    assert_eq!(stand.side.shared.waiting.load(Ordering::Relaxed), 0);
    assert_eq!((bucket.keys().len(), bucket.open_uploads().len()), (40, 0));
}

#[test]
fn parts_grow_with_their_file() {
    use crate::endpoint::object::upload::part_length;
    let mib = 1_u64 << 20;
    for (size, length) in [
        (9 * mib, Some(8 * mib)),
        (80_000 * mib, Some(8 * mib)),
        (80_000 * mib + 1, Some(16 * mib)),
        (1_280_000 * mib, Some(128 * mib)),
        (1_280_000 * mib + 1, None),
    ] {
        assert_eq!(part_length(size, 10_000), length, "{size}");
    }
}
