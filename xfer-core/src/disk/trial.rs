//! A file without a name, to find out how fast a disk is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::direct::{AlignedBuffer, DirectFile};
use super::{file, partial, partial_name};

/// The file; it is gone when this is, or the process.
#[derive(Debug)]
pub struct TrialFile(OwnedFd);

/// The same once all is written.
#[derive(Debug)]
pub struct WrittenTrial {
    file: DirectFile,
    buffer: AlignedBuffer,
}

impl TrialFile {
    /// Makes one in a directory. Where the file system makes none without a name, it has that of a
    /// partial for a moment, made of `unique`.
    pub fn create(directory: BorrowedFd<'_>, unique: u64) -> Result<Self, Errno> {
        match without_name(directory) {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
            made => return made.map(Self),
        }
        let name = partial_name(format!("a trial of the disk {unique}").as_bytes());
        let made = partial::create(directory, &name, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
        Ok(Self(made))
    }

    /// Writes all bytes at `offset`.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        file::write_at(&self.0, bytes, offset)
    }

    /// Waits until what was written is on the medium.
    pub fn sync(&self) -> Result<(), Errno> {
        file::sync(&self.0)
    }

    /// Goes over to reading, past the cache where the system can.
    pub fn written(self) -> Result<WrittenTrial, Errno> {
        Ok(WrittenTrial { file: DirectFile::nameless(self.0)?, buffer: AlignedBuffer::default() })
    }
}

impl WrittenTrial {
    /// Reads and drops bytes from `offset` on, and tells how many there were.
    pub fn read(&mut self, offset: u64, length: usize) -> Result<usize, Errno> {
        self.file.read(&mut self.buffer, offset, length).map(<[u8]>::len)
    }

    /// Whether the bytes come from the medium for certain.
    #[must_use]
    pub fn is_past_cache(&self) -> bool {
        self.file.is_past_cache()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn without_name(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    use rustix::fs::OFlags;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(directory.as_fd(), c".", flags, Mode::RUSR | Mode::WUSR)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn without_name(_directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_of_it_and_its_bytes_are_there() {
        for parent in ["/tmp", "/dev/shm"] {
            let directory = tempfile::tempdir_in(parent).unwrap();
            let place = std::fs::File::open(directory.path()).unwrap();
            let trial = TrialFile::create(place.as_fd(), 1).unwrap();
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
            trial.write(&[7; 100_000], 0).unwrap();
            trial.sync().unwrap();
            let mut written = trial.written().unwrap();
            assert_eq!(written.read(0, 1 << 20), Ok(100_000));
            assert_eq!(written.read(100_000, 1 << 20), Ok(0));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_directory_that_may_not_be_written_says_so() {
        let place = std::fs::File::open("/proc").unwrap();
        assert!(TrialFile::create(place.as_fd(), 1).is_err());
    }
}
