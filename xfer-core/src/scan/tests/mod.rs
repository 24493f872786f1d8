//! The walk against a naive one, and on trees that are awkward, deep, hostile or changing.

#![expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]

mod awkward;
mod filtered;
mod following;
mod races;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, ScanItem};
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;

use super::Walk;

fn open(directory: &Path) -> OwnedFd {
    std::fs::File::open(directory).unwrap().into()
}

fn path(bytes: impl Into<Vec<u8>>) -> RelPath {
    RelPath::new(bytes).unwrap()
}

/// All items of a walk, after a check that they come in order.
fn scan_under(root: &Path, under: &str, options: ScanOptions) -> Vec<ScanItem> {
    let mut walk = Walk::new(open(root), &path(under), options).unwrap();
    let mut items = Vec::new();
    while let Some(batch) = walk.next_batch() {
        assert!(batch.len() <= xfer_protocol::limits::BATCH_ENTRIES_MAX);
        items.extend(batch);
    }
    let paths: Vec<_> = items.iter().map(item_path).collect();
    assert!(paths.is_sorted(), "not in order: {paths:?}");
    items
}

fn scan(root: &Path, options: ScanOptions) -> Vec<ScanItem> {
    scan_under(root, "", options)
}

fn item_path(item: &ScanItem) -> &RelPath {
    match item {
        ScanItem::Entry(entry) => &entry.path,
        ScanItem::Excluded(path) | ScanItem::Partial { path, .. } => path,
        ScanItem::Problem(fault) => &fault.path,
    }
}

fn entries(items: &[ScanItem]) -> Vec<&Entry> {
    let mut found = Vec::new();
    for item in items {
        if let ScanItem::Entry(entry) = item {
            found.push(entry);
        }
    }
    found
}

fn names(items: &[ScanItem]) -> Vec<String> {
    entries(items).iter().map(|entry| entry.path.to_string()).collect()
}

fn excluded(items: &[ScanItem]) -> Vec<String> {
    let path = |item: &ScanItem| match item {
        ScanItem::Excluded(path) => Some(path.to_string()),
        _ => None,
    };
    items.iter().filter_map(path).collect()
}

fn problems(items: &[ScanItem]) -> Vec<(String, FaultKind)> {
    let problem = |item: &ScanItem| match item {
        ScanItem::Problem(fault) => Some((fault.path.to_string(), fault.kind)),
        _ => None,
    };
    items.iter().filter_map(problem).collect()
}

/// Writes a file and the directories that lead to it.
fn put(root: &Path, name: &str, content: &[u8]) -> PathBuf {
    let file = root.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, content).unwrap();
    file
}

/// What a walk by paths finds, without regard to order or races.
fn naive(root: &Path, below: &[u8], found: &mut BTreeMap<RelPath, std::fs::Metadata>) {
    let here = root.join(OsStr::from_bytes(below));
    let metadata = std::fs::symlink_metadata(&here).unwrap();
    if metadata.is_dir() {
        for child in std::fs::read_dir(&here).unwrap() {
            let mut child_path = below.to_vec();
            if !child_path.is_empty() {
                child_path.push(b'/');
            }
            child_path.extend_from_slice(child.unwrap().file_name().as_bytes());
            naive(root, &child_path, found);
        }
    }
    found.insert(path(below), metadata);
}

