//! Checksums of stores, and digests of parts.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use md5::Digest as _;
use xfer_protocol::digest::{BlockSize, Digest, file_digest, span_digest, spans};
use xfer_protocol::range::ByteRange;

use super::GRID;
use super::store::{Checksum, Load, Part};
pub(super) use crate::endpoint::checksum::{combined, crc};

/// The CRC-64/NVME of what is written.
pub(super) fn crc_of(load: &Load) -> u64 {
    match load {
        Load::Here(bytes) => crc(bytes),
        Load::There(cargo) => cargo.crc(),
    }
}

/// The checksums that those of pieces come to, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    crc64: u64,
    crc32c: u64,
}

impl Sums {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { crc64: crc(bytes), crc32c: crc_fast::checksum(Crc32Iscsi, bytes) }
    }

    pub(super) fn followed_by(self, second: Self, second_length: u64) -> Self {
        Self {
            crc64: combined(self.crc64, second.crc64, second_length),
            crc32c: crc_fast::checksum_combine(
                Crc32Iscsi,
                self.crc32c,
                second.crc32c,
                second_length,
            ),
        }
    }

    /// Whether a checksum is of other bytes; one that pieces do not come to says nothing.
    pub(super) fn differ_from(self, told: Checksum) -> bool {
        match told {
            Checksum::Crc64Nvme(sum) => sum != self.crc64,
            Checksum::Crc32c(sum) => u64::from(sum) != self.crc32c,
            Checksum::Sha256(_) | Checksum::Md5(_) => false,
        }
    }
}

/// The CRC-64/NVME that a store tells of a whole object, if it tells one.
pub(super) fn told_crc(checksums: &[Checksum]) -> Option<u64> {
    checksums.iter().find_map(|checksum| match checksum {
        Checksum::Crc64Nvme(crc) => Some(*crc),
        _ => None,
    })
}

/// Whether a listed part proves that it has these bytes.
pub(super) fn proves(part: &Part, load: &Load) -> bool {
    if part.size != load.length() {
        return false;
    }
    match part.checksum {
        // Among whatever others uploaded, 32 bits may agree by chance.
        Some(Checksum::Crc32c(_)) => false,
        checksum => acknowledges(checksum, Some(part.tag.as_str()), load),
    }
}

/// Whether the answer to a writing says that these bytes arrived: by its checksum, or where it has
/// none, by a tag that is their MD5.
pub(super) fn acknowledges(checksum: Option<Checksum>, tag: Option<&str>, load: &Load) -> bool {
    match checksum {
        Some(checksum) => is_of(checksum, load),
        None => tag
            .and_then(|tag| hex_16(tag.trim_matches('"')))
            .is_some_and(|tag| is_of(Checksum::Md5(tag), load)),
    }
}

/// Whether a checksum is that of these bytes; of bytes that are not here, only one kind is known.
pub(super) fn is_of(checksum: Checksum, load: &Load) -> bool {
    let bytes = match load {
        Load::Here(bytes) => bytes,
        Load::There(cargo) => return checksum == Checksum::Crc64Nvme(cargo.crc()),
    };
    match checksum {
        Checksum::Crc64Nvme(sum) => sum == crc(bytes),
        Checksum::Crc32c(sum) => u64::from(sum) == crc_fast::checksum(Crc32Iscsi, bytes),
        Checksum::Sha256(sum) => ring::digest::digest(&ring::digest::SHA256, bytes).as_ref() == sum,
        Checksum::Md5(sum) => sum == md5_of(bytes),
    }
}

fn md5_of(bytes: &[u8]) -> [u8; 16] {
    md5::Md5::digest(bytes).into()
}

fn hex_16(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// Whether what is written is a whole file of that digest.
pub(super) fn is_file(load: &Load, digest: Digest) -> bool {
    match load {
        Load::Here(bytes) => file_digest(bytes) == digest,
        Load::There(cargo) => matches!(cargo.units(), [unit] if unit.digest == digest),
    }
}

/// The digests of a range, of pieces of one length, from which those of all larger spans follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grains {
    /// Bytes of each piece but the last.
    each: u64,
    digests: Vec<Digest>,
}

