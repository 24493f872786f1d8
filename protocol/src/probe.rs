//! What a machine tells of itself, and what a trial of its disk came to.

use serde::{Deserialize, Serialize};

/// Extensions of processors by name; each is the bit of its place in [`Facts::features`].
///
/// Names are appended, never moved: a bit keeps its meaning.
pub const CPU_FEATURES: [&str; 14] = [
    "aes",
    "pclmulqdq",
    "sse4.1",
    "avx",
    "avx2",
    "bmi2",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "vaes",
    "sha",
    "neon",
    "pmull",
    "sve",
];

/// What a machine is, as far as it bounds a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Processors that the process may use.
    pub cores: u32,
    /// Bits of [`CPU_FEATURES`]; unknown bits are ignored.
    pub features: u64,
    /// Bytes of memory that the process may use; 0 where nobody knows.
    pub memory_bytes: u64,
    /// Bytes a second that one core hashes with BLAKE3, measured just now.
    pub hash_rate: u64,
    /// Bytes a second that one core seals with AES-256-GCM, measured just now.
    pub seal_rate: u64,
}

impl Facts {
    /// Names of the features that are there.
    pub fn feature_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let bits = self.features;
        let numbered = CPU_FEATURES.into_iter().enumerate();
        numbered.filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// What a trial came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTrial {
    /// Bytes that were written and synced.
    pub written: u64,
    /// Microseconds that this took, the sync included.
    pub write_micros: u64,
    /// Bytes that were read back.
    pub read: u64,
    /// Microseconds that this took.
    pub read_micros: u64,
    /// Whether they are known to have come from the medium.
    pub past_cache: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_has_its_name_and_others_are_ignored() {
        let names = |features| Facts { features, ..Facts::default() }.feature_names();
        assert_eq!(names(0b1_0001).collect::<Vec<_>>(), ["aes", "avx2"]);
        assert_eq!(names(u64::MAX).count(), CPU_FEATURES.len());
    }
}
