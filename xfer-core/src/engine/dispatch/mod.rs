//! From entries to work: each entry of the source is decided about, grouped, and handed to a
//! worker.

mod left;
mod links;
mod order;
mod proof;
mod renames;
mod unfinished;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use xfer_protocol::digest::BlockSize;
use xfer_protocol::fault::{FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, ProofLevel};
use xfer_protocol::message::{NewEntry, NewKind, Ticket};
use xfer_protocol::path::RelPath;

use self::links::{FirstName, Holder, Link};
use self::order::{Ordered, Ordering};
use self::proof::{falls_short, kept, past_cache};
use self::unfinished::Unfinished;
use self::work::{COMPARED, Work};
use super::Shared;
use super::batch::{Batch, Most};
use super::context::{Context, Stop, fault};
use super::delta::may_pay;
use super::file::find_equal;
use super::late::Late;
use super::ledger::Side;
use super::pack::{FileWork, PACK, compare_files, set_metadata};
use super::preflight::Preflight;
use super::publisher::publish;
use super::removal::{Removals, Renamed, note_replaced};
use crate::event::{EntryAction, Event};
use crate::journal::Recorded;
use crate::options::RemovalTime;
use crate::plan::secrets::{is_credential, may_hold_keys};
use crate::plan::{Action, Evidence, decide, left, metadata_equal, wanted_metadata};

/// Entries created in one request.
const CREATED: Most = Most::entries(512);

/// How long workers may take to end by themselves once the transfer is halted.
const HALT_GRACE: Duration = Duration::from_secs(1);

pub(super) struct Dispatcher {
    cx: Arc<Context>,
    workers: JoinSet<()>,
    waiting: Vec<Work>,
    barrier_open: bool,
    /// Whether the barrier may open before all mappings are scanned.
    may_lead: bool,
    plan_only: bool,
    preflight: Arc<Preflight>,
    pack: Batch<FileWork>,
    compare: Batch<FileWork>,
    creates: Batch<NewEntry>,
    is_secret_told: bool,
    removals: Option<Removals>,
    /// What gets the name of something that goes.
    renamed: Vec<Renamed>,
    unfinished: Unfinished,
    late: Late,
    /// Large files that wait until all that stands at the destination is listed: they may have
    /// another name there.
    unlisted: Vec<FileWork>,
    is_more_there: bool,
    links: Vec<Link>,
    first_names: HashMap<(u64, u64), FirstName>,
    /// By device and inode at the destination.
    holders: HashMap<(u64, u64), Holder>,
    order: Option<Ordering>,
    /// Files that wait to be put in order.
    gathered: usize,
}

/// Whether a pattern can name what is moved before all other ([`crate::options::OrderOptions`]).
#[must_use]
pub fn is_first_pattern(glob: &str) -> bool {
    order::is_pattern(glob)
}

/// Outcomes under this ticket are nobody's.
const NO_TICKET: Ticket = Ticket(u64::MAX);

impl Dispatcher {
    /// One for a mapping. While an earlier one is not finished it may not lead: what is staged is
    /// published for the whole destination, so mappings move one after the other.
    pub(super) fn new(
        cx: &Arc<Context>,
        preflight: &Arc<Preflight>,
        removals: Option<Removals>,
        may_lead: bool,
        plan_only: bool,
    ) -> Result<Self, Stop> {
        let _is_first = cx.spare.set(preflight.spare());
        Ok(Self {
            cx: Arc::clone(cx),
            unfinished: Unfinished::default(),
            workers: JoinSet::new(),
            waiting: Vec::new(),
            barrier_open: false,
            may_lead,
            plan_only,
            preflight: Arc::clone(preflight),
            pack: Batch::new(PACK),
            compare: Batch::new(COMPARED),
            creates: Batch::new(CREATED),
            is_secret_told: false,
            removals,
            renamed: Vec::new(),
            late: Late::default(),
            unlisted: Vec::new(),
            is_more_there: false,
            links: Vec::new(),
            first_names: HashMap::new(),
            holders: HashMap::new(),
            order: Ordering::of(&cx.options.order)?,
            gathered: 0,
        })
    }

