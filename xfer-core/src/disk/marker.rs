//! The random marker that tells one root file system from its copies and successors.
//!
//! All who read it agree: they look at the same places in the same order, and the first that there
//! is counts. It is made whole under another name, so nobody ever sees a part of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{confine, file, stat, sync};

/// Bytes of a marker.
pub(crate) const BYTES: usize = 16;

/// Where it may lie: a directory that others own, one of ours within it, and a name.
const PLACES: [(&[&str], Option<&str>, &str); 3] = [
    (&["var", "lib"], Some("xfer"), "machine"),
    (&["var", "tmp"], None, "xfer-machine"),
    (&["tmp"], None, "xfer-machine"),
];

/// What lies at one place.
enum Found {
    Nothing,
    Marker([u8; BYTES]),
    /// Something that is no marker, or that anybody may have put there.
    Other,
}

/// The marker of the file system that `/` is on; none where there is none that can be believed.
/// With `fresh` bytes one is made of them where there is none.
#[must_use]
pub(crate) fn marker(fresh: Option<[u8; BYTES]>) -> Option<[u8; BYTES]> {
    let root = confine::open_root(b"/").ok()?;
    below(root.as_fd(), fresh)
}

fn below(root: BorrowedFd<'_>, fresh: Option<[u8; BYTES]>) -> Option<[u8; BYTES]> {
    let before = match first(root) {
        (_, Found::Marker(marker)) => return Some(marker),
        (before, _) => before,
    };
    let fresh = fresh?;
    for place in &PLACES[..before] {
        // Where this user may not, the next place may do.
        if make(root, place, &fresh).is_ok() {
            break;
        }
    }
    match first(root) {
        (_, Found::Marker(marker)) => Some(marker),
        _ => None,
    }
}

/// What counts, and how many places before it are empty.
fn first(root: BorrowedFd<'_>) -> (usize, Found) {
    for (number, (above, own, name)) in PLACES.iter().enumerate() {
        let directory = above.iter().chain(own).try_fold(None::<OwnedFd>, |place, name| {
            step(root, place.as_ref().map_or(root, AsFd::as_fd), name).map(Some)
        });
        let found = match directory {
            Ok(Some(directory)) => look(directory.as_fd(), name),
            Err(Errno::ACCESS | Errno::PERM) => Found::Other,
            // A place that is on another file system, or that others may replace, is none.
            Ok(None) | Err(_) => Found::Nothing,
        };
        if !matches!(found, Found::Nothing) {
            return (number, found);
        }
    }
    (PLACES.len(), Found::Nothing)
}

/// Enters a directory on the same file system that nobody but its owner can take names from.
fn step(root: BorrowedFd<'_>, place: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW | confine::HANDLE;
    let next = rustix::fs::openat(place, name, flags, Mode::empty())?;
    let (found, own) = (rustix::fs::fstat(&next)?, rustix::fs::fstat(root)?);
    let mode = stat::permissions(&found);
    let is_kept = mode & 0o022 == 0 || mode & 0o1000 != 0;
    if found.st_dev == own.st_dev && is_trusted(&found) && is_kept {
        Ok(next)
    } else {
        Err(Errno::XDEV)
    }
}

fn look(directory: BorrowedFd<'_>, name: &str) -> Found {
    let (opened, found) = match file::open_source(directory, name.as_bytes()) {
        Ok(Some(opened)) => opened,
        Err(Errno::NOENT) => return Found::Nothing,
        Ok(None) | Err(_) => return Found::Other,
    };
    let mut marker = [0; BYTES];
    let is_whole = stat::file_type(&found) == FileType::RegularFile
        && stat::size(&found) == BYTES as u64
        && file::read_into(&opened, &mut marker, 0) == Ok(BYTES);
    let is_kept = is_trusted(&found) && stat::permissions(&found) & 0o022 == 0;
    if is_whole && is_kept { Found::Marker(marker) } else { Found::Other }
}

/// Whether a thing is the superuser's or our own.
fn is_trusted(found: &Stat) -> bool {
    found.st_uid == 0 || found.st_uid == rustix::process::geteuid().as_raw()
}

