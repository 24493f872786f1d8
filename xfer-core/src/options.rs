//! Tunables, in groups of what reads them.

pub mod chmod;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use xfer_protocol::data_port::InsidePort;
use xfer_protocol::digest::BlockSize;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::message::{FilterRules, ScanOptions};
use xfer_protocol::path::RelPath;

use crate::location::Location;

use self::chmod::ModeChanges;

/// Everything that a transfer can be told beside its two ends.
#[derive(Clone, Debug, Default)]
pub struct TransferOptions {
    /// What is selected and how it is compared.
    pub selection: SelectionOptions,
    /// What is preserved.
    pub preserve: PreserveOptions,
    /// What is moved first.
    pub order: OrderOptions,
    /// How it is proven.
    pub verify: VerifyOptions,
    /// How bytes travel.
    pub network: NetworkOptions,
    /// When to try again and when to give up.
    pub retry: RetryOptions,
    /// What is left on either disk.
    pub disk: DiskOptions,
    /// What becomes of entries that the source does not have, and of those that are replaced.
    pub removal: RemovalOptions,
    /// What is done where a machine of a platform does not run.
    pub machine: MachineOptions,
}

/// What is selected and how it is compared.
#[derive(Clone, Debug, Default)]
pub struct SelectionOptions {
    /// What to leave out.
    pub filter: FilterRules,
    /// Only these, below each source.
    pub only: Option<Vec<RelPath>>,
    /// Follows symbolic links within the source.
    pub follow_links: bool,
    /// Sends files that open accounts or machines to a rented machine too.
    pub allow_secrets: bool,
    /// How an entry that exists is compared where no record of it exists.
    pub compare: Comparison,
    /// Which entries that exist stay as they are, whatever the source has. Default: none.
    pub leaves: Leaves,
    /// Which files are left for later.
    pub settle: SettleOptions,
}

/// Files that are still being written, and are left for later.
#[derive(Clone, Copy, Debug, Default)]
pub struct SettleOptions {
    /// How long a file has to be left alone, by its source's clock; with any such time, one that
    /// is open for writing waits too, where that can be told, and one that changes while it is
    /// read. Default: none is left for later.
    pub time: Duration,
    /// Whether a file that is gone before it could be read is left for later as well, and not a
    /// problem: where somebody removes old ones all the time. Default: no.
    pub gone: bool,
}

/// How a transfer goes on for as long as nobody stops it.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// Rounds that may fail in a row because somebody is away. Default: any number.
    pub failures: Option<u32>,
    /// How long something may wait to be moved before that is told. Default: 5 min.
    pub lag: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { failures: None, lag: Duration::from_secs(300) }
    }
}

/// What is moved first, of what is to be moved from one source. Any order but that of names waits
/// for the whole scan, and costs about 400 bytes of memory a file.
#[derive(Clone, Debug, Default)]
pub struct OrderOptions {
    /// Default: by name, which waits for nothing.
    pub by: Order,
    /// Globs of what goes before all other, of every source: those with a `/` match paths below a
    /// source, others names. Default: none.
    pub first: Vec<String>,
}

/// Orders of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By their paths, as they are listed.
    #[default]
    Name,
    /// By their modification times, the latest first.
    Newest,
    /// By their sizes, the smallest first.
    Smallest,
}

/// What becomes of entries that stand at the destination and not at the source.
#[derive(Clone, Debug, Default)]
pub struct RemovalOptions {
    /// When they are removed. Default: never.
    pub when: Option<RemovalTime>,
    /// How many at most: more than that removes none.
    pub limit: RemovalLimit,
    /// The directory below the destination in which they are kept, and files that are replaced.
    /// Default: nowhere.
    pub backup: Option<RelPath>,
}

/// When entries that the source does not have are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovalTime {
    /// Once everything else has succeeded.
    #[default]
    After,
    /// Once the scan of the source has ended whole, before anything is moved.
    Before,
}

