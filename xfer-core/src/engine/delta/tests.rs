//! What is patched of a file, given what its basis holds.

use xfer_protocol::fault::Operation;
use xfer_protocol::manifest::{Stamp, Timestamp};
use xfer_protocol::message::RootIndex;
use xfer_protocol::path::RelPath;

use super::*;

const KIB64: u64 = 64 << 10;
const MIB: u64 = 1 << 20;

fn delta(copies: &[(u64, u64, u64)]) -> Delta {
    let stamp = Stamp {
        size: 1 << 40,
        modified: Timestamp::default(),
        changed: Timestamp::default(),
        inode: 1,
    };
    let basis = FileAt { root: RootIndex(0), path: RelPath::new("old").unwrap(), stamp };
    let mut delta = Delta::new(basis);
    let copies = copies.iter().map(|&(to, from, length)| CopiedRange { to, from, length });
    copies.for_each(|copy| delta.copies.add(copy));
    delta
}

/// All pieces of a file: its range, and bytes that are sent of it.
fn pieces(delta: &Delta, size: u64) -> Vec<(u64, u64, u64)> {
    let (mut start, mut all) = (0, Vec::new());
    while start < size {
        match delta.next(start, size, size, MIB) {
            Some(patched) => {
                let (end, block) = (patched.range.end(), patched.block.bytes());
                assert!(patched.range.start() == start && start.is_multiple_of(block));
                assert!(end == size || end.is_multiple_of(block));
                assert!(patched.range.len() <= RANGE_MAX);
                all.push((start, end, patched.literal()));
                start = end;
            }
            None => {
                let end = size.min((start / MIB + 1) * MIB);
                all.push((start, end, end - start));
                start = end;
            }
        }
    }
    all
}

#[test]
fn what_is_there_whole_is_copied_in_long_ranges() {
    let size = 130 * MIB + 5;
    let whole = delta(&[(0, 7, size)]);
    let expected = [(0, 64 * MIB, 0), (64 * MIB, 128 * MIB, 0), (128 * MIB, size, 0)];
    assert_eq!(pieces(&whole, size), expected);
}

#[test]
fn an_edit_costs_no_more_than_itself() {
    let size = 64 * MIB;
    let edited = 9 * MIB + 16_384;
    let delta = delta(&[(0, 0, edited), (edited + 16_384, edited + 16_384, size)]);
    let all = pieces(&delta, size);
    assert_eq!(all.iter().map(|piece| piece.2).sum::<u64>(), 16_384);
    assert!(all.len() <= 4, "{all:?}");
}

#[test]
fn what_is_not_there_is_sent_in_blocks() {
    let size = 3 * MIB;
    let nothing = delta(&[]);
    assert_eq!(pieces(&nothing, size).len(), 3);
    // A copied block far behind does not hold up what lies before it.
    let end = delta(&[(100 * MIB, 0, MIB)]);
    let all = pieces(&end, 101 * MIB);
    assert_eq!(all.iter().map(|piece| piece.2).sum::<u64>(), 100 * MIB);
}

/// However copies lie, pieces tile the file, and what is sent is what no copy brings.
#[test]
fn pieces_tile_the_file() {
    let mut seed = 1_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for _ in 0..200 {
        let size = 1 + next(40 * MIB);
        let copies: Vec<_> =
            (0..next(60)).map(|_| (next(size), next(MIB), 1 + next(3 * MIB))).collect();
        let clipped: Vec<_> =
            copies.iter().map(|&(to, from, length)| (to, from, length.min(size - to))).collect();
        let delta = delta(&clipped);
        let all = pieces(&delta, size);
        let sent: u64 = all.iter().map(|piece| piece.2).sum();
        assert_eq!(all.last().map(|piece| piece.1), Some(size));
        assert!(sent >= size - delta.copies.bytes());
        let mut refused = delta;
        let fault = Fault::new(FaultKind::Mismatch, Operation::Write, RelPath::root());
        let range = ByteRange::new(0, size.min(KIB64)).unwrap();
        refused.refuse(range, &fault);
        assert!(refused.copies.within(range).is_empty());
        let fault = Fault::new(FaultKind::Changed, Operation::Read, RelPath::root());
        refused.refuse(range, &fault);
        assert_eq!(refused.copies.bytes(), 0);
    }
}
