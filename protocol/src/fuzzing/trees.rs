//! Digests of spans in any order.

use std::sync::LazyLock;

use super::Input;
use crate::digest::{
    Digest, TreeAssembler, file_digest, is_span, range_digests, span_digest, spans,
};
use crate::range::{ByteRange, RangeSet};

/// Bytes of the largest file here.
const SIZE_MAX: u64 = 24 * GRID;
const GRID: u64 = 64 * 1024;

static BYTES: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..=250).cycle().take(usize::try_from(SIZE_MAX).unwrap()).collect());

/// Adds and removes spans of one file; a plain set of ranges knows what the tree must know.
pub fn tree(bytes: &[u8]) {
    let mut input = Input(bytes);
    let file = File::new(&mut input);
    let mut tree = TreeAssembler::new(file.size());
    let mut plain = RangeSet::new();
    while !input.is_empty() {
        let choice = input.byte();
        let Some(range) = file.range(&mut input) else { break };
        match choice % 8 {
            0 => tree.remove(range).into_iter().for_each(|gone| plain.remove(gone)),
            1 => {
                let odd = ByteRange::at(input.number() >> 2, 1 + input.number() % SIZE_MAX);
                let Ok(odd) = odd else { continue };
                let mut wrong = tree.clone();
                let fits = wrong.add(odd, Digest::from_bytes([0; 32])).is_ok();
                assert!(!fits || is_span(odd, file.size()), "{odd:?}");
                assert!(!fits || plain.contains(odd) || wrong.root() != Some(file.root()));
            }
            _ => {
                for span in spans(range, file.size()).filter(|span| is_span(*span, file.size())) {
                    let free = plain.missing_from(span).contains(span);
                    let added = tree.add(span, file.digest(span));
                    assert_eq!(added.is_ok(), free || plain.contains(span), "{span:?}");
                    if free {
                        plain.insert(span);
                    }
                }
            }
        }
        let whole = ByteRange::whole(file.size()).is_none_or(|whole| plain.contains(whole));
        let root = whole.then(|| file.root());
        assert_eq!(tree.root(), root);
    }
}

/// A file of the length that the input says, with everybody's bytes.
pub(super) struct File(&'static [u8]);

impl File {
    pub(super) fn new(input: &mut Input<'_>) -> Self {
        let size = match input.byte() % 4 {
            0 => input.number() % (SIZE_MAX + 1),
            1 => input.below(3),
            _ => input.below(25) * GRID,
        };
        Self(&BYTES[..usize::try_from(size).unwrap()])
    }

    pub(super) fn size(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn root(&self) -> Digest {
        file_digest(self.0)
    }

    /// A range on the grid of this file; `None` if it is empty.
    pub(super) fn range(&self, input: &mut Input<'_>) -> Option<ByteRange> {
        let start = input.below(self.size().div_ceil(GRID)) * GRID;
        let end = start + (1 + input.below(24)) * GRID;
        ByteRange::new(start, end.min(self.size())).ok()
    }

    pub(super) fn digests(&self, range: ByteRange) -> Vec<Digest> {
        range_digests(range.start(), self.piece(range), self.size()).unwrap()
    }

    fn digest(&self, span: ByteRange) -> Digest {
        span_digest(span.start(), self.piece(span), self.size())
    }

    fn piece(&self, range: ByteRange) -> &[u8] {
        let (start, end) = (range.start(), range.end());
        &self.0[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
    }
}
