//! Why a transfer failed, and which exit code that is.
//!
//! Goals: whoever reads an error learns what happened, to which location or entry, why, and what to
//! do next; whatever reads it learns a stable reason and a class. One function maps an error to its
//! class, so nothing else in xfer knows exit codes.

mod exit;
mod reasons;
mod usage;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::Escaped;

use crate::location::{Location, Machine};

pub use exit::{ExitClass, Retry};
pub use reasons::{
    AuthenticationReason, ConfigReason, DestroyReason, LimitReason, MachineReason, NetworkReason,
    OutputReason, PlatformReason, PolicyReason, ProtocolFailure, StateReason, StoreReason,
    TokenReason,
};
pub use usage::UsageReason;

/// What lies beneath an error, where something does.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a transfer cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(#[from] UsageReason),
    /// A configuration, key or credential file.
    #[error("{0}")]
    Config(Failure<ConfigReason>),
    /// A source or a root that is not there.
    #[error("{location}: no such file or directory")]
    NotFound {
        /// As typed.
        location: Location,
        /// What the endpoint said.
        fault: Fault,
    },
    /// A root that cannot be read or written; the fault decides the class.
    #[error("{location}: {}", of_root(fault))]
    Root {
        /// As typed.
        location: Location,
        /// What the endpoint said.
        fault: Fault,
    },
    /// Some entries failed; each was reported by itself.
    #[error("{problems} of the selected entries failed")]
    Partial {
        /// How many.
        problems: u64,
        /// The class of the gravest.
        gravest: ExitClass,
    },
    /// What is to be moved does not fit.
    #[error("{location}: {}, nothing sent", .room.shortage)]
    Preflight {
        /// The destination.
        location: Location,
        /// What is missing there.
        room: Box<Room>,
    },
    /// The destination cannot prove what was asked.
    #[error("{location}: no entry there can be proven {level}, nothing sent")]
    Unprovable {
        /// The destination.
        location: Location,
        /// The proof level, as it is asked for.
        level: &'static str,
    },
    /// Another transfer holds a destination entry.
    #[error("{location}: another transfer holds {}", .fault.path)]
    Busy {
        /// The destination.
        location: Location,
        /// Which entry.
        fault: Fault,
    },
    /// The network, retries exhausted.
    #[error("{0}")]
    Network(Failure<NetworkReason>),
    /// A refused login, or a peer that is not who it should be.
    #[error("{0}")]
    Authentication(Failure<AuthenticationReason>),
    /// The far side cannot be spoken to.
    #[error("{0}")]
    Protocol(Failure<ProtocolFailure>),
    /// A platform's interface.
    #[error("{0}")]
    Platform(Failure<PlatformReason>),
    /// An object store.
    #[error("{0}")]
    Store(Failure<StoreReason>),
    /// Refused, though it could be done.
    #[error("{0}")]
    Policy(Failure<PolicyReason>),
    /// A machine that is not running.
    #[error("{0}")]
    NotRunning(Failure<MachineReason>),
    /// A token of the gate that is not good.
    #[error("{0}")]
    Token(Failure<TokenReason>),
    /// A destruction that is not proven.
    #[error("{0}")]
    Destroy(Failure<DestroyReason>),
    /// A peer or a file exceeded a limit of ours.
    #[error("{0}")]
    Limit(Failure<LimitReason>),
    /// Entries that would leave the root or collide.
    #[error("{location}: refused: {fault}")]
    Unsafe {
        /// The end at which it would have happened.
        location: Location,
        /// Which entry.
        fault: Fault,
    },
    /// A stop was asked for.
    #[error("stopped by {signal}; what arrived is kept, and the same command continues")]
    Stopped {
        /// Who asked.
        signal: StopSignal,
    },
    /// Our own records.
    #[error("{0}")]
    State(Failure<StateReason>),
    /// A result that was asked for could not be written.
    #[error("{0}")]
    Output(Failure<OutputReason>),
    /// A bug of ours.
    #[error("a bug of xfer: {0}")]
    Internal(&'static str),
}

