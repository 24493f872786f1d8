//! Why a machine may not be destroyed: what, where, and what to do next.

use std::fmt;

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::path::Escaped;

use super::coverage::Tally;
use super::evidence::{
    Durability, HostKeyChannel, IdentityPart, PlatformWord, Process, ScanFailure, Signature,
    Witness, Writer,
};

/// One reason to hold. The order of variants is that of gravity: first what exists nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A receipt proves an entry with other bytes than it has now.
    ContentDiffers(At),
    /// No receipt names an entry.
    NewFile(At),
    /// A destination does not hold what its receipt says.
    DestinationDiffers(At),
    /// Entries are proven less than the policy asks.
    NotProven {
        /// Which.
        at: At,
        /// What is asked.
        wanted: ProofLevel,
    },
    /// There is no receipt at all.
    NoReceipt,
    /// A tree outside the roots changed, and nobody covered or acknowledged it.
    OutsideChanged(Lost),
    /// A file system outside the roots holds data.
    UncoveredMount(Lost),
    /// Nobody knows what lies outside the roots, or on which file systems.
    OutsideUnknown,
    /// Filters or kinds left entries out, and nobody acknowledged their list.
    Excluded(Lost),
    /// A process can write below a root.
    Writer(Writer),
    /// A process did not let itself be looked at; nothing where nobody looked at any.
    WriterUnknown(Option<Process>),
    /// Others may write a mount below a root.
    ForeignWriters(Vec<u8>),
    /// Entries changed while they were hashed, or after that.
    SourceChanging(At),
    /// A root could not be scanned or hashed in full.
    ScanIncomplete {
        /// The root.
        root: Vec<u8>,
        /// Why.
        why: Incomplete,
    },
    /// A root holds nothing: a volume may have gone from there.
    EmptyRoot(Vec<u8>),
    /// The policy names a root, or any, that was not scanned.
    RootNotScanned(Option<String>),
    /// A destination's files do not open as what they are, or that was not tried.
    NotLoaded {
        /// The destination.
        destination: String,
        /// The files that failed; nothing where none was opened.
        files: Option<Tally>,
    },
    /// The machine is another than it was.
    IdentityChanged {
        /// In what.
        part: IdentityPart,
        /// Since which receipt; nothing for the beginning of the collection.
        since: Option<String>,
    },
    /// Nobody knows whether it is.
    IdentityUnknown {
        /// In what.
        part: IdentityPart,
        /// Since which receipt; nothing for now.
        since: Option<String>,
    },
    /// A receipt is signed by nobody who is trusted.
    UntrustedReceipt {
        /// Which.
        receipt: String,
        /// By whom it is signed.
        signature: Signature,
    },
    /// A receipt's lines are not what was signed.
    DamagedReceipt(String),
    /// A receipt's transfer did not finish all.
    ReceiptIncomplete {
        /// Which.
        receipt: String,
        /// Entries that failed.
        failed: u64,
    },
    /// A destination is not far enough; nothing where nobody knows how far.
    NotDurable {
        /// Which.
        destination: String,
        /// How far it is.
        is: Option<Durability>,
        /// How far it must be.
        wanted: Durability,
    },
    /// A destination's file system or bucket is another than it was, or nobody knows.
    DestinationReplaced(String),
    /// A destination was not looked at.
    NotReadBack(String),
    /// The word for a destination is not that of a witness.
    UntrustedStatement {
        /// Which destination.
        destination: String,
        /// Who looked.
        witness: Witness,
        /// Who signed.
        signature: Signature,
    },
    /// The word for a destination is of another collection.
    ReplayedStatement(String),
    /// A destination was looked at before its receipt was written.
    ReadBackOlderThanReceipt(String),
    /// What was found is too old, or was found before the collection began.
    StaleProof(Stale),
    /// No clock that nobody turns tells an order or an age.
    ClockUncertain(Uncertain),
    /// The platform does not say that the machine runs.
    MachineState(PlatformWord),
    /// A volume goes with the machine, or nobody knows; nothing where nobody knows of any.
    VolumeState(Option<String>),
    /// The machine's host key was proven in no way that the policy takes.
    ChannelUnproven(Option<HostKeyChannel>),
}

