//! One room for each verb.

mod agent;
mod config;
mod destroy;
mod detached;
mod documents;
mod evacuate;
mod gate;
mod hosts;
mod inspect;
mod install;
mod machines;
mod onstart;
mod probe;
mod reach;
mod receipt;
mod rehearse;
mod report;
mod serve;
mod transfer;
mod uploads;

use std::sync::Arc;

use xfer_core::error::ExitClass;
use xfer_core::location::{Machine, PlatformMachine, Which};

use crate::Outcome;
use crate::args::Verb;
use crate::output::Output;
use crate::settings::{Merged, Surroundings};

/// What every verb is given.
pub(crate) struct Context {
    /// All settings, each resolved by the verb that reads it.
    pub(crate) merged: Merged,
    /// The environment.
    pub(crate) around: Surroundings,
    /// Where words, results and events go.
    pub(crate) output: Arc<Output>,
    /// The verb's name.
    pub(crate) verb: &'static str,
}

/// Whether another process is to do it: what moves files may take long.
pub(crate) fn detaches(verb: &Verb, merged: &Merged) -> bool {
    matches!(verb, Verb::Copy { .. } | Verb::Evacuate(_)) && merged.switch("detach", false)
}

/// Does what was asked.
pub(crate) fn perform(verb: Verb, context: &Context) -> Outcome {
    let output = &context.output;
    if detaches(&verb, &context.merged) {
        return detached::start(context);
    }
    match verb {
        Verb::ReceiptShow { file } => receipt::show(&file, output),
        Verb::ReceiptCheck { file, trusted } => receipt::check(context, &file, &trusted),
        Verb::ReceiptExport { file } => receipt::export(&file, output),
        Verb::Report { file } => report::show(&file, output),
        Verb::ConfigShow { origin } => config::show(context, origin),
        Verb::Completions { shell } => documents::completions(&shell, output),
        Verb::Man => documents::manual(output),
        Verb::Version => documents::version(output),
        Verb::Text(text) => done(output, &text),
        Verb::Copy { copying, sources, destination } => {
            transfer::copy(context, sources, destination, copying)
        }
        Verb::Rehearsed { source, destination } => {
            rehearse::rehearsed_push(context, source, destination)
        }
        Verb::Verify { location, against } => inspect::verify(context, location, &against),
        Verb::List { location } => match &location.machine {
            Machine::Platform(PlatformMachine { platform, which: Which::All }) => {
                machines::list(context, &location, *platform)
            }
            _ => inspect::list(context, location),
        },
        Verb::Uploads { location, stale } => uploads::list(context, &location, stale),
        Verb::Probe { locations } => probe::probe(context, locations),
        Verb::Gate(asked) => gate::gate(context, asked),
        Verb::Evacuate(asked) => evacuate::evacuate(context, asked),
        Verb::Rehearse { directory } => rehearse::rehearse(context, directory.as_deref()),
        Verb::Serve => serve::serve(context),
        Verb::HostsList => hosts::list(context),
        Verb::HostsForget { machine } => hosts::forget(context, &machine),
        Verb::Install { location } => install::install(context, location),
        Verb::Destroy { machine, token, confirm } => {
            destroy::destroy(context, &machine, &token, confirm.as_deref())
        }
        Verb::Transfers => detached::list(context),
        Verb::Attach { id } => detached::attach(context, &id),
        Verb::Cancel { id } => detached::cancel(context, &id),
        Verb::Agent { words } => agent::serve(&words),
    }
}

/// A result in words, and the end.
fn done(output: &Output, text: &str) -> Outcome {
    output.result(text.as_bytes());
    output.conclude(Some(text));
    Ok(ExitClass::Done)
}
