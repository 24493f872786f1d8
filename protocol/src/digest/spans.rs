//! Spans: the pieces of a file that are whole subtrees of its BLAKE3 tree.

use std::convert::Infallible;

use blake3::hazmat::HasherExt;

use super::{BlockSize, Digest};
use crate::range::ByteRange;

/// Cuts a range into the largest aligned spans of powers of two, of at least 64 KiB but for the
/// file's tail: the pieces that have a digest each. A block on its grid is one span.
///
/// A span that reaches the file's end may have any length that its alignment allows, because the
/// right edge of a BLAKE3 tree is one subtree from any aligned offset on; so the tail block is one
/// span too, and so is the whole of a file. A range that begins off the 64 KiB grid, that ends off
/// it before the file's end, or that lies beyond the file has no digests, and no spans here.
pub fn spans(range: ByteRange, file_size: u64) -> impl Iterator<Item = ByteRange> {
    let on_grid = range.end() <= file_size
        && is_aligned(range.start())
        && (range.end() == file_size || is_aligned(range.end()));
    let mut start = if on_grid { range.start() } else { range.end() };
    std::iter::from_fn(move || {
        let span = ByteRange::at(start, span_length(start, range.end(), file_size)?).ok()?;
        start = span.end();
        Some(span)
    })
}

/// Whether a range is one span of a file of `file_size` bytes, not necessarily the largest there.
#[must_use]
pub fn is_span(range: ByteRange, file_size: u64) -> bool {
    let fits = is_aligned(range.start())
        && range.end() <= file_size
        && range.len() <= alignment(range.start());
    fits && (range.end() == file_size
        || (range.len().is_power_of_two() && range.len() >= BlockSize::MIN.bytes()))
}

/// The digest of one span of a file of `file_size` bytes: the file's root if the span is all of it,
/// else the span's chaining value.
///
/// # Panics
/// When `bytes` at `start` are no span, which [`spans`] never yields.
#[must_use]
pub fn span_digest(start: u64, bytes: &[u8], file_size: u64) -> Digest {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let Ok(digest) = hash_span::<Infallible>(start, length, file_size, |hasher| {
        hasher.update(bytes);
        Ok(())
    });
    digest
}

/// The same of a span whose bytes come piece by piece: `feed` hands on all of them, in order, or
/// fails.
///
/// # Errors
/// What `feed` fails with.
///
/// # Panics
/// When the range is no span, which [`spans`] never yields.
pub fn span_digest_of<E>(
    start: u64,
    length: u64,
    file_size: u64,
    feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
) -> Result<Digest, E> {
    hash_span(start, length, file_size, |hasher| {
        feed(&mut |bytes| {
            hasher.update(bytes);
        })
    })
}

/// The digest of each span of a range whose first byte lies at `start`; `None` where the range has
/// no digests.
#[must_use]
pub fn range_digests(start: u64, bytes: &[u8], file_size: u64) -> Option<Vec<Digest>> {
    let range = ByteRange::at(start, u64::try_from(bytes.len()).ok()?).ok()?;
    let mut rest = bytes;
    let digests: Vec<_> = spans(range, file_size)
        .map_while(|span| {
            let (head, tail) = rest.split_at_checked(usize::try_from(span.len()).ok()?)?;
            rest = tail;
            Some(span_digest(span.start(), head, file_size))
        })
        .collect();
    rest.is_empty().then_some(digests)
}

/// The digest of a span of zeros, without any buffer of its length.
///
/// BLAKE3 binds each chunk to its place, so there is no value that all holes share: this costs what
/// hashing costs, and saves the reading.
///
/// # Panics
/// When the range is no span, which [`spans`] never yields.
#[must_use]
pub fn zero_span_digest(start: u64, length: u64, file_size: u64) -> Digest {
    let Ok(digest) = hash_span::<Infallible>(start, length, file_size, |hasher| {
        let mut left = length;
        while left > 0 {
            let step = usize::try_from(left).map_or(ZEROS.len(), |l| l.min(ZEROS.len()));
            hasher.update(&ZEROS[..step]);
            left -= step as u64;
        }
        Ok(())
    });
    digest
}

/// The digest of each span of a range of zeros; `None` where the range has no digests.
#[must_use]
pub fn zero_range_digests(range: ByteRange, file_size: u64) -> Option<Vec<Digest>> {
    let digests: Vec<_> = spans(range, file_size)
        .map(|span| zero_span_digest(span.start(), span.len(), file_size))
        .collect();
    (!digests.is_empty()).then_some(digests)
}

fn hash_span<E>(
    start: u64,
    length: u64,
    file_size: u64,
    feed: impl FnOnce(&mut blake3::Hasher) -> Result<(), E>,
) -> Result<Digest, E> {
    let mut hasher = blake3::Hasher::new();
    if start == 0 && length == file_size {
        feed(&mut hasher)?;
        return Ok(Digest(*hasher.finalize().as_bytes()));
    }
    let span = ByteRange::at(start, length).is_ok_and(|range| is_span(range, file_size));
    assert!(span, "{length} bytes from {start} are no span of a file of {file_size}");
    hasher.set_input_offset(start);
    // Of no bytes at all there is no chaining value.
    feed(&mut hasher)?;
    Ok(Digest(hasher.finalize_non_root()))
}

