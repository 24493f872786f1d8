//! Moments that what a program does to a tree chooses

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// What the system tells of changes below a directory
#[derive(Debug)]
pub struct Changes {
    events: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    count: u64,
}

impl Changes {
    /// Looks from now on
    pub fn below(root: &Path) -> Self {
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
        let mut changes = Self { events, directories: HashMap::new(), count: 0 };
        changes.add(root.to_path_buf());
        changes
    }

    /// One that is gone already is none
    fn add(&mut self, directory: PathBuf) {
        let kinds = WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let Ok(number) = add_watch(&self.events, &directory, kinds) else { return };
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let below: Vec<_> = entries.filter(is_directory).map(|entry| entry.path()).collect();
        self.directories.insert(number, directory);
        below.into_iter().for_each(|directory| self.add(directory));
    }

    /// How many there were until now
    pub fn seen(&mut self) -> u64 {
        self.read();
        self.count
    }

    /// Waits for so many changes; whether they came before the process ended
    pub fn wait(&mut self, count: u64, process: &OwnedFd) -> bool {
        while self.count < count {
            let mut both =
                [PollFd::new(&self.events, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
            match poll(&mut both, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => panic!("poll: {errno}"),
            }
            let (changed, ended) = (!both[0].revents().is_empty(), !both[1].revents().is_empty());
            if changed {
                self.read();
            } else if ended {
                return false;
            }
        }
        true
    }

    fn read(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let events = self.events.try_clone().expect("a descriptor");
        let mut reader = Reader::new(events, &mut buffer);
        let mut made = Vec::new();
        while let Ok(event) = reader.next() {
            self.count += 1;
            if event.events().contains(ReadFlags::CREATE | ReadFlags::ISDIR)
                && let (Some(above), Some(name)) =
                    (self.directories.get(&event.wd()), event.file_name())
            {
                made.push(above.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        made.into_iter().for_each(|directory| self.add(directory));
    }
}
