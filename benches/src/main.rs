//! Races of the program against its peers: `cargo run --release -p xfer-benches -- ssh`
//!
//! Everything runs on this machine, over a private sshd with one cipher, in turns, so that only
//! ratios within one race mean anything. Nothing here is a test of time: `--quick` shows that the
//! races themselves work.

mod contender;
mod lab;
mod measure;
mod options;
mod race;
mod report;

use std::process::ExitCode;

/// What a step comes to: a value, or a sentence for the developer
type Done<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let done = options::Options::parse(std::env::args_os().skip(1)).and_then(|asked| match asked {
        Some(options) => ssh(&options),
        None => {
            println!("{}", options::USAGE);
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("xfer-benches: {text}");
            ExitCode::FAILURE
        }
    }
}

fn ssh(options: &options::Options) -> Done {
    let lab = lab::Lab::open(options)?;
    let contenders = lab.trial()?;
    let mut results = Vec::new();
    for race in race::programme(options, &lab) {
        results.push(race.run(&lab, options, &contenders)?);
        report::line(results.last().ok_or("a race has a result")?);
    }
    report::table(&results);
    report::write(options, &contenders, &results)
}
