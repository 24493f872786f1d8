//! Files of the user's own that are read whole or line by line: keys, configurations, lists of
//! hosts
//!
//! A name that a person typed may lead to a FIFO, a device or a directory. Opening never blocks,
//! and only regular files are read, up to a limit that the caller names.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use thiserror::Error;

/// A file read whole, with what decides whether it may be trusted
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFile {
    /// The content
    pub bytes: Vec<u8>,
    /// The permission bits, `0o7777` at most
    pub mode: u32,
    /// The owner's user id
    pub owner: u32,
}

/// Why a file could not be read
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct SettingsFileError {
    /// The file
    pub path: PathBuf,
    /// What is wrong with it
    pub reason: SettingsFileProblem,
}

impl SettingsFileError {
    /// Whether there simply is no such file
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.reason, SettingsFileProblem::Missing)
    }
}

/// What may be wrong with a file
#[derive(Debug, Error)]
pub enum SettingsFileProblem {
    /// There is no such file
    #[error("there is no such file")]
    Missing,
    /// It is a directory, a FIFO, a socket or a device
    #[error("not a regular file")]
    NotRegular,
    /// It is longer than the reader allows
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes
        limit: u64,
    },
    /// The operating system said no
    #[error("{0}")]
    Io(io::Error),
}

/// Reads a regular file of at most `limit` bytes; symbolic links are followed
pub fn read(path: &Path, limit: u64) -> Result<SettingsFile, SettingsFileError> {
    let at = |reason| SettingsFileError { path: path.to_owned(), reason };
    let file = open(path).map_err(at)?;
    let metadata = file.metadata().map_err(|error| at(SettingsFileProblem::Io(error)))?;
    let mut bytes = Vec::new();
    let count = file
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| at(SettingsFileProblem::Io(error)))?;
    if u64::try_from(count).is_ok_and(|count| count > limit) {
        return Err(at(SettingsFileProblem::TooLong { limit }));
    }
    Ok(SettingsFile { bytes, mode: metadata.mode() & 0o7777, owner: metadata.uid() })
}

/// Reads a regular file, or what is written to a pipe, until its end; symbolic links are followed
///
/// A FIFO to which nobody writes is refused as [`read`] refuses it: it might never end.
pub fn read_stream(path: &Path, limit: u64) -> Result<SettingsFile, SettingsFileError> {
    let at = |reason| SettingsFileError { path: path.to_owned(), reason };
    let (file, metadata) = open_any(path).map_err(at)?;
    if !metadata.file_type().is_fifo() {
        return read(path, limit);
    }
    let bytes = read_pipe(file, limit).map_err(at)?;
    Ok(SettingsFile { bytes, mode: metadata.mode() & 0o7777, owner: metadata.uid() })
}

fn read_pipe(mut file: File, limit: u64) -> Result<Vec<u8>, SettingsFileProblem> {
    let mut bytes = vec![0; 4096];
    match file.read(&mut bytes) {
        Ok(0) => {
            let mut polled = [PollFd::new(&file, PollFlags::IN)];
            let known = rustix::event::poll(&mut polled, Some(&Timespec::default()));
            let had_writer = known.is_ok() && polled[0].revents().contains(PollFlags::HUP);
            return if had_writer { Ok(Vec::new()) } else { Err(SettingsFileProblem::NotRegular) };
        }
        Ok(count) => bytes.truncate(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => bytes.clear(),
        Err(error) => return Err(SettingsFileProblem::Io(error)),
    }
    let flags = rustix::fs::fcntl_getfl(&file).map_err(io::Error::from);
    let flags = flags.map_err(SettingsFileProblem::Io)?.difference(OFlags::NONBLOCK);
    let waits = rustix::fs::fcntl_setfl(&file, flags).map_err(io::Error::from);
    waits.map_err(SettingsFileProblem::Io)?;
    let left = limit.saturating_add(1).saturating_sub(bytes.len() as u64);
    file.take(left).read_to_end(&mut bytes).map_err(SettingsFileProblem::Io)?;
    if bytes.len() as u64 > limit {
        return Err(SettingsFileProblem::TooLong { limit });
    }
    Ok(bytes)
}

/// Opens a regular file to be read in pieces; the caller bounds what it keeps
pub fn open_buffered(path: &Path) -> Result<BufReader<File>, SettingsFileError> {
    let file = open(path).map_err(|reason| SettingsFileError { path: path.to_owned(), reason })?;
    Ok(BufReader::with_capacity(64 << 10, file))
}

/// Adds one line, which must not contain a newline, to the end of a file
///
/// The file is made with mode 0600 and its directory with 0700 when they are missing. A last line
/// without a newline is ended first.
pub fn append_line(path: &Path, line: &str) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut text = String::with_capacity(line.len() + 2);
    if file.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    // One write: another process that appends at the same time must not cut into the line.
    file.write_all(text.as_bytes())
}

fn open(path: &Path) -> Result<File, SettingsFileProblem> {
    match open_any(path)? {
        (file, metadata) if metadata.is_file() => Ok(file),
        _ => Err(SettingsFileProblem::NotRegular),
    }
}

fn open_any(path: &Path) -> Result<(File, Metadata), SettingsFileProblem> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SettingsFileProblem::Missing,
            _ => SettingsFileProblem::Io(error),
        })?;
    let metadata = file.metadata().map_err(SettingsFileProblem::Io)?;
    Ok((file, metadata))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]

    use std::os::unix::fs::symlink;

    use super::*;

    /// A pipe is read to its end, and a FIFO without a writer is not waited for.
    #[test]
    fn what_is_written_to_a_pipe_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        let refused = read_stream(&fifo, 10).unwrap_err();
        assert!(matches!(refused.reason, SettingsFileProblem::NotRegular));
        for text in ["", "a", "0123456789", "01234567890"] {
            use std::os::fd::AsRawFd;
            let (reader, mut writer) = io::pipe().unwrap();
            let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
            let read = std::thread::scope(|scope| {
                let reading = scope.spawn(|| read_stream(&path, 10));
                writer.write_all(text.as_bytes()).unwrap();
                drop(writer);
                reading.join().unwrap()
            });
            match read {
                Ok(file) => assert_eq!(file.bytes, text.as_bytes()),
                Err(error) => assert!(text.len() > 10, "{text}: {error}"),
            }
        }
        std::fs::write(directory.path().join("plain"), "x").unwrap();
        assert_eq!(read_stream(&directory.path().join("plain"), 10).unwrap().bytes, b"x");
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"0123456789").unwrap();
        assert_eq!(read(&file, 10).unwrap().bytes, b"0123456789");
        assert!(matches!(
            read(&file, 9).unwrap_err().reason,
            SettingsFileProblem::TooLong { limit: 9 }
        ));

        let endless = directory.path().join("endless");
        symlink("/dev/zero", &endless).unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        for path in [directory.path(), &endless, &fifo] {
            let reason = read(path, 10).unwrap_err().reason;
            assert!(matches!(reason, SettingsFileProblem::NotRegular), "{}", path.display());
        }
        assert!(matches!(
            read(&directory.path().join("none"), 10).unwrap_err().reason,
            SettingsFileProblem::Missing
        ));
    }

    #[test]
    fn a_line_is_added_behind_an_unfinished_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/list");
        append_line(&path, "first").unwrap();
        assert_eq!(read(&path, 100).unwrap().mode, 0o600);
        std::fs::write(&path, "first").unwrap();
        append_line(&path, "second").unwrap();
        assert_eq!(read(&path, 100).unwrap().bytes, b"first\nsecond\n");
    }
}
