//! Directories, links, special files and metadata.

use bytes::Bytes;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{EntryKind, Metadata, ScanItem, Timestamp, Xattr};
use xfer_protocol::message::{
    Access, Lock, NewKind, OpenPartial, OpenRoot, PartialIndex, Publish, ScanOptions, SetMetadata,
    WritePack,
};
use xfer_protocol::path::RelPath;

use super::Fixture;
use super::stand::{Stand, fault_of, one, path, plain};
use crate::endpoint::{Endpoint, Sink, TimeGrain};

fn symlink(content: &[u8]) -> NewKind {
    NewKind::Symlink { content: content.to_vec() }
}

fn hard_link(of: &str) -> NewKind {
    NewKind::HardLink { of: path(of) }
}

/// A directory that exists is kept with what is in it.
pub async fn directories_are_made_and_kept<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.keeps.directories {
        let refused = stand.create(&path("d"), NewKind::Directory).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Unsupported);
        return;
    }
    for name in ["d", "d/e"] {
        let stamp = stand.create(&path(name), NewKind::Directory).await.unwrap();
        assert_eq!(stand.entry(&path(name)).await.unwrap().stamp(), stamp);
    }
    stand.put("d/e/file", b"1").await;
    let before = stand.entry(&path("d/e")).await.unwrap().inode.number;
    stand.create(&path("d/e"), NewKind::Directory).await.unwrap();
    stand.create(&RelPath::root(), NewKind::Directory).await.unwrap();
    assert_eq!(stand.entry(&path("d/e")).await.unwrap().inode.number, before);
    assert_eq!(stand.content(&path("d/e/file")).await.unwrap(), b"1");
}

/// Batches overtake each other: what comes before its directory makes it, and that is no harm to
/// what comes after.
pub async fn missing_parents_are_made<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.keeps.directories {
        return;
    }
    stand.create(&path("a/b/c"), NewKind::Directory).await.unwrap();
    let files = vec![stand.packed(&path("p/q/file"), b"1", plain())];
    let pack = WritePack { root: stand.root, files, publish: false };
    stand.side.write_pack(pack, Bytes::from_static(b"1")).await.unwrap();
    stand.open_partial(0, "l/m/file", 0).await;
    stand.commit(0, b"").await.unwrap();
    assert_eq!(stand.publish().await.len(), 2);
    for name in ["a", "p/q", "l/m"] {
        stand.create(&path(name), NewKind::Directory).await.unwrap();
    }
    let made = ["a", "a/b", "a/b/c", "l", "l/m", "l/m/file", "p", "p/q", "p/q/file"];
    super::partials::nothing_else_is_left(&stand, &made).await;
    for entry in stand.entries().await {
        let private = entry.kind != EntryKind::Directory || entry.metadata.mode & 0o700 == 0o700;
        assert!(private, "{entry:?} cannot be entered");
    }
}

/// A symbolic link holds any bytes, and takes the place of another entry that is no directory.
pub async fn symbolic_links_hold_their_bytes<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.keeps.symlinks {
        let refused = stand.create(&path("l"), symlink(b"x")).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Unsupported);
        return;
    }
    stand.put("file", b"1").await;
    for content in [b"file".as_slice(), b"none", b"/", b"../..", b"l", b"\xff\n ", &[b'x'; 4000]] {
        for name in ["l", "file"] {
            for _ in 0..2 {
                stand.create(&path(name), symlink(content)).await.unwrap();
            }
            let kind = stand.entry(&path(name)).await.unwrap().kind;
            assert_eq!(kind, EntryKind::Symlink { content: content.to_vec() });
        }
    }
    super::partials::nothing_else_is_left(&stand, &["file", "l"]).await;
}

/// A hard link is one more name of the same file.
pub async fn hard_links_share_a_file<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("d/file", b"content").await;
    stand.put("replaced", b"other").await;
    if !stand.keeps.hard_links {
        let refused = stand.create(&path("l"), hard_link("d/file")).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Unsupported);
        return;
    }
    for name in ["d/l", "l", "replaced"] {
        for _ in 0..2 {
            stand.create(&path(name), hard_link("d/file")).await.unwrap();
        }
        assert_eq!(stand.content(&path(name)).await.unwrap(), b"content");
    }
    if !stand.capabilities().inodes {
        let refused = stand.create(&path("x"), hard_link("none")).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::NotFound);
        return super::partials::nothing_else_is_left(
            &stand,
            &["d", "d/file", "d/l", "l", "replaced"],
        )
        .await;
    }
    let numbers: Vec<_> = stand
        .entries()
        .await
        .into_iter()
        .filter(|entry| entry.kind != EntryKind::Directory)
        .map(|entry| (entry.inode.number, entry.inode.links))
        .collect();
    assert_eq!(numbers, [(numbers[0].0, 4); 4]);
    let refused = stand.create(&path("x"), hard_link("none")).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::NotFound);
}

