//! Paths as people type them: where they begin, what stands there, and the machine they are on.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::confine;

/// Where relative paths begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// The working directory of this process.
    #[default]
    WorkingDirectory,
    /// The user's home directory, as for paths on a machine that one logs in to.
    Home,
}

impl Base {
    /// A path as the system understands it; the empty path is the base itself.
    #[must_use]
    pub fn resolve(self, path: &[u8]) -> Vec<u8> {
        let mut resolved = match self {
            Self::Home if !path.starts_with(b"/") => home(),
            _ => Vec::new(),
        };
        if !resolved.is_empty() && !path.is_empty() {
            resolved.push(b'/');
        }
        resolved.extend_from_slice(path);
        if resolved.is_empty() { b".".to_vec() } else { resolved }
    }
}

/// What stands at a resolved path, the last link followed or not; `None` if nothing does.
pub fn look(path: &[u8], follow: bool) -> Result<Option<Stat>, Errno> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    match rustix::fs::statat(rustix::fs::CWD, path, flags) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory that a person named for listing it.
pub fn open_listing(path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// A directory that was opened and made where it was missing.
#[derive(Debug)]
pub struct MadeDirectory {
    /// The directory.
    pub place: OwnedFd,
    /// The directories that got a new name in them, which must be synced for it to last.
    pub parents: Vec<OwnedFd>,
}

/// Opens a directory that a person named, and makes it with its parents where it is missing.
pub fn open_or_make(path: &[u8]) -> Result<MadeDirectory, Errno> {
    match confine::open_root(path) {
        Ok(place) => return Ok(MadeDirectory { place, parents: Vec::new() }),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let mut place = confine::open_root(if path.starts_with(b"/") { b"/" } else { b"." })?;
    let mut parents = Vec::new();
    for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        let below = |name: &[u8]| {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | confine::HANDLE;
            rustix::fs::openat(&place, name, flags, Mode::empty())
        };
        let next = match below(name) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&place, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                let next = below(name)?;
                parents.push(std::mem::replace(&mut place, next));
                continue;
            }
            other => other?,
        };
        place = next;
    }
    Ok(MadeDirectory { place, parents })
}

/// The absolute path of an open directory, as far as the system tells; for records only.
#[must_use]
pub fn absolute_path(place: &OwnedFd, resolved: &[u8]) -> Vec<u8> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd;
        let own_name = format!("/proc/self/fd/{}", place.as_raw_fd());
        if let Ok(found) = rustix::fs::readlink(own_name.as_str(), Vec::new()) {
            return found.into_bytes();
        }
    }
    let _ = place.as_fd();
    let typed = std::path::Path::new(std::ffi::OsStr::from_bytes(resolved));
    match std::fs::canonicalize(typed) {
        Ok(found) => found.into_os_string().into_vec(),
        Err(_) => resolved.to_vec(),
    }
}

/// Identifies the machine, its boot and this process's view of the file systems: two processes with
/// one value find one file under one path.
#[must_use]
pub fn machine() -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(bytes);
    };
    add(&std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    let mounts = std::fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    add(mounts.as_os_str().as_bytes());
    add(rustix::system::uname().nodename().to_bytes());
    if let Ok(found) = rustix::fs::stat("/") {
        let (device, inode) = super::stat::identity(&found);
        add(&device.to_le_bytes());
        add(&inode.to_le_bytes());
    }
    let mut machine = [0; 16];
    machine.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    machine
}

fn home() -> Vec<u8> {
    match std::env::var_os("HOME") {
        Some(home) if home.as_bytes().starts_with(b"/") => home.into_vec(),
        _ => b"/".to_vec(),
    }
}
