//! What exists at the destination and stays as it is, whatever the source has there.

use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::Entry;
use xfer_protocol::path::RelPath;

use super::Dispatcher;
use crate::journal::Recorded;
use crate::plan::{Left, wanted_metadata};

impl Dispatcher {
    /// Leaves what stands there as it is. Of what nobody knows a receipt says nothing.
    pub(super) fn leave(
        &mut self,
        left: Left,
        source: &Entry,
        path: RelPath,
        found: Option<Entry>,
        recorded: Option<&Recorded>,
    ) {
        if let Some(removals) = &mut self.removals {
            removals.leaves(source, &path);
        }
        let wanted = wanted_metadata(source, &self.cx.options.preserve);
        match left {
            Left::InTheWay => self.refuse(FaultKind::Conflict, source, &path, wanted),
            Left::Equal(evidence) if !self.must_prove_anew(source, evidence) => {
                self.keep(source, path, found, wanted, evidence, recorded);
            }
            Left::Equal(_) | Left::Unknown => self.cx.ledger.leave(source.kind.size()),
        }
    }
}
