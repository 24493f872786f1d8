//! What the fields of a delta may hold.

use super::fields::{FieldError, check_file, check_length, check_ranges};
use crate::digest::{BlockSize, Digest};
use crate::limits;
use crate::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign, SumKind};
use crate::range::ByteRange;

/// Checks what is to be summed.
///
/// # Errors
/// Blocks of no such length, off their grid, beyond the file, or too many.
pub fn check_sign(sign: &Sign) -> Result<(), FieldError> {
    check_file(&sign.file)?;
    let block = check_summed(sign.block)?;
    let fits = sign.range.start().is_multiple_of(block)
        && sign.range.end() <= sign.file.stamp.size
        && sign.range.len() / block <= limits::SUMS_MAX as u64;
    if fits { Ok(()) } else { Err(FieldError::Range(sign.range)) }
}

/// Checks what is to be looked for, and returns the payload's length.
///
/// # Errors
/// Blocks of no such length, too many, or beyond the largest file; a range beyond its file.
pub fn check_match(looked: &Match) -> Result<u64, FieldError> {
    check_file(&looked.file)?;
    let block = check_summed(looked.block)?;
    let (range, size) = (looked.range, looked.file.stamp.size);
    if range.end() > size || range.len() > limits::MATCHED_BYTES_MAX {
        return Err(FieldError::Range(range));
    }
    let described = block.saturating_mul(looked.sums.into());
    check_end(looked.from, described)?;
    check_sums(looked.kind, looked.sums)
}

/// The length of a payload of sums.
pub(super) fn check_sums(kind: SumKind, count: u32) -> Result<u64, FieldError> {
    let fits = usize::try_from(count).is_ok_and(|count| count <= limits::SUMS_MAX);
    if fits { Ok(u64::from(count) * kind.bytes() as u64) } else { Err(FieldError::Copies) }
}

/// Checks what is to be hashed and read.
///
/// # Errors
/// A range off its grid or beyond its file; parts out of order, beyond the range, or too long.
pub fn check_read_parts(read: &ReadParts) -> Result<(), FieldError> {
    check_file(&read.file)?;
    check_grid(read.range, read.block)?;
    let end = read.range.end();
    if end > read.file.stamp.size
        || !(end == read.file.stamp.size || end.is_multiple_of(read.block.bytes()))
    {
        return Err(FieldError::Range(read.range));
    }
    check_ranges(&read.parts)?;
    if let Some(beyond) = read.parts.iter().find(|part| !read.range.contains(**part)) {
        return Err(FieldError::Range(*beyond));
    }
    // They lie within the range and do not overlap.
    let wanted = read.parts.iter().map(|part| part.len()).sum();
    check_payload(wanted, read.range).map(drop)
}

/// Returns the payload's length.
pub(super) fn check_parts(digests: &[Digest], length: u32) -> Result<u64, FieldError> {
    check_length(digests, limits::PATCH_DIGESTS_MAX)?;
    let length = u64::from(length);
    let fits = !digests.is_empty() && length <= limits::PAYLOAD_BYTES_MAX as u64;
    if fits { Ok(length) } else { Err(FieldError::DigestCount) }
}

/// Checks what is to be written, and returns the payload's length.
///
/// # Errors
/// A range off its grid, without its digests, or with copies that cannot be.
pub fn check_patch(patch: &Patch) -> Result<u64, FieldError> {
    let Patch { range, block, digests, basis, copies, .. } = patch;
    check_grid(*range, *block)?;
    if range.len().div_ceil(block.bytes()) != digests.len() as u64 {
        return Err(FieldError::DigestCount);
    }
    check_file(basis)?;
    check_copies(copies)?;
    let within = |copy: &CopiedRange| {
        let is_read = copy.from.checked_add(copy.length).is_some_and(|end| end <= basis.stamp.size);
        copy.to >= range.start() && copy.end() <= range.end() && is_read
    };
    if copies.is_empty() || !copies.iter().all(within) {
        return Err(FieldError::Copies);
    }
    let copied: u64 = copies.iter().map(|copy| copy.length).sum();
    check_payload(range.len().saturating_sub(copied), *range)
}

/// Checks that copies are in order, are not empty and end within the largest file.
pub(super) fn check_copies(copies: &[CopiedRange]) -> Result<(), FieldError> {
    check_length(copies, limits::COPIES_MAX)?;
    for copy in copies {
        if copy.length == 0 {
            return Err(FieldError::Copies);
        }
        check_end(copy.to, copy.length)?;
        check_end(copy.from, copy.length)?;
    }
    let overlap = copies.windows(2).any(|pair| pair[1].to < pair[0].end());
    if overlap { Err(FieldError::Copies) } else { Ok(()) }
}

fn check_summed(block: u32) -> Result<u64, FieldError> {
    let allowed = limits::SUMMED_MIN..=limits::SUMMED_MAX;
    if allowed.contains(&block) { Ok(block.into()) } else { Err(FieldError::Copies) }
}

fn check_grid(range: ByteRange, block: BlockSize) -> Result<(), FieldError> {
    let fits =
        range.start().is_multiple_of(block.bytes()) && range.len() <= limits::PATCH_BYTES_MAX;
    if fits { Ok(()) } else { Err(FieldError::Range(range)) }
}

fn check_end(start: u64, length: u64) -> Result<(), FieldError> {
    let end = start.checked_add(length).filter(|end| *end <= limits::FILE_BYTES_MAX);
    end.map(drop).ok_or(FieldError::Copies)
}

fn check_payload(length: u64, range: ByteRange) -> Result<u64, FieldError> {
    if length <= limits::PAYLOAD_BYTES_MAX as u64 {
        Ok(length)
    } else {
        Err(FieldError::Range(range))
    }
}
