//! Endpoints: live, opened locations that can be scanned, read and written.
//!
//! [`Source`] and [`Sink`] are the two contracts, over the common [`Endpoint`]; near and far, disks
//! and stores implement the same. A caller never asks what kind an endpoint is, it asks its
//! [`Capabilities`]. The suite in `conformance` states the contract as tests that every kind
//! passes.
//!
//! Rules for all methods
//! - Every call may be repeated, also after an answer was lost: the second time it changes nothing.
//! - Calls may run concurrently, on one file too. Nothing is promised about their order.
//! - An [`EndpointError::Fault`] concerns what the call named and leaves the rest usable.
//!   [`EndpointError::Lost`] means that the outcome is unknown; the call may be repeated.
//! - A call that breaks a rule changes nothing, and fails with the fault `Protocol` or, through a
//!   session, with [`EndpointError::Protocol`].
//! - Dropping a call's future leaves the entry as if the call had or had not happened.

pub(crate) mod agentless;
pub(crate) mod checksum;
pub mod conformance;
pub mod errands;
pub mod filler;
pub mod local;
pub mod memory;
pub mod object;
pub(crate) mod passage;
pub mod rclone;
pub mod rehearsed;
pub mod remote;
pub mod sftp;
pub mod web;

use async_trait::async_trait;
use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{ProofLevel, Timestamp};
use xfer_protocol::message::FilesAt;
use xfer_protocol::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign};
use xfer_protocol::message::removal::{Remove, Rename};
use xfer_protocol::message::settling::Settling;
use xfer_protocol::message::{
    Begin, Begun, Commit, Create, Digests, FileAt, FileRead, Finish, HashBlocks, HashFiles, Keep,
    Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex, Paths, Publish,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, ScanOptions, SetMetadata,
    Space, TryDisk, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::probe::{DiskTrial, Facts};
use xfer_protocol::range::ByteRange;
use xfer_protocol::survey::{Container, Survey, Surveyed};

/// What an endpoint can do; the planner asks this and never what kind the endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Writes to a partial begin at a multiple of this many bytes; 1 where any offset will do.
    pub write_grid: u64,
    /// Bytes in the smallest write but a file's last; 1 where there is no such limit.
    pub part_min: u64,
    /// Bytes in the largest write.
    pub part_max: u64,
    /// Whether a partial's ranges may be written again and in any order.
    pub random_write: bool,
    /// Whether a partial can be hashed before it is committed. Without it, a resumed file begins
    /// anew unless the endpoint itself proves what it holds.
    pub rehash: bool,
    /// Whether a committed file appears by an atomic rename over the old one.
    pub rename: bool,
    /// Whether entries come with what the file system says of their inode: its number, its change
    /// time, which no program can set, and its names. Without it an equal stamp does not prove that
    /// a file is the same, and two names of one file are not seen to be that.
    pub inodes: bool,
    /// Whether paths longer than one system call takes can be reached.
    pub long_paths: bool,
    /// Which metadata survives.
    pub metadata: MetadataKinds,
    /// The proof levels that this endpoint can give, in order.
    pub proof_levels: Vec<ProofLevel>,
}

/// Which metadata an endpoint keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataKinds {
    /// Permission bits.
    pub mode: bool,
    /// Modification time.
    pub modified: TimeGrain,
    /// Symbolic links.
    pub symlinks: bool,
    /// Hard links.
    pub hard_links: bool,
    /// Directories as entries of their own.
    pub directories: bool,
    /// FIFOs, sockets and devices.
    pub special: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// User and group.
    pub owner: bool,
    /// Holes.
    pub sparse: bool,
}

/// How exactly an endpoint keeps a moment, from the coarsest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeGrain {
    /// Not at all.
    Nothing,
    /// In whole seconds from 1970 to 2106; a moment beyond is kept as the nearest within.
    Seconds,
    /// In nanoseconds, whenever it is.
    Nanoseconds,
}

