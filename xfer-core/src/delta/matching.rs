//! Blocks found again: at their own places, or at any byte.

use xfer_protocol::limits::{COPIES_MAX, PLACED_SUM_BYTES, ROLLING_SUM_BYTES};
use xfer_protocol::message::delta::CopiedRange;

use super::sums::{Roll, parts, state_of, strong, weak};

/// Blocks of one rolling sum that are told apart; of more, the last are not looked for.
const CHAIN_MAX: usize = 8;

/// Blocks of a copy behind which the next one is likely enough to be hashed at once: no more is
/// hashed in vain than an eighth of what is found.
const LIKELY_AFTER: u64 = 8;

/// No block.
const NONE: u32 = u32::MAX;

/// Blocks of a basis, to be looked up by their sums.
pub struct Index<'a> {
    sums: &'a [u8],
    block: usize,
    /// Where the first of them begins in the basis.
    from: u64,
    roll: Roll,
    /// Bits of a rolling sum that choose a chain.
    bits: u32,
    heads: Vec<u32>,
    next: Vec<u32>,
}

/// What was found, and what it may cost still.
#[derive(Debug)]
pub struct Found {
    copies: Vec<CopiedRange>,
    /// Bytes that may still be hashed in vain.
    allowance: u64,
}

impl Found {
    /// Nothing yet, of a range of so many bytes: looking costs at most as much again in vain.
    #[must_use]
    pub fn new(range: u64) -> Self {
        Self { copies: Vec::new(), allowance: range }
    }

    /// What was found, in order.
    #[must_use]
    pub fn into_copies(self) -> Vec<CopiedRange> {
        self.copies
    }

    fn is_over(&self) -> bool {
        self.allowance == 0 || self.copies.len() >= COPIES_MAX
    }

    fn hashed_in_vain(&mut self, bytes: usize) {
        self.allowance = self.allowance.saturating_sub(bytes as u64);
    }

    fn push(&mut self, copy: CopiedRange) {
        if let Some(last) = self.copies.last_mut()
            && last.end() == copy.to
            && last.from + last.length == copy.from
        {
            last.length += copy.length;
            return;
        }
        self.copies.push(copy);
    }

    /// Where in the basis the next byte would be if nothing changed here.
    fn expected(&self, to: u64) -> Option<u64> {
        let last = self.copies.last().filter(|last| last.end() == to)?;
        last.from.checked_add(last.length)
    }
}

/// Finds blocks at their own places: the first sum is that of the first block of `bytes`, which lie
/// at `at` in the new file, and at `from` in the basis.
pub fn find_in_place(
    sums: &[u8],
    block: usize,
    from: u64,
    bytes: &[u8],
    at: u64,
    found: &mut Found,
) {
    let mut offset = 0;
    for (sum, bytes) in sums.chunks_exact(PLACED_SUM_BYTES).zip(bytes.chunks_exact(block.max(1))) {
        if found.copies.len() >= COPIES_MAX {
            return;
        }
        let length = bytes.len() as u64;
        if *sum == strong(bytes) {
            found.push(CopiedRange { to: at + offset, from: from + offset, length });
        }
        offset += length;
    }
}

impl<'a> Index<'a> {
    /// Blocks of `block` bytes, the first of which begins at `from` in the basis. Of sums behind
    /// the limit of a message nothing is known.
    #[must_use]
    pub fn new(sums: &'a [u8], block: usize, from: u64) -> Self {
        let count = sums.len() / ROLLING_SUM_BYTES;
        let bits = usize::BITS - count.saturating_mul(2).leading_zeros();
        let bits = bits.clamp(4, 26);
        let mut index = Self {
            sums,
            block: block.max(1),
            from,
            roll: Roll::new(block.max(1)),
            bits,
            heads: vec![NONE; 1 << bits],
            next: vec![NONE; count],
        };
        // Backwards, so that chains begin with what comes first in the basis.
        for at in (0..count).rev() {
            index.insert(at);
        }
        index
    }

