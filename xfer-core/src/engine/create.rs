//! Directories, links and special files, many in one request.

use std::sync::Arc;

use xfer_protocol::fault::FaultKind;
use xfer_protocol::message::{Create, NewEntry, NewKind, Ticket};

use super::context::{Context, Stop};
use super::ledger::Side;
use super::removal::keep_replaced;
use crate::event::EntryAction;

/// Makes entries; those that are names of files have sizes too. Hard links that the destination
/// cannot make come back: they are the caller's still.
pub(super) async fn create(
    cx: &Arc<Context>,
    entries: Vec<NewEntry>,
    sizes: &[u64],
) -> Result<Vec<Ticket>, Stop> {
    let mut unlinkable = Vec::new();
    let sizes = sizes.iter().copied().chain(std::iter::repeat(0));
    let mut lost = keep_replaced(cx, entries.iter().map(|entry| entry.ticket)).await?;
    let (mut kept, mut kept_sizes) = (Vec::with_capacity(entries.len()), Vec::new());
    for (entry, size) in entries.into_iter().zip(sizes) {
        if let Some(fault) = lost.remove(&entry.ticket) {
            cx.ledger.fail(entry.ticket, Side::Destination, &entry.path, size, fault);
        } else {
            kept.push(entry);
            kept_sizes.push(size);
        }
    }
    let (entries, sizes) = (kept, kept_sizes);
    if entries.is_empty() {
        return Ok(unlinkable);
    }
    let request = Create { root: cx.sink_root, entries: entries.clone() };
    let outcomes =
        cx.sink.create(request).await.map_err(|e| Context::stop(Side::Destination, e))?;
    for ((outcome, entry), size) in outcomes.into_iter().zip(entries).zip(sizes) {
        if outcome.ticket != entry.ticket {
            return Err(Stop::MISMATCHED);
        }
        match outcome.result {
            // A directory is done once its metadata is set.
            Ok(_) if entry.kind == NewKind::Directory => cx.ledger.made(entry.ticket),
            Ok(Some(stamp)) => {
                let what = EntryAction::Moved;
                cx.ledger.done(entry.ticket, &entry.path, size, what, stamp);
            }
            Ok(None) => return Err(Stop::MISMATCHED),
            Err(error)
                if error.kind == FaultKind::Unsupported
                    && matches!(entry.kind, NewKind::HardLink { .. }) =>
            {
                unlinkable.push(entry.ticket);
            }
            Err(error) => {
                let error = cx.sort(Side::Destination, error.into())?;
                cx.ledger.fail(entry.ticket, Side::Destination, &entry.path, size, error);
            }
        }
    }
    Ok(unlinkable)
}
