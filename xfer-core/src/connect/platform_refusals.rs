//! What a platform's failures mean to the user, and what helps.

use crate::discover::{ApiProblem, DangerClock, MachineRow, MachineState, PlatformError};
use crate::error::{
    AuthenticationReason, ConfigReason, Failure, MachineReason, PlatformReason, Remedy,
    TransferError,
};

/// A platform could not be asked, or its answer cannot be used.
pub(super) fn api_error(place: &str, error: PlatformError) -> TransferError {
    let of = |reason, next: &str| {
        let failure = Failure::new(place, reason).next(Remedy::text(next));
        TransferError::Platform(failure.because(error.clone()))
    };
    let again = "repeat the same command in a minute";
    match &error.problem {
        ApiProblem::KeyMissing(_) => {
            let next = "set that variable, or write the key to such a file, readable by you alone \
                        (chmod 600)";
            let failure = Failure::new(place, ConfigReason::PlatformKeyMissing);
            TransferError::Config(failure.because(error).next(Remedy::text(next)))
        }
        ApiProblem::Unusable(_) => {
            let failure = Failure::new(place, ConfigReason::PlatformKey);
            TransferError::Config(failure.because(error))
        }
        ApiProblem::KeyRefused { .. } => {
            let next = "see whether the key was revoked, and whether it may read instances \
                        (instance_read at Vast.ai)";
            let failure = Failure::new(place, AuthenticationReason::PlatformKeyRefused);
            TransferError::Authentication(failure.because(error).next(Remedy::text(next)))
        }
        ApiProblem::NotFound(_) => of(PlatformReason::NotFound, &listed(place)),
        ApiProblem::Missing { command, .. } => {
            let text = format!("{}; then repeat the same command", command.join(" "));
            let remedy = Remedy { text, argv: command.clone() };
            let failure = Failure::new(place, PlatformReason::NotFound).next(remedy);
            TransferError::Platform(failure.because(error))
        }
        ApiProblem::SshFile(_) => {
            let failure = Failure::new(place, ConfigReason::Ssh);
            TransferError::Config(failure.because(error))
        }
        ApiProblem::NotRun(_) => of(
            PlatformReason::Unreached,
            "see what the program says by itself; or name the machine as ssh does: HOST:path",
        ),
        ApiProblem::Refused { .. } => of(PlatformReason::Refused, again),
        ApiProblem::Busy(_) => of(PlatformReason::Busy, again),
        ApiProblem::Unanswered(_) => of(
            PlatformReason::Unreached,
            "see whether the platform is reached from here (some networks are turned away); then \
             repeat the same command",
        ),
        ApiProblem::Answer(_) => of(
            PlatformReason::Answer,
            "nothing was assumed from it; repeat the same command, or name the machine by its \
             address: ssh://root@HOST:PORT/path",
        ),
    }
}

/// Where all machines of the platform of a place are told.
fn listed(place: &str) -> String {
    let platform = place.split(':').next().unwrap_or_default();
    format!("look at its name; xfer ls {platform}: lists the machines that are there")
}

/// A machine that does not run; `None` where it is gone.
pub(super) fn not_running(place: &str, row: Option<&MachineRow>) -> TransferError {
    let is_bid = row.is_some_and(|row| row.clocks.contains(&DangerClock::Interruptible));
    let reason = match row.map(|row| row.state) {
        None => MachineReason::Gone,
        Some(MachineState::Stopped) if is_bid => MachineReason::Outbid,
        Some(MachineState::Stopped) => MachineReason::Stopped,
        Some(MachineState::Starting) => MachineReason::Starting,
        Some(MachineState::HostOffline) => MachineReason::HostOffline,
        Some(MachineState::Unknown | MachineState::Running | MachineState::Stopping) => {
            MachineReason::Unknown
        }
    };
    let mut failure = Failure::new(place, reason);
    for next in ways_on(reason, place) {
        failure = failure.next(Remedy::text(next));
    }
    if let Some(row) = row.filter(|row| !row.status.is_empty()) {
        failure = failure.detail("state", row.status.clone());
    }
    let disk = row.filter(|row| row.clocks.contains(&DangerClock::DiskIsPaidFor));
    if let Some(price) = disk.and_then(|row| row.prices.stopped_per_hour) {
        let costs = format!("${price:.4}/h for its disk, until it is destroyed");
        failure = failure.detail("costs", costs);
    }
    TransferError::NotRunning(failure)
}

/// What helps, the most likely first.
fn ways_on(reason: MachineReason, place: &str) -> Vec<String> {
    const START: &str = "repeat with --start: it is started, waited for, and costs its full \
                         price from then on";
    const BY_HAND: &str = "start it by the platform's own means, and repeat the same command";
    const WAIT: &str = "repeat with --wait-machine 6h, which waits until it runs";
    let start = if place.starts_with("vast:") { START } else { BY_HAND };
    let ways: &[&str] = match reason {
        MachineReason::Stopped => &[start],
        MachineReason::Outbid => {
            &["raise the bid; then repeat with --wait-machine 6h, which waits until it runs", start]
        }
        MachineReason::Starting => {
            &[WAIT, "look at it: a start that waits for its GPU can take hours"]
        }
        MachineReason::HostOffline => {
            &[WAIT, "do not destroy it for that: the host may come back, and the data with it"]
        }
        MachineReason::Gone => return vec![listed(place)],
        _ => &["look at it in the platform's own console; do not destroy it for that"],
    };
    ways.iter().map(ToString::to_string).collect()
}

/// A machine that runs, and nobody says where its sshd is.
pub(super) fn no_login(place: &str, lacking: &[String]) -> TransferError {
    let mut failure = Failure::new(place, PlatformReason::NoLogin);
    for reason in lacking {
        failure = failure.detail("why", reason.clone());
    }
    let next = "repeat the same command in a minute, when the platform may know more; ports are \
                fixed when an instance is created";
    TransferError::Platform(failure.next(Remedy::text(next)))
}

/// Somebody else answers where the platform says that the machine is.
pub(super) fn not_the_machine(place: &str, said: Option<&str>) -> TransferError {
    let says = match said {
        Some(name) => format!("it says that it is {name}"),
        None => "it does not say which machine it is".to_owned(),
    };
    let next = "nothing was sent there; repeat the same command in a minute, when the platform may \
                have the new address";
    let failure = Failure::new(place, AuthenticationReason::NotTheInstance).detail("why", says);
    TransferError::Authentication(failure.next(Remedy::text(next)))
}
