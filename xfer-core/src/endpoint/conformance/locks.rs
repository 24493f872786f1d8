//! Locks, and the ends of sessions.

use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::message::{Finish, Locate, Lock, NewKind};
use xfer_protocol::path::RelPath;

use super::Fixture;
use super::stand::{Stand, path};
use crate::endpoint::{Endpoint, EndpointError, EndpointResult, LostReason, Sink, Source};

async fn lock<S: Sink + Source>(stand: &Stand<S>, names: &[&str]) -> EndpointResult<()> {
    let entry = |name: &&str| RelPath::new(*name).unwrap();
    let entries = names.iter().map(entry).collect();
    stand.side.lock(Lock { root: stand.root, entries }).await
}

fn busy(result: EndpointResult<()>, name: &str) {
    match result {
        Err(EndpointError::Fault(Fault { kind: FaultKind::Busy, path: found, .. })) => {
            assert_eq!(found, path(name));
        }
        other => panic!("{other:?}, but {name} is locked"),
    }
}

/// Two sessions with the same directories.
async fn two<F: Fixture>(fixture: &F) -> (Stand<F::Side>, Stand<F::Side>) {
    let first = Stand::new(fixture).await;
    if first.keeps.directories {
        for name in ["a", "a/sub", "b"] {
            first.create(&path(name), NewKind::Directory).await.unwrap();
        }
    }
    (first, Stand::new(fixture).await)
}

/// One session at a time writes an entry; others of the same directory are free.
pub async fn an_entry_is_locked_by_one_session<F: Fixture>(fixture: &F) {
    let (first, second) = two(fixture).await;
    lock(&first, &["a"]).await.unwrap();
    lock(&first, &["a"]).await.unwrap();
    busy(lock(&second, &["a"]).await, "a");
    lock(&second, &["b", "new"]).await.unwrap();
    busy(lock(&first, &["b"]).await, "b");
    let finish = Finish { root: first.root, durable: true };
    first.side.finish(finish).await.unwrap();
    lock(&second, &["a"]).await.unwrap();
    busy(lock(&first, &["a"]).await, "a");
}

/// A locked entry is locked with all below it, and what leads to it is shared.
pub async fn locks_cover_what_is_below<F: Fixture>(fixture: &F) {
    let (first, second) = two(fixture).await;
    lock(&first, &["a"]).await.unwrap();
    busy(lock(&second, &["a/sub"]).await, "a/sub");
    busy(lock(&second, &[""]).await, "");
    let (third, fourth) = (Stand::new(fixture).await, Stand::new(fixture).await);
    lock(&third, &["b"]).await.unwrap();
    first.end().await;
    third.end().await;
    lock(&fourth, &["a/sub"]).await.unwrap();
    busy(lock(&second, &["a"]).await, "a");
}

/// However a session ends, its locks end with it.
pub async fn locks_go_with_their_session<F: Fixture>(fixture: &F) {
    let (first, second) = two(fixture).await;
    lock(&first, &["a", "b"]).await.unwrap();
    busy(lock(&second, &["b"]).await, "b");
    first.end().await;
    lock(&second, &["a", "b"]).await.unwrap();
    drop(second);
    lock(&Stand::new(fixture).await, &["a", "b"]).await.unwrap();
}

/// Closing may be repeated; no call is served afterwards.
pub async fn a_closed_endpoint_serves_nobody<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("file", b"1").await;
    stand.side.close().await;
    stand.side.close().await;
    let closed = EndpointError::Lost(LostReason::ClosedHere);
    let locate = Locate { path: fixture.base(), expand: false };
    assert_eq!(stand.side.locate(locate).await, Err(closed.clone()));
    assert_eq!(stand.side.space(stand.root).await, Err(closed.clone()));
    assert_eq!(lock(&stand, &["file"]).await, Err(closed));
    let later = Stand::new(fixture).await;
    assert_eq!(later.content(&path("file")).await.unwrap(), b"1");
}
