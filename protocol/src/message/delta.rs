//! What a new version of a file has in common with an old one.

use serde::{Deserialize, Serialize};

use super::{FileAt, PartialIndex};
use crate::bounded;
use crate::digest::{BlockSize, Digest};
use crate::limits;
use crate::range::ByteRange;

/// What the sums of blocks are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SumKind {
    /// To look for each block at one place: [`limits::PLACED_SUM_BYTES`].
    Placed,
    /// To look for blocks at every byte: [`limits::ROLLING_SUM_BYTES`]. They take three times as
    /// long to compute.
    Rolling,
}

impl SumKind {
    /// Bytes of one sum.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Placed => limits::PLACED_SUM_BYTES,
            Self::Rolling => limits::ROLLING_SUM_BYTES,
        }
    }
}

/// Asks for the sums of a file's blocks, wherever its bytes are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// The file.
    pub file: FileAt,
    /// Which bytes; begins at a block's start. What is left behind the last whole block has none.
    pub range: ByteRange,
    /// Bytes in a block.
    pub block: u32,
    /// Which sums.
    pub kind: SumKind,
}

impl Sign {
    /// Bytes of the sums that answer this.
    #[must_use]
    pub fn length_of_sums(&self) -> u64 {
        let count = self.range.len() / u64::from(self.block.max(1));
        count.saturating_mul(self.kind.bytes() as u64)
    }
}

/// Asks which bytes of a file are those of blocks whose sums are the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The file.
    pub file: FileAt,
    /// Which bytes; what is found may reach beyond by less than a block.
    pub range: ByteRange,
    /// Bytes in a block.
    pub block: u32,
    /// Where the first of the blocks begins in the other file, the *basis*.
    pub from: u64,
    /// How many sums follow.
    pub sums: u32,
    /// Which sums: by those that roll blocks are looked for at every byte, else the *n*th at the
    /// *n*th place of the range alone.
    pub kind: SumKind,
}

/// Asks for the digests of a range's blocks, and for some of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadParts {
    /// The file.
    pub file: FileAt,
    /// Which bytes are hashed; begins at a block's start and ends at a block's or the file's end.
    pub range: ByteRange,
    /// The grid of the digests.
    pub block: BlockSize,
    /// Which bytes are wanted: in order, and within the range.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RANGES_MAX }>")]
    pub parts: Vec<ByteRange>,
}

/// Writes a range of a partial of which some bytes stand in a file of the same machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The partial.
    pub partial: PartialIndex,
    /// Which bytes; begins at a block's start and ends at a block's or the file's end.
    pub range: ByteRange,
    /// The grid of the digests.
    pub block: BlockSize,
    /// The digest of each block of the range.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::PATCH_DIGESTS_MAX }>")]
    pub digests: Vec<Digest>,
    /// Where the copied bytes are. Nothing is believed of it: the digests decide.
    pub basis: FileAt,
    /// What is copied, in order. All other bytes of the range are the payload.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES_MAX }>")]
    pub copies: Vec<CopiedRange>,
}

/// Bytes of a new file that stand in its basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedRange {
    /// Where they are in the new file.
    pub to: u64,
    /// Where they are in the basis.
    pub from: u64,
    /// How many; at least one.
    pub length: u64,
}

impl CopiedRange {
    /// The offset after the last byte in the new file; the largest number where there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.to.saturating_add(self.length)
    }

    /// The part that lies in a range of the new file.
    #[must_use]
    pub fn within(&self, range: ByteRange) -> Option<Self> {
        let to = self.to.max(range.start());
        let length = self.end().min(range.end()).checked_sub(to).filter(|length| *length > 0)?;
        Some(Self { to, from: self.from.checked_add(to - self.to)?, length })
    }
}

/// The bytes of a range that no copy brings, in order.
#[must_use]
pub fn gaps(range: ByteRange, copies: &[CopiedRange]) -> Vec<ByteRange> {
    let ends = copies.iter().map(CopiedRange::end);
    let starts = copies.iter().map(|copy| copy.to).chain([range.end()]);
    let between = std::iter::once(range.start()).chain(ends).zip(starts);
    between.filter_map(|(end, start)| ByteRange::new(end, start).ok()).collect()
}
