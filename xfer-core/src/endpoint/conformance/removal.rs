//! Removing what a source does not have, where an endpoint does that.

use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, Stamp, Timestamp};
use xfer_protocol::message::NewKind;
use xfer_protocol::message::removal::{Removal, Remove, Rename, Renaming};
use xfer_protocol::path::RelPath;

use super::Fixture;
use super::stand::{Stand, fault_of, path, plain};
use crate::endpoint::{Sink, Source};

impl<S: Sink + Source> Stand<S> {
    fn removal(&self, entry: &Entry) -> Removal {
        Removal {
            ticket: self.ticket(),
            path: entry.path.clone(),
            directory: entry.kind == EntryKind::Directory,
            stamp: entry.stamp(),
            linked: false,
        }
    }

    async fn remove(&self, entries: Vec<Removal>) -> Vec<Result<(), FaultKind>> {
        self.remove_to(entries, None, false).await
    }

    async fn remove_to(
        &self,
        entries: Vec<Removal>,
        backup: Option<RelPath>,
        stays: bool,
    ) -> Vec<Result<(), FaultKind>> {
        let tickets: Vec<_> = entries.iter().map(|entry| entry.ticket).collect();
        let remove = Remove { root: self.root, entries, backup, stays };
        let outcomes = self.side.remove(remove).await.unwrap();
        assert_eq!(outcomes.iter().map(|o| o.ticket).collect::<Vec<_>>(), tickets);
        let said = |result: Result<_, Fault>| match result {
            Ok(None) => Ok(()),
            Ok(Some(stamp)) => panic!("{stamp:?} of what is gone"),
            Err(fault) => Err(fault.kind),
        };
        outcomes.into_iter().map(|outcome| said(outcome.result)).collect()
    }

    async fn rename(
        &self,
        entry: &Entry,
        to: &str,
        metadata: Metadata,
    ) -> Result<Stamp, FaultKind> {
        let (ticket, stamp) = (self.ticket(), entry.stamp());
        let renaming = Renaming { ticket, from: entry.path.clone(), stamp, to: path(to), metadata };
        let rename = Rename { root: self.root, entries: vec![renaming], durable: true };
        let [outcome] = &self.side.rename(rename).await.unwrap()[..] else { panic!("not one") };
        assert_eq!(outcome.ticket, ticket);
        match &outcome.result {
            Ok(stamp) => Ok(stamp.unwrap()),
            Err(fault) => {
                assert_eq!(fault.path, path(to));
                Err(fault.kind)
            }
        }
    }

    async fn names(&self) -> Vec<RelPath> {
        self.entries().await.into_iter().map(|e| e.path).filter(|p| !p.is_root()).collect()
    }
}

/// Children go before their parents; the same again changes nothing, and no more goes than was
/// named.
pub async fn what_is_as_it_was_is_removed<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.removes() {
        let none = Remove { root: stand.root, entries: Vec::new(), backup: None, stays: false };
        assert_eq!(fault_of(stand.side.remove(none).await), FaultKind::Unsupported);
        return;
    }
    for name in ["a/b/one", "a/b/two", "a/three", "kept"] {
        stand.put(name, name.as_bytes()).await;
    }
    if stand.keeps.symlinks {
        let link = NewKind::Symlink { content: b"b".to_vec() };
        stand.create(&path("a/link"), link).await.unwrap();
    }
    let gone: Vec<_> = stand.entries().await.into_iter().rev().collect();
    let gone: Vec<_> = gone.iter().filter(|entry| entry.path.starts_with(&path("a"))).collect();
    for _ in 0..2 {
        let asked = gone.iter().map(|entry| stand.removal(entry)).collect();
        assert!(stand.remove(asked).await.iter().all(Result::is_ok));
        assert_eq!(stand.names().await, [path("kept")]);
    }
}

/// What is not what a scan saw stays, and so does a directory in which something is.
pub async fn what_changed_stays<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.removes() {
        return;
    }
    stand.put("file", b"old").await;
    let entry = stand.entry(&path("file")).await.unwrap();
    let later = Timestamp { seconds: 2_000_000_000, nanoseconds: 0 };
    let metadata = Metadata { modified: later, ..plain() };
    stand.put_at(&path("file"), b"newer", metadata).await;
    assert_eq!(stand.remove(vec![stand.removal(&entry)]).await, [Err(FaultKind::Changed)]);
    assert_eq!(stand.content(&path("file")).await.unwrap(), b"newer");
    if !stand.keeps.directories {
        return;
    }
    stand.put("d/inside", b"1").await;
    let directory = stand.entry(&path("d")).await.unwrap();
    let as_file = Removal { directory: false, ..stand.removal(&directory) };
    assert_eq!(stand.remove(vec![as_file]).await, [Err(FaultKind::Changed)]);
    assert_eq!(stand.remove(vec![stand.removal(&directory)]).await, [Err(FaultKind::Conflict)]);
    assert_eq!(stand.content(&path("d/inside")).await.unwrap(), b"1");
}

