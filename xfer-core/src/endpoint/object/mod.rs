//! Object stores: buckets of S3 and of all that speaks it, of GCS and of Azure.
//!
//! A store has keys and no directories, and replaces objects whole. What it cannot say of a tree
//! lies beside the data, below `.xfer-receipts/`: a manifest for each root that was written, which
//! tells directories, symbolic links, modes and times. Large files are uploads in parts; what is
//! known of one is recorded in this machine's state directory, so that a later session goes on.

mod attributes;
pub(crate) mod clearing;
mod confirm;
mod copied_parts;
pub(crate) mod copying;
mod create;
mod entry;
mod fault;
mod hash;
mod keys;
mod layers;
mod listing;
mod locate;
mod manifest;
mod pack;
mod partials;
mod places;
mod publish;
mod readings;
mod records;
mod remove;
mod roots;
mod scanning;
mod source;
pub mod store;
mod sums;
#[cfg(test)]
mod tests;
mod there;
pub(crate) mod trial;
mod upload;
mod uploads;
mod walk;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{ProofLevel, Timestamp};
use xfer_protocol::message::removal::Remove;
use xfer_protocol::message::{
    Commit, Create, Digests, FileAt, FileRead, FilesAt, Finish, HashBlocks, HashFiles, Keep,
    Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex, Paths, Publish,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, SetMetadata, Space,
    WriteBlock, WritePack,
};
use xfer_protocol::range::ByteRange;

use self::entry::Versions;
use self::layers::Layers;
use self::partials::Partials;
use self::readings::Readings;
use self::roots::Roots;
use self::scanning::Scans;
use self::store::Store;
pub use self::uploads::{Aborted, Unfinished, Uploads};
use super::agentless::claims::Claims;
use super::agentless::locking::{Locks, Place};
use super::agentless::{at_once, guard};
use super::errands::Porter;
use super::{
    Capabilities, Endpoint, EndpointError, EndpointResult, LostReason, MetadataKinds, Sink, Source,
    TimeGrain,
};
use crate::disk::state::StateDirectory;

/// What lies below it is ours, beside the data, and is never told.
const RECORDS: &str = ".xfer-receipts";

/// What the key of a manifest ends with, behind the prefix that it describes.
const MANIFEST: &str = ".xfer-receipts/manifest";

/// The grid on which large files are written, and the least part: S3 takes no smaller than 5 MiB.
const GRID: u64 = 8 << 20;

/// Small requests that are under way at a time.
const LOOKS_AT_ONCE: usize = 64;

/// Whole objects that are read or written at a time.
const OBJECTS_AT_ONCE: usize = 64;

/// Bytes that are hashed where they are: for fewer, another thread is not worth its waking.
const HASHED_HERE: u64 = 128 << 10;

/// What an endpoint over a store does beyond what it is asked in each call.
#[derive(Clone, Debug, Default)]
pub struct ObjectOptions {
    /// Random bytes, from which the names of this session's attempts are drawn.
    pub seed: [u8; 16],
    /// Where uploads are recorded, so that a later session goes on with them. Default: nowhere.
    pub records: Option<StateDirectory>,
    /// Where transfers of this machine keep each other off one destination entry; those of other
    /// machines are not seen. Default: nowhere.
    pub locks: Option<StateDirectory>,
    /// Whether what a pack publishes at once need not be confirmed: its answer is believed.
    /// Default: it is confirmed as what is published later.
    pub believes_answers: bool,
    /// What the user should know of objects that are not what they should be, in words.
    pub told: Arc<Mutex<Vec<String>>>,
    /// Whether an entity tag may stay as it is though the bytes change, so that what has the tag
    /// that was recorded is compared all the same. Default: it may not.
    pub weak_states: bool,
    /// Whether what an earlier session sent of a large file is lost with it, and a file's blocks
    /// are written in order. Default: it is not.
    pub begins_anew: bool,
}

/// The objects of a bucket.
pub struct ObjectEndpoint {
    shared: Arc<Shared>,
}

