//! Classes of outcome, the exit code of each, and which of several is the gravest.

use xfer_protocol::fault::{Fault, FaultKind, Operation};

/// What kind of outcome a command had; each has one exit code, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitClass {
    /// Done and verified to the asked level.
    Done,
    /// Any other failure.
    Other,
    /// A bad flag or a bad location.
    Usage,
    /// A configuration, key or credential file.
    Config,
    /// A source or root that is not there.
    NotFound,
    /// Some entries failed.
    Partial,
    /// The source changed while it was read.
    SourceChanged,
    /// Bytes that do not have their digest.
    Integrity,
    /// Space, inodes, quota, read-only, input and output errors at the destination.
    DestinationIo,
    /// Another transfer holds the destination entry.
    Busy,
    /// The network, retries exhausted.
    Network,
    /// Authentication, or the identity of a peer.
    Authentication,
    /// Protocol, version, or no agent for that machine.
    Protocol,
    /// The platform's API.
    PlatformApi,
    /// Local state or a receipt is corrupt.
    State,
    /// A peer or a file exceeded a limit of ours.
    Limit,
    /// An unsafe or colliding entry was refused.
    Unsafe,
    /// Refused by policy before the first payload byte.
    Policy,
    /// The machine is not running.
    MachineNotRunning,
    /// The gate holds.
    Hold,
    /// A token of the gate that is invalid, stale or another machine's.
    Token,
    /// The outcome of a destruction is unknown.
    DestroyUnknown,
    /// A bug of ours.
    Internal,
    /// SIGINT, after a clean stop.
    Interrupted,
    /// SIGTERM, after a clean stop.
    Terminated,
}

/// Whether running the same command again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same command continues.
    SameCommand,
    /// It does once something was put right.
    AfterFix,
    /// It never will.
    Never,
}

impl Retry {
    /// As events name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SameCommand => "same-command",
            Self::AfterFix => "after-fix",
            Self::Never => "never",
        }
    }
}

/// A row: class, exit code, what retrying does, meaning.
type Row = (ExitClass, u8, Retry, &'static str);

/// Every class, in the order of exit codes.
const TABLE: [Row; 25] = [
    (ExitClass::Done, 0, Retry::Never, "done and verified to the asked level"),
    (ExitClass::Other, 1, Retry::AfterFix, "any other failure"),
    (ExitClass::Usage, 2, Retry::Never, "usage (bad flag, bad location)"),
    (ExitClass::Config, 3, Retry::AfterFix, "configuration, key or credential file"),
    (ExitClass::NotFound, 4, Retry::AfterFix, "source or root not found"),
    (ExitClass::Partial, 5, Retry::AfterFix, "partial: some entries failed"),
    (ExitClass::SourceChanged, 6, Retry::SameCommand, "source changed while it was read"),
    (ExitClass::Integrity, 7, Retry::SameCommand, "integrity mismatch"),
    (ExitClass::DestinationIo, 8, Retry::AfterFix, "destination I/O (space, inodes, quota, …)"),
    (ExitClass::Busy, 9, Retry::SameCommand, "busy: another transfer holds the destination entry"),
    (ExitClass::Network, 10, Retry::SameCommand, "network, retries exhausted"),
    (ExitClass::Authentication, 11, Retry::AfterFix, "authentication or peer identity"),
    (ExitClass::Protocol, 12, Retry::AfterFix, "protocol, version, or no agent for that machine"),
    (ExitClass::PlatformApi, 13, Retry::SameCommand, "platform API"),
    (ExitClass::State, 14, Retry::AfterFix, "local state or a receipt is corrupt"),
    (ExitClass::Limit, 15, Retry::Never, "a peer or file exceeded a limit of ours"),
    (ExitClass::Unsafe, 16, Retry::AfterFix, "unsafe or colliding entry refused"),
    (ExitClass::Policy, 17, Retry::AfterFix, "refused by policy before the first payload byte"),
    (ExitClass::MachineNotRunning, 18, Retry::AfterFix, "machine not running"),
    (ExitClass::Hold, 20, Retry::AfterFix, "gate: Hold"),
    (ExitClass::Token, 21, Retry::AfterFix, "gate token invalid, stale, or another machine's"),
    (ExitClass::DestroyUnknown, 22, Retry::SameCommand, "outcome of destroy unknown"),
    (ExitClass::Internal, 70, Retry::Never, "internal bug"),
    (ExitClass::Interrupted, 130, Retry::SameCommand, "SIGINT after a clean stop"),
    (ExitClass::Terminated, 143, Retry::SameCommand, "SIGTERM after a clean stop"),
];

/// The gravest first. The codes that stop a transfer by themselves (a bug, a stop asked for) lead;
/// the classes that the published order does not name stand beside the nearest in meaning.
const GRAVITY: [ExitClass; 25] = [
    ExitClass::Internal,
    ExitClass::Interrupted,
    ExitClass::Terminated,
    ExitClass::Integrity,
    ExitClass::State,
    ExitClass::Authentication,
    ExitClass::Unsafe,
    ExitClass::Limit,
    ExitClass::DestinationIo,
    ExitClass::Protocol,
    ExitClass::MachineNotRunning,
    ExitClass::PlatformApi,
    ExitClass::Network,
    ExitClass::Busy,
    ExitClass::Policy,
    ExitClass::Hold,
    ExitClass::Token,
    ExitClass::DestroyUnknown,
    ExitClass::Config,
    ExitClass::Usage,
    ExitClass::NotFound,
    ExitClass::SourceChanged,
    ExitClass::Partial,
    ExitClass::Other,
    ExitClass::Done,
];

impl ExitClass {
    /// All classes, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        self.row().1
    }

    /// Whether running the same command again can help.
    #[must_use]
    pub fn retry(self) -> Retry {
        self.row().2
    }

    /// One line for a person.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().3
    }

    /// The class of an exit code, as a finished process reports it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    /// The graver of two.
    #[must_use]
    pub fn gravest(self, other: Self) -> Self {
        if other.gravity() < self.gravity() { other } else { self }
    }

    /// What one failed entry makes of the whole.
    ///
    /// What the system refused while we wrote concerns the destination; while we read, only the
    /// entry.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Self {
        let writing = is_writing(fault.during);
        match fault.kind {
            FaultKind::Busy => Self::Busy,
            FaultKind::Changed => Self::SourceChanged,
            FaultKind::Conflict
            | FaultKind::Device
            | FaultKind::NameTooLong
            | FaultKind::Unmeasured
            | FaultKind::Unsupported => Self::Partial,
            FaultKind::FileTooLarge
            | FaultKind::NoInodes
            | FaultKind::NoSpace
            | FaultKind::Quota
            | FaultKind::ReadOnly
            | FaultKind::Tainted => Self::DestinationIo,
            FaultKind::Io if writing => Self::DestinationIo,
            FaultKind::Io | FaultKind::Permission => Self::Partial,
            FaultKind::Limit => Self::Limit,
            FaultKind::Mismatch | FaultKind::NotLoaded => Self::Integrity,
            FaultKind::NotFound if fault.path.is_root() => Self::NotFound,
            FaultKind::NotFound if writing => Self::DestinationIo,
            FaultKind::NotFound => Self::SourceChanged,
            FaultKind::Protocol => Self::Protocol,
            FaultKind::Unsafe => Self::Unsafe,
        }
    }

    fn row(self) -> &'static Row {
        // INVARIANT: a test holds that every class has a row.
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[1])
    }

    fn gravity(self) -> usize {
        GRAVITY.iter().position(|&class| class == self).unwrap_or(GRAVITY.len())
    }
}

