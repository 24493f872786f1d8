//! xfer: moves datasets in and checkpoints out of rented machines, verified and resumable.
//!
//! A command line is parsed, its settings are resolved, its verb performs, one number comes out.

mod args;
mod commands;
mod exit;
mod moment;
mod output;
mod problem;
mod progress;
mod prompt;
mod read_file;
mod reporter;
mod runtime;
mod settings;
mod speed;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use xfer_core::clock::SystemClock;
use xfer_core::error::ExitClass;

use crate::args::Invocation;
use crate::commands::Context;
use crate::output::Output;
use crate::problem::CliError;
use crate::settings::{OutputSettings, Surroundings};

fn main() -> ExitCode {
    exit::prepare();
    let words: Vec<OsString> = std::env::args_os().collect();
    let clock = SystemClock::shared();
    let spare = Output::plain(exit::wants_json(&words), Arc::clone(&clock));
    match exit::catch_bugs(|| prepare(&words, clock)) {
        Ok((context, verb)) => {
            let outcome = exit::catch_bugs(|| commands::perform(verb, &context));
            let outcome = outcome.map_err(|error| error.of_verb(context.verb));
            exit::end(&context.output, outcome)
        }
        Err(error) => exit::end(&spare, Err(error)),
    }
}

/// From words to what the verb needs. Nothing is done yet, and no machine is reached.
fn prepare(
    words: &[OsString],
    clock: Arc<dyn xfer_core::clock::Clock>,
) -> Result<(Context, args::Verb), CliError> {
    let Invocation { verb, typed } = args::parse(words)?;
    let around = Surroundings::of_process(clock.now());
    let merged = settings::merge(typed, &around)?;
    merged.refuse_pair("quiet", "verbose")?;
    let mut settings = OutputSettings::resolve(&merged)?;
    if commands::detaches(&verb, &merged) {
        settings = settings.without_files();
    }
    let output = Arc::new(Output::open(settings, clock)?);
    Ok((Context { merged, around, output, verb: verb.name() }, verb))
}

/// What a verb comes to: its class, once all is printed.
type Outcome = Result<ExitClass, CliError>;