impl Grains {
    /// Of what begins at `start` within a file of `size` bytes: on the finest grid where it is
    /// here, and on that of blocks where it is not; `None` where it lies on neither.
    pub(super) fn of(load: &Load, start: u64, size: u64) -> Option<Self> {
        let bytes = match load {
            Load::Here(bytes) => bytes,
            Load::There(cargo) => {
                let (last, rest) = cargo.units().split_last()?;
                let is_on_grid = start.is_multiple_of(GRID)
                    && last.length <= GRID
                    && rest.iter().all(|unit| unit.length == GRID);
                let digests = cargo.units().iter().map(|unit| unit.digest).collect();
                return is_on_grid.then_some(Self { each: GRID, digests });
            }
        };
        let each = BlockSize::MIN.bytes();
        let step = usize::try_from(each).ok()?;
        let pieces = bytes.chunks(step).zip((start..).step_by(step));
        let digests = pieces.map(|(bytes, start)| span_digest(start, bytes, size)).collect();
        Some(Self { each, digests })
    }

    /// As they were recorded of a part of so many bytes; `None` where they are as many as none has.
    pub(super) fn recorded(digests: &[Digest], length: u64) -> Option<Self> {
        let count = u64::try_from(digests.len()).ok()?;
        let mut grids = [BlockSize::MIN.bytes(), GRID].into_iter();
        let each = grids.find(|each| length.div_ceil(*each) == count)?;
        Some(Self { each, digests: digests.to_vec() })
    }

    /// Those from `first` up to `end`, counted from the beginning of the range.
    pub(super) fn cut(&self, first: u64, end: u64) -> Option<Self> {
        let first = usize::try_from(first / self.each).ok()?;
        let end = usize::try_from(end.div_ceil(self.each)).ok()?;
        Some(Self { each: self.each, digests: self.digests.get(first..end)?.to_vec() })
    }

    /// Those of ranges that lie one behind the other; `None` where their pieces differ in length.
    pub(super) fn joined<'a>(mut all: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut joined = all.next()?.clone();
        for grains in all {
            if grains.each != joined.each {
                return None;
            }
            joined.digests.extend_from_slice(&grains.digests);
        }
        Some(joined)
    }

    pub(super) fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The digests of the spans of the range; `None` where it has none.
    pub(super) fn span_digests(&self, range: ByteRange, size: u64) -> Option<Vec<Digest>> {
        let all = spans(range, size).map(|span| self.digest_of(span, range.start(), size));
        let digests: Vec<_> = all.collect::<Option<_>>()?;
        (!digests.is_empty()).then_some(digests)
    }

    /// The digest of one span of the range, which begins at `first`.
    pub(super) fn digest_of(&self, span: ByteRange, first: u64, size: u64) -> Option<Digest> {
        let offset = span.start().checked_sub(first)?;
        if span.len() <= self.each {
            // Of a shorter one nothing is known.
            let is_piece = span.len() == self.each || span.end() == size;
            let at = usize::try_from(offset / self.each).ok()?;
            let is_known = is_piece && offset.is_multiple_of(self.each);
            return self.digests.get(at).copied().filter(|_| is_known);
        }
        let left = blake3::hazmat::left_subtree_len(span.len());
        let middle = span.start() + left;
        let left = ByteRange::new(span.start(), middle).ok()?;
        let right = ByteRange::new(middle, span.end()).ok()?;
        let left = *self.digest_of(left, first, size)?.as_bytes();
        let right = *self.digest_of(right, first, size)?.as_bytes();
        let mode = blake3::hazmat::Mode::Hash;
        let is_root = span.start() == 0 && span.end() == size;
        Some(Digest::from_bytes(match is_root {
            true => *blake3::hazmat::merge_subtrees_root(&left, &right, mode).as_bytes(),
            false => blake3::hazmat::merge_subtrees_non_root(&left, &right, mode),
        }))
    }
}

