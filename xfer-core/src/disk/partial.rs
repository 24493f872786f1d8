//! Partials: files under their own names until they are complete, and their renaming into place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;
use xfer_protocol::manifest::Stamp;

use super::lock::{LockMode, lock, try_lock};
use super::{confine, stat, written_over};

/// How often a partial that others replace under our hands is tried again.
const ATTEMPTS: usize = 16;

/// Opens the partial `partial` and locks it, or makes it. One that is not ours alone, or no regular
/// file, is replaced.
///
/// # Errors
/// `WOULDBLOCK` when another transfer holds it.
pub fn open(directory: BorrowedFd<'_>, partial: &[u8]) -> Result<OwnedFd, Errno> {
    for _ in 0..ATTEMPTS {
        match open_lockable(directory, partial) {
            Ok(Found::File { file, writable, mode }) => {
                lock(&file, LockMode::Exclusive)?;
                if !stands_at(&file, directory, partial)? {
                    continue;
                }
                if writable {
                    return Ok(file);
                }
                // It got its final mode, and its session ended before it was renamed.
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode) | Mode::RUSR | Mode::WUSR)?;
            }
            Ok(Found::Other) => remove_any(directory, partial)?,
            Ok(Found::Nothing) => match create(directory, partial, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    // Whoever opens it in between finds no byte in it, and leaves when it is taken.
                    lock(&file, LockMode::Exclusive)?;
                    if stands_at(&file, directory, partial)? {
                        return Ok(file);
                    }
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::WOULDBLOCK)
}

/// What stands at a partial's name.
enum Found {
    /// A file of ours alone, open in a way that lets it be locked.
    File {
        file: OwnedFd,
        writable: bool,
        mode: RawMode,
    },
    /// What nobody can hold as a partial.
    Other,
    Nothing,
}

/// Opens what stands at a partial's name for writing, else in any way that its mode allows.
fn open_lockable(directory: BorrowedFd<'_>, partial: &[u8]) -> Result<Found, Errno> {
    for access in [OFlags::RDWR, OFlags::RDONLY, OFlags::WRONLY] {
        let flags = access | confine::LEAF;
        match rustix::fs::openat(directory, partial, flags, Mode::empty()) {
            Ok(file) => {
                let found = rustix::fs::fstat(&file)?;
                if !is_ours(&found) {
                    return Ok(Found::Other);
                }
                let writable = access == OFlags::RDWR;
                return Ok(Found::File { file, writable, mode: found.st_mode });
            }
            Err(Errno::ACCESS) => {}
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::MLINK) => {
                return Ok(Found::Other);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(Found::Other)
}

/// Makes a partial that must not exist, open for writing.
pub fn create(directory: BorrowedFd<'_>, partial: &[u8], mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, partial, flags, mode)
}

/// Makes a partial in the place of whatever an earlier session left there.
///
/// # Errors
/// `WOULDBLOCK` when another transfer holds what is there.
pub fn create_anew(
    directory: BorrowedFd<'_>,
    partial: &[u8],
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    for _ in 0..ATTEMPTS {
        match create(directory, partial, mode) {
            Err(Errno::EXIST) => {
                let held = open(directory, partial)?;
                rustix::fs::unlinkat(directory, partial, AtFlags::empty())?;
                drop(held);
            }
            other => return other,
        }
    }
    Err(Errno::WOULDBLOCK)
}

/// Removes a partial that nobody holds; whether it is gone. Of a file that was begun to be written
/// over there is nothing else: it stays until something has its name again.
pub fn remove_unheld(directory: BorrowedFd<'_>, partial: &[u8]) -> Result<bool, Errno> {
    let file = match open_lockable(directory, partial)? {
        Found::File { file, .. } => file,
        Found::Nothing => return Ok(true),
        Found::Other if is_all_there_is(directory, partial) => return Ok(false),
        Found::Other => return remove_any(directory, partial).map(|()| true),
    };
    match try_lock(&file, LockMode::Exclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(false),
        other => other?,
    }
    // Nobody begins to write over a file while this lock is held.
    if is_all_there_is(directory, partial) {
        return Ok(false);
    }
    if stands_at(&file, directory, partial)? {
        rustix::fs::unlinkat(directory, partial, AtFlags::empty())?;
    }
    Ok(true)
}

fn is_all_there_is(directory: BorrowedFd<'_>, partial: &[u8]) -> bool {
    written_over(partial).is_some_and(|name| !stands(directory, name))
}

/// Opens what was begun to be written over, and locks it; `None` where it is no file that we can go
/// on with, which is left alone: who made it may have it open still. It may have its final mode
/// already.
///
/// # Errors
/// `WOULDBLOCK` when another transfer holds it.
pub fn open_begun(directory: BorrowedFd<'_>, partial: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    for _ in 0..ATTEMPTS {
        let Found::File { file, writable, mode } = open_lockable(directory, partial)? else {
            return Ok(None);
        };
        lock(&file, LockMode::Exclusive)?;
        if !stands_at(&file, directory, partial)? {
            return Err(Errno::WOULDBLOCK);
        }
        if writable {
            return Ok(Some(file));
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode) | Mode::RUSR | Mode::WUSR)?;
    }
    Ok(None)
}

