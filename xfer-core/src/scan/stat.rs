//! Entries from what the system says of an inode.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, Xattr};
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;

use crate::disk::fault::fault;
use crate::disk::stat;

/// Makes the entry `name` of an inode in `parent`, reading a link's content.
pub(super) fn entry(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    path: RelPath,
    options: &ScanOptions,
) -> Result<Entry, Fault> {
    let kind = match kind_without_content(stat) {
        Some(kind) => kind,
        None => EntryKind::Symlink { content: link_content(parent, name, &path)? },
    };
    let metadata = Metadata {
        mode: stat::permissions(stat),
        modified: stat::modified(stat),
        owner: options.owner.then(|| stat::owner(stat)),
        xattrs: Vec::new(),
    };
    Ok(Entry { path, kind, metadata, inode: stat::inode(stat) })
}

/// What an inode is; `None` for a symbolic link.
pub(super) fn kind_without_content(stat: &Stat) -> Option<EntryKind> {
    match stat::file_type(stat) {
        FileType::Symlink => None,
        FileType::Directory => Some(EntryKind::Directory),
        FileType::Fifo => Some(EntryKind::Fifo),
        FileType::Socket => Some(EntryKind::Socket),
        FileType::BlockDevice | FileType::CharacterDevice => {
            stat::device(stat).map(EntryKind::Device)
        }
        FileType::RegularFile | FileType::Unknown => {
            Some(EntryKind::File { size: stat::size(stat), allocated: stat::allocated(stat) })
        }
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    stat::file_type(stat) == FileType::Directory
}

pub(super) fn is_symlink(stat: &Stat) -> bool {
    stat::file_type(stat) == FileType::Symlink
}

fn link_content(parent: BorrowedFd<'_>, name: &CStr, path: &RelPath) -> Result<Vec<u8>, Fault> {
    let content = read_link(parent, name).map_err(|errno| match errno {
        // It was a link a moment ago.
        Errno::INVAL => Fault::new(FaultKind::Changed, Operation::Read, path.clone()),
        errno => fault(errno, Operation::Read, path),
    })?;
    if content.len() > limits::SYMLINK_BYTES_MAX {
        return Err(Fault::new(FaultKind::Limit, Operation::Read, path.clone()));
    }
    Ok(content)
}

/// The bytes that a symbolic link holds.
pub(super) fn read_link(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
}

/// The attributes of an entry, sorted by name. The inode is held by a descriptor that opens
/// nothing, so that a device or a FIFO is safe, and is named through `/proc`.
pub(super) fn xattrs(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &RelPath,
) -> Result<Vec<Xattr>, Fault> {
    let failed = |errno| fault(errno, Operation::Read, path);
    let name = if name.is_empty() { c"." } else { name };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed)?;
    let place =
        CString::new(format!("/proc/self/fd/{}", held.as_raw_fd())).expect("a number holds no NUL");
    let mut listed = vec![0; limits::XATTR_BYTES_MAX];
    let length = match rustix::fs::listxattr(&place, &mut listed[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(errno)),
    };
    listed.truncate(length);
    let privileged = rustix::process::geteuid().is_root();
    let mut found = Vec::new();
    let mut bytes = 0;
    for name in listed.split(|&b| b == 0).filter(|name| is_carried(name, privileged)) {
        let mut value = vec![0; limits::XATTR_BYTES_MAX];
        let c_name = super::c_string(name);
        let length = match rustix::fs::getxattr(&place, &c_name, &mut value[..]) {
            Ok(length) => length,
            // Removed since it was listed.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        value.truncate(length);
        bytes += name.len() + value.len();
        if bytes > limits::XATTR_BYTES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Read, path.clone()));
        }
        value.shrink_to_fit();
        found.push(Xattr { name: name.to_vec(), value });
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether an attribute belongs to the data, and can be set again: labels of a security module
/// belong to the machine.
fn is_carried(name: &[u8], privileged: bool) -> bool {
    name.starts_with(b"user.")
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
        || privileged && (name.starts_with(b"trusted.") || name == b"security.capability")
}
