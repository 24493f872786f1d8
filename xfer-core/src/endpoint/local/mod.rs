//! The endpoint on this machine's disks.
//!
//! Each call does its blocking work in one closure on the runtime's blocking threads, which always
//! runs to its end: a dropped future leaves no half-made entry. Below a root everything is reached
//! through directories that `disk::confine` opened.

mod buffers;
mod claims;
mod create;
mod deltas;
mod directories;
mod hash;
mod locate;
mod locking;
mod measuring;
mod pack;
mod partials;
mod places;
mod publish;
mod remove;
mod rename;
mod roots;
mod scanning;
mod source;
#[cfg(target_os = "linux")]
mod surveying;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::limits;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::message::TryDisk;
use xfer_protocol::message::delta::{CopiedRange, Match, Patch, ReadParts, Sign};
use xfer_protocol::message::removal::{Remove, Rename};
#[cfg(target_os = "linux")]
use xfer_protocol::message::settling::Settling;
use xfer_protocol::message::{
    Commit, Create, Digests, FileAt, FileRead, FilesAt, Finish, HashBlocks, HashFiles, Keep,
    Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex, Paths, Publish,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, SetMetadata, Space,
    WriteBlock, WritePack,
};
use xfer_protocol::probe::{DiskTrial, Facts};
use xfer_protocol::range::ByteRange;
#[cfg(target_os = "linux")]
use xfer_protocol::survey::{Container, Survey, Surveyed};

use self::buffers::Buffers;
use self::claims::Claims;
use self::partials::Partials;
pub use self::places::Reach;
use self::roots::Roots;
use self::scanning::Scans;
use self::source::OpenFiles;
use super::{
    Capabilities, Endpoint, EndpointError, EndpointResult, LostReason, MetadataKinds, Sink, Source,
    TimeGrain,
};
pub use crate::disk::base::Base;
use crate::disk::confine::Confinement;
use crate::disk::metadata::Preserve;
use crate::disk::xattrs::Exactly;

/// What a local endpoint does beyond what it is asked in each call.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// Where relative locations begin. Default: the working directory.
    pub base: Base,
    /// Makes devices, which needs root. Default: no.
    pub devices: bool,
    /// Sets owner, group, setuid and setgid, which needs root. Default: no.
    pub owner: bool,
    /// Sets modification times. Default: yes.
    pub times: bool,
    /// Removes extended attributes that the source lacks where it sets metadata. Default: no.
    pub xattrs: bool,
    /// Removes access control lists that the source lacks where it sets metadata. Default: no.
    pub acls: bool,
    /// Whether files may share blocks, so that the system is asked to copy from one to another.
    /// Default: where the kind of the file system does not exclude it.
    pub shares_blocks: Option<bool>,
    /// Bytes of each file system that do not count as free. Default: none.
    pub reserve: u64,
    /// How directories below a root are reached. Default: by the kernel's own confinement.
    pub confinement: Confinement,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            base: Base::default(),
            devices: false,
            owner: false,
            times: true,
            xattrs: false,
            acls: false,
            shares_blocks: None,
            reserve: 0,
            confinement: Confinement::default(),
        }
    }
}

impl LocalOptions {
    fn exactly(&self) -> Exactly {
        match (self.xattrs, self.acls) {
            (true, _) => Exactly::All,
            (false, true) => Exactly::AccessLists,
            (false, false) => Exactly::Nothing,
        }
    }
}

/// Turns at payload at least.
const TURNS_MIN: usize = 8;

/// This machine's disks. Clones are the same endpoint.
#[derive(Clone)]
pub struct LocalEndpoint {
    shared: Arc<Shared>,
}

/// What all calls of one endpoint share.
struct Shared {
    options: LocalOptions,
    /// What alone is within reach; everything where it is not said.
    reach: Option<Reach>,
    capabilities: Capabilities,
    preserve: Preserve,
    /// Permission bits that new files lose.
    umask: u32,
    buffers: Arc<Buffers>,
    claims: Claims,
    files: OpenFiles,
    partials: Partials,
    roots: Roots,
    scans: Scans,
    /// Turns at payload: with all calls at work at once, none of them would be done early.
    turns: Semaphore,
    /// Trials of disks, one at a time: two would measure each other.
    trials: Semaphore,
    /// Surveys of the machine, one at a time.
    #[cfg(target_os = "linux")]
    surveys: Arc<Semaphore>,
    closed: CancellationToken,
}

impl LocalEndpoint {
    /// An endpoint with nothing open.
    #[must_use]
    pub fn new(options: LocalOptions) -> Self {
        Self::reaching(options, None)
    }

    /// The same where nothing beyond `reach` is there; paths begin with the name of a root.
    #[must_use]
    pub fn confined(options: LocalOptions, reach: Reach) -> Self {
        Self::reaching(options, Some(reach))
    }

