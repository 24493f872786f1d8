//! Mode, times, owner and extended attributes of entries.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid};
use rustix::fs::{UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, Timestamp, Xattr};

use super::{confine, stat};

/// What of an entry's metadata is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preserve {
    /// Modification times.
    pub times: bool,
    /// Owner, group, setuid and setgid; only effective as root.
    pub owner: bool,
    /// Whether we are root.
    pub root: bool,
}

impl Preserve {
    /// What is asked for, as far as this process may.
    #[must_use]
    pub fn new(times: bool, owner: bool) -> Self {
        let root = rustix::process::geteuid().is_root();
        Self { times, owner: owner && root, root }
    }

    /// The mode that an entry gets: setuid and setgid only together with their owner.
    #[must_use]
    pub fn mode(self, metadata: &Metadata) -> u32 {
        let with_owner = self.owner && metadata.owner.is_some();
        metadata.mode & if with_owner { 0o7777 } else { 0o1777 }
    }

    fn owner(self, metadata: &Metadata) -> Option<(Uid, Gid)> {
        let owner = metadata.owner.filter(|_| self.owner)?;
        Some((Uid::from_raw(owner.user), Gid::from_raw(owner.group)))
    }

    fn xattrs(self, metadata: &Metadata) -> impl Iterator<Item = &Xattr> {
        let allowed = move |x: &&Xattr| self.root || x.name.starts_with(b"user.");
        metadata.xattrs.iter().filter(allowed)
    }
}

/// Checks metadata of a peer against the limits.
///
/// # Errors
/// `TOOBIG` for more extended attributes than one entry may have.
fn check(metadata: &Metadata) -> Result<(), Errno> {
    let bytes = metadata.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum::<usize>();
    if bytes > limits::XATTR_BYTES_MAX { Err(Errno::TOOBIG) } else { Ok(()) }
}

/// A mode for a system call.
#[must_use]
pub fn raw_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(RawMode::try_from(mode & 0o7777).unwrap_or_default())
}

/// Sets metadata of an open file or directory. The order matters: a change of owner clears setuid,
/// and attributes can only be set while the mode still lets us write.
pub fn set_on_file(
    file: BorrowedFd<'_>,
    now: &Stat,
    metadata: &Metadata,
    preserve: Preserve,
) -> Result<(), Errno> {
    check(metadata)?;
    let mut mode_now = stat::permissions(now);
    if let Some((user, group)) = preserve.owner(metadata)
        && (user.as_raw(), group.as_raw()) != (now.st_uid, now.st_gid)
    {
        rustix::fs::fchown(file, Some(user), Some(group))?;
        mode_now &= 0o1777;
    }
    for xattr in preserve.xattrs(metadata) {
        let name = xattr.name.as_slice();
        let set = rustix::fs::fsetxattr(file, name, &xattr.value, XattrFlags::empty());
        // Room for attributes is bounded on its own; where it ends, the disk is not full.
        set.map_err(|errno| if errno == Errno::NOSPC { Errno::OPNOTSUPP } else { errno })?;
    }
    let mode = preserve.mode(metadata);
    if mode != mode_now {
        rustix::fs::fchmod(file, raw_mode(mode))?;
    }
    if preserve.times {
        rustix::fs::futimens(file, &times(metadata.modified))?;
    }
    Ok(())
}

/// Sets the modification time of an open file.
pub fn set_modified(file: impl AsFd, modified: Timestamp) -> Result<(), Errno> {
    rustix::fs::futimens(file, &times(modified))
}

/// Sets metadata of an entry of any kind, no link followed and no FIFO or device opened.
pub fn set_at(
    directory: BorrowedFd<'_>,
    name: &[u8],
    metadata: &Metadata,
    preserve: Preserve,
) -> Result<(), Errno> {
    let now = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = stat::file_type(&now);
    if matches!(kind, FileType::Directory | FileType::RegularFile) {
        let flags = OFlags::RDONLY | confine::LEAF;
        if let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
            let now = rustix::fs::fstat(&file)?;
            return set_on_file(file.as_fd(), &now, metadata, preserve);
        }
    }
    let mut mode_now = stat::permissions(&now);
    if let Some((user, group)) = preserve.owner(metadata)
        && (user.as_raw(), group.as_raw()) != (now.st_uid, now.st_gid)
    {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(directory, name, Some(user), Some(group), flags)?;
        mode_now &= 0o1777;
    }
    let mode = preserve.mode(metadata);
    if kind != FileType::Symlink && mode != mode_now {
        set_mode_at(directory, name, raw_mode(mode))?;
    }
    if preserve.times {
        let times = times(metadata.modified);
        rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Sets the mode of an entry that cannot be opened, without following a link put in its place.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_mode_at(directory: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;

    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    if stat::file_type(&rustix::fs::fstat(&place)?) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let own_name = format!("/proc/self/fd/{}", place.as_raw_fd());
    match rustix::fs::chmod(own_name.as_str(), mode) {
        // Without /proc there is nothing better on older kernels.
        Err(Errno::NOENT | Errno::NOTDIR) => {
            rustix::fs::chmodat(directory, name, mode, AtFlags::empty())
        }
        other => other,
    }
}

/// Sets the mode of an entry that cannot be opened, without following a link put in its place.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn set_mode_at(directory: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmodat(directory, name, mode, AtFlags::SYMLINK_NOFOLLOW)
}

