//! Matching against a matcher that is slow and plain, and against files made to be slow.

#![expect(clippy::cast_possible_truncation, reason = "all of it is in memory")]

use proptest::prelude::*;
use xfer_protocol::message::delta::SumKind;

use super::super::sums::HASHED;
use super::super::sums_of;
use super::*;

const BLOCK: usize = 1024;

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Looks through a file in windows, as an endpoint does.
fn found_in(new: &[u8], basis: &[u8], block: usize, window: usize) -> Vec<CopiedRange> {
    let sums = sums_of(basis, block, SumKind::Rolling);
    found_by(&sums, new, block, window)
}

fn found_by(sums: &[u8], new: &[u8], block: usize, window: usize) -> Vec<CopiedRange> {
    let index = Index::new(sums, block, 0);
    let mut found = Found::new(new.len() as u64);
    let mut at = 0;
    while at < new.len() {
        let end = new.len().min(at + window + block);
        at += index.find(&new[at..end], at as u64, window.min(new.len() - at), &mut found);
    }
    found.into_copies()
}

/// The new file as it comes out of its copies, which are in order and equal; what they leave.
fn left(new: &[u8], basis: &[u8], copies: &[CopiedRange]) -> usize {
    let mut end = 0;
    for copy in copies {
        assert!(copy.to >= end && copy.length > 0, "{copies:?}");
        end = copy.end();
        let slice =
            |of: &[u8], start: u64| of[start as usize..(start + copy.length) as usize].to_vec();
        assert_eq!(slice(new, copy.to), slice(basis, copy.from));
    }
    new.len() - copies.iter().map(|copy| copy.length as usize).sum::<usize>()
}

/// What a plain matcher leaves: every byte is tried, and the first block that fits is taken.
fn left_by_reference(new: &[u8], basis: &[u8], block: usize) -> usize {
    let blocks: std::collections::HashSet<&[u8]> = basis.chunks_exact(block).collect();
    let (mut here, mut left) = (0, 0);
    while here < new.len() {
        match new.get(here..here + block) {
            Some(bytes) if blocks.contains(bytes) => here += block,
            _ => (here, left) = (here + 1, left + 1),
        }
    }
    left
}

proptest! {
    #[test]
    fn what_a_plain_matcher_finds_is_found(
        size in 0_usize..40_000, seed: u64, window in 1_usize..20_000,
        edits in proptest::collection::vec((any::<usize>(), 0_usize..3_000, 0_usize..3_000), 0..6),
        few: bool,
    ) {
        let mut basis = noise(size, seed);
        if few {
            // Blocks that are there many times.
            basis.iter_mut().for_each(|byte| *byte = 0);
        }
        let mut new = basis.clone();
        for (at, out, into) in edits {
            let start = at % (new.len() + 1);
            let end = new.len().min(start + out);
            new.splice(start..end, noise(into, seed ^ at as u64));
        }
        let copies = found_in(&new, &basis, BLOCK, window);
        prop_assert_eq!(left(&new, &basis, &copies), left_by_reference(&new, &basis, BLOCK));
    }
}

#[test]
fn an_insertion_leaves_itself_and_a_block() {
    let basis = noise(1 << 20, 1);
    for at in [0, 1, BLOCK - 1, BLOCK, 300_001, basis.len()] {
        let mut new = basis.clone();
        new.splice(at..at, noise(70_000, 2));
        let copies = found_in(&new, &basis, BLOCK, 1 << 18);
        assert!(left(&new, &basis, &copies) <= 70_000 + 2 * BLOCK, "at {at}");
        assert!(copies.len() <= 2, "{copies:?}");
    }
}

#[test]
fn what_changed_in_place_leaves_its_own_block() {
    let basis = noise(64 * BLOCK + 17, 3);
    for at in [0, BLOCK - 1, BLOCK, 5 * BLOCK + 1, 64 * BLOCK - 1] {
        let mut new = basis.clone();
        new[at] ^= 1;
        let mut found = Found::new(new.len() as u64);
        find_in_place(&sums_of(&basis, BLOCK, SumKind::Placed), BLOCK, 0, &new, 0, &mut found);
        assert_eq!(left(&new, &basis, &found.into_copies()), BLOCK + 17, "at {at}");
        let copies = found_in(&new, &basis, BLOCK, 10_000);
        assert_eq!(left(&new, &basis, &copies), BLOCK + 17, "at {at}");
    }
}

