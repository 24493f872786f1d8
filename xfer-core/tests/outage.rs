//! A far side that was there, is gone for a while, and comes back.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::memory::{MemoryStore, Method, Profile, Trouble};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, Failure, NetworkReason, TransferError};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::fault::FaultKind;

/// What one dialling meets.
#[derive(Clone, Copy)]
enum Dial {
    Fails(NetworkReason),
    /// The session is lost at the first bytes.
    Lost,
    /// Somebody holds the destination.
    Busy,
    Good,
}

/// Pushes one file while the dials meet what they meet; how many were made, and what came of it.
async fn push(dials: &[Dial], retries: u32) -> (usize, Result<Summary, TransferError>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, vec![7; 100_000]).unwrap();
    let far = Machine::Ssh(SshHost { user: None, host: "far".into(), port: None });
    let store = MemoryStore::new(Profile::Disk);
    let left = Arc::new(Mutex::new(dials.iter().copied().collect::<VecDeque<_>>()));
    let next = Arc::clone(&left);
    let stand = move || {
        let end = store.open();
        match next.lock().unwrap().pop_front().unwrap() {
            Dial::Fails(reason) => {
                return Err(TransferError::Network(Failure::new("far", reason)));
            }
            Dial::Lost => end.order(Method::WritePack, 0, 1, Trouble::LoseRequest),
            Dial::Busy => end.order(Method::Lock, 0, 1, Trouble::Fail(FaultKind::Busy)),
            Dial::Good => {}
        }
        Ok(Connected::here(Arc::new(end)))
    };
    let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
    let connector =
        Connector::new(ssh, Some(directory.path().join("state"))).with_failing_stand(&far, stand);
    let path = file.as_os_str().as_encoded_bytes().to_vec();
    let source = Location { machine: Machine::Local, path };
    let mut transfer =
        Transfer::new(vec![source], Location { machine: far, path: b"/there".to_vec() });
    transfer.options.retry.retries = retries;
    let quiet = Arc::new(|_: &xfer_core::event::Event| {});
    let result = run(transfer, connector, quiet, CancellationToken::new()).await;
    let made = dials.len() - left.lock().unwrap().len();
    (made, result)
}

/// Outages do not spend retries, which are for sessions that came about: the loss spent the one
/// that there was.
#[tokio::test]
async fn an_outage_is_waited_out() {
    use NetworkReason::{Throttled, TimedOut, Unreachable, Unresolved};
    let away = [Throttled, TimedOut, Unreachable, Unresolved]
        .map(|reason| async move { push(&[Dial::Lost, Dial::Fails(reason), Dial::Good], 1).await });
    for (made, result) in futures_util::future::join_all(away).await {
        assert_eq!((made, result.unwrap().class), (3, ExitClass::Done));
    }
}

#[tokio::test]
async fn the_locks_of_our_own_lost_session_are_waited_for() {
    let (made, result) = push(&[Dial::Lost, Dial::Busy, Dial::Good], 1).await;
    assert_eq!((made, result.unwrap().class), (3, ExitClass::Done));
}

#[tokio::test]
async fn what_was_never_reached_is_not_waited_for() {
    for first in [Dial::Fails(NetworkReason::Unreachable), Dial::Busy] {
        let (made, result) = push(&[first, Dial::Good], 2).await;
        assert!(made == 1 && result.is_err());
    }
    let dials = [Dial::Lost, Dial::Fails(NetworkReason::Unreachable), Dial::Good];
    let (made, result) = push(&dials, 0).await;
    assert!(made == 1 && result.is_err());
}

/// A far side that takes its time to answer does not keep a user who stops.
#[tokio::test]
async fn a_stop_ends_a_connecting_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let far = SshHost { user: None, host: "far".into(), port: None };
    let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
    // It never says a word.
    let connector = Connector::new(ssh, Some(directory.path().join("state")))
        .with_process(far.clone(), vec!["sleep".into(), "3600".into()]);
    let source = Location { machine: Machine::Local, path: b"/dev/null".to_vec() };
    let there = Location { machine: Machine::Ssh(far), path: b"there".to_vec() };
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let quiet = Arc::new(move |event: &xfer_core::event::Event| {
        if matches!(event, xfer_core::event::Event::Phase(_)) {
            stop.cancel();
        }
    });
    let error = run(Transfer::new(vec![source], there), connector, quiet, cancel).await;
    assert_eq!(error.unwrap_err().exit_class(), ExitClass::Interrupted);
}