/// The permission bits that this process's umask takes from new files; all of them where unknown.
#[must_use]
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok())
        .unwrap_or(0o777)
}

fn times(modified: Timestamp) -> Timestamps {
    let kept = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let modified = Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() };
    Timestamps { last_access: kept, last_modification: modified }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use xfer_protocol::manifest::Owner;

    use super::*;

    fn metadata(mode: u32, seconds: i64) -> Metadata {
        let modified = Timestamp { seconds, nanoseconds: 999_999_999 };
        Metadata { mode, modified, ..Metadata::default() }
    }

    fn found(place: BorrowedFd<'_>, name: &str) -> Stat {
        rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW).unwrap()
    }

    /// Just within what ext4 keeps with usual inodes, 1901 to 2446, and the last second of 32 bits.
    const MOMENTS: [i64; 5] = [1 - (1 << 31), -1, 0, (1 << 32) - 1, 15_032_385_534];

    #[test]
    fn every_kind_keeps_mode_and_time() {
        for parent in ["/tmp", "/dev/shm"] {
            let directory = tempfile::tempdir_in(parent).unwrap();
            let place = std::fs::File::open(directory.path()).unwrap();
            let place = place.as_fd();
            let preserve = Preserve::new(true, false);
            std::fs::write(directory.path().join("file"), b"").unwrap();
            std::fs::create_dir(directory.path().join("directory")).unwrap();
            std::os::unix::fs::symlink("file", directory.path().join("link")).unwrap();
            #[cfg(not(target_vendor = "apple"))]
            for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
                rustix::fs::mknodat(place, name, kind, Mode::RWXU, 0).unwrap();
            }
            for name in ["file", "directory", "fifo", "socket", "link"] {
                for (mode, seconds) in [0o0, 0o644, 0o777, 0o1777, 0o300].into_iter().zip(MOMENTS) {
                    let metadata = metadata(mode, seconds);
                    set_at(place, name.as_bytes(), &metadata, preserve).unwrap();
                    let found = found(place, name);
                    assert_eq!(stat::modified(&found), metadata.modified, "{name} on {parent}");
                    if name != "link" {
                        assert_eq!(stat::permissions(&found), mode, "{name}");
                    }
                }
            }
            assert_eq!(stat::permissions(&found(place, "file")), 0o300, "the link led nowhere");
        }
    }

    #[test]
    fn setuid_survives_only_with_its_owner() {
        let with_owner =
            Metadata { owner: Some(Owner { user: 12, group: 34 }), ..metadata(0o7777, 0) };
        let root = |owner| Preserve { times: true, owner, root: true };
        assert_eq!(root(true).mode(&with_owner), 0o7777);
        assert_eq!(root(false).mode(&with_owner), 0o1777);
        assert_eq!(root(true).mode(&metadata(0o7777, 0)), 0o1777);
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested: giving files away needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), b"").unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        for _ in 0..2 {
            set_at(place.as_fd(), b"file", &with_owner, root(true)).unwrap();
            let found = found(place.as_fd(), "file");
            assert_eq!(stat::permissions(&found), 0o7777);
            assert_eq!(stat::owner(&found), Owner { user: 12, group: 34 });
        }
        set_at(place.as_fd(), b"file", &with_owner, root(false)).unwrap();
        assert_eq!(stat::permissions(&found(place.as_fd(), "file")), 0o1777);
    }

    #[test]
    fn attributes_are_set_within_limits() {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::write(directory.path().join("file"), b"").unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let xattr = |name: &[u8], length| Xattr { name: name.to_vec(), value: vec![7; length] };
        let ordinary = Preserve { times: true, owner: false, root: false };
        let some = Metadata {
            xattrs: vec![xattr(b"user.note", 100), xattr(b"trusted.note", 1)],
            ..metadata(0o400, 0)
        };
        set_at(place.as_fd(), b"file", &some, ordinary).unwrap();
        let file = std::fs::File::open(directory.path().join("file")).unwrap();
        let mut value = [0; 200];
        assert_eq!(rustix::fs::fgetxattr(&file, "user.note", &mut value).unwrap(), 100);
        assert!(rustix::fs::fgetxattr(&file, "trusted.note", &mut value).is_err());
        let large = Metadata { xattrs: vec![xattr(b"user.note", 70_000)], ..metadata(0o400, 0) };
        assert_eq!(set_at(place.as_fd(), b"file", &large, ordinary), Err(Errno::TOOBIG));
    }
}
