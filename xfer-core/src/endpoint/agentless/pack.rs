//! Small files that come together.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Outcome, PackedFile, Ticket};
use xfer_protocol::path::RelPath;

use super::own;
use crate::endpoint::EndpointResult;

/// Each file of a pack with what of its payload is its own; `cut` tells what lies between two
/// offsets of so many bytes.
pub(in crate::endpoint) fn unpacked<T>(
    files: Vec<PackedFile>,
    length: u64,
    cut: impl Fn(u64, u64) -> Option<T>,
) -> Result<Vec<(PackedFile, T)>, Fault> {
    let protocol = || Fault::new(FaultKind::Protocol, Operation::Write, RelPath::root());
    let mut sizes = files.iter().map(|file| file.size);
    let total = sizes.try_fold(0_u64, u64::checked_add);
    if total != Some(length) || files.len() > limits::BATCH_ENTRIES_MAX {
        return Err(protocol());
    }
    let mut end = 0;
    let each = files.into_iter().map(|file| {
        let start = end;
        // Their sum is the payload's length.
        end += file.size;
        cut(start, end).map(|own| (file, own))
    });
    each.collect::<Option<_>>().ok_or_else(protocol)
}

/// What became of one entry; an error ends the session.
pub(in crate::endpoint) async fn outcome(
    ticket: Ticket,
    work: impl Future<Output = EndpointResult<Option<Stamp>>> + Send,
) -> EndpointResult<Outcome> {
    Ok(Outcome { ticket, result: own(work.await)? })
}
