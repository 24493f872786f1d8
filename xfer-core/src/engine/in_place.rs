//! Files that are written over what they replace: that becomes their partial, so that what both
//! have in common is neither moved nor written, and no room is taken twice.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::Partial;

use super::context::{Context, Stop, fault};
use super::pack::FileWork;
use crate::connect::Connected;
use crate::engine::Shared;
use crate::error::UsageReason;

/// Refuses a destination that cannot do it.
pub(super) fn check(shared: &Shared, sink: &Connected) -> Result<(), Stop> {
    let transfer = &shared.transfer;
    if transfer.options.disk.in_place && !sink.sink.writes_in_place() {
        let to = transfer.destination.clone();
        return Err(Stop::Error(UsageReason::CannotWriteInPlace(to).into()));
    }
    Ok(())
}

/// What a file is to be written over.
pub(super) fn over(work: &FileWork) -> Option<Stamp> {
    work.basis.as_deref().copied().filter(|_| work.over.is_some())
}

/// Takes the room for a file that is written beside what it was to be written over, which was not
/// counted, unless it was `taken`; where there is not as much left, it fails, before anything else
/// has to.
pub(super) fn make_room(
    cx: &Context,
    work: &FileWork,
    opened: &Partial,
    taken: &mut u64,
) -> Result<(), Fault> {
    let counted = work.over.filter(|_| !opened.in_place).unwrap_or(0).min(work.written());
    let more = counted.saturating_sub(*taken);
    if cx.spare.get().is_none_or(|spare| spare.take(more)) {
        *taken += more;
        return Ok(());
    }
    Err(fault(FaultKind::NoSpace, Operation::Open, &work.path))
}