/// What all calls of one endpoint share.
struct Shared {
    store: Arc<dyn Store>,
    options: ObjectOptions,
    capabilities: Capabilities,
    attempts: AtomicU64,
    claims: Claims,
    layers: Layers,
    locks: Locks,
    partials: Partials,
    readings: Readings,
    roots: Roots,
    scans: Scans,
    /// Bytes of staged files that wait in memory.
    waiting: Arc<AtomicU64>,
    versions: Versions,
    /// Room for pieces that are read to be hashed, which wait for their turn in memory.
    pieces: Semaphore,
    /// Turns at hashing: with all calls at it at once, none of them would be done early.
    turns: Semaphore,
    /// The machine by whose link objects are read to be compared, where that is not ours.
    porter: OnceLock<Option<Arc<Porter>>>,
    closed: CancellationToken,
    /// Shared by calls that write, for as long as any work of theirs goes on; exclusive for whoever
    /// closes.
    calls: Arc<RwLock<()>>,
}

impl fmt::Debug for ObjectEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectEndpoint").field("store", &self.shared.store.name()).finish()
    }
}

impl ObjectEndpoint {
    /// A session on a bucket. Nothing is asked of it yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: ObjectOptions) -> Self {
        let capabilities = Capabilities {
            inodes: !options.weak_states,
            random_write: !options.begins_anew,
            rehash: !options.begins_anew,
            ..capabilities()
        };
        let shared = Shared {
            store,
            options,
            capabilities,
            attempts: AtomicU64::new(0),
            claims: Claims::default(),
            layers: Layers::default(),
            locks: Locks::default(),
            partials: Partials::default(),
            readings: Readings::default(),
            roots: Roots::default(),
            scans: Scans::default(),
            waiting: Arc::default(),
            versions: Versions::default(),
            pieces: Semaphore::new(hash::PIECES_OF_ALL),
            turns: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            porter: OnceLock::new(),
            closed: CancellationToken::new(),
            calls: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs a call to its end even when its caller goes: no entry is left half-made by that. With
    /// the endpoint it ends at once, lest it write over what a later session wrote.
    async fn whole<T, W>(&self, work: impl FnOnce(Arc<Shared>) -> W) -> EndpointResult<T>
    where
        T: Send + 'static,
        W: Future<Output = EndpointResult<T>> + Send + 'static,
    {
        let call = self.shared.call()?;
        let closed = self.shared.closed.clone();
        let work = work(Arc::clone(&self.shared));
        let running = tokio::spawn(async move {
            let _call = call;
            tokio::select! {
                biased;
                () = closed.cancelled() => Err(EndpointError::Lost(LostReason::ClosedHere)),
                ended = work => ended,
            }
        });
        match running.await {
            Ok(result) => result,
            Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => Err(EndpointError::Lost(LostReason::ClosedHere)),
        }
    }
}

impl Shared {
    fn check_open(&self) -> EndpointResult<()> {
        match self.closed.is_cancelled() {
            true => Err(EndpointError::Lost(LostReason::ClosedHere)),
            false => Ok(()),
        }
    }

    /// Begins a call that writes, which is under way until what comes back is dropped.
    fn call(&self) -> EndpointResult<OwnedRwLockReadGuard<()>> {
        // Only whoever closes has it for himself.
        let call = Arc::clone(&self.calls).try_read_owned();
        let call = call.map_err(|_| EndpointError::Lost(LostReason::ClosedHere))?;
        self.check_open()?;
        Ok(call)
    }

    fn lock(&self, lock: &Lock) -> EndpointResult<()> {
        let root = self.writable(lock.root, Operation::Lock)?;
        let Some(place) = self.lock_place() else { return Ok(()) };
        self.locks.lock(place, lock, |path| root.place(path))
    }

    /// Where transfers of this machine keep each other off an entry.
    fn lock_place(&self) -> Option<Place<'_>> {
        let far = self.store.name().as_bytes();
        self.options.locks.as_ref().map(|directory| Place { directory, far })
    }