/// How many entries of a destination may be removed; all of them never may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovalLimit {
    /// Half of what stands there, and 10,000.
    #[default]
    Usual,
    /// So many.
    Entries(u64),
    /// So many of a hundred that stand there.
    Percent(u8),
}

/// Which entries of the destination stay as they are, though the source has something else there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaves {
    /// None.
    #[default]
    Nothing,
    /// Files that were modified later than those of the source (`--update`).
    Newer,
    /// All but directories, for which there is one at the source too (`--ignore-existing`).
    Existing,
}

/// How an entry that exists at the destination is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparison {
    /// By record; without one, by content, once.
    #[default]
    Recorded,
    /// By content, always (`--checksum`).
    Content,
    /// By record; without one, size and modification time are believed (`--quick`).
    Quick,
    /// By record; without one, the size is believed (`--size-only`).
    Size,
}

/// What is preserved.
#[derive(Clone, Copy, Debug)]
pub struct PreserveOptions {
    /// Modification times. Default: yes.
    pub times: bool,
    /// Owner, group, setuid and setgid; needs root at the destination. Default: no.
    pub owner: bool,
    /// Extended attributes, access control lists among them. Default: no.
    pub xattrs: bool,
    /// Access control lists. Default: no.
    pub acls: bool,
    /// Hard links between selected files. Default: yes.
    pub hard_links: bool,
    /// Devices; needs root at the destination. Default: no.
    pub devices: bool,
    /// What becomes of permissions. Default: they stay those of the source.
    pub chmod: ModeChanges,
}

impl Default for PreserveOptions {
    fn default() -> Self {
        Self {
            times: true,
            owner: false,
            xattrs: false,
            acls: false,
            hard_links: true,
            devices: false,
            chmod: ModeChanges::default(),
        }
    }
}

impl PreserveOptions {
    /// Whether any extended attributes are looked at.
    #[must_use]
    pub fn any_xattrs(&self) -> bool {
        self.xattrs || self.acls
    }
}

/// How the result is proven.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The level asked for. Default: durable.
    pub level: VerifyLevel,
    /// A command that is run here by `sh` for each file of the destination once that is proven, its
    /// bytes on standard input: one for which it does not end with 0 has failed, and no receipt
    /// covers it. Costs a reading of the whole destination, over the link where that is far.
    /// Default: none.
    pub load_check: Option<OsString>,
    /// Who reads a bucket to compare what it holds, and to read it back. Default: who moves its
    /// payload.
    pub reader: Reader,
}

/// Who reads what a bucket holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// The machine whose own link payload takes, else this one.
    #[default]
    Mover,
    /// This machine.
    Here,
    /// Another machine, by its own link; it gets requests that were made here, and no key.
    At(Location),
}

/// Proof levels that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerifyLevel {
    /// Digests are checked on arrival; nothing is synced.
    Received,
    /// Files and directories are synced.
    #[default]
    Durable,
    /// All is read again past the cache.
    ReadBack,
}

impl VerifyLevel {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Received, Self::Durable, Self::ReadBack];

    /// As the command line and events name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Durable => "durable",
            Self::ReadBack => "read-back",
        }
    }

    /// Whether what was moved is on the medium at the end.
    #[must_use]
    pub fn is_durable(self) -> bool {
        self >= Self::Durable
    }
}

/// Payload bytes that may cross a proxy where nobody says otherwise.
pub const PROXY_LIMIT: u64 = 1_000_000_000;

/// How bytes travel.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    /// Streams that carry payload. Default: chosen by the engine.
    pub streams: Option<NonZeroUsize>,
    /// Blocks of large files, whatever the link bears. Default: 1 MiB, or less on a slow link.
    pub block: Option<BlockSize>,
    /// Whether payload is compressed on its way. Default: where it pays.
    pub compression: Compression,
    /// Payload bytes a second, as they are before they are compressed. Default: no limit.
    pub bandwidth_limit: Option<u64>,
    /// Route to take. Default: the best.
    pub route: RouteChoice,
    /// Data ports of the far machine, beside those that its environment tells. Default: none.
    pub data_ports: Vec<MappedPort>,
    /// Payload bytes that may cross a proxy. Default: [`PROXY_LIMIT`].
    pub proxy_limit: Option<u64>,
    /// What payload passes on its way. Default: it goes from one end to the other.
    pub via: Via,
    /// US dollars that moving the bytes may cost. Default: no limit.
    pub max_cost: Option<f64>,
    /// Where buckets are, instead of at their store's own address. Default: as the environment and
    /// the files of that store's tools say.
    pub endpoint: Option<String>,
    /// The agent's binary. Default: looked for.
    pub agent_binary: Option<PathBuf>,
}

