//! The race over emulated links: round trip × loss × rate × tool

mod options;
mod tool;
mod verdict;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xfer_tests::net::Counts;
use xfer_tests::xfer::Xfer;

use crate::Done;
use crate::emulated::{Cell, FIRST_WITHIN, Limited, World};
use crate::figures;
use options::Options;
pub(crate) use options::USAGE;
use tool::Tool;

/// One tool over one link
#[derive(Clone, Copy, Debug)]
struct Run {
    tool: Tool,
    limited: Limited,
    /// Bytes of the file that had arrived at the end
    bytes: u64,
    /// Bytes behind the first that passed the link, and their seconds, of the program
    passed: Option<(u64, f64)>,
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

struct Race {
    world: World,
    options: Options,
}

/// Races as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let world = World::open(options.seed, options.direction, &options.memory)?;
    let race = Race { world, options };
    let tools = race.trial()?;
    let mut rounds: Vec<Round> = Vec::new();
    for cell in race.options.cells() {
        rounds.push(race.round(cell, &tools)?);
        // A race over the grid takes hours: what there is, is there.
        let text = verdict::text(&rounds, &race.options);
        let plot = verdict::plot(&rounds);
        let figures = verdict::figures(&rounds, &race.options);
        figures::write(&race.options.output, &text, &figures, &plot)?;
    }
    Ok(())
}

impl Race {
    /// Who is installed and moves one byte over a link that harms nothing
    fn trial(&self) -> Done<Vec<Tool>> {
        let source = self.world.first();
        let home = self.world.home();
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
        let source = self.world.file(cell, self.options.seconds);
        let ceiling = self.world.ceiling(cell)?;
        self.world.set(cell);
        eprintln!("{}: the link carries {:.1} MB/s", cell.name(), ceiling / 1e6);
        let mut runs = Vec::new();
        for tool in tools {
            // What one tool's run taught the program is no help to the next.
            let home = self.world.home();
            let run = self.turn(*tool, &home, source.clone(), self.options.limit());
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
        let size = fs::metadata(&source).map_or(0, |facts| facts.len());
        let lab = &self.world.lab;
        let command = |wanted: &_, events: &_| tool.command(lab, home, wanted, events);
        let turn = self.world.turn(source, limit, command)?;
        let Limited { is_finished, arrived, .. } = turn.limited;
        if is_finished && arrived != size {
            return Err(format!("{arrived} of {size} bytes are there"));
        }
        // Some give the file its length before its bytes are there.
        let bytes = if tool.is_ours() { turn.arrived() } else { arrived.min(turn.counts.bytes) };
        let passed = turn.passed().filter(|_| tool.is_ours());
        Ok(Run { tool, limited: turn.limited, bytes, passed, counts: turn.counts })
    }
}

impl Run {
    /// Bytes a second since payload began where that is known, else of the whole command
    fn rate(&self) -> f64 {
        let (bytes, seconds) = self.passed.unwrap_or((self.bytes, self.limited.cost.wall));
        bytes as f64 / seconds.max(1e-3)
    }

    /// Bytes a second of the whole command
    fn whole_rate(&self) -> f64 {
        self.bytes as f64 / self.limited.cost.wall
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
