//! Reading files, each compared with what the scan saw of it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use xfer_protocol::digest::{Digest, file_digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{FileAt, FileRead, FilesAt, ReadBlock, ReadFile, RootIndex};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::directories::{Directories, Opened};
use super::{Shared, guard};
use crate::disk::fault::fault;
use crate::disk::{file, sparse, stat};

/// Files that stay open between two of their blocks.
const OPEN_MAX: usize = 32;

/// Bytes from which it takes long to free a file.
const SLOW_TO_FREE: u64 = 64 << 20;

/// Files of which blocks were read, the one used last at the end.
#[derive(Default)]
pub(super) struct OpenFiles(Mutex<Vec<OpenFile>>);

struct OpenFile {
    root: RootIndex,
    path: RelPath,
    inode: u64,
    file: Arc<OwnedFd>,
}

impl OpenFiles {
    pub(super) fn clear(&self) {
        guard(&self.0).clear();
    }

    pub(super) fn forget_root(&self, root: RootIndex) {
        let mut open = guard(&self.0);
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *open).into_iter().partition(|open| open.root == root);
        *open = kept;
        drop(open);
        let (slow, _quick): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|open| is_slow_to_free(&open.file));
        if !slow.is_empty() {
            // Without a thread they are freed here.
            drop(std::thread::Builder::new().spawn(move || drop(slow)));
        }
    }

    fn find(&self, at: &FileAt) -> Option<Arc<OwnedFd>> {
        let mut open = guard(&self.0);
        let found = open.iter().rposition(|open| open.is(at))?;
        let found = open.remove(found);
        let file = Arc::clone(&found.file);
        open.push(found);
        Some(file)
    }

    fn insert(&self, at: &FileAt, file: &Arc<OwnedFd>) {
        let file = Arc::clone(file);
        let new = OpenFile { root: at.root, path: at.path.clone(), inode: at.stamp.inode, file };
        let mut open = guard(&self.0);
        open.retain(|open| !open.is(at));
        if open.len() >= OPEN_MAX {
            open.remove(0);
        }
        open.push(new);
    }

    fn forget(&self, at: &FileAt) {
        guard(&self.0).retain(|open| !open.is(at));
    }
}

impl OpenFile {
    fn is(&self, at: &FileAt) -> bool {
        self.inode == at.stamp.inode && self.root == at.root && self.path == at.path
    }
}

/// Whether a file was replaced, and is so large that whoever lets go of it last waits for its
/// blocks to be freed.
fn is_slow_to_free(file: &Arc<OwnedFd>) -> bool {
    rustix::fs::fstat(&**file).is_ok_and(|found| {
        let inode = stat::inode(&found);
        inode.links == 0 && stat::stamp(&found).size >= SLOW_TO_FREE
    })
}

impl Shared {
    pub(super) fn read_block(&self, read: &ReadBlock) -> Result<(Vec<Digest>, Bytes), Fault> {
        let at = &read.file;
        let protocol = || Fault::new(FaultKind::Protocol, Operation::Read, at.path.clone());
        let length = usize::try_from(read.range.len()).map_err(|_| protocol())?;
        if length > limits::PAYLOAD_BYTES_MAX || read.range.end() > at.stamp.size {
            return Err(protocol());
        }
        let file = self.open_at(at, Operation::Read)?;
        let mut bytes = self.buffers.take(length);
        self.reading(at, &file, || {
            let count = file::read_at(&*file, &mut bytes, read.range.start(), length)
                .map_err(|errno| fault(errno, Operation::Read, &at.path))?;
            if count == length { Ok(()) } else { Err(changed(&at.path)) }
        })?;
        let digests =
            range_digests(read.range.start(), &bytes, at.stamp.size).ok_or_else(protocol)?;
        Ok((digests, self.buffers.lend(bytes)))
    }

    pub(super) fn data_ranges(&self, at: &FileAt) -> Result<Vec<ByteRange>, Fault> {
        let file = self.open_at(at, Operation::Read)?;
        self.reading(at, &file, || {
            sparse::data_ranges(&*file, at.stamp.size, limits::RANGES_MAX)
                .map_err(|errno| fault(errno, Operation::Read, &at.path))
        })
    }

