//! Extended attributes that are carried with an entry.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use xfer_protocol::limits;
use xfer_protocol::manifest::{Xattr, is_access_list};

use super::confine::HANDLE;

/// The attributes of an entry, sorted by name. The inode is held by a descriptor that opens
/// nothing, so that a device or a FIFO is safe, and is named through `/proc`.
///
/// # Errors
/// `TOOBIG` when names and values are more than [`limits::XATTR_BYTES_MAX`].
pub fn read(parent: BorrowedFd<'_>, name: &CStr) -> Result<Vec<Xattr>, Errno> {
    let flags = HANDLE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let place = own_name(held.as_fd());
    let privileged = rustix::process::geteuid().is_root();
    let listed = list(Holder::Handle(held.as_fd()))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut value = vec![0; limits::XATTR_BYTES_MAX];
    for name in listed.split(|&b| b == 0).filter(|name| is_carried(name, privileged)) {
        let length = match rustix::fs::getxattr(&place, c_string(name), &mut value[..]) {
            Ok(length) => length,
            // Removed since it was listed.
            Err(Errno::NODATA) => continue,
            Err(Errno::RANGE) => return Err(Errno::TOOBIG),
            Err(errno) => return Err(errno),
        };
        bytes += name.len() + length;
        if bytes > limits::XATTR_BYTES_MAX {
            return Err(Errno::TOOBIG);
        }
        found.push(Xattr { name: name.to_vec(), value: value[..length].to_vec() });
    }
    found.sort_unstable();
    Ok(found)
}

/// An inode whose attributes are changed.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// A descriptor that opens nothing, named through `/proc`.
    Handle(BorrowedFd<'a>),
    /// An open file or directory.
    Open(BorrowedFd<'a>),
}

/// Which attributes of an entry become exactly those that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactly {
    /// None: what is there and not set stays.
    Nothing,
    /// Access control lists.
    AccessLists,
    /// All that are carried.
    All,
}

impl Exactly {
    fn holds(self, name: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::AccessLists => is_access_list(name),
            Self::All => true,
        }
    }
}

/// Sets attributes; those of `exactly` that are carried and not among them are removed. What may
/// not be carried is left out. Whether there was anything to do comes back.
///
/// # Errors
/// `ACCESS` where the mode does not let us write; `OPNOTSUPP` where the file system keeps none of
/// that kind.
pub fn set(
    holder: Holder<'_>,
    wanted: &[Xattr],
    privileged: bool,
    exactly: Exactly,
) -> Result<bool, Errno> {
    let mut changed = false;
    if exactly != Exactly::Nothing {
        let listed = list(holder)?;
        let superfluous = |name: &&[u8]| {
            exactly.holds(name)
                && is_carried(name, privileged)
                && wanted.iter().all(|x| x.name != *name)
        };
        for name in listed.split(|&b| b == 0).filter(superfluous) {
            let removed = match holder {
                Holder::Handle(held) => rustix::fs::removexattr(own_name(held), name),
                Holder::Open(file) => rustix::fs::fremovexattr(file, name),
            };
            match removed {
                Ok(()) | Err(Errno::NODATA) => changed = true,
                Err(errno) => return Err(errno),
            }
        }
    }
    for Xattr { name, value } in wanted.iter().filter(|x| is_carried(&x.name, privileged)) {
        let (name, flags) = (name.as_slice(), XattrFlags::empty());
        let set = match holder {
            Holder::Handle(held) => rustix::fs::setxattr(own_name(held), name, value, flags),
            Holder::Open(file) => rustix::fs::fsetxattr(file, name, value, flags),
        };
        // Room for attributes is bounded on its own; where it ends, the disk is not full.
        set.map_err(|errno| if errno == Errno::NOSPC { Errno::OPNOTSUPP } else { errno })?;
        changed = true;
    }
    Ok(changed)
}

/// The names of an inode's attributes, each ended by NUL.
fn list(holder: Holder<'_>) -> Result<Vec<u8>, Errno> {
    let mut listed = vec![0; limits::XATTR_BYTES_MAX];
    let length = match holder {
        Holder::Handle(held) => rustix::fs::listxattr(own_name(held), &mut listed[..]),
        Holder::Open(file) => rustix::fs::flistxattr(file, &mut listed[..]),
    };
    match length {
        Ok(length) => listed.truncate(length),
        Err(Errno::OPNOTSUPP) => listed.clear(),
        Err(Errno::RANGE) => return Err(Errno::TOOBIG),
        Err(errno) => return Err(errno),
    }
    Ok(listed)
}

/// The name that a descriptor has for this process.
fn own_name(held: BorrowedFd<'_>) -> CString {
    c_string(format!("/proc/self/fd/{}", held.as_raw_fd()).as_bytes())
}

/// Whether an attribute belongs to the data, and can be set again: labels of a security module
/// belong to the machine.
fn is_carried(name: &[u8], privileged: bool) -> bool {
    name.starts_with(b"user.")
        || is_access_list(name)
        || privileged && (name.starts_with(b"trusted.") || name == b"security.capability")
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("names are cut at each NUL")
}
