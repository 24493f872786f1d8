//! Small files that come together.

use bytes::Bytes;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Outcome, PackedFile, Ticket};
use xfer_protocol::path::RelPath;

use super::own;
use crate::endpoint::EndpointResult;

/// Each file of a pack with its bytes.
pub(in crate::endpoint) fn unpacked(
    files: Vec<PackedFile>,
    payload: Bytes,
) -> Result<Vec<(PackedFile, Bytes)>, Fault> {
    let mut sizes = files.iter().map(|file| file.size);
    let total = sizes.try_fold(0_u64, u64::checked_add);
    let fits = total.and_then(|total| usize::try_from(total).ok()) == Some(payload.len());
    if !fits || files.len() > limits::BATCH_ENTRIES_MAX {
        return Err(Fault::new(FaultKind::Protocol, Operation::Write, RelPath::root()));
    }
    let mut rest = payload;
    let each = files.into_iter().map(|file| {
        // Their sum is the payload's length.
        let bytes = rest.split_to(usize::try_from(file.size).unwrap_or_default());
        (file, bytes)
    });
    Ok(each.collect())
}

/// What became of one entry; an error ends the session.
pub(in crate::endpoint) async fn outcome(
    ticket: Ticket,
    work: impl Future<Output = EndpointResult<Option<Stamp>>> + Send,
) -> EndpointResult<Outcome> {
    Ok(Outcome { ticket, result: own(work.await)? })
}
