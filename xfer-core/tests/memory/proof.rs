//! What a transfer says is proven, and what the next one makes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::endpoint::memory::{MemoryEndpoint, Method, Profile, Trouble};
use xfer_core::engine::Summary;
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::options::{Comparison, TransferOptions, VerifyLevel};
use xfer_core::receipt::ReceiptReader;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::ProofLevel;

use crate::lab::Lab;

/// More files than a group that is noted while a transfer is under way.
const MANY: u32 = 1100;

/// Requests in which these are compared.
const REQUESTS: u64 = 5;

async fn push_read_back(lab: &Lab, side: &Arc<MemoryEndpoint>) -> Result<Summary, TransferError> {
    let mut options = TransferOptions::default();
    options.verify.level = VerifyLevel::ReadBack;
    lab.push_as(side, options, CancellationToken::new()).await
}

/// A tree of small files alone.
fn many() -> Lab {
    let lab = Lab::new(Profile::Disk);
    fs::remove_dir_all(lab.source()).unwrap();
    fs::create_dir(lab.source()).unwrap();
    for n in 0..MANY {
        fs::write(lab.source().join(format!("{n}")), n.to_le_bytes()).unwrap();
    }
    lab
}

#[tokio::test]
async fn what_fails_its_read_back_is_neither_listed_nor_recorded() {
    for (method, path) in [(Method::HashFiles, None), (Method::HashBlocks, Some("large"))] {
        let lab = Lab::new(Profile::Disk);
        let side = Arc::new(lab.store.open());
        side.order(method, 0, 1, Trouble::Corrupt);
        let first = push_read_back(&lab, &side).await.unwrap();
        assert_eq!(first.class, ExitClass::Integrity, "{:?}", first.problems);
        let [problem] = first.problems.as_slice() else { panic!("{:?}", first.problems) };
        assert_eq!(problem.kind, FaultKind::Mismatch);
        assert!(path.is_none_or(|path| problem.path.to_string() == path), "{problem}");
        let counts = first.entries;
        assert_eq!(counts.failed, 1);
        assert_eq!(counts.moved + counts.unchanged + counts.failed, counts.selected, "{counts:?}");
        let text = fs::read(first.receipt.unwrap()).unwrap();
        let mut listed = Vec::new();
        let head = ReceiptReader::new(&text[..]).unwrap();
        let head = head.check(|_, entry| listed.push(entry.path.clone())).unwrap();
        assert!(!listed.contains(&problem.path), "{problem} is listed");
        assert_eq!((head.failed, head.entries), (1, counts.selected - 1));
        drop(side);
        let side = Arc::new(lab.store.open());
        let second = lab.push(&side).await.unwrap();
        assert_eq!(second.class, ExitClass::Done, "{:?}", second.problems);
        assert!(side.calls(method) > 0, "it was taken for proven");
    }
}

/// What is good in the cache and bad at rest is replaced by the transfer that finds it.
#[tokio::test]
async fn a_copy_that_went_bad_at_rest_is_replaced() {
    for method in [Method::HashFiles, Method::HashBlocks] {
        let lab = Lab::new(Profile::Disk);
        lab.pushed().await;
        fs::remove_dir_all(lab.state()).unwrap();
        let side = Arc::new(lab.store.open());
        // The first request compares, the second reads back.
        side.order(method, 1, 1, Trouble::Corrupt);
        let second = push_read_back(&lab, &side).await.unwrap();
        assert_eq!(side.fired(method), 1);
        assert_eq!(second.class, ExitClass::Done, "{:?}", second.problems);
        assert_eq!((second.entries.moved, second.proof_level), (1, Some(ProofLevel::ReadBack)));
        lab.assert_equal();
    }
}

#[tokio::test]
async fn a_tree_that_was_read_back_is_proven_so() {
    let lab = Lab::new(Profile::Disk);
    let first = push_read_back(&lab, &Arc::new(lab.store.open())).await.unwrap();
    assert_eq!((first.class, first.proof_level), (ExitClass::Done, Some(ProofLevel::ReadBack)));
    // By its record, once it has seen the names that were linked last.
    let mut hashed = 0;
    for _ in 0..2 {
        let side = Arc::new(lab.store.open());
        let next = push_read_back(&lab, &side).await.unwrap();
        assert_eq!((next.class, next.proof_level), (ExitClass::Done, Some(ProofLevel::ReadBack)));
        hashed = side.calls(Method::HashFiles) + side.calls(Method::HashBlocks);
    }
    assert_eq!(hashed, 0);
    // Its metadata alone is corrected.
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(lab.source().join("a/b/3"), mode).unwrap();
    let third = push_read_back(&lab, &Arc::new(lab.store.open())).await.unwrap();
    assert_eq!((third.class, third.proof_level), (ExitClass::Done, Some(ProofLevel::ReadBack)));
    assert_ne!(third.manifest_root, first.manifest_root);
    let fourth = lab.pushed().await;
    assert_eq!(fourth.proof_level, Some(ProofLevel::Durable));
}

