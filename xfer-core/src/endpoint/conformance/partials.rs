//! Large files, assembled block by block.

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::{file_digest, range_digests, zero_range_digests};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::EntryKind;
use xfer_protocol::message::{FileAt, PartialIndex, ScanOptions, WriteBlock};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::Fixture;
use super::stand::{Stand, cut, fault_of, item_path, path, plain, slice};
use crate::endpoint::{Endpoint, Sink, Source};

/// Blocks may come in any order and more than once; the file appears when it is published.
pub async fn blocks_arrive_in_any_order_and_twice<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    assert_eq!(stand.open_partial(7, "file", size).await, []);
    for range in cut(size, stand.part()).rev() {
        stand.write(7, range, &whole).await.unwrap();
        stand.write(7, range, &whole).await.unwrap();
        assert_eq!(visible(&stand).await, []);
    }
    let ticket = stand.commit(7, &whole).await.unwrap();
    assert_eq!(visible(&stand).await, []);
    let outcomes = stand.publish().await;
    let entry = stand.entry(&path("file")).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].ticket, ticket);
    assert_eq!(outcomes[0].result, Ok(Some(entry.stamp())));
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
    assert!(stand.keeps.modified.same(entry.metadata.modified, plain().modified));
    nothing_else_is_left(&stand, &["file"]).await;
}

/// Bytes are checked before they are written; the block may be sent again.
pub async fn a_block_with_a_wrong_digest_is_not_written<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    stand.open_partial(0, "file", size).await;
    for range in cut(size, stand.part()) {
        let bytes = slice(&whole, range);
        let digests = range_digests(range.start(), &bytes, size).unwrap();
        let mut damaged = BytesMut::from(&bytes[..]);
        damaged[bytes.len() / 2] ^= 1;
        let write = WriteBlock { partial: PartialIndex(0), range, digests, hole: false };
        let refused = stand.side.write_block(write.clone(), damaged.freeze()).await;
        assert_eq!(fault_of(refused), FaultKind::Mismatch);
        let fewer = WriteBlock { digests: Vec::new(), ..write.clone() };
        let refused = stand.side.write_block(fewer, bytes.clone()).await;
        assert_eq!(fault_of(refused), FaultKind::Protocol);
        if range.start() == 0 {
            // Complete but for this block: what was refused is not there.
            for other in cut(size, stand.part()).skip(1) {
                stand.write(0, other, &whole).await.unwrap();
            }
            assert_eq!(fault_of(stand.commit(0, &whole).await), FaultKind::Mismatch);
        }
        stand.side.write_block(write, bytes).await.unwrap();
    }
    stand.commit(0, &whole).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
}

/// A block lies within the file and on the grid, has as many bytes as its range, and is not too
/// short; and it belongs to a partial.
pub async fn blocks_outside_the_rules_are_refused<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    let part = stand.part();
    stand.open_partial(0, "file", size).await;
    let first = ByteRange::new(0, part).unwrap();
    let bytes = slice(&whole, first);
    let digests = range_digests(0, &bytes, size).unwrap();
    let write = WriteBlock { partial: PartialIndex(0), range: first, digests, hole: false };
    let elsewhere = |range| WriteBlock { range, ..write.clone() };
    let mut wrong = vec![
        (elsewhere(ByteRange::new(size, size + part).unwrap()), bytes.clone()),
        (elsewhere(ByteRange::new(part * 3, part * 4).unwrap()), bytes.clone()),
        (elsewhere(ByteRange::new(1 << 62, (1 << 62) + part).unwrap()), bytes.clone()),
        (elsewhere(ByteRange::new(0, part + 1).unwrap()), bytes.clone()),
        (write.clone(), bytes.slice(1..)),
        (write.clone(), Bytes::new()),
        (WriteBlock { hole: true, ..write.clone() }, bytes.clone()),
        (WriteBlock { partial: PartialIndex(99), ..write.clone() }, bytes.clone()),
    ];
    let mut lawless = |start, end| {
        let range = ByteRange::new(start, end).unwrap();
        let bytes = slice(&whole, range);
        let digests = range_digests(start, &bytes, size).unwrap();
        wrong.push((WriteBlock { range, digests, ..write.clone() }, bytes));
    };
    if stand.capabilities().write_grid > 65_536 {
        lawless(65_536, 65_536 + part);
    }
    if stand.capabilities().part_min > 65_536 {
        lawless(0, 65_536);
    }
    for (write, bytes) in wrong {
        let place = write.range;
        let refused = stand.side.write_block(write, bytes).await;
        assert_eq!(fault_of(refused), FaultKind::Protocol, "{place:?}");
    }
    assert_eq!(fault_of(stand.commit(99, &whole).await), FaultKind::Protocol);
    // None of this has harmed the partial.
    stand.write_all(0, &whole).await;
    stand.commit(0, &whole).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
}

/// An incomplete file, and one whose root is another, are not committed but remain.
pub async fn only_the_whole_and_right_file_is_committed<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    stand.open_partial(0, "file", size).await;
    assert_eq!(fault_of(stand.commit(0, &whole).await), FaultKind::Mismatch);
    let ranges: Vec<_> = cut(size, stand.part()).collect();
    for range in &ranges[1..] {
        stand.write(0, *range, &whole).await.unwrap();
        assert_eq!(fault_of(stand.commit(0, &whole).await), FaultKind::Mismatch);
    }
    stand.write(0, ranges[0], &whole).await.unwrap();
    assert_eq!(fault_of(stand.commit(0, b"another file").await), FaultKind::Mismatch);
    assert!(stand.publish().await.is_empty());
    assert_eq!(visible(&stand).await, []);
    stand.commit(0, &whole).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
}

