//! One room for each verb.

mod config;
mod documents;
mod receipt;

use std::sync::Arc;

use xfer_core::error::ExitClass;

use crate::Outcome;
use crate::args::Verb;
use crate::output::Output;
use crate::problem::CliError;
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

/// Does what was asked.
pub(crate) fn perform(verb: Verb, context: &Context) -> Outcome {
    let output = &context.output;
    match verb {
        Verb::ReceiptShow { file } => receipt::show(&file, output),
        Verb::ReceiptExport { file } => receipt::export(&file, output),
        Verb::ConfigShow { origin } => config::show(context, origin),
        Verb::Completions { shell } => documents::completions(&shell, output),
        Verb::Man => documents::manual(output),
        Verb::Version => documents::version(output),
        Verb::Text(text) => done(output, &text),
        _ => Err(CliError::new(ExitClass::Other, "not-built", "not in this build yet")),
    }
}

/// A result in words, and the end.
fn done(output: &Output, text: &str) -> Outcome {
    output.result(text.as_bytes());
    output.conclude(ExitClass::Done, "done");
    Ok(ExitClass::Done)
}
