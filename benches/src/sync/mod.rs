//! The race of syncs: a destination that has nearly everything, behind one sshd

mod case;
mod entrant;
mod options;
mod verdict;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::relay::{Direction, Relay};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::Xfer;

use crate::lab::{SSHD, empty};
use crate::measure::{Cost, timed};
use crate::{Done, figures};
use case::{Case, Extent, Ground};
use entrant::{Entrant, Move, Ways};
use options::Options;
pub(crate) use options::USAGE;
use verdict::Verdict;

/// What the server is called in the configuration of ssh
const HOST: &str = "bench";

/// What was asked to end has ended its connections by then
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What one turn cost
#[derive(Clone, Copy, Debug)]
struct Turn {
    cost: Cost,
    /// Bytes that left, whatever they were
    sent: u64,
    /// Bytes that came
    received: u64,
    /// Bytes of files among them, where the program tells
    payload: Option<u64>,
}

/// All turns of one entrant
#[derive(Clone, Debug)]
struct Run {
    entrant: Entrant,
    turns: Vec<Turn>,
}

/// What a file costs that need not be sent, in seconds
#[derive(Clone, Copy, Debug)]
struct Least {
    /// b3sum on all processors, twice
    hashed_twice: f64,
    /// cp
    copied: f64,
}

/// Everything about one case
#[derive(Clone, Debug)]
struct Heat {
    case: Case,
    extent: Extent,
    load: String,
    runs: Vec<Run>,
    least: Vec<Least>,
}

/// Who takes part, and where
struct Track {
    server: Sshd,
    relay: Relay,
    ssh_config: PathBuf,
    xfer: Xfer,
    room: TempDir,
    entrants: Vec<(Entrant, PathBuf)>,
    warmth: Warmth,
}

/// Races as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let track = Track::open(&options)?;
    let mut heats = Vec::new();
    for case in options.cases() {
        heats.push(track.heat(&options, case)?);
    }
    let verdict = Verdict::of(&heats);
    let mut all = verdict.figures(&options);
    let versions = track.entrants.iter().map(|(one, program)| (one.name(), one.version(program)));
    figures::add_versions(&mut all, versions);
    figures::write(&options.output, &verdict.text(), &all, &verdict.plot())
}

impl Track {
    fn open(options: &Options) -> Done<Self> {
        let room = tempfile::Builder::new()
            .prefix("xfer-bench-")
            .tempdir_in(&options.place)
            .map_err(|error| format!("{}: {error}", options.place.display()))?;
        let server = Sshd::start(SSHD);
        let relay = Relay::to(server.port());
        let ssh_config = server.client_config_by_way_of(HOST, relay.port());
        let xfer = Xfer::new().ssh_config(ssh_config.clone());
        let (entrants, warmth) = (Vec::new(), Warmth::new()?);
        let mut track = Self { server, relay, ssh_config, xfer, room, entrants, warmth };
        fs::create_dir_all(track.notes().join("unison")).map_err(|error| error.to_string())?;
        for entrant in Entrant::ALL.into_iter().filter(|one| options.asks(one.name())) {
            let Some(program) = entrant.program(&options.peers) else {
                eprintln!("{} is not installed", entrant.name());
                continue;
            };
            match track.syncs_one_byte((entrant, &program)) {
                Ok(()) => track.entrants.push((entrant, program)),
                Err(text) if entrant == Entrant::Xfer => return Err(text),
                Err(text) => eprintln!("{} is left out: {text}", entrant.name()),
            }
        }
        Ok(track)
    }

    fn notes(&self) -> PathBuf {
        self.room.path().join("notes")
    }

    /// Which also puts the agent there
    fn syncs_one_byte(&self, entrant: (Entrant, &Path)) -> Done {
        let ground = Ground::at(&self.room.path().join("byte"));
        empty(&ground.here())?;
        empty(&ground.there())?;
        fs::write(ground.here().join("byte"), b"1").map_err(|error| error.to_string())?;
        self.turn(entrant, &ground, false)?;
        same(&ground)
    }

