//! What the two processes of a session say: requests to an endpoint and its replies.
//!
//! The near side asks, the far side answers; a payload, where a message has one, follows its header
//! in the same frame. Every request may be repeated: the second time it changes nothing.

pub mod delta;
pub mod errand;
mod partial;
pub mod passage;
pub mod removal;
mod reply;
pub mod settling;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::data_port::{Dial, Listen};
use crate::digest::{BlockSize, Digest};
use crate::encoding::{Accepts, Encoded};
use crate::fault::Fault;
use crate::hello::SessionId;
use crate::limits;
use crate::manifest::{Device, Metadata, ScanItem, Stamp};
use crate::path::RelPath;
use crate::range::ByteRange;
use crate::survey::Survey;
use delta::{Match, Patch, ReadParts, Sign};
use errand::{Carry, Gather, RedeemAll};
use passage::{Forward, Lend, ParcelIndex, Purpose, Reach, ReachByLogin, Redeem};
use removal::{Remove, Rename};

pub use partial::{Commit, Keep, OpenPartial, Partial, PartialIndex, WriteBlock};
pub use reply::Reply;

/// Names a request for as long as it is under way; chosen by the asking side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Names an open root within a session; chosen by the answering side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RootIndex(pub u32);

/// Names a scan under way within a session; chosen by the answering side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScanIndex(pub u32);

/// A whole message, the header of one frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The near side asks.
    Request(RequestId, Request),
    /// The far side answers.
    Reply(RequestId, Result<Reply, Fault>),
    /// The stream ends here, and nothing was cut off.
    End,
    /// The near side asks, with its payload encoded.
    EncodedRequest(RequestId, Request, Encoded),
    /// The far side answers, with its payload encoded.
    EncodedReply(RequestId, Reply, Encoded),
    /// The near side asks for payload, and takes it encoded.
    AcceptingRequest(RequestId, Request, Accepts),
}