    pub(super) fn read_pack(&self, files: &FilesAt) -> Result<(Vec<FileRead>, Bytes), Fault> {
        let root = self.root(files.root, Operation::Read)?;
        let total = pack_bytes(files)?;
        let mut directories = Directories::new(&root, self.options.confinement, Operation::Read);
        let mut payload = self.buffers.take(total);
        let mut reads = Vec::with_capacity(files.files.len());
        for (path, stamp) in &files.files {
            let start = payload.len();
            let read = read_whole(&mut directories, path, stamp, &mut payload);
            if read.is_err() {
                payload.truncate(start);
            }
            reads.push(read);
        }
        Ok((reads, self.buffers.lend(payload)))
    }

    /// Opens a file, or finds it open. Its stamp is yet to be compared.
    pub(super) fn open_at(&self, at: &FileAt, during: Operation) -> Result<Arc<OwnedFd>, Fault> {
        if let Some(file) = self.files.find(at) {
            return Ok(file);
        }
        let root = self.root(at.root, during)?;
        let mut directories = Directories::new(&root, self.options.confinement, during);
        let opened = match directories.open_source(&at.path) {
            Err(fault) if fault.kind == FaultKind::Limit => {
                // Too many files are open; those of earlier blocks can be opened again.
                self.files.clear();
                directories.open_source(&at.path)?
            }
            other => other?,
        };
        let file = Arc::new(opened.file);
        self.files.insert(at, &file);
        Ok(file)
    }

    /// Runs a reading of a file between two looks at its stamp; one that changed is closed.
    pub(super) fn reading<T>(
        &self,
        at: &FileAt,
        file: &OwnedFd,
        read: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let unchanged = || match rustix::fs::fstat(file) {
            Ok(now) if stat::stamp(&now) == at.stamp => Ok(()),
            Ok(_) => Err(changed(&at.path)),
            Err(errno) => Err(fault(errno, Operation::Stat, &at.path)),
        };
        stat::outlast_tick(at.stamp.changed);
        let result = unchanged().and_then(|()| read()).and_then(|read| unchanged().map(|()| read));
        if result.is_err() {
            self.files.forget(at);
        }
        result
    }
}

/// The bytes of a pack, checked against its limits.
fn pack_bytes(files: &FilesAt) -> Result<usize, Fault> {
    let limit = || Fault::new(FaultKind::Limit, Operation::Read, RelPath::root());
    if files.files.len() > limits::BATCH_ENTRIES_MAX {
        return Err(limit());
    }
    let mut total = 0_usize;
    for (_, stamp) in &files.files {
        let size = usize::try_from(stamp.size).map_err(|_| limit())?;
        total = total
            .checked_add(size)
            .filter(|t| *t <= limits::PAYLOAD_BYTES_MAX)
            .ok_or_else(limit)?;
    }
    Ok(total)
}

fn read_whole(
    directories: &mut Directories<'_>,
    path: &RelPath,
    stamp: &Stamp,
    payload: &mut Vec<u8>,
) -> FileRead {
    let failed = |errno| fault(errno, Operation::Read, path);
    let Opened { file, before, .. } = directories.open_source(path)?;
    if stat::stamp(&before) != *stamp {
        return Err(changed(path));
    }
    stat::outlast_tick(stamp.changed);
    let start = payload.len();
    // Checked with the whole pack against its limit.
    let length = usize::try_from(stamp.size).unwrap_or_default();
    let count = if length == 0 {
        refuse_unmeasured(&file, path, Operation::Read)?;
        0
    } else {
        file::read_at(&file, payload, 0, length).map_err(failed)?
    };
    let after = rustix::fs::fstat(&file).map_err(failed)?;
    if count != length || stat::stamp(&after) != *stamp {
        return Err(changed(path));
    }
    Ok(ReadFile { size: stamp.size, digest: file_digest(&payload[start..]) })
}

/// Refuses a file that says it is empty and is not, such as those of `/proc`: without a size there
/// is nothing to tell a whole copy from a cut one.
pub(super) fn refuse_unmeasured(
    file: &OwnedFd,
    path: &RelPath,
    during: Operation,
) -> Result<(), Fault> {
    match file::read_into(file, &mut [0], 0) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Fault::new(FaultKind::Unmeasured, during, path.clone())),
        Err(errno) => Err(fault(errno, during, path)),
    }
}

/// A file is not what the scan saw.
pub(super) fn changed(path: &RelPath) -> Fault {
    Fault::new(FaultKind::Changed, Operation::Read, path.clone())
}