/// A failure at a place, with what caused it and what to do next.
#[derive(Clone, Debug)]
pub struct Failure<R> {
    /// The machine, file or entry, as a person knows it; shown escaped.
    pub place: String,
    /// What kind of failure.
    pub reason: R,
    /// What lies beneath.
    pub cause: Option<Cause>,
    /// Lines that explain: a label of one or two words, and a text.
    pub details: Vec<Detail>,
    /// What to do next, the most likely first.
    pub next: Vec<Remedy>,
}

/// A line that explains, such as `offered  SHA256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// One or two words.
    pub label: &'static str,
    /// The rest of the line.
    pub text: String,
}

/// Something that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// One line for a person; a command to copy, where there is one.
    pub text: String,
    /// The same as an argument vector, where it is a command.
    pub argv: Vec<String>,
}

impl Remedy {
    /// Advice that is no command.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), argv: Vec::new() }
    }
}

impl<R> Failure<R> {
    /// A failure without a cause and without advice.
    #[must_use]
    pub fn new(place: impl Into<String>, reason: R) -> Self {
        Self { place: place.into(), reason, cause: None, details: Vec::new(), next: Vec::new() }
    }

    /// The same with what lies beneath.
    #[must_use]
    pub fn because(self, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Arc::new(cause)), ..self }
    }

    /// The same with a line that explains.
    #[must_use]
    pub fn detail(mut self, label: &'static str, text: impl Into<String>) -> Self {
        self.details.push(Detail { label, text: text.into() });
        self
    }

    /// The same with something that helps.
    #[must_use]
    pub fn next(mut self, remedy: Remedy) -> Self {
        self.next.push(remedy);
        self
    }
}

impl<R: fmt::Display> fmt::Display for Failure<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(self.place.as_bytes()), self.reason)
    }
}

/// How to find what was meant by a location that is not there.
fn location_remedy(location: &Location) -> Remedy {
    let is_pattern = location.path.iter().any(|byte| b"*?[".contains(byte));
    if matches!(location.machine, Machine::Peer(_)) && !is_pattern {
        let text = "look at the spelling; of a standing peer's roots those are there that its \
                    token names: xfer://HOST:PORT/ROOT/path";
        return Remedy::text(text);
    }
    if matches!(location.machine, Machine::Web(_)) {
        return Remedy::text("look at the address, with a browser or curl -I");
    }
    let at_store =
        matches!(location.machine, Machine::Store(_) | Machine::Rclone(_) | Machine::Hub(_));
    if at_store && !is_pattern {
        return Remedy::text(format!(
            "look at the spelling, in which no byte is encoded; what is there: xfer ls {}",
            Location { path: b"/".to_vec(), ..location.clone() }
        ));
    }
    Remedy::text(match (is_pattern, location.is_local()) {
        (true, true) => "nothing matched; here a pattern is expanded by the shell, not by xfer",
        (true, false) => "nothing there matches that pattern",
        (false, true) => "look at the spelling; a relative path is below the working directory",
        (false, false) => "look at the spelling; a relative path there is below home",
    })
}

/// What helps where a disk that cannot grow has no room.
fn fixed_disk(bytes: Option<u64>) -> Remedy {
    const GB: u64 = 1_000_000_000;
    let size = bytes.map(|bytes| format!(" of {} GB", bytes / GB)).unwrap_or_default();
    Remedy::text(format!(
        "free some space there, or send less (--exclude), and repeat the same command; the disk\
         {size} of a rented machine is fixed and cannot grow, so for more rent another with a \
         larger one"
    ))
}

/// A failure of a root: its location says where.
fn of_root(fault: &Fault) -> String {
    if fault.path.is_root() { fault.story().to_string() } else { fault.to_string() }
}

/// What is missing on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of what there is too little.
    pub shortage: Shortage,
    /// On whose disk.
    pub disk: DiskSize,
}

/// What is known of the size of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskSize {
    /// Nothing: it is its owner's affair.
    NotKnown,
    /// It is a rented one, which stays as large as it was made.
    Fixed {
        /// Its bytes, where its platform tells them.
        bytes: Option<u64>,
    },
}

