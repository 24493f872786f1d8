//! Checksums of stores, and digests of parts.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use md5::Digest as _;
use xfer_protocol::digest::{BlockSize, Digest, span_digest, spans};
use xfer_protocol::range::ByteRange;

use super::store::{Checksum, Part};
pub(super) use crate::endpoint::checksum::{combined, crc};

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
        let combine = crc_fast::checksum_combine;
        Self {
            crc64: combine(Crc64Nvme, self.crc64, second.crc64, second_length),
            crc32c: combine(Crc32Iscsi, self.crc32c, second.crc32c, second_length),
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
pub(super) fn proves(part: &Part, bytes: &Bytes) -> bool {
    if part.size != length(bytes) {
        return false;
    }
    match part.checksum {
        // Among whatever others uploaded, 32 bits may agree by chance.
        Some(Checksum::Crc32c(_)) => false,
        checksum => acknowledges(checksum, Some(part.tag.as_str()), bytes),
    }
}

/// Whether the answer to a writing says that these bytes arrived: by its checksum, or where it has
/// none, by a tag that is their MD5.
pub(super) fn acknowledges(checksum: Option<Checksum>, tag: Option<&str>, bytes: &[u8]) -> bool {
    match checksum {
        Some(checksum) => is_of(checksum, bytes),
        None => tag
            .and_then(|tag| hex_16(tag.trim_matches('"')))
            .is_some_and(|tag| tag == md5_of(bytes)),
    }
}

/// Whether a checksum is that of these bytes.
pub(super) fn is_of(checksum: Checksum, bytes: &[u8]) -> bool {
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

/// The digests of a range on the finest grid, from which those of all larger spans follow.
pub(super) fn grains(start: u64, bytes: &[u8], size: u64) -> Vec<Digest> {
    let grain = usize::try_from(BlockSize::MIN.bytes()).unwrap_or(usize::MAX);
    let starts = (start..).step_by(grain);
    bytes.chunks(grain).zip(starts).map(|(bytes, start)| span_digest(start, bytes, size)).collect()
}

/// The digests of the spans of a range, from its grains; `None` where it has none.
pub(super) fn span_digests(range: ByteRange, grains: &[Digest], size: u64) -> Option<Vec<Digest>> {
    let all = spans(range, size).map(|span| digest_of(span, range.start(), grains, size));
    let digests: Vec<_> = all.collect::<Option<_>>()?;
    (!digests.is_empty()).then_some(digests)
}

/// The digest of one span, from the grains of what begins at `first`.
pub(super) fn digest_of(
    span: ByteRange,
    first: u64,
    grains: &[Digest],
    size: u64,
) -> Option<Digest> {
    let grain = BlockSize::MIN.bytes();
    if span.len() <= grain {
        let at = usize::try_from(span.start().checked_sub(first)? / grain).ok()?;
        return grains.get(at).copied();
    }
    let left = blake3::hazmat::left_subtree_len(span.len());
    let middle = span.start() + left;
    let left = ByteRange::new(span.start(), middle).ok()?;
    let right = ByteRange::new(middle, span.end()).ok()?;
    let left = *digest_of(left, first, grains, size)?.as_bytes();
    let right = *digest_of(right, first, grains, size)?.as_bytes();
    let mode = blake3::hazmat::Mode::Hash;
    let is_root = span.start() == 0 && span.end() == size;
    Some(Digest::from_bytes(match is_root {
        true => *blake3::hazmat::merge_subtrees_root(&left, &right, mode).as_bytes(),
        false => blake3::hazmat::merge_subtrees_non_root(&left, &right, mode),
    }))
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
            let grains = grains(range.start(), &whole[start..end], size);
            let expected = range_digests(range.start(), &whole[start..end], size);
            prop_assert_eq!(span_digests(range, &grains, size), expected);
        }
    }

    #[test]
    fn a_part_is_proven_by_its_sum_alone() {
        let bytes = Bytes::from_static(b"abc");
        let part = |tag: &str, checksum| Part { number: 1, size: 3, tag: tag.to_owned(), checksum };
        let md5 = "\"900150983cd24fb0d6963f7d28e17f72\"";
        assert!(proves(&part(md5, None), &bytes));
        assert!(!proves(&part(md5, None), &Bytes::from_static(b"abd")));
        assert!(!proves(&part(md5, Some(Checksum::Crc64Nvme(1))), &bytes));
        assert!(!proves(&part("\"x\"", None), &bytes));
    }

    #[test]
    fn an_answer_acknowledges_what_its_sum_is_of() {
        let digits = b"123456789";
        let md5 = "\"25f9e794323b453885f5181f1b624d0b\"";
        for checksum in [
            Checksum::Crc64Nvme(0xae8b_1486_0a79_9888),
            Checksum::Crc32c(0xe306_9283),
            Checksum::Md5(hex_16(md5.trim_matches('"')).unwrap()),
        ] {
            assert!(acknowledges(Some(checksum), None, digits), "{checksum:?}");
            assert!(!acknowledges(Some(checksum), Some(md5), b"12345678"), "{checksum:?}");
        }
        assert!(acknowledges(None, Some(md5), digits));
        assert!(!acknowledges(None, Some(md5), b"12345678"));
        // A checksum that differs is not made good by a tag.
        assert!(!acknowledges(Some(Checksum::Crc64Nvme(1)), Some(md5), digits));
        assert!(!acknowledges(None, Some("\"x\""), digits) && !acknowledges(None, None, digits));
        let by_crc32c = Some(Checksum::Crc32c(0xe306_9283));
        let part = Part { number: 1, size: 9, tag: String::new(), checksum: by_crc32c };
        assert!(!proves(&part, &Bytes::from_static(digits)));
    }
}
