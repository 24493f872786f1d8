//! The fold of streams

use std::collections::BTreeMap;

use proptest::prelude::*;
use xfer_protocol::digest::file_digest;
use xfer_protocol::manifest::{EntryKind, ManifestEntry, Metadata, ProofLevel};
use xfer_protocol::path::RelPath;

use super::samples::claim;
use crate::gate::coverage::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn entry(name: &str, kind: EntryKind, bytes: Option<&[u8]>) -> ManifestEntry {
    let digest = bytes.map(file_digest);
    ManifestEntry { path: path(name), kind, metadata: Metadata::default(), digest }
}

fn file(name: &str, bytes: &[u8]) -> ManifestEntry {
    let size = bytes.len() as u64;
    entry(name, EntryKind::File { size, allocated: size }, Some(bytes))
}

fn directory(name: &str) -> ManifestEntry {
    entry(name, EntryKind::Directory, None)
}

fn line(entry: ManifestEntry) -> ReceiptLine {
    ReceiptLine { entry, level: ProofLevel::Durable }
}

fn lines<'a, T: 'a>(all: Vec<T>) -> Lines<'a, T> {
    Box::new(all.into_iter().map(Ok))
}

fn said<'a>(receipt: Vec<ReceiptLine>, found: &[(&str, Found)]) -> SaidLines<'a> {
    let found = found.iter().map(|(name, found)| FoundLine { path: path(name), found: *found });
    SaidLines { receipt: lines(receipt), found: lines(found.collect()) }
}

const ROOT: &[u8] = b"/workspace";
const EQUAL: Said = Said::Equal(ProofLevel::Durable);

/// Each entry by what one receipt and its destination say of it
#[test]
fn every_entry_falls_into_its_group() {
    let link = |content: &[u8]| EntryKind::Symlink { content: content.to_vec() };
    let scan = vec![
        Scanned::Entry(directory("")),
        Scanned::Entry(directory("d")),
        Scanned::Entry(file("d/same", b"x")),
        Scanned::Entry(file("d/unread", b"x")),
        Scanned::Entry(directory("empty")),
        Scanned::Entry(directory("empty-copied")),
        Scanned::Entry(file("grown", b"xx")),
        Scanned::Entry(entry("link", link(b"a"), None)),
        Scanned::Entry(entry("link-turned", link(b"a"), None)),
        Scanned::Entry(file("new", b"xyz")),
        Scanned::Entry(file("other", b"y")),
        Scanned::Entry(entry("other-kind", EntryKind::Fifo, None)),
        Scanned::Entry(file("undigested", b"x")),
        Scanned::Entry(file("undigested-grown", b"xx")),
    ];
    let undigested = |name: &str| ManifestEntry { digest: None, ..file(name, b"x") };
    let receipt = vec![
        line(directory("d")),
        line(file("d/same", b"x")),
        line(file("d/unread", b"x")),
        line(directory("empty-copied")),
        line(file("gone", b"x")),
        line(file("grown", b"x")),
        line(entry("link", link(b"a"), None)),
        line(entry("link-turned", link(b"b"), None)),
        line(file("other", b"x")),
        line(file("other-kind", b"x")),
        line(undigested("undigested")),
        line(undigested("undigested-grown")),
    ];
    let found = [
        ("d/same", Found::Read),
        ("empty-copied", Found::Read),
        ("gone", Found::Missing),
        ("link", Found::Read),
        ("other", Found::Pinned),
        ("z", Found::Read),
    ];
    let coverage = fold(ROOT, lines(scan), vec![said(receipt, &found)]).unwrap();
    let groups: BTreeMap<_, Vec<String>> = coverage
        .groups
        .iter()
        .map(|(claims, tally)| {
            assert_eq!(tally.count, tally.examples.len() as u64);
            (claims[0], tally.examples.iter().map(ToString::to_string).collect())
        })
        .collect();
    let expected = [
        (claim(EQUAL, Found::Read), vec!["d/same", "empty-copied", "link"]),
        (claim(EQUAL, Found::NotLooked), vec!["d/unread"]),
        (claim(Said::Nothing, Found::NotLooked), vec!["empty", "new"]),
        (
            claim(Said::Different, Found::NotLooked),
            vec!["grown", "link-turned", "other-kind", "undigested-grown"],
        ),
        (claim(Said::Different, Found::Pinned), vec!["other"]),
        (claim(Said::Undigested, Found::NotLooked), vec!["undigested"]),
    ];
    let expected = expected
        .map(|(claim, names)| (claim, names.into_iter().map(str::to_owned).collect::<Vec<_>>()));
    assert_eq!(groups, BTreeMap::from(expected));
    let new = &coverage.groups[&vec![claim(Said::Nothing, Found::NotLooked)]];
    assert_eq!((new.count, new.bytes), (2, 3));
    assert_eq!((coverage.excluded, coverage.skipped), (None, None));
}

#[test]
fn what_is_no_entry_is_counted_and_listed() {
    let scan = vec![
        Scanned::Excluded(path("a")),
        Scanned::Skipped(path("b")),
        Scanned::Excluded(path("c")),
        Scanned::Unreadable(path("d")),
        Scanned::Changing(path("e")),
    ];
    let coverage = fold(ROOT, lines(scan), Vec::new()).unwrap();
    assert!(coverage.groups.is_empty());
    let (excluded, skipped) = (coverage.excluded.unwrap(), coverage.skipped.unwrap());
    assert_eq!((excluded.tally.count, skipped.tally.count), (2, 1));
    assert_eq!((coverage.unreadable.count, coverage.changing.count), (1, 1));
}

