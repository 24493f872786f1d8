//! The table and the JSON file

use std::fs;

use serde_json::{Value, json};

use crate::Done;
use crate::contender::Contender;
use crate::measure::Cost;
use crate::options::Options;
use crate::race::Outcome;

const WALL: fn(&Cost) -> f64 = |cost| cost.wall;
const PROCESSOR: fn(&Cost) -> f64 = |cost| cost.processor;

/// One race on stderr, as soon as it is over
pub(crate) fn line(outcome: &Outcome) {
    eprintln!("{}", row(outcome));
}

/// All races on stdout: medians in seconds, and the best peer's over ours
pub(crate) fn table(outcomes: &[Outcome]) {
    println!("medians in seconds; ratio = best peer / xfer; in brackets, processor seconds");
    println!("{:<18}{:>8}{:>8}{:>8}  contenders", "race", "ratio", "target", "cpu");
    for outcome in outcomes {
        println!("{}", row(outcome));
    }
}

/// Writes everything that was measured
pub(crate) fn write(options: &Options, fit: &[Contender], outcomes: &[Outcome]) -> Done {
    let versions: serde_json::Map<_, _> =
        fit.iter().map(|one| (one.name().to_owned(), json!(one.version()))).collect();
    let races: Vec<_> = outcomes.iter().map(race).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let all = json!({
        "schema": "xfer.bench/1",
        "kernel": kernel.trim_end(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "rounds": options.rounds,
        "versions": versions,
        "races": races,
    });
    let path = &options.output;
    fs::write(path, format!("{all:#}\n")).map_err(|error| format!("{}: {error}", path.display()))
}

fn row(outcome: &Outcome) -> String {
    let number = |ratio: Option<f64>| format!("{:.2}", ratio.unwrap_or(f64::NAN));
    let mut text = format!(
        "{:<18}{:>8}{:>8.2}{:>8} ",
        outcome.name,
        number(outcome.ratio(WALL)),
        outcome.target,
        number(outcome.ratio(PROCESSOR)),
    );
    for (contender, _) in &outcome.costs {
        let [wall, processor] = [WALL, PROCESSOR].map(|of| outcome.median(*contender, of));
        let [wall, processor] = [wall, processor].map(|median| median.unwrap_or(f64::NAN));
        text.push_str(&format!(" {} {wall:.2} ({processor:.2})", contender.name()));
    }
    text
}

fn race(outcome: &Outcome) -> Value {
    let contenders = outcome.costs.iter().map(|(contender, costs)| {
        let seconds = |of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<_>>();
        json!({
            "name": contender.name(),
            "seconds": seconds(WALL),
            "median": outcome.median(*contender, WALL),
            "processor_seconds": seconds(PROCESSOR),
        })
    });
    json!({
        "name": outcome.name,
        "files": outcome.extent.files,
        "bytes": outcome.extent.bytes,
        "load_before": outcome.load,
        "best_peer": outcome.best_peer(WALL).map(|(peer, _)| peer.name()),
        "ratio": outcome.ratio(WALL),
        "processor_ratio": outcome.ratio(PROCESSOR),
        "target": outcome.target,
        "contenders": contenders.collect::<Vec<_>>(),
    })
}
