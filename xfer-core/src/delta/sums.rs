//! The sums of blocks: one that rolls on by a byte, and one that is worth believing for a while.

use xfer_protocol::limits::PLACED_SUM_BYTES;
use xfer_protocol::message::delta::SumKind;

/// Odd, so that no bit of the state is lost by a step.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes that are taken in at a time: their products do not wait for each other.
const STRIDE: usize = 8;

const POWERS: [u64; STRIDE + 1] = powers();

const fn powers() -> [u64; STRIDE + 1] {
    let mut powers = [1_u64; STRIDE + 1];
    let mut at = 1;
    while at <= STRIDE {
        powers[at] = powers[at - 1].wrapping_mul(MULTIPLIER);
        at += 1;
    }
    powers
}

/// The sums of all whole blocks, one behind the other.
#[must_use]
pub fn sums_of(bytes: &[u8], block: usize, kind: SumKind) -> Vec<u8> {
    let blocks = bytes.chunks_exact(block.max(1));
    let mut sums = Vec::with_capacity(blocks.len() * kind.bytes());
    for block in blocks {
        if kind == SumKind::Rolling {
            sums.extend_from_slice(&weak(state_of(block)).to_le_bytes());
        }
        sums.extend_from_slice(&strong(block));
    }
    sums
}

/// The state of a block's rolling sum.
pub(super) fn state_of(bytes: &[u8]) -> u64 {
    let strides = bytes.chunks_exact(STRIDE);
    let rest = strides.remainder();
    let state = strides.fold(0_u64, |state, stride| {
        let terms = stride.iter().zip(POWERS[..STRIDE].iter().rev());
        let sum = terms.fold(0_u64, |sum, (byte, power)| {
            sum.wrapping_add((u64::from(*byte) + 1).wrapping_mul(*power))
        });
        state.wrapping_mul(POWERS[STRIDE]).wrapping_add(sum)
    });
    rest.iter().fold(state, |state, byte| {
        state.wrapping_mul(MULTIPLIER).wrapping_add(u64::from(*byte) + 1)
    })
}

/// What is told of a state.
pub(super) fn weak(state: u64) -> u32 {
    u32::try_from(state >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
thread_local! {
    /// Bytes that [`strong`] was given on this thread.
    pub(super) static HASHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

pub(super) fn strong(block: &[u8]) -> [u8; PLACED_SUM_BYTES] {
    #[cfg(test)]
    HASHED.set(HASHED.get() + block.len());
    let digest = blake3::hash(block);
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The parts of a sum that rolls.
pub(super) fn parts(sum: &[u8]) -> Option<(u32, [u8; PLACED_SUM_BYTES])> {
    let (weak, strong) = sum.split_first_chunk()?;
    Some((u32::from_le_bytes(*weak), strong.first_chunk().copied()?))
}

/// Steps a block's state on by one byte.
pub(super) struct Roll {
    /// What a byte's leaving takes from the state.
    leaving: Box<[u64; 256]>,
}

impl Roll {
    pub(super) fn new(block: usize) -> Self {
        let exponent = u32::try_from(block).unwrap_or(u32::MAX);
        let power = MULTIPLIER.wrapping_pow(exponent);
        let mut leaving = Box::new([0; 256]);
        let mut value = 0_u64;
        for entry in leaving.iter_mut() {
            value = value.wrapping_add(power);
            *entry = value;
        }
        Self { leaving }
    }

    pub(super) fn step(&self, state: u64, leaves: u8, enters: u8) -> u64 {
        let entering = (u64::from(enters) + 1).wrapping_sub(self.leaving[usize::from(leaves)]);
        state.wrapping_mul(MULTIPLIER).wrapping_add(entering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    /// As the specification says it, byte by byte.
    fn told(bytes: &[u8]) -> u32 {
        let state = bytes.iter().fold(0_u64, |s, b| {
            s.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(*b)).wrapping_add(1)
        });
        weak(state)
    }

    #[test]
    fn a_state_that_rolls_is_that_of_its_block() {
        let bytes = bytes(5_000);
        for block in [1, 7, 8, 9, 1024] {
            let roll = Roll::new(block);
            let mut state = state_of(&bytes[..block]);
            for at in 0..bytes.len() - block {
                assert_eq!(weak(state), told(&bytes[at..at + block]), "{block} at {at}");
                state = roll.step(state, bytes[at], bytes[at + block]);
            }
        }
    }

    #[test]
    fn a_sum_is_what_the_specification_says() {
        let bytes = bytes(2_500);
        let rolling = sums_of(&bytes, 1000, SumKind::Rolling);
        let placed = sums_of(&bytes, 1000, SumKind::Placed);
        assert_eq!((rolling.len(), placed.len()), (2 * 12, 2 * 8));
        let both = rolling.chunks(12).zip(placed.chunks(8));
        for ((rolling, placed), block) in both.zip(bytes.chunks(1000)) {
            assert_eq!(rolling[..4], told(block).to_le_bytes());
            assert_eq!(placed, &blake3::hash(block).as_bytes()[..8]);
            assert_eq!(rolling[4..], *placed);
        }
    }
}