/// FIFOs and sockets are made by name.
pub async fn special_files_are_made<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for (kind, expected) in [(NewKind::Fifo, EntryKind::Fifo), (NewKind::Socket, EntryKind::Socket)]
    {
        if !stand.keeps.special {
            let refused = stand.create(&path("s"), kind).await.unwrap_err();
            assert_eq!(refused.kind, FaultKind::Unsupported);
            continue;
        }
        for _ in 0..2 {
            let stamp = stand.create(&path("s"), kind.clone()).await.unwrap();
            let entry = stand.entry(&path("s")).await.unwrap();
            assert_eq!((entry.kind.clone(), entry.stamp()), (expected.clone(), stamp));
            assert!(stand.keeps.modified.same(entry.metadata.modified, plain().modified));
        }
    }
}

/// No directory is replaced by something else, and nothing else by a directory.
pub async fn what_stands_in_the_way_is_kept<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("d/file", b"1").await;
    if !stand.keeps.directories {
        return;
    }
    let refused = stand.create(&path("d/file"), NewKind::Directory).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Conflict);
    let refused = stand.create(&path("d/file/x"), NewKind::Directory).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Conflict);
    if stand.keeps.symlinks {
        let refused = stand.create(&path("d"), symlink(b"x")).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Conflict);
    }
    for publish in [true, false] {
        let files = vec![stand.packed(&path("d"), b"1", plain())];
        let pack = WritePack { root: stand.root, files, publish };
        let written = stand.side.write_pack(pack, Bytes::from_static(b"1")).await.unwrap();
        let refused = match one(written) {
            Ok(None) => one(stand.publish().await).unwrap_err(),
            other => other.unwrap_err(),
        };
        assert_eq!((refused.kind, refused.path), (FaultKind::Conflict, path("d")));
    }
    let whole = stand.several_parts();
    let refused = match stand.side.open_partial(stand.opening(0, "d", whole.len() as u64)).await {
        Ok(_) => {
            stand.write_all(0, &whole).await;
            stand.commit(0, &whole).await.unwrap();
            let outcomes = stand.publish().await;
            let refused = outcomes[0].result.clone().unwrap_err().kind;
            // It is complete: a later session need not send it again.
            let partial = |item: &ScanItem| matches!(item, ScanItem::Partial { .. });
            let items = stand.scan("", ScanOptions::default()).await;
            let kept = items.iter().filter(|item| partial(item)).count();
            assert_eq!(kept, usize::from(stand.capabilities().rehash));
            stand.side.discard(PartialIndex(0)).await.unwrap();
            refused
        }
        refused => fault_of(refused),
    };
    assert_eq!(refused, FaultKind::Conflict);
    assert_eq!(stand.content(&path("d/file")).await.unwrap(), b"1");
    super::partials::nothing_else_is_left(&stand, &["d", "d/file"]).await;
}

/// A link in the place of a directory leads nowhere: what would be written through it is refused.
pub async fn nothing_is_written_through_a_link<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    if !stand.keeps.symlinks || !stand.keeps.directories {
        return;
    }
    stand.create(&path("d"), NewKind::Directory).await.unwrap();
    for (link, content) in [("within", "d"), ("up", "..")] {
        stand.create(&path(link), symlink(content.as_bytes())).await.unwrap();
        let below = path(link).child(b"x").unwrap();
        for below in [&below, &below.child(b"deep").unwrap()] {
            let made = stand.create(below, NewKind::Directory).await.unwrap_err();
            assert_eq!(made.kind, FaultKind::Unsafe);
        }
        let files = vec![stand.packed(&below, b"1", plain())];
        let pack = WritePack { root: stand.root, files, publish: true };
        let written = stand.side.write_pack(pack, Bytes::from_static(b"1")).await.unwrap();
        assert_eq!(one(written).unwrap_err().kind, FaultKind::Unsafe);
        let open = OpenPartial {
            partial: PartialIndex(0),
            root: stand.root,
            path: below.clone(),
            size: 1,
            over: None,
        };
        assert_eq!(fault_of(stand.side.open_partial(open).await), FaultKind::Unsafe);
        let entries = vec![(stand.ticket(), below, plain())];
        let set = SetMetadata { root: stand.root, entries };
        let set = stand.side.set_metadata(set).await.unwrap();
        assert_eq!(one(set).unwrap_err().kind, FaultKind::Unsafe);
    }
    super::partials::nothing_else_is_left(&stand, &["d", "up", "within"]).await;
}

