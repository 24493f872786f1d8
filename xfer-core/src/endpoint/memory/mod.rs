//! An endpoint in memory: for tests, and as the model of an object store.
//!
//! A [`MemoryStore`] is what a disk or a bucket is: it outlives the [`MemoryEndpoint`]s, which are
//! sessions on it. Tests order [`Trouble`]s for single calls, and look at the store to see what was
//! left. Everything is answered at once, so a test's timing decides nothing.

mod content;
mod reading;
mod session;
mod tree;
mod trouble;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, Metadata, ProofLevel};
use xfer_protocol::message::removal::{Remove, Rename};
use xfer_protocol::message::{
    Commit, Create, Digests, FileAt, FileRead, FilesAt, Finish, HashBlocks, HashFiles, Keep,
    Locate, Located, Lock, OpenPartial, OpenRoot, Outcome, Partial, PartialIndex, Paths, Publish,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, SetMetadata, Space,
    WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

pub use trouble::{Method, Trouble};

use content::Content;
use session::Session;
use tree::{NodeKind, Tree};
use trouble::Troubles;

use super::{
    Capabilities, Endpoint, EndpointError, EndpointResult, LostReason, MetadataKinds, Sink, Source,
    TimeGrain,
};

/// The grid of a store that takes parts: the smallest part that S3 takes.
const PART_GRID: u64 = 5 * 1024 * 1024;

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All that a disk can.
    Disk,
    /// Files only, assembled from parts on a grid, which cannot be read before they are committed.
    Parts,
}

/// Entries that outlive the endpoints that write them. Clones are the same store.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    tree: Arc<Mutex<Tree>>,
    space: Arc<Mutex<Space>>,
    profile: Profile,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let tree = Tree::new(profile == Profile::Disk);
        let space = Space { bytes_free: 1 << 40, inodes_free: None, volatile: true };
        Self { tree: Arc::new(Mutex::new(tree)), space: Arc::new(Mutex::new(space)), profile }
    }

    /// Puts a file at an absolute path, and the directories that lead to it.
    ///
    /// # Panics
    /// When something else stands in the place of one of them.
    pub fn put(&self, path: &RelPath, bytes: impl Into<Bytes>) {
        let content = Content::of(bytes.into());
        let metadata = Metadata { mode: 0o644, ..Metadata::default() };
        let mut tree = guard(&self.tree);
        if self.profile == Profile::Disk {
            let made = tree.make_directories(&path.parent().unwrap_or_default());
            assert!(made, "{path} is below something that is no directory");
        }
        tree.insert(path, NodeKind::File(content), metadata);
    }

    /// Changes a file's bytes in place, as a program beside the transfer does; `None` if there is
    /// no such file.
    #[must_use]
    pub fn overwrite(&self, path: &RelPath, start: u64, bytes: impl Into<Bytes>) -> Option<()> {
        guard(&self.tree).overwrite(path, start, bytes.into())
    }

    /// Removes one entry.
    pub fn remove(&self, path: &RelPath) {
        guard(&self.tree).unlink(path);
    }

    /// What stands at an absolute path.
    #[must_use]
    pub fn entry(&self, path: &RelPath) -> Option<Entry> {
        guard(&self.tree).entry(path)
    }

    /// A whole file; `None` if there is none.
    #[must_use]
    pub fn read(&self, path: &RelPath) -> Option<Bytes> {
        match guard(&self.tree).kind(path)? {
            NodeKind::File(content) => {
                Some(ByteRange::whole(content.size()).map(|w| content.read(w)).unwrap_or_default())
            }
            _ => None,
        }
    }

    /// All entries, their paths absolute, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let tree = guard(&self.tree);
        tree.below(&RelPath::root()).filter_map(|path| tree.entry(path)).collect()
    }

    /// The paths of files that are partly there.
    #[must_use]
    pub fn partials(&self) -> Vec<RelPath> {
        guard(&self.tree).partials.keys().cloned().collect()
    }

    /// Changes a byte that a partial holds, as a failing disk does; `None` if it holds none there.
    #[must_use]
    pub fn damage_partial(&self, path: &RelPath, offset: u64) -> Option<()> {
        let mut tree = guard(&self.tree);
        let content = tree.partials.get_mut(path)?;
        let byte = content.read(ByteRange::at(offset, 1).ok()?)[0];
        content.write(offset, Bytes::from(vec![!byte]));
        Some(())
    }

    /// Lets it pass for another machine than other stores.
    pub fn set_machine(&self, machine: [u8; 16]) {
        guard(&self.tree).machine = machine;
    }

    /// What it says about free space from now on; nothing else follows from it.
    pub fn set_space(&self, space: Space) {
        *guard(&self.space) = space;
    }

    /// A session on this store.
    #[must_use]
    pub fn open(&self) -> MemoryEndpoint {
        let mut tree = guard(&self.tree);
        tree.sessions += 1;
        MemoryEndpoint {
            session: Mutex::new(Session::new(tree.sessions, self.profile)),
            store: self.clone(),
            capabilities: self.profile.capabilities(),
            troubles: Troubles::default(),
            over: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }
}

