//! The bytes of a file in memory, holes left out.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::{BlockSize, Digest, TreeAssembler, span_digest, zero_span_digest};
use xfer_protocol::range::ByteRange;

/// A file's bytes as extents; what lies between them is a hole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    size: u64,
    /// Extents by their offsets; none is empty, none overlaps another.
    extents: BTreeMap<u64, Bytes>,
}

impl Content {
    pub(super) fn new(size: u64) -> Self {
        Self { size, extents: BTreeMap::new() }
    }

    pub(super) fn of(bytes: Bytes) -> Self {
        let mut content = Self::new(length(&bytes));
        content.write(0, bytes);
        content
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in extents.
    pub(super) fn allocated(&self) -> u64 {
        self.extents.values().map(length).sum()
    }

    /// Where there is data.
    pub(super) fn data(&self) -> Vec<ByteRange> {
        let mut data: Vec<ByteRange> = Vec::new();
        for (start, bytes) in &self.extents {
            let Ok(range) = ByteRange::at(*start, length(bytes)) else { continue };
            match data.last_mut() {
                Some(last) if last.end() == range.start() => {
                    *last = ByteRange::new(last.start(), range.end()).unwrap_or(range);
                }
                _ => data.push(range),
            }
        }
        data
    }

    /// Makes the file longer by a hole, or shorter.
    pub(super) fn set_size(&mut self, size: u64) {
        if let Ok(gone) = ByteRange::new(size, self.size) {
            self.punch(gone);
        }
        self.size = size;
    }

    /// Writes bytes over what is there; the file grows if they reach beyond its end.
    pub(super) fn write(&mut self, start: u64, bytes: Bytes) {
        let Ok(range) = ByteRange::at(start, length(&bytes)) else { return };
        self.punch(range);
        self.extents.insert(start, bytes);
        self.size = self.size.max(range.end());
    }

    /// Makes a hole.
    pub(super) fn punch(&mut self, hole: ByteRange) {
        let touched: Vec<u64> = self
            .extents
            .range(..hole.end())
            .rev()
            .take_while(|(start, bytes)| *start + length(bytes) > hole.start())
            .map(|(start, _)| *start)
            .collect();
        for start in touched {
            let Some(mut bytes) = self.extents.remove(&start) else { continue };
            if start + length(&bytes) > hole.end() {
                let behind = bytes.split_off(index(hole.end() - start));
                self.extents.insert(hole.end(), behind);
            }
            if start < hole.start() {
                bytes.truncate(index(hole.start() - start));
                self.extents.insert(start, bytes);
            }
        }
    }

    /// The bytes of a range, with zeros for holes and beyond the end.
    pub(super) fn read(&self, range: ByteRange) -> Bytes {
        let mut bytes = BytesMut::zeroed(index(range.len()));
        for (start, extent) in self.extents.range(..range.end()).rev() {
            let Ok(here) = ByteRange::at(*start, length(extent)) else { continue };
            let Some(shared) = here.intersection(range) else { break };
            let from = &extent[index(shared.start() - start)..index(shared.end() - start)];
            let at = index(shared.start() - range.start());
            bytes[at..at + from.len()].copy_from_slice(from);
        }
        bytes.freeze()
    }

    /// The digest of one span.
    pub(super) fn span_digest(&self, span: ByteRange) -> Digest {
        let data = self.data().into_iter().any(|range| range.intersection(span).is_some());
        match data {
            true => span_digest(span.start(), &self.read(span), self.size),
            false => zero_span_digest(span.start(), span.len(), self.size),
        }
    }

    /// The BLAKE3 root.
    pub(super) fn digest(&self) -> Digest {
        let mut tree = TreeAssembler::new(self.size);
        let block = BlockSize::DEFAULT.bytes();
        let mut start = 0;
        while let Ok(span) = ByteRange::new(start, self.size.min(start + block)) {
            tree.add(span, self.span_digest(span)).expect("blocks on a grid are spans");
            start = span.end();
        }
        tree.root().expect("blocks tile a file")
    }
}

pub(super) fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// An offset within bytes that are in memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn writes_and_holes_are_as_in_a_plain_vector(
            steps in prop::collection::vec((0u64..40, 1u64..20, any::<Option<u8>>()), 0..20),
            size in 0u64..50,
        ) {
            let mut content = Content::default();
            let mut plain: Vec<u8> = Vec::new();
            for (start, count, byte) in steps {
                let range = ByteRange::at(start, count).unwrap();
                let end = usize::try_from(range.end()).unwrap();
                match byte {
                    Some(byte) => {
                        content.write(start, Bytes::from(vec![byte; index(count)]));
                        plain.resize(plain.len().max(end), 0);
                        plain[index(start)..end].fill(byte);
                    }
                    None => {
                        content.punch(range);
                        let end = end.min(plain.len());
                        if index(start) < end {
                            plain[index(start)..end].fill(0);
                        }
                    }
                }
            }
            content.set_size(size);
            plain.resize(index(size), 0);
            if let Some(whole) = ByteRange::whole(size) {
                prop_assert_eq!(&content.read(whole)[..], &plain[..]);
            }
            prop_assert_eq!(content.digest(), xfer_protocol::digest::file_digest(&plain));
            prop_assert!(content.allocated() <= size);
        }
    }
}
