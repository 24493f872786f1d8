//! Hashing what is there, read back over the link.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};
use xfer_protocol::digest::{Digest, span_digest, zero_span_digest};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Digests, FileAt, HashBlocks, HashFiles, PartialIndex, Subject};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::fault::{own, sort};
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once};
use crate::endpoint::EndpointResult;
use crate::transport::sftp::OpenHandle;

/// Bytes of blocks that are read at a time.
const BYTES_AT_ONCE: u64 = 16 << 20;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 1 << 20;

impl Shared {
    pub(super) async fn hash_blocks(&self, hash: &HashBlocks) -> EndpointResult<Digests> {
        match &hash.subject {
            Subject::File(at) => self.hash_file_blocks(hash, at).await,
            Subject::Partial(partial) => self.hash_partial(hash, *partial).await,
        }
    }

    async fn hash_file_blocks(&self, hash: &HashBlocks, at: &FileAt) -> EndpointResult<Digests> {
        let blocks = blocks_of(hash, at.stamp.size, &at.path)?;
        let reading = self.begin_reading(at, Operation::Hash).await?;
        let digests = match reading.handle() {
            Ok(handle) => {
                let (size, path) = (at.stamp.size, &at.path);
                let extent = Extent { size, length: size };
                match block_digests(handle, &blocks, extent, path).await {
                    Ok(digests) => {
                        self.rely_on(reading.root(), handle, path).await.map(|()| digests)
                    }
                    failed => failed,
                }
            }
            Err(fault) => Err(fault.into()),
        };
        let digests = self.end_reading(reading, digests).await?;
        Ok(Digests { digests, past_cache: false })
    }

    async fn hash_partial(
        &self,
        hash: &HashBlocks,
        index: PartialIndex,
    ) -> EndpointResult<Digests> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::Hash, RelPath::root());
        let partial = self.partial(index, Operation::Hash)?.ok_or_else(unknown)?;
        let blocks = blocks_of(hash, partial.size(), &partial.path)?;
        let _call = partial.calls.read().await;
        let handle = partial.handle(Operation::Hash)?;
        let found = handle.attributes().await;
        let found = found.map_err(|error| sort(error, Operation::Hash, &partial.path))?;
        let extent = Extent { size: partial.size(), length: found.size.unwrap_or_default() };
        let digests = block_digests(&handle, &blocks, extent, &partial.path).await?;
        for (block, digest) in blocks.into_iter().zip(&digests) {
            // A block that is being written meanwhile proves nothing.
            let protocol = |_| partial.fault(FaultKind::Protocol, Operation::Hash);
            partial.assembly().hashed(block, *digest).map_err(protocol)?;
        }
        Ok(Digests { digests, past_cache: false })
    }

    pub(super) async fn hash_files(
        &self,
        hash: &HashFiles,
    ) -> EndpointResult<(Vec<Result<Digest, Fault>>, bool)> {
        let root = self.root(hash.files.root, Operation::Hash)?;
        if hash.files.files.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Hash, RelPath::root()).into());
        }
        let each = hash.files.files.iter();
        let each = each.map(|(path, stamp)| self.hash_whole(&root, path, stamp).boxed()).collect();
        Ok((at_once(AT_ONCE, each).await?, false))
    }

    async fn hash_whole(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<Result<Digest, Fault>> {
        let mut hasher = blake3::Hasher::new();
        let see = |bytes: &Bytes| {
            hasher.update(bytes);
        };
        let read = self.read_whole(root, path, stamp, Operation::Hash, PIECE_BYTES, see).await;
        own(read.map(|_| Digest::from_bytes(*hasher.finalize().as_bytes())))
    }
}

/// How long a file will be, and how much of it is there; zeros stand for the rest.
#[derive(Clone, Copy)]
struct Extent {
    size: u64,
    length: u64,
}

/// Reads blocks, several at a time, and hashes each.
async fn block_digests(
    handle: &OpenHandle,
    blocks: &[ByteRange],
    extent: Extent,
    path: &RelPath,
) -> EndpointResult<Vec<Digest>> {
    let largest = blocks.iter().map(|block| block.len()).max().unwrap_or(1);
    let at_once = usize::try_from(BYTES_AT_ONCE / largest).unwrap_or(1).clamp(1, AT_ONCE);
    let each: Vec<_> =
        blocks.iter().map(|block| block_digest(handle, *block, extent, path).boxed()).collect();
    futures_util::stream::iter(each).buffered(at_once).try_collect().await
}

async fn block_digest(
    handle: &OpenHandle,
    block: ByteRange,
    extent: Extent,
    path: &RelPath,
) -> EndpointResult<Digest> {
    let Extent { size, length } = extent;
    let Ok(there) = ByteRange::new(block.start(), block.end().min(length)) else {
        return Ok(zero_span_digest(block.start(), block.len(), size));
    };
    let in_memory = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let read = handle.read(there.start(), in_memory(there.len())).await;
    let bytes = read.map_err(|error| sort(error, Operation::Hash, path))?;
    let ended = || Fault::new(FaultKind::Io, Operation::Hash, path.clone());
    let mut bytes = bytes.ok_or_else(ended)?;
    if there != block {
        let mut padded = bytes.to_vec();
        padded.resize(in_memory(block.len()), 0);
        bytes = padded.into();
    }
    Ok(span_digest(block.start(), &bytes, size))
}

/// The blocks of a request, checked against the limits.
fn blocks_of(hash: &HashBlocks, size: u64, path: &RelPath) -> Result<Vec<ByteRange>, Fault> {
    let (range, block) = (hash.range, hash.block.bytes());
    let fault = |kind| Fault::new(kind, Operation::Hash, path.clone());
    let on_grid = range.start().is_multiple_of(block)
        && (range.end() == size || range.end().is_multiple_of(block));
    if !on_grid || range.end() > size {
        return Err(fault(FaultKind::Protocol));
    }
    let count = range.len().div_ceil(block);
    if usize::try_from(count).map_or(true, |count| count > limits::DIGESTS_MAX) {
        return Err(fault(FaultKind::Limit));
    }
    let nth = |n| {
        let start = range.start() + n * block;
        ByteRange::new(start, range.end().min(start + block))
    };
    (0..count).map(|n| nth(n).map_err(|_| fault(FaultKind::Protocol))).collect()
}
