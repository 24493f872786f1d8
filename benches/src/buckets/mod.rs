//! The race to a bucket and back: a store of S3 on this machine, the program and its peers

mod entrant;
mod options;
mod store;
mod verdict;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use xfer_tests::xfer::Xfer;

use crate::contender::Direction;
use crate::lab::empty;
use crate::measure::timed;
use crate::{Done, direct, figures};
use entrant::{Entrant, Move};
use options::Options;
pub(crate) use options::USAGE;
use store::{Store, Throttle};
use verdict::Verdict;
use work::Case;

/// What keys of files begin with, before their directory's name
const PREFIX: &str = "to";

/// What aws is told: of its two ways of moving files, the faster
const SETTINGS: &str = "[default]\ns3 =\n  preferred_transfer_client = crt\n";

/// What one turn cost
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Seconds
    wall: f64,
    /// Processor seconds of the program and all that it started
    processor: f64,
    /// Those of the store
    store: f64,
    /// The most memory that the program had, in bytes
    memory: u64,
}

/// All turns of one entrant at one thing
#[derive(Clone, Debug)]
struct Run {
    case: Case,
    throttle: Throttle,
    direction: Direction,
    entrant: Entrant,
    turns: Vec<Turn>,
}

/// Who takes part, and where
struct Track {
    entrants: Vec<(Entrant, PathBuf)>,
    room: TempDir,
}

/// Races as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    if let Some(("store", rest)) = words.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        return store::serve(rest);
    }
    let options = Options::parse(words)?;
    let track = Track::open(&options)?;
    let mut runs = Vec::new();
    for case in options.cases() {
        track.race(&options, case, Throttle::default(), &mut runs)?;
    }
    if let Some((case, throttle)) = options.throttled() {
        track.race(&options, case, throttle, &mut runs)?;
    }
    let verdict = Verdict::of(&runs);
    let mut all = verdict.figures(&options);
    let versions = track.entrants.iter().map(|(one, program)| (one.name(), one.version(program)));
    figures::add_versions(&mut all, versions);
    figures::write(&options.output, &verdict.text(), &all, &verdict.plot())
}

impl Track {
    fn open(options: &Options) -> Done<Self> {
        let room = tempfile::Builder::new()
            .prefix("xfer-bench-")
            .tempdir_in(&options.memory)
            .map_err(|error| format!("{}: {error}", options.memory.display()))?;
        let settings = room.path().join("settings");
        fs::write(&settings, SETTINGS).map_err(|error| error.to_string())?;
        let mut track = Self { entrants: Vec::new(), room };
        let store = Store::start(track.room.path(), Throttle::default())?;
        let one = Case::new(1, 1).made(&track.room.path().join("source"))?;
        for entrant in Entrant::ALL.into_iter().filter(|one| options.asks(one.name())) {
            let Some(program) = entrant.program(&options.peers) else {
                eprintln!("{} is not installed", entrant.name());
                continue;
            };
            let fit = [Direction::Push, Direction::Pull].into_iter().try_for_each(|direction| {
                track.turn(&store, (entrant, &program), &one, direction).map(drop)
            });
            match fit {
                Ok(()) => track.entrants.push((entrant, program)),
                Err(text) if !entrant.is_peer() => return Err(text),
                Err(text) => eprintln!("{} is left out: {text}", entrant.name()),
            }
            store.empty()?;
        }
        Ok(track)
    }

    /// Lets everybody move a case in turns, there and back
    fn race(&self, options: &Options, case: Case, throttle: Throttle, runs: &mut Vec<Run>) -> Done {
        let source = case.made(&self.room.path().join("source"))?;
        let store = Store::start(self.room.path(), throttle)?;
        for direction in [Direction::Push, Direction::Pull] {
            if direction == Direction::Pull && options.push_alone {
                continue;
            }
            if direction == Direction::Pull {
                self.fill(&store, &source)?;
            }
            let first = runs.len();
            runs.extend(self.entrants.iter().map(|(entrant, _)| {
                let entrant = *entrant;
                Run { case, throttle, direction, entrant, turns: Vec::new() }
            }));
            for _ in 0..options.rounds {
                for (run, entrant) in runs[first..].iter_mut().zip(&self.entrants) {
                    if direction == Direction::Push {
                        store.empty()?;
                    }
                    direct::touch(self.room.path(), case.total())?;
                    let turn = self.turn(&store, (entrant.0, &entrant.1), &source, direction)?;
                    tell(run, &turn);
                    run.turns.push(turn);
                }
            }
        }
        drop(store);
        empty(&source).and_then(|()| fs::remove_dir(&source).map_err(|error| error.to_string()))
    }