/// Entries of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The root.
    pub root: Vec<u8>,
    /// Which of its entries.
    pub entries: Tally,
}

/// What would be lost, and the digest that acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Entries.
    pub count: u64,
    /// Bytes of its files, as far as they are known.
    pub bytes: u64,
    /// Nothing where it cannot be listed, and so not acknowledged.
    pub digest: Option<Digest>,
}

/// Why a scan is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// It did not come to its end.
    Failed(ScanFailure),
    /// Entries could not be listed or read.
    Unreadable(Tally),
    /// Nobody looked again at the end.
    NotLookedAgain,
    /// Files were not synced before they were hashed.
    NotWrittenBack,
}

/// What is too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The whole collection, which ended so many seconds ago.
    Collection {
        /// Its age in seconds.
        age: i64,
    },
    /// The scan of a root, which does not lie within the collection.
    Scan(Vec<u8>),
    /// The look at processes, which was not taken between hashing and the end.
    Processes,
}

/// What no clock tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncertain {
    /// How long the collection took, or how old it is.
    Collection,
    /// When a root was scanned.
    Scan(Vec<u8>),
    /// When processes were looked at.
    Processes,
    /// Whether a destination was looked at before its receipt was written.
    ReadBack(String),
    /// What time it is: the time of day and the time since boot differ by so many seconds more at
    /// the end than at the beginning.
    Turned {
        /// The seconds.
        by: i64,
    },
}

impl Reason {
    /// Its place among reasons: the lower, the graver.
    #[must_use]
    pub fn gravity(&self) -> u8 {
        match self {
            Self::ContentDiffers(_) => 0,
            Self::NewFile(_) => 1,
            Self::DestinationDiffers(_) => 2,
            Self::NotProven { .. } => 3,
            Self::NoReceipt => 4,
            Self::OutsideChanged(_) => 5,
            Self::UncoveredMount(_) => 6,
            Self::OutsideUnknown => 7,
            Self::Excluded(_) => 8,
            Self::Writer(_) => 9,
            Self::WriterUnknown(_) => 10,
            Self::ForeignWriters(_) => 11,
            Self::SourceChanging(_) => 12,
            Self::ScanIncomplete { .. } => 13,
            Self::EmptyRoot(_) => 14,
            Self::RootNotScanned(_) => 15,
            Self::NotLoaded { .. } => 16,
            Self::IdentityChanged { .. } => 17,
            Self::IdentityUnknown { .. } => 18,
            Self::UntrustedReceipt { .. } => 19,
            Self::DamagedReceipt(_) => 20,
            Self::ReceiptIncomplete { .. } => 21,
            Self::NotDurable { .. } => 22,
            Self::DestinationReplaced(_) => 23,
            Self::NotReadBack(_) => 24,
            Self::UntrustedStatement { .. } => 25,
            Self::ReplayedStatement(_) => 26,
            Self::ReadBackOlderThanReceipt(_) => 27,
            Self::StaleProof(_) => 28,
            Self::ClockUncertain(_) => 29,
            Self::MachineState(_) => 30,
            Self::VolumeState(_) => 31,
            Self::ChannelUnproven(_) => 32,
        }
    }