/// What `--quick` believes stays an assumption, its metadata corrected or not.
#[tokio::test]
async fn an_assumption_stays_one() {
    let lab = Lab::new(Profile::Disk);
    lab.pushed().await;
    fs::remove_dir_all(lab.state()).unwrap();
    let mut options = TransferOptions::default();
    options.selection.compare = Comparison::Quick;
    let mode = fs::Permissions::from_mode(0o600);
    for n in 0..200 {
        let file = lab.source().join(format!("a/b/{n}"));
        fs::set_permissions(file, mode.clone()).unwrap();
    }
    fs::set_permissions(lab.source().join("large"), mode).unwrap();
    let side = Arc::new(lab.store.open());
    let quick = lab.push_as(&side, options, CancellationToken::new()).await.unwrap();
    assert_eq!((quick.class, quick.payload_bytes), (ExitClass::Done, 0), "{:?}", quick.problems);
    assert_eq!(quick.proof_level, Some(ProofLevel::Assumed));
}

/// Files that were found equal are synced when a transfer finishes; one that did not get there
/// proves nothing of them.
#[tokio::test]
async fn what_was_only_found_equal_is_compared_again_after_a_crash() {
    let lab = many();
    lab.pushed().await;
    for (method, stopped) in [(Method::SetMetadata, 1), (Method::Finish, 2)] {
        fs::remove_dir_all(lab.state()).unwrap();
        let side = Arc::new(lab.store.open());
        side.order(method, 0, 1, Trouble::Fail(FaultKind::Io));
        lab.push(&side).await.unwrap_err();
        assert_eq!((side.calls(Method::HashFiles), side.fired(method)), (REQUESTS, 1));
        drop(side);
        let side = Arc::new(lab.store.open());
        let summary = lab.push(&side).await.unwrap();
        assert_eq!((summary.class, summary.payload_bytes), (ExitClass::Done, 0));
        // After a failed finish, what is equal is read back too.
        assert_eq!(side.calls(Method::HashFiles), stopped * REQUESTS, "stopped at {stopped}");
    }
}

/// A sync that failed at the end may have been that of anything.
#[tokio::test]
async fn after_a_failed_finish_everything_is_compared() {
    let lab = many();
    let side = Arc::new(lab.store.open());
    side.order(Method::Finish, 0, 1, Trouble::Fail(FaultKind::Io));
    lab.push(&side).await.unwrap_err();
    drop(side);
    let side = Arc::new(lab.store.open());
    let summary = lab.push(&side).await.unwrap();
    assert_eq!((summary.class, summary.payload_bytes), (ExitClass::Done, 0));
    assert_eq!(side.calls(Method::HashFiles), 2 * REQUESTS);
}

/// What a failed sync lost is shown as if it were there for as long as the system remembers it.
#[tokio::test]
async fn after_a_failed_sync_the_cache_proves_nothing() {
    for (method, trouble) in [
        (Method::HashFiles, Trouble::Fail(FaultKind::Io)),
        (Method::HashBlocks, Trouble::Fail(FaultKind::Io)),
        (Method::HashBlocks, Trouble::LoseReply),
    ] {
        let lab = Lab::new(Profile::Disk);
        lab.pushed().await;
        fs::remove_dir_all(lab.state()).unwrap();
        let side = Arc::new(lab.store.open());
        side.order(Method::Finish, 0, 1, trouble);
        let mut options = TransferOptions::default();
        options.retry.retries = 0;
        lab.push_as(&side, options, CancellationToken::new()).await.unwrap_err();
        let side = Arc::new(lab.store.open());
        // Equal where it is compared, and not where it is read back.
        side.order(method, 1, 1, Trouble::Corrupt);
        let summary = lab.push(&side).await.unwrap();
        assert_eq!((summary.class, side.fired(method)), (ExitClass::Done, 1));
        assert_eq!(summary.entries.moved, 1, "{:?}", summary.entries);
        lab.assert_equal();
    }
}
