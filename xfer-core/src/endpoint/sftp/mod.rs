//! The endpoint over SFTP, for machines where nothing may be executed.
//!
//! The far side only stores: whatever is hashed is read back over the link, so a resumed range, a
//! comparison and a read-back each cost its bytes once more. Version 3 tells neither inodes nor
//! change times, keeps times in whole seconds, and has no locks.
//!
//! SFTP knows paths and no descriptors. Below a root, which is resolved once, every component that
//! leads to an entry is looked at before it is used, and a symbolic link there is refused; new
//! files are opened exclusively, so that nothing planted is followed. What remains is the moment
//! between a look and its use: somebody who can write to the same directories on the far machine
//! can exchange a directory for a link in it, and so lead reads or writes to where the server's
//! user may read or write. The agent, which holds descriptors, closes that gap.

mod create;
mod entry;
mod fault;
mod hash;
mod listing;
mod locate;
mod pack;
mod partials;
mod publish;
mod remove;
mod roots;
mod scanning;
mod source;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::message::removal::Remove;
use xfer_protocol::message::{
    Commit, Create, Digests, FileAt, FileRead, FilesAt, Finish, HashBlocks, HashFiles, Keep,
    Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex, Paths, Publish,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, SetMetadata, Space,
    WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use self::partials::Partials;
use self::roots::Roots;
use self::scanning::Scans;
use self::source::OpenFiles;
use super::agentless::claims::Claims;
use super::agentless::locking::{Locks, Place};
use super::agentless::{at_once, guard};
use super::{
    Capabilities, Endpoint, EndpointError, EndpointResult, LostReason, MetadataKinds, Sink, Source,
    TimeGrain,
};
use crate::disk::state::StateDirectory;
use crate::transport::Stream;
use crate::transport::sftp::{Extensions, Sftp};

/// Files that are open at a time beside those being assembled: servers allow about a thousand.
const FILES_OPEN_MAX: usize = 256;

/// Entries of one call that are worked on at a time, to hide the link's round trips.
const AT_ONCE: usize = 64;

/// What an endpoint over SFTP does beyond what it is asked in each call.
#[derive(Clone, Debug)]
pub struct SftpOptions {
    /// Names the machine in records: two endpoints with one value reach one machine.
    pub machine: [u8; 16],
    /// Silence after which the session is given up; ten times that while an answer is due.
    pub stall: Duration,
    /// Sets owner, group, setuid and setgid, which needs root there. Default: no.
    pub owner: bool,
    /// Sets modification times. Default: yes.
    pub times: bool,
    /// Syncs files as they are completed, where the server can. Default: yes.
    pub sync: bool,
    /// Where transfers of this machine keep each other off one destination entry; those of other
    /// machines are not seen. Default: nowhere.
    pub locks: Option<StateDirectory>,
}

impl Default for SftpOptions {
    fn default() -> Self {
        let stall = Duration::from_secs(30);
        Self { machine: [0; 16], stall, owner: false, times: true, sync: true, locks: None }
    }
}

/// The files of an SFTP server.
pub struct SftpEndpoint {
    shared: Arc<Shared>,
}

/// What all calls of one endpoint share.
struct Shared {
    sftp: Sftp,
    options: SftpOptions,
    capabilities: Capabilities,
    claims: Claims,
    files: OpenFiles,
    handles: Semaphore,
    locks: Locks,
    partials: Partials,
    roots: Roots,
    scans: Scans,
    closed: CancellationToken,
}

impl SftpEndpoint {
    /// Greets the server on a stream, such as the channel of the subsystem `sftp`.
    pub fn open(stream: Stream, options: SftpOptions) -> BoxFuture<'static, EndpointResult<Self>> {
        Box::pin(async move {
            let begun = Sftp::begin(stream, options.stall).await;
            let root = RelPath::root();
            let sftp = begun.map_err(|error| fault::sort(error, Operation::Open, &root))?;
            let shared = Shared {
                capabilities: capabilities(sftp.extensions(), &options),
                sftp,
                claims: Claims::default(),
                files: OpenFiles::default(),
                handles: Semaphore::new(FILES_OPEN_MAX),
                locks: Locks::default(),
                partials: Partials::default(),
                roots: Roots::default(),
                scans: Scans::default(),
                closed: CancellationToken::new(),
                options,
            };
            Ok(Self { shared: Arc::new(shared) })
        })
    }

    /// Bytes on the wire beside payload.
    #[must_use]
    pub fn overhead_bytes(&self) -> u64 {
        self.shared.sftp.overhead_bytes()
    }

    /// Runs a call to its end even when its caller goes: no entry is left half-made by that.
    async fn whole<T, W>(&self, work: impl FnOnce(Arc<Shared>) -> W) -> EndpointResult<T>
    where
        T: Send + 'static,
        W: Future<Output = EndpointResult<T>> + Send + 'static,
    {
        self.shared.check_open()?;
        let running = tokio::spawn(work(Arc::clone(&self.shared)));
        tokio::select! {
            ended = running => match ended {
                Ok(result) => result,
                Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                Err(_) => Err(EndpointError::Lost(LostReason::ClosedHere)),
            },
            () = self.shared.closed.cancelled() => {
                Err(EndpointError::Lost(LostReason::ClosedHere))
            }
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

    fn lock(&self, lock: &Lock) -> EndpointResult<()> {
        let root = self.writable(lock.root, Operation::Lock)?;
        let Some(directory) = &self.options.locks else { return Ok(()) };
        let place = Place { directory, far: &self.options.machine };
        self.locks.lock(place, lock, |path| root.at(path))
    }

    fn shut(&self) {
        self.closed.cancel();
        self.sftp.close();
        self.files.clear();
        self.scans.clear();
        self.partials.clear();
        self.locks.clear();
    }
}

impl Drop for SftpEndpoint {
    fn drop(&mut self) {
        self.shared.shut();
    }
}

fn capabilities(extensions: Extensions, options: &SftpOptions) -> Capabilities {
    let mut proof_levels = vec![ProofLevel::Received];
    if extensions.fsync && extensions.rename_over {
        // Whether bytes that are read back came from the medium or a cache, nobody can tell.
        proof_levels.extend([ProofLevel::Durable, ProofLevel::ReadBackCached]);
    }
    Capabilities {
        write_grid: 1,
        part_min: 1,
        part_max: u64::try_from(limits::PAYLOAD_BYTES_MAX).unwrap_or(u64::MAX),
        random_write: true,
        rehash: true,
        rename: extensions.rename_over,
        inodes: false,
        long_paths: false,
        metadata: MetadataKinds {
            mode: true,
            modified: if options.times { TimeGrain::Seconds } else { TimeGrain::Nothing },
            symlinks: true,
            hard_links: extensions.hard_link,
            directories: true,
            special: false,
            xattrs: false,
            owner: options.owner,
            sparse: false,
        },
        proof_levels,
    }
}

#[async_trait]
impl Endpoint for SftpEndpoint {
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
        self.shared.space(root).await
    }

    async fn close(&self) {
        self.shared.shut();
    }
}

#[async_trait]
impl Source for SftpEndpoint {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.shared.check_open()?;
        self.shared.read_block(&read).await
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.shared.check_open()?;
        self.shared.read_pack(files).await
    }
}

#[async_trait]
impl Sink for SftpEndpoint {
    async fn lock(&self, lock: Lock) -> EndpointResult<()> {
        self.shared.check_open()?;
        let shared = Arc::clone(&self.shared);
        let locking = tokio::task::spawn_blocking(move || shared.lock(&lock));
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
        self.whole(|shared| async move { shared.write_block(&write, payload).await }).await
    }

    async fn commit(&self, commit: Commit) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.commit(&commit).await }).await
    }

    async fn discard(&self, partial: PartialIndex) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.discard(partial).await }).await
    }

    async fn write_pack(&self, pack: WritePack, payload: Bytes) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.write_pack(pack, payload).await }).await
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

    async fn remove(&self, remove: Remove) -> EndpointResult<Vec<Outcome>> {
        self.whole(|shared| async move { shared.remove(&remove).await }).await
    }

    async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        self.whole(|shared| async move { shared.finish(finish).await }).await
    }
}