    /// Its name, which stays.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::ContentDiffers(_) => "changed-after-copy",
            Self::NewFile(_) => "not-copied",
            Self::DestinationDiffers(_) => "destination-differs",
            Self::NotProven { .. } => "not-proven",
            Self::NoReceipt => "no-receipt",
            Self::OutsideChanged(_) => "uncovered",
            Self::UncoveredMount(_) => "uncovered-mount",
            Self::OutsideUnknown => "outside-unknown",
            Self::Excluded(_) => "excluded",
            Self::Writer(_) => "open-for-write",
            Self::WriterUnknown(_) => "writer-unknown",
            Self::ForeignWriters(_) => "foreign-writers",
            Self::SourceChanging(_) => "source-changing",
            Self::ScanIncomplete { .. } => "scan-incomplete",
            Self::EmptyRoot(_) => "empty-root",
            Self::RootNotScanned(_) => "root-not-scanned",
            Self::NotLoaded { .. } => "not-loaded",
            Self::IdentityChanged { .. } => "identity-changed",
            Self::IdentityUnknown { .. } => "identity-unknown",
            Self::UntrustedReceipt { .. } => "untrusted-receipt",
            Self::DamagedReceipt(_) => "damaged-receipt",
            Self::ReceiptIncomplete { .. } => "receipt-incomplete",
            Self::NotDurable { .. } => "not-durable",
            Self::DestinationReplaced(_) => "destination-replaced",
            Self::NotReadBack(_) => "not-read-back",
            Self::UntrustedStatement { .. } => "untrusted-statement",
            Self::ReplayedStatement(_) => "replayed-statement",
            Self::ReadBackOlderThanReceipt(_) => "read-back-older-than-receipt",
            Self::StaleProof(_) => "stale-proof",
            Self::ClockUncertain(_) => "clock-uncertain",
            Self::MachineState(_) => "machine-state",
            Self::VolumeState(_) => "volume-state",
            Self::ChannelUnproven(_) => "channel-unproven",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.remedy_with("MACHINE", "DESTINATION")
    }

    /// The same with the names of the machine and of a destination, as commands take them.
    #[must_use]
    pub fn remedy_with(&self, machine: &str, destination: &str) -> String {
        let again = "run xfer gate again";
        match self {
            Self::ContentDiffers(at) | Self::NewFile(at) | Self::NotProven { at, .. } => {
                let root = Escaped(&at.root);
                format!("copy it: xfer evacuate {machine}:{root} {destination}")
            }
            Self::DestinationDiffers(at) => {
                let root = Escaped(&at.root);
                format!("copy it anew: xfer evacuate {machine}:{root} {destination}")
            }
            Self::NoReceipt => format!("copy first: xfer evacuate {machine} {destination}"),
            Self::OutsideChanged(lost) | Self::UncoveredMount(lost) | Self::Excluded(lost) => {
                let root = format!("add --root {}", Escaped(&lost.path));
                match (lost.digest, matches!(self, Self::Excluded(_))) {
                    (Some(digest), true) => {
                        format!("copy without the filter, or --ack {digest} to lose it")
                    }
                    (Some(digest), false) => format!("{root}, or --ack {digest} to lose it"),
                    (None, _) => format!("{root}; what cannot be listed cannot be acknowledged"),
                }
            }
            Self::Writer(writer) => format!("stop pid {}, then {again}", writer.process.pid),
            Self::WriterUnknown(Some(process)) => {
                format!("stop pid {}, or log in as root, then {again}", process.pid)
            }
            Self::ForeignWriters(path) => {
                format!("unmount {}, or name roots beside it, then {again}", Escaped(path))
            }
            Self::SourceChanging(_) => format!("stop what writes there, then {again}"),
            Self::EmptyRoot(_) | Self::RootNotScanned(_) => {
                format!("mount what is missing, or name other roots with --root, then {again}")
            }
            Self::NotLoaded { .. } => "look at these files, copy them anew, or set load-check = \
                 false in gate.toml"
                .to_owned(),
            Self::IdentityChanged { since: Some(_), .. }
            | Self::IdentityUnknown { since: Some(_), .. }
            | Self::UntrustedReceipt { .. }
            | Self::DamagedReceipt(_)
            | Self::ReceiptIncomplete { .. }
            | Self::DestinationReplaced(_) => format!(
                "copy from this machine as it is now: xfer evacuate {machine} {destination}"
            ),
            Self::NotDurable { wanted, .. } => {
                format!("copy to a destination of class {wanted:?}: a store, or another machine")
            }
            Self::MachineState(_) => "see xfer ls; start the machine if it is stopped".to_owned(),
            Self::VolumeState(_) => {
                format!("add the volume with --root, or detach it, then {again}")
            }
            Self::ChannelUnproven(_) => {
                format!("prove its host key: xfer hosts forget {machine}, then {again}")
            }
            Self::OutsideUnknown
            | Self::WriterUnknown(None)
            | Self::ScanIncomplete { .. }
            | Self::IdentityChanged { since: None, .. }
            | Self::IdentityUnknown { since: None, .. }
            | Self::NotReadBack(_)
            | Self::UntrustedStatement { .. }
            | Self::ReplayedStatement(_)
            | Self::ReadBackOlderThanReceipt(_)
            | Self::StaleProof(_)
            | Self::ClockUncertain(_) => again.to_owned(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentDiffers(at) => write!(f, "{at}: changed after the copy"),
            Self::NewFile(at) => write!(f, "{at}: in no receipt"),
            Self::DestinationDiffers(at) => {
                write!(f, "{at}: not, or otherwise, at the destination")
            }
            Self::NotProven { at, wanted } => write!(f, "{at}: not proven {}", wanted.name()),
            Self::NoReceipt => f.write_str("there is no receipt"),
            Self::OutsideChanged(lost) => write!(f, "{lost}: outside the roots"),
            Self::UncoveredMount(lost) => write!(f, "{lost}: a file system outside the roots"),
            Self::OutsideUnknown => f.write_str("nobody knows what changed outside the roots"),
            Self::Excluded(lost) => write!(f, "{lost}: left out"),
            Self::Writer(writer) => {
                let how = if writer.mapped { " (mapped)" } else { "" };
                write!(f, "{} -> {}{how}", writer.process, Escaped(&writer.path))
            }
            Self::WriterUnknown(Some(process)) => write!(f, "{process} may write: unreadable"),
            Self::WriterUnknown(None) => f.write_str("nobody knows which processes write"),
            Self::ForeignWriters(path) => write!(f, "others may write {}", Escaped(path)),
            Self::SourceChanging(at) => write!(f, "{at}: changed while it was looked at"),
            Self::ScanIncomplete { root, why } => write!(f, "{}: {why}", Escaped(root)),
            Self::EmptyRoot(root) => write!(f, "{} holds nothing", Escaped(root)),
            Self::RootNotScanned(Some(root)) => {
                write!(f, "{} was not scanned", Escaped(root.as_bytes()))
            }
            Self::RootNotScanned(None) => f.write_str("no root was scanned"),
            Self::NotLoaded { destination, files: Some(files) } => {
                write!(f, "{}: {} files do not open", shown(destination), files.count)
            }
            Self::NotLoaded { destination, files: None } => {
                write!(f, "{}: its files were not opened", shown(destination))
            }
            Self::IdentityChanged { part, since } => {
                write!(f, "{} is another than {}", part.name(), Since(since))
            }
            Self::IdentityUnknown { part, since } => {
                write!(f, "{} is unknown {}", part.name(), Since(since))
            }
            other => other.of_proof(f),
        }
    }
}

