//! What changes below a directory, as the system tells it while it happens (inotify).
//!
//! It is a reason to look again and no more, for events may be lost: whoever watches looks at the
//! tree itself from time to time.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::RelPath;

use super::confine::{self, Confinement};
use super::stat;

/// Directories that are watched: each takes about a KiB of the system's memory.
const DIRECTORIES_MAX: usize = 65_536;

/// Files that one reading tells to be finished.
const FINISHED_MAX: usize = 10_000;

/// Bytes of events that are read at once.
const EVENTS_BYTES: usize = 64 * 1024;

/// What was noticed since the last reading.
#[derive(Debug, Default)]
pub struct Noticed {
    /// Files that were renamed into place: device, inode and the change time that they have then.
    pub finished: Vec<(u64, u64, Timestamp)>,
    /// Whether a name came or went.
    pub names: bool,
    /// Whether a file was closed after writing, or something else that may go on.
    pub touched: bool,
    /// Whether events were lost, or what is watched is no longer what lies there: it has to be
    /// watched anew.
    pub stale: bool,
}

/// Directories that are watched.
#[derive(Debug)]
pub struct Changes {
    events: OwnedFd,
    root: OwnedFd,
    /// Where each is: one that is watched again, under another name, has the same number.
    directories: HashMap<i32, RelPath>,
    /// The one that holds all others.
    top: RelPath,
    /// The one name that counts, where no directory is watched for all that lies in it.
    only: Option<Vec<u8>>,
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.events.as_raw_fd()
    }
}