/// A list is acknowledged for one root, one cause and these very paths
#[test]
fn each_list_has_its_own_digest() {
    let digests = |root: &[u8], names: &[&str]| {
        let excluded = names.iter().map(|name| Scanned::Excluded(path(name))).collect();
        let skipped = names.iter().map(|name| Scanned::Skipped(path(name))).collect();
        let of = |scan| fold(root, lines(scan), Vec::new()).unwrap();
        [of(excluded).excluded.unwrap().digest, of(skipped).skipped.unwrap().digest]
    };
    let lists: [(&[u8], &[&str]); 4] =
        [(b"/a", &["x"]), (b"/b", &["x"]), (b"/a", &["x", "y"]), (b"/a", &["y"])];
    let all: Vec<_> = lists.iter().flat_map(|(root, names)| digests(root, names)).collect();
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(digests(b"/a", &["x"]), all[..2]);
}

#[test]
fn a_stream_that_is_out_of_order_or_breaks_off_proves_nothing() {
    let good = || vec![Scanned::Entry(file("a", b"")), Scanned::Entry(file("b", b""))];
    let twice = || vec![line(file("z", b"")), line(file("z", b""))];
    let back = [("y", Found::Read), ("x", Found::Read)];
    let out_of_order = |result| matches!(result, Err(FoldError::OutOfOrder(_)));
    let mut turned = good();
    turned.reverse();
    assert!(out_of_order(fold(ROOT, lines(turned), Vec::new())));
    assert!(out_of_order(fold(ROOT, lines(good()), vec![said(twice(), &[])])));
    assert!(out_of_order(fold(ROOT, lines(good()), vec![said(Vec::new(), &back)])));
    let broken = || FoldError::Broken("cut".to_owned());
    let cut: Lines<'_, Scanned> = Box::new(good().into_iter().map(Ok).chain([Err(broken())]));
    assert_eq!(fold(ROOT, cut, Vec::new()), Err(broken()));
    let cut = SaidLines { receipt: Box::new([Err(broken())].into_iter()), found: lines(vec![]) };
    assert_eq!(fold(ROOT, lines(good()), vec![cut]), Err(broken()));
    let cut = SaidLines { receipt: lines(vec![]), found: Box::new([Err(broken())].into_iter()) };
    assert_eq!(fold(ROOT, lines(good()), vec![cut]), Err(broken()));
}

/// A million entries: few groups, few examples, and nothing else is kept
#[test]
fn a_million_entries_are_a_handful_of_groups() {
    let name = |nth: u32| format!("d{:04}/{nth:07}", nth / 1000);
    let scan = (0..1_000_000).map(move |nth| Ok(Scanned::Entry(file(&name(nth), b"x"))));
    let receipt = (0..1_000_000).map(move |nth| Ok(line(file(&name(nth), b"x"))));
    let found = (0..1_000_000).filter(|nth| nth % 10 != 0);
    let found = found.map(move |nth| Ok(FoundLine { path: path(&name(nth)), found: Found::Read }));
    let said = SaidLines { receipt: Box::new(receipt), found: Box::new(found) };
    let coverage = fold(ROOT, Box::new(scan), vec![said]).unwrap();
    assert_eq!(coverage.groups.len(), 2);
    let unread = &coverage.groups[&vec![claim(EQUAL, Found::NotLooked)]];
    assert_eq!(
        (unread.count, unread.bytes, unread.examples.len()),
        (100_000, 100_000, EXAMPLES_MAX)
    );
}

#[test]
fn receipts_that_differ_in_too_many_ways_are_refused() {
    let names: Vec<_> = (0..GROUPS_MAX * 2).map(|nth| format!("{nth:05}")).collect();
    let scan = names.iter().map(|name| Scanned::Entry(file(name, b"x"))).collect();
    // Thirteen receipts of which each names the entries with its bit: 8,192 ways.
    let said = (0..13).map(|bit| {
        let named = names.iter().enumerate().filter(|(nth, _)| nth >> bit & 1 == 1);
        said(named.map(|(_, name)| line(file(name, b"x"))).collect(), &[])
    });
    assert_eq!(fold(ROOT, lines(scan), said.collect()), Err(FoldError::TooManyGroups));
}

proptest! {
    /// Against the same without streams: every file is in the group that a look-up gives
    #[test]
    fn folding_is_looking_up(
        scanned in proptest::collection::btree_map("[ab]{1,3}", 0_u8..3, 0..12),
        receipt in proptest::collection::btree_map("[ab]{1,3}", 0_u8..3, 0..12),
        seen in proptest::collection::btree_map("[ab]{1,3}", any::<bool>(), 0..12),
    ) {
        let found = |there: &bool| if *there { Found::Read } else { Found::Missing };
        let looked = seen.iter().map(|(name, there)| (name.as_str(), found(there)));
        let looked: Vec<_> = looked.collect();
        let scan = scanned.iter().map(|(name, byte)| Scanned::Entry(file(name, &[*byte])));
        let lines_of = receipt.iter().map(|(name, byte)| line(file(name, &[*byte])));
        let coverage =
            fold(ROOT, lines(scan.collect()), vec![said(lines_of.collect(), &looked)]).unwrap();
        let mut expected = BTreeMap::<_, u64>::new();
        for (name, byte) in &scanned {
            let said = match receipt.get(name) {
                None => Said::Nothing,
                Some(other) if other == byte => EQUAL,
                Some(_) => Said::Different,
            };
            let found = seen.get(name).map_or(Found::NotLooked, found);
            *expected.entry(vec![claim(said, found)]).or_default() += 1;
        }
        let counts: BTreeMap<_, _> =
            coverage.groups.into_iter().map(|(claims, tally)| (claims, tally.count)).collect();
        prop_assert_eq!(counts, expected);
    }
}
