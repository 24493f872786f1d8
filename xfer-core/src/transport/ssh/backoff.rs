//! Growing pauses with jitter

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Pauses of 1 s, doubling to 15 s, each shortened by up to a half so that many dialers spread out
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
    state: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { next: FIRST, state: seed }
    }

    /// The next pause
    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        let jitter = u32::try_from(self.random() >> 48).unwrap_or_default();
        let half = whole / 2;
        half + half * jitter / u32::from(u16::MAX)
    }

    /// splitmix64: spreads any seed evenly, which is all that jitter asks
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_differ_by_seed() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            let mut whole = FIRST;
            for _ in 0..8 {
                let pause = backoff.pause();
                assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
                whole = (whole * 2).min(LONGEST);
            }
        }
        let first: std::collections::BTreeSet<_> =
            (0..100).map(|seed| Backoff::new(seed).pause()).collect();
        assert!(first.len() > 90, "only {} different pauses", first.len());
    }
}
