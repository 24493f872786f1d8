//! What is about to be replaced, kept in the backup directory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::{Entry, EntryKind};
use xfer_protocol::message::Ticket;
use xfer_protocol::message::removal::{Removal, Remove};

use super::removal_of;
use crate::engine::batch::{Most, batches};
use crate::engine::context::{Context, Stop};
use crate::engine::ledger::Side;

/// Entries kept in one request.
const KEPT: Most = Most::entries(1024);

/// What stands in the place of entries that need work, by their tickets; empty where nothing is
/// kept.
#[derive(Default)]
pub(in crate::engine) struct Aside(Mutex<HashMap<Ticket, Removal>>);

impl Aside {
    fn take(&self, ticket: Ticket) -> Option<Removal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket)
    }

    fn note(&self, ticket: Ticket, found: Removal) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, found);
    }
}

/// Notes what an entry may replace.
pub(in crate::engine) fn note_replaced(cx: &Context, ticket: Ticket, found: Option<&Entry>) {
    let found = found.filter(|found| found.kind != EntryKind::Directory);
    if let (Some(found), Some(_)) = (found, &cx.options.removal.backup) {
        cx.aside.note(ticket, Removal { ticket, ..removal_of(found) });
    }
}

/// Gives what will be replaced a name in the backup directory, before its own is taken. Returns the
/// entries for which that failed, so that they must not be made.
pub(in crate::engine) async fn keep_replaced(
    cx: &Context,
    tickets: impl Iterator<Item = Ticket>,
) -> Result<HashMap<Ticket, Fault>, Stop> {
    let mut failed = HashMap::new();
    let Some(backup) = &cx.options.removal.backup else { return Ok(failed) };
    let found: Vec<_> = tickets.filter_map(|ticket| cx.aside.take(ticket)).collect();
    for entries in batches(found, KEPT) {
        let tickets: Vec<_> = entries.iter().map(|entry| entry.ticket).collect();
        let backup = Some(backup.clone());
        let remove = Remove { root: cx.sink_root, entries, backup, stays: true };
        let outcomes = cx.sink.remove(remove).await;
        let outcomes = outcomes.map_err(|error| Context::stop(Side::Destination, error))?;
        if outcomes.iter().map(|outcome| outcome.ticket).ne(tickets) {
            return Err(Stop::MISMATCHED);
        }
        for outcome in outcomes {
            if let Err(fault) = outcome.result {
                failed.insert(outcome.ticket, cx.sort(Side::Destination, fault.into())?);
            }
        }
    }
    Ok(failed)
}