/// What can be asked of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Answered by [`Reply::Done`]; shows that the far side lives.
    Ping,
    /// What stands at a location's path. Answered by [`Reply::Located`].
    Locate(Locate),
    /// Opens a root. Answered by [`Reply::Root`].
    OpenRoot(OpenRoot),
    /// Begins a scan. Answered by [`Reply::Scan`].
    Scan(Scan),
    /// One batch of a scan. Answered by [`Reply::ScanBatch`].
    ScanNext(ScanNext),
    /// Where a sparse file has data. Answered by [`Reply::Ranges`].
    DataRanges(FileAt),
    /// One block of a file. Answered by [`Reply::Block`] with its bytes as payload.
    ReadBlock(ReadBlock),
    /// Several small files whole. Answered by [`Reply::Pack`] with their bytes as payload.
    ReadPack(FilesAt),
    /// Digests of a file's blocks. Answered by [`Reply::Digests`].
    HashBlocks(HashBlocks),
    /// Digests of several whole files. Answered by [`Reply::FileDigests`].
    HashFiles(HashFiles),
    /// Takes the locks of destination entries. Answered by [`Reply::Done`].
    Lock(Lock),
    /// Free space and inodes. Answered by [`Reply::Space`].
    Space(RootIndex),
    /// Makes directories, links and special files. Answered by [`Reply::Outcomes`].
    Create(Create),
    /// Begins or resumes a file. Answered by [`Reply::Partial`].
    OpenPartial(OpenPartial),
    /// Declares ranges of a partial as proven by the source. Answered by [`Reply::Done`].
    Keep(Keep),
    /// Writes one block of a partial, its bytes as payload. Answered by [`Reply::Done`].
    WriteBlock(WriteBlock),
    /// Stages a complete partial for publishing. Answered by [`Reply::Done`].
    Commit(Commit),
    /// Gives a partial up and removes it. Answered by [`Reply::Done`].
    Discard(PartialIndex),
    /// Stages several small files whole, their bytes as payload. Answered by [`Reply::Outcomes`]; a
    /// stamp in it means that the file is already published.
    WritePack(WritePack),
    /// Makes all that is staged durable, as asked, and renames it into place. Answered by
    /// [`Reply::Outcomes`].
    Publish(Publish),
    /// Sets metadata of entries that exist. Answered by [`Reply::Outcomes`].
    SetMetadata(SetMetadata),
    /// Removes partials that nobody will resume. Answered by [`Reply::Done`].
    RemovePartials(Paths),
    /// Syncs what remains and lets the locks go. Answered by [`Reply::Done`].
    Finish(Finish),
    /// Opens data ports of the machine for this session. Answered by [`Reply::Listening`].
    Listen(Listen),
    /// Dials the near side and serves one connection to it. Answered by [`Reply::Done`].
    Dial(Dial),
    /// Opens a root, locks entries below it, and then begins to list. Answered by
    /// [`Reply::Begun`].
    Begin(Begin),
    /// So many bytes of payload that mean nothing and are dropped: measures the way there. Answered
    /// by [`Reply::Done`].
    Sink(u32),
    /// Asks for so many bytes of payload that mean nothing: measures the way back. Answered by
    /// [`Reply::Supplied`].
    Supply(u32),
    /// Asks what the machine is. Answered by [`Reply::Facts`].
    Facts,
    /// Tries the disk of a root. Answered by [`Reply::DiskTrial`].
    TryDisk(TryDisk),
    /// Makes the key of this session's data ports, unless there is one. Answered by
    /// [`Reply::Key`].
    MakeKey,
    /// Opens a passage to another machine. Answered by [`Reply::Reached`].
    Reach(Reach),
    /// Reads, and delivers what was read. Answered by [`Reply::Forwarded`].
    Forward(Forward),
    /// So many bytes of payload, kept until they are redeemed. Answered by [`Reply::Done`].
    Deliver(ParcelIndex, u32),
    /// Writes what was delivered. Answered as the writing of the same payload is.
    Redeem(Redeem),
    /// As `Listen`, for another machine; all ports of a session are there for one purpose. Answered
    /// by [`Reply::Listening`].
    ListenFor(Listen, Purpose),
    /// Makes a key to log in to another machine with, unless there is one. Answered by
    /// [`Reply::Login`].
    MakeLogin,
    /// Opens a passage by that key. Answered by [`Reply::Reached`].
    ReachByLogin(ReachByLogin),
    /// Lets another machine log in to deliver. Answered by [`Reply::Done`].
    Lend(Lend),
    /// Takes that back. Answered by [`Reply::Done`].
    Reclaim(SessionId),
    /// Reads, and keeps what was read for errands. Answered by [`Reply::Gathered`].
    Gather(Gather),
    /// Makes one request to a store. Answered by [`Reply::Carried`].
    Carry(Carry),
    /// Writes what several parcels hold. Answered as the writing of the same payload is.
    RedeemAll(RedeemAll),
    /// Gives parcels up; those that are not there are no error. Answered by [`Reply::Done`].
    Dispose(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<ParcelIndex>,
    ),
    /// Asks which container this is; `true` leaves a marker on its root file system where there is
    /// none. Answered by [`Reply::Container`].
    Identify(bool),
    /// Asks who has what open and what lies outside the roots. Answered by [`Reply::Surveyed`].
    Survey(Survey),
    /// Writes back what lies in memory of a root and of all that is mounted below it, so that every
    /// later store leaves a stamp. Answered by [`Reply::Done`].
    WriteBack(RootIndex),
    /// Removes entries. Answered by [`Reply::Outcomes`]; none of them has a stamp.
    Remove(Remove),
    /// Sums of a file's blocks. Answered by [`Reply::Sums`] with them as payload.
    Sign(Sign),
    /// What of a file stands in another one, the sums of its blocks as payload. Answered by
    /// [`Reply::Copies`].
    Match(Match),
    /// Digests of a range, and some of its bytes. Answered by [`Reply::Parts`] with these as
    /// payload.
    ReadParts(ReadParts),
    /// Writes a range of a partial; what is not copied from its basis is the payload. Answered by
    /// [`Reply::Done`].
    Patch(Patch),
    /// Asks what time it is there, and which files may still be written to. Answered by
    /// [`Reply::Settling`].
    Settling(RootIndex),
    /// Gives files other names. Answered by [`Reply::Outcomes`], with the stamps that they have
    /// then.
    Rename(Rename),
}

/// Asks what stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locate {
    /// The path as typed; relative to the home directory, or to the working directory when local.
    pub path: Vec<u8>,
    /// Whether `*`, `?` and `[…]` are patterns.
    pub expand: bool,
}

/// What stands at one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The path, patterns expanded.
    pub path: Vec<u8>,
    /// What is there, the last symbolic link not followed unless the path ends in `/`.
    pub kind: Option<LocatedKind>,
}

/// What stands at a path, as far as a mapping of sources to destinations needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocatedKind {
    /// A directory.
    Directory,
    /// A symbolic link to a directory.
    DirectoryLink,
    /// Anything else.
    Other,
}

/// Asks for a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRoot {
    /// The directory, as typed or as located.
    pub path: Vec<u8>,
    /// What it is opened for.
    pub access: Access,
}

/// Opens a root for writing, with its locks and the first of its lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The root.
    pub open: OpenRoot,
    /// What is locked below it, before anything is listed.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub entries: Vec<RelPath>,
    /// Where each list begins, and what it tells.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::LISTS_BEGUN_MAX }>")]
    pub lists: Vec<(RelPath, ScanOptions)>,
    /// Under which condition anything is done at all.
    pub only_if: Option<OnlyIf>,
}

