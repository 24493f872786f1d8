//! Byte ranges, the currency of transfers: what is held, what is wanted, what was proven.

use serde::{Deserialize, Serialize};

/// A half-open range of bytes of one file; never empty, never reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    start: u64,
    end: u64,
}

/// A range that is empty, reversed, or beyond the largest file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{start}..{end} is no byte range")]
pub struct RangeError {
    /// The first byte asked for.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl ByteRange {
    /// The range `start..end`.
    pub fn new(start: u64, end: u64) -> Result<Self, RangeError> {
        if start < end && end <= crate::limits::FILE_BYTES_MAX {
            Ok(Self { start, end })
        } else {
            Err(RangeError { start, end })
        }
    }

    /// The range of `length` bytes from `start`.
    pub fn at(start: u64, length: u64) -> Result<Self, RangeError> {
        Self::new(start, start.saturating_add(length))
    }

    /// The whole of a file; `None` for an empty one.
    #[must_use]
    pub fn whole(size: u64) -> Option<Self> {
        Self::new(0, size).ok()
    }

    /// The first byte's offset.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// The offset after the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end
    }

    /// Bytes in the range; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no range is empty")]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// What both ranges share.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end)).ok()
    }

    /// Whether the other range lies wholly in this one.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl TryFrom<(u64, u64)> for ByteRange {
    type Error = RangeError;

    fn try_from((start, end): (u64, u64)) -> Result<Self, RangeError> {
        Self::new(start, end)
    }
}

impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.start, range.end)
    }
}

/// A set of bytes as sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<ByteRange>);

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ByteRange> {
        self.0.iter().copied()
    }

    /// Whether the set holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes in the set.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|r| r.len()).sum()
    }

    /// Whether every byte of `range` is in the set.
    #[must_use]
    pub fn contains(&self, range: ByteRange) -> bool {
        let next = self.0.partition_point(|r| r.end < range.end);
        self.0.get(next).is_some_and(|r| r.contains(range))
    }

    /// The first range that ends after `offset`: it holds the offset or lies behind it.
    #[must_use]
    pub fn first_after(&self, offset: u64) -> Option<ByteRange> {
        self.0.get(self.0.partition_point(|r| r.end <= offset)).copied()
    }

    /// Adds a range. Cost: logarithmic to find, linear to move what lies behind.
    pub fn insert(&mut self, range: ByteRange) {
        let first = self.0.partition_point(|r| r.end < range.start);
        let last = self.0.partition_point(|r| r.start <= range.end);
        let mut merged = range;
        if first < last {
            merged.start = merged.start.min(self.0[first].start);
            merged.end = merged.end.max(self.0[last - 1].end);
        }
        self.0.splice(first..last, [merged]);
    }

    /// Removes a range.
    pub fn remove(&mut self, range: ByteRange) {
        let first = self.0.partition_point(|r| r.end <= range.start);
        let last = self.0.partition_point(|r| r.start < range.end);
        if first >= last {
            return;
        }
        let left = ByteRange::new(self.0[first].start, range.start).ok();
        let right = ByteRange::new(range.end, self.0[last - 1].end).ok();
        self.0.splice(first..last, left.into_iter().chain(right));
    }

    /// The bytes of `whole` that are not in the set.
    #[must_use]
    pub fn missing_from(&self, whole: ByteRange) -> Self {
        let mut missing = Self(vec![whole]);
        let first = self.0.partition_point(|r| r.end <= whole.start);
        for held in self.0[first..].iter().take_while(|r| r.start < whole.end) {
            missing.remove(*held);
        }
        missing
    }
}

impl FromIterator<ByteRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|r| set.insert(r));
        set
    }
}
