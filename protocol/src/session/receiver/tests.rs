//! What a sink's table takes and refuses, against a plain array of bytes.

#![expect(clippy::cast_possible_truncation, reason = "tests make bytes of numbers")]

use proptest::prelude::*;

use super::*;
use crate::digest::{file_digest, range_digests};
use crate::range::RangeSet;

const KIB64: u64 = 64 << 10;
const ONE: PartialIndex = PartialIndex(1);

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start * KIB64, end * KIB64).unwrap()
}

fn source(blocks: u64, rest: u64) -> Vec<u8> {
    (0..=250).cycle().take((blocks * KIB64 + rest) as usize).collect()
}

fn digests_of(bytes: &[u8], range: ByteRange) -> Vec<Digest> {
    let piece = &bytes[range.start() as usize..range.end() as usize];
    range_digests(range.start(), piece, bytes.len() as u64).unwrap()
}

fn opened(bytes: &[u8]) -> Receiver {
    let mut receiver = Receiver::new();
    receiver.open(ONE, bytes.len() as u64).unwrap();
    receiver
}

/// Takes one block as an endpoint does.
fn deliver(receiver: &mut Receiver, bytes: &[u8], block: ByteRange) -> Result<Accept, Violation> {
    let accept = receiver.accept(ONE, block, digests_of(bytes, block).len())?;
    if let Accept::Write(pieces) = &accept {
        for piece in pieces {
            receiver.written(ONE, *piece, &digests_of(bytes, *piece))?;
        }
        receiver.release(ONE, block);
    }
    Ok(accept)
}

#[test]
fn a_file_of_two_blocks_arrives() {
    let bytes = source(3, 17);
    let mut receiver = opened(&bytes);
    let (first, last) = (range(0, 2), ByteRange::new(2 * KIB64, bytes.len() as u64).unwrap());
    let root = file_digest(&bytes);
    assert_eq!(deliver(&mut receiver, &bytes, last), Ok(Accept::Write(vec![last])));
    assert_eq!(receiver.complete(ONE, root), Err(Violation::Incomplete(first)));
    assert_eq!(deliver(&mut receiver, &bytes, last), Ok(Accept::Duplicate));
    assert_eq!(deliver(&mut receiver, &bytes, first), Ok(Accept::Write(vec![first])));
    let wrong = file_digest(b"");
    let violation = Violation::Root { expected: wrong, found: root };
    assert_eq!(receiver.complete(ONE, wrong), Err(violation));
    assert_eq!(receiver.complete(ONE, root), Ok(()));
    assert_eq!(receiver.complete(ONE, root), Ok(()));
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let mut receiver = opened(&[]);
    assert_eq!(receiver.complete(ONE, file_digest(&[])), Ok(()));
}

#[test]
fn what_comes_late_for_a_complete_or_closed_file_is_harmless() {
    let bytes = source(2, 0);
    let mut receiver = opened(&bytes);
    deliver(&mut receiver, &bytes, range(0, 2)).unwrap();
    receiver.complete(ONE, file_digest(&bytes)).unwrap();
    for _ in 0..2 {
        assert_eq!(deliver(&mut receiver, &bytes, range(0, 1)), Ok(Accept::Duplicate));
        assert_eq!(receiver.keep(ONE, range(0, 1)), Ok(()));
        let forgotten = receiver.forget(ONE, range(0, 1));
        assert!(forgotten == Err(Violation::Complete) || forgotten == Ok(vec![]));
        receiver.close(ONE);
    }
    assert_eq!(receiver.assembly(ONE).map(|a| a.size()), None);
    for index in 2..2 + limits::PARTIALS_MAX as u64 {
        receiver.open(PartialIndex(index), 1).unwrap();
        receiver.close(PartialIndex(index));
    }
    assert_eq!(deliver(&mut receiver, &bytes, range(0, 1)), Err(Violation::Unknown(ONE)));
}

/// Rows: B-W4.
#[test]
fn blocks_that_cannot_be_are_refused() {
    let bytes = source(4, 100);
    let size = bytes.len() as u64;
    let mut receiver = opened(&bytes);
    let raw = |start, end| ByteRange::new(start, end).unwrap();
    let outside = |range| Violation::Outside { range, size };
    let count = |range, expected, found| Violation::DigestCount { range, expected, found };
    let cases = [
        (raw(1, KIB64), 1, Violation::OffGrid(raw(1, KIB64))),
        (raw(0, KIB64 + 1), 1, Violation::OffGrid(raw(0, KIB64 + 1))),
        (raw(4 * KIB64, size - 1), 1, Violation::OffGrid(raw(4 * KIB64, size - 1))),
        (raw(4 * KIB64, size + 1), 1, outside(raw(4 * KIB64, size + 1))),
        (range(5, 6), 1, outside(range(5, 6))),
        (range(0, 2), 0, count(range(0, 2), 1, 0)),
        (range(0, 2), 2, count(range(0, 2), 1, 2)),
        (range(0, 3), 1, count(range(0, 3), 2, 1)),
    ];
    for (range, digests, violation) in cases {
        assert_eq!(receiver.accept(ONE, range, digests), Err(violation));
    }
    assert!(receiver.assembly(ONE).unwrap().present().is_empty());
    assert_eq!(receiver.accept(ONE, range(0, 4), 1), Ok(Accept::Write(vec![range(0, 4)])));
}

