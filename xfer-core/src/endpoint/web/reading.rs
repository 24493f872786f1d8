//! What the endpoint is asked about entries and bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};
use xfer_protocol::digest::{BlockSize, Digest, file_digest, range_digests, span_digest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits::{self, SCAN_BATCHES_KEPT, SCANS_MAX};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{
    Access, Digests, FileAt, FileRead, FilesAt, HashBlocks, Locate, Located, OpenRoot, ReadBlock,
    ReadFile, Root, RootIndex, Scan, ScanBatch, ScanIndex, ScanNext, Subject,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::file::RemoteFile;
use super::problem::WebProblem;
use super::{NO_SPACE, Shared, guard};
use crate::disk::glob;
use crate::endpoint::{EndpointError, EndpointResult};

/// Items in one batch of a scan.
const BATCH_ITEMS: usize = 256;

/// Blocks and files of one call that are asked for at a time.
const AT_ONCE: usize = 16;

/// Bytes of a large file that are read at once.
const PIECE_BYTES: u64 = 4 << 20;

/// Words that wait to be told at most.
const TOLD_MAX: usize = 100;

/// A path as typed, from the top of the source; `None` if it has none there.
pub(super) fn location(typed: &[u8]) -> Option<RelPath> {
    let mut path = RelPath::root();
    for component in typed.split(|b| *b == b'/') {
        path = match component {
            b"" | b"." => path,
            b".." => path.parent().unwrap_or_default(),
            name => path.child(name).ok()?,
        };
    }
    Some(path)
}

impl Shared {
    pub(super) fn locate(&self, locate: &Locate) -> EndpointResult<Vec<Located>> {
        let tree = self.tree();
        let kind = location(&locate.path).and_then(|path| tree.kind(&path));
        // A name may hold the very characters of a pattern.
        if kind.is_some() || !locate.expand || !glob::has_patterns(&locate.path) {
            return Ok(vec![Located { path: locate.path.clone(), kind }]);
        }
        let patterns: Vec<&[u8]> =
            locate.path.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        let is_match = |path: &RelPath| {
            let mut names = path.components().zip(&patterns);
            path.components().count() == patterns.len()
                && names.all(|(name, pattern)| glob::matches(pattern, name))
        };
        let found = tree.paths_of_depth(patterns.len(), is_match);
        if found.len() > limits::BATCH_ENTRIES_MAX {
            return Err(fault(FaultKind::Limit, Operation::List, &RelPath::root()));
        }
        let located = |path: RelPath| {
            let kind = tree.kind(&path);
            Located { path: [b"/", path.as_bytes()].concat(), kind }
        };
        Ok(found.into_iter().map(located).collect())
    }

    pub(super) fn open_root(&self, open: &OpenRoot) -> EndpointResult<Root> {
        let bad = |kind| fault(kind, Operation::Open, &RelPath::root());
        if open.access != Access::Read {
            return Err(bad(FaultKind::ReadOnly));
        }
        let base = location(&open.path).ok_or_else(|| bad(FaultKind::NotFound))?;
        let tree = self.tree();
        match tree.kind(&base) {
            None if !base.is_root() => return Err(bad(FaultKind::NotFound)),
            _ if tree.file(&base).is_some() => return Err(bad(FaultKind::Conflict)),
            _ => {}
        }
        let path = [b"/", base.as_bytes()].concat();
        let digest = blake3::hash(&path);
        let inode = digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut roots = guard(&self.roots);
        if roots.len() >= limits::ROOTS_MAX {
            return Err(bad(FaultKind::Limit));
        }
        let index = RootIndex(u32::try_from(roots.len()).unwrap_or(u32::MAX));
        roots.push(base);
        Ok(Root { index, path, device: 0, inode, machine: self.machine, space: NO_SPACE })
    }

    pub(super) fn base(&self, root: RootIndex, during: Operation) -> EndpointResult<RelPath> {
        let index = usize::try_from(root.0).unwrap_or(usize::MAX);
        let base = guard(&self.roots).get(index).cloned();
        base.ok_or_else(|| fault(FaultKind::Protocol, during, &RelPath::root()))
    }

    pub(super) async fn scan(&self, scan: &Scan) -> EndpointResult<ScanIndex> {
        let base = self.base(scan.root, Operation::List)?;
        let renewed = self.renew_for_scan().await;
        renewed.map_err(|problem| self.failed(&problem, &scan.under, Operation::List))?;
        let items = self.tree().list(&base, scan)?;
        let batches = items.chunks(BATCH_ITEMS).map(<[_]>::to_vec).collect();
        let mut scans = guard(&self.scans);
        if scans.len() >= SCANS_MAX {
            return Err(fault(FaultKind::Limit, Operation::List, &RelPath::root()));
        }
        scans.push(batches);
        Ok(ScanIndex(u32::try_from(scans.len() - 1).unwrap_or(u32::MAX)))
    }

    pub(super) fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        let unknown = || fault(FaultKind::Protocol, Operation::List, &RelPath::root());
        let at = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let mut scans = guard(&self.scans);
        let batches = scans.get_mut(at(u64::from(next.scan.0))).ok_or_else(unknown)?;
        let sequence = next.sequence;
        // Those who ask have what lies before.
        if let Some(had) = sequence.checked_sub(SCAN_BATCHES_KEPT) {
            batches.iter_mut().take(at(had).saturating_add(1)).for_each(Vec::clear);
        }
        let items = batches.get(at(sequence)).cloned().unwrap_or_default();
        let last = at(sequence).saturating_add(1) >= batches.len();
        Ok(ScanBatch { sequence, items, last })
    }

    /// The file that a scan saw, if it is still what it was.
    pub(super) fn at(
        &self,
        root: RootIndex,
        path: &RelPath,
        stamp: &Stamp,
        during: Operation,
    ) -> EndpointResult<Arc<RemoteFile>> {
        let place = self.base(root, during)?.join(path);
        let place = place.map_err(|_| fault(FaultKind::NameTooLong, during, path))?;
        let tree = self.tree();
        let file = tree.file(&place).ok_or_else(|| fault(FaultKind::NotFound, during, path))?;
        match file.stamp() {
            Some(found) if found == *stamp => Ok(Arc::clone(file)),
            _ => Err(fault(FaultKind::Changed, during, path)),
        }
    }

    /// Tells a problem's words, and what it means for an entry.
    pub(super) fn failed(
        &self,
        problem: &WebProblem,
        path: &RelPath,
        during: Operation,
    ) -> EndpointError {
        let mut told = guard(&self.told);
        let words = format!("{path}: {problem}");
        let is_plain = matches!(problem, WebProblem::Missing | WebProblem::Changed);
        if !is_plain && told.len() < TOLD_MAX && !told.contains(&words) {
            told.push(words);
        }
        problem.at(path, during)
    }

    pub(super) fn data_ranges(&self, at: &FileAt) -> EndpointResult<Vec<ByteRange>> {
        self.at(at.root, &at.path, &at.stamp, Operation::Read)?;
        Ok(ByteRange::whole(at.stamp.size).into_iter().collect())
    }

    pub(super) async fn read_block(
        &self,
        read: &ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Bytes)> {
        check_block(read)?;
        let (at, range) = (&read.file, read.range);
        let protocol = || fault(FaultKind::Protocol, Operation::Read, &at.path);
        let file = self.at(at.root, &at.path, &at.stamp, Operation::Read)?;
        let bytes = file.read(&self.fetcher, range).await;
        let bytes = bytes.map_err(|problem| self.failed(&problem, &at.path, Operation::Read))?;
        let digests = range_digests(range.start(), &bytes, at.stamp.size).ok_or_else(protocol)?;
        Ok((digests, bytes))
    }

    pub(super) async fn read_pack(
        &self,
        files: &FilesAt,
    ) -> EndpointResult<(Vec<FileRead>, Bytes)> {
        self.base(files.root, Operation::Read)?;
        check_pack(files)?;
        let each: Vec<_> = files
            .files
            .iter()
            .map(|(path, stamp)| self.own_file(files.root, path, stamp).boxed())
            .collect();
        let mut each = futures_util::stream::iter(each).buffered(AT_ONCE);
        let (mut payload, mut reads) = (BytesMut::new(), Vec::with_capacity(files.files.len()));
        while let Some(read) = each.try_next().await? {
            reads.push(read.map(|bytes| {
                payload.extend_from_slice(&bytes);
                ReadFile { size: bytes.len() as u64, digest: file_digest(&bytes) }
            }));
        }
        Ok((reads, payload.freeze()))
    }

    /// A small file; what concerns it alone is a value.
    async fn own_file(
        &self,
        root: RootIndex,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<Result<Bytes, Fault>> {
        let read = async {
            let file = self.at(root, path, stamp, Operation::Read)?;
            let bytes = file.read_whole(&self.fetcher).await;
            bytes.map_err(|problem| self.failed(&problem, path, Operation::Read))
        };
        own(read.await)
    }

    pub(super) async fn hash_blocks(&self, hash: &HashBlocks) -> EndpointResult<Digests> {
        let Subject::File(at) = &hash.subject else {
            return Err(fault(FaultKind::Unsupported, Operation::Hash, &RelPath::root()));
        };
        let file = self.at(at.root, &at.path, &at.stamp, Operation::Hash)?;
        let blocks = blocks_of(hash, at.stamp.size, &at.path)?;
        let each: Vec<_> = blocks
            .into_iter()
            .map(|block| {
                let file = Arc::clone(&file);
                async move {
                    let bytes = file.read(&self.fetcher, block).await?;
                    Ok(span_digest(block.start(), &bytes, at.stamp.size))
                }
                .boxed()
            })
            .collect();
        let digests = futures_util::stream::iter(each).buffered(AT_ONCE).try_collect().await;
        let digests =
            digests.map_err(|problem| self.failed(&problem, &at.path, Operation::Hash))?;
        Ok(Digests { digests, past_cache: false })
    }

    pub(super) async fn hash_files(
        &self,
        files: &FilesAt,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        self.base(files.root, Operation::Hash)?;
        if files.files.len() > limits::BATCH_ENTRIES_MAX {
            return Err(fault(FaultKind::Limit, Operation::Hash, &RelPath::root()));
        }
        let mut digests = Vec::with_capacity(files.files.len());
        for (path, stamp) in &files.files {
            digests.push(own(self.digest(files.root, path, stamp).await)?);
        }
        Ok((digests, false))
    }

    async fn digest(
        &self,
        root: RootIndex,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<Digest> {
        let failed = |problem: WebProblem| self.failed(&problem, path, Operation::Hash);
        let file = self.at(root, path, stamp, Operation::Hash)?;
        if stamp.size <= PIECE_BYTES {
            return Ok(file_digest(&file.read_whole(&self.fetcher).await.map_err(failed)?));
        }
        let mut hasher = blake3::Hasher::new();
        let mut start = 0;
        while let Ok(range) = ByteRange::new(start, stamp.size.min(start + PIECE_BYTES)) {
            hasher.update(&file.read(&self.fetcher, range).await.map_err(failed)?);
            start = range.end();
        }
        Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }
}

/// Whether a block may be asked for.
pub(super) fn check_block(read: &ReadBlock) -> EndpointResult<()> {
    let (at, range) = (&read.file, read.range);
    let is_too_long = range.len() > limits::PAYLOAD_BYTES_MAX as u64;
    let grid = BlockSize::MIN.bytes();
    let is_on_grid = range.start().is_multiple_of(grid)
        && (range.end() == at.stamp.size || range.end().is_multiple_of(grid));
    if is_too_long || !is_on_grid || range.end() > at.stamp.size {
        return Err(fault(FaultKind::Protocol, Operation::Read, &at.path));
    }
    Ok(())
}

/// Whether files may be asked for together.
pub(super) fn check_pack(files: &FilesAt) -> EndpointResult<()> {
    let sizes = files.files.iter().map(|(_, stamp)| stamp.size);
    let total = sizes.fold(0_u64, u64::saturating_add);
    let is_too_long = total > limits::PAYLOAD_BYTES_MAX as u64;
    if files.files.len() > limits::BATCH_ENTRIES_MAX || is_too_long {
        return Err(fault(FaultKind::Limit, Operation::Read, &RelPath::root()));
    }
    Ok(())
}

fn fault(kind: FaultKind, during: Operation, path: &RelPath) -> EndpointError {
    Fault::new(kind, during, path.clone()).into()
}

/// What concerns one entry as a value; an error ends the session.
pub(super) fn own<T>(result: EndpointResult<T>) -> EndpointResult<Result<T, Fault>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(EndpointError::Fault(fault)) => Ok(Err(fault)),
        Err(error) => Err(error),
    }
}

/// The blocks of a request, checked against the limits.
fn blocks_of(hash: &HashBlocks, size: u64, path: &RelPath) -> EndpointResult<Vec<ByteRange>> {
    let (range, block) = (hash.range, hash.block.bytes());
    let is_on_grid = range.start().is_multiple_of(block)
        && (range.end() == size || range.end().is_multiple_of(block));
    let count = range.len().div_ceil(block);
    if !is_on_grid || range.end() > size || count > limits::DIGESTS_MAX as u64 {
        return Err(fault(FaultKind::Protocol, Operation::Hash, path));
    }
    let nth = |n| {
        let start = range.start() + n * block;
        ByteRange::new(start, range.end().min(start + block))
    };
    let blocks = (0..count).map(|n| nth(n).map_err(|_| ()));
    let blocks: Result<_, ()> = blocks.collect();
    blocks.map_err(|()| fault(FaultKind::Protocol, Operation::Hash, path))
}
