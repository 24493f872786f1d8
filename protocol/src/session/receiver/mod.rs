//! The files that a sink assembles in one session.

use std::collections::{BTreeMap, VecDeque};

use super::assembly::{Accept, Assembly};
use crate::digest::Digest;
use crate::limits;
use crate::message::PartialIndex;
use crate::range::ByteRange;

/// What a peer, or a caller of a session, may not do; nothing was changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The file was found complete and changes no more.
    #[error("the file is complete and changes no more")]
    Complete,
    /// A span came with another digest than before.
    #[error("bytes {}..{} came with two digests", .0.start(), .0.end())]
    Conflict(ByteRange),
    /// A block has one digest for each of its spans.
    #[error("{found} digests for {}..{}, which has {expected}", .range.start(), .range.end())]
    DigestCount {
        /// The block.
        range: ByteRange,
        /// Spans in it.
        expected: usize,
        /// Digests given.
        found: usize,
    },
    /// The file is not complete; this is the first range that is missing.
    #[error("bytes {}..{} have not come", .0.start(), .0.end())]
    Incomplete(ByteRange),
    /// A range begins or ends where no digest can.
    #[error("bytes {}..{} are off the grid of digests", .0.start(), .0.end())]
    OffGrid(ByteRange),
    /// A range lies beyond the file's end.
    #[error("bytes {}..{} lie outside a file of {size}", .range.start(), .range.end())]
    Outside {
        /// The range.
        range: ByteRange,
        /// The file's length in bytes.
        size: u64,
    },
    /// A write of some of these bytes is under way.
    #[error("bytes {}..{} are being written", .0.start(), .0.end())]
    Overlap(ByteRange),
    /// An open partial was opened again with another length.
    #[error("a partial of {before} bytes was opened again with {now}")]
    Resized {
        /// Its length in bytes.
        before: u64,
        /// The length given now.
        now: u64,
    },
    /// Every byte is there, but together they are not the file that the source read.
    #[error("the file's digest is {found} instead of {expected}")]
    Root {
        /// The root that the source computed.
        expected: Digest,
        /// The root of what is there.
        found: Digest,
    },
    /// No file may be that long.
    #[error("a file of {0} bytes")]
    Size(u64),
    /// More partials than [`limits::PARTIALS_MAX`].
    #[error("more than {max} partials at a time", max = limits::PARTIALS_MAX)]
    TooMany,
    /// Bytes were written that nobody had claimed.
    #[error("bytes {}..{} were written without being accepted", .0.start(), .0.end())]
    Unclaimed(ByteRange),
    /// No such partial is open.
    #[error("no partial {} is open", .0.0)]
    Unknown(PartialIndex),
    /// A range is to be kept that was never hashed here.
    #[error("bytes {}..{} were never hashed here", .0.start(), .0.end())]
    Unproven(ByteRange),
}

/// The table of files being assembled at a sink, each an [`Assembly`]: the model of what a sink
/// must answer. Endpoints hold files open and lock them, so they keep such a table in a form of
/// their own; this one runs on a virtual clock and under fuzzing.
///
/// Whatever concerns a partial that was closed not long ago succeeds and changes nothing: a
/// repeated call, or a copy of a block that was overtaken on another stream.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    open: BTreeMap<PartialIndex, Assembly>,
    closed: VecDeque<PartialIndex>,
}

impl Receiver {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a file of `size` bytes. The same call again changes nothing.
    pub fn open(&mut self, partial: PartialIndex, size: u64) -> Result<(), Violation> {
        if let Some(before) = self.open.get(&partial).map(Assembly::size) {
            let same = before == size;
            return if same { Ok(()) } else { Err(Violation::Resized { before, now: size }) };
        }
        if self.open.len() >= limits::PARTIALS_MAX {
            return Err(Violation::TooMany);
        }
        let assembly = Assembly::new(size)?;
        self.closed.retain(|closed| *closed != partial);
        self.open.insert(partial, assembly);
        Ok(())
    }

    /// See [`Assembly::hashed`].
    pub fn hashed(
        &mut self,
        partial: PartialIndex,
        block: ByteRange,
        digest: Digest,
    ) -> Result<(), Violation> {
        self.with(partial, (), |assembly| assembly.hashed(block, digest))
    }

    /// See [`Assembly::keep`].
    pub fn keep(&mut self, partial: PartialIndex, range: ByteRange) -> Result<(), Violation> {
        self.with(partial, (), |assembly| assembly.keep(range))
    }

    /// See [`Assembly::accept`].
    pub fn accept(
        &mut self,
        partial: PartialIndex,
        range: ByteRange,
        digests: usize,
    ) -> Result<Accept, Violation> {
        self.with(partial, Accept::Duplicate, |assembly| assembly.accept(range, digests))
    }

    /// See [`Assembly::written`].
    pub fn written(
        &mut self,
        partial: PartialIndex,
        piece: ByteRange,
        digests: &[Digest],
    ) -> Result<(), Violation> {
        self.with(partial, (), |assembly| assembly.written(piece, digests))
    }

    /// See [`Assembly::release`].
    pub fn release(&mut self, partial: PartialIndex, range: ByteRange) {
        if let Some(assembly) = self.open.get_mut(&partial) {
            assembly.release(range);
        }
    }

    /// See [`Assembly::forget`].
    pub fn forget(
        &mut self,
        partial: PartialIndex,
        range: ByteRange,
    ) -> Result<Vec<ByteRange>, Violation> {
        self.with(partial, Vec::new(), |assembly| assembly.forget(range))
    }

    /// See [`Assembly::complete`].
    pub fn complete(&mut self, partial: PartialIndex, root: Digest) -> Result<(), Violation> {
        self.with(partial, (), |assembly| assembly.complete(root))
    }

    /// What is known of an open partial.
    #[must_use]
    pub fn assembly(&self, partial: PartialIndex) -> Option<&Assembly> {
        self.open.get(&partial)
    }

    /// Ends a partial, published or given up. The same call again changes nothing.
    pub fn close(&mut self, partial: PartialIndex) {
        if self.open.remove(&partial).is_some() {
            if self.closed.len() >= limits::PARTIALS_MAX {
                self.closed.pop_front();
            }
            self.closed.push_back(partial);
        }
    }

    fn with<T>(
        &mut self,
        partial: PartialIndex,
        closed: T,
        act: impl FnOnce(&mut Assembly) -> Result<T, Violation>,
    ) -> Result<T, Violation> {
        match self.open.get_mut(&partial) {
            Some(assembly) => act(assembly),
            None if self.closed.contains(&partial) => Ok(closed),
            None => Err(Violation::Unknown(partial)),
        }
    }
}

#[cfg(test)]
mod tests;