impl TimeGrain {
    /// What is left of a moment once it was kept.
    #[must_use]
    pub fn kept(self, moment: Timestamp) -> Timestamp {
        match self {
            Self::Nothing => Timestamp::default(),
            Self::Seconds => {
                let seconds = moment.seconds.clamp(0, i64::from(u32::MAX));
                Timestamp { seconds, nanoseconds: 0 }
            }
            Self::Nanoseconds => moment,
        }
    }

    /// Whether two moments are kept as one.
    #[must_use]
    pub fn same(self, one: Timestamp, other: Timestamp) -> bool {
        self.kept(one) == self.kept(other)
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// What the call named could not be read, written or believed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The stream that carried the call ended or stalled; whether the call was served is unknown.
    #[error("the stream was lost: {0}")]
    Lost(LostReason),
    /// The peer said what it may not say; nothing more can be believed from it.
    #[error("the far side broke the protocol: {0}")]
    Protocol(ProtocolReason),
}

/// How a stream was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    /// The endpoint was closed by this side.
    #[error("this side closed it")]
    ClosedHere,
    /// What is asked is somewhere else, where nobody goes by himself.
    #[error("it leads elsewhere, and nothing follows")]
    Elsewhere,
    /// The far side or the network ended it.
    #[error("the connection ended")]
    Ended,
    /// The far side does not take the credentials, or takes them no longer.
    #[error("the credentials are refused")]
    Refused,
    /// Nothing moved on it for the stall timeout.
    #[error("nothing moved on it for too long")]
    Stalled,
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolReason {
    /// A frame that cannot be decoded.
    #[error("a frame cannot be decoded")]
    BadFrame,
    /// A hello that cannot be decoded, or comes from something that is not an agent.
    #[error("its greeting is not ours")]
    BadHello,
    /// A frame or field beyond a limit of ours.
    #[error("a frame exceeds a limit")]
    Limit,
    /// An answer of the wrong kind, to no question, or with the wrong payload.
    #[error("an answer does not fit its question")]
    Mismatched,
    /// A request of ours that no frame holds.
    #[error("what is asked is more than a frame may hold")]
    Oversize,
    /// A name that leads out of its root, or can be none.
    #[error("an entry's name leads out of its place")]
    UnsafeName,
    /// No version in common.
    #[error("it speaks no version that we speak")]
    Version,
}

/// The result of a call to an endpoint.
pub type EndpointResult<T> = Result<T, EndpointError>;

pub(crate) fn unsupported() -> EndpointError {
    Fault::new(FaultKind::Unsupported, Operation::Open, RelPath::root()).into()
}

/// What every endpoint can do.
#[async_trait]
pub trait Endpoint: Send + Sync {
    /// What this endpoint can do; constant over its life.
    fn capabilities(&self) -> &Capabilities;

    /// Bytes of a block at most, as what lies between bears them now. Default: any.
    fn block_max(&self) -> Option<u64> {
        None
    }

    /// Whether what is read or written here crosses a link, so that it is worth sparing. Default:
    /// it does not.
    fn is_far(&self) -> bool {
        false
    }

    /// Whether this endpoint finds what two versions of a file have in common, and copies that;
    /// constant over a session. Default: it does not.
    fn makes_deltas(&self) -> bool {
        false
    }

    /// The sums of a file's whole blocks, one behind the other. Default: that cannot be told.
    async fn sign(&self, _sign: Sign) -> EndpointResult<Bytes> {
        Err(unsupported())
    }

    /// What stands at a path, one row for each match of its patterns; a path without patterns has
    /// exactly one row, whether something is there or not.
    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>>;

    /// Opens a directory as a root.
    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root>;

    /// Begins a scan in the order of `RelPath`.
    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex>;

    /// One batch. Several calls may be under way, for batches that lie less than
    /// [`SCAN_BATCHES_KEPT`](xfer_protocol::limits::SCAN_BATCHES_KEPT) apart.
    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch>;

    /// Where a file has data; all of it where holes are unknown.
    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>>;

    /// Digests of a file's or a partial's blocks.
    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests>;

    /// Digests of whole files, and whether they came from the medium.
    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)>;

    /// Free space.
    async fn space(&self, root: RootIndex) -> EndpointResult<Space>;

