//! Reading past the page cache.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::space::{FileSystem, file_system};
use super::{file, stat};

/// What offsets, lengths and addresses of reads past the cache are multiples of.
const ALIGNMENT: usize = 4096;

/// A regular file whose bytes are read from the medium where the system can.
#[derive(Debug)]
pub struct DirectFile {
    file: OwnedFd,
    direct: bool,
}

/// A buffer whose bytes begin where reads past the cache want them.
#[derive(Debug, Default)]
pub struct AlignedBuffer(Vec<u8>);

impl DirectFile {
    /// Opens past the cache the entry `name`, which `opened` is open on. Reading so writes back
    /// what is dirty first; where it is not possible, the file is synced and its pages are dropped
    /// here.
    pub fn open(
        directory: BorrowedFd<'_>,
        name: &[u8],
        opened: BorrowedFd<'_>,
    ) -> Result<Self, Errno> {
        if file_system(opened) != FileSystem::Memory
            && let Some(direct) = open_direct(directory, name, opened)
        {
            return Ok(Self { file: direct, direct: true });
        }
        file::drop_cache(opened)?;
        let file = rustix::io::fcntl_dupfd_cloexec(opened, 0)?;
        Ok(Self { file, direct: false })
    }

    /// The same for a file without a name.
    pub(super) fn nameless(file: OwnedFd) -> Result<Self, Errno> {
        let direct = file_system(&file) != FileSystem::Memory && reads_direct(&file);
        if !direct {
            file::drop_cache(&file)?;
        }
        Ok(Self { file, direct })
    }

    /// Whether the bytes come from the medium for certain.
    #[must_use]
    pub fn is_past_cache(&self) -> bool {
        self.direct
    }

    /// Reads `length` bytes from `offset` on, fewer where the file ends before.
    pub fn read<'b>(
        &self,
        buffer: &'b mut AlignedBuffer,
        offset: u64,
        length: usize,
    ) -> Result<&'b [u8], Errno> {
        let skip = offset % 4096;
        let start = offset - skip;
        let skip = usize::try_from(skip).map_err(|_| Errno::INVAL)?;
        let space = buffer.space((skip + length).next_multiple_of(ALIGNMENT));
        let mut done = 0;
        while done < skip + length {
            let at = start + u64::try_from(done).map_err(|_| Errno::INVAL)?;
            let count = match rustix::io::pread(&self.file, &mut space[done..], at) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            done += count;
            // The end of the file; there a read past the cache may end anywhere.
            if count == 0 || (self.direct && !count.is_multiple_of(ALIGNMENT)) {
                break;
            }
        }
        let end = done.min(skip + length);
        Ok(space.get(skip..end).unwrap_or_default())
    }
}

impl AlignedBuffer {
    fn space(&mut self, length: usize) -> &mut [u8] {
        if self.0.len() < length + ALIGNMENT {
            self.0.resize(length + ALIGNMENT, 0);
        }
        let skip = self.0.as_ptr().align_offset(ALIGNMENT);
        &mut self.0[skip..skip + length]
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_direct(directory: BorrowedFd<'_>, name: &[u8], opened: BorrowedFd<'_>) -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECT | super::confine::LEAF;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    // Whatever else has the name by now, a device perhaps, is not read from.
    let identity = |file| rustix::fs::fstat(file).ok().map(|s| stat::identity(&s));
    identity(file.as_fd()).filter(|found| Some(*found) == identity(opened))?;
    // Some file systems open it and refuse to read.
    let mut probe = AlignedBuffer::default();
    rustix::io::pread(&file, probe.space(ALIGNMENT), 0).ok()?;
    Some(file)
}

/// Has reads of an open file go past the cache from now on; whether they do.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reads_direct(file: &OwnedFd) -> bool {
    use rustix::fs::OFlags;
    let Ok(flags) = rustix::fs::fcntl_getfl(file) else { return false };
    let mut trial = AlignedBuffer::default();
    let is_direct = rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).is_ok()
        && rustix::io::pread(file, trial.space(ALIGNMENT), 0).is_ok();
    if !is_direct {
        // Where even that fails, reading does too, and says so.
        let _left = rustix::fs::fcntl_setfl(file, flags);
    }
    is_direct
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reads_direct(_file: &OwnedFd) -> bool {
    false
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_direct(
    _directory: BorrowedFd<'_>,
    _name: &[u8],
    _opened: BorrowedFd<'_>,
) -> Option<OwnedFd> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_past_the_cache() {
        for parent in ["/tmp", "/dev/shm"] {
            let directory = tempfile::tempdir_in(parent).unwrap();
            let bytes: Vec<u8> = (0..=250).cycle().take(100_001).collect();
            let path = directory.path().join("file");
            std::fs::write(&path, &bytes).unwrap();
            let place = std::fs::File::open(directory.path()).unwrap();
            let opened = std::fs::File::open(&path).unwrap();
            let direct = DirectFile::open(place.as_fd(), b"file", opened.as_fd()).unwrap();
            assert_eq!(direct.is_past_cache(), parent == "/tmp");
            let mut buffer = AlignedBuffer::default();
            for (offset, length) in
                [(0, 100_001), (0, 1), (1, 4096), (4095, 8193), (65_536, 65_536), (100_001, 5)]
            {
                let end = bytes.len().min(offset + length);
                let read = direct.read(&mut buffer, offset as u64, length).unwrap();
                assert_eq!(read, &bytes[offset..end], "{offset} {length}");
            }
        }
    }
}
