//! What fuzzing runs: takes any bytes and panics when something is wrong.

use std::cell::Cell;
use std::io;

use super::samples;
use super::{LoadCheck, ReadAt, check};

/// Bytes that may be read of a file whatever stands in it: so many times its size, and these
/// beside.
const READ_TIMES: u64 = 64;
const READ_BESIDE: u64 = 32 << 20;

/// Files of every kind, bent as the bytes choose, and the bytes themselves under every name: none
/// panics, and none costs more than its size allows.
pub fn load_checks(bytes: &[u8]) {
    let (choice, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let samples = samples::all();
    let (name, sample) = &samples[usize::from(*choice) % samples.len()];
    counted(name, rest);
    counted(name, &bent(sample, rest));
}

/// A file changed by groups of four bytes: where, and what instead.
fn bent(sample: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut file = sample.to_vec();
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (file.len() + 1);
        match (change[2] % 4, file.get_mut(at)) {
            (0 | 1, Some(byte)) => *byte = change[3],
            (2, Some(byte)) => *byte ^= 1 << (change[3] % 8),
            (3, _) if change[3] < 64 => file.truncate(at),
            _ => file.insert(at, change[3]),
        }
    }
    file
}

pub(super) fn counted(name: &str, bytes: &[u8]) -> LoadCheck {
    let file = Counted { bytes, read: Cell::new(0) };
    let found = check(name.as_bytes(), &file).expect("memory is read without errors");
    let most = READ_TIMES * file.size() + READ_BESIDE;
    assert!(file.read.get() <= most, "{name}: {} bytes were read", file.read.get());
    found
}

/// A file in memory that counts what is read of it.
struct Counted<'a> {
    bytes: &'a [u8],
    read: Cell<u64>,
}

impl ReadAt for Counted<'_> {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read_at(offset, buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