/// What must be so for a `Begin` that is asked before anything is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlyIf {
    /// A path as typed.
    pub path: Vec<u8>,
    /// What stands there is one of these.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::LOCATED_KINDS_MAX }>")]
    pub kinds: Vec<Option<LocatedKind>>,
    /// And it is not on this machine, as [`Root::machine`] tells it.
    pub elsewhere_than: [u8; 16],
}

/// What was opened and locked, and the first batch of each list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The root.
    pub root: Root,
    /// One for each list that was asked for.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::LISTS_BEGUN_MAX }>")]
    pub lists: Vec<Result<(ScanIndex, ScanBatch), Fault>>,
}

/// What a root is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// As a source: nothing is ever changed below it.
    Read,
    /// As a destination that must exist.
    Write,
    /// As a destination, made with its missing parents.
    WriteCreate,
}

/// An open root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its name in this session.
    pub index: RootIndex,
    /// The resolved absolute path, for records and receipts only.
    pub path: Vec<u8>,
    /// The device and inode of its directory: finds a destination inside its own source.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// Identifies the machine and boot: two endpoints with one value share their file systems. The
    /// first half is the machine's over its boots, as far as that can be told.
    pub machine: [u8; 16],
    /// Free space at the moment of opening.
    pub space: Space,
}

impl Root {
    /// Names the machine in records: the same after it was started again, where it has a name that
    /// lasts. Two machines may have one such name, so it proves nothing.
    #[must_use]
    pub fn machine_over_boots(&self) -> &[u8] {
        &self.machine[..8]
    }
}

/// Free space of a root's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Bytes that we may still write.
    pub bytes_free: u64,
    /// Inodes that we may still make; `None` where the file system does not count them.
    pub inodes_free: Option<u64>,
    /// Whether what is written here is lost with the machine's memory (tmpfs, volatile overlay).
    pub volatile: bool,
}

/// Asks for a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The root.
    pub root: RootIndex,
    /// The entry at which it begins; the root's path for all of it. The entry itself comes first.
    pub under: RelPath,
    /// What to list and what to leave out.
    pub options: ScanOptions,
}

/// What a scan lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanOptions {
    /// Follows symbolic links to files and directories that stay within the root (`-L`).
    pub follow_links: bool,
    /// Lists extended attributes.
    pub xattrs: bool,
    /// Lists user and group.
    pub owner: bool,
    /// What to leave out.
    pub filter: FilterRules,
    /// Only these entries, all below them included, and the directories that lead to them.
    #[serde(deserialize_with = "bounded::optional_list::<_, _, { limits::SCAN_ONLY_MAX }>")]
    pub only: Option<Vec<RelPath>>,
}

/// What to leave out, in gitignore's semantics: the last rule that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRules {
    /// Patterns in order, from the least to the most important.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::FILTER_RULES_MAX }>")]
    pub rules: Vec<FilterRule>,
    /// Honours `.gitignore` files.
    pub gitignore: bool,
    /// Honours `.xferignore` files.
    pub xferignore: bool,
    /// Regular files below this many bytes are left out.
    pub size_min: Option<u64>,
    /// Regular files above this many bytes are left out.
    pub size_max: Option<u64>,
    /// Regular files modified after this moment are left out.
    pub modified_max: Option<crate::manifest::Timestamp>,
    /// Regular files modified before this moment are left out.
    pub modified_min: Option<crate::manifest::Timestamp>,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRule {
    /// A line of a gitignore file, without a leading `!`.
    pub pattern: String,
    /// Includes what it matches; excludes it otherwise.
    pub include: bool,
}

/// Asks for one batch of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanNext {
    /// The scan.
    pub scan: ScanIndex,
    /// Which batch, counted from zero. Whoever asks for one has all that lie
    /// [`limits::SCAN_BATCHES_KEPT`] before it, and may ask for each of the others again.
    pub sequence: u64,
}

/// One batch of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanBatch {
    /// Which batch, as asked.
    pub sequence: u64,
    /// What was found.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub items: Vec<ScanItem>,
    /// Whether this is the last batch; later ones are empty and say so too.
    pub last: bool,
}

/// A regular file as the scan saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAt {
    /// The root.
    pub root: RootIndex,
    /// The file.
    pub path: RelPath,
    /// What the file must still be; any difference is [`crate::fault::FaultKind::Changed`].
    pub stamp: Stamp,
}

/// Several small regular files as the scan saw them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesAt {
    /// The root.
    pub root: RootIndex,
    /// The files.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub files: Vec<(RelPath, Stamp)>,
}