/// The length of the largest span that begins at `start` and ends by `end`.
fn span_length(start: u64, end: u64, file_size: u64) -> Option<u64> {
    let left = end.checked_sub(start).filter(|&left| left > 0)?;
    let limit = alignment(start);
    if end == file_size && left <= limit {
        return Some(left);
    }
    Some(limit.min(1 << left.ilog2()))
}

/// The largest power of two that divides an offset, which bounds the subtree that begins there.
pub(super) fn alignment(start: u64) -> u64 {
    if start == 0 { 1 << 63 } else { 1 << start.trailing_zeros() }
}

fn is_aligned(offset: u64) -> bool {
    offset.is_multiple_of(BlockSize::MIN.bytes())
}

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB64: u64 = 64 << 10;
    const MIB: u64 = 1 << 20;

    fn cut(start: u64, end: u64, size: u64) -> Vec<(u64, u64)> {
        spans(ByteRange::new(start, end).unwrap(), size).map(|s| (s.start(), s.len())).collect()
    }

    #[test]
    fn ranges_are_cut_into_largest_spans() {
        type Pairs = &'static [(u64, u64)];
        let cases: [(u64, u64, u64, Pairs); 10] = [
            (0, 1, 1, &[(0, 1)]),
            (0, KIB64, KIB64, &[(0, KIB64)]),
            (0, KIB64 + 1, KIB64 + 1, &[(0, KIB64 + 1)]),
            (0, KIB64, KIB64 + 1, &[(0, KIB64)]),
            (KIB64, KIB64 + 1, KIB64 + 1, &[(KIB64, 1)]),
            (0, 5 * MIB, 5 * MIB, &[(0, 5 * MIB)]),
            (0, 5 * MIB, 100 * MIB, &[(0, 4 * MIB), (4 * MIB, MIB)]),
            (
                5 * MIB,
                10 * MIB,
                100 * MIB,
                &[(5 * MIB, MIB), (6 * MIB, 2 * MIB), (8 * MIB, 2 * MIB)],
            ),
            (4 * MIB, 7 * MIB - 3, 7 * MIB - 3, &[(4 * MIB, 3 * MIB - 3)]),
            (3 * MIB, 7 * MIB, 7 * MIB, &[(3 * MIB, MIB), (4 * MIB, 3 * MIB)]),
        ];
        for (start, end, size, expected) in cases {
            assert_eq!(cut(start, end, size), *expected, "{start}..{end} of {size}");
        }
    }

    #[test]
    fn ranges_off_the_grid_have_no_spans() {
        for (start, end, size) in [
            (1, KIB64, KIB64),
            (0, KIB64 - 1, KIB64),
            (0, KIB64 + 1, MIB),
            (1024, MIB, MIB),
            (0, MIB, MIB - 1),
            (MIB, 2 * MIB, MIB),
        ] {
            assert!(cut(start, end, size).is_empty(), "{start}..{end} of {size}");
            let zeros = vec![0; usize::try_from(end - start).unwrap()];
            assert_eq!(range_digests(start, &zeros, size), None);
            let range = ByteRange::new(start, end).unwrap();
            assert_eq!(zero_range_digests(range, size), None);
        }
    }

    #[test]
    fn a_range_of_the_largest_file_is_cut_too() {
        let size = crate::limits::FILE_BYTES_MAX;
        assert_eq!(cut(0, size, size), [(0, size)]);
        let top = 1 << 62;
        assert_eq!(cut(top, size, size), [(top, size - top)]);
        assert_eq!(cut(0, top, size), [(0, top)]);
    }

    proptest! {
        #[test]
        fn spans_tile_their_range_and_a_grid_block_is_one(
            size in 1_u64..1 << 40, log in 16_u8..=24, index in any::<u64>(), blocks in 1_u64..40,
        ) {
            let block = BlockSize::from_log(log).unwrap().bytes();
            let first = index % size.div_ceil(block);
            let one = ByteRange::new(first * block, size.min((first + 1) * block)).unwrap();
            prop_assert_eq!(spans(one, size).collect::<Vec<_>>(), [one]);

            let range =
                ByteRange::new(first * block, size.min((first + blocks) * block)).unwrap();
            let mut at = range.start();
            for span in spans(range, size) {
                prop_assert_eq!(span.start(), at);
                prop_assert!(is_span(span, size));
                at = span.end();
            }
            prop_assert_eq!(at, range.end());
        }

        #[test]
        fn zeros_hash_like_a_buffer_of_zeros(start in 0_u64..40, length in 1_usize..1_000_000) {
            let start = start * KIB64;
            let size = start + length as u64;
            let zeros = vec![0; length];
            let range = ByteRange::new(start, size).unwrap();
            prop_assert_eq!(zero_range_digests(range, size), range_digests(start, &zeros, size));
        }
    }
}