    /// Puts everything there that is to be pulled: objects as anybody may have written them
    fn fill(&self, store: &Store, source: &Path) -> Done {
        store.empty()?;
        let (xfer, program) = (Entrant::Xfer, Entrant::Xfer.program(&[]).unwrap_or_default());
        self.turn(store, (xfer, &program), source, Direction::Push)?;
        empty(&store.objects().join(PREFIX).join(".xfer-receipts"))
    }

    /// One turn, and whether all that was to be moved has been
    fn turn(
        &self,
        store: &Store,
        (entrant, program): (Entrant, &Path),
        source: &Path,
        direction: Direction,
    ) -> Done<Turn> {
        let name = source.file_name().unwrap_or_default();
        let destination = self.room.path().join("destination");
        empty(&destination)?;
        let here = match direction {
            Direction::Push => source.to_path_buf(),
            Direction::Pull => destination.join(name),
        };
        let there = format!("{PREFIX}/{}", name.to_string_lossy());
        let settings = self.room.path().join("settings");
        let wanted = Move { access: store.access(), direction, here, there: &there, settings };
        let xfer = Xfer::new();
        let command = entrant.command(program, &xfer, &wanted);
        let cost = self.room.path().join("cost");
        let before = store.processor();
        let took = timed(measured(&command, &cost), &[])?;
        let (processor, kib) = measurement(&cost)?;
        let landed = match direction {
            Direction::Push => store.objects().join(&there),
            Direction::Pull => destination.join(name),
        };
        same(source, &landed).map_err(|text| format!("{}: {text}", entrant.name()))?;
        empty(&destination)?;
        Ok(Turn {
            wall: took.wall,
            processor,
            store: store.processor() - before,
            memory: kib << 10,
        })
    }
}

/// A command that writes there, as it ends, what it took: seconds in the program and in the
/// system, and KiB
fn measured(plain: &Command, to: &Path) -> Command {
    let mut command = Command::new("time");
    command.args(["-q", "-f", "%U %S %M", "-o"]).arg(to);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Processor seconds, and KiB
fn measurement(from: &Path) -> Done<(f64, u64)> {
    let text =
        fs::read_to_string(from).map_err(|error| format!("apt-get install time: {error}"))?;
    let words: Vec<_> = text.split_whitespace().collect();
    let numbers = match words[..] {
        [user, system, kib] => {
            let [user, system] = [user, system].map(|word| word.parse::<f64>().ok());
            user.zip(system).zip(kib.parse().ok())
        }
        _ => None,
    };
    let ((user, system), kib) = numbers.ok_or_else(|| format!("no three numbers in {text:?}"))?;
    Ok((user + system, kib))
}

fn same(source: &Path, landed: &Path) -> Done {
    let mut compared = Command::new("diff");
    compared.args(["-rq", "-x", ".xfer-receipts"]).arg(source).arg(landed);
    let output = compared.output().map_err(|error| format!("diff: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "what arrived is not equal: {}",
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default()
        )),
    }
}

fn tell(run: &Run, turn: &Turn) {
    let rate = run.case.total() as f64 / turn.wall / 1e6;
    eprintln!(
        "{} {:?} {}{} {:.2} s, {rate:.0} MB/s, processors {:.2} s, the store's {:.2} s, {} MiB",
        run.case.name(),
        run.direction,
        if run.throttle == Throttle::default() { "" } else { "throttled " },
        run.entrant.name(),
        turn.wall,
        turn.processor,
        turn.store,
        turn.memory >> 20,
    );
}
