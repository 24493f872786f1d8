//! Finding where our own bytes begin behind what a remote shell printed.

use crate::limits;

/// A random mark that the far side prints before its first byte of the protocol.
///
/// It must be random, so that nothing a shell prints can hold it; the banner that hides a session's
/// beginning would need to guess it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sentinel(pub [u8; 32]);

/// The scan for a sentinel in bytes as they come. Cost: linear in the bytes, whatever they are.
#[derive(Clone, Debug)]
pub struct SentinelScan {
    sentinel: Sentinel,
    /// For each prefix of the sentinel, how much of it is still a prefix after its last byte failed
    /// to be followed: the failure function of Knuth, Morris and Pratt.
    fallback: [usize; 32],
    matched: usize,
    seen: usize,
}

/// No sentinel within [`limits::NOISE_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the far side printed more than {} bytes before it began", limits::NOISE_BYTES_MAX)]
pub struct SentinelError;

impl Sentinel {
    /// A scan at the beginning of a stream.
    #[must_use]
    pub fn scan(self) -> SentinelScan {
        let mut fallback = [0; 32];
        let mut prefix = 0;
        for i in 1..self.0.len() {
            while prefix > 0 && self.0[i] != self.0[prefix] {
                prefix = fallback[prefix - 1];
            }
            prefix += usize::from(self.0[i] == self.0[prefix]);
            fallback[i] = prefix;
        }
        SentinelScan { sentinel: self, fallback, matched: 0, seen: 0 }
    }

    /// Lower-case hexadecimal, for a command line or an echo.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Shows nothing: who reads a log must not be able to forge a beginning.
impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sentinel(..)")
    }
}

impl SentinelScan {
    /// Bytes that have to come at least: who reads no more at once reads nothing of what follows.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.sentinel.0.len() - self.matched
    }

    /// Takes the next bytes. Returns how many of them lead up to and include the sentinel's end;
    /// the stream begins behind them. `None` when it has not come yet.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<usize>, SentinelError> {
        let sentinel = self.sentinel.0;
        for (i, &byte) in input.iter().enumerate() {
            while self.matched > 0 && sentinel[self.matched] != byte {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(sentinel[self.matched] == byte);
            self.seen += 1;
            if self.matched == sentinel.len() {
                self.matched = 0;
                return Ok(Some(i + 1));
            }
            if self.seen - self.matched > limits::NOISE_BYTES_MAX {
                return Err(SentinelError);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(sentinel: Sentinel, bytes: &[u8], step: usize) -> Result<Option<usize>, SentinelError> {
        let mut scan = sentinel.scan();
        for (i, chunk) in bytes.chunks(step).enumerate() {
            if let Some(end) = scan.feed(chunk)? {
                return Ok(Some(i * step + end));
            }
        }
        Ok(None)
    }

    proptest! {
        /// Few letters make near-misses and overlaps with itself the rule.
        ///
        /// Rows: B-W10.
        #[test]
        fn it_is_found_where_a_slow_search_finds_it(
            mark in prop::collection::vec(0_u8..2, 32),
            noise in prop::collection::vec(0_u8..2, 0..300),
            copies in prop::collection::vec((0_usize..300, 1_usize..=32), 0..6),
            step in 1_usize..70,
        ) {
            let mut bytes = noise;
            for (at, length) in copies {
                let at = at.min(bytes.len());
                bytes.splice(at..at, mark[..length].iter().copied());
            }
            bytes.extend_from_slice(&mark);
            bytes.extend_from_slice(&mark);
            let expected = bytes.windows(32).position(|w| w == mark).map(|start| start + 32);
            let sentinel = Sentinel(mark.try_into().unwrap());
            prop_assert_eq!(find(sentinel, &bytes, step), Ok(expected));
        }
    }

    /// Rows: B-W10.
    #[test]
    fn noise_up_to_the_limit_is_borne_and_not_a_byte_more() {
        let sentinel = Sentinel(std::array::from_fn(|i| u8::try_from(i).unwrap() + 100));
        for step in [1, 7, 4096, 1 << 20] {
            let mut bytes = vec![b'#'; limits::NOISE_BYTES_MAX];
            bytes.extend_from_slice(&sentinel.0);
            assert_eq!(find(sentinel, &bytes, step), Ok(Some(bytes.len())));
            bytes.insert(0, b'#');
            assert_eq!(find(sentinel, &bytes, step), Err(SentinelError));
            assert_eq!(find(sentinel, &vec![100; 1 << 20], step), Err(SentinelError));
        }
    }

    #[test]
    fn a_log_does_not_show_it() {
        assert_eq!(format!("{:?}", Sentinel([1; 32])), "Sentinel(..)");
        assert!(!format!("{:?}", Sentinel([250; 32]).scan()).contains("250"));
        assert_eq!(Sentinel([0xa5; 32]).to_hex(), "a5".repeat(32));
    }
}
