//! One file being assembled: which of its bytes are there, and what they prove.

use std::collections::BTreeMap;

use super::receiver::Violation;
use crate::digest::{BlockSize, Digest, TreeAssembler, TreeError, is_span, spans};
use crate::limits;
use crate::range::{ByteRange, RangeSet};

/// The ranges and digests of a file that arrives in blocks, in any order, each perhaps more than
/// once.
///
/// A write is claimed by [`Self::accept`], told by [`Self::written`] and ended by
/// [`Self::release`]; between the first and the last nobody else is given a byte of its range.
/// Nothing here is believed about bytes but what a caller hashed itself.
#[derive(Clone, Debug)]
pub struct Assembly {
    size: u64,
    tree: TreeAssembler,
    /// Invariant: exactly the bytes that the tree covers.
    present: RangeSet,
    claimed: RangeSet,
    /// Digests of what an earlier session left, until the source is known to have the same.
    /// Invariant: they do not overlap each other, nor a range that was given out for writing since.
    hashed: BTreeMap<u64, (ByteRange, Digest)>,
    complete: bool,
}

/// What to do with a block that fits its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Another write of some of these bytes is under way. Ask again when it has ended.
    Busy,
    /// All of it is there: answer as if it had been written.
    Duplicate,
    /// Write these pieces of it, which are claimed now; the whole range, as a rule.
    Write(Vec<ByteRange>),
}

impl Assembly {
    /// A file of `size` bytes, none of which is there.
    pub fn new(size: u64) -> Result<Self, Violation> {
        if size > limits::FILE_BYTES_MAX {
            return Err(Violation::Size(size));
        }
        Ok(Self {
            size,
            tree: TreeAssembler::new(size),
            present: RangeSet::new(),
            claimed: RangeSet::new(),
            hashed: BTreeMap::new(),
            complete: false,
        })
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes that are there and proven.
    #[must_use]
    pub fn present(&self) -> &RangeSet {
        &self.present
    }

    /// Judges a block by its place, before its bytes are hashed or written.
    pub fn accept(&mut self, range: ByteRange, digests: usize) -> Result<Accept, Violation> {
        self.check_grid(range)?;
        let expected = spans(range, self.size).count();
        if digests != expected {
            return Err(Violation::DigestCount { range, expected, found: digests });
        }
        if self.present.contains(range) {
            return Ok(Accept::Duplicate);
        }
        if !self.claimed.missing_from(range).contains(range) {
            return Ok(Accept::Busy);
        }
        self.claimed.insert(range);
        self.drop_hashed(range);
        Ok(Accept::Write(self.present.missing_from(range).iter().collect()))
    }

    /// Records that a claimed piece was written, with the digest of each of its spans.
    pub fn written(&mut self, piece: ByteRange, digests: &[Digest]) -> Result<(), Violation> {
        if !self.claimed.contains(piece) {
            return Err(Violation::Unclaimed(piece));
        }
        self.check_grid(piece)?;
        let expected = spans(piece, self.size).count();
        if digests.len() != expected {
            let found = digests.len();
            return Err(Violation::DigestCount { range: piece, expected, found });
        }
        for (span, digest) in spans(piece, self.size).zip(digests) {
            self.add(span, *digest)?;
        }
        Ok(())
    }

    /// Ends the claim of a block, whether it was written or failed.
    pub fn release(&mut self, range: ByteRange) {
        self.claimed.remove(range);
    }

    /// Records what a block that an earlier session left hashes to, for a later [`Self::keep`]. Of
    /// more than [`limits::HASHED_MAX`] of these, the first in the file are dropped; they can be
    /// kept once they were hashed again.
    pub fn hashed(&mut self, block: ByteRange, digest: Digest) -> Result<(), Violation> {
        if !is_span(block, self.size) {
            return Err(Violation::OffGrid(block));
        }
        if !self.claimed.missing_from(block).contains(block) {
            return Err(Violation::Overlap(block));
        }
        self.drop_hashed(block);
        while self.hashed.len() >= limits::HASHED_MAX {
            self.hashed.pop_first();
        }
        self.hashed.insert(block.start(), (block, digest));
        Ok(())
    }

    /// Takes hashed blocks that tile a range as present. Nothing changes unless all of them do.
    pub fn keep(&mut self, range: ByteRange) -> Result<(), Violation> {
        self.check_grid(range)?;
        if !self.claimed.missing_from(range).contains(range) {
            return Err(Violation::Overlap(range));
        }
        let mut kept = Vec::new();
        for missing in self.present.missing_from(range).iter() {
            let mut start = missing.start();
            while start < missing.end() {
                let block = self.hashed.get(&start).filter(|(block, _)| missing.contains(*block));
                let Some(&(block, digest)) = block else { return Err(Violation::Unproven(range)) };
                start = block.end();
                kept.push((block, digest));
            }
        }
        kept.into_iter().try_for_each(|(block, digest)| self.add(block, digest))
    }

    /// Drops what is known of a range that cannot be trusted any more. Returns what has to come
    /// again, which may be more than the range: the digests within a merged subtree are not kept.
    pub fn forget(&mut self, range: ByteRange) -> Result<Vec<ByteRange>, Violation> {
        if self.complete {
            return Err(Violation::Complete);
        }
        self.drop_hashed(range);
        let gone = self.tree.remove(range);
        for gone in &gone {
            self.present.remove(*gone);
        }
        Ok(gone)
    }

    /// Finds the file complete: every byte is there, no write is under way, and together they have
    /// the root that the source computed.
    pub fn complete(&mut self, root: Digest) -> Result<(), Violation> {
        if let Some(busy) = self.claimed.iter().next() {
            return Err(Violation::Overlap(busy));
        }
        match self.tree.root() {
            Some(found) if found == root => {
                self.complete = true;
                self.hashed.clear();
                Ok(())
            }
            Some(found) => Err(Violation::Root { expected: root, found }),
            None => {
                let whole = ByteRange::whole(self.size);
                let first = whole.and_then(|w| self.present.missing_from(w).iter().next());
                Err(first.map_or(Violation::Size(self.size), Violation::Incomplete))
            }
        }
    }

    fn add(&mut self, span: ByteRange, digest: Digest) -> Result<(), Violation> {
        self.tree.add(span, digest).map_err(|error| match error {
            TreeError::Conflict(range) => Violation::Conflict(range),
            TreeError::NoSpan(range) => Violation::OffGrid(range),
            TreeError::Overlap(range) => Violation::Overlap(range),
        })?;
        self.present.insert(span);
        self.drop_hashed(span);
        Ok(())
    }

    /// Drops the digests of bytes that change, or that cannot be trusted any more.
    fn drop_hashed(&mut self, range: ByteRange) {
        let before = self.hashed.range(..range.start()).next_back();
        let reaching = before.filter(|(_, (block, _))| block.end() > range.start());
        let first = reaching.map_or_else(|| range.start(), |(start, _)| *start);
        let within = self.hashed.range(first..range.end());
        let gone: Vec<u64> = within.map(|(start, _)| *start).collect();
        for start in gone {
            self.hashed.remove(&start);
        }
    }

    fn check_grid(&self, range: ByteRange) -> Result<(), Violation> {
        if range.end() > self.size {
            return Err(Violation::Outside { range, size: self.size });
        }
        let aligned = |offset: u64| offset.is_multiple_of(BlockSize::MIN.bytes());
        if aligned(range.start()) && (aligned(range.end()) || range.end() == self.size) {
            Ok(())
        } else {
            Err(Violation::OffGrid(range))
        }
    }
}
