//! What the tuner leaves on the table: its rate over a link, starting cold, beside that of every
//! fixed setting
//!
//! *Regret* is the share by which the tuner's rate stays below that of the best fixed setting of
//! the sweep. A setting is a transport, a number of streams and a size of blocks; the sweep is
//! `sweep`.

mod earlier;
mod options;
mod sweep;
mod verdict;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::Done;
use crate::emulated::{Cell, FIRST_WITHIN, Turn, World};
use options::Options;
pub(crate) use options::USAGE;
use sweep::Setting;

/// One setting over one link
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Nothing is fixed where there is none
    setting: Option<Setting>,
    /// Bytes a second of the whole command: a setting that lets payload begin sooner is better
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

struct Sweep {
    world: World,
    options: Options,
}

/// Sweeps as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let world = World::open(options.seed, options.direction, &options.memory)?;
    let sweep = Sweep { world, options };
    sweep.place_agent()?;
    let mut rounds = sweep.options.earlier()?;
    // A link that was cut short has no second turn of the tuner.
    rounds.retain(|round| round.tuned.len() > 1);
    for cell in sweep.options.cells() {
        if rounds.iter().any(|round| round.cell == cell) {
            continue;
        }
        rounds.push(Round { cell, tuned: Vec::new(), fixed: Vec::new() });
        let last = rounds.len() - 1;
        // The tuner's turns lie around the sweep: the machine may be slower for a while.
        rounds[last].tuned.push(sweep.turn(cell, None)?);
        for setting in sweep.options.settings() {
            let run = sweep.turn(cell, Some(setting))?;
            rounds[last].fixed.push(run);
            // A sweep takes hours: what there is, is there.
            sweep.write(&rounds, true)?;
        }
        rounds[last].tuned.push(sweep.turn(cell, None)?);
        sweep.write(&rounds, false)?;
        eprintln!("{}", verdict::line(&rounds[last]));
    }
    // Of what was swept before alone, nothing is written yet.
    sweep.write(&rounds, false)?;
    println!("{}", verdict::text(&rounds, &sweep.options));
    Ok(())
}

impl Sweep {
    fn place_agent(&self) -> Done {
        let turn = self.command(self.world.first(), None, FIRST_WITHIN)?;
        let is_placed = turn.limited.is_finished;
        if is_placed { Ok(()) } else { Err(String::from("the first byte took too long")) }
    }

    /// One transfer over a link, by a program that has learnt nothing
    fn turn(&self, cell: Cell, setting: Option<Setting>) -> Done<Run> {
        let source = self.world.file(cell, self.options.seconds);
        self.world.set(cell);
        let done = self.command(source, setting, self.options.limit());
        self.world.clear();
        let turn = done?;
        let (is_finished, wall) = (turn.limited.is_finished, turn.limited.cost.wall);
        let rate = turn.arrived() as f64 / wall;
        let name = setting.map_or_else(|| String::from("tuned"), Setting::name);
        let end = if is_finished { "" } else { ", cut off" };
        eprintln!("{}: {name} {:.2} MB/s, {wall:.1} s{end}", cell.name(), rate / 1e6);
        Ok(Run { setting, rate, is_finished, wall })
    }

    fn command(&self, source: PathBuf, setting: Option<Setting>, limit: Duration) -> Done<Turn> {
        let home = match setting {
            Some(setting) => self.world.home().env("XFER_BLOCK_SIZE", setting.block.to_string()),
            None => self.world.home(),
        };
        let host = self.world.lab.address().to_string();
        self.world.turn(source, limit, |wanted, events| {
            let mut arguments = wanted.xfer();
            arguments.splice(1..1, sweep::flags(setting, &host));
            arguments.extend([OsString::from("--events"), events.into()]);
            home.command(arguments)
        })
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
}