impl Reason {
    /// The rest of the texts: of receipts, destinations, clocks and the platform.
    fn of_proof(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntrustedReceipt { receipt, signature } => {
                write!(f, "receipt {} is signed by {signature}", shown(receipt))
            }
            Self::DamagedReceipt(receipt) => write!(f, "receipt {} is damaged", shown(receipt)),
            Self::ReceiptIncomplete { receipt, failed } => {
                write!(f, "receipt {} counts {failed} failed entries", shown(receipt))
            }
            Self::NotDurable { destination, is: Some(is), wanted } => {
                write!(f, "{} is {is:?}, not {wanted:?}", shown(destination))
            }
            Self::NotDurable { destination, is: None, wanted } => {
                write!(f, "nobody knows whether {} is {wanted:?}", shown(destination))
            }
            Self::DestinationReplaced(destination) => {
                write!(f, "{} is not known to be what it was", shown(destination))
            }
            Self::NotReadBack(destination) => {
                write!(f, "{} was not read back", shown(destination))
            }
            Self::UntrustedStatement { destination, witness, signature } => {
                let who = match witness {
                    Witness::Controller => "the controller",
                    Witness::Agent => "its agent",
                    Witness::Source => "the machine itself",
                };
                let place = shown(destination);
                write!(f, "the word for {place} is from {who}, signed by {signature}")
            }
            Self::ReplayedStatement(destination) => {
                write!(f, "the word for {} is of another time", shown(destination))
            }
            Self::ReadBackOlderThanReceipt(destination) => {
                write!(f, "{} was read back before it was written last", shown(destination))
            }
            Self::StaleProof(Stale::Collection { age }) => {
                write!(f, "what was found is {age} s old")
            }
            Self::StaleProof(Stale::Scan(root)) => {
                write!(f, "{} was not scanned within this collection", Escaped(root))
            }
            Self::StaleProof(Stale::Processes) => {
                f.write_str("writers were not looked for after all was hashed")
            }
            Self::ClockUncertain(what) => write!(f, "{what}"),
            Self::MachineState(PlatformWord::Otherwise(word)) => {
                write!(f, "its platform says {}", shown(word))
            }
            Self::MachineState(PlatformWord::Gone) => f.write_str("its platform says it is gone"),
            Self::MachineState(_) => f.write_str("its platform does not say that it runs"),
            Self::VolumeState(Some(id)) => write!(f, "volume {} may go with it", shown(id)),
            Self::VolumeState(None) => f.write_str("nobody knows of its volumes"),
            Self::ChannelUnproven(Some(channel)) => {
                write!(f, "its host key is proven by {} alone", channel.name())
            }
            Self::ChannelUnproven(None) => f.write_str("nobody knows how its host key was proven"),
            // The others are told above.
            _ => Ok(()),
        }
    }
}

