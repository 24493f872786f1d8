//! A far side that fails, falls silent, or changes under the transfer.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xfer_core::endpoint::memory::{Method, Profile, Trouble};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::options::TransferOptions;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::path::RelPath;

use crate::lab::Lab;

/// Far more than any of these takes, and less than for ever.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_failure_ends_calls_that_are_never_answered() {
    let lab = Lab::new(Profile::Disk);
    let side = Arc::new(lab.store.open());
    side.order(Method::WritePack, 0, u64::MAX, Trouble::Stall);
    side.order(Method::WriteBlock, 2, u64::MAX, Trouble::Fail(FaultKind::NoSpace));
    let ended = tokio::time::timeout(LONG, lab.push(&side)).await.expect("it waits for ever");
    assert_eq!(ended.unwrap_err().exit_class(), ExitClass::DestinationIo);
    assert!(side.fired(Method::WritePack) > 0);
}

/// Whether a worker waits or the transfer itself does.
#[tokio::test]
async fn a_signal_ends_calls_that_are_never_answered() {
    for method in [Method::WritePack, Method::Publish] {
        let lab = Lab::new(Profile::Disk);
        let side = Arc::new(lab.store.open());
        side.order(method, 0, u64::MAX, Trouble::Stall);
        let cancel = CancellationToken::new();
        let push = lab.push_as(&side, TransferOptions::default(), cancel.clone());
        let ask_to_stop = async {
            while side.fired(method) == 0 {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        };
        let both = async { tokio::join!(push, ask_to_stop).0 };
        let ended = tokio::time::timeout(LONG, both).await.expect("it waits for ever");
        assert!(matches!(ended, Err(TransferError::Stopped { .. })), "{method:?}: {ended:?}");
    }
}

/// A sink that has too much open, or is out of descriptors, has room again once what is staged was
/// published.
#[tokio::test]
async fn a_sink_at_its_limit_is_asked_again() {
    let lab = Lab::new(Profile::Disk);
    let side = Arc::new(lab.store.open());
    side.order(Method::OpenPartial, 0, 1, Trouble::Fail(FaultKind::Limit));
    let summary = lab.push(&side).await.unwrap();
    assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
    assert_eq!(side.fired(Method::OpenPartial), 1);
    lab.assert_equal();
    let small = RelPath::new("there/a/b/3").unwrap();
    assert!(lab.store.read(&small).is_some());
}

/// A sink remembers a bounded number of digests until it is told to keep what they are of.
#[tokio::test]
async fn what_is_held_of_a_huge_file_is_kept_piece_by_piece() {
    let lab = Lab::new(Profile::Disk);
    fs::write(lab.source().join("large"), vec![7; 150 << 20]).unwrap();
    let side = Arc::new(lab.store.open());
    side.order(Method::WriteBlock, 140, u64::MAX, Trouble::Fail(FaultKind::NoSpace));
    lab.push(&side).await.unwrap_err();
    drop(side);
    let side = Arc::new(lab.store.open());
    let summary = lab.push(&side).await.unwrap();
    assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
    assert!(summary.reused_bytes >= 140 << 20, "{}", summary.reused_bytes);
    assert!(side.calls(Method::Keep) >= 2, "all of it was hashed before anything was kept");
    lab.assert_equal();
}

#[tokio::test]
async fn a_large_file_that_changes_while_it_is_read_is_tried_again() {
    let lab = Lab::new(Profile::Disk);
    lab.pushed().await;
    let side = Arc::new(lab.store.open());
    side.order(Method::ReadBlock, 2, 2, Trouble::Fail(FaultKind::Changed));
    let summary = lab.pull(&side).await.unwrap();
    assert_eq!(summary.class, ExitClass::Done, "{:?}", summary.problems);
    assert!(side.fired(Method::ReadBlock) > 0);
    let whole = fs::read(lab.source().join("large")).unwrap();
    assert!(fs::read(lab.directory.path().join("back/large")).unwrap() == whole);
}

/// A file that never holds still fails alone.
#[tokio::test]
async fn a_large_file_that_keeps_changing_fails() {
    let lab = Lab::new(Profile::Disk);
    lab.pushed().await;
    let side = Arc::new(lab.store.open());
    side.order(Method::ReadBlock, 2, u64::MAX, Trouble::Fail(FaultKind::Changed));
    let summary = lab.pull(&side).await.unwrap();
    assert_eq!(summary.class, ExitClass::SourceChanged, "{:?}", summary.problems);
    assert_eq!(summary.entries.failed, 1);
    assert!(!lab.directory.path().join("back/large").exists());
}

/// A number of retries is one of further tries, for a pack as for a block.
#[tokio::test]
async fn a_damaged_pack_is_sent_again_as_often_as_is_asked() {
    for (retries, class) in [(0, ExitClass::Integrity), (1, ExitClass::Done)] {
        let lab = Lab::new(Profile::Disk);
        let side = Arc::new(lab.store.open());
        side.order(Method::WritePack, 0, 1, Trouble::Corrupt);
        let mut options = TransferOptions::default();
        options.retry.retries = retries;
        let summary = lab.push_as(&side, options, CancellationToken::new()).await.unwrap();
        assert_eq!(summary.class, class, "{retries}: {:?}", summary.problems);
        assert_eq!(side.fired(Method::WritePack), 1);
    }
}

/// A file that changed and is gone with its directory by the time that it is looked for again.
#[tokio::test]
async fn a_file_that_is_gone_ends_nothing() {
    let lab = Lab::new(Profile::Disk);
    lab.pushed().await;
    let side = Arc::new(lab.store.open());
    side.order(Method::ReadBlock, 2, 1, Trouble::Fail(FaultKind::Changed));
    side.order(Method::Scan, 1, 1, Trouble::Fail(FaultKind::NotFound));
    let summary = lab.pull(&side).await.unwrap();
    assert_eq!((side.fired(Method::ReadBlock), side.fired(Method::Scan)), (1, 1));
    assert_eq!((summary.class, summary.entries.failed), (ExitClass::SourceChanged, 1));
    let counts = summary.entries;
    assert_eq!(counts.moved + counts.unchanged, counts.selected - 1, "{counts:?}");
}

/// A further name of a file is not blamed for the first, nor on the destination.
#[tokio::test]
async fn another_name_of_a_file_that_failed_fares_by_itself() {
    let lab = Lab::new(Profile::Disk);
    lab.pushed().await;
    for (times, twin_fails) in [(1, false), (u64::MAX, true)] {
        let side = Arc::new(lab.store.open());
        side.order(Method::ReadPack, 0, times, Trouble::Fail(FaultKind::Permission));
        let summary = lab.pull(&side).await.unwrap();
        assert_eq!(summary.class, ExitClass::Partial, "{:?}", summary.problems);
        let of_twin = summary.problems.iter().find(|problem| problem.path.to_string() == "twin");
        assert_eq!(
            of_twin.map(|problem| problem.kind),
            twin_fails.then_some(FaultKind::Permission)
        );
        let counts = summary.entries;
        assert_eq!(counts.moved + counts.unchanged + counts.failed, counts.selected, "{counts:?}");
        fs::remove_dir_all(lab.source().with_file_name("back")).unwrap();
    }
}