/// What does not fit, in what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// Bytes.
    #[error(
        "{needed} bytes are needed, of which {reserve} are to stay free, {free} are free, \
         {held} are held by partials"
    )]
    Bytes {
        /// Still to be written, the reserve included.
        needed: u64,
        /// Must stay free.
        reserve: u64,
        /// Free at the destination.
        free: u64,
        /// Held by partials, which the same command continues.
        held: u64,
    },
    /// Inodes.
    #[error("{needed} inodes are needed, {free} are free")]
    Inodes {
        /// Still to be made.
        needed: u64,
        /// Free at the destination.
        free: u64,
    },
}

/// Who asked for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopSignal {
    /// SIGINT, or the caller's own cancellation.
    #[error("SIGINT")]
    Interrupt,
    /// SIGTERM.
    #[error("SIGTERM")]
    Terminate,
    /// SIGHUP, which counts as SIGTERM.
    #[error("SIGHUP")]
    Hangup,
}

impl TransferError {
    /// The class, which decides the exit code: the one place that knows.
    #[must_use]
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Usage(_) => ExitClass::Usage,
            Self::Config(_) => ExitClass::Config,
            Self::NotFound { .. } => ExitClass::NotFound,
            Self::Root { fault, .. } => class_of_root(fault),
            Self::Partial { gravest, .. } => *gravest,
            Self::Preflight { .. } => ExitClass::DestinationIo,
            Self::Unprovable { .. } => ExitClass::Partial,
            Self::Busy { .. } => ExitClass::Busy,
            Self::Network(_) => ExitClass::Network,
            Self::Authentication(_) => ExitClass::Authentication,
            Self::Protocol(_) => ExitClass::Protocol,
            Self::Platform(failure) if failure.reason == PlatformReason::NotFound => {
                ExitClass::NotFound
            }
            Self::Platform(_) => ExitClass::PlatformApi,
            Self::Store(failure) => match failure.reason {
                StoreReason::NoSource | StoreReason::NoRepository => ExitClass::NotFound,
                StoreReason::NoDestination => ExitClass::DestinationIo,
                StoreReason::Nonsense | StoreReason::Refuses => ExitClass::PlatformApi,
            },
            Self::Policy(failure) if failure.reason == PolicyReason::DeadlineCut => {
                ExitClass::Partial
            }
            Self::Policy(_) => ExitClass::Policy,
            Self::NotRunning(_) => ExitClass::MachineNotRunning,
            Self::Token(_) => ExitClass::Token,
            Self::Destroy(failure) => failure.reason.class(),
            Self::Limit(_) => ExitClass::Limit,
            Self::Unsafe { .. } => ExitClass::Unsafe,
            Self::Stopped { signal: StopSignal::Interrupt } => ExitClass::Interrupted,
            Self::Stopped { signal: StopSignal::Terminate | StopSignal::Hangup } => {
                ExitClass::Terminated
            }
            Self::State(_) => ExitClass::State,
            Self::Output(_) => ExitClass::Other,
            Self::Internal(_) => ExitClass::Internal,
        }
    }

    /// The stable id of what happened, in kebab case.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Usage(reason) => reason.id(),
            Self::Config(failure) => failure.reason.id(),
            Self::NotFound { .. } => "not-found",
            Self::Root { fault, .. } | Self::Unsafe { fault, .. } => fault_id(fault.kind),
            Self::Partial { gravest, .. } => class_id(*gravest),
            Self::Preflight { room, .. } => match room.shortage {
                Shortage::Bytes { .. } => "no-space",
                Shortage::Inodes { .. } => "no-inodes",
            },
            Self::Unprovable { .. } => "proof-unsupported",
            Self::Busy { .. } => "busy",
            Self::Network(failure) => failure.reason.id(),
            Self::Authentication(failure) => failure.reason.id(),
            Self::Protocol(failure) => failure.reason.id(),
            Self::Platform(failure) => failure.reason.id(),
            Self::Store(failure) => failure.reason.id(),
            Self::Policy(failure) => failure.reason.id(),
            Self::NotRunning(failure) => failure.reason.id(),
            Self::Token(failure) => failure.reason.id(),
            Self::Destroy(failure) => failure.reason.id(),
            Self::Limit(failure) => failure.reason.id(),
            Self::Stopped { signal: StopSignal::Interrupt } => "interrupted",
            Self::Stopped { signal: StopSignal::Terminate | StopSignal::Hangup } => "terminated",
            Self::State(failure) => failure.reason.id(),
            Self::Output(failure) => failure.reason.id(),
            Self::Internal(_) => "internal",
        }
    }

    /// The state of the machine, where that is why.
    #[must_use]
    pub fn machine_state(&self) -> Option<MachineReason> {
        match self {
            Self::NotRunning(failure) => Some(failure.reason),
            Self::Destroy(failure) => failure.reason.machine(),
            _ => None,
        }
    }

    /// Lines that explain.
    #[must_use]
    pub fn details(&self) -> &[Detail] {
        match self {
            Self::Config(failure) => &failure.details,
            Self::Network(failure) => &failure.details,
            Self::Authentication(failure) => &failure.details,
            Self::Protocol(failure) => &failure.details,
            Self::Platform(failure) => &failure.details,
            Self::Store(failure) => &failure.details,
            Self::Policy(failure) => &failure.details,
            Self::NotRunning(failure) => &failure.details,
            Self::Token(failure) => &failure.details,
            Self::Destroy(failure) => &failure.details,
            Self::Limit(failure) => &failure.details,
            Self::State(failure) => &failure.details,
            Self::Output(failure) => &failure.details,
            _ => &[],
        }
    }

    /// The same error where the place was to be written to.
    pub(crate) fn of_destination(self) -> Self {
        match self {
            Self::Store(failure) if failure.reason == StoreReason::NoSource => {
                Self::Store(Failure { reason: StoreReason::NoDestination, ..failure })
            }
            error => error,
        }
    }

    /// What lies beneath.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Config(failure) => failure.cause.as_ref(),
            Self::Network(failure) => failure.cause.as_ref(),
            Self::Authentication(failure) => failure.cause.as_ref(),
            Self::Protocol(failure) => failure.cause.as_ref(),
            Self::Platform(failure) => failure.cause.as_ref(),
            Self::Store(failure) => failure.cause.as_ref(),
            Self::Policy(failure) => failure.cause.as_ref(),
            Self::NotRunning(failure) => failure.cause.as_ref(),
            Self::Token(failure) => failure.cause.as_ref(),
            Self::Destroy(failure) => failure.cause.as_ref(),
            Self::Limit(failure) => failure.cause.as_ref(),
            Self::State(failure) => failure.cause.as_ref(),
            Self::Output(failure) => failure.cause.as_ref(),
            _ => None,
        }
    }

    /// What to do next, the most likely first.
    #[must_use]
    pub fn remedies(&self) -> Vec<Remedy> {
        let own = match self {
            Self::Config(failure) => &failure.next[..],
            Self::Network(failure) => &failure.next,
            Self::Authentication(failure) => &failure.next,
            Self::Protocol(failure) => &failure.next,
            Self::Platform(failure) => &failure.next,
            Self::Store(failure) => &failure.next,
            Self::Policy(failure) => &failure.next,
            Self::NotRunning(failure) => &failure.next,
            Self::Token(failure) => &failure.next,
            Self::Destroy(failure) => &failure.next,
            Self::Limit(failure) => &failure.next,
            Self::State(failure) => &failure.next,
            Self::Output(failure) => &failure.next,
            _ => &[],
        };
        if own.is_empty() { self.usual_remedy().into_iter().collect() } else { own.to_vec() }
    }

    fn usual_remedy(&self) -> Option<Remedy> {
        Some(Remedy::text(match self {
            Self::Usage(reason) => reason.remedy(),
            Self::NotFound { location, .. } => return Some(location_remedy(location)),
            Self::Preflight { room, .. } => match room.disk {
                DiskSize::Fixed { bytes } => return Some(fixed_disk(bytes)),
                DiskSize::NotKnown => {
                    "free some space there, or send less (--exclude); then repeat the same command"
                }
            },
            Self::Unprovable { .. } => "repeat with --verify received",
            Self::Busy { .. } => "wait for the other transfer; then repeat the same command",
            Self::Network(_) | Self::Stopped { .. } => "repeat the same command: it continues",
            Self::Partial { gravest, .. } => match gravest.retry() {
                Retry::SameCommand => "repeat the same command: only what failed is sent again",
                _ => "put right what is listed; then repeat the same command",
            },
            Self::Root { fault, .. } if fault.kind == FaultKind::Permission => {
                "use a place that you may read and write, or log in as a user who may"
            }
            Self::Root { fault, .. } if fault.kind == FaultKind::NameTooLong => {
                "name a destination each of whose parts is shorter"
            }
            Self::Internal(_) => "please report it, with the output of the same command and -vv",
            _ => return None,
        }))
    }
}

