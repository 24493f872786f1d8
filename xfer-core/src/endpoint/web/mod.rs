//! Public data: a file behind `https://`, or a repository of a hub at one commit.
//!
//! Goals: every byte is of one state of its file, or that is an error; where the hub tells a digest
//! of a whole file, no last block is given away before all of it has that digest; a key goes to the
//! host that it is for. Nothing is ever written.
//!
//! A file whose ranges can be read is read by several requests, each pinned to the entity tag or
//! the moment of change that was seen first. Any other comes in one answer, in order, and an
//! interrupted one begins anew.

mod access;
mod check;
mod fetch;
mod file;
mod hub;
mod measure;
mod moment;
mod problem;
mod reading;
mod sequence;
mod sink;
mod there;
mod tree;
mod trial;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::limits;
use xfer_protocol::manifest::{ProofLevel, ScanItem};
use xfer_protocol::message::{
    Digests, FileAt, FileRead, FilesAt, HashBlocks, HashFiles, Locate, Located, OpenRoot,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, Space,
};
use xfer_protocol::path::{Escaped, RelPath};
use xfer_protocol::range::ByteRange;

pub use access::{HubAccess, HubAccessError};
pub use fetch::WebOptions;
pub use problem::{WebProblem, WebSourceError};

use self::fetch::Fetcher;
use self::file::{Pin, RemoteFile};
use self::tree::Tree;
use super::{
    Capabilities, Endpoint, EndpointError, EndpointResult, LostReason, MetadataKinds, Source,
    TimeGrain,
};
use crate::clock::Clock;
use crate::transport::address::Address;
use crate::transport::web::Web;

/// A file behind an address.
#[derive(Clone, Debug)]
pub struct WebFile {
    /// Where it is.
    pub address: Address,
}

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubKind {
    /// A dataset.
    Dataset,
    /// A model.
    Model,
}

/// A repository of a hub.
#[derive(Clone, Debug)]
pub struct HubTree {
    /// The hub, and the key that is for it.
    pub access: HubAccess,
    /// What it holds.
    pub kind: HubKind,
    /// `OWNER/NAME`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// A public file, or the files of a repository.
pub struct WebEndpoint {
    shared: Arc<Shared>,
    notices: Vec<String>,
}

struct Shared {
    fetcher: Fetcher,
    capabilities: Capabilities,
    machine: [u8; 16],
    /// The one file, which may change; a commit does not.
    file: Option<(Address, RelPath)>,
    /// Whether the tree was read and not yet listed.
    fresh: AtomicBool,
    tree: Mutex<Arc<Tree>>,
    roots: Mutex<Vec<RelPath>>,
    scans: Mutex<Vec<Vec<Vec<ScanItem>>>>,
    told: Mutex<Vec<String>>,
    closed: CancellationToken,
}

impl WebEndpoint {
    /// Finds out what a file is. One that is not there is no error: nothing is located there.
    ///
    /// # Errors
    /// Where nobody can be asked, or the answer cannot be used.
    pub async fn file(
        web: Web,
        file: &WebFile,
        options: WebOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WebSourceError> {
        let address = &file.address;
        let failed = |problem| WebSourceError { place: address.to_string(), problem };
        let path = path_of(address);
        let path = path.ok_or_else(|| failed(WebProblem::Unusable("it names no file")))?;
        let fetcher = Fetcher::new(web, options, clock, None);
        let file = Some((address.clone(), path));
        let shared = Shared::new(fetcher, file, Tree::default(), &address.host());
        let renewed = shared.renew().await;
        renewed.map_err(failed)?;
        let mut notices = Vec::new();
        if shared.is_in_one_answer() {
            notices.push(format!(
                "{address}: read in one stream, for no range of it can be asked for and pinned; \
                 what is interrupted begins anew"
            ));
        }
        Ok(Self { shared: Arc::new(shared), notices })
    }

    /// Finds out which commit a repository's revision is now, and reads its tree.
    ///
    /// # Errors
    /// Where the hub cannot be asked, refuses, or answers what cannot be used.
    pub async fn hub(
        web: Web,
        hub: &HubTree,
        options: WebOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WebSourceError> {
        let endpoint = &hub.access.endpoint;
        let place = format!("{} at {}", Escaped(hub.repository.as_bytes()), endpoint.host());
        let key = hub.access.token.clone().map(|token| (endpoint.clone(), token));
        let fetcher = Fetcher::new(web, options, clock, key);
        let pinned = hub::read(&fetcher, hub).await;
        let pinned = pinned.map_err(|problem| WebSourceError { place: place.clone(), problem })?;
        let notice = format!("{place}: pinned to commit {}", pinned.commit);
        let origin = format!("{}/{}", endpoint.host(), hub.repository);
        let shared = Shared::new(fetcher, None, pinned.tree, &origin);
        Ok(Self { shared: Arc::new(shared), notices: vec![notice] })
    }

    /// Who is asked for the one file; nobody where it is a repository.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let host = self.shared.file.as_ref().map(|(address, _)| address.host())?;
        Some(host.parse::<http::uri::Authority>().ok()?.host().to_owned())
    }

    /// What the user should know of how it is read.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What was wrong with requests since, in words; each is told once.
    #[must_use]
    pub fn later_notices(&self) -> Vec<String> {
        std::mem::take(&mut guard(&self.shared.told))
    }

    /// Ends a call when the endpoint is closed.
    async fn call<T>(
        &self,
        work: impl Future<Output = EndpointResult<T>> + Send,
    ) -> EndpointResult<T> {
        tokio::select! {
            biased;
            () = self.shared.closed.cancelled() => Err(EndpointError::Lost(LostReason::ClosedHere)),
            result = work => result,
        }
    }
}

impl Shared {
    fn new(fetcher: Fetcher, file: Option<(Address, RelPath)>, tree: Tree, origin: &str) -> Self {
        let named = blake3::hash(format!("xfer public source {origin}").as_bytes());
        let machine = named.as_bytes().first_chunk().copied().unwrap_or_default();
        Self {
            fetcher,
            capabilities: capabilities(),
            machine,
            file,
            fresh: AtomicBool::new(true),
            tree: Mutex::new(Arc::new(tree)),
            roots: Mutex::default(),
            scans: Mutex::default(),
            told: Mutex::default(),
            closed: CancellationToken::new(),
        }
    }