    /// Lets everybody sync a case in turns
    fn heat(&self, options: &Options, case: Case) -> Done<Heat> {
        let place = self.room.path().join(case.name());
        let ground = Ground::at(&place);
        case.lay(options, &ground)?;
        let takes_part = |one: &Entrant| case.is_fuzzy() || *one != Entrant::RsyncFuzzy;
        let entrants: Vec<_> = self
            .entrants
            .iter()
            .filter(|(one, _)| takes_part(one))
            .map(|(one, program)| (*one, program.as_path()))
            .collect();
        if case.is_tree() {
            for entrant in entrants.iter().filter(|(one, _)| one.remembers()) {
                self.turn(*entrant, &ground, false)?;
            }
        }
        let extent = case.change(options, &ground)?;
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default().trim_end().to_owned();
        let mut runs: Vec<_> =
            entrants.iter().map(|(one, _)| Run { entrant: *one, turns: Vec::new() }).collect();
        let mut least = Vec::new();
        for round in 0..options.rounds {
            for (run, entrant) in runs.iter_mut().zip(&entrants) {
                if round > 0 && !matches!(run.entrant, Entrant::Xfer | Entrant::Rsync) {
                    continue;
                }
                case.restore(&ground)?;
                self.warmth.renew()?;
                let turn = self.turn(*entrant, &ground, case.deletes())?;
                tell(case, run.entrant, &turn);
                same(&ground).map_err(|text| format!("{}: {text}", run.entrant.name()))?;
                run.turns.push(turn);
            }
            if matches!(case, Case::Renamed { .. }) {
                case.restore(&ground)?;
                self.warmth.renew()?;
                least.push(Least::of(&ground.here().join("new-name"), &place.join("copied"))?);
            }
        }
        fs::remove_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        Ok(Heat { case, extent, load, runs, least })
    }

    /// One turn, with everything that crossed
    fn turn(
        &self,
        (entrant, program): (Entrant, &Path),
        ground: &Ground,
        deletes: bool,
    ) -> Done<Turn> {
        let (notes, user_key) = (self.notes(), self.server.user_key());
        let ways = Ways {
            xfer: &self.xfer,
            ssh_config: &self.ssh_config,
            port: self.relay.port(),
            user_key: &user_key,
            notes: &notes,
        };
        let (here, there) = (ground.here(), ground.there());
        let wanted = Move { here: &here, there: &there, deletes };
        let command = entrant.command(program, &ways, wanted);
        self.relay.begin(None);
        let cost = timed(command, &[self.server.id()])?;
        if !self.relay.wait_idle(ENDS_WITHIN) {
            return Err(format!("{} left a connection open", entrant.name()));
        }
        let [sent, received] = [Direction::Out, Direction::In].map(|way| self.relay.passed(way));
        let payload = (entrant == Entrant::Xfer).then(|| payload(&notes.join("events"))).flatten();
        Ok(Turn { cost, sent, received, payload })
    }
}

/// Memory that is in use already and can be had at once: the cache of a file without data. A
/// virtual machine gives memory that nobody uses to its host, and has it again so slowly that this
/// is what would be measured.
struct Warmth(tempfile::NamedTempFile);

impl Warmth {
    fn new() -> Done<Self> {
        tempfile::NamedTempFile::new().map(Self).map_err(|error| error.to_string())
    }

    /// Takes all that nobody uses
    fn renew(&self) -> Done {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let bytes = kib.unwrap_or(0).saturating_mul(1024);
        let mut file = self.0.reopen().map_err(|error| error.to_string())?;
        let read = file.set_len(bytes).and_then(|()| {
            let mut buffer = vec![0; 1 << 20];
            while file.read(&mut buffer)? > 0 {}
            Ok(())
        });
        read.map_err(|error| format!("{}: {error}", self.0.path().display()))
    }
}

impl Least {
    fn of(file: &Path, copy: &Path) -> Done<Self> {
        let took = |command: &mut Command| {
            let began = Instant::now();
            case::run(command).map(|()| began.elapsed().as_secs_f64())
        };
        let mut hashed_twice = 0.0;
        for _ in 0..2 {
            hashed_twice += took(Command::new("b3sum").arg(file))?;
        }
        let copied = took(Command::new("cp").args(["--reflink=auto"]).arg(file).arg(copy))?;
        fs::remove_file(copy).map_err(|error| error.to_string())?;
        eprintln!("hashed twice {hashed_twice:.2} s, copied {copied:.2} s");
        Ok(Self { hashed_twice, copied })
    }
}

impl Turn {
    fn crossed(&self) -> u64 {
        self.sent + self.received
    }
}

/// What the last event tells
fn payload(events: &Path) -> Option<u64> {
    let text = fs::read_to_string(events).ok()?;
    let result: Value = serde_json::from_str(text.lines().last()?).ok()?;
    result["payload_bytes"].as_u64()
}

fn same(ground: &Ground) -> Done {
    let (here, there) = (ground.here(), ground.there());
    let mut compared = Command::new("diff");
    // Where nothing is deleted, an old name stays.
    compared.args(["-rq", "-x", "old-name"]).arg(here).arg(there);
    case::run(&mut compared).map_err(|text| format!("what arrived is not equal: {text}"))
}

fn tell(case: Case, entrant: Entrant, turn: &Turn) {
    let Cost { wall, processor } = turn.cost;
    let (case, entrant) = (case.name(), entrant.name());
    let mb = [turn.sent, turn.received].map(|bytes| bytes as f64 / 1e6);
    eprintln!(
        "{case} {entrant} {wall:.2} s, processors {processor:.2} s, out {:.3} MB, in {:.3} MB",
        mb[0], mb[1]
    );
}