/// A root that the system refuses is no partial success: nothing can be done there.
fn class_of_root(fault: &Fault) -> ExitClass {
    match ExitClass::of_fault(fault) {
        _ if fault.kind == FaultKind::NameTooLong => ExitClass::Usage,
        // As for an entry below it.
        class if fault.kind == FaultKind::Permission => class,
        ExitClass::Partial | ExitClass::SourceChanged => ExitClass::Other,
        class => class,
    }
}

/// Whether what was named as a directory is none.
pub(crate) fn is_no_directory(fault: &Fault) -> bool {
    fault.kind == FaultKind::Conflict && fault.path.is_root() && fault.during == Operation::Open
}

/// The stable id of a fault.
#[must_use]
pub fn fault_id(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Busy => "busy",
        FaultKind::Changed => "source-changed",
        FaultKind::Conflict => "kind-conflict",
        FaultKind::Device => "device-refused",
        FaultKind::FileTooLarge => "file-too-large",
        FaultKind::Io => "io-error",
        FaultKind::Limit => "limit-exceeded",
        FaultKind::Mismatch => "digest-mismatch",
        FaultKind::NameTooLong => "name-too-long",
        FaultKind::NoInodes => "no-inodes",
        FaultKind::NoSpace => "no-space",
        FaultKind::NotFound => "not-found",
        FaultKind::NotLoaded => "not-loaded",
        FaultKind::Permission => "permission-denied",
        FaultKind::Protocol => "protocol-broken",
        FaultKind::Quota => "quota-exceeded",
        FaultKind::ReadOnly => "read-only",
        FaultKind::Tainted => "sync-failed",
        FaultKind::Unmeasured => "no-size",
        FaultKind::Unsafe => "unsafe-entry",
        FaultKind::Unsupported => "unsupported",
    }
}

