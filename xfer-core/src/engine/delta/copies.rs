//! Which bytes of a file stand in its basis.

use std::collections::BTreeMap;

use xfer_protocol::message::delta::CopiedRange;
use xfer_protocol::range::{ByteRange, RangeSet};

/// Copies of one file: of more than a file may be cut into for its sake, the last are not kept.
const COPIES_MAX: usize = 1 << 20;

/// Copies by their places in the new file. Invariant: they do not overlap.
#[derive(Default)]
pub(super) struct Copies {
    by_place: BTreeMap<u64, CopiedRange>,
    covered: RangeSet,
}

impl Copies {
    /// Takes a copy, as far as nothing else brings its bytes.
    pub(super) fn add(&mut self, copy: CopiedRange) {
        let Ok(range) = ByteRange::at(copy.to, copy.length) else { return };
        for piece in self.covered.missing_from(range).iter() {
            if self.by_place.len() >= COPIES_MAX {
                return;
            }
            if let Some(copy) = copy.within(piece) {
                self.insert(copy);
                self.covered.insert(piece);
            }
        }
    }

    fn insert(&mut self, copy: CopiedRange) {
        if let Some((_, before)) = self.by_place.range_mut(..copy.to).next_back()
            && before.end() == copy.to
            && before.from + before.length == copy.from
        {
            before.length += copy.length;
            return;
        }
        self.by_place.insert(copy.to, copy);
    }

    /// What brings the bytes of a range, in order.
    pub(super) fn within(&self, range: ByteRange) -> Vec<CopiedRange> {
        let before = self.by_place.range(..range.start()).next_back();
        let inside = self.by_place.range(range.start()..range.end());
        before.into_iter().chain(inside).filter_map(|(_, copy)| copy.within(range)).collect()
    }

    /// Where the first byte behind an offset is that no copy brings, up to a limit.
    pub(super) fn run(&self, start: u64, limit: u64) -> u64 {
        match self.covered.first_after(start) {
            Some(covered) if covered.start() <= start => covered.end().min(limit),
            _ => start,
        }
    }

    pub(super) fn missing_from(&self, range: ByteRange) -> RangeSet {
        self.covered.missing_from(range)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.covered.bytes()
    }

    /// Forgets what brings the bytes of a range.
    pub(super) fn remove(&mut self, range: ByteRange) {
        let before = self.by_place.range(..range.start()).next_back();
        let inside = self.by_place.range(range.start()..range.end());
        let all: Vec<_> = before.into_iter().chain(inside).map(|(_, copy)| *copy).collect();
        self.covered.remove(range);
        for copy in all {
            self.by_place.remove(&copy.to);
            let head = ByteRange::new(copy.to, range.start().max(copy.to));
            let tail = ByteRange::new(range.end().max(copy.to), u64::MAX >> 1);
            for rest in [head, tail].into_iter().flatten() {
                if let Some(rest) = copy.within(rest) {
                    self.by_place.insert(rest.to, rest);
                }
            }
        }
    }
}