impl Profile {
    fn capabilities(self) -> Capabilities {
        let disk = self == Self::Disk;
        let part_max = limits::PAYLOAD_BYTES_MAX as u64;
        Capabilities {
            write_grid: if disk { 1 } else { PART_GRID },
            part_min: if disk { 1 } else { PART_GRID },
            part_max,
            random_write: true,
            rehash: disk,
            rename: disk,
            inodes: true,
            long_paths: true,
            metadata: MetadataKinds {
                mode: disk,
                modified: if disk { TimeGrain::Nanoseconds } else { TimeGrain::Nothing },
                symlinks: disk,
                hard_links: disk,
                directories: disk,
                special: disk,
                xattrs: disk,
                owner: disk,
                sparse: disk,
            },
            proof_levels: vec![ProofLevel::Received, ProofLevel::Durable, ProofLevel::ReadBack],
        }
    }
}

/// A session on a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryEndpoint {
    store: MemoryStore,
    capabilities: Capabilities,
    session: Mutex<Session>,
    troubles: Troubles,
    /// Ends stalls.
    over: CancellationToken,
    closed: CancellationToken,
}

impl MemoryEndpoint {
    /// After `after` more calls of a method, the next `times` meet a trouble. Orders for one method
    /// follow each other.
    pub fn order(&self, method: Method, after: u64, times: u64, trouble: Trouble) {
        self.troubles.order(method, after, times, trouble);
    }

    /// Forgets what was ordered, and lets calls that stall fail as if their stream had ended.
    pub fn end_troubles(&self) {
        self.troubles.clear();
        self.over.cancel();
    }

    /// Calls of a method so far.
    #[must_use]
    pub fn calls(&self, method: Method) -> u64 {
        self.troubles.calls(method)
    }

    /// Calls of a method that met a trouble.
    #[must_use]
    pub fn fired(&self, method: Method) -> u64 {
        self.troubles.fired(method)
    }

    /// What happens to a call before it is served.
    async fn meet(&self, method: Method) -> EndpointResult<Option<Trouble>> {
        if self.closed.is_cancelled() {
            return Err(EndpointError::Lost(LostReason::ClosedHere));
        }
        match self.troubles.meet(method) {
            Some(Trouble::Fail(kind)) => {
                Err(Fault::new(kind, method.operation(), RelPath::root()).into())
            }
            Some(Trouble::LoseRequest) => Err(EndpointError::Lost(LostReason::Ended)),
            Some(Trouble::Stall) => tokio::select! {
                () = self.closed.cancelled() => Err(EndpointError::Lost(LostReason::ClosedHere)),
                () = self.over.cancelled() => Err(EndpointError::Lost(LostReason::Ended)),
            },
            met => Ok(met),
        }
    }

    fn serve<T>(
        &self,
        met: Option<Trouble>,
        serve: impl FnOnce(&mut Session, &mut Tree) -> Result<T, Fault>,
    ) -> EndpointResult<T> {
        let served = serve(&mut guard(&self.session), &mut guard(&self.store.tree));
        match met {
            Some(Trouble::LoseReply) => Err(EndpointError::Lost(LostReason::Ended)),
            _ => served.map_err(Into::into),
        }
    }

    async fn call<T>(
        &self,
        method: Method,
        serve: impl FnOnce(&mut Session, &mut Tree) -> Result<T, Fault>,
    ) -> EndpointResult<T> {
        let met = self.meet(method).await?;
        self.serve(met, serve)
    }

    fn space_now(&self) -> Space {
        *guard(&self.store.space)
    }
}

impl Drop for MemoryEndpoint {
    fn drop(&mut self) {
        let session = guard(&self.session).id();
        guard(&self.store.tree).locks.retain(|held| held.session != session);
    }
}

#[async_trait]
impl Endpoint for MemoryEndpoint {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        self.call(Method::Locate, |_, tree| Ok(reading::locate(tree, &locate))).await
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        let space = self.space_now();
        self.call(Method::OpenRoot, |session, tree| session.open_root(tree, &open, space)).await
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        self.call(Method::Scan, |session, tree| session.scan(tree, scan)).await
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        self.call(Method::ScanNext, |session, _| session.scan_next(next)).await
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.call(Method::DataRanges, |session, tree| session.data_ranges(tree, &file)).await
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        let met = self.meet(Method::HashBlocks).await?;
        let mut answer = self.serve(met, |session, tree| session.hash_blocks(tree, &hash))?;
        corrupt_first(met, answer.digests.iter_mut());
        Ok(answer)
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        let met = self.meet(Method::HashFiles).await?;
        let mut answer = self.serve(met, |session, tree| session.hash_files(tree, &hash))?;
        corrupt_first(met, answer.0.iter_mut().flatten());
        Ok(answer)
    }

    async fn space(&self, root: RootIndex) -> EndpointResult<Space> {
        let space = self.space_now();
        self.call(Method::Space, |session, _| session.base(root, Operation::Stat).map(|_| space))
            .await
    }

    async fn close(&self) {
        self.closed.cancel();
        let session = guard(&self.session).id();
        guard(&self.store.tree).locks.retain(|held| held.session != session);
    }
}