/// Metadata is set with a file, and set again later, of directories too.
pub async fn metadata_survives<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("d/file", b"1").await;
    let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
    let times = [
        time(-2_147_483_648, 0),
        time(-1, 999_999_999),
        time(0, 1),
        time(1_700_000_000, 123_456_789),
        time(4_294_967_296, 5),
    ];
    // Nobody but root could list a directory of the first two.
    let modes = [0o000, 0o400, 0o644, 0o711, 0o1777];
    let of_directory = |mode| mode | 0o700;
    let xattrs = match stand.keeps.xattrs {
        true => vec![
            Xattr { name: b"user.a".to_vec(), value: b"\0\xff\n".to_vec() },
            Xattr { name: b"user.b".to_vec(), value: Vec::new() },
        ],
        false => Vec::new(),
    };
    for (modified, mode) in times.into_iter().zip(modes) {
        let metadata = Metadata { mode, modified, xattrs: xattrs.clone(), owner: None };
        stand.put_at(&path("d/new"), b"2", metadata.clone()).await;
        let directory = path("d/sub");
        let mut set = vec![path("d/file")];
        if stand.keeps.directories {
            stand.make_parents(&path("d/sub/x")).await;
            set.push(directory.clone());
        }
        let paths = [vec![path("d/new")], set.clone()].concat();
        let with_mode = |path: &RelPath| match *path == directory {
            true => Metadata { mode: of_directory(mode), ..metadata.clone() },
            false => metadata.clone(),
        };
        let entries: Vec<_> =
            set.into_iter().map(|p| (stand.ticket(), p.clone(), with_mode(&p))).collect();
        let set = SetMetadata { root: stand.root, entries };
        for outcome in stand.side.set_metadata(set).await.unwrap() {
            match outcome.result {
                Ok(stamp) => assert!(stamp.is_some()),
                Err(fault) => {
                    assert_eq!(fault.kind, FaultKind::Unsupported);
                    let keeps_nothing = stand.keeps.modified == TimeGrain::Nothing;
                    assert!(!stand.keeps.mode && keeps_nothing, "{fault}");
                }
            }
        }
        for path in paths {
            let found = stand.entry(&path).await.unwrap().metadata;
            let mode = with_mode(&path).mode;
            let context = format!("{path} with {metadata:?}");
            assert!(!stand.keeps.mode || found.mode == mode, "{context}: {found:?}");
            let same_time = stand.keeps.modified.same(found.modified, modified);
            assert!(same_time, "{context}: {found:?}");
            assert!(!stand.keeps.xattrs || found.xattrs == xattrs, "{context}: {found:?}");
        }
    }
    if stand.keeps.mode {
        let entries = vec![(stand.ticket(), path("none"), plain())];
        let set = SetMetadata { root: stand.root, entries };
        let missing = one(stand.side.set_metadata(set).await.unwrap()).unwrap_err();
        assert_eq!((missing.kind, missing.path), (FaultKind::NotFound, path("none")));
    }
}

/// Below a root that was opened for reading, nothing is written.
pub async fn a_source_is_never_written<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("file", b"1").await;
    let open = OpenRoot { path: fixture.base(), access: Access::Read };
    let root = stand.side.open_root(open).await.unwrap().index;
    let side = &stand.side;
    let files = vec![stand.packed(&path("file"), b"2", plain())];
    let pack = WritePack { root, files, publish: true };
    let written = side.write_pack(pack, Bytes::from_static(b"2")).await;
    assert_eq!(fault_of(written), FaultKind::Protocol);
    let open = OpenPartial { root, ..stand.opening(0, "x", 1) };
    assert_eq!(fault_of(side.open_partial(open).await), FaultKind::Protocol);
    let lock = Lock { root, entries: vec![path("file")] };
    assert_eq!(fault_of(side.lock(lock).await), FaultKind::Protocol);
    let set = SetMetadata { root, entries: vec![(stand.ticket(), path("file"), plain())] };
    assert_eq!(fault_of(side.set_metadata(set).await), FaultKind::Protocol);
    let publish = Publish { root, durable: false, number: 0 };
    assert_eq!(fault_of(side.publish(publish).await), FaultKind::Protocol);
    assert_eq!(stand.content(&path("file")).await.unwrap(), b"1");
}