    /// Counts bytes that partials of earlier sessions hold.
    pub(super) fn held(&mut self, allocated: u64) {
        self.preflight.needs(|need| need.held = need.held.saturating_add(allocated));
    }

    /// Decides about one entry of the source and sets the work in motion.
    pub(super) async fn entry(
        &mut self,
        source: Entry,
        path: RelPath,
        found: Option<Entry>,
        recorded: Option<Recorded>,
    ) -> Result<(), Stop> {
        let known = recorded.as_ref().map(|recorded| &recorded.known);
        let mut found = found;
        found.iter().for_each(|found| self.cx.bases.note(found));
        let is_held = self.is_held_by_another(&source, found.as_ref());
        if let Some(there) = &found
            && let Some(left) = left(&source, there, known, &self.cx.policy)
        {
            self.leave(left, &source, path, found, recorded.as_ref());
            return self.open_barrier_if_due().await;
        }
        if let Some(removals) = &mut self.removals
            && removals.makes_way(&self.cx, &source, &path, found.as_ref())?
        {
            if !self.plan_only {
                return Ok(());
            }
            found = None;
        }
        if self.link_to_first(&source, &path, found.as_ref()) {
            return Ok(());
        }
        if self.cx.withholds_secrets && self.withholds(&source, &path) {
            return self.open_barrier_if_due().await;
        }
        let action = match is_held {
            true => Action::Copy,
            false => decide(&source, found.as_ref(), known, &self.cx.policy),
        };
        let wanted = wanted_metadata(&source, &self.cx.options.preserve);
        match action {
            Action::Compare => self.compare_entry(&source, path, found.as_ref(), wanted).await?,
            Action::Keep(evidence) | Action::SetMetadata(evidence)
                if self.must_prove_anew(&source, evidence) =>
            {
                self.compare_entry(&source, path, found.as_ref(), wanted).await?;
            }
            Action::Skip => self.cx.ledger.skip(),
            Action::Refuse(kind) => self.refuse(kind, &source, &path, wanted),
            Action::Keep(evidence) => {
                self.keep(&source, path, found, wanted, evidence, recorded.as_ref());
            }
            Action::SetMetadata(evidence) => {
                self.correct(&source, path, found.as_ref(), wanted, evidence);
            }
            Action::Create(kind) => self.create(source, path, found, wanted, kind).await?,
            Action::Copy => self.copy(&source, path, found.as_ref(), wanted).await?,
        }
        self.open_barrier_if_due().await
    }

    /// Leaves a file of the source for later.
    pub(super) fn defer(&mut self, source: &Entry, path: &RelPath) {
        if let Some(removals) = &mut self.removals {
            removals.deferred(&self.cx, source, path);
        }
        self.cx.ledger.defer(path, source);
        let (path, action, size) = (path.clone(), EntryAction::Deferred, source.kind.size());
        self.cx.observe(&Event::Entry { path, action, size });
    }

    /// What is to be removed, where anything may be.
    pub(super) fn removals(&mut self) -> Option<&mut Removals> {
        self.removals.as_mut()
    }

    /// Takes whether entries of the destination are still to be listed.
    pub(super) fn more_there(&mut self, is_more_there: bool) {
        self.is_more_there = is_more_there;
    }

    /// Notes an entry of the destination that the source does not have.
    pub(super) fn foreign(&mut self, entry: &Entry) {
        self.cx.bases.note(entry);
        if let Some(removals) = &mut self.removals
            && removals.foreign(&self.cx, entry)
        {
            self.late.touch_parent(&entry.path);
        }
    }

