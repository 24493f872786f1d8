//! Locations, roots and scans.

use xfer_protocol::fault::FaultKind;
use xfer_protocol::limits::SCAN_BATCHES_KEPT;
use xfer_protocol::manifest::{EntryKind, ScanItem};
use xfer_protocol::message::{
    Access, FilterRule, FilterRules, Locate, LocatedKind, NewKind, OpenRoot, RootIndex, Scan,
    ScanBatch, ScanIndex, ScanNext, ScanOptions,
};

use super::Fixture;
use super::stand::{Stand, entries, fault_of, item_path, path};
use crate::endpoint::{Endpoint, EndpointError};

/// A path has one row, whatever is there.
pub async fn locations_tell_what_is_there<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("d/file", b"1").await;
    let mut expected = vec![
        ("", Some(LocatedKind::Directory)),
        ("/d", Some(LocatedKind::Directory)),
        ("/d/", Some(LocatedKind::Directory)),
        ("/d/file", Some(LocatedKind::Other)),
        ("/none", None),
        ("/none/below", None),
        ("/d/f*", None),
    ];
    if stand.keeps.symlinks {
        for (name, content) in [("to-d", "d"), ("to-file", "d/file"), ("to-none", "none")] {
            let content = content.as_bytes().to_vec();
            stand.create(&path(name), NewKind::Symlink { content }).await.unwrap();
        }
        expected.extend([
            ("/to-d", Some(LocatedKind::DirectoryLink)),
            ("/to-d/", Some(LocatedKind::Directory)),
            ("/to-file", Some(LocatedKind::Other)),
            ("/to-none", Some(LocatedKind::Other)),
        ]);
    }
    for (name, kind) in expected {
        let path = [fixture.base(), name.as_bytes().to_vec()].concat();
        let rows = stand.side.locate(Locate { path: path.clone(), expand: false }).await.unwrap();
        assert_eq!(rows.len(), 1, "{name}");
        assert_eq!((&rows[0].path, rows[0].kind), (&path, kind), "{name}");
    }
}

/// Patterns are expanded when asked, sorted, and never by a shell.
pub async fn patterns_match_names<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for name in ["a1/x", "a2/x", "a3/y", "b", "$(b)"] {
        stand.put(name, b"").await;
    }
    for (pattern, expected) in [
        ("/a?", ["/a1", "/a2", "/a3"].as_slice()),
        ("/a[12]/x", &["/a1/x", "/a2/x"]),
        ("/*/y", &["/a3/y"]),
        ("/$*", &["/$(b)"]),
        ("/c*", &[]),
    ] {
        let full = |name: &str| [fixture.base(), name.as_bytes().to_vec()].concat();
        let rows = stand.side.locate(Locate { path: full(pattern), expand: true }).await.unwrap();
        let found: Vec<_> = rows.into_iter().map(|row| row.path).collect();
        let expected: Vec<_> = expected.iter().map(|name| full(name)).collect();
        assert_eq!(found, expected, "{pattern}");
    }
}

/// A root that must exist does, one that is made has its parents made, and all have a name.
pub async fn roots_open_as_asked<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    stand.put("file", b"").await;
    let below = |name: &str| [fixture.base(), name.as_bytes().to_vec()].concat();
    let open = async |name: &str, access| {
        stand.side.open_root(OpenRoot { path: below(name), access }).await
    };
    if stand.keeps.directories {
        for access in [Access::Read, Access::Write] {
            assert_eq!(fault_of(open("/none/deep", access).await), FaultKind::NotFound);
            assert_eq!(fault_of(open("/file", access).await), FaultKind::Conflict);
        }
        assert_eq!(fault_of(open("/file", Access::WriteCreate).await), FaultKind::Conflict);
        assert_eq!(fault_of(open("/file/below", Access::WriteCreate).await), FaultKind::Conflict);
    }
    let made = open("/none/deep", Access::WriteCreate).await.unwrap();
    let again = open("/none/deep/", Access::WriteCreate).await.unwrap();
    let read = open("/none/deep", Access::Read).await.unwrap();
    assert_ne!(made.index, again.index);
    for other in [&again, &read] {
        assert_eq!(other.path, made.path);
        assert_eq!((other.device, other.inode), (made.device, made.inode));
        assert_eq!(other.machine, made.machine);
    }
    let other = Stand::new(fixture).await;
    let elsewhere = OpenRoot { path: below(""), access: Access::Read };
    assert_eq!(other.side.open_root(elsewhere).await.unwrap().machine, made.machine);
    let unknown = stand.side.space(RootIndex(u32::MAX)).await;
    assert_eq!(fault_of(unknown), FaultKind::Protocol);
}

/// Entries come in the order of their paths, each once, with what they are.
pub async fn scans_list_everything_in_order<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let names = ["a/b/c", "a/b.txt", "a/b-c", "a-b/x", "a.b", "z/1", "z/2", "z-", "0"];
    for name in names {
        stand.put(name, name.as_bytes()).await;
    }
    let found = stand.entries().await;
    for name in names {
        let entry = found.iter().find(|entry| entry.path == path(name)).unwrap();
        assert_eq!(entry.kind.size(), name.len() as u64, "{name}");
        assert!(matches!(entry.kind, EntryKind::File { .. }));
    }
    let directories: Vec<_> = found
        .iter()
        .filter(|entry| entry.kind == EntryKind::Directory)
        .map(|entry| entry.path.to_string())
        .collect();
    let expected: &[&str] =
        if stand.keeps.directories { &[".", "a", "a/b", "a-b", "z"] } else { &[] };
    assert_eq!(directories, expected);
    assert_eq!(found.len(), names.len() + expected.len());
    let unknown = stand.side.scan_next(ScanNext { scan: ScanIndex(u32::MAX), sequence: 0 }).await;
    assert_eq!(fault_of(unknown), FaultKind::Protocol);
}