    fn reaching(options: LocalOptions, reach: Option<Reach>) -> Self {
        let preserve = Preserve::new(options.times, options.owner, options.exactly());
        let shared = Shared {
            options,
            reach,
            capabilities: capabilities(preserve),
            preserve,
            umask: crate::disk::metadata::umask(),
            buffers: Arc::default(),
            claims: Claims::default(),
            files: OpenFiles::default(),
            partials: Partials::default(),
            roots: Roots::new(),
            scans: Scans::default(),
            turns: Semaphore::new(turns()),
            trials: Semaphore::new(1),
            #[cfg(target_os = "linux")]
            surveys: Arc::new(Semaphore::new(1)),
            closed: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Which of some processes of this machine can write below roots.
    #[cfg(target_os = "linux")]
    pub(crate) async fn survey_among(
        &self,
        roots: Vec<Vec<u8>>,
        pids: BTreeSet<u32>,
    ) -> EndpointResult<Surveyed> {
        let dropped = self.shared.closed.child_token();
        let _ends = dropped.clone().drop_guard();
        self.blocking(move |shared| shared.survey_among(&roots, &pids, &dropped)).await
    }

    /// Runs blocking work on payload when its turn comes.
    async fn in_turn<T, E>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, E> + Send + 'static,
    ) -> EndpointResult<T>
    where
        T: Send + 'static,
        E: Into<EndpointError> + Send + 'static,
    {
        // The turns are never closed; dropped early, the work that began goes on beside the next.
        let _turn = self.shared.turns.acquire().await;
        self.blocking(work).await
    }

    /// Runs blocking work to its end, even if nobody waits for it any more.
    async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, E> + Send + 'static,
    ) -> EndpointResult<T>
    where
        T: Send + 'static,
        E: Into<EndpointError> + Send + 'static,
    {
        let closed = EndpointError::Lost(LostReason::ClosedHere);
        if self.shared.closed.is_cancelled() {
            return Err(closed);
        }
        let shared = Arc::clone(&self.shared);
        let working = tokio::task::spawn_blocking(move || work(&shared));
        tokio::select! {
            done = working => match done {
                Ok(result) => result.map_err(Into::into),
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(closed),
                },
            },
            () = self.shared.closed.cancelled() => Err(closed),
        }
    }
}

fn capabilities(preserve: Preserve) -> Capabilities {
    Capabilities {
        write_grid: 1,
        part_min: 1,
        part_max: u64::try_from(limits::PAYLOAD_BYTES_MAX).unwrap_or(u64::MAX),
        random_write: true,
        rehash: true,
        rename: true,
        inodes: true,
        long_paths: true,
        metadata: MetadataKinds {
            mode: true,
            modified: if preserve.times { TimeGrain::Nanoseconds } else { TimeGrain::Nothing },
            symlinks: true,
            hard_links: true,
            directories: true,
            special: true,
            xattrs: true,
            owner: preserve.owner,
            sparse: true,
        },
        proof_levels: vec![
            ProofLevel::Received,
            ProofLevel::Durable,
            ProofLevel::ReadBackCached,
            ProofLevel::ReadBack,
        ],
    }
}

#[async_trait]
impl Endpoint for LocalEndpoint {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn makes_deltas(&self) -> bool {
        true
    }

    async fn sign(&self, sign: Sign) -> EndpointResult<Bytes> {
        self.in_turn(move |shared| shared.sign(&sign)).await
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        self.blocking(move |shared| shared.locate(&locate)).await
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        self.blocking(move |shared| shared.open_root(&open)).await
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        self.blocking(move |shared| shared.scan(scan)).await
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        tokio::select! {
            batch = self.shared.scan_next(next) => batch.map_err(Into::into),
            () = self.shared.closed.cancelled() => Err(EndpointError::Lost(LostReason::ClosedHere)),
        }
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.blocking(move |shared| shared.data_ranges(&file)).await
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        self.in_turn(move |shared| shared.hash_blocks(&hash)).await
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        self.in_turn(move |shared| shared.hash_files(&hash)).await
    }

    async fn space(&self, root: RootIndex) -> EndpointResult<Space> {
        self.blocking(move |shared| shared.space(root)).await
    }

    async fn facts(&self) -> EndpointResult<Facts> {
        self.blocking(|_| Ok::<_, Fault>(measuring::facts())).await
    }

    async fn try_disk(&self, trial: TryDisk) -> EndpointResult<DiskTrial> {
        let _alone = self.shared.trials.acquire().await;
        self.blocking(move |shared| shared.try_disk(trial)).await
    }

    #[cfg(target_os = "linux")]
    async fn settling(&self, root: RootIndex) -> EndpointResult<Settling> {
        self.blocking(move |shared| shared.settling(root)).await
    }