fn shown(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

struct Since<'a>(&'a Option<String>);

impl fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(receipt) => write!(f, "in receipt {}", shown(receipt)),
            None => f.write_str("in this collection"),
        }
    }
}

impl IdentityPart {
    /// What a person calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "the platform",
            Self::Id => "the instance",
            Self::Label => "the container's label",
            Self::Marker => "the container's marker",
            Self::FirstProcess => "the start of process 1",
            Self::RootDevice => "the root device",
            Self::Mounts => "the table of mounts",
            Self::Boot => "the boot",
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { count, bytes, examples } = &self.entries;
        match examples.as_slice() {
            [only] if *count == 1 => {
                write!(f, "{}/{} ({bytes} bytes)", Escaped(&self.root), Escaped(only.as_bytes()))
            }
            _ => write!(f, "{} ({count} entries, {bytes} bytes)", Escaped(&self.root)),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} entries, {} bytes)", Escaped(&self.path), self.count, self.bytes)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} {}", self.pid, Escaped(&self.command))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("nobody"),
            Self::Bad => f.write_str("a signature that does not fit"),
            Self::Good(key) => write!(f, "{key}"),
        }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(ScanFailure::Missing) => f.write_str("is not there"),
            Self::Failed(ScanFailure::NoDirectory) => f.write_str("is no directory"),
            Self::Failed(ScanFailure::Unreachable(why) | ScanFailure::Broken(why)) => {
                write!(f, "could not be scanned: {}", shown(why))
            }
            Self::Unreadable(tally) => write!(f, "{} entries could not be read", tally.count),
            Self::NotWrittenBack => f.write_str("was hashed without being synced before"),
            Self::NotLookedAgain => f.write_str("was not looked at again at the end"),
        }
    }
}

impl fmt::Display for Uncertain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collection => f.write_str("no clock tells how old the evidence is"),
            Self::Scan(root) => write!(f, "no clock tells when {} was scanned", Escaped(root)),
            Self::Processes => f.write_str("no clock tells when writers were looked for"),
            Self::ReadBack(destination) => {
                let place = shown(destination);
                write!(f, "no clock tells whether {place} was read back after its last write")
            }
            Self::Turned { by } => write!(f, "the clock was turned by {by} s meanwhile"),
        }
    }
}
