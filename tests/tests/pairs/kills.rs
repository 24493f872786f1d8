//! A kill at a moment that the destination's changes choose

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
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use xfer_tests::random::Random;

use crate::stand::{Round, Side, Stand};

/// Whom to kill
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The program that the user started
    Near,
    /// What it runs on the other machine
    Agent,
}

impl Victim {
    pub(crate) fn chosen(side: Side, random: &mut Random) -> Self {
        let is_agent = side != Side::Here && random.happens(0.5);
        if is_agent { Self::Agent } else { Self::Near }
    }
}

/// How a run ended
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Killed,
    /// Its moment did not come, or it went on without the other machine's process
    Ended(i32),
}

/// Runs the command, and kills when so many changes were seen below the destination
pub(crate) fn kill_at(stand: &Stand, round: &Round, victim: Victim, after: u64) -> Fate {
    let mut changes = Changes::below(&round.there);
    let running = round.start();
    let pid = Pid::from_raw(running.id().cast_signed()).expect("a process");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("a process that nobody waited for");
    let mut is_killed = changes.wait(after, &process);
    if is_killed {
        match victim {
            Victim::Near => is_killed = kill_process(pid, Signal::KILL).is_ok(),
            Victim::Agent => {
                let agents = stand.server.programs();
                is_killed = !agents.is_empty();
                for agent in agents.into_iter().filter_map(|id| Pid::from_raw(id.cast_signed())) {
                    // It may have ended by itself.
                    let _gone = kill_process(agent, Signal::KILL);
                }
            }
        }
    }
    match running.wait().code() {
        137 if victim == Victim::Near => Fate::Killed,
        // It makes itself another agent, or gives up: the next run has what is left to do.
        code if victim == Victim::Agent && is_killed && code != 0 => {
            assert!(matches!(code, 8..=10), "{round:?}: exit {code} when the agent was killed");
            Fate::Killed
        }
        code => Fate::Ended(code),
    }
}

/// What the system tells of changes below a directory
struct Changes {
    events: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    count: u64,
}

impl Changes {
    fn below(root: &Path) -> Self {
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

    /// Waits for so many changes; whether they came before the process ended
    fn wait(&mut self, count: u64, process: &OwnedFd) -> bool {
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
