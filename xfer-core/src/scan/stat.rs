//! Entries from what the system says of an inode.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, Xattr};
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;

use crate::disk::fault::fault;
use crate::disk::{self, stat};

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

/// The attributes of an entry, sorted by name.
pub(super) fn xattrs(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &RelPath,
) -> Result<Vec<Xattr>, Fault> {
    let name = if name.is_empty() { c"." } else { name };
    disk::xattrs::read(parent, name).map_err(|errno| match errno {
        Errno::TOOBIG => Fault::new(FaultKind::Limit, Operation::Read, path.clone()),
        errno => fault(errno, Operation::Read, path),
    })
}
