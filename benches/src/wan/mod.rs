//! The race over emulated links: round trip × loss × rate × tool
//!
//! The program's hosts are network namespaces that one link joins; TCP over it is CUBIC, as most
//! hosts have it, where a socket asks for nothing else.

mod ceiling;
pub(crate) mod limited;
pub(crate) mod options;
mod tool;
mod verdict;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xfer_tests::net::{self, Counts, Setup, Weather};
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use crate::Done;
use crate::contender::{Direction, Move};
use crate::course::Course;
use crate::figures;
use crate::lab::{Lab, empty};
use crate::measure::{extent, has_children};
use limited::Limited;
pub(crate) use options::USAGE;
use options::{Cell, Options};
use tool::Tool;

/// The file of one byte that shows whether a tool works, and puts the program's agent there
const FIRST: &[u8] = b"1";
const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// One tool over one link
#[derive(Clone, Copy, Debug)]
struct Run {
    tool: Tool,
    limited: Limited,
    /// Bytes of the file that had arrived at the end
    bytes: u64,
    /// Seconds from the first payload byte, where the tool tells that
    moving: Option<f64>,
    /// What passed meanwhile in the direction of the payload
    counts: Counts,
}

/// All tools over one link
#[derive(Clone, Debug)]
struct Round {
    cell: Cell,
    /// Payload bytes a second that datagrams bring over the link without loss
    ceiling: f64,
    runs: Vec<Run>,
}

struct World {
    lab: Lab,
    net: net::Lab,
    options: Options,
}

/// Races as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let setup = Setup { seed: options.seed, ..Setup::default() };
    let net = net::Lab::with(&setup, &Weather::default());
    let lab = Lab::open_within(&options.of_lab(), &net.far, net.link.far())?;
    let world = World { lab, net, options };
    let tools = world.trial()?;
    let mut rounds: Vec<Round> = Vec::new();
    for cell in world.options.cells() {
        rounds.push(world.round(cell, &tools)?);
        // A race over the grid takes hours: what there is, is there.
        let text = verdict::text(&rounds, &world.options);
        let plot = verdict::plot(&rounds);
        let figures = verdict::figures(&rounds, &world.options);
        figures::write(&world.options.output, &text, &figures, &plot)?;
    }
    Ok(())
}

impl World {
    /// Who is installed and moves one byte over a link that harms nothing
    fn trial(&self) -> Done<Vec<Tool>> {
        let source = self.path("first");
        tree::write(&source, FIRST);
        let home = self.home();
        let mut fit = Vec::new();
        for tool in Tool::ALL.into_iter().filter(|tool| self.options.asks(&tool.name())) {
            if !tool.is_installed() {
                eprintln!("{} is not installed", tool.name());
                continue;
            }
            match self.turn(tool, &home, source.clone(), FIRST_WITHIN) {
                Ok(run) if run.limited.is_finished => fit.push(tool),
                Ok(_) if tool.is_ours() => {
                    return Err(String::from("the first byte took too long"));
                }
                Ok(_) => eprintln!("{} is left out: it took too long", tool.name()),
                Err(text) if tool.is_ours() => return Err(text),
                Err(text) => eprintln!("{} is left out: {text}", tool.name()),
            }
        }
        Ok(fit)
    }

    fn round(&self, cell: Cell, tools: &[Tool]) -> Done<Round> {
        let bytes = cell.bytes(self.options.seconds);
        let source = self.path("file");
        if fs::metadata(&source).map_or(0, |facts| facts.len()) != bytes {
            tree::big_file(&source, bytes, cell.rate);
        }
        let round_trip = Duration::from_millis(cell.rtt.into());
        let weather = Weather::default().megabits(cell.rate).round_trip(round_trip);
        self.net.link.change_both(|now| *now = weather.clone());
        let ceiling = ceiling::measure(&self.net, cell)?;
        self.net.link.change_both(|now| now.loss = cell.loss / 100.0);
        eprintln!("{}: the link carries {:.1} MB/s", cell.name(), ceiling / 1e6);
        let mut runs = Vec::new();
        for tool in tools {
            // What one tool's run taught the program is no help to the next.
            let run = self.turn(*tool, &self.home(), source.clone(), self.options.limit());
            match run {
                Ok(run) => {
                    tell(&run, ceiling);
                    runs.push(run);
                }
                Err(text) => eprintln!("{} failed: {text}", tool.name()),
            }
        }
        Ok(Round { cell, ceiling, runs })
    }

    fn turn(&self, tool: Tool, home: &Xfer, source: PathBuf, limit: Duration) -> Done<Run> {
        let destination = self.lab.destination(false);
        let size = fs::metadata(&source).map_or(0, |facts| facts.len());
        let wanted = Move { source, destination, direction: self.options.direction, synced: false };
        empty(&wanted.destination)?;
        let events = self.path("events");
        drop(fs::remove_file(&events));
        let way = match wanted.direction {
            Direction::Push => net::Direction::Out,
            Direction::Pull => net::Direction::In,
        };
        let before = self.net.link.counts(way);
        let command = tool.command(&self.lab, home, &wanted, &events);
        let servers = [self.lab.server()];
        let said = self.path("said");
        let arrived = || Ok(extent(&wanted.destination)?.bytes);
        let close = || self.lab.close_sessions();
        let limited =
            limited::run(command, &self.net.near, &servers, limit, &said, arrived, close)?;
        let after = self.net.link.counts(way);
        let course = if tool.is_ours() { Course::read(&events) } else { None };
        let Limited { is_finished, arrived, cost } = limited;
        if is_finished && arrived != size {
            return Err(format!("{arrived} of {size} bytes are there"));
        }
        let (bytes, moving) = match course {
            // Its file has its whole length early, and events end where it waits.
            Some(course) if !is_finished => (course.arrived, Some(cost.wall - course.before)),
            course => (arrived, course.map(|course| course.moving)),
        };
        let counts = Counts {
            packets: after.packets - before.packets,
            bytes: after.bytes - before.bytes,
            lost: after.lost - before.lost,
            overflowed: after.overflowed - before.overflowed,
            ..Counts::default()
        };
        empty(&wanted.destination)?;
        Ok(Run { tool, limited, bytes, moving, counts })
    }

    fn home(&self) -> Xfer {
        Xfer::new().ssh_config(self.lab.ssh_config().to_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lab.memory().join(name)
    }
}

impl Run {
    /// Bytes a second from the first payload byte where that is known, else of the whole command
    fn rate(&self) -> f64 {
        self.bytes as f64 / self.moving.unwrap_or(self.limited.cost.wall).max(1e-3)
    }

    /// Bytes a second of the whole command
    fn whole_rate(&self) -> f64 {
        self.bytes as f64 / self.limited.cost.wall
    }
}

impl Lab {
    /// Ends what a tool that was cut off left on the far side
    pub(crate) fn close_sessions(&self) {
        self.kill_sessions();
        while has_children(self.server()) {
            std::thread::yield_now();
        }
    }
}

fn tell(run: &Run, ceiling: f64) {
    let Limited { cost, is_finished, .. } = run.limited;
    eprintln!(
        "{} {:.2} MB/s, {:.1} %; {:.1} s in all{}, processors {:.1} s; {} packets, {:.0} MB, \
         {} lost, {} beyond the queue",
        run.tool.name(),
        run.rate() / 1e6,
        100.0 * run.rate() / ceiling,
        cost.wall,
        if is_finished { "" } else { " (cut off)" },
        cost.processor,
        run.counts.packets,
        run.counts.bytes as f64 / 1e6,
        run.counts.lost,
        run.counts.overflowed
    );
}