/// A byte of every block is another one: nothing is found, and looking ends.
#[test]
fn a_byte_of_every_block_leaves_everything() {
    let basis = noise(256 * BLOCK, 4);
    for edge in [0, BLOCK - 1] {
        let mut new = basis.clone();
        new.iter_mut().skip(edge).step_by(BLOCK).for_each(|byte| *byte ^= 1);
        let copies = found_in(&new, &basis, BLOCK, 1 << 16);
        assert_eq!(left(&new, &basis, &copies), new.len());
    }
}

#[test]
fn zeros_are_one_copy_wherever_they_begin() {
    let basis = vec![0; 512 * BLOCK];
    for shift in [0, 1, 777] {
        let mut new = vec![1; shift];
        new.extend_from_slice(&basis);
        let copies = found_in(&new, &basis, BLOCK, 1 << 16);
        assert_eq!(copies.len(), 1, "{copies:?}");
        assert_eq!(left(&new, &basis, &copies), shift);
    }
}

/// A million sums that roll to what the file has everywhere, and are no block of it: each would be
/// hashed at every byte.
#[test]
fn equal_sums_are_given_up() {
    let new = vec![0; 256 * BLOCK];
    let rolled = weak(state_of(&new[..BLOCK])).to_le_bytes();
    let one = |number: u32| [&rolled[..], &number.to_le_bytes(), &[9; 4]].concat();
    let sums: Vec<u8> = (0..1_000_000).flat_map(one).collect();
    let index = Index::new(&sums, BLOCK, 0);
    let longest = (0..index.heads.len()).map(|chain| {
        let first = index.linked(index.heads[chain]);
        std::iter::successors(first, |(_, rest)| index.linked(*rest)).count()
    });
    assert_eq!(longest.max(), Some(CHAIN_MAX));
    let mut found = Found::new(new.len() as u64);
    index.find(&new, 0, new.len(), &mut found);
    // As many bytes were hashed in vain as there are, and no more.
    assert_eq!((found.allowance, found.copies.len()), (0, 0));
}

/// Bytes of which every block of whole KiB has one rolling sum: a sequence of Thue and Morse and
/// its complement cannot be told apart modulo 2⁶⁴.
fn of_one_sum(kibibytes: usize, seed: u64) -> Vec<u8> {
    let letters = noise(kibibytes, seed);
    let kibibyte = |letter: &u8| {
        let letters = [*letter, 255 - *letter];
        (0..1024_u32).map(move |at| letters[(at.count_ones() % 2) as usize])
    };
    letters.iter().flat_map(kibibyte).collect()
}

/// Whatever the two files are, no more is hashed than twice what is looked at.
#[test]
fn looking_costs_two_passes_at_most() {
    let block = 4 * BLOCK;
    let (zeros, old) = (vec![0; 512 * BLOCK], noise(512 * BLOCK, 7));
    let edges = |edge: usize| {
        let mut new = old.clone();
        new.iter_mut().skip(edge).step_by(block).for_each(|byte| *byte ^= 1);
        new
    };
    let equal = of_one_sum(512, 8);
    let sums = sums_of(&equal, block, SumKind::Rolling);
    let distinct: std::collections::HashSet<_> = sums.chunks(ROLLING_SUM_BYTES).collect();
    let one = |sum: &&[u8]| sum[..4] == sums[..4];
    assert!(distinct.iter().all(one) && distinct.len() == 128, "{}", distinct.len());
    let shifted = [&[1], &zeros[..]].concat();
    for (what, new, basis) in [
        ("zeros", &shifted, &zeros),
        ("first bytes", &edges(0), &old),
        ("last bytes", &edges(block - 1), &old),
        ("equal sums", &of_one_sum(512, 9), &equal),
        ("equal sums shifted", &[&[3], &equal[..]].concat(), &equal),
    ] {
        let sums = sums_of(basis, block, SumKind::Rolling);
        let mut found = Found::new(new.len() as u64);
        let before = HASHED.get();
        Index::new(&sums, block, 0).find(new, 0, new.len(), &mut found);
        let hashed = HASHED.get() - before;
        left(new, basis, &found.into_copies());
        assert!(hashed <= 2 * new.len(), "{what}: {hashed} of {}", new.len());
    }
}

/// What was sent as sums may be cut short, or be no sums at all.
#[test]
fn sums_of_any_length_are_taken() {
    let new = noise(10_000, 5);
    for length in [0, 1, ROLLING_SUM_BYTES - 1, ROLLING_SUM_BYTES + 1, 50 * ROLLING_SUM_BYTES] {
        assert!(found_by(&noise(length, 6), &new, BLOCK, 4096).is_empty());
    }
}