/// Whether payload is compressed on its way, by Zstandard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Where a sample of it says that it shrinks, and the link that it takes longer than that.
    #[default]
    Auto,
    /// All that becomes shorter at this level, from 1 to 19, whatever it takes.
    Level(u8),
    /// Not at all.
    Never,
}

/// Routes that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteChoice {
    /// The best that works.
    #[default]
    Auto,
    /// QUIC to a data port.
    Quic,
    /// SFTP, where nothing may be executed.
    Sftp,
    /// SSH with an agent.
    Ssh,
    /// TLS to a data port.
    Tls,
}

/// What payload passes on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Nothing: also between two far machines it goes from one to the other.
    #[default]
    Nothing,
    /// This machine, where it is between two far ones.
    Here,
    /// A directory of a bucket: all of it is there first.
    Store(Location),
}

/// A data port of a machine and where it is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedPort {
    /// Where the machine listens.
    pub inside: InsidePort,
    /// The name or address at which it is dialled. Default: the machine's public address, else
    /// that of its login.
    pub host: Option<String>,
    /// The port at which it is dialled.
    pub outside: u16,
}

/// What is done where a machine of a platform does not run.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineOptions {
    /// Starts one that is stopped; it costs its whole price from then on. Default: no.
    pub start: bool,
    /// How long one that does not run is waited for, anew after each progress. Default: not at
    /// all, or 10 min where it is started.
    pub wait: Option<Duration>,
}

/// When to try again and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct RetryOptions {
    /// Further tries of a block, a pack or a session. Default: 10.
    pub retries: u32,
    /// Silence after which a stream is given up. Default: 30 s.
    pub stall: Duration,
    /// Time without a verified byte after which the transfer gives up. Default: 15 min.
    pub give_up: Duration,
    /// When the transfer ends, done or not. Default: never.
    pub deadline: Option<Deadline>,
}

/// When a transfer ends, done or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// So long after it began.
    In(Duration),
    /// At that time of day.
    At(Timestamp),
    /// 5 min before the first time that a platform tells at which a machine may end.
    Auto,
}

impl RetryOptions {
    /// How long a far side waits for word from us before it ends and frees what it holds.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.stall.max(Duration::from_secs(10))
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            retries: 10,
            stall: Duration::from_secs(30),
            give_up: Duration::from_secs(15 * 60),
            deadline: None,
        }
    }
}

/// What is left on either disk.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// Bytes that must stay free at the destination. Default: 512 MiB, or a tenth of what is free
    /// where that is less.
    pub reserve: Option<u64>,
    /// Where to write the receipt as well. Default: only the state directory.
    pub receipt: Option<PathBuf>,
    /// Leaves the receipt at the destination as well, in `.xfer-receipts` below its root. Default:
    /// object stores alone keep one there.
    pub remote_receipt: bool,
    /// Writes files over what they replace, where it stands: no second copy of a file takes room,
    /// and until it is complete nothing stands under its name. Default: beside it.
    pub in_place: bool,
}

impl TransferOptions {
    /// What a scan of the source is asked for.
    #[must_use]
    pub fn source_scan(&self) -> ScanOptions {
        ScanOptions {
            follow_links: self.selection.follow_links,
            xattrs: self.preserve.any_xattrs(),
            owner: self.preserve.owner,
            filter: self.selection.filter.clone(),
            only: self.selection.only.clone(),
        }
    }
}