#[test]
fn a_claimed_range_is_nobody_elses() {
    let bytes = source(4, 0);
    let mut receiver = opened(&bytes);
    let one = digests_of(&bytes, range(0, 1));
    assert_eq!(receiver.written(ONE, range(0, 1), &one), Err(Violation::Unclaimed(range(0, 1))));
    receiver.accept(ONE, range(0, 2), 1).unwrap();
    assert_eq!(receiver.accept(ONE, range(1, 2), 1), Ok(Accept::Busy));
    assert_eq!(receiver.accept(ONE, range(0, 4), 1), Ok(Accept::Busy));
    assert_eq!(receiver.keep(ONE, range(0, 1)), Err(Violation::Overlap(range(0, 1))));
    let root = file_digest(&bytes);
    assert_eq!(receiver.complete(ONE, root), Err(Violation::Overlap(range(0, 2))));
    receiver.release(ONE, range(0, 2));
    assert_eq!(receiver.complete(ONE, root), Err(Violation::Incomplete(range(0, 4))));
    assert_eq!(deliver(&mut receiver, &bytes, range(1, 2)), Ok(Accept::Write(vec![range(1, 2)])));
    let pieces = Accept::Write(vec![range(0, 1), range(2, 4)]);
    assert_eq!(deliver(&mut receiver, &bytes, range(0, 4)), Ok(pieces));
    assert_eq!(receiver.complete(ONE, root), Ok(()));
}

#[test]
fn only_what_was_hashed_here_is_kept() {
    let bytes = source(4, 0);
    let mut receiver = opened(&bytes);
    let kept = range(0, 2);
    assert_eq!(receiver.keep(ONE, kept), Err(Violation::Unproven(kept)));
    for start in [0, 1, 2] {
        let block = range(start, start + 1);
        receiver.hashed(ONE, block, digests_of(&bytes, block)[0]).unwrap();
    }
    assert_eq!(receiver.keep(ONE, range(0, 4)), Err(Violation::Unproven(range(0, 4))));
    assert!(receiver.assembly(ONE).unwrap().present().is_empty(), "all of it or nothing");
    assert_eq!(receiver.keep(ONE, kept), Ok(()));
    assert_eq!(receiver.keep(ONE, kept), Ok(()), "again");
    deliver(&mut receiver, &bytes, range(2, 4)).unwrap();
    assert_eq!(receiver.keep(ONE, range(2, 3)), Ok(()), "what came is there already");
    assert_eq!(receiver.complete(ONE, file_digest(&bytes)), Ok(()));
    let off = ByteRange::new(0, 5).unwrap();
    assert_eq!(receiver.hashed(ONE, off, file_digest(&[])), Err(Violation::OffGrid(off)));
}

/// A write that failed may have changed bytes, so what was hashed before it proves nothing.
#[test]
fn what_was_hashed_before_a_write_is_not_kept_after_it() {
    let bytes = source(8, 0);
    let mut receiver = opened(&bytes);
    let blocks = [range(0, 4), range(4, 8)];
    for block in blocks {
        receiver.hashed(ONE, block, digests_of(&bytes, block)[0]).unwrap();
    }
    receiver.accept(ONE, range(3, 4), 1).unwrap();
    let overlap = Err(Violation::Overlap(blocks[0]));
    assert_eq!(receiver.hashed(ONE, blocks[0], digests_of(&bytes, blocks[0])[0]), overlap);
    receiver.release(ONE, range(3, 4));
    assert_eq!(receiver.keep(ONE, blocks[0]), Err(Violation::Unproven(blocks[0])));
    receiver.forget(ONE, range(7, 8)).unwrap();
    assert_eq!(receiver.keep(ONE, blocks[1]), Err(Violation::Unproven(blocks[1])));
}

#[test]
fn the_table_is_bounded_and_opening_again_changes_nothing() {
    let mut receiver = Receiver::new();
    for index in 0..limits::PARTIALS_MAX as u64 {
        receiver.open(PartialIndex(index), 10).unwrap();
    }
    let more = PartialIndex(u64::MAX);
    assert_eq!(receiver.open(more, 10), Err(Violation::TooMany));
    assert_eq!(receiver.open(ONE, 10), Ok(()));
    assert_eq!(receiver.open(ONE, 11), Err(Violation::Resized { before: 10, now: 11 }));
    receiver.close(ONE);
    assert_eq!(receiver.open(more, u64::MAX), Err(Violation::Size(u64::MAX)));
    assert_eq!(receiver.open(more, 10), Ok(()));
}

proptest! {
    /// Blocks of any length, in any order, again and again, some forgotten in between: the file is
    /// complete exactly when a plain set of 64 KiB pieces says so.
    #[test]
    fn it_agrees_with_a_plain_set(
        blocks in 1_u64..30,
        rest in 0_u64..65_536,
        steps in prop::collection::vec((any::<u64>(), 1_u64..9, 0_u8..8), 1..120),
    ) {
        let bytes = source(blocks, rest);
        let size = bytes.len() as u64;
        let grid = size.div_ceil(KIB64);
        let mut receiver = opened(&bytes);
        let mut plain = RangeSet::new();
        for (at, length, kind) in steps {
            let first = at % grid;
            let end = size.min((first + length) * KIB64);
            let block = ByteRange::new(first * KIB64, end).unwrap();
            if kind == 0 {
                for gone in receiver.forget(ONE, block).unwrap() {
                    prop_assert!(plain.contains(gone));
                    plain.remove(gone);
                }
                prop_assert!(plain.missing_from(block).contains(block));
            } else {
                let missing: Vec<_> = plain.missing_from(block).iter().collect();
                let expected =
                    if missing.is_empty() { Accept::Duplicate } else { Accept::Write(missing) };
                prop_assert_eq!(deliver(&mut receiver, &bytes, block), Ok(expected));
                plain.insert(block);
            }
            prop_assert_eq!(receiver.assembly(ONE).unwrap().present(), &plain);
            let whole = plain.contains(ByteRange::whole(size).unwrap());
            let complete = receiver.clone().complete(ONE, file_digest(&bytes));
            prop_assert_eq!(complete.is_ok(), whole);
        }
    }
}
