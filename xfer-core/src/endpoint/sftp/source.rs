//! Reading files, each compared with what the scan saw of it.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::sync::OnceCell;
use xfer_protocol::digest::{Digest, file_digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{FileAt, FileRead, FilesAt, ReadBlock, ReadFile};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::entry::is_still;
use super::fault::{own, sort};
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once, guard};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::transport::sftp::{FileKind, OpenHandle, Opening};

/// Files that stay open between two of their blocks.
const OPEN_MAX: usize = 32;

/// Files of which blocks were read, the one used last at the end.
#[derive(Default)]
pub(super) struct OpenFiles(Mutex<Vec<OpenFile>>);

#[derive(Clone)]
struct OpenFile {
    at: FileAt,
    /// Opened by the first of its readers.
    handle: Arc<OnceCell<OpenHandle>>,
}

impl OpenFiles {
    pub(super) fn clear(&self) {
        guard(&self.0).clear();
    }

    fn find(&self, at: &FileAt) -> Arc<OnceCell<OpenHandle>> {
        let mut open = guard(&self.0);
        let found = match open.iter().rposition(|open| open.at == *at) {
            Some(found) => open.remove(found),
            None => OpenFile { at: at.clone(), handle: Arc::default() },
        };
        if open.len() >= OPEN_MAX {
            open.remove(0);
        }
        let handle = Arc::clone(&found.handle);
        open.push(found);
        handle
    }

    fn forget(&self, at: &FileAt) {
        guard(&self.0).retain(|open| open.at != *at);
    }
}

impl Shared {
    pub(super) async fn read_block(
        &self,
        read: &ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Bytes)> {
        let at = &read.file;
        let protocol = || Fault::new(FaultKind::Protocol, Operation::Read, at.path.clone());
        let start = read.range.start();
        let length = usize::try_from(read.range.len()).map_err(|_| protocol())?;
        if length > limits::PAYLOAD_BYTES_MAX || read.range.end() > at.stamp.size {
            return Err(protocol().into());
        }
        let reading = self.begin_reading(at, Operation::Read).await?;
        let read = match reading.handle() {
            Ok(handle) => match handle.read(start, length).await {
                Ok(bytes) => bytes.ok_or_else(|| changed(&at.path).into()),
                Err(error) => Err(sort(error, Operation::Read, &at.path)),
            },
            Err(fault) => Err(fault.into()),
        };
        let bytes = self.end_reading(reading, read).await?;
        let digests = range_digests(start, &bytes, at.stamp.size).ok_or_else(protocol)?;
        Ok((digests, bytes))
    }

    /// All of it: where a file has holes is not told.
    pub(super) async fn data_ranges(&self, at: &FileAt) -> EndpointResult<Vec<ByteRange>> {
        let reading = self.begin_reading(at, Operation::Read).await?;
        self.end_reading(reading, Ok(())).await?;
        Ok(ByteRange::whole(at.stamp.size).into_iter().collect())
    }

