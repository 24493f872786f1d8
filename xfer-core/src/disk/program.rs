//! Program files: known by their digest, and read whole to be placed elsewhere.

use std::fs::File;
use std::io::{self, Read, Take};
use std::path::Path;

use ring::digest::{Context, Digest, SHA256, digest};

/// Bytes of the largest program that is read.
const PROGRAM_BYTES_MAX: u64 = 256 << 20;

/// Bytes that are hashed at a time.
const PIECE: usize = 256 << 10;

/// A program as other machines' tools know it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) length: usize,
    /// Of all its bytes, in hexadecimal.
    pub(crate) sha256: String,
}

/// Reads a program to know it, and keeps nothing of it.
pub(crate) fn identify(path: &Path) -> io::Result<Program> {
    let mut file = open(path)?;
    let mut context = Context::new(&SHA256);
    let (mut piece, mut length) = (vec![0; PIECE], 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                context.update(&piece[..read]);
                length += read;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Program { length, sha256: hexadecimal(&context.finish()) })
}

/// Reads a program whole.
///
/// # Errors
/// `InvalidData` where it is another one by now.
pub(crate) fn read(path: &Path, known: &Program) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(known.length);
    open(path)?.read_to_end(&mut bytes)?;
    if hexadecimal(&digest(&SHA256, &bytes)) != known.sha256 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed just now"));
    }
    Ok(bytes)
}

fn open(path: &Path) -> io::Result<Take<File>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > PROGRAM_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(file.take(PROGRAM_BYTES_MAX))
}

fn hexadecimal(digest: &Digest) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
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
    fn a_program_is_what_it_was_known_as() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let content = [7; PIECE + 1];
        std::fs::write(&path, content).unwrap();
        let known = identify(&path).unwrap();
        assert_eq!(known.sha256, hexadecimal(&digest(&SHA256, &content)));
        assert_eq!(known.length, content.len());
        assert_eq!(read(&path, &known).unwrap(), content);
        std::fs::write(&path, [8; PIECE + 1]).unwrap();
        assert_eq!(read(&path, &known).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_is_no_program_is_not_static() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01", &[0x7f; 64]] {
            assert!(!asks_for_no_interpreter(bytes).unwrap_or(false));
        }
    }
}
