//! What fuzzing runs: each function takes any bytes and panics when something is wrong.
//!
//! The fuzz targets call these, and the tests below run each over seeded bytes and the golden
//! vectors, so that they are exercised where no fuzzer is installed.

#![expect(clippy::unwrap_used, reason = "what is wrong ends by a panic")]

mod sessions;
mod trees;
mod wire;

pub use sessions::{receiver_session, sender_session};
pub use trees::tree;
pub use wire::{frame, hello, path, sentinel};

/// Takes numbers off the front of bytes; zeros when they have ended.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `end`, from one byte; for choices and small counts.
    fn below(&mut self, end: u64) -> u64 {
        u64::from(self.byte()) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: [&str; 3] = [
        include_str!("../../vectors/frames.txt"),
        include_str!("../../vectors/hellos.txt"),
        include_str!("../../vectors/refused.txt"),
    ];

    /// Random bytes of many lengths, the golden vectors, and those with a few bytes changed.
    fn corpus(count: usize) -> Vec<Vec<u8>> {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut step = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let vectors: Vec<Vec<u8>> = VECTORS
            .iter()
            .flat_map(|text| text.lines().filter(|line| !line.starts_with('#')))
            .map(|line| from_hex(line.rsplit(' ').next().unwrap()))
            .collect();
        let mut corpus = vec![Vec::new()];
        for i in 0..count {
            let length = usize::try_from(step() % 300).unwrap();
            corpus.push((0..length).map(|_| step().to_le_bytes()[3]).collect());
            let mut changed = vectors[i % vectors.len()].clone();
            for _ in 0..=step() % 3 {
                let at = usize::try_from(step() % (changed.len() as u64 + 1)).unwrap();
                let [byte, ..] = step().to_le_bytes();
                if at < changed.len() {
                    changed[at] = byte;
                } else {
                    changed.push(byte);
                }
            }
            corpus.push(changed);
        }
        corpus.extend(vectors);
        corpus
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    fn run(count: usize, body: fn(&[u8])) {
        corpus(count).iter().for_each(|bytes| body(bytes));
    }

    #[test]
    fn frames() {
        run(5000, frame);
    }

    #[test]
    fn hellos() {
        run(5000, hello);
    }

    #[test]
    fn sentinels() {
        run(2000, sentinel);
    }

    #[test]
    fn paths() {
        run(5000, path);
    }

    #[test]
    fn trees() {
        run(300, tree);
    }

    #[test]
    fn receivers() {
        run(300, receiver_session);
    }

    #[test]
    fn senders() {
        run(3000, sender_session);
    }
}