fn make(
    root: BorrowedFd<'_>,
    (above, own, name): &(&[&str], Option<&str>, &str),
    fresh: &[u8; BYTES],
) -> Result<(), Errno> {
    let mut directory: Option<OwnedFd> = None;
    for name in *above {
        let place = directory.as_ref().map_or(root, AsFd::as_fd);
        directory = Some(step(root, place, name)?);
    }
    let mut directory = directory.ok_or(Errno::NOENT)?;
    if let Some(own) = own {
        match rustix::fs::mkdirat(&directory, *own, Mode::from_raw_mode(0o755)) {
            Ok(()) => sync::sync_directory(directory.as_fd())?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        directory = step(root, directory.as_fd(), own)?;
    }
    let unique = u64::from_le_bytes(std::array::from_fn(|index| fresh[index]));
    let early = format!("{name}.{:016x}", unique.reverse_bits() ^ 0x7866_6572);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | confine::LEAF;
    let written = rustix::fs::openat(&directory, &early, flags, Mode::RUSR | Mode::WUSR)?;
    let made = fill(&written, fresh).and_then(|()| {
        // Whoever comes second leaves what the first has made.
        match rustix::fs::linkat(&directory, &early, &directory, *name, AtFlags::empty()) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    });
    let removed = rustix::fs::unlinkat(&directory, &early, AtFlags::empty());
    made.and(removed)?;
    sync::sync_directory(directory.as_fd())
}

fn fill(written: &OwnedFd, fresh: &[u8; BYTES]) -> Result<(), Errno> {
    file::write_at(written, fresh, 0)?;
    // Every user of the machine is to read the same.
    rustix::fs::fchmod(written, Mode::from_raw_mode(0o644))?;
    file::sync(written)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn stand() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["var/lib", "var/tmp", "tmp"] {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let root = confine::open_root(directory.path().as_os_str().as_encoded_bytes()).unwrap();
        (directory, root)
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_marker_is_made_once_and_all_read_the_same() {
        let (directory, root) = stand();
        assert_eq!(below(root.as_fd(), None), None, "nobody asked for one");
        assert_eq!(below(root.as_fd(), Some([7; 16])), Some([7; 16]));
        assert_eq!(below(root.as_fd(), Some([8; 16])), Some([7; 16]), "it stays");
        assert_eq!(below(root.as_fd(), None), Some([7; 16]));
        let own = directory.path().join("var/lib/xfer");
        let names: Vec<_> = std::fs::read_dir(&own).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else stays: {names:?}");
        std::fs::remove_file(own.join("machine")).unwrap();
        assert_eq!(below(root.as_fd(), None), None);
        // Many at once agree on one.
        let made: Vec<_> = std::thread::scope(|scope| {
            let ask = |number: u8| {
                let root = root.as_fd();
                scope.spawn(move || below(root, Some([number; 16])).unwrap())
            };
            let asking: Vec<_> = (1..9).map(ask).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(made.iter().all(|marker| marker == &made[0]), "{made:?}");
    }

    #[test]
    fn what_is_no_marker_is_none() {
        let (directory, root) = stand();
        let own = directory.path().join("var/lib/xfer");
        let at = own.join("machine");
        std::fs::create_dir(&own).unwrap();
        std::fs::write(&at, [1; 15]).unwrap();
        assert_eq!(below(root.as_fd(), Some([7; 16])), None, "a short one is not replaced");
        std::fs::write(&at, [1; 16]).unwrap();
        mode(&at, 0o644);
        assert_eq!(below(root.as_fd(), None), Some([1; 16]));
        mode(&at, 0o666);
        assert_eq!(below(root.as_fd(), None), None, "anybody may have written it");
        std::fs::remove_file(&at).unwrap();
        let aside = directory.path().join("aside");
        std::fs::write(&aside, [1; 16]).unwrap();
        symlink(&aside, &at).unwrap();
        assert_eq!(below(root.as_fd(), Some([7; 16])), None, "a link is not followed");
        std::fs::remove_file(&at).unwrap();
        // Others may take names from this directory, so it is no place.
        mode(&own, 0o777);
        mode(&directory.path().join("var/tmp"), 0o1777);
        assert_eq!(below(root.as_fd(), Some([9; 16])), Some([9; 16]));
        assert!(directory.path().join("var/tmp/xfer-machine").exists());
    }

    #[test]
    fn the_first_place_counts_and_one_before_a_foreign_thing_is_taken() {
        let (directory, root) = stand();
        mode(&directory.path().join("tmp"), 0o1777);
        std::fs::write(directory.path().join("tmp/xfer-machine"), b"planted").unwrap();
        assert_eq!(below(root.as_fd(), None), None);
        assert_eq!(below(root.as_fd(), Some([3; 16])), Some([3; 16]));
        assert!(directory.path().join("var/lib/xfer/machine").exists());
    }
}
