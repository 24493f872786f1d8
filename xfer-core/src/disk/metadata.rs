//! Mode, times, owner and extended attributes of entries.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::UTIME_OMIT;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, Timestamp};

use super::xattrs::{self, Exactly, Holder};
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
    /// Of which extended attributes an entry keeps none but those that are set.
    pub xattrs: Exactly,
}

impl Preserve {
    /// What is asked for, as far as this process may.
    #[must_use]
    pub fn new(times: bool, owner: bool, xattrs: Exactly) -> Self {
        let root = rustix::process::geteuid().is_root();
        Self { times, owner: owner && root, root, xattrs }
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

    /// Whether extended attributes are to be set or removed.
    #[must_use]
    pub fn changes_xattrs(self, metadata: &Metadata) -> bool {
        self.xattrs != Exactly::Nothing || !metadata.xattrs.is_empty()
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

/// What lets an owner who is not root change attributes.
const OWNER_WRITES: u32 = 0o200;

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
    if preserve.changes_xattrs(metadata) {
        let set =
            || xattrs::set(Holder::Open(file), &metadata.xattrs, preserve.root, preserve.xattrs);
        let changed = match set() {
            Err(Errno::ACCESS) => {
                rustix::fs::fchmod(file, raw_mode(mode_now | OWNER_WRITES))?;
                set()?;
                true
            }
            other => other?,
        };
        if changed {
            // An access list is one with the mode.
            mode_now = stat::permissions(&rustix::fs::fstat(file)?);
        }
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
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => {
                let now = rustix::fs::fstat(&file)?;
                return set_on_file(file.as_fd(), &now, metadata, preserve);
            }
            // Its mode forbids even us to read it; the rest needs no reading.
            Err(Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
    }
    check(metadata)?;
    let mut mode_now = stat::permissions(&now);
    if let Some((user, group)) = preserve.owner(metadata)
        && (user.as_raw(), group.as_raw()) != (now.st_uid, now.st_gid)
    {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(directory, name, Some(user), Some(group), flags)?;
        mode_now &= 0o1777;
    }
    if preserve.changes_xattrs(metadata) && set_xattrs_at(directory, name, metadata, preserve)? {
        let now = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        mode_now = stat::permissions(&now);
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

/// Sets extended attributes of an entry that is not opened; whether there was anything to do comes
/// back.
fn set_xattrs_at(
    directory: BorrowedFd<'_>,
    name: &[u8],
    metadata: &Metadata,
    preserve: Preserve,
) -> Result<bool, Errno> {
    let flags = confine::HANDLE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let set = || {
        let holder = Holder::Handle(held.as_fd());
        xattrs::set(holder, &metadata.xattrs, preserve.root, preserve.xattrs)
    };
    let found = rustix::fs::fstat(&held)?;
    match set() {
        Err(Errno::ACCESS) if stat::file_type(&found) != FileType::Symlink => {
            let mode = stat::permissions(&found) | OWNER_WRITES;
            set_mode_at(directory, name, raw_mode(mode))?;
            set().map(|_| true)
        }
        other => other,
    }
}

/// Sets the mode of an entry that cannot be opened, without following a link put in its place; only
/// where there is no `/proc`, a link that is put there at that very instant is followed.
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
    use xfer_protocol::manifest::{Owner, Xattr};

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
            let preserve = Preserve::new(true, false, Exactly::Nothing);
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
        let root = |owner| Preserve { times: true, owner, root: true, xattrs: Exactly::Nothing };
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
        let ordinary =
            Preserve { times: true, owner: false, root: false, xattrs: Exactly::Nothing };
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

    /// A POSIX access list without named users: what the owner, the group and others may.
    fn access_list(owner: u8, group: u8, others: u8) -> Vec<u8> {
        let mut list = vec![2, 0, 0, 0];
        for (tag, may) in [(1, owner), (4, group), (16, 7), (32, others)] {
            list.extend([tag, 0, may, 0, 255, 255, 255, 255]);
        }
        list
    }

    /// Attributes become those of the source, access lists of whoever owns the file among them,
    /// whether it can be opened or not.
    #[test]
    fn attributes_become_exactly_those_that_are_set() {
        attributes_become_exact();
        if rustix::process::geteuid().is_root() {
            // As somebody else, on a thread of its own: only that has its user changed.
            let as_other = std::thread::spawn(|| {
                let nobody = Uid::from_raw(65_534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                attributes_become_exact();
            });
            as_other.join().unwrap();
        }
    }

    fn attributes_become_exact() {
        let ordinary = Preserve { times: true, owner: false, root: false, xattrs: Exactly::All };
        let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_vec() };
        for parent in ["/tmp", "/dev/shm"] {
            let directory = tempfile::tempdir_in(parent).unwrap();
            let place = std::fs::File::open(directory.path()).unwrap();
            std::fs::write(directory.path().join("file"), b"").unwrap();
            let attributes = [
                vec![xattr("user.a", b"1"), xattr("user.b", b"")],
                vec![
                    xattr("system.posix_acl_access", &access_list(6, 4, 0)),
                    xattr("user.b", b"2"),
                ],
                vec![xattr("user.b", b"2")],
                Vec::new(),
            ];
            for (xattrs, mode) in attributes.into_iter().zip([0o644, 0o670, 0o200, 0o000]) {
                let wanted = Metadata { xattrs, ..metadata(mode, 0) };
                set_at(place.as_fd(), b"file", &wanted, ordinary).unwrap();
                let now = stat::permissions(&found(place.as_fd(), "file"));
                assert_eq!(now, mode, "on {parent}");
                // Reading them, other than setting them, needs a mode that lets us read.
                let readable = |mode| set_mode_at(place.as_fd(), b"file", raw_mode(mode)).unwrap();
                if mode & 0o400 == 0 {
                    readable(mode | 0o400);
                }
                let xattrs = xattrs::read(place.as_fd(), c"file").unwrap();
                assert_eq!(xattrs, wanted.xattrs, "on {parent}");
                if mode & 0o400 == 0 {
                    readable(mode);
                }
            }
            // Without being asked to, nothing is removed.
            let kept = Preserve { xattrs: Exactly::Nothing, ..ordinary };
            let one = Metadata { xattrs: vec![xattr("user.a", b"1")], ..metadata(0o400, 0) };
            set_at(place.as_fd(), b"file", &one, kept).unwrap();
            set_at(place.as_fd(), b"file", &metadata(0o600, 0), kept).unwrap();
            assert_eq!(xattrs::read(place.as_fd(), c"file").unwrap(), one.xattrs);
        }
    }

    /// What cannot be opened for want of descriptors has not got its metadata.
    #[test]
    fn a_failure_to_open_is_told() {
        const CHILD: &str = "XFER_TEST_WITHOUT_DESCRIPTORS";
        if std::env::var_os(CHILD).is_none() {
            let own = std::env::current_exe().unwrap();
            let shell = "ulimit -n 64; exec \"$0\" \"$@\"";
            let name = "disk::metadata::tests::a_failure_to_open_is_told";
            let ran = std::process::Command::new("sh")
                .args(["-c", shell])
                .arg(own)
                .args(["--exact", name])
                .env(CHILD, "1")
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&ran.stdout);
            assert!(ran.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::write(directory.path().join("file"), b"").unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let another = || std::fs::File::open("/dev/null").ok();
        let all: Vec<_> = std::iter::from_fn(another).collect();
        let preserve = Preserve::new(true, false, Exactly::Nothing);
        let set = || set_at(place.as_fd(), b"file", &metadata(0o640, 0), preserve);
        let without = set();
        drop(all);
        assert_eq!((without, set()), (Err(Errno::MFILE), Ok(())));
    }
}
