//! BLAKE3 digests of files and of their blocks, as one tree.
//!
//! A block's digest is the chaining value of the subtree that covers it, so a file's root follows
//! from its blocks' digests without reading the file again, and is what `b3sum` prints.

mod spans;
mod tree;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use spans::{
    is_span, range_digests, span_digest, span_digest_of, spans, zero_range_digests,
    zero_span_digest,
};
pub use tree::{TreeAssembler, TreeError};

/// A BLAKE3 value: a file's root, or the chaining value of an aligned span of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lower-case hexadecimal, as `b3sum` prints it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The length of blocks: a power of two from 64 KiB to 16 MiB, kept as its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct BlockSize(u8);

/// A logarithm that is no block size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("2^{0} bytes is no block size; 2^16 to 2^24 are")]
pub struct BlockSizeError(pub u8);

impl BlockSize {
    /// 64 KiB: the smallest span that has a digest of its own.
    pub const MIN: Self = Self(16);
    /// 1 MiB: one block a frame, and few enough digests to keep.
    pub const DEFAULT: Self = Self(20);
    /// 16 MiB.
    pub const MAX: Self = Self(24);

    /// The size of 2^`log` bytes.
    pub const fn from_log(log: u8) -> Result<Self, BlockSizeError> {
        if log >= Self::MIN.0 && log <= Self::MAX.0 {
            Ok(Self(log))
        } else {
            Err(BlockSizeError(log))
        }
    }

    /// The length in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.0
    }
}

impl TryFrom<u8> for BlockSize {
    type Error = BlockSizeError;

    fn try_from(log: u8) -> Result<Self, BlockSizeError> {
        Self::from_log(log)
    }
}

impl From<BlockSize> for u8 {
    fn from(size: BlockSize) -> Self {
        size.0
    }
}

/// The BLAKE3 root of a whole file's bytes.
#[must_use]
pub fn file_digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}
