//! What stands at the destination and not at the source: found while both are listed, and removed
//! only where nothing makes that doubtful.
//!
//! A removal follows from two whole lists. Whatever says that one of them may be cut short, a
//! problem at either end or a stop, leaves everything where it is; and what a filter leaves out, is
//! not there to be compared, so it stays.

mod backup;
mod protection;
mod refused;
mod renamed;

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind};
use xfer_protocol::message::Ticket;
use xfer_protocol::message::removal::{Removal, Remove};
use xfer_protocol::path::RelPath;

use self::protection::{Protection, Standing};
use self::refused::{most_of, refusal};
use super::Shared;
use super::batch::{Most, batches};
use super::context::{Context, Stop};
use super::ledger::Side;
use super::preflight::Preflight;
use crate::error::PolicyReason;
use crate::event::{EntryAction, Event};
use crate::options::RemovalTime;

pub(super) use self::backup::{Aside, keep_replaced, note_replaced};
pub(super) use self::refused::{check_removal, check_request};
pub(super) use self::renamed::{Candidate, NewSmall, Pair, Renamed, Renames, rename};

/// Entries removed in one request.
const REMOVED: Most = Most::entries(1024);

/// Entries that are remembered to be removed; of more, none is.
const FOUND_MAX: usize = 1_000_000;

/// What is to be removed below one destination entry.
pub(super) struct Removals {
    when: RemovalTime,
    /// The destination, for a person.
    place: String,
    protection: Option<Protection>,
    /// In the order of their paths, as are `blocked` and `undecided`.
    found: Vec<Doomed>,
    /// Whether ignore files decide about some of them.
    undecided: bool,
    /// Entries that are found and not remembered.
    forgotten: u64,
    /// How many of what was found have another name now.
    gone: usize,
    /// Directories in which something stays.
    holding: HashSet<RelPath>,
    /// What stays as it is with all below it, that was come to last.
    left: Option<RelPath>,
    /// Entries of the destination in whose place the source has one of another kind.
    blocked: Vec<RelPath>,
    /// Entries that stand at the destination, below the mapped one.
    standing: u64,
    /// Entries that the source has there.
    selected: u64,
    /// What could not be listed at the destination.
    unlisted: Vec<Fault>,
    /// Whether it is known what goes, and that it may.
    is_settled: bool,
}

/// An entry that the source does not have.
struct Doomed {
    removal: Removal,
    size: u64,
    /// Unless an ignore file leaves it out.
    unless: bool,
}

impl Removals {
    /// Nothing where nothing is to be removed.
    pub(super) fn of(shared: &Shared, cx: &Context) -> Result<Option<Self>, Stop> {
        let Some(when) = cx.options.removal.when else { return Ok(None) };
        Ok(Some(Self {
            when,
            place: shared.transfer.destination.to_string(),
            protection: Some(Protection::new(cx)?),
            found: Vec::new(),
            undecided: false,
            forgotten: 0,
            gone: 0,
            holding: HashSet::new(),
            left: None,
            blocked: Vec::new(),
            standing: 0,
            selected: 0,
            unlisted: Vec::new(),
            is_settled: false,
        }))
    }

    pub(super) fn is_due(&self, when: RemovalTime) -> bool {
        self.when == when
    }

    /// Notes an entry that was listed at the destination.
    pub(super) fn stands(&mut self, cx: &Context, path: &RelPath) {
        self.standing += u64::from(*path != cx.mapping.top);
    }

    /// Notes that something could not be listed at the destination.
    pub(super) fn unlisted(&mut self, fault: Fault) {
        self.unlisted.push(fault);
    }

    /// Notes an entry of the source that was left out.
    pub(super) fn excluded(&mut self, cx: &Context, source: &RelPath) {
        if let (Ok(path), Some(protection)) =
            (cx.mapping.destination_of(source), &mut self.protection)
        {
            protection.excluded(source, path);
        }
    }

    /// Notes a file of the source that is left for later: what stands in its place stays.
    pub(super) fn deferred(&mut self, cx: &Context, source: &Entry, path: &RelPath) {
        self.selected += u64::from(*path != cx.mapping.top);
        if let Some(protection) = &mut self.protection {
            protection.deferred(source, path.clone());
        }
    }

    /// Notes an entry that the source does not have, and tells whether it may go. They come in the
    /// order of their paths.
    pub(super) fn foreign(&mut self, cx: &Context, entry: &Entry) -> bool {
        let below = entry.path.strip_prefix(&cx.mapping.top).filter(|below| !below.is_root());
        let (Some(below), Some(protection)) = (below, &mut self.protection) else { return false };
        let standing = protection.standing(entry, &below);
        let is_left = self.left.as_ref().is_some_and(|left| entry.path.starts_with(left));
        if is_left || standing == Standing::Protected || protection.holds_backup(&entry.path) {
            self.stays(&entry.path);
            return false;
        }
        if self.found.len() >= FOUND_MAX {
            self.forgotten += 1;
            return false;
        }
        let unless = standing == Standing::Unless;
        self.undecided |= unless;
        let removal = removal_of(entry);
        self.found.push(Doomed { removal, size: entry.kind.size(), unless });
        true
    }

