//! Whether the bytes of a file are those that the hub has, told before the last of them is given
//! away.
//!
//! The hub's digests are of the whole file and in order, and blocks come in any order: what lies
//! ahead is kept up to a limit, and beyond it read again at the end. Pieces that come a second time
//! are compared with the first by digests of their own, so that no byte passes that was not in the
//! sum.

use std::collections::BTreeMap;

use bytes::Bytes;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use xfer_protocol::range::ByteRange;

use super::problem::WebProblem;

/// The pieces that are told apart: the grid on which blocks lie.
const PIECE: u64 = 64 << 10;

/// Bytes of one file that are kept until what lies before them has come.
const AHEAD_MAX: u64 = 64 << 20;

/// What a hub says of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// SHA-256 of its bytes.
    Sha256([u8; 32]),
    /// What git names it by: SHA-1 of its length and its bytes.
    Blob([u8; 20]),
}

/// What is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    Nothing,
    /// These bytes came and were not kept.
    Lacks(ByteRange),
}

/// A check under way.
pub(super) struct Check {
    proof: Proof,
    size: u64,
    sum: Context,
    /// Bytes that are in the sum: all up to here.
    summed: u64,
    /// Pieces that lie ahead, by their start.
    ahead: BTreeMap<u64, Bytes>,
    ahead_bytes: u64,
    /// A digest of each piece that came; 0 where none did. As long as what came: a hub may tell any
    /// size.
    came: Vec<u64>,
    missing: usize,
    verdict: Option<bool>,
}

impl Proof {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Blob(bytes) => bytes,
        }
    }

    /// Whether a whole file has it.
    pub(super) fn proves(&self, whole: &[u8]) -> bool {
        let mut sum = self.begin(whole.len() as u64);
        sum.update(whole);
        sum.finish().as_ref() == self.bytes()
    }

    fn begin(&self, size: u64) -> Context {
        match self {
            Self::Sha256(_) => Context::new(&SHA256),
            Self::Blob(_) => {
                let mut sum = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                sum.update(format!("blob {size}\0").as_bytes());
                sum
            }
        }
    }
}

impl Check {
    pub(super) fn new(proof: Proof, size: u64) -> Self {
        Self {
            proof,
            size,
            sum: proof.begin(size),
            summed: 0,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            came: Vec::new(),
            missing: usize::try_from(size.div_ceil(PIECE)).unwrap_or(usize::MAX),
            verdict: None,
        }
    }

    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// Takes bytes that lie on the grid. Once all have come, they are what the hub has, or that is
    /// an error, now and until the file is begun anew.
    pub(super) fn feed(&mut self, start: u64, bytes: &Bytes) -> Result<Gap, WebProblem> {
        if self.verdict == Some(false) {
            if start > 0 {
                return Err(WebProblem::Mismatch);
            }
            *self = Self::new(self.proof, self.size);
        }
        let end = start + bytes.len() as u64;
        let is_on_grid = start.is_multiple_of(PIECE)
            && (end.is_multiple_of(PIECE) || end == self.size)
            && end <= self.size;
        if !is_on_grid {
            return Err(WebProblem::Unusable("a range that lies on no grid"));
        }
        let mut at = start;
        while at < end {
            let next = end.min(at + PIECE);
            let cut = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
            self.take(at, bytes.slice(cut(at)..cut(next)))?;
            at = next;
        }
        self.judge()
    }

    fn take(&mut self, start: u64, piece: Bytes) -> Result<(), WebProblem> {
        let digest = blake3::hash(&piece);
        let digest = digest.as_bytes().first_chunk().map_or(1, |b| u64::from_le_bytes(*b)) | 1;
        let nth = usize::try_from(start / PIECE).unwrap_or(usize::MAX);
        if self.came.len() <= nth {
            self.came.resize(nth + 1, 0);
        }
        let before = self.came.get_mut(nth).ok_or(WebProblem::Unusable("beyond the end"))?;
        if *before != 0 && *before != digest {
            // One of the two was damaged; which, only all of the file tells.
            self.verdict = Some(false);
            return Err(WebProblem::Mismatch);
        }
        self.missing -= usize::from(*before == 0);
        *before = digest;
        if start == self.summed {
            self.sum(&piece);
            while let Some(next) = self.ahead.remove(&self.summed) {
                self.ahead_bytes -= next.len() as u64;
                self.sum(&next);
            }
        } else if start > self.summed
            && self.ahead_bytes + piece.len() as u64 <= AHEAD_MAX
            && !self.ahead.contains_key(&start)
        {
            self.ahead_bytes += piece.len() as u64;
            self.ahead.insert(start, piece);
        }
        Ok(())
    }

    fn sum(&mut self, piece: &Bytes) {
        self.sum.update(piece);
        self.summed += piece.len() as u64;
    }

