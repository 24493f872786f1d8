//! What was found: the machine, its files, what is said of them elsewhere, and by whom.
//!
//! Nothing (`None`) always means that nobody knows, never that there is none.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xfer_protocol::digest::Digest;
use xfer_protocol::survey::Container;

use super::coverage::{Coverage, Tally};
use crate::trust::PublicKey;

/// All that a verdict is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The machine that would be destroyed.
    pub machine: MachineEvidence,
    /// Random bytes that the controller drew for this collection; statements of destinations
    /// repeat them, so that none is of an earlier one.
    pub nonce: [u8; 32],
    /// The key of this state directory, which is always trusted.
    pub own_key: PublicKey,
    /// When the collection began.
    pub began: Moment,
    /// When it ended: after the last look at the machine.
    pub ended: Moment,
    /// How the machine's host key was proven.
    pub channel: Option<HostKeyChannel>,
    /// The protected roots, scanned and hashed anew.
    pub roots: Vec<RootEvidence>,
    /// The receipts at hand, in the order in which [`Coverage`] names them.
    pub receipts: Vec<ReceiptEvidence>,
    /// Who has what open.
    pub processes: Option<Processes>,
    /// File systems on the machine that hold data, lie outside the roots and can be written.
    pub mounts: Option<Vec<Outside>>,
    /// What lies outside the roots and changed since the container began.
    pub outside: Option<Vec<Outside>>,
    /// The machine's volumes.
    pub volumes: Option<Vec<Volume>>,
    /// Digests of lists that a person acknowledged as lost.
    pub acknowledged: BTreeSet<Digest>,
}

/// The machine that would be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineEvidence {
    /// As locations name it: `vast:33402296`.
    pub name: String,
    /// What its platform says of it now.
    pub platform: PlatformWord,
    /// What it was when the collection began.
    pub at_start: Identity,
    /// What it was when the collection ended.
    pub at_end: Identity,
}

/// What a platform says of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformWord {
    /// It runs.
    Running,
    /// It is there and does something else; the platform's own word.
    Otherwise(String),
    /// There is no such machine.
    Gone,
    /// There was no answer, or none that can be read.
    Unknown,
}

/// What tells one container from every other. It is no secret, and none of it stands alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Whose machine it is: `vast`.
    pub platform: Option<String>,
    /// The platform's number or name of it.
    pub id: Option<String>,
    /// What the container's first process calls it; empty where its platform names none.
    pub label: Option<String>,
    /// The random marker on its root file system.
    pub marker: Option<[u8; 16]>,
    /// When process 1 started, in clock ticks since boot.
    pub first_process: Option<u64>,
    /// The device of its root directory.
    pub root_device: Option<u64>,
    /// BLAKE3 over its table of mounts.
    pub mounts: Option<Digest>,
    /// The boot id of its kernel.
    pub boot: Option<[u8; 16]>,
}

/// One part of an [`Identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityPart {
    /// The platform.
    Platform,
    /// The platform's number of it.
    Id,
    /// The container's label.
    Label,
    /// The marker.
    Marker,
    /// The start of process 1.
    FirstProcess,
    /// The root device.
    RootDevice,
    /// The mounts.
    Mounts,
    /// The boot id.
    Boot,
}

impl Identity {
    /// What a container tells of itself, with its platform and that platform's name of it.
    #[must_use]
    pub fn of(platform: Option<String>, id: Option<String>, told: Container) -> Self {
        let Container { label, marker, first_process, root_device, mounts, boot } = told;
        Self { platform, id, label, marker, first_process, root_device, mounts, boot }
    }

    /// Each part and its value as bytes.
    #[must_use]
    pub fn parts(&self) -> [(IdentityPart, Option<Vec<u8>>); 8] {
        let text = |text: &Option<String>| text.clone().map(String::into_bytes);
        let number = |number: Option<u64>| number.map(|number| number.to_le_bytes().to_vec());
        let id = |id: Option<[u8; 16]>| id.map(|id| id.to_vec());
        [
            (IdentityPart::Platform, text(&self.platform)),
            (IdentityPart::Id, text(&self.id)),
            (IdentityPart::Label, text(&self.label)),
            (IdentityPart::Marker, id(self.marker)),
            (IdentityPart::FirstProcess, number(self.first_process)),
            (IdentityPart::RootDevice, number(self.root_device)),
            (IdentityPart::Mounts, self.mounts.map(|digest| digest.as_bytes().to_vec())),
            (IdentityPart::Boot, id(self.boot)),
        ]
    }

    /// A digest over all parts, known or not.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("xfer gate identity 1");
        for (_, value) in self.parts() {
            hasher.update(&[u8::from(value.is_some())]);
            let value = value.unwrap_or_default();
            hasher.update(&(value.len() as u64).to_le_bytes()).update(&value);
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// A moment on the controller, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since 1970; may be turned, so it proves no order.
    pub day: i64,
    /// The boot in which it was, and milliseconds since that, sleep included.
    pub boot: Option<([u8; 16], u64)>,
}

impl Moment {
    /// Milliseconds from an earlier moment of the same boot to this one, negative if it was later;
    /// nothing where no clock that nobody turns tells.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<i64> {
        let ((boot, late), (other, early)) = (self.boot?, earlier.boot?);
        let apart = i128::from(late) - i128::from(early);
        let apart = apart.clamp(i64::MIN.into(), i64::MAX.into());
        if boot == other { i64::try_from(apart).ok() } else { None }
    }
}