    /// The same of an entry in whose place the source has one of another kind; whether it was in
    /// the way.
    pub(super) fn makes_way(
        &mut self,
        cx: &Context,
        source: &Entry,
        path: &RelPath,
        found: Option<&Entry>,
    ) -> Result<bool, Stop> {
        self.selected += u64::from(*path != cx.mapping.top);
        if let Some(protection) = &mut self.protection {
            protection.selected(source);
        }
        if self.blocked.last().is_some_and(|blocked| path.starts_with(blocked)) {
            return Ok(true);
        }
        let is_directory = |entry: &Entry| entry.kind == EntryKind::Directory;
        let Some(found) = found.filter(|f| is_directory(f) != is_directory(source)) else {
            return Ok(false);
        };
        if *path == cx.mapping.top {
            return Err(refusal(&self.place, PolicyReason::RootTypeChanged, |failure| failure));
        }
        let _counted = self.foreign(cx, found);
        self.blocked.push(path.clone());
        Ok(true)
    }

    /// Notes an entry of the source in whose place something stays as it is.
    pub(super) fn leaves(&mut self, source: &Entry, path: &RelPath) {
        self.selected += 1;
        if let Some(protection) = &mut self.protection {
            protection.selected(source);
        }
        self.left = Some(path.clone());
    }

    fn stays(&mut self, path: &RelPath) {
        self.holding.extend(path.parent());
    }

    /// Decides what goes, once both lists have ended, and refuses too much of it. Nothing goes
    /// where something is wrong with a list.
    pub(super) async fn settle(
        &mut self,
        shared: &Shared,
        cx: &Context,
        preflight: &Preflight,
    ) -> Result<(), Stop> {
        for fault in std::mem::take(&mut self.unlisted) {
            cx.ledger.problem(Side::Destination, fault);
        }
        let Some(protection) = self.protection.take() else { return Ok(()) };
        if self.undecided && !self.found.is_empty() {
            match protection.ignore_files(cx).await {
                Ok(mut ignored) => self.spare(|path, is_directory| {
                    let below = path.strip_prefix(&cx.mapping.top);
                    let at = below.and_then(|below| cx.mapping.under.join(&below).ok());
                    at.is_none_or(|at| ignored.leaves_out(&at, is_directory))
                }),
                Err(error) => {
                    let fault = cx.sort(Side::Source, error)?;
                    cx.ledger.problem(Side::Source, fault);
                }
            }
        }
        self.spare_holding();
        let goes: HashSet<_> = self.found.iter().map(|doomed| &doomed.removal.path).collect();
        let (ways, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.blocked).into_iter().partition(|path| goes.contains(path));
        drop(goes);
        self.blocked = ways;
        for path in kept {
            let fault = Fault::new(FaultKind::Conflict, Operation::Remove, path);
            cx.ledger.problem(Side::Destination, fault);
        }
        if cx.ledger.has_problems() {
            return Ok(());
        }
        self.tell_plan(shared, cx, preflight);
        self.check(cx)?;
        self.is_settled = true;
        Ok(())
    }

    /// Spares what ignore files leave out, with all below it.
    fn spare(&mut self, mut leaves_out: impl FnMut(&RelPath, bool) -> bool) {
        let mut whole: Option<RelPath> = None;
        let mut spared = Vec::new();
        self.found.retain(|doomed| {
            let Removal { path, directory, .. } = &doomed.removal;
            let within = whole.as_ref().is_some_and(|whole| path.starts_with(whole));
            let stays = within || doomed.unless && leaves_out(path, *directory);
            if stays && !within {
                spared.push(path.clone());
                whole = Some(path.clone());
            }
            !stays
        });
        spared.iter().for_each(|path| self.stays(path));
    }

    /// Spares directories in which something stays.
    fn spare_holding(&mut self) {
        let holding = &mut self.holding;
        let mut kept: Vec<_> = std::mem::take(&mut self.found);
        kept.reverse();
        kept.retain(|doomed| {
            let Removal { path, directory, .. } = &doomed.removal;
            let stays = *directory && holding.contains(path);
            if stays {
                holding.extend(path.parent());
            }
            !stays
        });
        kept.reverse();
        self.found = kept;
    }

    fn tell_plan(&self, shared: &Shared, cx: &Context, preflight: &Preflight) {
        for Doomed { removal, size, .. } in &self.found {
            preflight.planned(EntryAction::Removed, *size);
            if shared.transfer.plan_only {
                let (path, action) = (removal.path.clone(), EntryAction::Removed);
                cx.observe(&Event::Entry { path, action, size: *size });
            }
        }
    }

    fn check(&self, cx: &Context) -> Result<(), Stop> {
        let doomed = self.found.len() as u64 + self.forgotten;
        if doomed == 0 {
            return Ok(());
        }
        if self.selected == 0 {
            return Err(refusal(&self.place, PolicyReason::SourceEmpty, |failure| {
                failure.detail("deletes", format!("{doomed} of {} entries", self.standing))
            }));
        }
        let limit = cx.options.removal.limit;
        let most = most_of(limit, self.standing);
        if doomed <= most && doomed < self.standing && self.forgotten == 0 {
            return Ok(());
        }
        Err(refused::too_many(&self.place, doomed, self.standing, most))
    }