/// A batch whose answer was lost is told again, and batches may be asked for in any order.
pub async fn batches_are_told_again<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for n in 0..100 {
        stand.put(&format!("{n:02}"), b"").await;
    }
    let scan = Scan { root: stand.root, under: path(""), options: ScanOptions::default() };
    let scan = stand.side.scan(scan).await.unwrap();
    let next = |sequence| stand.side.scan_next(ScanNext { scan, sequence });
    let mut told: Vec<ScanBatch> = Vec::new();
    let mut first = 0;
    while told.last().is_none_or(|batch| !batch.last) {
        let end = first + SCAN_BATCHES_KEPT;
        let mut group = Vec::new();
        for sequence in (first..end).rev() {
            group.push(next(sequence).await.unwrap());
        }
        group.reverse();
        for (batch, sequence) in group.iter().zip(first..end) {
            assert_eq!(batch.sequence, sequence);
            assert_eq!(next(sequence).await.unwrap(), *batch);
        }
        told.extend(group);
        first = end;
    }
    let listed = stand.scan("", ScanOptions::default()).await;
    assert_eq!(told.into_iter().flat_map(|batch| batch.items).collect::<Vec<_>>(), listed);
}

/// A scan lists what is at and below one entry; one of nothing fails.
pub async fn scans_begin_where_asked<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for name in ["a/b/c", "a/d", "a-", "z"] {
        stand.put(name, b"").await;
    }
    for (under, expected) in [("a", "a a/b a/b/c a/d"), ("a/b", "a/b a/b/c"), ("z", "z")] {
        let found = entries(stand.scan(under, ScanOptions::default()).await);
        let found: Vec<_> = found
            .iter()
            .filter(|e| stand.keeps.directories || e.kind != EntryKind::Directory)
            .map(|e| e.path.to_string())
            .collect();
        let files = ["a/b/c", "a/d", "z"];
        let expected: Vec<_> = expected
            .split(' ')
            .filter(|name| stand.keeps.directories || files.contains(name))
            .collect();
        assert_eq!(found, expected, "under {under}");
    }
    let missing = stand.try_scan("none", ScanOptions::default()).await;
    let Err(EndpointError::Fault(fault)) = missing else { panic!("{missing:?} of nothing") };
    assert_eq!((fault.kind, fault.path), (FaultKind::NotFound, path("none")));
}

/// What a filter leaves out is told, an excluded directory once for all below it.
pub async fn filters_leave_entries_out<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for name in ["keep/a.o", "keep/b", "skip/c", "skip/d/e", "large", "f.o"] {
        stand.put(name, if name == "large" { &[0; 100] } else { b"" }).await;
    }
    let rule = |pattern: &str, include| FilterRule { pattern: pattern.to_owned(), include };
    let rules = vec![rule("*.o", false), rule("keep/*.o", true), rule("/skip/", false)];
    let filter = FilterRules { rules, size_max: Some(99), ..FilterRules::default() };
    let items = stand.scan("", ScanOptions { filter, ..ScanOptions::default() }).await;
    let excluded: Vec<_> =
        items.iter().filter(|i| matches!(i, ScanItem::Excluded(_))).map(item_path).collect();
    assert_eq!(excluded, [&path("f.o"), &path("large"), &path("skip")]);
    let files = ["keep/a.o", "keep/b"];
    let kept: Vec<_> = items.iter().filter(|i| matches!(i, ScanItem::Entry(_))).collect();
    for name in files {
        assert!(kept.iter().any(|item| *item_path(item) == path(name)), "{name}");
    }
    assert_eq!(kept.len(), files.len() + if stand.keeps.directories { 2 } else { 0 });
}

/// Where only some entries are wanted, the others are not looked at, and missing ones are told.
pub async fn wanted_entries_alone_are_listed<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    for name in ["a/b/c", "a/b/d", "a/e", "f"] {
        stand.put(name, b"").await;
    }
    let only = Some(["f", "a/b", "none/x"].map(path).to_vec());
    let items = stand.scan("", ScanOptions { only, ..ScanOptions::default() }).await;
    let problem = items.iter().find_map(|item| match item {
        ScanItem::Problem(fault) => Some((fault.path.to_string(), fault.kind)),
        _ => None,
    });
    assert_eq!(problem, Some(("none/x".to_owned(), FaultKind::NotFound)));
    let found: Vec<_> = items.iter().map(|item| item_path(item).to_string()).collect();
    let directories: &[&str] = if stand.keeps.directories { &[".", "a", "a/b"] } else { &[] };
    let expected = [directories, &["a/b/c", "a/b/d", "f", "none/x"]].concat();
    assert_eq!(found, expected);
}

/// Free space is told for a root, the same way as on opening it.
pub async fn space_is_told<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let space = stand.side.space(stand.root).await.unwrap();
    assert!(space.bytes_free > 0);
}