/// The stable id of a transfer whose entries failed, by the class of the gravest.
#[must_use]
pub fn class_id(class: ExitClass) -> &'static str {
    match class {
        ExitClass::Done => "done",
        ExitClass::SourceChanged => "source-changed",
        ExitClass::Integrity => "digest-mismatch",
        ExitClass::DestinationIo => "destination-io",
        ExitClass::Unsafe => "unsafe-entry",
        ExitClass::Limit => "limit-exceeded",
        ExitClass::Protocol => "protocol-broken",
        ExitClass::Busy => "busy",
        ExitClass::Network => "connection-lost",
        ExitClass::NotFound => "not-found",
        _ => "some-entries-failed",
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::path::RelPath;

    use super::*;

    /// One cause has one code, whether it is a root that is closed to us or an entry below it.
    #[test]
    fn what_may_not_be_read_or_written_is_partial_at_a_root_too() {
        for during in [Operation::Open, Operation::List, Operation::Create] {
            let fault = Fault::new(FaultKind::Permission, during, RelPath::root());
            assert_eq!(class_of_root(&fault), ExitClass::of_fault(&fault), "{fault}");
        }
        let fault = Fault::new(FaultKind::Io, Operation::Open, RelPath::root());
        assert_eq!(class_of_root(&fault), ExitClass::Other);
    }
}