    /// What of that which goes at the end may get another name instead, of small files only what is
    /// like one that is new. What may have been lost from the medium is sent.
    pub(super) fn renames(
        &self,
        cx: &Context,
        small: impl FnOnce() -> NewSmall,
    ) -> Option<Renames> {
        let is_kept = cx.options.removal.backup.is_some() || !self.blocked.is_empty();
        let may = self.is_due(RemovalTime::After) && !is_kept && cx.sink.renames();
        let going = || self.found.iter().map(|doomed| &doomed.removal);
        let may = may && !self.found.is_empty() && self.may_go(cx) && !cx.may_have_lost();
        may.then(|| Renames::of(going(), &small()))
    }

    /// Notes that so many of what goes have another name now.
    pub(super) fn renamed(&mut self, count: usize) {
        self.gone += count;
    }

    /// Whether what goes may go now: nothing goes once anything has failed.
    pub(super) fn may_go(&self, cx: &Context) -> bool {
        self.is_settled && !cx.ledger.has_problems()
    }

    /// Removes what goes, children before their parents; whether what stood in the way is gone now.
    /// Nothing goes once anything has failed.
    pub(super) async fn perform(&mut self, shared: &Shared, cx: &Context) -> Result<(), Stop> {
        if !self.may_go(cx) {
            self.withhold(cx);
            return Ok(());
        }
        let mut doomed: Vec<_> = std::mem::take(&mut self.found);
        doomed.reverse();
        for batch in batches(doomed, REMOVED) {
            if cx.halt.is_halted() {
                return Err(cx.halt.take().unwrap_or(Stop::Cancelled));
            }
            remove_batch(shared, cx, batch).await?;
        }
        if cx.sink.keeps_removed() {
            let text =
                format!("{}: the store keeps older versions of what was deleted", self.place);
            cx.observe(&Event::Notice(text));
        }
        if !self.blocked.is_empty() {
            if cx.ledger.has_problems() {
                self.withhold(cx);
            } else {
                finish(cx).await?;
                return Err(Stop::Again);
            }
        }
        Ok(())
    }

    /// Tells that nothing was removed, and of each entry that another kind keeps out.
    fn withhold(&mut self, cx: &Context) {
        let count = self.found.len().saturating_sub(self.gone);
        if count > 0 {
            let text = format!(
                "nothing was deleted, as something failed: {count} entries stay that the source \
                 does not have"
            );
            cx.observe(&Event::Notice(text));
        }
        for path in std::mem::take(&mut self.blocked) {
            let fault = Fault::new(FaultKind::Conflict, Operation::Create, path);
            cx.ledger.problem(Side::Destination, fault);
        }
    }
}

impl super::batch::Carried for Doomed {
    fn header_bytes(&self) -> usize {
        self.removal.header_bytes()
    }
}

fn removal_of(entry: &Entry) -> Removal {
    let directory = entry.kind == EntryKind::Directory;
    Removal {
        ticket: Ticket(0),
        path: entry.path.clone(),
        directory,
        stamp: entry.stamp(),
        linked: !directory && entry.inode.links > 1,
    }
}

async fn remove_batch(shared: &Shared, cx: &Context, batch: Vec<Doomed>) -> Result<(), Stop> {
    let numbered = batch.iter().zip(0..);
    let entries: Vec<_> = numbered
        .map(|(doomed, number)| Removal { ticket: Ticket(number), ..doomed.removal.clone() })
        .collect();
    let backup = cx.options.removal.backup.clone();
    let remove = Remove { root: cx.sink_root, entries, backup, stays: false };
    let outcomes = cx.sink.remove(remove).await;
    let outcomes = outcomes.map_err(|error| Context::stop(Side::Destination, error))?;
    if outcomes.len() != batch.len() {
        return Err(Stop::MISMATCHED);
    }
    for ((outcome, Doomed { removal, size, .. }), number) in
        outcomes.into_iter().zip(batch).zip(0..)
    {
        match outcome.result {
            _ if outcome.ticket != Ticket(number) => return Err(Stop::MISMATCHED),
            Ok(_) => {
                shared.removed.fetch_add(1, Ordering::Relaxed);
                let action = EntryAction::Removed;
                cx.observe(&Event::Entry { path: removal.path, action, size });
            }
            Err(fault) => {
                let fault = cx.sort(Side::Destination, fault.into())?;
                cx.ledger.problem(Side::Destination, fault);
            }
        }
    }
    Ok(())
}

/// Makes last what was removed, in a session that ends here.
async fn finish(cx: &Context) -> Result<(), Stop> {
    let durable = cx.options.verify.level.is_durable();
    let finish = xfer_protocol::message::Finish { root: cx.sink_root, durable };
    let finished = cx.sink.finish(finish).await;
    if finished.is_err() && durable {
        cx.note_unsynced();
    }
    finished.map_err(|error| Context::stop(Side::Destination, error))
}
