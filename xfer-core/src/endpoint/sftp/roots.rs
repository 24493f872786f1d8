//! Open roots, and how entries below them are reached.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{Access, OpenRoot as Open, Outcome, Root, RootIndex, Space};
use xfer_protocol::path::RelPath;

use super::fault::sort;
use super::publish::Staged;
use super::{AT_ONCE, Shared, at_once, guard};
use crate::disk::{is_partial_name, partial_name};
use crate::endpoint::EndpointResult;
use crate::transport::sftp::{FileKind, Opening, Refusal, SftpError};

/// Directories that are known to be no links; forgotten all at once beyond that.
const KNOWN_MAX: usize = 1 << 16;

/// Directories whose names changed, synced early beyond that.
const TOUCHED_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Roots(Mutex<Vec<Arc<OpenRoot>>>);

/// A directory that entries are reached below.
pub(super) struct OpenRoot {
    pub(super) index: RootIndex,
    /// Absolute and without links.
    pub(super) path: Vec<u8>,
    access: Access,
    /// Directories below that were looked at.
    known: Mutex<HashSet<RelPath>>,
    touched: Mutex<BTreeSet<RelPath>>,
    pub(super) staged: Mutex<BTreeMap<RelPath, Staged>>,
    /// The number of the last publishing and what it said, for a caller whom it did not reach;
    /// held while one is under way.
    pub(super) last_published: tokio::sync::Mutex<Option<(u64, Vec<Outcome>)>>,
}

impl OpenRoot {
    pub(super) fn is_writable(&self) -> bool {
        self.access != Access::Read
    }

    /// Where an entry is on the far machine.
    pub(super) fn at(&self, path: &RelPath) -> Vec<u8> {
        let mut at = self.path.clone();
        if !path.is_root() {
            if !at.ends_with(b"/") {
                at.push(b'/');
            }
            at.extend_from_slice(path.as_bytes());
        }
        at
    }

    /// Where a file is assembled.
    pub(super) fn partial_at(&self, path: &RelPath) -> Vec<u8> {
        let mut at = self.at(&path.parent().unwrap_or_default());
        if !at.ends_with(b"/") {
            at.push(b'/');
        }
        at.extend_from_slice(&partial_name(path.name().unwrap_or_default()));
        at
    }

    /// Notes a directory that was seen to be one.
    pub(super) fn note(&self, directory: &RelPath) {
        let mut known = guard(&self.known);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(directory.clone());
    }

    fn knows(&self, directory: &RelPath) -> bool {
        directory.is_root() || guard(&self.known).contains(directory)
    }

    /// Remembers that a directory's names changed; some to be synced now when they are too many.
    pub(super) fn touch(&self, directory: RelPath) -> Option<BTreeSet<RelPath>> {
        let mut touched = guard(&self.touched);
        touched.insert(directory);
        (touched.len() >= TOUCHED_MAX).then(|| std::mem::take(&mut *touched))
    }

    /// All directories whose names changed since the last time.
    pub(super) fn take_touched(&self) -> BTreeSet<RelPath> {
        std::mem::take(&mut *guard(&self.touched))
    }
}

impl Shared {
    pub(super) async fn open_root(&self, open: &Open) -> EndpointResult<Root> {
        let top = RelPath::root();
        let bad = |kind| Fault::new(kind, Operation::Open, top.clone());
        let typed = typed(&open.path);
        if typed.len() > limits::PATH_BYTES_MAX {
            return Err(bad(FaultKind::NameTooLong).into());
        }
        match self.sftp.attributes(typed, true).await {
            Ok(found) if found.kind() == Some(FileKind::Directory) => {}
            Ok(_) => return Err(bad(FaultKind::Conflict).into()),
            Err(SftpError::Refused(Refusal::NotFound)) => {
                self.make_root(typed, open.access == Access::WriteCreate).await?;
            }
            Err(error) => return Err(sort(error, Operation::Open, &top)),
        }
        let found = self.sftp.absolute_path(typed).await;
        let path = found.map_err(|error| sort(error, Operation::Open, &top))?;
        if !path.starts_with(b"/") || path.contains(&0) || path.len() > limits::PATH_BYTES_MAX {
            return Err(bad(FaultKind::Unsafe).into());
        }
        let space = self.space_at(&path).await?;
        let digest = blake3::hash(&path);
        let inode = digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut roots = guard(&self.roots.0);
        if roots.len() >= limits::ROOTS_MAX {
            return Err(bad(FaultKind::Limit).into());
        }
        let index = RootIndex(u32::try_from(roots.len()).unwrap_or(u32::MAX));
        roots.push(Arc::new(OpenRoot {
            index,
            path: path.to_vec(),
            access: open.access,
            known: Mutex::default(),
            touched: Mutex::default(),
            staged: Mutex::default(),
            last_published: tokio::sync::Mutex::default(),
        }));
        drop(roots);
        let machine = self.options.machine;
        // One directory has one path, so that stands for its inode.
        Ok(Root { index, path: path.to_vec(), device: 0, inode, machine, space })
    }