    /// Removes what the source does not have, if it is due now.
    pub(super) async fn remove(&mut self, shared: &Shared, now: RemovalTime) -> Result<(), Stop> {
        match &mut self.removals {
            Some(removals) if removals.is_due(now) => removals.perform(shared, &self.cx).await,
            _ => Ok(()),
        }
    }

    /// Notes that the scan has ended.
    pub(super) async fn scanned(&mut self) -> Result<(), Stop> {
        self.flush_small().await?;
        self.flush_creates().await?;
        for work in std::mem::take(&mut self.unlisted) {
            self.hand(Work::CopyLarge(Box::new(work))).await?;
        }
        self.count_unfinished();
        self.preflight.scanned(self.cx.ledger.selected());
        Ok(())
    }

    /// Files whose work has not begun.
    pub(super) fn files_waiting(&self) -> usize {
        self.waiting.iter().map(Work::entries).sum()
    }

    /// Compares all that waits for it before anything is sent; what differs is counted as room that
    /// will be needed.
    pub(super) async fn compare_first(&mut self) -> Result<(), Stop> {
        let different = Arc::new(Mutex::new(Vec::new()));
        let (compared, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|work| match work {
                Work::Compare(_) => true,
                Work::CopyLarge(file) => file.found.is_some(),
                Work::Copy(_) | Work::Create(_) => false,
            });
        self.waiting = rest;
        for work in compared {
            let (cx, different) = (Arc::clone(&self.cx), Arc::clone(&different));
            self.spawn(async move {
                let found = match work {
                    Work::CopyLarge(file) => find_equal(&cx, *file).await?.into_iter().collect(),
                    Work::Compare(files) => compare_files(&cx, files).await?,
                    other => return other.perform(&cx).await,
                };
                different.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                Ok(())
            })
            .await?;
        }
        self.wait().await?;
        let files = std::mem::take(&mut *different.lock().unwrap_or_else(PoisonError::into_inner));
        for file in &files {
            self.may_rewrite(file);
            self.preflight.moves(self.cx.mapping.source, file.size);
        }
        let compared = |file| FileWork { found: None, ..file };
        self.waiting.extend(Work::copies(files.into_iter().map(compared).collect()));
        Ok(())
    }

    /// Does all that waits, and waits for it; the plan must have been checked against the space
    /// that there is.
    pub(super) async fn finish_files(&mut self) -> Result<(), Stop> {
        self.open_barrier().await?;
        self.wait().await?;
        self.publish_all().await?;
        self.make_links().await
    }

    async fn publish_all(&self) -> Result<(), Stop> {
        publish(&self.cx).await?;
        // All that was staged was published; of what is left nothing was said.
        if self.cx.publisher.is_empty() { Ok(()) } else { Err(Stop::MISMATCHED) }
    }

    /// Refuses what opens accounts, each entry by itself, and tells once what lets it pass.
    fn withholds(&mut self, source: &Entry, path: &RelPath) -> bool {
        let root = &self.cx.mapping.source_root;
        if is_credential(root, source.path.as_bytes()) {
            let wanted = wanted_metadata(source, &self.cx.options.preserve);
            self.refuse(FaultKind::Unsafe, source, path, wanted);
            self.tell_of_secrets(
                "files that open accounts or machines are not sent to a rented machine, whose \
                 host can read them; --allow-secrets sends them, --exclude leaves them out",
            );
            return true;
        }
        if may_hold_keys(path.as_bytes()) {
            let text =
                format!("{path} may hold keys, and the host of a rented machine can read it");
            self.cx.observe(&Event::Notice(text));
        }
        false
    }

