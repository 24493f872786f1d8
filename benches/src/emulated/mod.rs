//! What the races over emulated links share: the laboratory, and a turn of a tool in it
//!
//! The program's hosts are network namespaces that one link joins; TCP over it is CUBIC, as most
//! hosts have it, where a socket asks for nothing else.

mod ceiling;
mod cell;
mod limited;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) use cell::Cell;
pub(crate) use limited::Limited;
use xfer_tests::net::{self, Counts, Setup, Weather};
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use crate::contender::{Direction, Move};
use crate::course::Course;
use crate::lab::{Lab, empty};
use crate::measure::{extent, has_children};
use crate::{Done, options};

/// The file of one byte that shows whether a tool works, and puts the program's agent there
const FIRST: &[u8] = b"1";

/// More than logins, handshakes and commands send, and next to nothing of a file
const BEYOND_COMMANDS: u64 = 128 << 10;

/// How often is asked whether all is over
const LOOK: Duration = Duration::from_millis(100);

/// What its move may take
pub(crate) const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// Two hosts, the link between them, and the server in the far one
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) net: net::Lab,
    direction: Direction,
}

/// One move over the link
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) limited: Limited,
    /// What the program told; nothing where none did, or no payload moved
    pub(crate) course: Option<Course>,
    /// What passed meanwhile in the direction of the payload
    pub(crate) counts: Counts,
    /// Seconds from when payload had begun to pass the link to the end; what the program tells of
    /// it comes in blocks, of which the first may be a tenth of the file
    moving: Option<f64>,
}

impl World {
    /// A link that harms nothing; everything in memory goes below that directory
    pub(crate) fn open(seed: u64, direction: Direction, memory: &Path) -> Done<Self> {
        let setup = Setup { seed, offloads: true, ..Setup::default() };
        let net = net::Lab::with(&setup, &Weather::default());
        let (memory, disk) = (memory.to_owned(), memory.to_owned());
        let options = options::Options { memory, disk, ..options::Options::default() };
        let lab = Lab::open_within(&options, &net.far, net.link.far())?;
        Ok(Self { lab, net, direction })
    }

    /// The link becomes that one
    pub(crate) fn set(&self, cell: Cell) {
        self.net.link.change_both(|now| *now = cell.weather());
    }

    /// The link harms nothing
    pub(crate) fn clear(&self) {
        self.net.link.change_both(|now| *now = Weather::default());
    }

    /// Payload bytes a second that datagrams bring over that link where it loses none, which it
    /// does not from now on
    pub(crate) fn ceiling(&self, cell: Cell) -> Done<f64> {
        self.set(Cell { loss: 0.0, ..cell });
        ceiling::measure(&self.net, cell)
    }

    /// A file of one byte
    pub(crate) fn first(&self) -> PathBuf {
        let path = self.path("first");
        tree::write(&path, FIRST);
        path
    }

    /// The file that a link carries in so many seconds
    pub(crate) fn file(&self, cell: Cell, seconds: u64) -> PathBuf {
        let path = self.path("file");
        let bytes = cell.bytes(seconds);
        if fs::metadata(&path).map_or(0, |facts| facts.len()) != bytes {
            tree::big_file(&path, bytes, cell.rate);
        }
        path
    }

    /// A home of a program that has learnt nothing
    pub(crate) fn home(&self) -> Xfer {
        Xfer::new().ssh_config(self.lab.ssh_config().to_owned())
    }

    /// Where the program tells what it does
    pub(crate) fn events(&self) -> PathBuf {
        self.path("events")
    }

    /// Moves a file by the command that is made of it and [`World::events`]
    pub(crate) fn turn(
        &self,
        source: PathBuf,
        limit: Duration,
        command: impl FnOnce(&Move, &Path) -> Command,
    ) -> Done<Turn> {
        let destination = self.lab.destination(false);
        let wanted = Move { source, destination, direction: self.direction, synced: false };
        empty(&wanted.destination)?;
        let events = self.events();
        drop(fs::remove_file(&events));
        let before = self.net.link.counts(self.way());
        let command = command(&wanted, &events);
        let servers = [self.lab.server()];
        let said = self.path("said");
        let arrived = || Ok(extent(&wanted.destination)?.bytes);
        let close = || self.lab.close_sessions();
        let beyond = before.bytes + BEYOND_COMMANDS;
        let (is_over, began) = (AtomicBool::new(false), Instant::now());
        let (limited, begun) = std::thread::scope(|scope| {
            let begun = scope.spawn(|| self.begins(beyond, &is_over).map(|at| at - began));
            let limited =
                limited::run(command, &self.net.near, &servers, limit, &said, arrived, close);
            is_over.store(true, Ordering::Relaxed);
            (limited, begun.join())
        });
        let (limited, begun) = (limited?, begun.map_err(|_| "nobody watched the link")?);
        let moving = begun.map(|after| limited.cost.wall - after.as_secs_f64());
        let after = self.net.link.counts(self.way());
        let course = Course::read(&events);
        empty(&wanted.destination)?;
        let counts = Counts {
            packets: after.packets - before.packets,
            bytes: after.bytes - before.bytes,
            lost: after.lost - before.lost,
            overflowed: after.overflowed - before.overflowed,
            ..Counts::default()
        };
        Ok(Turn { limited, course, counts, moving })
    }

    /// When more than so many bytes had passed the link; nothing where that never was
    fn begins(&self, bytes: u64, is_over: &AtomicBool) -> Option<Instant> {
        while !is_over.load(Ordering::Relaxed) {
            if self.net.link.wait_for(self.way(), |counts| counts.bytes > bytes, LOOK) {
                return Some(Instant::now());
            }
        }
        None
    }

    /// Which way payload goes
    pub(crate) fn way(&self) -> net::Direction {
        match self.direction {
            Direction::Push => net::Direction::Out,
            Direction::Pull => net::Direction::In,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lab.memory().join(name)
    }
}

impl Turn {
    /// Bytes of the file that arrived, and the seconds from the first of them, where the program
    /// told of any
    pub(crate) fn payload(&self) -> Option<(u64, f64)> {
        let course = self.course?;
        let from_before = self.limited.cost.wall - course.before;
        let moving = if self.limited.is_finished { course.moving } else { from_before };
        Some((self.arrived(), moving))
    }

    /// The same by what passed the link, where nobody else uses it; without its first bytes, among
    /// which nobody can tell a file's from those of commands
    pub(crate) fn passed(&self) -> Option<(u64, f64)> {
        let _told = self.course?;
        Some((self.arrived().saturating_sub(BEYOND_COMMANDS), self.moving?))
    }

    /// Bytes of the file that arrived, as far as is known
    pub(crate) fn arrived(&self) -> u64 {
        match self.limited.is_finished {
            true => self.limited.arrived,
            // Its file has its whole length early.
            false => self.course.map_or(0, |course| course.arrived),
        }
    }
}

impl Lab {
    /// Ends what a tool that was cut off left on the far side
    fn close_sessions(&self) {
        self.kill_sessions();
        while has_children(self.server()) {
            std::thread::yield_now();
        }
    }
}
