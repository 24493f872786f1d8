//! Bytes of regular files at offsets.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{confine, stat};

/// Opens an entry for reading if it is a regular file; `None` if it is anything else by now.
///
/// Never waits and never follows a link, whatever was put in the file's place.
pub fn open_source(
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let flags = OFlags::RDONLY | confine::LEAF;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        // A link; a socket or a device without a driver.
        Err(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::NODEV) => return Ok(None),
        other => other?,
    };
    let found = rustix::fs::fstat(&file)?;
    let regular = stat::file_type(&found) == FileType::RegularFile;
    Ok(regular.then_some((file, found)))
}

/// Appends `length` bytes from `offset` on to `bytes`, fewer where the file ends before. The caller
/// has checked `length` against a limit.
pub fn read_at(
    file: impl AsFd,
    bytes: &mut Vec<u8>,
    offset: u64,
    length: usize,
) -> Result<usize, Errno> {
    let file = file.as_fd();
    bytes.reserve_exact(length);
    let start = bytes.len();
    while bytes.len() - start < length {
        let done = bytes.len() - start;
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        let space = &mut bytes.spare_capacity_mut()[..length - done];
        let count = match rustix::io::pread(file, space, at) {
            Ok((read, _)) => read.len(),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        if count == 0 {
            break;
        }
        // SAFETY: the call filled `count` bytes from the vector's end on, within its capacity.
        #[expect(unsafe_code, reason = "see above")]
        unsafe {
            bytes.set_len(start + done + count);
        }
    }
    Ok(bytes.len() - start)
}

/// Fills a buffer from `offset` on and returns how many bytes there were before the file's end.
pub fn read_into(file: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let file = file.as_fd();
    let mut done = 0;
    while done < buffer.len() {
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match rustix::io::pread(file, &mut buffer[done..], at) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// Writes all bytes at `offset`.
pub fn write_at(file: impl AsFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    let file = file.as_fd();
    let mut done = 0;
    while done < bytes.len() {
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match rustix::io::pwrite(file, &bytes[done..], at) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Has the system copy bytes from one file to another, without a pass through this process, or
/// share their blocks; returns how many, which is fewer where the first file ends before.
///
/// # Errors
/// Any error, also of a system that cannot do it; what is copied by then is not told.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn copy_between(
    from: impl AsFd,
    mut offset: u64,
    to: impl AsFd,
    mut at: u64,
    length: u64,
) -> Result<u64, Errno> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut done = 0;
    while done < length {
        let left = usize::try_from(length - done).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut offset), to, Some(&mut at), left) {
            Ok(0) => break,
            Ok(count) => done += u64::try_from(count).unwrap_or(u64::MAX),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn copy_between(
    _from: impl AsFd,
    _offset: u64,
    _to: impl AsFd,
    _at: u64,
    _length: u64,
) -> Result<u64, Errno> {
    Err(Errno::NOSYS)
}

/// Cuts or extends a file; what is added is a hole.
pub fn set_length(file: impl AsFd, length: u64) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::ftruncate(file.as_fd(), length))
}

/// Waits until a file's bytes and metadata are on the medium.
///
/// An error means that bytes may be lost even if a second call succeeds.
pub fn sync(file: impl AsFd) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::fsync(file.as_fd()))
}

/// Closes a file and tells what the system says: some file systems write as late as here.
pub fn close(file: OwnedFd) -> Result<(), Errno> {
    let file = file.into_raw_fd();
    // SAFETY: `into_raw_fd` gave up ownership, so this is the only close of the descriptor, and it
    // is not used again, whatever the result.
    #[expect(unsafe_code, reason = "see above")]
    let closed = unsafe { libc::close(file) };
    let error = std::io::Error::last_os_error();
    // Linux has closed an interrupted descriptor all the same.
    match Errno::from_io_error(&error) {
        Some(errno) if closed != 0 && errno != Errno::INTR => Err(errno),
        _ => Ok(()),
    }
}

/// Writes a file's pages back and drops them from the cache, so that the next read asks the medium.
/// Whether the pages really went is not known.
pub fn drop_cache(file: impl AsFd) -> Result<(), Errno> {
    let file = file.as_fd();
    rustix::io::retry_on_intr(|| sync_data(file))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn sync_data(file: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fdatasync(file)
}

#[cfg(target_vendor = "apple")]
fn sync_data(file: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fsync(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn reads_stop_at_the_end_and_at_the_length() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        write_at(&file, b"0123456789", 5).unwrap();
        let mut bytes = b"x".to_vec();
        assert_eq!(read_at(&file, &mut bytes, 4, 3).unwrap(), 3);
        assert_eq!(bytes, b"x\x0001");
        assert_eq!(read_at(&file, &mut bytes, 13, 100).unwrap(), 2);
        assert_eq!(bytes, b"x\x000189");
        assert_eq!(read_at(&file, &mut bytes, 15, 100).unwrap(), 0);
        let mut buffer = [7; 4];
        assert_eq!(read_into(&file, &mut buffer, 13).unwrap(), 2);
        assert_eq!(buffer, [b'8', b'9', 7, 7]);
    }

    #[test]
    fn what_is_no_regular_file_is_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let place: OwnedFd = std::fs::File::open(directory.path()).unwrap().into();
        std::fs::write(at("file"), b"x").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        symlink("file", at("link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        rustix::fs::mkfifoat(&place, "fifo", Mode::RWXU).unwrap();
        assert!(open_source(place.as_fd(), b"file").unwrap().is_some());
        for name in ["directory", "link", "socket", "fifo"] {
            assert!(open_source(place.as_fd(), name.as_bytes()).unwrap().is_none(), "{name}");
        }
        assert_eq!(open_source(place.as_fd(), b"none").unwrap_err(), Errno::NOENT);
    }
}
