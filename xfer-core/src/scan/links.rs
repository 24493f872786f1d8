//! Where a symbolic link leads, as long as it leads nowhere outside the root.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::path::RelPath;

use super::{level, stat};
use crate::disk::confine::{self, Confinement};
use crate::disk::fault::fault;

/// Links on the way to one target: the system's own limit.
const LINKS_MAX: usize = 40;

/// The entry to which a link leads in the end.
pub(super) struct Target {
    /// The directory that holds it.
    pub(super) parent: OwnedFd,
    /// Its name there; `.` for the root.
    pub(super) name: CString,
    pub(super) stat: Stat,
    /// Its path without any link.
    pub(super) real: RelPath,
}

/// Why a link is not followed.
pub(super) enum Refused {
    Leaves,
    System(Errno),
}

impl Refused {
    pub(super) fn at(self, path: RelPath) -> Fault {
        match self {
            Self::Leaves => Fault::new(FaultKind::Unsafe, Operation::Stat, path),
            Self::System(errno) => fault(errno, Operation::Stat, &path),
        }
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// Finds the target of the link `name` in the directory whose real path is `directory`.
///
/// Each component is looked at before it is entered, and `..` is resolved on the real path, so the
/// way never leaves the root; a link with an absolute content always does.
pub(super) fn resolve(
    root: BorrowedFd<'_>,
    directory: &RelPath,
    name: &CStr,
) -> Result<Target, Refused> {
    let mut real: Vec<Vec<u8>> = directory.components().map(<[u8]>::to_vec).collect();
    // What is still to be walked, the next component last.
    let mut todo: Vec<Vec<u8>> = vec![name.to_bytes().to_vec()];
    let mut links = 0;
    let mut here = confine::open_directory(root, directory, Confinement::default())?;
    let mut found: Option<(OwnedFd, CString, Stat)> = None;
    while let Some(component) = todo.pop() {
        match component.as_slice() {
            b"" | b"." => {}
            b".." => {
                if found.as_ref().is_some_and(|(_, _, stat)| !stat::is_directory(stat)) {
                    return Err(Errno::NOTDIR.into());
                }
                real.pop().ok_or(Refused::Leaves)?;
                here = confine::open_directory(root, &joined(&real)?, Confinement::default())?;
                found = None;
            }
            name => {
                if let Some((parent, name, _)) = found.take() {
                    here = level::open(parent.as_fd(), &name, level::Opening::Pass)?;
                }
                let c_name = super::c_string(name);
                let stat = rustix::fs::statat(&here, &c_name, AtFlags::SYMLINK_NOFOLLOW)?;
                if stat::is_symlink(&stat) {
                    links += 1;
                    let content = stat::read_link(here.as_fd(), &c_name)?;
                    if links > LINKS_MAX || content.len() > limits::SYMLINK_BYTES_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    if content.first() == Some(&b'/') {
                        return Err(Refused::Leaves);
                    }
                    todo.extend(content.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
                } else {
                    real.push(name.to_vec());
                    found = Some((here.try_clone().map_err(|_| Errno::MFILE)?, c_name, stat));
                }
            }
        }
    }
    let real_path = joined(&real)?;
    match found {
        Some((parent, name, stat)) => Ok(Target { parent, name, stat, real: real_path }),
        // The way ended with `..`: the target is the directory that it reached.
        None => {
            let stat = rustix::fs::fstat(&here)?;
            Ok(Target { parent: here, name: c".".to_owned(), stat, real: real_path })
        }
    }
}

fn joined(components: &[Vec<u8>]) -> Result<RelPath, Refused> {
    RelPath::new(components.join(&b'/')).map_err(|_| Errno::NAMETOOLONG.into())
}