fn is_writing(during: Operation) -> bool {
    match during {
        Operation::Commit
        | Operation::Create
        | Operation::Lock
        | Operation::Remove
        | Operation::SetMetadata
        | Operation::Sync
        | Operation::Write => true,
        Operation::Hash | Operation::List | Operation::Open | Operation::Read | Operation::Stat => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use xfer_protocol::path::RelPath;

    use super::*;

    #[test]
    fn every_class_has_one_code_and_one_place_in_the_order() {
        let codes: HashSet<u8> = ExitClass::all().map(ExitClass::code).collect();
        assert_eq!(codes.len(), TABLE.len());
        for class in ExitClass::all() {
            assert_eq!(ExitClass::from_code(class.code()), Some(class));
            assert_eq!(GRAVITY.iter().filter(|&&c| c == class).count(), 1, "{class:?}");
        }
        assert_eq!(ExitClass::from_code(19), None);
    }

    #[test]
    fn the_gravest_of_several_follows_the_published_order() {
        let order = [7, 14, 11, 16, 8, 12, 18, 10, 6, 5, 0];
        for (place, &graver) in order.iter().enumerate() {
            for &lighter in &order[place + 1..] {
                let (a, b) = (class(graver), class(lighter));
                assert_eq!(a.gravest(b), a, "{graver} over {lighter}");
                assert_eq!(b.gravest(a), a, "{graver} over {lighter}");
            }
        }
    }

    #[test]
    fn a_fault_counts_by_its_side() {
        let file = RelPath::new("a").unwrap();
        for (kind, during, path, code) in [
            (FaultKind::Io, Operation::Read, &file, 5),
            (FaultKind::Io, Operation::Sync, &file, 8),
            (FaultKind::NoSpace, Operation::Write, &file, 8),
            (FaultKind::NotFound, Operation::Open, &file, 6),
            (FaultKind::NotFound, Operation::Open, &RelPath::root(), 4),
            (FaultKind::Changed, Operation::Read, &file, 6),
            (FaultKind::Mismatch, Operation::Commit, &file, 7),
            (FaultKind::Unsafe, Operation::Create, &file, 16),
            (FaultKind::Busy, Operation::Lock, &file, 9),
            (FaultKind::NameTooLong, Operation::Create, &file, 5),
        ] {
            let fault = Fault::new(kind, during, path.clone());
            assert_eq!(ExitClass::of_fault(&fault).code(), code, "{fault}");
        }
    }

    fn class(code: u8) -> ExitClass {
        ExitClass::from_code(code).unwrap()
    }
}
