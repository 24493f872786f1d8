//! `xfer install`: this program, copied like any other file.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use xfer_core::error::ExitClass;
use xfer_core::location::Location;
use xfer_core::options::SelectionOptions;

use super::{Context, reach, transfer};
use crate::Outcome;
use crate::problem::CliError;
use crate::settings::{ConnectionSettings, CopySettings};

/// Puts the program at a location: in it where it is a directory, else under that name.
pub(super) fn install(context: &Context, location: Location) -> Outcome {
    let named = ConnectionSettings::resolve(&context.merged)?.agent_binary;
    let program = named.map_or_else(own_program, Ok)?;
    let source = Location::local(program.as_os_str().as_bytes());
    let connector = reach::connector(context)?;
    let mut settings = CopySettings::resolve(&context.merged, &context.around)?;
    settings.options.selection = SelectionOptions::default();
    settings.dry_run = false;
    transfer::copy_with(context, connector, settings, vec![source], location)
}

/// The file that this process runs.
pub(super) fn own_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| {
        CliError::new(ExitClass::Other, "no-program", "the program's own file is not known")
            .why(error)
            .next("name it: --agent-binary FILE")
    })
}