    /// The time at the endpoint, and which files of a root may still be written to. Default: that
    /// cannot be told.
    async fn settling(&self, _root: RootIndex) -> EndpointResult<Settling> {
        Err(unsupported())
    }

    /// What the machine is. Default: that cannot be told.
    async fn facts(&self) -> EndpointResult<Facts> {
        Err(unsupported())
    }

    /// Writes, syncs and reads back a file without a name below a root, to find out how fast the
    /// disk is. Default: that cannot be done.
    async fn try_disk(&self, _trial: TryDisk) -> EndpointResult<DiskTrial> {
        Err(unsupported())
    }

    /// Which container this is; `mark` leaves a marker on its root file system where there is none.
    /// Default: that cannot be told.
    async fn identify(&self, _mark: bool) -> EndpointResult<Container> {
        Err(unsupported())
    }

    /// Who has what open, and what lies outside the roots; returns when the survey has ended, which
    /// may take as long as a walk over the whole machine. Default: that cannot be told.
    async fn survey(&self, _survey: Survey) -> EndpointResult<Surveyed> {
        Err(unsupported())
    }

    /// Writes back what lies in memory of a root and of all that is mounted below it, so that every
    /// later store leaves a stamp. Default: that cannot be done.
    async fn write_back(&self, _root: RootIndex) -> EndpointResult<()> {
        Err(unsupported())
    }

    /// Lets go of everything; calls under way fail with [`LostReason::ClosedHere`].
    async fn close(&self);
}

/// An endpoint that bytes come from. Nothing is ever changed through it.
#[async_trait]
pub trait Source: Endpoint {
    /// Bytes of large files that may have left here and not be written yet: they are lost when
    /// either process dies. Without a limit where nothing is far.
    fn window(&self) -> u64 {
        u64::MAX
    }

    /// One block with the digest of each of its spans. The file is compared with its stamp before
    /// and after the bytes are read.
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)>;

    /// Several whole files, their bytes one behind the other.
    /// Those that this source knows more of, such as a digest, have been held to it.
    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)>;

    /// Bytes of a file that seem to be those of the blocks whose sums are given, in order. Default:
    /// that cannot be told.
    async fn find_copies(&self, _looked: Match, _sums: Bytes) -> EndpointResult<Vec<CopiedRange>> {
        Err(unsupported())
    }

    /// The digest of each block of a range, and some of its bytes, one behind the other. Default:
    /// that cannot be read.
    async fn read_parts(&self, _read: ReadParts) -> EndpointResult<(Vec<Digest>, Bytes)> {
        Err(unsupported())
    }

    /// Holds a file that was read in blocks to what this source knows of it beside its bytes: a
    /// digest that was written with it, a checksum that a store computed. `root` is the digest of
    /// what arrived; another than it should be is the fault `Mismatch`, and nothing is published.
    /// Default: nothing more is known.
    async fn confirm(&self, _file: &FileAt, _root: Digest) -> EndpointResult<()> {
        Ok(())
    }
}

/// An endpoint that bytes go to.
///
/// A file arrives as a pack or as a partial. Both are *staged* first, invisible under their own
/// names, and appear by [`Sink::publish`]. A sink believes nothing: it checks every digest over the
/// bytes that it wrote, and a file's root before it stages the file.
#[async_trait]
pub trait Sink: Endpoint {
    /// Opens a root, locks entries below it, and begins to list what stands there once they are
    /// locked. Default: a condition is the fault `Unsupported`, for nobody here asks ahead.
    async fn begin(&self, begin: Begin) -> EndpointResult<Begun> {
        if begin.only_if.is_some() {
            return Err(unsupported());
        }
        let root = self.open_root(begin.open).await?;
        begin_below(self, root, begin.entries, begin.lists).await
    }

    /// Locks entries, exclusively each, for as long as the endpoint lives.
    async fn lock(&self, lock: Lock) -> EndpointResult<()>;

    /// Makes directories, links and special files.
    async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>>;

    /// Begins or resumes a file.
    async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial>;

    /// Takes ranges that this sink hashed, and the caller found equal, as written.
    async fn keep(&self, keep: Keep) -> EndpointResult<()>;