    fn insert(&mut self, at: usize) {
        let Some((weak, strong)) = self.sum(at) else { return };
        let Ok(number) = u32::try_from(at) else { return };
        let chain = self.chain(weak);
        let mut last = None;
        let mut length = 0;
        let mut next = self.heads[chain];
        while let Some((other, rest)) = self.linked(next) {
            if self.sum(other) == Some((weak, strong)) {
                // The same block again: the one that comes first stands for both.
                match last {
                    None => self.heads[chain] = rest,
                    Some(last) => self.next[last] = rest,
                }
                break;
            }
            length += 1;
            if length >= CHAIN_MAX - 1 {
                self.next[other] = NONE;
                break;
            }
            (last, next) = (Some(other), rest);
        }
        self.next[at] = self.heads[chain];
        self.heads[chain] = number;
    }

    fn sum(&self, at: usize) -> Option<(u32, [u8; 8])> {
        parts(self.sums.get(at * ROLLING_SUM_BYTES..(at + 1) * ROLLING_SUM_BYTES)?)
    }

    fn chain(&self, weak: u32) -> usize {
        // The upper bits mix best.
        usize::try_from(weak >> (32 - self.bits)).unwrap_or(0)
    }

    /// A block of a chain and the one behind it.
    fn linked(&self, number: u32) -> Option<(usize, u32)> {
        let at = usize::try_from(number).ok()?;
        Some((at, *self.next.get(at)?))
    }

    /// Finds blocks that begin within the first `starts` of `bytes`, which lie at `at` in the new
    /// file; returns how far it came, which may be beyond them by less than a block.
    pub fn find(&self, bytes: &[u8], at: u64, starts: usize, found: &mut Found) -> usize {
        let mut here = 0;
        while here < starts && !found.is_over() {
            let Some(block) = bytes.get(here..here + self.block) else { break };
            let to = at + here as u64;
            if let Some(from) = found.expected(to).filter(|from| self.is_at(*from, block, found)) {
                found.push(CopiedRange { to, from, length: block.len() as u64 });
                here += self.block;
                continue;
            }
            match self.roll_on(bytes, here, starts, found) {
                (next, Some(from)) => {
                    let (to, length) = (at + next as u64, self.block as u64);
                    found.push(CopiedRange { to, from, length });
                    here = next + self.block;
                }
                (next, None) => here = next,
            }
        }
        here.max(starts)
    }

    /// Steps on from a block until one is known: where it begins here and in the basis.
    fn roll_on(
        &self,
        bytes: &[u8],
        mut here: usize,
        starts: usize,
        found: &mut Found,
    ) -> (usize, Option<u64>) {
        let mut state = state_of(&bytes[here..here + self.block]);
        loop {
            let chain = self.chain(weak(state));
            if self.heads[chain] != NONE
                && let Some(from) =
                    self.look_up(chain, weak(state), &bytes[here..here + self.block], found)
            {
                return (here, Some(from));
            }
            let end = here + self.block;
            if here + 1 >= starts || end >= bytes.len() || found.is_over() {
                return (starts, None);
            }
            state = self.roll.step(state, bytes[here], bytes[end]);
            here += 1;
        }
    }

    fn look_up(&self, chain: usize, weak: u32, block: &[u8], found: &mut Found) -> Option<u64> {
        let mut next = self.heads[chain];
        let mut digest = None;
        while let Some((at, rest)) = self.linked(next) {
            if let Some((other, told)) = self.sum(at).filter(|(other, _)| *other == weak) {
                debug_assert_eq!(other, weak);
                if *digest.get_or_insert_with(|| strong(block)) == told {
                    return Some(self.from + at as u64 * self.block as u64);
                }
            }
            next = rest;
        }
        if digest.is_some() {
            found.hashed_in_vain(block.len());
        }
        None
    }

    /// Whether the block that begins there in the basis is this one.
    fn is_at(&self, from: u64, block: &[u8], found: &Found) -> bool {
        let offset = from.checked_sub(self.from);
        let at = offset.and_then(|offset| usize::try_from(offset / self.block as u64).ok());
        let Some((weak_told, told)) = at.and_then(|at| self.sum(at)) else { return false };
        let length = found.copies.last().map_or(0, |last| last.length);
        let is_likely = length / self.block as u64 >= LIKELY_AFTER;
        // One try for each copy: their number bounds what this costs in vain.
        !found.is_over()
            && (is_likely || weak(state_of(block)) == weak_told)
            && strong(block) == told
    }
}

#[cfg(test)]
mod tests;
