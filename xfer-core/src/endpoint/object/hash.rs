//! Hashing what is there, read back from the store.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{StreamExt, TryStreamExt};
use xfer_protocol::digest::{
    Digest, TreeAssembler, file_digest, range_digests, span_digest, spans,
};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Digests, FileAt, HashBlocks, HashFiles, PartialIndex, Subject};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::fault::own;
use super::roots::OpenRoot;
use super::{Shared, at_once};
use crate::endpoint::{EndpointError, EndpointResult};

/// Bytes that are asked for at once.
const PIECE_BYTES: u64 = 8 << 20;

/// Pieces that are asked for at a time.
const PIECES_AT_ONCE: usize = 4;

/// The same of all files together: each takes its bytes in memory until they are hashed.
pub(super) const PIECES_OF_ALL: usize = 8;

/// Spans that another machine reads at a time, which may be shorter.
const SPANS_AT_ONCE: usize = 8;

/// Files that are hashed at a time.
const FILES_AT_ONCE: usize = 8;

impl Shared {
    pub(super) async fn hash_blocks(&self, hash: &HashBlocks) -> EndpointResult<Digests> {
        let digests = match &hash.subject {
            Subject::File(at) => self.hash_file_blocks(hash, at).await?,
            Subject::Partial(partial) => self.hash_partial(hash, *partial)?,
        };
        Ok(Digests { digests, past_cache: true })
    }

    async fn hash_file_blocks(
        &self,
        hash: &HashBlocks,
        at: &FileAt,
    ) -> EndpointResult<Vec<Digest>> {
        let (size, block) = (at.stamp.size, hash.block.bytes());
        check_blocks(hash, size, &at.path)?;
        let root = self.root(at.root, Operation::Hash)?;
        if let Some(porter) = self.reader().filter(|_| block <= PIECE_BYTES) {
            let place = (&*root, &at.path, &at.stamp);
            let spans = pieces(hash.range, block);
            let each = spans.map(|span| self.digest_there(place, span, porter).boxed());
            let each: Vec<_> = each.collect();
            return futures_util::stream::iter(each).buffered(SPANS_AT_ONCE).try_collect().await;
        }
        let pieces: Vec<_> = pieces(hash.range, PIECE_BYTES.max(block)).collect();
        let each = pieces.into_iter().map(|piece| {
            let root = &root;
            async move {
                let _room = self.pieces.acquire().await;
                let read = self.read_noted(root, &at.path, &at.stamp, piece, Operation::Hash);
                let bytes = read.await?;
                self.apart(piece.len(), move || digests_of(piece, &bytes, block, size)).await
            }
            .boxed()
        });
        let each: Vec<_> = each.collect();
        let found: Vec<Vec<Digest>> =
            futures_util::stream::iter(each).buffered(PIECES_AT_ONCE).try_collect().await?;
        Ok(found.concat())
    }

    /// What an earlier session's parts are made of, as it was recorded.
    fn hash_partial(&self, hash: &HashBlocks, index: PartialIndex) -> EndpointResult<Vec<Digest>> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::Hash, RelPath::root());
        let partial = self.partial(index, Operation::Hash)?.ok_or_else(unknown)?;
        check_blocks(hash, partial.size(), &partial.path)?;
        if self.options.begins_anew {
            return Err(partial.fault(FaultKind::Unsupported, Operation::Hash).into());
        }
        let mut digests = Vec::new();
        for block in pieces(hash.range, hash.block.bytes()) {
            let protocol = || partial.fault(FaultKind::Protocol, Operation::Hash);
            let digest = partial.recorded(block).ok_or_else(protocol)?;
            // A block that is being written meanwhile proves nothing.
            partial.assembly().hashed(block, digest).map_err(|_| protocol())?;
            digests.push(digest);
        }
        Ok(digests)
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
        let each = each.map(|(path, stamp)| {
            let hashed = self.hash_whole(&root, path, stamp);
            async { own(hashed.await) }.boxed()
        });
        Ok((at_once(FILES_AT_ONCE, each.collect()).await?, true))
    }

    /// The digest of a whole object in the state that a stamp stands for.
    pub(super) async fn hash_whole(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        stamp: &Stamp,
    ) -> EndpointResult<Digest> {
        let size = stamp.size;
        let mut tree = TreeAssembler::new(size);
        let Some(whole) = ByteRange::whole(size) else {
            self.look_at(root, path, stamp, Operation::Hash).await?;
            return Ok(file_digest(&[]));
        };
        // INVARIANT: pieces lie on the grid of spans, one behind the other, up to the end.
        let odd = || Fault::new(FaultKind::Protocol, Operation::Hash, path.clone());
        if let Some(porter) = self.reader() {
            let each = pieces(whole, PIECE_BYTES).map(|span| {
                let hashed = self.digest_there((root, path, stamp), span, porter);
                async move { EndpointResult::Ok((span, hashed.await?)) }.boxed()
            });
            let mut hashed = futures_util::stream::iter(each).buffered(PIECES_AT_ONCE);
            while let Some((span, digest)) = hashed.try_next().await? {
                tree.add(span, digest).map_err(|_| odd())?;
            }
            return Ok(tree.root().ok_or_else(odd)?);
        }
        let each = pieces(whole, PIECE_BYTES).map(|piece| {
            async move {
                // It is never closed.
                let _room = self.pieces.acquire().await;
                let read = self.read_range(root, path, stamp, piece, Operation::Hash);
                let bytes = read.await?;
                let hash = move || range_digests(piece.start(), &bytes, size);
                Ok::<_, EndpointError>((piece, self.apart(piece.len(), hash).await?))
            }
            .boxed()
        });
        let mut hashed = futures_util::stream::iter(each).buffered(PIECES_AT_ONCE);
        while let Some((piece, digests)) = hashed.try_next().await? {
            for (span, digest) in spans(piece, size).zip(digests.ok_or_else(odd)?) {
                tree.add(span, digest).map_err(|_| odd())?;
            }
        }
        Ok(tree.root().ok_or_else(odd)?)
    }
}

fn digests_of(piece: ByteRange, bytes: &Bytes, block: u64, size: u64) -> Vec<Digest> {
    let in_memory = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let digest = |span: ByteRange| {
        let from = in_memory(span.start() - piece.start());
        span_digest(span.start(), &bytes[from..from + in_memory(span.len())], size)
    };
    pieces(piece, block).map(digest).collect()
}

/// Cuts a range from its start on.
pub(super) fn pieces(range: ByteRange, length: u64) -> impl Iterator<Item = ByteRange> {
    let starts = (0..range.len().div_ceil(length)).map(move |n| range.start() + n * length);
    starts.filter_map(move |start| ByteRange::new(start, range.end().min(start + length)).ok())
}

/// Checks a request against the limits.
fn check_blocks(hash: &HashBlocks, size: u64, path: &RelPath) -> Result<(), Fault> {
    let (range, block) = (hash.range, hash.block.bytes());
    let fault = |kind| Err(Fault::new(kind, Operation::Hash, path.clone()));
    let on_grid = range.start().is_multiple_of(block)
        && (range.end() == size || range.end().is_multiple_of(block));
    if !on_grid || range.end() > size {
        return fault(FaultKind::Protocol);
    }
    match usize::try_from(range.len().div_ceil(block)) {
        Ok(count) if count <= limits::DIGESTS_MAX => Ok(()),
        _ => fault(FaultKind::Limit),
    }
}
