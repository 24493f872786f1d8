//! Reading the small files that a user names: configuration, patterns, lists, receipts.
//!
//! Nothing but a regular file is read, never past a limit, and never what anybody may write.

use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::problem::CliError;

/// Bytes of a configuration or pattern file: far beyond any that a person wrote.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of a list of paths or a receipt: some millions of entries.
pub(crate) const LIST_BYTES_MAX: usize = 1024 * 1024 * 1024;

const STEP: usize = 64 * 1024;

/// Reads a file; `None` when there is none.
pub(crate) fn read_optional(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, CliError> {
    // Without NONBLOCK, opening a FIFO would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(refuse(path, "config-unreadable", "it cannot be read").why(errno)),
    };
    let stat = rustix::fs::fstat(&file)
        .map_err(|errno| refuse(path, "config-unreadable", "it cannot be read").why(errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refuse(path, "config-unreadable", "it is not a regular file"));
    }
    if stat.st_mode & 0o002 != 0 {
        return Err(refuse(path, "config-exposed", "everybody may write it")
            .next(format!("chmod o-w {}", path.display())));
    }
    if u64::try_from(stat.st_size).unwrap_or(0) > limit as u64 {
        return Err(refuse(path, "config-too-large", "it is too large"));
    }
    drain(&file, path, limit).map(Some)
}

/// Reads a file that must be there; `-` is standard input.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    if path.as_os_str() == "-" {
        return drain(rustix::stdio::stdin(), path, limit);
    }
    read_optional(path, limit)?
        .ok_or_else(|| refuse(path, "config-missing", "there is no such file"))
}

fn drain(file: impl std::os::fd::AsFd, path: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; STEP];
    loop {
        match rustix::io::read(&file, &mut buffer[..]) {
            Ok(0) => return Ok(bytes),
            Ok(count) if bytes.len() + count > limit => {
                return Err(refuse(path, "config-too-large", "it is too large"));
            }
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(refuse(path, "config-unreadable", "it cannot be read").why(errno));
            }
        }
    }
}

fn refuse(path: &Path, reason: &'static str, why: &str) -> CliError {
    CliError::config(reason, format!("{}: {why}", path.display()))
}
