//! A walk over all that lies below a directory, for looking alone: through directories that stay
//! open, no link followed, in memory that does not grow with the tree.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use xfer_protocol::manifest::Timestamp;

use super::{confine, stat};

/// Directories within each other that are entered: each is a descriptor.
const DEPTH_MAX: usize = 128;

/// An entry that is no directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Whether it is a regular file.
    pub(crate) is_file: bool,
    /// Length in bytes.
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
    /// When it came to be, where the file system keeps that.
    pub(crate) born: Option<Timestamp>,
}

/// What a walk meets.
pub(crate) enum Step {
    /// An entry that is no directory.
    Entry(Seen),
    /// A directory that cannot be listed, or not whole.
    Unlistable,
}

/// One directory that is being listed.
struct Level {
    listing: Dir,
    /// Bytes of the path that leads to it.
    path: usize,
}

/// Walks below a directory whose path is given. `enters` is asked of every directory's path, `each`
/// is told of the rest and ends the walk by `false`.
pub(crate) fn walk(
    start: OwnedFd,
    path: &[u8],
    enters: &mut dyn FnMut(&[u8]) -> bool,
    each: &mut dyn FnMut(&[u8], Step) -> bool,
) {
    let mut path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
    let mut levels = Vec::new();
    match Dir::new(start) {
        Ok(listing) => levels.push(Level { listing, path: path.len() }),
        Err(_) => drop(each(&path, Step::Unlistable)),
    }
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return };
        path.truncate(level.path);
        let entry = match level.listing.read() {
            None => {
                levels.pop();
                continue;
            }
            Some(Ok(entry)) => entry,
            Some(Err(_)) => {
                levels.pop();
                if !each(&path, Step::Unlistable) {
                    return;
                }
                continue;
            }
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        let goes_on = match look(&level.listing, name, entry.file_type()) {
            Ok(Some(seen)) => each(&path, Step::Entry(seen)),
            Ok(None) if !enters(&path) => true,
            Ok(None) => match enter(&level.listing, name, depth) {
                Ok(listing) => {
                    levels.push(Level { listing, path: path.len() });
                    true
                }
                Err(Errno::NOENT) => true,
                Err(_) => each(&path, Step::Unlistable),
            },
            Err(Errno::NOENT) => true,
            Err(_) => each(&path, Step::Unlistable),
        };
        if !goes_on {
            return;
        }
    }
}

/// Opens a directory for a walk.
pub(crate) fn open(path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | confine::LEAF;
    rustix::fs::open(path, flags, Mode::empty())
}

fn enter(above: &Dir, name: &CStr, depth: usize) -> Result<Dir, Errno> {
    if depth >= DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | confine::LEAF;
    Dir::new(rustix::fs::openat(above.fd()?, name, flags, Mode::empty())?)
}

/// What an entry is; `None` for a directory, of which nothing else is asked: what is mounted there
/// may never answer.
fn look(above: &Dir, name: &CStr, kind: FileType) -> Result<Option<Seen>, Errno> {
    if kind == FileType::Directory {
        return Ok(None);
    }
    see(above.fd()?, name)
}

/// The times of what lies at a path, no link followed; `None` where nothing does.
pub(crate) fn times(path: &CStr) -> Option<(Option<Timestamp>, Timestamp)> {
    let (_, seen) = found(rustix::fs::CWD, path).ok()?;
    Some((seen.born, seen.changed))
}

/// What lies at a path; `None` for a directory.
pub(crate) fn see_at(path: &CStr) -> Result<Option<Seen>, Errno> {
    see(rustix::fs::CWD, path)
}

fn see(above: BorrowedFd<'_>, name: &CStr) -> Result<Option<Seen>, Errno> {
    found(above, name).map(|(kind, seen)| (kind != FileType::Directory).then_some(seen))
}

fn found(above: BorrowedFd<'_>, name: &CStr) -> Result<(FileType, Seen), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = match rustix::fs::statx(above, name, flags, wanted) {
        // Some containers keep the call from us.
        Err(Errno::NOSYS | Errno::PERM) => return plainly(above, name),
        found => found?,
    };
    let at = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
    let kind = FileType::from_raw_mode(found.stx_mode.into());
    let is_born = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let seen = Seen {
        is_file: kind == FileType::RegularFile,
        size: found.stx_size,
        modified: at(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        changed: at(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        born: is_born.then(|| at(found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
    };
    Ok((kind, seen))
}

fn plainly(above: BorrowedFd<'_>, name: &CStr) -> Result<(FileType, Seen), Errno> {
    let found = rustix::fs::statat(above.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = stat::file_type(&found);
    let seen = Seen {
        is_file: kind == FileType::RegularFile,
        size: stat::size(&found),
        modified: stat::modified(&found),
        changed: stat::inode(&found).changed,
        born: None,
    };
    Ok((kind, seen))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_walk_meets_everything_once_and_follows_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("a/b/c")).unwrap();
        std::fs::create_dir(at("left")).unwrap();
        for name in ["one", "a/two", "a/b/c/three", "left/out"] {
            std::fs::write(at(name), b"12345").unwrap();
        }
        std::os::unix::fs::symlink("/etc", at("a/link")).unwrap();
        let start = open(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        let mut met = BTreeSet::new();
        walk(start, b"/r/", &mut |path| path != b"/r/left", &mut |path, step| {
            let Step::Entry(seen) = step else { panic!("unlistable") };
            assert!(!seen.is_file || seen.size == 5);
            assert!(met.insert(String::from_utf8(path.to_vec()).unwrap()));
            true
        });
        let met: Vec<_> = met.iter().map(String::as_str).collect();
        assert_eq!(met, ["/r/a/b/c/three", "/r/a/link", "/r/a/two", "/r/one"]);
    }

    #[test]
    fn what_is_too_deep_is_told_and_not_entered() {
        let directory = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(DEPTH_MAX + 5);
        std::fs::create_dir_all(directory.path().join(&deep)).unwrap();
        std::fs::write(directory.path().join(&deep).join("file"), b"").unwrap();
        let start = open(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        let mut met = Vec::new();
        walk(start, b"/", &mut |_| true, &mut |path, step| {
            met.push((path.len(), matches!(step, Step::Unlistable)));
            true
        });
        assert_eq!(met, [(2 * DEPTH_MAX, true)]);
    }
}
