//! Races of the program against its peers, and of its tuner against fixed settings:
//! `cargo run --release -p xfer-benches -- ssh|direct|wan|regret|company|buckets|sync`
//!
//! `ssh` is trees over a private sshd with one cipher; `direct` one file over the loopback, also
//! by ways past ssh; `wan` one file over links of the network laboratory; `regret` the tuner over
//! such links beside every fixed setting; `company` the program there with a crowd at its port,
//! and beside a flow of CUBIC; `buckets` files to a store of S3 and back; `sync` trees and files to
//! a destination that has nearly all of them. Everything runs on this machine, in turns, so that
//! only ratios within one race mean anything. Nothing here is a test of time: `--quick` shows that
//! the races themselves work. `XFER_TEST_BINARY` names the program that races, else it is built.

mod buckets;
mod company;
mod contender;
mod course;
mod direct;
mod emulated;
mod figures;
mod flags;
mod lab;
mod measure;
mod options;
mod plot;
mod race;
mod raw;
mod regret;
mod report;
mod sync;
mod wan;

use std::process::ExitCode;

/// What a step comes to: a value, or a sentence for the developer
type Done<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("xfer-benches: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Done {
    let words: Vec<_> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (race, rest) = words.split_first().map_or(("", &[][..]), |(race, rest)| (race, rest));
    let help = rest.iter().any(|word| word == "--help" || word == "-h");
    match race {
        "direct" if help => println!("{}", direct::USAGE),
        "direct" => return direct::run(rest),
        "wan" if help => println!("{}", wan::USAGE),
        "wan" => return wan::run(rest),
        "regret" if help => println!("{}", regret::USAGE),
        "regret" => return regret::run(rest),
        "company" if help => println!("{}", company::USAGE),
        "company" => return company::run(rest),
        "buckets" if help => println!("{}", buckets::USAGE),
        "buckets" => return buckets::run(rest),
        "sync" if help => println!("{}", sync::USAGE),
        "sync" => return sync::run(rest),
        // What `direct` starts.
        "raw" => return raw::run(rest),
        _ => {
            let words = std::env::args_os().skip(1);
            match options::Options::parse(words)? {
                Some(options) => return ssh(&options),
                None => {
                    let others = [direct::USAGE, wan::USAGE, regret::USAGE, company::USAGE];
                    let last = [buckets::USAGE, sync::USAGE];
                    let ways = [&others[..], &last].concat();
                    println!("{}\n\n{}", options::USAGE, ways.join("\n\n"));
                }
            }
        }
    }
    Ok(())
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
