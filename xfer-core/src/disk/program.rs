//! Program files: read whole to be placed elsewhere.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of the largest program that is read.
const PROGRAM_BYTES_MAX: u64 = 256 << 20;

/// A program's bytes and the digest that other machines' tools know.
pub(crate) struct Program {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
}

/// Reads a program.
pub(crate) fn read(path: &Path) -> io::Result<Program> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > PROGRAM_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(PROGRAM_BYTES_MAX).read_to_end(&mut bytes)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let sha256 = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Program { bytes, sha256 })
}

/// Whether a program is an ELF file that asks for no interpreter: it runs wherever its kernel does.
pub(crate) fn is_static(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|f| f.take(4096).read_to_end(&mut head));
    read.is_ok() && asks_for_no_interpreter(&head).unwrap_or(false)
}

/// Reads the program headers of a 64-bit little-endian ELF file.
fn asks_for_no_interpreter(head: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let table = usize::try_from(u64_at(32)?).ok()?;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    for index in 0..count {
        let at = table.checked_add(index.checked_mul(size)?)?;
        let kind = u32::from_le_bytes(head.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_not_static() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01", &[0x7f; 64]] {
            assert!(!asks_for_no_interpreter(bytes).unwrap_or(false));
        }
    }
}
