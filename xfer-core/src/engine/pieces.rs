//! Large files, hashed piece by piece: no answer takes long, and a stop is heeded between two.

use xfer_protocol::digest::{BlockSize, Digest, TreeAssembler};
use xfer_protocol::fault::{FaultKind, Operation};
use xfer_protocol::message::{FileAt, HashBlocks, Reading, Subject};
use xfer_protocol::range::ByteRange;

use super::context::fault;
use crate::endpoint::{Endpoint, EndpointError, EndpointResult, LostReason};

/// Cuts a whole file.
pub(super) fn pieces(size: u64, length: u64) -> impl Iterator<Item = ByteRange> {
    ByteRange::whole(size).into_iter().flat_map(move |whole| pieces_of(whole, length))
}

/// Cuts a range that begins on the grid of `length`.
pub(super) fn pieces_of(range: ByteRange, length: u64) -> impl Iterator<Item = ByteRange> {
    let mut start = range.start();
    std::iter::from_fn(move || {
        let piece = ByteRange::new(start, range.end().min(start.saturating_add(length))).ok()?;
        start = piece.end();
        Some(piece)
    })
}

/// The root of a file at an endpoint, and whether all of it was read past the cache. After each
/// piece of `length` its bytes are told, and the answer says whether to go on.
pub(super) async fn root_of<E: Endpoint + ?Sized>(
    endpoint: &E,
    file: FileAt,
    size: u64,
    reading: Reading,
    length: u64,
    mut go_on: impl FnMut(u64) -> bool + Send,
) -> EndpointResult<(Digest, bool)> {
    let block = BlockSize::DEFAULT;
    let broken = || fault(FaultKind::Protocol, Operation::Hash, &file.path);
    let mut tree = TreeAssembler::new(size);
    let mut past_cache = true;
    for piece in pieces(size, length) {
        let subject = Subject::File(file.clone());
        let request = HashBlocks { subject, range: piece, block, reading };
        let answer = endpoint.hash_blocks(request).await?;
        past_cache &= answer.past_cache;
        if !go_on(piece.len()) {
            return Err(EndpointError::Lost(LostReason::ClosedHere));
        }
        for (range, digest) in pieces_of(piece, block.bytes()).zip(answer.digests) {
            tree.add(range, digest).map_err(|_| broken())?;
        }
    }
    Ok((tree.root().ok_or_else(broken)?, past_cache))
}
