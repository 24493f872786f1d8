//! The race on the loopback: routes of the program's own against peers and against raw streams

mod daemon;
mod entrant;
mod options;
mod verdict;

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::Done;
use crate::course::Course;
use crate::figures;
use crate::lab::{Lab, empty};
use crate::measure::{Cost, timed};
use daemon::Daemon;
pub(crate) use entrant::Route;
use entrant::{Entrant, Surroundings, Who, events};
use options::Options;
pub(crate) use options::USAGE;
use verdict::Verdict;

/// Streams of raw contenders where the program did not say how many it uses
const STREAMS: u64 = 2;

/// One turn
#[derive(Clone, Copy, Debug)]
struct Turn {
    cost: Cost,
    /// What the program told of it
    course: Option<Course>,
}

/// All turns of one entrant
#[derive(Clone, Debug)]
struct Run {
    entrant: Entrant,
    turns: Vec<Turn>,
}

/// Races as the words ask
pub(crate) fn run(words: &[String]) -> Done {
    let options = Options::parse(words)?;
    let lab = Lab::open(&options.of_lab())?;
    let daemon = Daemon::start(lab.memory())?;
    let source = lab.byte();
    let mut around =
        Surroundings { lab: &lab, daemon: &daemon, source, streams: STREAMS, bytes: 1 };
    let mut runs = Vec::new();
    for entrant in Entrant::all(options.push_alone) {
        if !options.asks(&entrant.name()) {
            continue;
        }
        if !entrant.is_installed() {
            eprintln!("{} is not installed", entrant.name());
            continue;
        }
        // The first turn of the program also puts its agent there.
        match take_turn(entrant, &around) {
            Ok(_) => runs.push(Run { entrant, turns: Vec::new() }),
            Err(text) if matches!(entrant.who, Who::Xfer(_)) => return Err(text),
            Err(text) => eprintln!("{} is left out: {text}", entrant.name()),
        }
    }
    (around.source, around.bytes) = (lab.big(), options.size);
    for _ in 0..options.rounds {
        for run in &mut runs {
            let turn = take_turn(run.entrant, &around)?;
            tell(run.entrant, &turn, options.size);
            if let Some(streams) = turn.course.map(|course| course.streams).filter(|n| *n > 0) {
                around.streams = streams;
            }
            run.turns.push(turn);
        }
    }
    let verdict = Verdict::of(&runs, options.size);
    let text = verdict.text();
    figures::write(&options.output, &text, &verdict.figures(&options), &verdict.plot())
}

fn take_turn(entrant: Entrant, around: &Surroundings<'_>) -> Done<Turn> {
    let (lab, destination) = (around.lab, around.lab.destination(false));
    empty(&destination)?;
    drop(fs::remove_file(events(lab)));
    let command = entrant.command(around)?;
    touch(&destination, around.bytes)?;
    let cost = timed(command, &[lab.server(), around.daemon.id()])?;
    let course = match entrant.who {
        Who::Xfer(_) => Course::read(&events(lab)),
        _ => None,
    };
    if entrant.direction.is_some() {
        let landed = destination.join(around.source.file_name().unwrap_or_default());
        let compared = Command::new("cmp").arg("-s").arg(&around.source).arg(landed).status();
        if !compared.is_ok_and(|status| status.success()) {
            return Err(format!("{}: what arrived is not equal", entrant.name()));
        }
    }
    empty(&destination)?;
    Ok(Turn { cost, course })
}

/// Has the machine's memory hold so much, and frees it: of a virtual machine, what was freed a
/// while ago is its host's again, and to have it back takes as long as all the rest
pub(crate) fn touch(place: &Path, bytes: u64) -> Done {
    let ballast = place.join("ballast");
    let failed = |error: io::Error| format!("{}: {error}", ballast.display());
    let piece = vec![0; 1 << 20];
    let mut file = File::create(&ballast).map_err(failed)?;
    for _ in 0..bytes >> 20 {
        file.write_all(&piece).map_err(failed)?;
    }
    fs::remove_file(&ballast).map_err(failed)
}

fn tell(entrant: Entrant, turn: &Turn, bytes: u64) {
    let Cost { wall, processor } = turn.cost;
    let rate = bytes as f64 / wall / 1e6;
    let name = entrant.name();
    let direction = entrant.direction;
    eprintln!("{name} {direction:?} {wall:.2} s, {rate:.0} MB/s, processors {processor:.2} s");
}

/// A port of this machine that nobody listens on
fn free_port() -> Done<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}