    #[cfg(target_os = "linux")]
    async fn identify(&self, mark: bool) -> EndpointResult<Container> {
        self.blocking(move |shared| shared.identify(mark)).await
    }

    #[cfg(target_os = "linux")]
    async fn survey(&self, survey: Survey) -> EndpointResult<Surveyed> {
        let dropped = self.shared.closed.child_token();
        // Whoever waits no longer, and whoever closes the endpoint, ends the survey.
        let _ends = dropped.clone().drop_guard();
        // The turns are never closed; the turn ends with the work and not with whoever waits.
        let turn = Arc::clone(&self.shared.surveys).acquire_owned().await;
        self.blocking(move |shared| {
            let _turn = turn;
            shared.survey(&survey, &dropped)
        })
        .await
    }

    #[cfg(target_os = "linux")]
    async fn write_back(&self, root: RootIndex) -> EndpointResult<()> {
        self.blocking(move |shared| shared.write_back(root)).await
    }

    async fn close(&self) {
        self.shared.closed.cancel();
        let shared = Arc::clone(&self.shared);
        // A closure that panicked has nothing left to let go of.
        let _ = tokio::task::spawn_blocking(move || shared.let_go()).await;
    }
}

#[async_trait]
impl Source for LocalEndpoint {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.in_turn(move |shared| shared.read_block(&read)).await
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.in_turn(move |shared| shared.read_pack(&files)).await
    }

    async fn find_copies(&self, looked: Match, sums: Bytes) -> EndpointResult<Vec<CopiedRange>> {
        self.in_turn(move |shared| shared.find_copies(&looked, &sums)).await
    }

    async fn read_parts(&self, read: ReadParts) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.in_turn(move |shared| shared.read_parts(&read)).await
    }
}

#[async_trait]
impl Sink for LocalEndpoint {
    async fn lock(&self, lock: Lock) -> EndpointResult<()> {
        self.blocking(move |shared| shared.lock(&lock)).await
    }

    async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>> {
        self.blocking(move |shared| shared.create(&create)).await
    }

    async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial> {
        self.blocking(move |shared| shared.open_partial(&open)).await
    }

    async fn keep(&self, keep: Keep) -> EndpointResult<()> {
        self.blocking(move |shared| shared.keep(&keep)).await
    }

    async fn write_block(&self, write: WriteBlock, payload: Bytes) -> EndpointResult<()> {
        self.in_turn(move |shared| shared.write_block(&write, &payload)).await
    }

    async fn patch(&self, patch: Patch, payload: Bytes) -> EndpointResult<()> {
        self.in_turn(move |shared| shared.patch(&patch, &payload)).await
    }

    async fn commit(&self, commit: Commit) -> EndpointResult<()> {
        self.blocking(move |shared| shared.commit(&commit)).await
    }

    async fn discard(&self, partial: PartialIndex) -> EndpointResult<()> {
        self.blocking(move |shared| shared.discard(partial)).await
    }

    async fn write_pack(&self, pack: WritePack, payload: Bytes) -> EndpointResult<Vec<Outcome>> {
        self.in_turn(move |shared| shared.write_pack(pack, &payload)).await
    }

    async fn publish(&self, publish: Publish) -> EndpointResult<Vec<Outcome>> {
        self.blocking(move |shared| shared.publish(publish)).await
    }

    async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        self.blocking(move |shared| shared.set_metadata(&set)).await
    }

    async fn remove_partials(&self, partials: Paths) -> EndpointResult<()> {
        self.blocking(move |shared| shared.remove_partials(&partials)).await
    }

    fn removes(&self) -> bool {
        true
    }

    fn backs_up(&self) -> bool {
        true
    }

    async fn remove(&self, remove: Remove) -> EndpointResult<Vec<Outcome>> {
        self.blocking(move |shared| shared.remove(&remove)).await
    }

    fn renames(&self) -> bool {
        true
    }

    fn writes_in_place(&self) -> bool {
        true
    }

    async fn rename(&self, rename: Rename) -> EndpointResult<Vec<Outcome>> {
        self.blocking(move |shared| shared.rename(&rename)).await
    }

    async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        self.blocking(move |shared| shared.finish(finish)).await
    }
}

impl Shared {
    /// Closes every file, which lets the locks go; partials stay on disk for a later session.
    fn let_go(&self) {
        self.files.clear();
        self.partials.clear();
        self.scans.clear();
        self.roots.clear();
    }
}

/// Calls that work on payload at a time: enough for a slow disk, few beside a processor's speed.
fn turns() -> usize {
    std::thread::available_parallelism().map_or(TURNS_MIN, |cores| TURNS_MIN.max(2 * cores.get()))
}

/// Locks a table. A panic elsewhere leaves no table half changed, so poison is ignored.
fn guard<T>(table: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
