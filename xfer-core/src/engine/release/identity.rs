//! Which container a machine is.

use crate::connect::Connected;
use crate::endpoint::{EndpointError, Source};
use crate::gate::evidence::Identity;
use crate::location::{Machine, PlatformMachine, Which};

/// What a machine is: what its agent tells of the container, and what its platform calls it.
/// `mark` leaves a marker there where there is none.
///
/// A machine of no platform has the empty name of none, which is known; of one that is not named,
/// such as [`Which::Itself`], the name stays unknown: see [`named`].
pub(crate) async fn identity(
    source: &dyn Source,
    machine: &Machine,
    mark: bool,
) -> Result<Identity, EndpointError> {
    let told = source.identify(mark).await?;
    let (platform, id) = names(machine);
    Ok(Identity::of(platform, id, told))
}

/// A machine's platform and that platform's name of it; both are empty where it is of none.
pub(crate) fn names(machine: &Machine) -> (Option<String>, Option<String>) {
    match machine {
        Machine::Platform(machine) => {
            (Some(machine.platform.name().to_owned()), machine.name().map(str::to_owned))
        }
        _ => (Some(String::new()), Some(String::new())),
    }
}

/// A machine under the name that its platform gives it, which is another one where this process
/// runs on it.
pub(crate) fn named(end: &Connected, machine: &Machine) -> Machine {
    match (machine, &end.rented) {
        (Machine::Platform(PlatformMachine { which: Which::Itself, .. }), Some(row)) => {
            Machine::Platform(row.machine.clone())
        }
        _ => machine.clone(),
    }
}