/// How a host key was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HostKeyChannel {
    /// Pinned under the platform's name of the machine, at an address that the platform gave.
    #[serde(rename = "platform-pinned")]
    PlatformPinned,
    /// It stands in a file of known hosts.
    #[serde(rename = "known_hosts")]
    KnownHosts,
    /// It was believed at first sight.
    #[serde(rename = "first-use")]
    FirstUse,
}

impl HostKeyChannel {
    /// As policies name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PlatformPinned => "platform-pinned",
            Self::KnownHosts => "known_hosts",
            Self::FirstUse => "first-use",
        }
    }
}

/// One protected root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootEvidence {
    /// Its absolute path on the machine.
    pub path: Vec<u8>,
    /// What was found there.
    pub scan: Result<RootScan, ScanFailure>,
}

/// A scan that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootScan {
    /// When it began.
    pub began: Moment,
    /// When the last entry was hashed.
    pub ended: Moment,
    /// Whether each file was stamped, then synced, then hashed, in this order. A store through a
    /// mapping whose pages are dirty already leaves no stamp; after a sync the next one does.
    pub written_back: bool,
    /// What lies there, and who says what of it.
    pub coverage: Coverage,
    /// What had another stamp, was new or was gone at the end of the collection; nothing where
    /// nobody looked again.
    pub changed_since: Option<Tally>,
    /// BLAKE3 over the stamps (size, times, inode) of all entries, taken at the end of the
    /// collection: what the quick look before destruction must find again.
    pub stamps: Digest,
}

/// Why a root could not be scanned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScanFailure {
    /// Nothing is there.
    Missing,
    /// It is a link or a file, and no directory.
    NoDirectory,
    /// Its machine did not answer, or answered otherwise, in these words.
    Unreachable(String),
    /// A list came out of order or ended early, in these words.
    Broken(String),
}

/// A receipt, and its destination as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptEvidence {
    /// What names it.
    pub id: String,
    /// Who signed it.
    pub signature: Signature,
    /// Whether its lines have the root that it names.
    pub intact: bool,
    /// Entries that it counts as failed.
    pub failed: u64,
    /// The machine that it was made on.
    pub source: Identity,
    /// When its transfer ended.
    pub ended: Moment,
    /// When the collection had it in hand, so that what began later is later than it.
    pub seen: Moment,
    /// Where the bytes are.
    pub destination: DestinationEvidence,
}

/// Who signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Nobody.
    Missing,
    /// A signature that does not fit.
    Bad,
    /// The holder of that key.
    Good(PublicKey),
}

/// How far a destination is from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// The same container, or volatile.
    D0,
    /// Another disk, volume or container of the same host.
    D1,
    /// An object store, or a machine with another host.
    D2,
}

impl Durability {
    /// As receipts and policies write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::D0 => "D0",
            Self::D1 => "D1",
            Self::D2 => "D2",
        }
    }
}

/// A destination as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationEvidence {
    /// As locations name it.
    pub name: String,
    /// How far it is.
    pub durability: Option<Durability>,
    /// What told its file system or bucket from others when the receipt was made.
    pub medium_then: Option<Vec<u8>>,
    /// The same now.
    pub medium_now: Option<Vec<u8>>,
    /// What was found there.
    pub statement: Option<Statement>,
    /// Whether its files can be opened as what they are; nothing where that was not tried.
    pub loads: Option<Loads>,
}

/// What a destination's witness says of it. The entries are in [`Coverage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// When it was looked at: when reading back began, or where a version is pinned, when that was
    /// seen to be still there.
    pub began: Moment,
    /// Who looked.
    pub witness: Witness,
    /// The random bytes that the witness was given.
    pub nonce: [u8; 32],
    /// The controller's signature below it.
    pub signature: Signature,
}

/// Who looked at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The controller itself, as at a store.
    Controller,
    /// The destination's agent, with a key that crossed the authenticated channel.
    Agent,
    /// The machine that would be destroyed: its word proves nothing here.
    Source,
}

/// What came of opening files as what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Files that are not what their kind says.
    pub failed: Tally,
    /// Files of kinds that are known, which were not opened.
    pub untried: Tally,
}

/// Who has what open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// When the first of them was looked at: after all roots were hashed.
    pub looked: Moment,
    /// Those that can write below a root.
    pub writers: Vec<Writer>,
    /// Those that did not let themselves be looked at.
    pub unreadable: Vec<Process>,
    /// Mounts below a root that other machines or containers may write.
    pub shared: Vec<Vec<u8>>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command.
    pub command: Vec<u8>,
}

/// A process that can write a file below a root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// Which.
    pub process: Process,
    /// The file.
    pub path: Vec<u8>,
    /// Whether it is mapped, and not only open.
    pub mapped: bool,
}

/// A tree outside the roots that would be lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outside {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Entries.
    pub count: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Digest of its path and their list, by which it is acknowledged; nothing where it cannot be
    /// listed.
    pub digest: Option<Digest>,
}

/// A volume of the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    /// The platform's name of it.
    pub id: String,
    /// Whether it outlives the machine; a volume that does not must be protected as roots are.
    pub survives: Option<bool>,
    /// Whether it lies whole below a protected root.
    pub protected: bool,
}
