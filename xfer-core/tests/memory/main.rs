//! Whole transfers from this machine's disk to a store in memory, in both of its profiles: what a
//! disk can, and what a store of parts can.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

mod lab;
mod proof;
mod trouble;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use xfer_core::endpoint::memory::{Method, Profile, Trouble};
use xfer_core::error::ExitClass;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::path::RelPath;

use lab::{LARGE, Lab};

async fn moves_and_moves_nothing_again(profile: Profile) {
    let lab = Lab::new(profile);
    let first = lab.pushed().await;
    lab.assert_equal();
    let second = lab.pushed().await;
    assert_eq!((second.payload_bytes, second.entries.moved), (0, 0), "{:?}", second.entries);
    assert_eq!(second.manifest_root, first.manifest_root);
    fs::write(lab.source().join("a/b/3"), b"new").unwrap();
    let third = lab.pushed().await;
    assert_eq!((third.payload_bytes, third.entries.moved), (3, 1), "{:?}", third.entries);
    lab.assert_equal();
}

#[tokio::test]
async fn to_a_disk_in_memory() {
    moves_and_moves_nothing_again(Profile::Disk).await;
}

#[tokio::test]
async fn to_a_store_of_parts() {
    moves_and_moves_nothing_again(Profile::Parts).await;
}

/// What a store has no kind for is no success, and the rest arrives all the same.
#[tokio::test]
async fn what_a_store_cannot_hold_is_told() {
    let lab = Lab::new(Profile::Parts);
    symlink("a/b/7", lab.source().join("link")).unwrap();
    let summary = lab.push(&Arc::new(lab.store.open())).await.unwrap();
    lab.assert_equal();
    assert_eq!(summary.class, ExitClass::Partial);
    let told: Vec<_> = summary.problems.iter().map(|p| (p.kind, p.path.to_string())).collect();
    assert_eq!(told, [(FaultKind::Unsupported, "link".to_owned())]);
    assert_eq!(summary.entries.failed, 1);
    // Directories come by themselves: the top, the two below it, and the empty one.
    assert_eq!(summary.entries.skipped, 4);
}

/// A transfer that ran out of space goes on with the same command. A disk proves what it holds; a
/// store that cannot be read before a file is whole begins the file anew.
async fn goes_on_after_a_full_disk(profile: Profile) {
    let lab = Lab::new(profile);
    let side = Arc::new(lab.store.open());
    side.order(Method::WriteBlock, 2, u64::MAX, Trouble::Fail(FaultKind::NoSpace));
    let error = lab.push(&side).await.unwrap_err();
    assert_eq!(error.exit_class(), ExitClass::DestinationIo, "{error}");
    assert!(side.fired(Method::WriteBlock) > 0);
    assert!(lab.store.read(&RelPath::new("there/large").unwrap()).is_none());
    drop(side);
    let summary = lab.pushed().await;
    lab.assert_equal();
    assert!(summary.payload_bytes >= LARGE as u64 || profile == Profile::Disk, "{summary:?}");
    assert!(summary.reused_bytes >= 1 << 20 || profile == Profile::Parts, "{summary:?}");
}

#[tokio::test]
async fn a_disk_in_memory_is_resumed() {
    goes_on_after_a_full_disk(Profile::Disk).await;
}

#[tokio::test]
async fn a_store_of_parts_begins_its_file_anew() {
    goes_on_after_a_full_disk(Profile::Parts).await;
}

#[tokio::test]
async fn bytes_that_a_disk_lost_are_sent_again() {
    let lab = Lab::new(Profile::Disk);
    let side = Arc::new(lab.store.open());
    side.order(Method::WriteBlock, 4, u64::MAX, Trouble::Fail(FaultKind::NoSpace));
    lab.push(&side).await.unwrap_err();
    drop(side);
    let large = RelPath::new("there/large").unwrap();
    let held = lab.store.partials();
    assert_eq!(held, std::slice::from_ref(&large));
    let damaged = (0..LARGE as u64)
        .step_by(1 << 16)
        .find(|at| lab.store.damage_partial(&large, *at).is_some());
    assert!(damaged.is_some());
    lab.pushed().await;
    lab.assert_equal();
}