/// A link is removed itself, and leads nowhere.
pub async fn nothing_is_removed_through_a_link<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.removes() || !stand.keeps.symlinks || !stand.keeps.directories {
        return;
    }
    stand.put("real/file", b"1").await;
    let link = NewKind::Symlink { content: b"real".to_vec() };
    stand.create(&path("link"), link).await.unwrap();
    let entry = stand.entry(&path("real/file")).await.unwrap();
    let through = Removal { path: path("link/file"), ..stand.removal(&entry) };
    let refused = stand.remove(vec![through]).await.pop().unwrap();
    let as_told = [Err(FaultKind::Unsafe), Err(FaultKind::Conflict)];
    assert!(as_told.contains(&refused), "{refused:?}");
    let link = stand.entry(&path("link")).await.unwrap();
    assert_eq!(stand.remove(vec![stand.removal(&link)]).await, [Ok(())]);
    assert_eq!(stand.names().await, [path("real"), path("real/file")]);
}

/// What goes has its path below the backup directory, in place of what had it; what is only about
/// to be replaced has both.
pub async fn what_goes_can_be_kept<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.backs_up() {
        return;
    }
    let kept = || Some(path("old/kept"));
    for text in [b"first".as_slice(), b"second"] {
        stand.put("d/file", text).await;
        let entry = stand.entry(&path("d/file")).await.unwrap();
        for _ in 0..2 {
            let asked = vec![stand.removal(&entry)];
            assert_eq!(stand.remove_to(asked, kept(), true).await, [Ok(())]);
            assert_eq!(stand.content(&path("d/file")).await.unwrap(), text);
            assert_eq!(stand.content(&path("old/kept/d/file")).await.unwrap(), text);
        }
    }
    stand.put("d/file", b"third").await;
    let gone: Vec<_> = [path("d/file"), path("d")].into();
    for _ in 0..2 {
        let mut asked = Vec::new();
        for path in &gone {
            asked.extend(stand.entry(path).await.map(|entry| stand.removal(&entry)));
        }
        assert!(stand.remove_to(asked, kept(), false).await.iter().all(Result::is_ok));
        assert_eq!(stand.content(&path("old/kept/d/file")).await.unwrap(), b"third");
        assert!(stand.entry(&path("d")).await.is_none());
    }
}

/// A file gets another name, in another directory too, and its metadata; the same again changes
/// nothing.
pub async fn a_file_gets_another_name<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.renames() {
        let none = Rename { root: stand.root, entries: Vec::new(), durable: false };
        assert_eq!(fault_of(stand.side.rename(none).await), FaultKind::Unsupported);
        return;
    }
    stand.put("a/old", b"content").await;
    stand.put("b/other", b"1").await;
    let old = stand.entry(&path("a/old")).await.unwrap();
    let modified = Timestamp { seconds: 1_234_567_890, nanoseconds: 0 };
    let wanted = Metadata { mode: 0o640, modified, ..plain() };
    for _ in 0..2 {
        let stamp = stand.rename(&old, "b/new", wanted.clone()).await.unwrap();
        let new = stand.entry(&path("b/new")).await.unwrap();
        assert_eq!((new.stamp(), new.metadata.mode), (stamp, 0o640));
        assert_eq!((stamp.inode, stamp.modified), (old.inode.number, modified));
        assert_eq!(stand.content(&path("b/new")).await.unwrap(), b"content");
        assert!(stand.entry(&path("a/old")).await.is_none());
    }
}

/// Nothing is replaced by what gets another name, and what changed keeps its own.
pub async fn no_name_is_taken_from_another<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.side.renames() {
        return;
    }
    stand.put("old", b"old").await;
    stand.put("taken", b"taken").await;
    stand.put("d/inside", b"1").await;
    let old = stand.entry(&path("old")).await.unwrap();
    assert_eq!(stand.rename(&old, "taken", plain()).await, Err(FaultKind::Conflict));
    assert_eq!(stand.rename(&old, "d", plain()).await, Err(FaultKind::Conflict));
    assert_eq!(stand.rename(&old, "gone/new", plain()).await, Err(FaultKind::NotFound));
    let partial = crate::disk::partial_name(b"new");
    let reserved = String::from_utf8(partial).unwrap();
    assert_eq!(stand.rename(&old, &reserved, plain()).await, Err(FaultKind::Unsafe));
    stand.put("old", b"newer").await;
    assert_eq!(stand.rename(&old, "new", plain()).await, Err(FaultKind::Changed));
    let directory = stand.entry(&path("d")).await.unwrap();
    assert_eq!(stand.rename(&directory, "new", plain()).await, Err(FaultKind::Changed));
    assert_eq!(stand.content(&path("old")).await.unwrap(), b"newer");
    assert_eq!(stand.content(&path("taken")).await.unwrap(), b"taken");
    assert!(stand.entry(&path("new")).await.is_none());
}
