//! Frames of Zstandard, made by hand from RFC 8878: one byte, very often

/// Bytes of a block at most
const BLOCK: usize = 128 << 10;

/// A window of 2 MiB, as its descriptor has it
pub const WINDOW_2_MIB: u8 = 11 << 3;

/// The same of 2 GiB
pub const WINDOW_2_GIB: u8 = 21 << 3;

/// A frame that stands for so many bytes, each of them the same, and says that it needs this window
pub fn repeated(byte: u8, length: usize, window: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let mut left = length;
    while left > 0 {
        let now = left.min(BLOCK);
        left -= now;
        // A block's size, its kind (1: one byte repeated), and whether it is the last.
        let head = now << 3 | 1 << 1 | usize::from(left == 0);
        frame.extend(head.to_le_bytes().iter().take(3));
        frame.push(byte);
    }
    frame
}