    fn judge(&mut self) -> Result<Gap, WebProblem> {
        if self.missing > 0 || self.verdict == Some(true) {
            return Ok(Gap::Nothing);
        }
        if self.summed < self.size {
            let end = self.ahead.keys().next().copied().unwrap_or(self.size);
            let lacking = ByteRange::new(self.summed, end);
            return lacking.map(Gap::Lacks).map_err(|_| WebProblem::Unusable("an empty gap"));
        }
        let is_equal = self.sum.clone().finish().as_ref() == self.proof.bytes();
        self.verdict = Some(is_equal);
        if is_equal { Ok(Gap::Nothing) } else { Err(WebProblem::Mismatch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: usize) -> Bytes {
        (0..size).map(|i| u8::try_from(i * i % 253).unwrap()).collect()
    }

    fn sha256(bytes: &[u8]) -> Proof {
        let digest = ring::digest::digest(&SHA256, bytes);
        Proof::Sha256(digest.as_ref().try_into().unwrap())
    }

    fn part(bytes: &Bytes, start: u64, end: u64) -> Bytes {
        let in_memory = |offset| usize::try_from(offset).unwrap();
        bytes.slice(in_memory(start)..in_memory(end))
    }

    fn blocks(size: u64, length: u64) -> Vec<(u64, u64)> {
        (0..size.div_ceil(length)).map(|n| (n * length, size.min((n + 1) * length))).collect()
    }

    #[test]
    fn blocks_in_any_order_are_summed_before_the_last_is_given_away() {
        let whole = content(1_000_000);
        for (stride, is_right) in [(1, true), (7, true), (3, false), (15, true), (5, false)] {
            let proof = sha256(if is_right { &whole } else { b"another" });
            let mut check = Check::new(proof, 1_000_000);
            let blocks = blocks(1_000_000, PIECE);
            for n in 0..blocks.len() {
                let (start, end) = blocks[n * stride % blocks.len()];
                let fed = check.feed(start, &part(&whole, start, end));
                let is_last = n + 1 == blocks.len();
                let expected =
                    if is_last && !is_right { Err(WebProblem::Mismatch) } else { Ok(Gap::Nothing) };
                assert_eq!(fed, expected, "{stride} {n}");
            }
        }
    }

    #[test]
    fn what_lies_ahead_is_kept_until_its_turn() {
        let size = AHEAD_MAX + 4 * PIECE + 1;
        let whole = content(usize::try_from(size).unwrap());
        let mut check = Check::new(sha256(&whole), size);
        let mut blocks = blocks(size, 1 << 20);
        blocks.rotate_left(1);
        let mut gap = Gap::Nothing;
        for (start, end) in blocks {
            assert_eq!(gap, Gap::Nothing);
            gap = check.feed(start, &part(&whole, start, end)).unwrap();
        }
        let Gap::Nothing = gap else { panic!("{gap:?}: the first mebibyte lets all be summed") };
        assert_eq!(check.verdict, Some(true));
    }

    #[test]
    fn a_gap_is_named_and_filled() {
        let size = AHEAD_MAX + 4 * PIECE;
        let whole = content(usize::try_from(size).unwrap());
        let mut check = Check::new(sha256(&whole), size);
        let feed = |check: &mut Check, start, end| check.feed(start, &part(&whole, start, end));
        // All but the first piece: what lies behind the limit is not kept.
        assert_eq!(feed(&mut check, PIECE, size), Ok(Gap::Nothing));
        let lacking = ByteRange::new(AHEAD_MAX + PIECE, size).unwrap();
        assert_eq!(feed(&mut check, 0, PIECE), Ok(Gap::Lacks(lacking)));
        let damaged = Bytes::from(vec![1; usize::try_from(lacking.len()).unwrap()]);
        assert_eq!(check.feed(lacking.start(), &damaged), Err(WebProblem::Mismatch));
        // Anew, and filled with what came first.
        assert_eq!(feed(&mut check, 0, 0), Ok(Gap::Nothing));
        assert_eq!(feed(&mut check, PIECE, size), Ok(Gap::Nothing));
        assert_eq!(feed(&mut check, 0, PIECE), Ok(Gap::Lacks(lacking)));
        assert_eq!(feed(&mut check, lacking.start(), lacking.end()), Ok(Gap::Nothing));
        assert_eq!(check.verdict, Some(true));
    }

    #[test]
    fn a_piece_that_comes_again_must_be_the_same() {
        let whole = content(200_000);
        let mut check = Check::new(sha256(&whole), 200_000);
        assert_eq!(check.feed(0, &whole), Ok(Gap::Nothing));
        assert_eq!(check.feed(PIECE, &part(&whole, PIECE, 2 * PIECE)), Ok(Gap::Nothing));
        let other = Bytes::from(vec![9; usize::try_from(PIECE).unwrap()]);
        assert_eq!(check.feed(PIECE, &other), Err(WebProblem::Mismatch));
        assert_eq!(check.feed(PIECE, &other), Err(WebProblem::Mismatch));
        assert_eq!(check.feed(0, &whole), Ok(Gap::Nothing));
    }

    /// What `git hash-object` and `sha256sum` print.
    #[test]
    fn a_whole_file_has_the_digests_that_other_programs_print() {
        let hex = |text: &str| -> Vec<u8> {
            let pair = |n: usize| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap();
            (0..text.len() / 2).map(pair).collect()
        };
        let blob = hex("ce013625030ba8dba906f756967f9e9ca394464a");
        assert!(Proof::Blob(blob.try_into().unwrap()).proves(b"hello\n"));
        let sum = hex("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        let sum = Proof::Sha256(sum.try_into().unwrap());
        assert!(sum.proves(b"hello\n") && !sum.proves(b"hello"));
    }
}