    /// Makes a directory that a person named, with its parents; or tells what is in the way.
    async fn make_root(&self, typed: &[u8], makes: bool) -> EndpointResult<()> {
        let top = RelPath::root();
        let ends = typed.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(end, _)| end);
        for end in ends.chain([typed.len()]).filter(|end| *end > 0) {
            let path = &typed[..end];
            let found = match self.sftp.attributes(path, true).await {
                Err(SftpError::Refused(Refusal::NotFound)) if makes => {
                    // It may have been made meanwhile; the look below decides.
                    let made = self.sftp.make_directory(path, 0o777).await;
                    match (made, self.sftp.attributes(path, true).await) {
                        (Err(error), Err(_)) => Err(error),
                        (_, looked) => looked,
                    }
                }
                looked => looked,
            };
            let found = found.map_err(|error| sort(error, Operation::Open, &top))?;
            if found.kind() != Some(FileKind::Directory) {
                return Err(Fault::new(FaultKind::Conflict, Operation::Open, top).into());
            }
        }
        Ok(())
    }

    pub(super) fn root(&self, index: RootIndex, during: Operation) -> Result<Arc<OpenRoot>, Fault> {
        let at = usize::try_from(index.0).unwrap_or(usize::MAX);
        let unknown = || Fault::new(FaultKind::Protocol, during, RelPath::root());
        guard(&self.roots.0).get(at).map(Arc::clone).ok_or_else(unknown)
    }

    pub(super) fn writable(
        &self,
        index: RootIndex,
        during: Operation,
    ) -> Result<Arc<OpenRoot>, Fault> {
        let root = self.root(index, during)?;
        match root.access {
            Access::Write | Access::WriteCreate => Ok(root),
            Access::Read => Err(Fault::new(FaultKind::Protocol, during, RelPath::root())),
        }
    }

    pub(super) async fn space(&self, index: RootIndex) -> EndpointResult<Space> {
        let root = self.root(index, Operation::Stat)?;
        self.space_at(&root.path).await
    }

    async fn space_at(&self, path: &[u8]) -> EndpointResult<Space> {
        match self.sftp.file_system(path).await {
            Ok(found) => Ok(Space {
                bytes_free: found.bytes_free,
                inodes_free: found.inodes_free,
                volatile: false,
            }),
            // A server that does not tell is found full only by filling it.
            Err(SftpError::Refused(_)) => {
                Ok(Space { bytes_free: u64::MAX, inodes_free: None, volatile: false })
            }
            Err(error) => Err(sort(error, Operation::Stat, &RelPath::root())),
        }
    }

    /// Looks at every directory that leads to an entry, each once: none may be a link. Those that
    /// are missing are made for their owner alone, where that is wanted.
    pub(super) async fn reach(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
        makes: bool,
    ) -> EndpointResult<()> {
        let above = std::iter::successors(path.parent(), RelPath::parent);
        let unknown: Vec<_> = above.take_while(|directory| !root.knows(directory)).collect();
        for directory in unknown.into_iter().rev() {
            let at = root.at(&directory);
            let looked = match self.sftp.attributes(&at, false).await {
                Err(SftpError::Refused(Refusal::NotFound)) if makes => {
                    self.make_between(root, &directory, during, path).await?;
                    self.sftp.attributes(&at, false).await
                }
                looked => looked,
            };
            let kind = match looked.map_err(|error| sort(error, during, path))?.kind() {
                Some(FileKind::Directory) => {
                    root.note(&directory);
                    continue;
                }
                Some(FileKind::Symlink) => FaultKind::Unsafe,
                _ => FaultKind::Conflict,
            };
            return Err(Fault::new(kind, during, path.clone()).into());
        }
        Ok(())
    }

    async fn make_between(
        &self,
        root: &OpenRoot,
        directory: &RelPath,
        during: Operation,
        path: &RelPath,
    ) -> EndpointResult<()> {
        match self.sftp.make_directory(&root.at(directory), 0o700).await {
            // Another call may have made it.
            Ok(()) | Err(SftpError::Refused(Refusal::Failure)) => {
                self.touch(root, &directory.parent().unwrap_or_default()).await
            }
            Err(error) => Err(self.write_fault(root, error, during, path).await),
        }
    }

    /// The same for an entry that is to be written, whose name is checked.
    pub(super) async fn reach_new(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
    ) -> EndpointResult<()> {
        match path.name() {
            None => Err(Fault::new(FaultKind::Conflict, during, path.clone()).into()),
            Some(name) if is_partial_name(name) => {
                Err(Fault::new(FaultKind::Unsafe, during, path.clone()).into())
            }
            Some(_) => self.reach(root, path, during, true).await,
        }
    }

    /// Remembers that a directory's names changed.
    pub(super) async fn touch(&self, root: &OpenRoot, directory: &RelPath) -> EndpointResult<()> {
        match root.touch(directory.clone()) {
            Some(full) if self.options.sync => self.sync_directories(root, full).await,
            _ => Ok(()),
        }
    }

    /// Syncs directories, on servers that open them as files: OpenSSH on Linux does. Where it
    /// cannot be done, the sync of the files and their renames is all there is.
    pub(super) async fn sync_directories(
        &self,
        root: &OpenRoot,
        directories: BTreeSet<RelPath>,
    ) -> EndpointResult<()> {
        if !self.sftp.extensions().fsync {
            return Ok(());
        }
        let each = directories.iter().map(|directory| self.sync_directory(root, directory).boxed());
        at_once(AT_ONCE, each.collect()).await.map(drop)
    }

    async fn sync_directory(&self, root: &OpenRoot, directory: &RelPath) -> EndpointResult<()> {
        let _place = self.handles.acquire().await;
        let Ok(handle) = self.sftp.open(&root.at(directory), Opening::Read).await else {
            return Ok(());
        };
        match handle.sync().await {
            Err(SftpError::Refused(refusal)) if refusal != Refusal::Failure => Ok(()),
            synced => synced.map_err(|error| sort(error, Operation::Sync, directory)),
        }
    }
}

/// A path as the server understands it; relative ones are below where it begins, usually home.
pub(super) fn typed(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