impl Changes {
    /// Watches an entry below a directory whose path is given, with all that lies below it.
    ///
    /// # Errors
    /// `TOOBIG` where there are more than 65,536 directories, `NOSPC` where the system watches no
    /// more, and whatever keeps the top one from being opened.
    pub fn begin(root: &[u8], under: &RelPath) -> Result<Self, Errno> {
        let root = confine::open_root(root)?;
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let (directories, top) = (HashMap::new(), under.clone());
        let mut changes = Self { events, root, directories, top, only: None };
        match changes.open(under) {
            Ok(_) => changes.plant(under.clone(), &mut |_, _| {})?,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let parent = under.parent().unwrap_or_default();
                let place = changes.open(&parent)?;
                changes.only = Some(under.name().unwrap_or_default().to_vec());
                changes.top = parent.clone();
                changes.add(&place, parent)?;
            }
            Err(errno) => return Err(errno),
        }
        Ok(changes)
    }

    /// The same, to be awaited: it is readable when there is something to take. Needs a runtime.
    ///
    /// # Errors
    /// Those of the system's poll.
    #[expect(unsafe_code, reason = "the runtime takes a descriptor that must stay the same")]
    pub fn awaited(self) -> std::io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is owned by `self`, which lives as long as what is returned, and
        // it is neither closed nor replaced before.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        registered.map_err(Into::into)
    }

    /// Takes what happened; it does not wait.
    pub fn read(&mut self) -> Noticed {
        let mut noticed = Noticed::default();
        let mut buffer = vec![MaybeUninit::uninit(); EVENTS_BYTES];
        let Ok(events) = self.events.try_clone() else {
            return Noticed { stale: true, ..noticed };
        };
        let mut reader = Reader::new(events, &mut buffer);
        // Directories that went, and did not come back under another name.
        let mut away = HashSet::new();
        loop {
            let (kind, directory, cookie, name) = match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(CStr::to_owned);
                    (event.events(), event.wd(), event.cookie(), name)
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(_) => return Noticed { stale: true, ..noticed },
            };
            if kind.contains(ReadFlags::ISDIR | ReadFlags::MOVED_FROM) {
                away.insert(cookie);
            } else if kind.contains(ReadFlags::ISDIR | ReadFlags::MOVED_TO) {
                away.remove(&cookie);
            }
            self.sort(kind, directory, name.as_deref(), &mut noticed);
            if noticed.stale {
                return noticed;
            }
        }
        // What is watched there lies elsewhere now.
        noticed.stale |= !away.is_empty();
        noticed
    }

    fn sort(&mut self, kind: ReadFlags, at: i32, name: Option<&CStr>, noticed: &mut Noticed) {
        let gone = ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT;
        let Some(directory) = self.directories.get(&at).cloned() else {
            noticed.stale |= kind.intersects(gone);
            return;
        };
        if kind.contains(ReadFlags::IGNORED) {
            // The directory is gone; where it is the top one, so is what was watched.
            self.directories.remove(&at);
            noticed.names = true;
            noticed.stale |= self.directories.is_empty();
            return;
        }
        if kind.intersects(gone) || kind.contains(ReadFlags::MOVE_SELF) && directory == self.top {
            noticed.stale = true;
            return;
        }
        let Some(name) = name else { return };
        if self.only.as_ref().is_some_and(|only| only != name.to_bytes()) {
            return;
        }
        let came = ReadFlags::MOVED_TO | ReadFlags::CREATE;
        noticed.names |=
            kind.intersects(ReadFlags::MOVED_TO | ReadFlags::MOVED_FROM | ReadFlags::DELETE);
        noticed.touched |=
            kind.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::ATTRIB | ReadFlags::CREATE);
        if kind.contains(ReadFlags::ISDIR) {
            if kind.intersects(came)
                && self.only.is_none()
                && let Ok(path) = directory.child(name.to_bytes())
            {
                self.directory_came(path, kind.contains(ReadFlags::MOVED_TO), noticed);
            }
        } else if kind.contains(ReadFlags::MOVED_TO)
            && let Ok(place) = self.open(&directory)
        {
            finish(place.as_fd(), name, noticed);
        }
    }

    /// Watches a new directory. What lies in one that was renamed into place is finished, as it is.
    fn directory_came(&mut self, path: RelPath, is_finished: bool, noticed: &mut Noticed) {
        let mut file = |place: BorrowedFd<'_>, name: &CStr| {
            if is_finished {
                finish(place, name, noticed);
            }
        };
        match self.plant(path, &mut file) {
            // It is gone already.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(_) => noticed.stale = true,
        }
    }

    /// Watches a directory and those below it, and tells of every other name there. Each is watched
    /// before it is listed, so no name is missed.
    fn plant(
        &mut self,
        top: RelPath,
        file: &mut dyn FnMut(BorrowedFd<'_>, &CStr),
    ) -> Result<(), Errno> {
        let mut waiting = vec![top.clone()];
        while let Some(path) = waiting.pop() {
            let listed = self.open(&path).and_then(|place| {
                self.add(&place, path.clone())?;
                Dir::new(confine::open_for_reading(place.as_fd())?).map(|listing| (place, listing))
            });
            let (place, listing) = match listed {
                Ok(listed) => listed,
                Err(errno @ (Errno::NOSPC | Errno::TOOBIG)) => return Err(errno),
                Err(errno) if path == top => return Err(errno),
                // Whoever looks will tell why it cannot be listed.
                Err(_) => continue,
            };
            for entry in listing.filter_map(Result::ok) {
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                if is_directory(place.as_fd(), name, entry.file_type()) {
                    waiting.extend(path.child(name.to_bytes()));
                } else {
                    file(place.as_fd(), name);
                }
            }
        }
        Ok(())
    }

    fn open(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        confine::open_directory(self.root.as_fd(), path, Confinement::default())
    }

    fn add(&mut self, place: &OwnedFd, path: RelPath) -> Result<(), Errno> {
        if self.directories.len() >= DIRECTORIES_MAX {
            return Err(Errno::TOOBIG);
        }
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        // It is the held directory that is meant, wherever its name leads by now.
        let held = format!("/proc/self/fd/{}", place.as_raw_fd());
        let number = add_watch(&self.events, held, flags)?;
        self.directories.insert(number, path);
        Ok(())
    }
}

fn is_directory(place: BorrowedFd<'_>, name: &CStr, kind: FileType) -> bool {
    match kind {
        FileType::Directory => true,
        FileType::Unknown => rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|found| stat::file_type(&found) == FileType::Directory),
        _ => false,
    }
}

