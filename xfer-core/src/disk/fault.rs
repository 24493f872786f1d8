//! From the system's error numbers to kinds of failure.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

/// The failure that an error number means.
#[must_use]
pub fn kind_of(errno: Errno) -> FaultKind {
    match errno {
        Errno::ACCESS | Errno::PERM => FaultKind::Permission,
        Errno::DQUOT => FaultKind::Quota,
        // Busy is a mount point: what lies there cannot be replaced by us, however long we wait.
        Errno::BUSY | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY => {
            FaultKind::Conflict
        }
        Errno::FBIG => FaultKind::FileTooLarge,
        Errno::LOOP | Errno::XDEV => FaultKind::Unsafe,
        Errno::NAMETOOLONG | Errno::ILSEQ => FaultKind::NameTooLong,
        Errno::NOENT | Errno::STALE => FaultKind::NotFound,
        Errno::NOSPC => FaultKind::NoSpace,
        Errno::MLINK | Errno::NOSYS | Errno::OPNOTSUPP => FaultKind::Unsupported,
        Errno::ROFS => FaultKind::ReadOnly,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::TOOBIG => FaultKind::Limit,
        Errno::WOULDBLOCK | Errno::TXTBSY => FaultKind::Busy,
        _ => FaultKind::Io,
    }
}

/// A failure at one entry.
#[must_use]
pub fn fault(errno: Errno, during: Operation, path: &RelPath) -> Fault {
    Fault::new(kind_of(errno), during, path.clone()).with_errno(errno.raw_os_error())
}

/// The same for a failure of writing below `directory`: the system says of a file system without
/// free inodes too that no space is left.
#[must_use]
pub fn write_fault(
    errno: Errno,
    during: Operation,
    path: &RelPath,
    directory: BorrowedFd<'_>,
) -> Fault {
    let mut fault = fault(errno, during, path);
    if fault.kind == FaultKind::NoSpace && super::space::inodes_are_used_up(directory) {
        fault.kind = FaultKind::NoInodes;
    }
    fault
}
