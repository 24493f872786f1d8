//! From the digests of spans, in any order, to the root of the file.

use std::collections::BTreeMap;

use blake3::hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::spans::{alignment, is_span};
use super::{Digest, file_digest};
use crate::range::ByteRange;

/// Gathers spans' digests in any order and yields the file's root once they tile the file.
///
/// Neighbours are merged as soon as both are there, so memory follows the number of gaps. Spans of
/// different lengths mix freely.
#[derive(Clone, Debug)]
pub struct TreeAssembler {
    size: u64,
    /// Subtrees by their start. Invariant: they do not overlap, and no two of them are siblings.
    subtrees: BTreeMap<u64, Subtree>,
    empty: Option<Digest>,
}

#[derive(Clone, Copy, Debug)]
struct Subtree {
    end: u64,
    digest: Digest,
}

/// Why a span's digest does not fit the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The same span came with another digest before.
    #[error("bytes {}..{} came with two digests", .0.start(), .0.end())]
    Conflict(ByteRange),
    /// The range is no aligned span of the file, or lies beyond its end.
    #[error("bytes {}..{} are no span of the file", .0.start(), .0.end())]
    NoSpan(ByteRange),
    /// The span covers smaller ones that came before.
    #[error("bytes {}..{} overlap spans that came before", .0.start(), .0.end())]
    Overlap(ByteRange),
}

impl TreeAssembler {
    /// An empty tree for a file of `file_size` bytes.
    #[must_use]
    pub fn new(file_size: u64) -> Self {
        let empty = (file_size == 0).then(|| file_digest(&[]));
        Self { size: file_size, subtrees: BTreeMap::new(), empty }
    }

    /// Adds the digest of one span, as [`super::spans`] cuts them or smaller.
    ///
    /// A span that came before may come again. Once it was merged into a larger one it cannot be
    /// compared any more and is ignored; the tree keeps what came first.
    pub fn add(&mut self, span: ByteRange, digest: Digest) -> Result<(), TreeError> {
        if !is_span(span, self.size) {
            return Err(TreeError::NoSpan(span));
        }
        if let Some((&start, before)) = self.subtrees.range(..=span.start()).next_back() {
            if start == span.start() && before.end == span.end() {
                let same = before.digest == digest;
                return if same { Ok(()) } else { Err(TreeError::Conflict(span)) };
            }
            if span.end() <= before.end {
                return Ok(());
            }
        }
        if self.subtrees.range(span.start()..span.end()).next().is_some() {
            return Err(TreeError::Overlap(span));
        }
        self.merge_upwards(span.start(), Subtree { end: span.end(), digest });
        Ok(())
    }

    /// Drops every subtree that shares a byte with `range`, and returns what they covered, which
    /// may be more than the range: the digests of a merged subtree's parts are not kept.
    pub fn remove(&mut self, range: ByteRange) -> Vec<ByteRange> {
        let covering = self.subtrees.range(..range.start()).next_back();
        let first = match covering {
            Some((&start, subtree)) if subtree.end > range.start() => start,
            _ => range.start(),
        };
        let starts: Vec<u64> = self.subtrees.range(first..range.end()).map(|(&s, _)| s).collect();
        starts
            .into_iter()
            .filter_map(|start| {
                let subtree = self.subtrees.remove(&start)?;
                ByteRange::new(start, subtree.end).ok()
            })
            .collect()
    }