/// Whether anything stands at a name.
pub fn stands(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Whether another transfer holds a partial; waits as long as a dying process may take.
pub fn is_held(directory: BorrowedFd<'_>, partial: &[u8]) -> Result<bool, Errno> {
    let file = match open_lockable(directory, partial) {
        Ok(Found::File { file, .. }) => file,
        // A name that nothing can have is nobody's.
        Ok(_) | Err(Errno::NAMETOOLONG) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    match lock(&file, LockMode::Exclusive) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Removes a name, whatever it stands for; one that is gone is no error.
pub fn remove_any(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let removed = match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {
            rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
        }
        other => other,
    };
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Renames a partial to its final name, over any non-directory there, at one instant.
pub fn rename(directory: BorrowedFd<'_>, partial: &[u8], name: &[u8]) -> Result<(), Errno> {
    rustix::fs::renameat(directory, partial, directory, name)
}

/// Renames a file to a name that nothing has, at one instant.
///
/// # Errors
/// `EXIST` where something has it; `INVAL`, `NOSYS` or `OPNOTSUPP` where the system cannot make
/// sure.
pub fn rename_to_free(
    directory: BorrowedFd<'_>,
    name: &[u8],
    to: BorrowedFd<'_>,
    free: &[u8],
) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    return rustix::fs::renameat_with(
        directory,
        name,
        to,
        free,
        rustix::fs::RenameFlags::NOREPLACE,
    );
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = (directory, name, to, free);
        Err(Errno::NOSYS)
    }
}

/// Whether an open file is the one that stands at a name now.
pub fn stands_at(file: impl AsFd, directory: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    let opened = stat::identity(&rustix::fs::fstat(file)?);
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(stat::identity(&found) == opened),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a file that is to be written over as a partial is, and locks it; `None` where it cannot be
/// one: it is not what was seen, another user's, read-only to us, has another name, is being run,
/// or is held by somebody else.
pub fn open_to_write_over(
    directory: BorrowedFd<'_>,
    name: &[u8],
    seen: &Stamp,
) -> Result<Option<OwnedFd>, Errno> {
    let file = match open_lockable(directory, name) {
        Ok(Found::File { file, writable: true, .. }) => file,
        Ok(_) | Err(Errno::PERM | Errno::TXTBSY) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match try_lock(&file, LockMode::Exclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let is_it = stat::stamp(&rustix::fs::fstat(&file)?) == *seen;
    Ok((is_it && stands_at(&file, directory, name)?).then_some(file))
}

fn is_ours(found: &Stat) -> bool {
    let ours = found.st_uid == rustix::process::geteuid().as_raw();
    ours && stat::file_type(found) == FileType::RegularFile && stat::inode(found).links == 1
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::disk::{file, in_place_name, partial_name};

    #[test]
    fn a_partial_is_found_again_and_held_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let partial = partial_name(b"file");
        let first = open(place.as_fd(), &partial).unwrap();
        file::write_at(&first, b"abc", 0).unwrap();
        assert_eq!(open(place.as_fd(), &partial).unwrap_err(), Errno::WOULDBLOCK);
        assert_eq!(
            create_anew(place.as_fd(), &partial, Mode::RWXU).unwrap_err(),
            Errno::WOULDBLOCK
        );
        assert!(!remove_unheld(place.as_fd(), &partial).unwrap());
        drop(first);
        let again = open(place.as_fd(), &partial).unwrap();
        let mut bytes = Vec::new();
        file::read_at(&again, &mut bytes, 0, 10).unwrap();
        assert_eq!(bytes, b"abc");
        drop(again);
        assert!(remove_unheld(place.as_fd(), &partial).unwrap());
        assert!(remove_unheld(place.as_fd(), &partial).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_ours_alone_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let partial = partial_name(b"file");
        let at = directory.path().join(std::str::from_utf8(&partial).unwrap());
        let victim = directory.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        let tricks: [&dyn Fn(); 4] = [
            &|| symlink(&victim, &at).unwrap(),
            &|| std::fs::hard_link(&victim, &at).unwrap(),
            &|| rustix::fs::mkfifoat(&place, partial.as_slice(), Mode::RWXU).unwrap(),
            &|| std::fs::create_dir(&at).unwrap(),
        ];
        for trick in tricks {
            trick();
            let file = open(place.as_fd(), &partial).unwrap();
            file::write_at(&file, b"mine", 0).unwrap();
            let found = std::fs::symlink_metadata(&at).unwrap();
            assert!(found.is_file() && found.nlink() == 1 && found.mode() & 0o777 == 0o600);
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
            drop(file);
            std::fs::remove_file(&at).unwrap();
        }
    }

    #[test]
    fn what_was_begun_to_be_written_over_stays_until_its_name_stands() {
        let directory = tempfile::tempdir().unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let begun = in_place_name(b"file").unwrap();
        let at = |name: &str| directory.path().join(name);
        let hidden = at(".xfer-in-place-file");
        std::fs::write(&hidden, b"all").unwrap();
        assert!(!remove_unheld(place.as_fd(), &begun).unwrap());
        // Whoever gave it another name wants it.
        std::fs::hard_link(&hidden, at("kept")).unwrap();
        assert!(open_begun(place.as_fd(), &begun).unwrap().is_none());
        assert!(!remove_unheld(place.as_fd(), &begun).unwrap());
        std::fs::remove_file(at("kept")).unwrap();
        let held = open_begun(place.as_fd(), &begun).unwrap().unwrap();
        assert_eq!(open_begun(place.as_fd(), &begun).unwrap_err(), Errno::WOULDBLOCK);
        std::fs::write(at("file"), b"new").unwrap();
        assert!(!remove_unheld(place.as_fd(), &begun).unwrap());
        drop(held);
        assert!(remove_unheld(place.as_fd(), &begun).unwrap());
        assert!(!hidden.exists());
    }

    #[test]
    fn what_was_begun_is_opened_whatever_its_mode() {
        use crate::disk::unprivileged;

        for mode in [0o444, 0o222] {
            unprivileged::run(move |directory| {
                let place = std::fs::File::open(directory).unwrap();
                let begun = in_place_name(b"file").unwrap();
                let made = create(place.as_fd(), &begun, Mode::RUSR | Mode::WUSR).unwrap();
                file::write_at(&made, b"abc", 0).unwrap();
                rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).unwrap();
                drop(made);
                let opened = open_begun(place.as_fd(), &begun).unwrap().unwrap();
                file::write_at(&opened, b"d", 3).unwrap();
            });
        }
    }

    /// Who put it there could read and change what is written to it.
    #[test]
    fn what_another_user_made_is_not_gone_on_with() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested: a file of another user needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let begun = in_place_name(b"file").unwrap();
        drop(create(place.as_fd(), &begun, Mode::RUSR | Mode::WUSR).unwrap());
        let hidden = directory.path().join(".xfer-in-place-file");
        std::os::unix::fs::chown(&hidden, Some(1000), None).unwrap();
        assert!(open_begun(place.as_fd(), &begun).unwrap().is_none());
        assert_eq!(std::fs::metadata(&hidden).unwrap().uid(), 1000);
    }

    #[test]
    fn a_rename_replaces_everything_but_directories() {
        let directory = tempfile::tempdir().unwrap();
        let place = std::fs::File::open(directory.path()).unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), b"old").unwrap();
        symlink("nowhere", at("link")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        for name in ["file", "link", "new"] {
            let partial = partial_name(name.as_bytes());
            let file = create(place.as_fd(), &partial, Mode::RWXU).unwrap();
            file::write_at(&file, b"new", 0).unwrap();
            rename(place.as_fd(), &partial, name.as_bytes()).unwrap();
            assert_eq!(std::fs::read(at(name)).unwrap(), b"new");
        }
        drop(create(place.as_fd(), b"partial", Mode::RWXU).unwrap());
        assert_eq!(rename(place.as_fd(), b"partial", b"directory"), Err(Errno::ISDIR));
    }

    /// A partial gets its final mode before its sync, which may keep even its owner from writing.
    #[test]
    fn a_partial_with_its_final_mode_is_held_and_found_again() {
        use crate::disk::unprivileged;

        for mode in [0o444, 0o222] {
            unprivileged::run(move |directory| {
                let place = std::fs::File::open(directory).unwrap();
                let partial = partial_name(b"file");
                let first = open(place.as_fd(), &partial).unwrap();
                file::write_at(&first, b"abc", 0).unwrap();
                rustix::fs::fchmod(&first, Mode::from_raw_mode(mode)).unwrap();
                assert_eq!(open(place.as_fd(), &partial).unwrap_err(), Errno::WOULDBLOCK);
                assert!(is_held(place.as_fd(), &partial).unwrap());
                assert!(!remove_unheld(place.as_fd(), &partial).unwrap());
                assert!(stands_at(&first, place.as_fd(), &partial).unwrap());
                drop(first);
                let again = open(place.as_fd(), &partial).unwrap();
                let mut bytes = Vec::new();
                file::read_at(&again, &mut bytes, 0, 10).unwrap();
                assert_eq!(bytes, b"abc");
            });
        }
    }
}