    /// Checks one block against its digests and writes it.
    async fn write_block(&self, write: WriteBlock, payload: Bytes) -> EndpointResult<()>;

    /// Writes a range, of which what is not given is copied from a file here. What was written is
    /// hashed; where it is not what the digests say, the fault is `Mismatch`, and nothing of it
    /// counts. Default: that cannot be done.
    async fn patch(&self, _patch: Patch, _payload: Bytes) -> EndpointResult<()> {
        Err(unsupported())
    }

    /// Stages a partial whose every byte was written or kept, if its root is the one given.
    async fn commit(&self, commit: Commit) -> EndpointResult<()>;

    /// Removes a partial.
    async fn discard(&self, partial: PartialIndex) -> EndpointResult<()>;

    /// Checks and stages small files, or publishes them at once.
    async fn write_pack(&self, pack: WritePack, payload: Bytes) -> EndpointResult<Vec<Outcome>>;

    /// Publishes what is staged below a root: sync files, rename, sync directories. Each publishing
    /// of a root has a higher number than the one before.
    async fn publish(&self, publish: Publish) -> EndpointResult<Vec<Outcome>>;

    /// Sets metadata of entries that exist.
    async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>>;

    /// Removes partials by their own names.
    async fn remove_partials(&self, partials: Paths) -> EndpointResult<()>;

    /// Whether entries can be removed here; constant over a session. Default: they cannot.
    fn removes(&self) -> bool {
        false
    }

    /// Whether what is removed can be kept under another name below the same root. Default: it
    /// cannot.
    fn backs_up(&self) -> bool {
        false
    }

    /// Whether the store that this is keeps older versions of what was removed. Default: no, or
    /// nobody knows.
    fn keeps_removed(&self) -> bool {
        false
    }

    /// Removes entries that are still what a scan told of them, children before their parents, or
    /// keeps them in a backup directory. What is not there is no fault, and no link is followed.
    /// Default: that cannot be done.
    async fn remove(&self, _remove: Remove) -> EndpointResult<Vec<Outcome>> {
        Err(unsupported())
    }

    /// Whether a file can get another name here; constant over a session. Default: it cannot.
    fn renames(&self) -> bool {
        false
    }

    /// Gives files that are still what a scan told of them names that nothing has, with their
    /// metadata. Default: that cannot be done.
    async fn rename(&self, _rename: Rename) -> EndpointResult<Vec<Outcome>> {
        Err(unsupported())
    }

    /// Whether [`Sink::open_partial`] opens what a file is to be written over; constant over a
    /// session. Default: it does not.
    fn writes_in_place(&self) -> bool {
        false
    }

    /// Syncs directories and lets go of the locks of a root.
    async fn finish(&self, finish: Finish) -> EndpointResult<()>;

    /// Whether receipts are kept beside the data, where no scan tells them. Default: they are not.
    fn keeps_receipts(&self) -> bool {
        false
    }

    /// Keeps a receipt beside the data of a root, under a name that no other has. Default: that
    /// cannot be done.
    async fn keep_receipt(
        &self,
        _root: RootIndex,
        _name: &str,
        _text: Bytes,
    ) -> EndpointResult<()> {
        Err(unsupported())
    }
}

/// Locks entries below a root that is open, and then begins to list there.
pub(crate) async fn begin_below<S: Sink + ?Sized>(
    sink: &S,
    root: Root,
    entries: Vec<RelPath>,
    lists: Vec<(RelPath, ScanOptions)>,
) -> EndpointResult<Begun> {
    sink.lock(Lock { root: root.index, entries }).await?;
    let mut begun = Vec::with_capacity(lists.len());
    for (under, options) in lists {
        let list = async {
            let scan = sink.scan(Scan { root: root.index, under, options }).await?;
            Ok((scan, sink.scan_next(ScanNext { scan, sequence: 0 }).await?))
        };
        begun.push(match list.await {
            Ok(first) => Ok(first),
            Err(EndpointError::Fault(fault)) => Err(fault),
            Err(error) => return Err(error),
        });
    }
    Ok(Begun { root, lists: begun })
}