    fn tree(&self) -> Arc<Tree> {
        Arc::clone(&guard(&self.tree))
    }

    /// Looks at the one file again, and keeps what is known of it where it is the same.
    async fn renew(&self) -> Result<(), WebProblem> {
        let Some((address, path)) = &self.file else { return Ok(()) };
        let mut tree = Tree::default();
        match measure::measure(&self.fetcher, address).await {
            Ok(known) => {
                let found = Arc::new(RemoteFile::new(path.clone(), address.clone(), known));
                let before = self.tree();
                let same = before
                    .file(path)
                    .filter(|before| before.pin != Pin::Nothing && before.stamp() == found.stamp());
                // One file alone is in nobody's way.
                let _ = tree.add(same.map_or(found, Arc::clone));
            }
            Err(WebProblem::Missing) => {}
            Err(problem) => return Err(problem),
        }
        *guard(&self.tree) = Arc::new(tree);
        Ok(())
    }

    fn is_in_one_answer(&self) -> bool {
        let tree = self.tree();
        let file = self.file.as_ref().and_then(|(_, path)| tree.file(path));
        file.is_some_and(|file| file.size.is_some_and(|size| size > 0) && !file.has_ranges())
    }

    async fn renew_for_scan(&self) -> Result<(), WebProblem> {
        match self.fresh.swap(false, Ordering::Relaxed) {
            true => Ok(()),
            false => self.renew().await,
        }
    }
}

#[async_trait]
impl Endpoint for WebEndpoint {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        self.call(async { self.shared.locate(&locate) }).await
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        self.call(async { self.shared.open_root(&open) }).await
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        self.call(self.shared.scan(&scan)).await
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        self.call(async { self.shared.scan_next(next) }).await
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.call(async { self.shared.data_ranges(&file) }).await
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        self.call(self.shared.hash_blocks(&hash)).await
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        self.call(self.shared.hash_files(&hash.files)).await
    }

    async fn space(&self, _: RootIndex) -> EndpointResult<Space> {
        Ok(NO_SPACE)
    }

    async fn close(&self) {
        self.shared.closed.cancel();
    }
}

#[async_trait]
impl Source for WebEndpoint {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.call(self.shared.read_block(&read)).await
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.call(self.shared.read_pack(&files)).await
    }
}

/// Nothing can be written.
const NO_SPACE: Space = Space { bytes_free: 0, inodes_free: None, volatile: false };

fn capabilities() -> Capabilities {
    Capabilities {
        write_grid: 1,
        part_min: 1,
        part_max: limits::PAYLOAD_BYTES_MAX as u64,
        random_write: false,
        rehash: false,
        rename: false,
        inodes: false,
        long_paths: true,
        metadata: MetadataKinds {
            mode: false,
            modified: TimeGrain::Seconds,
            symlinks: false,
            hard_links: false,
            directories: true,
            special: false,
            xattrs: false,
            owner: false,
            sparse: false,
        },
        proof_levels: vec![ProofLevel::Received],
    }
}

/// The path of an address, decoded, as locations have it.
fn path_of(address: &Address) -> Option<RelPath> {
    let path = reading::location(&decoded(address.path()));
    path.filter(|path| !path.is_root())
}

/// Each `%` with two digits as the byte that it stands for; any other as itself.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let digit = |at: usize| more.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    bytes
}

/// Locks what several calls share; no guard is held where anything could panic.
fn guard<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
