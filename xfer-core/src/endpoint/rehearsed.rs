//! The rented machine of a rehearsal: one directory of this machine's, with a container, a name and
//! processes of its own.
//!
//! It is there to be judged by the code that judges real ones, on a machine where nobody may look
//! at all processes or leave a marker. So what it tells is confined, and told to be: nothing lies
//! outside its directory, and no processes run there but those that the rehearsal started for it.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::{
    Digests, FileAt, FileRead, FilesAt, HashBlocks, HashFiles, Locate, Located, OpenRoot,
    ReadBlock, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, Space,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;
use xfer_protocol::survey::{Container, Survey, Surveyed};

use super::local::{LocalEndpoint, LocalOptions};
use super::{Capabilities, Endpoint, EndpointError, EndpointResult, Source};

/// What a rehearsal may do to its machine while that is looked at. Clones are of one machine.
#[derive(Clone, Debug, Default)]
pub struct Rehearsal(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How often it was made anew.
    recycled: u8,
    processes: BTreeSet<u32>,
}

impl Rehearsal {
    /// Has a process run on the machine, by its number.
    pub fn runs(&self, process: u32) {
        self.with(|state| state.processes.extend([process]));
    }

    /// The platform makes the machine anew under the same name: another container, another boot.
    pub fn recycle(&self) {
        self.with(|state| state.recycled = state.recycled.wrapping_add(1));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn container(&self) -> Container {
        let count = self.with(|state| state.recycled);
        let mut hasher = blake3::Hasher::new_derive_key("xfer rehearsal container 1");
        let digest = *hasher.update(&[count]).finalize().as_bytes();
        let (mut marker, mut boot) = ([0; 16], [0; 16]);
        marker.copy_from_slice(&digest[..16]);
        boot.copy_from_slice(&digest[16..]);
        Container {
            label: Some(format!("rehearsal-{count}")),
            marker: Some(marker),
            first_process: Some(u64::from(count)),
            root_device: Some(u64::from(count)),
            mounts: Some(Digest::from_bytes(digest)),
            boot: Some(boot),
        }
    }
}

/// The machine, as whoever logs in finds it: a source alone.
pub struct Rehearsed {
    files: LocalEndpoint,
    directory: PathBuf,
    rehearsal: Rehearsal,
}

impl Rehearsed {
    /// The machine whose files are those of an absolute directory, by the paths that they have
    /// here.
    #[must_use]
    pub fn new(directory: &Path, rehearsal: &Rehearsal) -> Self {
        Self {
            files: LocalEndpoint::new(LocalOptions::default()),
            directory: directory.to_owned(),
            rehearsal: rehearsal.clone(),
        }
    }

    /// A path that is on it; its top is the directory itself.
    fn on_it(&self, path: &[u8]) -> EndpointResult<Vec<u8>> {
        let top = self.directory.as_os_str().as_bytes();
        let leads_up = path.split(|&byte| byte == b'/').any(|name| name == b"..");
        match (path, path.strip_prefix(top)) {
            (b"/", _) => Ok(top.to_vec()),
            (path, Some([] | [b'/', ..])) if !leads_up => Ok(path.to_vec()),
            _ => Err(Fault::new(FaultKind::NotFound, Operation::Open, RelPath::root()).into()),
        }
    }
}

#[async_trait]
impl Endpoint for Rehearsed {
    fn capabilities(&self) -> &Capabilities {
        self.files.capabilities()
    }

    async fn locate(&self, locate: Locate) -> EndpointResult<Vec<Located>> {
        self.on_it(&locate.path)?;
        self.files.locate(locate).await
    }

    async fn open_root(&self, open: OpenRoot) -> EndpointResult<Root> {
        let path = self.on_it(&open.path)?;
        let mut root = self.files.open_root(OpenRoot { path, ..open }).await?;
        // A machine of its own, far from the one that it is played on.
        root.machine = self.rehearsal.container().marker.unwrap_or_default();
        Ok(root)
    }

    async fn scan(&self, scan: Scan) -> EndpointResult<ScanIndex> {
        self.files.scan(scan).await
    }

    async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        self.files.scan_next(next).await
    }

    async fn data_ranges(&self, file: FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.files.data_ranges(file).await
    }

    async fn hash_blocks(&self, hash: HashBlocks) -> EndpointResult<Digests> {
        self.files.hash_blocks(hash).await
    }

    async fn hash_files(
        &self,
        hash: HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        self.files.hash_files(hash).await
    }

    async fn space(&self, root: RootIndex) -> EndpointResult<Space> {
        self.files.space(root).await
    }

    async fn identify(&self, _mark: bool) -> EndpointResult<Container> {
        Ok(self.rehearsal.container())
    }

    #[cfg(target_os = "linux")]
    async fn survey(&self, survey: Survey) -> EndpointResult<Surveyed> {
        let pids = self.rehearsal.with(|state| state.processes.clone());
        let found = self.files.survey_among(survey.roots, pids).await?;
        Ok(Surveyed { mounts: Some(Vec::new()), changed: Some(Vec::new()), ..found })
    }

    #[cfg(target_os = "linux")]
    async fn write_back(&self, root: RootIndex) -> EndpointResult<()> {
        match self.files.write_back(root).await {
            // File systems that keep no stamps of stores through mappings: the processes of a
            // rehearsal map nothing.
            Err(EndpointError::Fault(fault)) if fault.kind == FaultKind::Unsupported => Ok(()),
            written => written,
        }
    }

    async fn close(&self) {
        self.files.close().await;
    }
}

#[async_trait]
impl Source for Rehearsed {
    async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Bytes)> {
        self.files.read_block(read).await
    }

    async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.files.read_pack(files).await
    }
}