fn finish(place: BorrowedFd<'_>, name: &CStr, noticed: &mut Noticed) {
    let Ok(found) = rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    if stat::file_type(&found) == FileType::RegularFile && noticed.finished.len() < FINISHED_MAX {
        let inode = stat::inode(&found);
        noticed.finished.push((inode.device, inode.number, inode.changed));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn begun(below: &TempDir) -> Changes {
        let path = below.path().as_os_str().as_encoded_bytes();
        Changes::begin(path, &RelPath::root()).expect("watch")
    }

    fn number(path: std::path::PathBuf) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("stat"))
    }

    fn finished(noticed: &Noticed) -> Vec<u64> {
        noticed.finished.iter().map(|(_, number, _)| *number).collect()
    }

    #[test]
    fn a_renamed_file_is_finished_and_one_that_was_closed_is_not() {
        let place = TempDir::new().expect("temp dir");
        fs::create_dir_all(place.path().join("a/b")).expect("create");
        let mut changes = begun(&place);
        let at = |name: &str| place.path().join(name);
        fs::write(at("a/b/x.tmp"), b"x").expect("write");
        let noticed = changes.read();
        assert!(noticed.touched && noticed.finished.is_empty() && !noticed.stale, "{noticed:?}");
        fs::rename(at("a/b/x.tmp"), at("a/b/x")).expect("rename");
        let noticed = changes.read();
        assert_eq!(finished(&noticed), [number(at("a/b/x"))]);
        assert!(noticed.names && !noticed.stale, "{noticed:?}");
        let noticed = changes.read();
        assert!(!noticed.names && !noticed.touched, "{noticed:?}");
    }

    #[test]
    fn directories_that_come_are_watched_and_those_that_move_by_their_new_names() {
        let place = TempDir::new().expect("temp dir");
        let at = |name: &str| place.path().join(name);
        let elsewhere = TempDir::new_in(place.path().parent().expect("above")).expect("temp dir");
        fs::create_dir_all(elsewhere.path().join("in")).expect("create");
        fs::write(elsewhere.path().join("in/y"), b"y").expect("write");
        let mut changes = begun(&place);
        fs::create_dir(at("new")).expect("create");
        assert!(changes.read().touched);
        fs::write(at("new/x"), b"x").expect("write");
        assert!(changes.read().touched, "a new directory is not watched");
        fs::rename(elsewhere.path(), at("whole")).expect("rename");
        let noticed = changes.read();
        assert_eq!(finished(&noticed), [number(at("whole/in/y"))]);
        fs::rename(at("whole/in/y"), at("whole/in/z")).expect("rename");
        assert_eq!(finished(&changes.read()), [number(at("whole/in/z"))]);
        fs::create_dir(at("new/below")).expect("create");
        changes.read();
        fs::rename(at("new"), at("newer")).expect("rename");
        let noticed = changes.read();
        assert!(!noticed.stale, "{noticed:?}");
        assert_eq!(finished(&noticed), [number(at("newer/x"))]);
        fs::write(at("newer/below/a.tmp"), b"a").expect("write");
        fs::rename(at("newer/below/a.tmp"), at("newer/below/a")).expect("rename");
        assert_eq!(finished(&changes.read()), [number(at("newer/below/a"))]);
        // One that leaves is not what lies here any more.
        fs::rename(at("newer"), elsewhere.path()).expect("rename");
        assert!(changes.read().stale);
    }

    #[test]
    fn of_a_single_file_no_other_name_counts() {
        let place = TempDir::new().expect("temp dir");
        let at = |name: &str| place.path().join(name);
        fs::write(at("one"), b"1").expect("write");
        let path = place.path().as_os_str().as_encoded_bytes();
        let one = RelPath::new("one").expect("a path");
        let mut changes = Changes::begin(path, &one).expect("watch");
        fs::write(at("other"), b"1").expect("write");
        assert!(!changes.read().touched);
        fs::rename(at("other"), at("one")).expect("rename");
        assert_eq!(finished(&changes.read()), [number(at("one"))]);
    }
}
