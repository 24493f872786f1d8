//! What the kernel tells in `/proc`, reached through directories that stay open: a process's number
//! may be another's by the next call, its directory never is.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

/// The magic number of the kernel's own `/proc`.
const PROC: u64 = 0x9fa0;

/// Bytes that are read at a time; the kernel tells whole lines in less.
const READ_BYTES: usize = 64 * 1024;

/// Opens `/proc`, if it is the kernel's.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open("/proc", flags, Mode::empty())?;
    match magic(&opened)? {
        PROC => Ok(opened),
        _ => Err(Errno::NOSYS),
    }
}

/// The number that tells kinds of file systems apart.
pub(crate) fn magic(file: impl AsFd) -> Result<u64, Errno> {
    let found = rustix::fs::fstatfs(file)?;
    // The kind is 32 bits wide, and sign-extended on some machines.
    Ok(u64::try_from(i128::from(found.f_type) & 0xffff_ffff).unwrap_or_default())
}

/// The same of what a name leads to.
pub(crate) fn magic_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<u64, Errno> {
    magic(rustix::fs::openat(directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a directory there for what lies in it.
pub(crate) fn open_directory(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Reads a whole file there.
///
/// # Errors
/// `TOOBIG` where it is longer than `limit` bytes.
pub(crate) fn read(directory: BorrowedFd<'_>, name: &[u8], limit: usize) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; READ_BYTES.min(limit.saturating_add(1))]);
    loop {
        match rustix::io::read(&file, &mut buffer[..]) {
            Ok(0) => return Ok(bytes),
            Ok(count) if bytes.len() + count > limit => return Err(Errno::TOOBIG),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Where a link there leads, as the kernel words it.
pub(crate) fn link(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(directory, name, Vec::new()).map(CString::into_bytes)
}

/// The names in a directory there that are numbers.
pub(crate) fn numbers(directory: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = std::str::from_utf8(entry.file_name().to_bytes());
        found.extend(name.ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(found)
}

/// Clock ticks in a second, in which the kernel tells when processes started.
#[must_use]
pub(crate) fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Whether this process is the superuser.
#[must_use]
pub(crate) fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}
