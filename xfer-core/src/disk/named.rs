//! Files and directories that a user names.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::Errno;

/// Opens a file for lines, emptied first unless `append`; made with mode 0644 where it is missing.
///
/// Opening never waits: a FIFO that nobody reads is an error. Writing may wait.
///
/// # Errors
/// What the system says.
pub fn open_output(path: &Path, append: bool) -> Result<OwnedFd, Errno> {
    open_to_write(path, if append { OFlags::APPEND } else { OFlags::TRUNC }, 0o644)
}

/// The same for what is nobody else's: a file that it makes is its owner's alone.
///
/// # Errors
/// What the system says.
pub fn open_private_output(path: &Path) -> Result<OwnedFd, Errno> {
    open_to_write(path, OFlags::TRUNC, 0o600)
}

fn open_to_write(path: &Path, kind: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY | kind;
    let file = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::from_raw_mode(mode))?;
    let status = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, status.difference(OFlags::NONBLOCK))?;
    Ok(file)
}

/// Opens the terminal that controls this process, whatever its standard streams are.
///
/// # Errors
/// What the system says; there may be none.
pub fn open_terminal() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open("/dev/tty", flags, Mode::empty())
}

/// Whether a directory stands at a path, links followed.
#[must_use]
pub fn is_directory(path: &Path) -> bool {
    kind(path) == Some(FileType::Directory)
}

/// Whether a regular file stands at a path, links followed.
#[must_use]
pub fn is_file(path: &Path) -> bool {
    kind(path) == Some(FileType::RegularFile)
}

fn kind(path: &Path) -> Option<FileType> {
    rustix::fs::stat(path).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_without_a_reader_is_an_error_and_no_wait() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
        assert_eq!(open_output(&fifo, false).unwrap_err(), Errno::NXIO);
        assert!(!is_file(&fifo) && !is_directory(&fifo) && is_directory(directory.path()));
    }

    #[test]
    fn output_is_emptied_or_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for (append, length) in [(false, 2), (true, 4), (false, 2)] {
            let file = open_output(&path, append).unwrap();
            rustix::io::write(&file, b"ab").unwrap();
            assert_eq!(rustix::fs::stat(&path).unwrap().st_size, length);
        }
    }
}
