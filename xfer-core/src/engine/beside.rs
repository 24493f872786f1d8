//! A receipt beside the data of a machine, as a file like any other.

use bytes::Bytes;
use xfer_protocol::digest::{BlockSize, file_digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Metadata, Timestamp};
use xfer_protocol::message::{
    Commit, OpenPartial, PartialIndex, Publish, RootIndex, Ticket, WriteBlock,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::pieces::pieces;
use crate::endpoint::{EndpointError, EndpointResult, Sink};

/// The directory in which receipts lie; `--delete` leaves it alone.
pub(super) const RECEIPTS: &[u8] = b".xfer-receipts";

/// A partial that no file has: those are numbered from 0 on.
const PARTIAL: PartialIndex = PartialIndex(u64::MAX);

/// Writes a receipt below a root, in a directory of its own that is made where it is missing.
pub(super) async fn write_beside(
    sink: &dyn Sink,
    root: RootIndex,
    (name, text): (&str, Bytes),
    modified: Timestamp,
    (durable, number): (bool, u64),
) -> EndpointResult<()> {
    let path = [RECEIPTS, name.as_bytes()].join(&b'/');
    let path = RelPath::new(path)
        .map_err(|_| Fault::new(FaultKind::NameTooLong, Operation::Create, RelPath::root()))?;
    let (size, capabilities) = (text.len() as u64, sink.capabilities());
    let block = BlockSize::DEFAULT.bytes().max(capabilities.write_grid).max(capabilities.part_min);
    let open = OpenPartial { partial: PARTIAL, root, path: path.clone(), size, over: None };
    sink.open_partial(open).await?;
    for range in pieces(size, block) {
        let bytes = within(&text, range);
        let digests = range_digests(range.start(), &bytes, size).unwrap_or_default();
        let write = WriteBlock { partial: PARTIAL, range, digests, hole: false };
        sink.write_block(write, bytes).await?;
    }
    let metadata = Metadata { mode: 0o600, modified, ..Metadata::default() };
    let (ticket, digest) = (Ticket(0), file_digest(&text));
    sink.commit(Commit { partial: PARTIAL, ticket, digest, metadata }).await?;
    let outcomes = sink.publish(Publish { root, durable, number }).await?;
    let own = outcomes.into_iter().find(|outcome| outcome.ticket == ticket);
    match own.map(|outcome| outcome.result) {
        Some(Ok(_)) => Ok(()),
        Some(Err(fault)) => Err(fault.into()),
        // What is not renamed is there once it is whole.
        None if !capabilities.rename => Ok(()),
        None => Err(EndpointError::Fault(Fault::new(FaultKind::Protocol, Operation::Commit, path))),
    }
}

fn within(text: &Bytes, range: ByteRange) -> Bytes {
    let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    text.slice(at(range.start())..at(range.end()))
}
