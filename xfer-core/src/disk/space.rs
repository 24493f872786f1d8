//! Free space of a file system.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use xfer_protocol::message::Space;

/// What may still be written below a directory, less a reserve in bytes that must stay free.
pub fn free(directory: BorrowedFd<'_>, reserve: u64) -> Result<Space, Errno> {
    let found = rustix::fs::fstatvfs(directory)?;
    let bytes = found.f_bavail.saturating_mul(found.f_frsize);
    Ok(Space {
        bytes_free: bytes.saturating_sub(reserve),
        inodes_free: (found.f_files > 0).then_some(found.f_favail),
        volatile: is_volatile(directory),
    })
}

/// Whether the file system of a directory counts inodes and has none left.
pub fn inodes_are_used_up(directory: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatvfs(directory).is_ok_and(|found| found.f_files > 0 && found.f_favail == 0)
}

/// The kind of a file system, as far as durability depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Overlays another: syncing is passed on, but its errors are not told by `syncfs`.
    Overlay,
    /// Lives in memory.
    Memory,
    /// On a local disk, known to tell of failed writes by `syncfs`.
    Disk,
    /// On another machine.
    Network,
    /// Anything else.
    Other,
}

/// The kind of the file system below a directory or file.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn file_system(file: impl AsFd) -> FileSystem {
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const CIFS: u64 = 0xff53_4d42;
    const NFS: u64 = 0x6969;
    const OVERLAY: u64 = 0x794c_7630;
    const RAMFS: u64 = 0x8584_58f6;
    const SMB2: u64 = 0xfe53_4d42;
    const TMPFS: u64 = 0x0102_1994;
    const XFS: u64 = 0x5846_5342;
    match number(file) {
        BTRFS | EXT | F2FS | XFS => FileSystem::Disk,
        CIFS | NFS | SMB2 => FileSystem::Network,
        OVERLAY => FileSystem::Overlay,
        RAMFS | TMPFS => FileSystem::Memory,
        _ => FileSystem::Other,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const EXT: u64 = 0xef53;

/// What the system calls a kind of file system; 0 where it does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn number(file: impl AsFd) -> u64 {
    let Ok(found) = rustix::fs::fstatfs(file) else { return 0 };
    // It is 32 bits wide, and sign-extended on some machines.
    u64::try_from(i128::from(found.f_type) & 0xffff_ffff).unwrap_or_default()
}

/// The kind of the file system below a directory or file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn file_system(_file: impl AsFd) -> FileSystem {
    FileSystem::Other
}

/// Whether files of a file system may share blocks, so that copying one costs no bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn may_share_blocks(file: impl AsFd) -> bool {
    number(&file) != EXT && file_system(file) != FileSystem::Memory
}

/// Whether files of a file system may share blocks, so that copying one costs no bytes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn may_share_blocks(_file: impl AsFd) -> bool {
    true
}

fn is_volatile(directory: BorrowedFd<'_>) -> bool {
    match file_system(directory) {
        FileSystem::Memory => true,
        FileSystem::Overlay => overlay_is_volatile(directory),
        FileSystem::Disk | FileSystem::Network | FileSystem::Other => false,
    }
}

/// An overlay says only in the table of mounts that it is volatile. Where that cannot be read, it
/// counts as one that is not: the platform's own disks are judged elsewhere.
fn overlay_is_volatile(directory: BorrowedFd<'_>) -> bool {
    let Ok(found) = rustix::fs::fstat(directory) else { return false };
    let (major, minor) = (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
    let device = format!("{major}:{minor}");
    let Ok(mounts) = std::fs::read("/proc/self/mountinfo") else { return false };
    mounts.split(|&b| b == b'\n').any(|line| {
        let mut fields = line.split(|&b| b == b' ');
        let of_device = fields.nth(2).is_some_and(|f| f == device.as_bytes());
        of_device
            && fields.next_back().is_some_and(|o| o.split(|&b| b == b',').any(|o| o == b"volatile"))
    })
}
