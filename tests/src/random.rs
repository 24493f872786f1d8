//! A seeded generator, so that a failing tree can be built again from its seed

/// SplitMix64: small, fast, and the same on every machine
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose whole future follows from `seed`
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing is below 0");
        self.next_u64() % limit
    }

    /// Whether what has this chance, of 1, happens
    pub fn happens(&mut self, chance: f64) -> bool {
        // The 53 bits that a fraction holds.
        let fraction = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        fraction < chance
    }

    /// Fills `buffer`
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut words = buffer.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        let rest = words.into_remainder();
        let length = rest.len();
        rest.copy_from_slice(&self.next_u64().to_le_bytes()[..length]);
    }

    /// That many bytes
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_future() {
        let (mut first, mut second) = (Random::new(7), Random::new(7));
        assert_eq!(first.bytes(1001), second.bytes(1001));
        assert_ne!(first.bytes(8), Random::new(8).bytes(8));
    }
}