fn assert_as_naive(root: &Path) {
    let mut expected = BTreeMap::new();
    naive(root, b"", &mut expected);
    let items = scan(root, ScanOptions::default());
    let found = entries(&items);
    assert_eq!(items.len(), found.len());
    assert_eq!(
        found.iter().map(|e| &e.path).collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (entry, metadata) in found.iter().zip(expected.values()) {
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        assert_eq!(entry.kind.size(), size, "{}", entry.path);
        assert_eq!(entry.metadata.mode, metadata.mode() & 0o7777, "{}", entry.path);
        assert_eq!(entry.metadata.modified.seconds, metadata.mtime(), "{}", entry.path);
        assert_eq!(i64::from(entry.metadata.modified.nanoseconds), metadata.mtime_nsec());
        assert_eq!(entry.inode.number, metadata.ino(), "{}", entry.path);
        assert_eq!(u64::from(entry.inode.links), metadata.nlink(), "{}", entry.path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn finds_what_a_naive_walk_finds_in_the_order_of_paths(
        // Bytes around the separator's, where sorting whole paths would differ from sorting names.
        paths in prop::collection::vec(
            prop::collection::vec(
                prop::collection::vec(prop::sample::select(b"-./0a\xff \n".as_slice()), 1..4),
                1..5,
            ),
            0..40,
        ),
    ) {
        let tree = tempfile::tempdir().unwrap();
        for components in &paths {
            let bytes: Vec<u8> = components.join(&b'/');
            let Ok(file) = RelPath::new(bytes) else { continue };
            let file = tree.path().join(OsStr::from_bytes(file.as_bytes()));
            // What stands in the way of a later path is left as it is.
            if std::fs::create_dir_all(file.parent().unwrap()).is_ok() {
                let _ = std::fs::File::create_new(&file);
            }
        }
        assert_as_naive(tree.path());
    }
}

#[test]
fn many_entries_come_in_several_bounded_batches() {
    let tree = tempfile::tempdir().unwrap();
    for i in 0..10_000 {
        std::fs::File::create(tree.path().join(format!("file {i}"))).unwrap();
    }
    assert_as_naive(tree.path());
    let mut walk = Walk::new(open(tree.path()), &RelPath::root(), ScanOptions::default()).unwrap();
    let sizes: Vec<_> = std::iter::from_fn(|| walk.next_batch()).map(|b| b.len()).collect();
    assert_eq!(sizes[0], super::FIRST_BATCH_ITEMS);
    assert_eq!(sizes.iter().sum::<usize>(), 10_001);
    assert!(sizes.len() > 5);
}

#[test]
fn a_walk_may_begin_anywhere_and_shares_its_root() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "a/b/c", b"1");
    put(tree.path(), "a/b.txt", b"2");
    put(tree.path(), "z", b"3");
    let options = ScanOptions::default;
    assert_eq!(names(&scan_under(tree.path(), "a", options())), ["a", "a/b", "a/b/c", "a/b.txt"]);
    assert_eq!(names(&scan_under(tree.path(), "a/b", options())), ["a/b", "a/b/c"]);
    assert_eq!(names(&scan_under(tree.path(), "a/b/c", options())), ["a/b/c"]);
    let root = open(tree.path());
    for _ in 0..2 {
        let walk = Walk::new(root.try_clone().unwrap(), &RelPath::root(), options());
        let mut walk = walk.unwrap();
        assert_eq!(walk.next_batch().unwrap().len(), 6);
        assert!(walk.next_batch().is_none());
    }
}

#[test]
fn a_beginning_that_is_not_there_is_a_fault() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "file", b"");
    for (under, kind) in [
        ("none", FaultKind::NotFound),
        ("none/deeper", FaultKind::NotFound),
        ("file/below", FaultKind::Conflict),
    ] {
        let walk = Walk::new(open(tree.path()), &path(under), ScanOptions::default());
        assert_eq!(walk.err().unwrap().kind, kind, "{under}");
    }
}

#[test]
fn a_walk_ahead_yields_the_same_and_ends_with_its_receiver() {
    let tree = tempfile::tempdir().unwrap();
    for i in 0..500 {
        put(tree.path(), &format!("{}/{i}", i % 7), b"");
    }
    let walk = || Walk::new(open(tree.path()), &RelPath::root(), ScanOptions::default()).unwrap();
    let mut batches = super::ahead(walk(), 2).unwrap();
    let mut steps: Vec<_> = std::iter::from_fn(|| batches.blocking_recv()).collect();
    let Some(super::Step::Last(last)) = steps.pop() else { panic!("it did not end") };
    let items = steps.into_iter().flat_map(|step| match step {
        super::Step::Items(items) => items,
        super::Step::Last(_) => panic!("it ended twice"),
    });
    let items = items.chain(last);
    assert_eq!(items.collect::<Vec<_>>(), scan(tree.path(), ScanOptions::default()));
    let batches = super::ahead(walk(), 1).unwrap();
    drop(batches);
}
