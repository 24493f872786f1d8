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
    let listed = listed(place);
    let (reason, next) = match row.map(|row| row.state) {
        None => (MachineReason::Gone, listed.as_str()),
        Some(MachineState::Stopped) if is_bid => (
            MachineReason::Outbid,
            "raise the bid, or start it when its GPU is free; its disk is kept, and paid for, \
             until it is destroyed",
        ),
        Some(MachineState::Stopped) => (
            MachineReason::Stopped,
            "start it; its disk is kept, and paid for, until it is destroyed",
        ),
        Some(MachineState::Starting) => (
            MachineReason::Starting,
            "repeat the same command once it runs; a start that waits for its GPU can take hours",
        ),
        Some(MachineState::HostOffline) => (
            MachineReason::HostOffline,
            "do not destroy it for that: the host may come back, and the data with it",
        ),
        Some(MachineState::Unknown | MachineState::Running | MachineState::Stopping) => (
            MachineReason::Unknown,
            "look at it in the platform's own console; do not destroy it for that",
        ),
    };
    let mut failure = Failure::new(place, reason).next(Remedy::text(next));
    if let Some(row) = row.filter(|row| !row.status.is_empty()) {
        failure = failure.detail("state", row.status.clone());
    }
    TransferError::NotRunning(failure)
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