    pub(super) async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        let root = self.root(files.root, Operation::Read)?;
        let limit = || Fault::new(FaultKind::Limit, Operation::Read, RelPath::root());
        let sizes = files.files.iter().map(|(_, stamp)| stamp.size);
        let total = sizes.fold(0_u64, u64::saturating_add);
        let too_long = usize::try_from(total).map_or(true, |t| t > limits::PAYLOAD_BYTES_MAX);
        if files.files.len() > limits::BATCH_ENTRIES_MAX || too_long {
            return Err(limit().into());
        }
        let each = files.files.iter();
        let each = each.map(|(path, stamp)| self.read_own(&root, path, stamp).boxed()).collect();
        let mut payload = BytesMut::new();
        let mut reads = Vec::with_capacity(files.files.len());
        for read in at_once(AT_ONCE, each).await? {
            reads.push(read.map(|bytes| {
                payload.extend_from_slice(&bytes);
                ReadFile { size: bytes.len() as u64, digest: file_digest(&bytes) }
            }));
        }
        Ok((reads, payload.freeze()))
    }

    async fn read_own(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<Result<Bytes, Fault>> {
        own(self.read_whole(root, path, stamp, Operation::Read, usize::MAX, |_| {}).await)
    }

    /// Reads a whole file between two looks at it, in pieces: each is shown, and the last returned.
    pub(super) async fn read_whole(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
        during: Operation,
        piece: usize,
        mut see: impl FnMut(&Bytes) + Send,
    ) -> EndpointResult<Bytes> {
        let failed = |error| sort(error, during, path);
        let _place = self.handles.acquire().await;
        let handle = self.open_source(root, path, during).await?;
        check(&handle, path, stamp).await?;
        if stamp.size == 0 && handle.read(0, 1).await.map_err(failed)?.is_some() {
            return Err(Fault::new(FaultKind::Unmeasured, during, path.clone()).into());
        }
        let mut offset = 0;
        let mut bytes = Bytes::new();
        while offset < stamp.size {
            let left = usize::try_from(stamp.size - offset).unwrap_or(usize::MAX);
            let read = handle.read(offset, left.min(piece)).await.map_err(failed)?;
            bytes = read.ok_or_else(|| changed(path))?;
            offset += bytes.len() as u64;
            see(&bytes);
        }
        self.check_both(root, &handle, path, stamp).await?;
        if during == Operation::Hash {
            self.rely_on(root, &handle, path).await?;
        }
        Ok(bytes)
    }

    /// Syncs a file of the destination that stands as it was found, where the rest is synced too.
    pub(super) async fn rely_on(
        &self,
        root: &OpenRoot,
        handle: &OpenHandle,
        path: &RelPath,
    ) -> EndpointResult<()> {
        if !self.options.sync || !root.is_writable() || !self.sftp.extensions().fsync {
            return Ok(());
        }
        handle.sync().await.map_err(|error| sort(error, Operation::Sync, path))
    }

    /// Opens a regular file: opening anything else could wait for ever, or follow a link.
    async fn open_source(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
    ) -> EndpointResult<OpenHandle> {
        let failed = |error| sort(error, during, path);
        self.reach(root, path, during, false).await?;
        let at = root.at(path);
        let found = self.sftp.attributes(&at, false).await.map_err(failed)?;
        if found.kind() != Some(FileKind::Regular) {
            return Err(changed(path).into());
        }
        self.sftp.open(&at, Opening::Read).await.map_err(failed)
    }

    /// Opens a file, or finds it open, and compares it with its stamp.
    pub(super) async fn begin_reading<'a>(
        &self,
        at: &'a FileAt,
        during: Operation,
    ) -> EndpointResult<ReadingFile<'a>> {
        let root = self.root(at.root, during)?;
        let reading = ReadingFile { at, root, cell: self.files.find(at) };
        let opened = async {
            let open = || self.open_source(&reading.root, &at.path, during);
            let handle = reading.cell.get_or_try_init(open).await?;
            self.check_both(&reading.root, handle, &at.path, &at.stamp).await
        };
        match opened.await {
            Ok(()) => Ok(reading),
            Err(error) => {
                self.files.forget(at);
                Err(error)
            }
        }
    }

    /// Compares a file with its stamp once more; one that changed, or could not be read, is closed.
    pub(super) async fn end_reading<T>(
        &self,
        reading: ReadingFile<'_>,
        read: EndpointResult<T>,
    ) -> EndpointResult<T> {
        let at = reading.at;
        let result = match (read, reading.handle()) {
            (Ok(read), Ok(handle)) => {
                let checked = self.check_both(&reading.root, handle, &at.path, &at.stamp).await;
                checked.map(|()| read)
            }
            (Ok(_), Err(fault)) => Err(fault.into()),
            (Err(error), _) => Err(error),
        };
        if result.is_err() {
            self.files.forget(at);
        }
        result
    }

    /// Compares both the open file and what has its name now: a file that was replaced is still
    /// what it was to those who hold it open.
    async fn check_both(
        &self,
        root: &OpenRoot,
        handle: &OpenHandle,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<()> {
        let at = root.at(path);
        let named = self.sftp.attributes(&at, false);
        let (open, named) = tokio::join!(check(handle, path, stamp), named);
        open?;
        let named = named.map_err(|error| sort(error, Operation::Stat, path))?;
        if is_still(&named, stamp) { Ok(()) } else { Err(changed(path).into()) }
    }
}

/// A file that is being read.
pub(super) struct ReadingFile<'a> {
    at: &'a FileAt,
    root: Arc<OpenRoot>,
    cell: Arc<OnceCell<OpenHandle>>,
}

impl ReadingFile<'_> {
    pub(super) fn handle(&self) -> Result<&OpenHandle, Fault> {
        self.cell.get().ok_or_else(|| changed(&self.at.path))
    }

    pub(super) fn root(&self) -> &OpenRoot {
        &self.root
    }
}

async fn check(handle: &OpenHandle, path: &RelPath, stamp: &Stamp) -> EndpointResult<()> {
    let found = handle.attributes().await.map_err(|error| sort(error, Operation::Stat, path))?;
    if is_still(&found, stamp) { Ok(()) } else { Err(EndpointError::Fault(changed(path))) }
}

/// A file is not what the scan saw.
fn changed(path: &RelPath) -> Fault {
    Fault::new(FaultKind::Changed, Operation::Read, path.clone())
}
