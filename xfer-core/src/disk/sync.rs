//! Making many files durable at once.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::space::{FileSystem, file_system};
use super::{confine, file};

/// Whether `syncfs` on a directory tells of every failed write below it, so that it stands for a
/// sync of each file. The descriptor must have been open since before the writes.
#[must_use]
pub fn whole_is_trusted(directory: impl AsFd) -> bool {
    matches!(file_system(directory), FileSystem::Disk | FileSystem::Memory) && syncfs_tells()
}

/// Writes back everything below a directory's file system, and waits for it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn sync_whole(directory: impl AsFd) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::syncfs(&directory))
}

/// Writes back everything below a directory's file system, and waits for it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn sync_whole(_directory: impl AsFd) -> Result<(), Errno> {
    rustix::fs::sync();
    Ok(())
}

/// Makes the names in a directory durable.
pub fn sync_directory(place: BorrowedFd<'_>) -> Result<(), Errno> {
    file::sync(confine::open_for_reading(place)?)
}

/// `syncfs` reports errors since Linux 5.8.
fn syncfs_tells() -> bool {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return false;
    }
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 8),
        _ => false,
    }
}
