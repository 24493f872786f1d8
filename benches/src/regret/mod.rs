//! What the tuner leaves on the table: its rate over a link, starting cold, beside that of every
//! fixed setting
//!
//! *Regret* is the share by which the tuner's rate stays below that of the best fixed setting of
//! the sweep. A setting is a transport, a number of streams and a size of blocks; the sweep is
//! `sweep`.

mod options;
mod sweep;
mod verdict;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xfer_tests::net::{self, Setup, Weather};
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use crate::Done;
use crate::contender::{Direction, Move};
use crate::course::Course;
use crate::lab::{Lab, empty};
use crate::measure::extent;
use crate::wan::limited::{self, Limited};
use crate::wan::options::Cell;
use options::Options;
pub(crate) use options::USAGE;
use sweep::Setting;

/// The file of one byte that puts the program's agent there
const FIRST: &[u8] = b"1";

/// One setting over one link
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Nothing is fixed where there is none
    setting: Option<Setting>,
    /// Bytes a second from the first payload byte
    rate: f64,
    is_finished: bool,
    /// Seconds of the whole command
    wall: f64,
}

/// All of them over one link
#[derive(Clone, Debug)]
struct Round {
    cell: Cell,
    /// The tuner's, one for each time
    tuned: Vec<Run>,
    fixed: Vec<Run>,
}

struct World {
    lab: Lab,
    net: net::Lab,
    options: Options,
}

/// Sweeps as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let setup = Setup { seed: options.seed, ..Setup::default() };
    let net = net::Lab::with(&setup, &Weather::default());
    let lab = Lab::open_within(&options.of_lab(), &net.far, net.link.far())?;
    let world = World { lab, net, options };
    world.place_agent()?;
    let mut rounds: Vec<Round> = Vec::new();
    for cell in world.options.cells() {
        rounds.push(Round { cell, tuned: Vec::new(), fixed: Vec::new() });
        let last = rounds.len() - 1;
        // The tuner's turns lie around the sweep: the machine may be slower for a while.
        rounds[last].tuned.push(world.turn(cell, None)?);
        for setting in world.options.settings() {
            let run = world.turn(cell, Some(setting))?;
            rounds[last].fixed.push(run);
            // A sweep takes hours: what there is, is there.
            world.write(&rounds, true)?;
        }
        rounds[last].tuned.push(world.turn(cell, None)?);
        world.write(&rounds, false)?;
        eprintln!("{}", verdict::line(&rounds[last]));
    }
    println!("{}", verdict::text(&rounds, &world.options));
    Ok(())
}

impl World {
    fn place_agent(&self) -> Done {
        let source = self.path("first");
        tree::write(&source, FIRST);
        let run = self.command(source, None, Duration::from_secs(60))?;
        if run.0.is_finished { Ok(()) } else { Err(String::from("the first byte took too long")) }
    }

    /// One transfer over a link, by a program that has learnt nothing
    fn turn(&self, cell: Cell, setting: Option<Setting>) -> Done<Run> {
        let bytes = cell.bytes(self.options.seconds);
        let source = self.path("file");
        if fs::metadata(&source).map_or(0, |facts| facts.len()) != bytes {
            tree::big_file(&source, bytes, cell.rate);
        }
        let round_trip = Duration::from_millis(cell.rtt.into());
        let mut weather = Weather::default().megabits(cell.rate).round_trip(round_trip);
        weather.loss = cell.loss / 100.0;
        self.net.link.change_both(|now| *now = weather.clone());
        let done = self.command(source, setting, self.options.limit());
        self.net.link.change_both(|now| *now = Weather::default());
        let (Limited { cost, is_finished, arrived }, course) = done?;
        let (arrived, moving) = match course {
            Some(course) if !is_finished => (course.arrived, cost.wall - course.before),
            Some(course) => (arrived, course.moving),
            None => (0, cost.wall),
        };
        let rate = arrived as f64 / moving.max(1e-3);
        let name = setting.map_or_else(|| String::from("tuned"), Setting::name);
        let end = if is_finished { "" } else { ", cut off" };
        eprintln!("{}: {name} {:.2} MB/s, {:.1} s{end}", cell.name(), rate / 1e6, cost.wall);
        Ok(Run { setting, rate, is_finished, wall: cost.wall })
    }

    fn command(
        &self,
        source: PathBuf,
        setting: Option<Setting>,
        limit: Duration,
    ) -> Done<(Limited, Option<Course>)> {
        let destination = self.lab.destination(false);
        let direction = self.options.direction;
        let wanted = Move { source, destination, direction, synced: false };
        empty(&wanted.destination)?;
        let events = self.path("events");
        drop(fs::remove_file(&events));
        let mut arguments = wanted.xfer();
        arguments.splice(1..1, sweep::flags(setting, &self.lab.address().to_string()));
        arguments.extend([OsString::from("--events"), events.clone().into()]);
        let home = Xfer::new().ssh_config(self.lab.ssh_config().to_owned());
        let home = match setting {
            Some(setting) => home.env("XFER_BLOCK_SIZE", setting.block.to_string()),
            None => home,
        };
        let servers = [self.lab.server()];
        let said = self.path("said");
        let arrived = || Ok(extent(&wanted.destination)?.bytes);
        let close = || self.lab.close_sessions();
        let near = &self.net.near;
        let command = home.command(arguments);
        let run = limited::run(command, near, &servers, limit, &said, arrived, close)?;
        let course = Course::read(&events);
        empty(&wanted.destination)?;
        Ok((run, course))
    }

    fn write(&self, rounds: &[Round], quietly: bool) -> Done {
        let figures = verdict::figures(rounds, &self.options);
        let path = self.options.output.with_extension("json");
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::write(&path, format!("{figures:#}\n")).map_err(told)?;
        if quietly {
            return Ok(());
        }
        let text = verdict::text(rounds, &self.options);
        let table = self.options.output.with_extension("md");
        fs::write(&table, text).map_err(|error| format!("{}: {error}", table.display()))?;
        let plot = self.options.output.with_extension("svg");
        let drawn = verdict::plot(rounds).svg();
        fs::write(&plot, drawn).map_err(|error| format!("{}: {error}", plot.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lab.memory().join(name)
    }
}

/// Which way payload goes, for flags
fn direction(is_pull: bool) -> Direction {
    if is_pull { Direction::Pull } else { Direction::Push }
}