#[async_trait]
impl Source for MemoryEndpoint {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        let met = self.meet(Method::ReadBlock).await?;
        let (digests, bytes) = self.serve(met, |session, tree| session.read_block(tree, &read))?;
        Ok((digests, corrupted(met, bytes)))
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        let met = self.meet(Method::ReadPack).await?;
        let (reads, bytes) = self.serve(met, |session, tree| session.read_pack(tree, &files))?;
        Ok((reads, corrupted(met, bytes)))
    }
}

#[async_trait]
impl Sink for MemoryEndpoint {
    async fn lock(&self, lock: Lock) -> EndpointResult<()> {
        self.call(Method::Lock, |session, tree| session.lock(tree, &lock)).await
    }

    async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>> {
        self.call(Method::Create, |session, tree| session.create(tree, create)).await
    }

    async fn open_partial(&self, open: OpenPartial) -> EndpointResult<Partial> {
        self.call(Method::OpenPartial, |session, tree| session.open_partial(tree, &open)).await
    }

    async fn keep(&self, keep: Keep) -> EndpointResult<()> {
        self.call(Method::Keep, |session, _| session.keep(&keep)).await
    }

    async fn write_block(&self, write: WriteBlock, payload: Bytes) -> EndpointResult<()> {
        let met = self.meet(Method::WriteBlock).await?;
        let payload = corrupted(met, payload);
        self.serve(met, |session, tree| session.write_block(tree, &write, payload))
    }

    async fn commit(&self, commit: Commit) -> EndpointResult<()> {
        self.call(Method::Commit, |session, tree| session.commit(tree, commit)).await
    }

    async fn discard(&self, partial: PartialIndex) -> EndpointResult<()> {
        self.call(Method::Discard, |session, tree| {
            session.discard(tree, partial);
            Ok(())
        })
        .await
    }

    async fn write_pack(&self, pack: WritePack, payload: Bytes) -> EndpointResult<Vec<Outcome>> {
        let met = self.meet(Method::WritePack).await?;
        let payload = corrupted(met, payload);
        self.serve(met, |session, tree| session.write_pack(tree, pack, &payload))
    }

    async fn publish(&self, publish: Publish) -> EndpointResult<Vec<Outcome>> {
        self.call(Method::Publish, |session, tree| session.publish(tree, publish)).await
    }

    async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        self.call(Method::SetMetadata, |session, tree| session.set_metadata(tree, set)).await
    }

    async fn remove_partials(&self, partials: Paths) -> EndpointResult<()> {
        self.call(Method::RemovePartials, |session, tree| session.remove_partials(tree, &partials))
            .await
    }

    fn removes(&self) -> bool {
        true
    }

    fn backs_up(&self) -> bool {
        self.store.profile == Profile::Disk
    }

    async fn remove(&self, remove: Remove) -> EndpointResult<Vec<Outcome>> {
        if remove.backup.is_some() && !self.backs_up() {
            return Err(super::unsupported());
        }
        self.call(Method::Remove, |session, tree| session.remove(tree, &remove)).await
    }

    fn renames(&self) -> bool {
        self.store.profile == Profile::Disk
    }

    async fn rename(&self, rename: Rename) -> EndpointResult<Vec<Outcome>> {
        if !self.renames() {
            return Err(super::unsupported());
        }
        self.call(Method::Rename, |session, tree| session.rename(tree, &rename)).await
    }

    async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        self.call(Method::Finish, |session, tree| session.finish(tree, finish)).await
    }
}

/// The bytes with one bit turned, if that is the trouble.
fn corrupted(met: Option<Trouble>, bytes: Bytes) -> Bytes {
    if met != Some(Trouble::Corrupt) {
        return bytes;
    }
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.into()
}

/// As if a byte at rest were another one.
fn corrupt_first<'d>(met: Option<Trouble>, mut digests: impl Iterator<Item = &'d mut Digest>) {
    if let (Some(Trouble::Corrupt), Some(digest)) = (met, digests.next()) {
        *digest = Digest::from_bytes(digest.as_bytes().map(|byte| !byte));
    }
}

/// Locks; a test that panicked while it held the lock has failed already.
fn guard<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
