//! `xfer hosts`: the host keys that are pinned under the names of machines.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use xfer_core::error::ExitClass;
use xfer_core::location::{Location, LocationError, LocationReason, Machine, PlatformMachine};
use xfer_protocol::path::Escaped;

use super::{Context, done, reach};
use crate::Outcome;
use crate::problem::CliError;

/// Prints every pinned key.
pub(super) fn list(context: &Context) -> Outcome {
    let keys = reach::connector(context)?.pinned_keys()?;
    let line = |key: &xfer_core::connect::PinnedKey| {
        let machine = key.machine.to_string();
        let text = format!("{machine:<18} {:<20} {}", key.algorithm, key.fingerprint);
        format!("{}\n", Escaped(text.as_bytes()))
    };
    done(&context.output, &keys.iter().map(line).collect::<String>())
}

/// Forgets the key of a machine, so that the next contact pins anew.
pub(super) fn forget(context: &Context, machine: &OsStr) -> Outcome {
    let machine = one_machine(machine)?;
    let forgotten = reach::connector(context)?.forget(&machine)?;
    if forgotten == 0 {
        let what = format!("{machine}: no host key is pinned for it");
        return Err(CliError::new(ExitClass::NotFound, "not-pinned", what)
            .next("xfer hosts list prints those that are"));
    }
    done(&context.output, &format!("{machine}: forgotten; the next contact pins its key anew\n"))
}

/// A machine alone: a path would say that something of it is meant.
fn one_machine(text: &OsStr) -> Result<PlatformMachine, CliError> {
    let refused =
        || LocationError { text: text.as_bytes().to_vec(), reason: LocationReason::BadMachine };
    let Location { machine, path } = Location::parse(text.as_bytes())?;
    match machine {
        Machine::Platform(machine) if path.is_empty() && machine.name().is_some() => Ok(machine),
        _ => Err(refused().into()),
    }
}
