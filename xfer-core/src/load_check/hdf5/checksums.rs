//! The two checksums of HDF5.

/// Bob Jenkins' lookup3 of 2006, which metadata bears.
pub(super) fn lookup3(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let first = 0xdead_beef_u32.wrapping_add(length);
    let mut words = [first; 3];
    let mut rest = bytes;
    while rest.len() > 12 {
        let (now, later) = rest.split_at(12);
        add(&mut words, now);
        mix(&mut words);
        rest = later;
    }
    if rest.is_empty() {
        return words[2];
    }
    add(&mut words, rest);
    let [mut a, mut b, mut c] = words;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// Adds up to 12 bytes, as if zeros followed them.
fn add(words: &mut [u32; 3], bytes: &[u8]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
        let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        *word = word.wrapping_add(value);
    }
}

fn mix(words: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *words;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    *words = [a, b, c];
}

/// Fletcher's sum of words of 16 bits, which pieces of data may bear, under way.
#[derive(Default)]
pub(super) struct Fletcher32 {
    sums: (u64, u64),
    odd: Option<u8>,
}

impl Fletcher32 {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let Some((first, behind)) = bytes.split_first() else { return };
        let rest = match self.odd.take() {
            Some(high) => {
                self.add(high, *first);
                behind
            }
            None => bytes,
        };
        let mut pairs = rest.chunks_exact(2);
        for pair in &mut pairs {
            self.add(pair[0], pair[1]);
        }
        self.odd = pairs.remainder().first().copied();
    }

    fn add(&mut self, high: u8, low: u8) {
        self.sums.0 = (self.sums.0 + u64::from(u16::from_be_bytes([high, low]))) % 0xffff;
        self.sums.1 = (self.sums.1 + self.sums.0) % 0xffff;
    }

    /// The sums, each of which has two names for nothing: 0 and 65,535.
    pub(super) fn is(mut self, told: u32) -> bool {
        if let Some(high) = self.odd.take() {
            self.add(high, 0);
        }
        let told = (u64::from(told & 0xffff), u64::from(told >> 16));
        self.sums == (told.0 % 0xffff, told.1 % 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the author of the function gives.
    #[test]
    fn lookup3_is_as_published() {
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }

    #[test]
    fn fletcher32_does_not_depend_on_the_pieces() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_001).collect();
        for cut in [0, 1, 2, 500, 1_001] {
            let mut sum = Fletcher32::default();
            sum.update(&bytes[..cut]);
            sum.update(&bytes[cut..]);
            let whole = reference(&bytes);
            assert!(sum.is(whole), "{cut}");
        }
    }

    fn reference(bytes: &[u8]) -> u32 {
        let (mut low, mut high) = (0_u32, 0_u32);
        for pair in bytes.chunks(2) {
            let word = u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            low = (low + word) % 65_535;
            high = (high + low) % 65_535;
        }
        high << 16 | low
    }
}
