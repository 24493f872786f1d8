//! Paths as people type them: where they begin, what stands there, and the machine they are on.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::confine;
use super::space::{FileSystem, file_system};

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
    let start = confine::open_root(if path.starts_with(b"/") { b"/" } else { b"." })?;
    let names = path.split(|&b| b == b'/').filter(|name| !name.is_empty());
    MadeDirectory::below(start, names, |place, name| {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | confine::HANDLE;
        rustix::fs::openat(place, name, flags, Mode::empty())
    })
}

impl MadeDirectory {
    /// Opens each name in the directory before it, and makes those that are missing.
    pub(super) fn below<'a>(
        start: OwnedFd,
        names: impl Iterator<Item = &'a [u8]>,
        open: impl Fn(&OwnedFd, &[u8]) -> Result<OwnedFd, Errno>,
    ) -> Result<Self, Errno> {
        let mut made = Self { place: start, parents: Vec::new() };
        for name in names {
            match open(&made.place, name) {
                Err(Errno::NOENT) => {
                    let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
                    match rustix::fs::mkdirat(&made.place, name, all) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    let next = open(&made.place, name)?;
                    made.parents.push(std::mem::replace(&mut made.place, next));
                }
                next => made.place = next?,
            }
        }
        Ok(made)
    }
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
/// one value find one file under one path. The first half stays the same over boots, where the
/// machine has a name that does.
#[must_use]
pub fn machine() -> [u8; 16] {
    View::now().machine()
}

/// What tells this process's file systems from those of others.
#[derive(Clone, Debug, Default)]
struct View {
    /// The boot and the namespace of mounts: no other machine or container has both.
    boot: Vec<u8>,
    mounts: Vec<u8>,
    host: Vec<u8>,
    /// The root directory's device and inode.
    root: Option<(u64, u64)>,
    /// The name that a machine got when it was installed, unless its root is one that several
    /// containers are made from.
    installed: Option<Vec<u8>>,
}

impl View {
    fn now() -> Self {
        let root = confine::open_root(b"/").ok();
        let found = root.as_ref().and_then(|root| rustix::fs::fstat(root).ok());
        let is_own = root.is_some_and(|root| file_system(root) == FileSystem::Disk)
            && !["/.dockerenv", "/run/.containerenv"].iter().any(|mark| exists(mark));
        let installed = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
            .iter()
            .filter_map(|path| std::fs::read(path).ok())
            .map(|name| name.trim_ascii().to_vec())
            .find(|name| name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit));
        Self {
            boot: std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            mounts: std::fs::read_link("/proc/self/ns/mnt")
                .map(|mounts| mounts.into_os_string().into_vec())
                .unwrap_or_default(),
            host: rustix::system::uname().nodename().to_bytes().to_vec(),
            root: found.map(|found| super::stat::identity(&found)),
            installed: installed.filter(|_| is_own),
        }
    }

    fn machine(&self) -> [u8; 16] {
        let (device, inode) = self.root.unwrap_or_default();
        let (device, inode) = (device.to_le_bytes(), inode.to_le_bytes());
        let this_boot = digest(&[&self.boot, &self.mounts, &self.host, &device, &inode]);
        // A device may get another number with each boot.
        let over_boots = match &self.installed {
            Some(installed) => digest(&[installed, &self.host, &inode]),
            None => digest(&[&this_boot]),
        };
        let mut machine = [0; 16];
        machine[..8].copy_from_slice(&over_boots);
        machine[8..].copy_from_slice(&this_boot);
        machine
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hasher.update(&length.to_le_bytes()).update(part);
    }
    let mut digest = [0; 8];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

fn exists(path: &str) -> bool {
    matches!(look(path.as_bytes(), false), Ok(Some(_)))
}

fn home() -> Vec<u8> {
    match std::env::var_os("HOME") {
        Some(home) if home.as_bytes().starts_with(b"/") => home.into_vec(),
        _ => b"/".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            boot: b"first".to_vec(),
            mounts: b"mnt:[1]".to_vec(),
            host: b"gpu7".to_vec(),
            root: Some((8, 2)),
            installed: Some(b"installed".to_vec()),
        }
    }

    /// Over boots a machine is known again by the first half, and by nothing else.
    #[test]
    fn a_machine_is_known_over_boots_and_told_from_others() {
        let machine = view().machine();
        let booted = View { boot: b"second".to_vec(), root: Some((9, 2)), ..view() };
        assert_eq!(booted.machine()[..8], machine[..8]);
        assert_ne!(booted.machine()[8..], machine[8..]);
        let nameless = View { installed: None, ..view() };
        let others = [
            View { host: b"gpu8".to_vec(), ..view() },
            View { root: Some((8, 77)), ..view() },
            View { installed: Some(b"another".to_vec()), ..view() },
            nameless.clone(),
        ];
        for other in others {
            assert_ne!(other.machine()[..8], machine[..8], "{other:?}");
        }
        // Containers of one image share all but their mounts.
        let container = View { mounts: b"mnt:[2]".to_vec(), ..nameless.clone() };
        assert_ne!(container.machine()[..8], nameless.machine()[..8]);
        assert_ne!(container.machine()[8..], nameless.machine()[8..]);
        let beside = View { mounts: b"mnt:[2]".to_vec(), ..view() };
        assert_ne!(beside.machine(), machine, "its mounts are others");
        assert_eq!(super::machine(), super::machine());
    }
}