/// Bytes in memory.
pub(super) fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xfer_protocol::digest::range_digests;

    use super::*;

    proptest! {
        #[test]
        fn spans_follow_from_grains(grid in 0u64..9, blocks in 1usize..9, tail in 0usize..70_000) {
            let whole: Vec<u8> =
                (0..600_000 + tail).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
            let size = whole.len() as u64;
            let start = usize::try_from(grid * 65_536).unwrap();
            let end = (start + blocks * 65_536).min(whole.len());
            let range = ByteRange::new(start as u64, end as u64).unwrap();
            let load = Load::Here(Bytes::copy_from_slice(&whole[start..end]));
            let grains = Grains::of(&load, range.start(), size).unwrap();
            let expected = range_digests(range.start(), &whole[start..end], size);
            prop_assert_eq!(grains.span_digests(range, size), expected);
        }
    }

    /// Of bytes that are not here the digests of blocks are known, and nothing finer.
    #[test]
    fn spans_follow_from_blocks_as_well() {
        let (size, each) = (20_000_000_u64, GRID);
        let whole: Vec<u8> = (0..size).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
        let cut = |start: u64, end: u64| {
            &whole[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
        };
        let starts = (0..size).step_by(usize::try_from(each).unwrap());
        let ranges = starts.map(|start| (start, size.min(start + each)));
        let digests: Vec<_> =
            ranges.map(|(start, end)| span_digest(start, cut(start, end), size)).collect();
        let blocks = Grains::recorded(&digests, size).unwrap();
        for (start, end) in [(0, size), (0, 2 * each), (each, 2 * each), (each, size)] {
            let range = ByteRange::new(start, end).unwrap();
            let of = blocks.cut(start, end).unwrap();
            let expected = range_digests(start, cut(start, end), size);
            assert_eq!(of.span_digests(range, size), expected, "{range:?}");
        }
        let finer = ByteRange::new(each, each + (1 << 20)).unwrap();
        assert_eq!(blocks.digest_of(finer, 0, size), None);
        assert_eq!(Grains::recorded(&digests, 8 * each), None);
    }

    #[test]
    fn a_part_is_proven_by_its_sum_alone() {
        let bytes = Load::Here(Bytes::from_static(b"abc"));
        let part = |tag: &str, checksum| Part { number: 1, size: 3, tag: tag.to_owned(), checksum };
        let md5 = "\"900150983cd24fb0d6963f7d28e17f72\"";
        assert!(proves(&part(md5, None), &bytes));
        assert!(!proves(&part(md5, None), &Load::Here(Bytes::from_static(b"abd"))));
        assert!(!proves(&part(md5, Some(Checksum::Crc64Nvme(1))), &bytes));
        assert!(!proves(&part("\"x\"", None), &bytes));
    }

    #[test]
    fn an_answer_acknowledges_what_its_sum_is_of() {
        let digits = b"123456789";
        let load = |bytes: &'static [u8]| Load::Here(Bytes::from_static(bytes));
        let md5 = "\"25f9e794323b453885f5181f1b624d0b\"";
        for checksum in [
            Checksum::Crc64Nvme(0xae8b_1486_0a79_9888),
            Checksum::Crc32c(0xe306_9283),
            Checksum::Md5(hex_16(md5.trim_matches('"')).unwrap()),
        ] {
            assert!(acknowledges(Some(checksum), None, &load(digits)), "{checksum:?}");
            assert!(!acknowledges(Some(checksum), Some(md5), &load(b"12345678")), "{checksum:?}");
        }
        assert!(acknowledges(None, Some(md5), &load(digits)));
        assert!(!acknowledges(None, Some(md5), &load(b"12345678")));
        // A checksum that differs is not made good by a tag.
        assert!(!acknowledges(Some(Checksum::Crc64Nvme(1)), Some(md5), &load(digits)));
        assert!(
            !acknowledges(None, Some("\"x\""), &load(digits))
                && !acknowledges(None, None, &load(digits))
        );
        let by_crc32c = Some(Checksum::Crc32c(0xe306_9283));
        let part = Part { number: 1, size: 9, tag: String::new(), checksum: by_crc32c };
        assert!(!proves(&part, &Load::Here(Bytes::from_static(digits))));
    }
}