/// A file that was given up is gone, committed or not, and can be begun anew.
pub async fn discarding_leaves_nothing<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    for committed in [false, true] {
        stand.open_partial(0, "file", size).await;
        stand.write_all(0, &whole).await;
        if committed {
            stand.commit(0, &whole).await.unwrap();
        }
        for _ in 0..2 {
            stand.side.discard(PartialIndex(0)).await.unwrap();
        }
        assert!(stand.publish().await.is_empty());
        nothing_else_is_left(&stand, &[]).await;
        assert_eq!(stand.open_partial(1, "file", size).await, []);
        stand.side.discard(PartialIndex(1)).await.unwrap();
    }
}

/// Holes carry no bytes, are proven like others, and read as zeros.
pub async fn holes_are_zeros<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let part = stand.part();
    let mut whole = BytesMut::from(&stand.several_parts()[..]);
    let hole = ByteRange::new(part, part * 2).unwrap();
    whole[usize::try_from(part).unwrap()..usize::try_from(part * 2).unwrap()].fill(0);
    let whole = whole.freeze();
    let size = whole.len() as u64;
    stand.open_partial(0, "file", size).await;
    let digests = zero_range_digests(hole, size).unwrap();
    let write = WriteBlock { partial: PartialIndex(0), range: hole, digests, hole: true };
    let mut wrong = write.clone();
    wrong.digests[0] = file_digest(b"");
    let refused = stand.side.write_block(wrong, Bytes::new()).await;
    assert_eq!(fault_of(refused), FaultKind::Mismatch);
    for range in cut(size, part).filter(|range| *range != hole) {
        stand.write(0, range, &whole).await.unwrap();
    }
    assert_eq!(fault_of(stand.commit(0, &whole).await), FaultKind::Mismatch);
    stand.side.write_block(write, Bytes::new()).await.unwrap();
    stand.commit(0, &whole).await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
    if stand.keeps.sparse {
        let entry = stand.entry(&path("file")).await.unwrap();
        let EntryKind::File { allocated, .. } = entry.kind else { panic!("{entry:?} is no file") };
        assert!(allocated < size, "{allocated} of {size} bytes are allocated");
        let file = FileAt { root: stand.root, path: path("file"), stamp: entry.stamp() };
        let data = stand.side.data_ranges(file).await.unwrap();
        assert!(data.iter().all(|range| range.intersection(hole).is_none()));
    }
}

/// A file without bytes has no blocks.
pub async fn an_empty_file_is_a_file<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    assert_eq!(stand.open_partial(0, "file", 0).await, []);
    assert_eq!(fault_of(stand.commit(0, b"x").await), FaultKind::Mismatch);
    stand.commit(0, b"").await.unwrap();
    stand.publish().await;
    assert_eq!(stand.content(&path("file")).await.unwrap(), b"");
}

/// Calls that come again, or late, are served without effect.
pub async fn calls_for_what_is_done_change_nothing<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    let first = cut(size, stand.part()).next().unwrap();
    stand.open_partial(0, "file", size).await;
    stand.open_partial(0, "file", size).await;
    stand.write_all(0, &whole).await;
    // Opening it again keeps what was written.
    stand.open_partial(0, "file", size).await;
    let ticket = stand.commit(0, &whole).await.unwrap();
    stand.write(0, first, &whole).await.unwrap();
    stand.commit(0, &whole).await.unwrap();
    let outcomes = stand.publish().await;
    assert_eq!(outcomes.iter().map(|o| o.ticket).collect::<Vec<_>>(), [ticket]);
    stand.write(0, first, &whole).await.unwrap();
    stand.commit(0, &whole).await.unwrap();
    stand.side.discard(PartialIndex(0)).await.unwrap();
    assert_eq!(stand.publish().await, []);
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
    nothing_else_is_left(&stand, &["file"]).await;
}

/// There are never two partials of one file: the later opening takes it over.
pub async fn a_file_opened_again_is_one_file<F: Fixture>(fixture: &F) {
    let stand = Stand::new(fixture).await;
    let whole = stand.several_parts();
    let size = whole.len() as u64;
    stand.open_partial(0, "file", size).await;
    stand.write_all(0, &whole).await;
    stand.commit(0, &whole).await.unwrap();
    stand.open_partial(1, "file", size).await;
    assert!(stand.publish().await.is_empty());
    let other_path = stand.side.open_partial(stand.opening(1, "other", size)).await;
    assert_eq!(fault_of(other_path), FaultKind::Protocol);
    stand.write_all(1, &whole).await;
    stand.commit(1, &whole).await.unwrap();
    assert_eq!(stand.publish().await.len(), 1);
    assert_eq!(stand.content(&path("file")).await.unwrap(), whole);
    nothing_else_is_left(&stand, &["file"]).await;
}

/// Files that stand under their own names.
async fn visible<S: Sink + Source>(stand: &Stand<S>) -> Vec<RelPath> {
    let items = stand.scan("", ScanOptions::default()).await;
    let file = |item: &xfer_protocol::manifest::ScanItem| match item {
        xfer_protocol::manifest::ScanItem::Entry(entry) => {
            (entry.kind != EntryKind::Directory).then(|| entry.path.clone())
        }
        _ => None,
    };
    items.iter().filter_map(file).collect()
}

/// Neither a partial nor anything else is in the place but these.
pub(super) async fn nothing_else_is_left<S: Sink + Source>(stand: &Stand<S>, names: &[&str]) {
    let items = stand.scan("", ScanOptions::default()).await;
    let found: Vec<_> = items.iter().map(item_path).filter(|path| !path.is_root()).collect();
    let expected: Vec<_> = names.iter().map(|name| path(name)).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
}
