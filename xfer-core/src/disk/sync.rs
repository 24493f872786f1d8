//! Making many files durable at once.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::metadata::raw_mode;
use super::space::{FileSystem, file_system};
use super::{confine, file, stat};

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

/// Writes back everything on all file systems of this machine, and waits for it where the system
/// does.
pub fn sync_machine() {
    rustix::fs::sync();
}

/// Makes the names in a directory durable, also in one of ours that we may not read.
pub fn sync_directory(place: BorrowedFd<'_>) -> Result<(), Errno> {
    match confine::open_for_reading(place) {
        Err(Errno::ACCESS) => sync_unreadable(place),
        opened => file::sync(opened?),
    }
}

/// Syncs a file or directory of ours whose mode keeps us from opening it: it is opened under a mode
/// that does not, which is taken back before the sync.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn sync_unreadable(handle: BorrowedFd<'_>) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;

    let mode = stat::permissions(&rustix::fs::fstat(handle)?);
    let own_name = format!("/proc/self/fd/{}", handle.as_raw_fd());
    // Without /proc it stays what it is: out of reach.
    let set =
        |mode| rustix::fs::chmod(own_name.as_str(), raw_mode(mode)).map_err(|_| Errno::ACCESS);
    set(mode | 0o400)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(own_name.as_str(), flags, Mode::empty());
    set(mode)?;
    file::sync(opened?)
}

/// Syncs a file or directory of ours whose mode keeps us from opening it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn sync_unreadable(_handle: BorrowedFd<'_>) -> Result<(), Errno> {
    Err(Errno::ACCESS)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_nobody_may_read_is_synced() {
        crate::disk::unprivileged::run(|directory| {
            let handle = confine::open_root(directory.as_os_str().as_encoded_bytes()).unwrap();
            rustix::fs::chmod(directory, raw_mode(0o333)).unwrap();
            sync_directory(handle.as_fd()).unwrap();
            let found = rustix::fs::fstat(&handle).unwrap();
            assert_eq!(stat::permissions(&found), 0o333);
        });
    }
}
