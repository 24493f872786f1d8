//! The static program, which is the agent on any Linux of this processor

use std::path::{Path, PathBuf};

use crate::run::{Done, at, captured, cargo};

/// Builds it unless it is up to date, makes sure that it is static, and returns its path
pub(crate) fn build() -> Done<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--locked", "--release", "--workspace", "--bin", "xfer"]);
    let printed = captured(command.args(["--message-format", "json-render-diagnostics"]))?;
    let path = executable(&String::from_utf8_lossy(&printed)).ok_or("cargo names no executable")?;
    let content = at(&path, std::fs::read(&path))?;
    match needs(&content) {
        Some(needs) => Err(format!("{} is not static: it needs {needs}", path.display())),
        None => Ok(path),
    }
}

/// The path of the program among cargo's messages, which are one JSON object a line
fn executable(messages: &str) -> Option<PathBuf> {
    let key = "\"executable\":\"";
    let lines = messages.lines().filter(|line| line.contains("\"name\":\"xfer\""));
    let path = lines.filter_map(|line| line.split(key).nth(1)?.split('"').next()).next_back()?;
    Some(Path::new(&path.replace("\\\\", "\\")).to_path_buf())
}

const PROGRAM_DYNAMIC: u32 = 2;
const PROGRAM_INTERPRETER: u32 = 3;
const DYNAMIC_NEEDED: u64 = 1;

/// What a 64-bit little-endian ELF file needs on a machine to start there; `None` for nothing
pub(crate) fn needs(elf: &[u8]) -> Option<&'static str> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Some("to be a 64-bit little-endian ELF file");
    }
    let headers = (0..number(elf, 0x38, 2)?).filter_map(|index| {
        let header = number(elf, 0x20, 8)? + index * number(elf, 0x36, 2)?;
        let kind = u32::try_from(number(elf, header, 4)?).ok()?;
        Some((kind, number(elf, header + 8, 8)?, number(elf, header + 32, 8)?))
    });
    for (kind, offset, length) in headers {
        if kind == PROGRAM_INTERPRETER {
            return Some("a dynamic loader");
        }
        let mut tags = (offset..offset + length).step_by(16).map(|at| number(elf, at, 8));
        if kind == PROGRAM_DYNAMIC && tags.any(|tag| tag == Some(DYNAMIC_NEEDED)) {
            return Some("shared libraries");
        }
    }
    None
}

fn number(bytes: &[u8], offset: u64, length: usize) -> Option<u64> {
    let offset = usize::try_from(offset).ok()?;
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_here_is_static_and_a_system_program_is_not() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needs(&own), None);
        assert_eq!(needs(&std::fs::read("/bin/sh").unwrap()), Some("a dynamic loader"));
        assert!(needs(b"#!/bin/sh\n").is_some());
    }

    #[test]
    fn the_executable_is_found_among_messages() {
        let messages = "{\"target\":{\"name\":\"xfer\"},\"executable\":null}\n\
                        {\"target\":{\"name\":\"xfer\"},\"executable\":\"/t/release/xfer\"}\n\
                        {\"target\":{\"name\":\"other\"},\"executable\":\"/t/other\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/xfer")));
    }
}