    /// Computes over so many bytes, apart from the workers: they are few, and carry all requests.
    async fn apart<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> EndpointResult<T> {
        if bytes <= HASHED_HERE {
            return Ok(work());
        }
        // The turns are never closed; dropped early, the work that began goes on beside the next.
        let _turn = self.turns.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done),
            Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => Err(EndpointError::Lost(LostReason::ClosedHere)),
        }
    }

    fn shut(&self) {
        self.closed.cancel();
        self.scans.clear();
        self.partials.clear();
    }

    /// The name of a new attempt, which no other has.
    fn attempt(&self) -> String {
        let nth = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.options.seed);
        hasher.update(&nth.to_le_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

impl Drop for ObjectEndpoint {
    fn drop(&mut self) {
        self.shared.shut();
        // Otherwise the last call under way lets go of them, as the last that holds what is shared.
        if self.shared.calls.try_write().is_ok() {
            self.shared.locks.clear();
        }
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        write_grid: GRID,
        part_min: GRID,
        part_max: u64::try_from(limits::PAYLOAD_BYTES_MAX).unwrap_or(u64::MAX),
        random_write: true,
        rehash: true,
        rename: false,
        inodes: true,
        long_paths: false,
        metadata: MetadataKinds {
            mode: true,
            modified: TimeGrain::Nanoseconds,
            symlinks: true,
            hard_links: false,
            directories: true,
            special: false,
            xattrs: false,
            owner: false,
            sparse: false,
        },
        proof_levels: vec![ProofLevel::Received, ProofLevel::Durable, ProofLevel::ReadBack],
    }
}

#[async_trait]
impl Endpoint for ObjectEndpoint {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        self.shared.check_open()?;
        self.shared.locate(&locate).await
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        self.shared.check_open()?;
        self.shared.open_root(&open).await
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        self.shared.check_open()?;
        Arc::clone(&self.shared).scan(scan).await
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        self.shared.check_open()?;
        self.shared.scan_next(next).await
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.shared.check_open()?;
        self.shared.data_ranges(&file).await
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        self.shared.check_open()?;
        self.shared.hash_blocks(&hash).await
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        self.shared.check_open()?;
        self.shared.hash_files(&hash).await
    }

    async fn space(&self, root: RootIndex) -> EndpointResult<Space> {
        self.shared.check_open()?;
        self.shared.space(root)
    }

    async fn close(&self) {
        self.shared.shut();
        drop(self.shared.calls.write().await);
        self.shared.locks.clear();
    }
}

#[async_trait]
impl Source for ObjectEndpoint {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.shared.check_open()?;
        self.shared.read_block(&read).await
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.shared.check_open()?;
        self.shared.read_pack(files).await
    }

    async fn confirm(&self, file: &FileAt, root: Digest) -> EndpointResult<()> {
        self.shared.check_open()?;
        self.shared.confirm(file, root).await
    }
}

#[async_trait]
impl Sink for ObjectEndpoint {
    async fn lock(&self, lock: Lock) -> EndpointResult<()> {
        let call = self.shared.call()?;
        let shared = Arc::clone(&self.shared);
        let locking = tokio::task::spawn_blocking(move || {
            let _call = call;
            shared.lock(&lock)
        });
        locking.await.unwrap_or(Err(EndpointError::Lost(LostReason::ClosedHere)))
    }

    async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.create(create).await }).await
    }

    async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial> {
        self.whole(|shared| async move { shared.open_partial(open).await }).await
    }

    async fn keep(&self, keep: Keep) -> EndpointResult<()> {
        self.shared.check_open()?;
        self.shared.keep(&keep)
    }

    async fn write_block(&self, write: WriteBlock, payload: Bytes) -> EndpointResult<()> {
        self.write_load(write, payload.into()).await
    }

    async fn commit(&self, commit: Commit) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.commit(&commit).await }).await
    }

    async fn discard(&self, partial: PartialIndex) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.discard(partial).await }).await
    }

    async fn write_pack(&self, pack: WritePack, payload: Bytes) -> EndpointResult<Vec<Outcome>> {
        self.write_loads(pack, payload.into()).await
    }

    async fn publish(&self, publish: Publish) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.publish(publish).await }).await
    }

    async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.set_metadata(set).await }).await
    }

    async fn remove_partials(&self, partials: Paths) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.remove_partials(&partials).await }).await
    }

    fn removes(&self) -> bool {
        true
    }

    fn keeps_removed(&self) -> bool {
        self.shared.store.keeps_removed()
    }

    async fn remove(&self, remove: Remove) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.remove(&remove).await }).await
    }

    async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.finish(finish).await }).await
    }

    fn keeps_receipts(&self) -> bool {
        true
    }

    async fn keep_receipt(&self, root: RootIndex, name: &str, text: Bytes) -> EndpointResult<()> {
        let name = name.to_owned();
        self.whole(|shared| async move { shared.keep_receipt(root, &name, text).await }).await
    }
}

/// The time among what is written with an object.
pub(super) fn modified_of(attributes: &[(String, String)]) -> Option<Timestamp> {
    attributes::read(attributes).modified
}