/// Asks for one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBlock {
    /// The file.
    pub file: FileAt,
    /// Which bytes.
    pub range: ByteRange,
}

/// What a pack read brings of each file, in order.
pub type FileRead = Result<ReadFile, Fault>;

/// One file of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// Its bytes in the payload.
    pub size: u64,
    /// Its BLAKE3 root.
    pub digest: Digest,
}

/// What is to be hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A file under its own name, unchanged since its stamp.
    File(FileAt),
    /// What a partial holds. Where the endpoint has a cache of its own, its pages are written back
    /// and dropped first; a server of SFTP is asked for the bytes and answers from where it likes.
    Partial(PartialIndex),
}

/// Asks for digests of blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashBlocks {
    /// What is to be hashed.
    pub subject: Subject,
    /// Which bytes; begins at a block's start and ends at a block's or the file's end.
    pub range: ByteRange,
    /// The grid.
    pub block: BlockSize,
    /// Where the bytes must come from.
    pub reading: Reading,
}

/// Asks for digests of whole small files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashFiles {
    /// The files.
    pub files: FilesAt,
    /// Where the bytes must come from.
    pub reading: Reading,
}

/// Where bytes to be hashed come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// Wherever the system finds them.
    Cached,
    /// The medium: `O_DIRECT`, or after the pages were written back and dropped.
    PastCache,
}

/// Digests of blocks in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// One for each block of the range.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::DIGESTS_MAX }>")]
    pub digests: Vec<Digest>,
    /// Whether the bytes are known to have come from the medium.
    pub past_cache: bool,
}

/// Asks for locks, exclusive on each entry and shared on its ancestors within the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The root.
    pub root: RootIndex,
    /// The mapped top entries.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub entries: Vec<RelPath>,
}

/// Paths below one root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// The root.
    pub root: RootIndex,
    /// The paths.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub paths: Vec<RelPath>,
}

/// Names one entry of a batch in its outcome; chosen by the asking side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// What became of one entry of a batch; a stamp once it stands under its own name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which entry.
    pub ticket: Ticket,
    /// Its stamp at the destination, `None` while it is only staged.
    pub result: Result<Option<Stamp>, Fault>,
}

/// Asks for directories, links and special files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// The root.
    pub root: RootIndex,
    /// What to make, parents before children.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub entries: Vec<NewEntry>,
}

/// One entry to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEntry {
    /// Names it in the outcome.
    pub ticket: Ticket,
    /// Where.
    pub path: RelPath,
    /// What.
    pub kind: NewKind,
    /// Set on all but directories and hard links. A directory is made accessible to its owner and
    /// gets its metadata last.
    pub metadata: Metadata,
}

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewKind {
    /// A character or block device.
    Device(Device),
    /// A directory; one that exists is kept.
    Directory,
    /// A named pipe.
    Fifo,
    /// One more name for a file of this root that is committed.
    HardLink {
        /// The file.
        of: RelPath,
    },
    /// A socket's name.
    Socket,
    /// A symbolic link.
    Symlink {
        /// The bytes that it holds.
        content: Vec<u8>,
    },
}

/// Stages several small files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritePack {
    /// The root.
    pub root: RootIndex,
    /// The files, in the order of their bytes in the payload.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub files: Vec<PackedFile>,
    /// Publishes at once, without a sync.
    pub publish: bool,
}

/// One small file of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFile {
    /// Names it in the outcome.
    pub ticket: Ticket,
    /// Where.
    pub path: RelPath,
    /// Its bytes in the payload.
    pub size: u64,
    /// Its BLAKE3 root.
    pub digest: Digest,
    /// Set before the rename.
    pub metadata: Metadata,
}

/// Publishes what is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The root.
    pub root: RootIndex,
    /// Syncs files before, and directories after the renames.
    pub durable: bool,
    /// Which publishing of this root, each with a higher number than the one before. The last one
    /// is answered again and not done again; an earlier one is not answered any more.
    pub number: u64,
}

/// Sets metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMetadata {
    /// The root.
    pub root: RootIndex,
    /// The entries, children before parents.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub entries: Vec<(Ticket, RelPath, Metadata)>,
}

/// Ends the writing below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The root.
    pub root: RootIndex,
    /// Syncs directories and metadata.
    pub durable: bool,
}

/// Asks for a trial of a root's disk: bytes are written to a file without a name, synced and read
/// back, and the file is gone with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryDisk {
    /// The root, open for writing.
    pub root: RootIndex,
    /// Bytes to write at most.
    pub bytes: u64,
    /// Milliseconds that writing may take, and reading once more.
    pub millis: u32,
}