    fn tell_of_secrets(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_secret_told, true) {
            self.cx.observe(&Event::Notice(text.to_owned()));
        }
    }

    fn refuse(&self, kind: FaultKind, source: &Entry, path: &RelPath, wanted: Metadata) {
        let ticket = self.cx.ledger.begin(path, source, wanted);
        let found = fault(kind, Operation::Create, path);
        self.cx.ledger.fail(ticket, Side::Destination, path, source.kind.size(), found);
    }

    fn keep(
        &mut self,
        source: &Entry,
        path: RelPath,
        found: Option<Entry>,
        wanted: Metadata,
        evidence: Evidence,
        recorded: Option<&Recorded>,
    ) {
        let Some(found) = found else { return };
        if source.kind == EntryKind::Directory {
            self.late.add_if_touched(&path, NO_TICKET, wanted.clone());
        }
        self.cx.meter.reused(source.kind.size());
        let kept = kept(&found, evidence);
        self.note_first_name(source, NO_TICKET, &path, Some(&found), Some(kept));
        self.cx.ledger.keep(path, source, found.stamp(), wanted, evidence, recorded);
    }

    /// What an earlier transfer proved less well than is asked now is proven anew.
    fn must_prove_anew(&self, source: &Entry, evidence: Evidence) -> bool {
        matches!(source.kind, EntryKind::File { .. })
            && (falls_short(evidence.level, self.cx.options.verify.level)
                || self.cx.load_check.is_some())
    }

    fn correct(
        &mut self,
        source: &Entry,
        path: RelPath,
        found: Option<&Entry>,
        wanted: Metadata,
        evidence: Evidence,
    ) {
        self.planned(&path, EntryAction::Metadata, 0);
        let ticket = self.cx.ledger.begin(&path, source, wanted.clone());
        if let Some(digest) = evidence.digest {
            self.cx.ledger.digest(ticket, digest);
        }
        let assumed = evidence.level == ProofLevel::Assumed;
        self.note_proof(ticket, assumed, past_cache(evidence.level));
        // Its content is there already, and can have further names.
        let kept = found.map(|found| kept(found, evidence));
        self.note_first_name(source, ticket, &path, found, kept);
        self.late.touch_parent(&path);
        self.late.add(&path, ticket, wanted);
    }

    /// Notes how a file is proven by an earlier transfer, or under the first of its names.
    fn note_proof(&self, ticket: Ticket, assumed: bool, past_cache: Option<bool>) {
        if assumed {
            self.cx.ledger.assumed(ticket);
        }
        if let Some(past_cache) = past_cache {
            self.cx.ledger.read_back(ticket, past_cache);
        }
    }

    async fn create(
        &mut self,
        source: Entry,
        path: RelPath,
        found: Option<Entry>,
        wanted: Metadata,
        kind: NewKind,
    ) -> Result<(), Stop> {
        let is_directory = kind == NewKind::Directory;
        self.planned(&path, EntryAction::Moved, 0);
        self.preflight.needs(|need| need.inodes += 1);
        self.late.touch_parent(&path);
        let ticket = self.cx.ledger.begin(&path, &source, wanted.clone());
        note_replaced(&self.cx, ticket, found.as_ref());
        if is_directory {
            self.late.add(&path, ticket, wanted.clone());
        }
        if let Some(full) = self.creates.push(NewEntry { ticket, path, kind, metadata: wanted }) {
            self.hand(Work::Create(full)).await?;
        }
        let replaces = is_directory && found.is_some();
        if replaces && !self.plan_only {
            // What follows lies below it, so it has to be there first.
            self.flush_creates().await?;
            let waiting = std::mem::take(&mut self.waiting).into_iter();
            let (creates, rest) = waiting.partition(|work| matches!(work, Work::Create(_)));
            self.waiting = rest;
            self.begin_all(creates).await?;
            return self.wait().await;
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        source: &Entry,
        path: RelPath,
        found: Option<&Entry>,
        wanted: Metadata,
    ) -> Result<(), Stop> {
        let mut work = self.work(source, path, found, wanted);
        self.note_first_name(source, work.ticket, &work.path, found, None);
        work.found = None;
        self.preflight.needs(|need| {
            need.bytes = need.bytes.saturating_add(work.room());
            need.inodes += u64::from(found.is_none());
        });
        self.preflight.moves(self.cx.mapping.source, work.size);
        self.late.touch_parent(&work.path);
        self.planned(&work.path, EntryAction::Moved, work.size);
        self.send(work).await
    }

    async fn send(&mut self, work: FileWork) -> Result<(), Stop> {
        self.gathered += 1;
        if work.is_large() {
            let may_be_there = work.basis.is_none() && self.is_more_there && may_pay(&self.cx);
            if may_be_there && !self.plan_only {
                self.unlisted.push(work);
                return Ok(());
            }
            return self.hand(Work::CopyLarge(Box::new(work))).await;
        }
        match self.pack.push(work) {
            Some(full) => self.hand(Work::Copy(full)).await,
            None => Ok(()),
        }
    }

    async fn compare_entry(
        &mut self,
        source: &Entry,
        path: RelPath,
        found: Option<&Entry>,
        wanted: Metadata,
    ) -> Result<(), Stop> {
        let work = self.work(source, path, found, wanted);
        self.note_first_name(source, work.ticket, &work.path, found, None);
        self.planned(&work.path, EntryAction::Compare, work.size);
        self.preflight.compares(self.cx.mapping.source, work.size);
        self.may_rewrite(&work);
        self.late.touch_parent(&work.path);
        self.compare(work).await
    }

    async fn compare(&mut self, work: FileWork) -> Result<(), Stop> {
        self.gathered += 1;
        if work.is_large() {
            return self.hand(Work::CopyLarge(Box::new(work))).await;
        }
        match self.compare.push(work) {
            Some(full) => self.hand(Work::Compare(full)).await,
            None => Ok(()),
        }
    }

    /// Counts the room for a file that may have to be written anew.
    fn may_rewrite(&self, work: &FileWork) {
        self.preflight.needs(|need| need.rewrite = need.rewrite.max(work.room()));
    }

    fn work(
        &self,
        source: &Entry,
        path: RelPath,
        found: Option<&Entry>,
        wanted: Metadata,
    ) -> FileWork {
        let ticket = self.cx.ledger.begin(&path, source, wanted.clone());
        note_replaced(&self.cx, ticket, found);
        let replaced = found.filter(|f| matches!(f.kind, EntryKind::File { .. }));
        // Elsewhere than on machines comparing costs as much as sending; of one block nothing is
        // spared.
        let is_in_place = self.cx.options.disk.in_place
            && source.kind.size() > BlockSize::MIN.bytes()
            && found.is_some_and(|found| found.inode.links == 1)
            && self.cx.source.makes_deltas();
        FileWork {
            ticket,
            source_path: source.path.clone(),
            path,
            size: source.kind.size(),
            allocated: allocated_of(source),
            stamp: source.stamp(),
            wanted,
            found: found.map(|f| (f.stamp(), metadata_equal(source, f, &self.cx.policy))),
            basis: replaced.map(|f| Box::new(f.stamp())),
            over: replaced.filter(|_| is_in_place).map(allocated_of),
            changes: 0,
        }
    }

    fn planned(&mut self, path: &RelPath, action: EntryAction, bytes: u64) {
        self.preflight.planned(action, bytes);
        if self.plan_only {
            let event = Event::Entry { path: path.clone(), action, size: bytes };
            self.cx.observe(&event);
        }
    }

    async fn flush_small(&mut self) -> Result<(), Stop> {
        self.flush_compare().await?;
        self.flush_pack().await
    }

    async fn flush_pack(&mut self) -> Result<(), Stop> {
        let pack = self.pack.take();
        if pack.is_empty() { Ok(()) } else { self.hand(Work::Copy(pack)).await }
    }

    async fn flush_compare(&mut self) -> Result<(), Stop> {
        let batch = self.compare.take();
        if batch.is_empty() { Ok(()) } else { self.hand(Work::Compare(batch)).await }
    }

    async fn flush_creates(&mut self) -> Result<(), Stop> {
        let batch = self.creates.take();
        if batch.is_empty() { Ok(()) } else { self.hand(Work::Create(batch)).await }
    }

    async fn hand(&mut self, work: Work) -> Result<(), Stop> {
        if self.plan_only {
            return Ok(());
        }
        if self.barrier_open {
            return self.begin(work).await;
        }
        self.waiting.push(work);
        Ok(())
    }

    async fn open_barrier_if_due(&mut self) -> Result<(), Stop> {
        if self.barrier_open || self.plan_only || !self.may_lead {
            return self.check_halt();
        }
        if self.order.is_some() {
            return self.move_many().await;
        }
        if self.preflight.may_begin(self.cx.clock.elapsed()) {
            let selected = self.cx.ledger.selected();
            self.cx.observe(&Event::Plan(self.preflight.so_far(selected)));
            return self.open_barrier().await;
        }
        self.check_halt()
    }

    async fn open_barrier(&mut self) -> Result<(), Stop> {
        self.barrier_open = true;
        let waiting = std::mem::take(&mut self.waiting);
        let Some(order) = &self.order else { return self.begin_all(waiting).await };
        let Ordered { first, rest } = order.arrange(waiting);
        self.begin_all(first.into_iter().chain(rest)).await
    }

    async fn begin_all(&mut self, all: impl IntoIterator<Item = Work>) -> Result<(), Stop> {
        for work in all {
            self.begin(work).await?;
        }
        Ok(())
    }

    fn check_halt(&self) -> Result<(), Stop> {
        match self.cx.halt.is_halted().then(|| self.cx.halt.take()).flatten() {
            Some(stop) => Err(stop),
            None => Ok(()),
        }
    }

    async fn begin(&mut self, work: Work) -> Result<(), Stop> {
        let cx = Arc::clone(&self.cx);
        self.spawn(async move { work.perform(&cx).await }).await
    }

    async fn spawn(
        &mut self,
        work: impl Future<Output = Result<(), Stop>> + Send + 'static,
    ) -> Result<(), Stop> {
        self.check_halt()?;
        let cx = Arc::clone(&self.cx);
        let unit = tokio::select! {
            biased;
            () = cx.halt.halted() => return self.check_halt(),
            unit = cx.budget.unit() => unit,
        };
        let Some(unit) = unit else { return Err(Stop::Cancelled) };
        self.workers.spawn(async move {
            if let Err(stop) = work.await {
                cx.halt.now(stop);
            }
            drop(unit);
        });
        while self.workers.try_join_next().is_some() {}
        Ok(())
    }

    /// Waits for all workers; once the transfer is halted, for none that waits for a far side.
    async fn wait(&mut self) -> Result<(), Stop> {
        let cx = Arc::clone(&self.cx);
        let halted = async {
            cx.halt.halted().await;
            // What a worker finishes now need not come again.
            tokio::time::sleep(HALT_GRACE).await;
        };
        tokio::pin!(halted);
        loop {
            tokio::select! {
                ended = self.workers.join_next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(_)) => return Err(Stop::Bug("a worker panicked")),
                    None => return self.check_halt(),
                },
                () = &mut halted => break,
            }
        }
        self.workers.shutdown().await;
        self.check_halt()
    }

    /// Sets what was put off: directories last, children before parents, for work below changes
    /// times. Where an entry failed, something else may stand in its place.
    pub(super) async fn finish_directories(self) -> Result<(), Stop> {
        let mut batch = Batch::new(CREATED);
        let ledger = &self.cx.ledger;
        for entry in self.late.into_entries().filter(|entry| !ledger.has_failed(entry.0)) {
            if let Some(full) = batch.push(entry) {
                set_metadata(&self.cx, full).await?;
            }
        }
        set_metadata(&self.cx, batch.take()).await
    }
}

/// Bytes that a file takes where it is.
fn allocated_of(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { allocated, .. } => allocated,
        _ => 0,
    }
}