    /// The file's root, once spans tile the file.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        let whole = self.subtrees.get(&0).filter(|subtree| subtree.end == self.size);
        self.empty.or_else(|| whole.map(|subtree| subtree.digest))
    }

    fn merge_upwards(&mut self, mut start: u64, mut node: Subtree) {
        while let Some(sibling) = self.sibling(start, node.end) {
            let Some(other) = self.subtrees.get(&sibling.start()).copied() else { break };
            if other.end != sibling.end() {
                break;
            }
            self.subtrees.remove(&sibling.start());
            let (left, right) = if sibling.start() < start {
                (other.digest, node.digest)
            } else {
                (node.digest, other.digest)
            };
            start = start.min(sibling.start());
            let end = node.end.max(other.end);
            node = Subtree { end, digest: self.merge(start, end, left, right) };
        }
        self.subtrees.insert(start, node);
    }

    fn merge(&self, start: u64, end: u64, left: Digest, right: Digest) -> Digest {
        let (left, right) = (left.as_bytes(), right.as_bytes());
        if start == 0 && end == self.size {
            Digest(*merge_subtrees_root(left, right, Mode::Hash).as_bytes())
        } else {
            Digest(merge_subtrees_non_root(left, right, Mode::Hash))
        }
    }

    /// The subtree that shares its parent with `start..end`; `None` for the whole file.
    ///
    /// A subtree on the right edge may be short, so its length does not tell its parent. But it is
    /// always a right child, and its left sibling is as long as its start is aligned.
    fn sibling(&self, start: u64, end: u64) -> Option<ByteRange> {
        if end == self.size {
            let length = alignment(start);
            return ByteRange::at(start.checked_sub(length)?, length).ok();
        }
        let length = end - start;
        if start.is_multiple_of(2 * length) {
            ByteRange::new(end, self.size.min(end.saturating_add(length))).ok()
        } else {
            ByteRange::new(start - length, start).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "tests make bytes of numbers")]

    use proptest::prelude::*;

    use super::super::{BlockSize, span_digest, spans};
    use super::*;

    const KIB64: u64 = 64 << 10;

    fn pattern(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    fn digest_of(bytes: &[u8], span: ByteRange) -> Digest {
        let (start, end) = (span.start() as usize, span.end() as usize);
        span_digest(span.start(), &bytes[start..end], bytes.len() as u64)
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    /// Cuts a file at random multiples of 64 KiB, each piece into spans, some of them once more
    /// into halves: every mixture of span sizes.
    fn random_spans(size: u64, seed: &mut u64) -> Vec<ByteRange> {
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < size {
            let end = size.min(start + KIB64 * (1 + step(seed) % 40));
            pieces.extend(spans(range(start, end), size));
            start = end;
        }
        pieces.into_iter().flat_map(|span| halve(span, size, seed)).collect()
    }

    fn halve(span: ByteRange, size: u64, seed: &mut u64) -> Vec<ByteRange> {
        if span.len() <= KIB64 || step(seed).is_multiple_of(2) {
            return vec![span];
        }
        let middle = span.start() + (span.len() - 1).next_power_of_two() / 2;
        let middle = if middle == span.start() { span.start() + span.len() / 2 } else { middle };
        let halves = [range(span.start(), middle), range(middle, span.end())];
        if halves.iter().all(|&half| is_span(half, size)) {
            halves.into_iter().flat_map(|half| halve(half, size, seed)).collect()
        } else {
            vec![span]
        }
    }

    fn step(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    fn shuffle<T>(items: &mut [T], seed: &mut u64) {
        for i in (1..items.len()).rev() {
            items.swap(i, (step(seed) % (i as u64 + 1)) as usize);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_spans_in_any_order_give_the_root(
            blocks in 0_usize..50, rest in 0_usize..65_537, seed in 1_u64..u64::MAX,
        ) {
            let bytes = pattern(blocks * 65_536 + rest);
            let mut seed = seed;
            let mut cut = random_spans(bytes.len() as u64, &mut seed);
            shuffle(&mut cut, &mut seed);
            let mut tree = TreeAssembler::new(bytes.len() as u64);
            for (i, &span) in cut.iter().enumerate() {
                prop_assert_eq!(tree.root().is_some(), bytes.is_empty());
                tree.add(span, digest_of(&bytes, span)).unwrap();
                let again = cut[step(&mut seed) as usize % (i + 1)];
                tree.add(again, digest_of(&bytes, again)).unwrap();
            }
            prop_assert_eq!(tree.root(), Some(file_digest(&bytes)));
            prop_assert!(tree.subtrees.len() <= 1);
        }

        #[test]
        fn one_wrong_digest_gives_another_root(blocks in 2_usize..30, seed in 1_u64..u64::MAX) {
            let bytes = pattern(blocks * 65_536 - 7);
            let mut seed = seed;
            let cut = random_spans(bytes.len() as u64, &mut seed);
            prop_assume!(cut.len() > 1);
            let wrong = step(&mut seed) as usize % cut.len();
            let mut tree = TreeAssembler::new(bytes.len() as u64);
            for (i, &span) in cut.iter().enumerate() {
                let mut digest = digest_of(&bytes, span);
                digest.0[(step(&mut seed) % 32) as usize] ^= u8::from(i == wrong);
                tree.add(span, digest).unwrap();
            }
            prop_assert_ne!(tree.root(), Some(file_digest(&bytes)));
        }

        #[test]
        fn what_is_removed_can_be_added_again(blocks in 2_usize..30, seed in 1_u64..u64::MAX) {
            let bytes = pattern(blocks * 65_536 - 9);
            let size = bytes.len() as u64;
            let mut seed = seed;
            let mut tree = TreeAssembler::new(size);
            for span in random_spans(size, &mut seed) {
                if !step(&mut seed).is_multiple_of(4) {
                    tree.add(span, digest_of(&bytes, span)).unwrap();
                }
            }
            let start = step(&mut seed) % (size - 1);
            let wanted = range(start, start + 1 + step(&mut seed) % (size - start));
            for removed in tree.remove(wanted) {
                prop_assert!(removed.intersection(wanted).is_some());
            }
            prop_assert!(tree.remove(wanted).is_empty());
            for span in spans(range(0, size - size % KIB64), size) {
                tree.remove(span);
            }
            tree.remove(range(0, size));
            tree.add(range(0, size), file_digest(&bytes)).unwrap();
            prop_assert_eq!(tree.root(), Some(file_digest(&bytes)));
        }
    }

    #[test]
    fn an_empty_file_has_its_root_at_once() {
        let tree = TreeAssembler::new(0);
        assert_eq!(
            tree.root().unwrap().to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        );
    }

    #[test]
    fn memory_follows_the_gaps() {
        let size = 1_u64 << 40;
        let block = BlockSize::MAX.bytes();
        let mut tree = TreeAssembler::new(size);
        let digest = Digest::from_bytes([7; 32]);
        for start in (0..size / 64).step_by(1 << 24) {
            tree.add(ByteRange::at(start, block).unwrap(), digest).unwrap();
        }
        assert_eq!(tree.subtrees.len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let (one, two) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let size = 4 * KIB64 + 5;
        let mut tree = TreeAssembler::new(size);
        let first = range(0, KIB64);
        tree.add(first, one).unwrap();
        assert_eq!(tree.add(first, one), Ok(()));
        assert_eq!(tree.add(first, two), Err(TreeError::Conflict(first)));
        for bad in [
            range(0, 3 * KIB64),
            range(KIB64, 3 * KIB64),
            range(0, size - 1),
            range(1, KIB64),
            range(2 * KIB64, size),
            range(4 * KIB64, 5 * KIB64),
            range(8 * KIB64, 9 * KIB64),
            range(4 * KIB64, 4 * KIB64 + 1),
        ] {
            assert_eq!(tree.add(bad, two), Err(TreeError::NoSpan(bad)), "{bad:?}");
        }
        for overlap in [range(0, 2 * KIB64), range(0, 4 * KIB64), range(0, size)] {
            assert_eq!(tree.add(overlap, two), Err(TreeError::Overlap(overlap)));
        }
        tree.add(range(KIB64, 2 * KIB64), two).unwrap();
        assert_eq!(tree.add(first, two), Ok(()), "merged, so ignored");
        assert_eq!(tree.subtrees.len(), 1);
        assert_eq!(tree.root(), None);
    }
}
