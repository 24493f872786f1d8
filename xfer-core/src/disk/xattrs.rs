//! Extended attributes that are carried with an entry.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xfer_protocol::limits;
use xfer_protocol::manifest::Xattr;

use super::confine::HANDLE;

/// The attributes of an entry, sorted by name. The inode is held by a descriptor that opens
/// nothing, so that a device or a FIFO is safe, and is named through `/proc`.
///
/// # Errors
/// `TOOBIG` when names and values are more than [`limits::XATTR_BYTES_MAX`].
pub fn read(parent: BorrowedFd<'_>, name: &CStr) -> Result<Vec<Xattr>, Errno> {
    let flags = HANDLE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let place = c_string(format!("/proc/self/fd/{}", held.as_raw_fd()).as_bytes());
    let mut listed = vec![0; limits::XATTR_BYTES_MAX];
    let length = match rustix::fs::listxattr(&place, &mut listed[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => return Err(Errno::TOOBIG),
        Err(errno) => return Err(errno),
    };
    listed.truncate(length);
    let privileged = rustix::process::geteuid().is_root();
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

/// Whether an attribute belongs to the data, and can be set again: labels of a security module
/// belong to the machine.
fn is_carried(name: &[u8], privileged: bool) -> bool {
    name.starts_with(b"user.")
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
        || privileged && (name.starts_with(b"trusted.") || name == b"security.capability")
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("names are cut at each NUL")
}
