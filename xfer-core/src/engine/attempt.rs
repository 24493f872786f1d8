//! One attempt: both ends opened, every source mapped, and each mapping moved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::message::{
    self, Access, Begin, Finish, Locate, Located, Lock, OpenRoot, Root, RootIndex, Scan, Space,
};

use super::ahead::{LOCKED, ahead, beginning, guess};
use super::batch::batches;
use super::bill::Bill;
use super::context::{Budget, Context, Halt, Stop};
use super::delta::Bases;
use super::dispatch::Dispatcher;
use super::in_place;
use super::in_step::{Early, SourceList, scan_one};
use super::ledger::{Kept, Ledger, Side};
use super::load_command::CopyCheck;
use super::manifest::Manifest;
use super::preflight::Preflight;
use super::provenance::{TwoEnds, provenance};
use super::proxy::ProxyLimit;
use super::publisher::{Publisher, publish};
use super::refusals::{
    check_lists, check_provable, detour, foresee_root, refuse_nesting, refuse_own_records,
    try_receipt,
};
use super::removal::{Aside, Removals, check_removal};
use super::scanned::Scanned;
use super::way::{Way, way};
use super::wrap_up::{Ends, leave_receipt, wrap_up};
use super::{MappedPath, STOP_DEADLINE, Shared, Summary};
use crate::connect::{Connected, Connector};
use crate::disk::state::StateDirectory;
use crate::endpoint::{EndpointError, EndpointResult, MetadataKinds, Sink, TimeGrain};
use crate::event::{Event, Phase, Route};
use crate::journal::{
    RecordDraft, RecordKey, RecordReader, Tail, Unsynced, fold_tail, forget_unused,
};
use crate::location::{Location, Machine};
use crate::plan::Policy;
use crate::plan::mapping::{Mapping, MappingError, begin_of, map_sources};

/// Partials of one mapping are numbered within this span of the session's numbers.
const PARTIALS_SPAN: u64 = 1 << 40;

/// Files that wait for the scans of later sources, before those that fit are moved first.
const FILES_WAITING_MAX: usize = 100_000;

/// How long a stop waits for what has arrived to be published.
const FLUSH_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// Between two looks whether ended workers have let go.
const RELEASE: std::time::Duration = std::time::Duration::from_millis(10);

/// Looks for that at most.
const RELEASES_AWAITED: u32 = 500;

/// Both ends, open and mapped.
struct Opened {
    sources: Vec<Connected>,
    sink: Connected,
    /// Which of `sources` holds each source of the request.
    of_request: Vec<usize>,
    mappings: Vec<Mapping>,
    /// The root of every mapping's source, in their order.
    source_roots: Vec<Root>,
    /// What that root will be, where it was not there.
    foreseen: Option<Root>,
    /// How the writing was guessed to begin, as it was asked ahead.
    guess: Option<Begin>,
    way: Way,
    /// How often was published.
    publishings: Arc<AtomicU64>,
    /// Stops what moves, where the user does or a limit is met.
    cancel: CancellationToken,
}

impl Opened {
    fn ends(&self) -> impl Iterator<Item = &Connected> {
        self.sources.iter().chain([&self.sink]).chain(&self.way.reader)
    }

    fn two<'a>(&'a self, to: &'a Root) -> TwoEnds<'a> {
        let Self { sources, sink, mappings, source_roots, .. } = self;
        TwoEnds { sources, sink, mappings, source_roots, to }
    }

    fn proxy_limit(&self, shared: &Shared) -> Option<ProxyLimit<'_>> {
        let limit = ProxyLimit::of(shared, &self.sources, &self.of_request, &self.sink);
        limit.filter(|_| !self.way.elsewhere)
    }
}

/// A scan that began before its destination was reached.
struct Begun {
    root: Root,
    listing: SourceList,
}

pub(super) async fn attempt(shared: &Shared) -> Result<Summary, Stop> {
    shared.observer.observe(&Event::Phase(Phase::Connect));
    try_receipt(shared)?;
    let (opened, begun) = tokio::select! {
        opened = open(shared) => opened?,
        // Nothing has arrived yet that would have to be kept.
        () = shared.cancel.cancelled() => return Err(Stop::Cancelled),
        () = shared.deadline() => return Err(Stop::Deadline),
    };
    shared.learn_deadline(opened.ends().filter_map(|end| end.rented.as_deref()))?;
    shared.reached.store(true, Ordering::Relaxed);
    let mut result = move_all(shared, &opened, begun).await;
    if let Some(row) = &opened.sink.rented {
        result = result.map_err(|stop| shared.to_rented(row.disk, stop));
    }
    for end in opened.ends() {
        end.source.close().await;
    }
    result
}

async fn open(shared: &Shared) -> Result<(Opened, Option<SourceList>), Stop> {
    let transfer = &shared.transfer;
    let (to, network) = (&transfer.destination, &transfer.options.network);
    let between = shared.connector.goes_between(&transfer.sources, to, network);
    let control = between.then(|| Connector::control_only(&transfer.options));
    let options = control.as_ref().unwrap_or(&transfer.options);
    let (machines, of_request) = machines_of(&transfer.sources);
    let mut sources = Vec::new();
    for machine in machines {
        let here = transfer.sources.iter().filter(|source| source.machine == *machine);
        let ahead: Vec<_> =
            here.flat_map(|source| ahead(&source.path, is_far(machine), None)).collect();
        let connecting = shared.connector.connect_ahead(machine, options, &ahead);
        let reached = connecting.await.map_err(|error| detour(error, between));
        sources.push(reached.map_err(Stop::Error)?);
    }
    // What is not there need not wait for a machine far away to be told.
    let located = locate(shared, &sources, &of_request).await?;
    let begun = begin_early(shared, &sources, &located).await;
    let guess = begun.as_ref().and_then(|begun| guess(transfer, &located, &begun.root));
    let ahead = ahead(&to.path, false, guess.as_ref());
    let connecting = shared.connector.connect_ahead(&to.machine, options, &ahead);
    let sink = connecting.await.map_err(|error| detour(error.of_destination(), between));
    let sink = sink.map_err(Stop::Error)?;
    let provable = check_provable(shared, &sink);
    let way = match provable {
        Ok(()) => way(shared, &sources, &sink, between).await?,
        Err(_) => Way::default(),
    };
    tell_reached(shared, &sources, &sink, &way);
    provable?;
    let (mappings, is_there) = map(shared, located, &sink).await?;
    refuse_own_records(shared, &mappings)?;
    check_removal(shared, &sink, &mappings)?;
    in_place::check(shared, &sink)?;
    check_lists(shared, &sources, &of_request, &mappings)?;
    let (begun, source_roots) = match begun {
        Some(Begun { root, listing }) => (Some(listing), vec![root]),
        None => (None, open_sources(shared, &sources, &of_request, &mappings).await?),
    };
    let foreseen = if is_there { None } else { foresee_root(&sink, &mappings).await };
    if let Some(to) = &foreseen {
        for (mapping, root) in mappings.iter().zip(&source_roots) {
            refuse_nesting(shared, mapping, root, to)?;
        }
    }
    let cancel = shared.cancel.child_token();
    let opened = Opened {
        sources,
        sink,
        of_request,
        mappings,
        source_roots,
        foreseen,
        guess,
        way,
        publishings: Arc::default(),
        cancel,
    };
    Ok((opened, begun))
}

/// The machines of sources, each once, and which of them is whose.
fn machines_of(sources: &[Location]) -> (Vec<&Machine>, Vec<usize>) {
    let mut machines: Vec<&Machine> = Vec::new();
    let of_request = sources.iter().map(|source| {
        machines.iter().position(|machine| **machine == source.machine).unwrap_or_else(|| {
            machines.push(&source.machine);
            machines.len() - 1
        })
    });
    let of_request = of_request.collect();
    (machines, of_request)
}

/// Tells how both ends were reached; a way from one to the other is told as it is opened.
fn tell_reached(shared: &Shared, sources: &[Connected], sink: &Connected, way: &Way) {
    let ends = || sources.iter().chain([sink]);
    for end in ends() {
        end.notices.iter().for_each(|text| shared.observer.observe(&Event::Notice(text.clone())));
        if let Some(route) = end.route_untold().filter(|_| !way.elsewhere) {
            shared.observer.observe(&Event::Route(route));
        }
    }
    let transfer = &shared.transfer;
    if transfer.options.preserve.owner && !sink.sink.capabilities().metadata.owner {
        let to = &transfer.destination;
        let notice = format!("{to}: owners are not kept (--owner), as only root may set them");
        shared.observer.observe(&Event::Notice(notice));
    }
    if let Some(notice) = &way.told {
        shared.observer.observe(&Event::Notice(notice.clone()));
    }
    if ends().all(|end| end.route.is_none()) {
        shared.observer.observe(&Event::Route(Route::local()));
    }
}

/// Begins the scan of one source here while a far destination is being reached: reaching it takes
/// longer than listing thousands of files. Where this fails, the scan that is due tells why.
async fn begin_early(
    shared: &Shared,
    sources: &[Connected],
    located: &[(usize, Located)],
) -> Option<Begun> {
    let ([(_, located)], [source]) = (located, sources) else { return None };
    let transfer = &shared.transfer;
    if is_far(&transfer.sources.first()?.machine) || !is_far(&transfer.destination.machine) {
        return None;
    }
    let (path, under) = begin_of(located).ok()?;
    let open = OpenRoot { path, access: Access::Read };
    let root = source.source.open_root(open).await.ok()?;
    let scan = Scan { root: root.index, under, options: transfer.options.source_scan() };
    let listing = SourceList::begin(shared, &source.source, scan).await.ok()?;
    Some(Begun { root, listing })
}

fn is_far(machine: &Machine) -> bool {
    *machine != Machine::Local
}

/// Finds every source, with its place in the request.
pub(super) async fn locate(
    shared: &Shared,
    sources: &[Connected],
    of_request: &[usize],
) -> Result<Vec<(usize, Located)>, Stop> {
    let mut rows: Vec<(usize, Located)> = Vec::new();
    for (at, location) in shared.transfer.sources.iter().enumerate() {
        let expand = is_far(&location.machine);
        let locate = Locate { path: location.path.clone(), expand };
        let found = sources[of_request[at]].source.locate(locate).await;
        let stop = |e| shared.of_source(at, Context::stop(Side::Source, e));
        let found = found.map_err(stop)?;
        if found.iter().all(|located| located.kind.is_none()) {
            return Err(Stop::Mapping(MappingError::SourceMissing(at)));
        }
        rows.extend(found.into_iter().map(|located| (at, located)));
    }
    Ok(rows)
}

/// Maps every source, and tells whether something stands at the destination.
async fn map(
    shared: &Shared,
    rows: Vec<(usize, Located)>,
    sink: &Connected,
) -> Result<(Vec<Mapping>, bool), Stop> {
    let path = shared.transfer.destination.path.clone();
    let found = sink.sink.locate(Locate { path, expand: false }).await;
    let found = found.map_err(|e| Context::stop(Side::Destination, e))?;
    let Some(to) = found.first() else {
        return Err(Stop::MISMATCHED);
    };
    let mut mappings = map_sources(&rows, to).map_err(Stop::Mapping)?;
    mappings.sort_by(|a, b| a.top.cmp(&b.top));
    Ok((mappings, to.kind.is_some()))
}

/// Opens the one root that all mappings share, locks what will be written below it, and begins to
/// list the first; `None` where a plan alone finds nothing there, for it makes nothing, not even
/// that.
async fn open_destination(shared: &Shared, opened: &Opened) -> Result<(Option<Root>, Early), Stop> {
    let Opened { sink, mappings, .. } = opened;
    let path = mappings.first().map(|m| m.destination_root.clone()).unwrap_or_default();
    let stop = |e| Context::stop(Side::Destination, e);
    if shared.transfer.plan_only {
        return match sink.sink.open_root(OpenRoot { path, access: Access::Read }).await {
            Err(EndpointError::Fault(f)) if f.kind == FaultKind::NotFound => {
                Ok((None, Early::default()))
            }
            other => Ok((Some(other.map_err(stop)?), Early::default())),
        };
    }
    let open = OpenRoot { path, access: Access::WriteCreate };
    if let Some(plain) = beginning(&shared.transfer, mappings) {
        let begun = begin(&*sink.sink, plain, opened.guess.clone()).await.map_err(stop)?;
        return Ok((Some(begun.root), Early { there: Some(begun.lists), source: None }));
    }
    let root = sink.sink.open_root(open).await.map_err(stop)?;
    for entries in batches(mappings.iter().map(|m| m.top.clone()), LOCKED) {
        sink.sink.lock(Lock { root: root.index, entries }).await.map_err(stop)?;
    }
    Ok((Some(root), Early::default()))
}

/// Begins as it was guessed, where that was right, and plainly where it was not.
async fn begin(
    sink: &dyn Sink,
    plain: Begin,
    guess: Option<Begin>,
) -> EndpointResult<message::Begun> {
    let is_right = |guess: &Begin| Begin { only_if: None, ..guess.clone() } == plain;
    if let Some(guess) = guess.filter(is_right) {
        match sink.begin(guess).await {
            Err(EndpointError::Fault(fault))
                if matches!(fault.kind, FaultKind::Conflict | FaultKind::Unsupported) => {}
            other => return other,
        }
    }
    sink.begin(plain).await
}

impl Shared {
    /// Notes what a session moved that was lost.
    fn note_moved(&self, moved: impl Iterator<Item = (u64, u64)>) {
        let mut earlier = self.moved_earlier.lock().unwrap_or_else(PoisonError::into_inner);
        for (entries, bytes) in moved {
            earlier.0 += entries;
            earlier.1 += bytes;
        }
    }
}

/// What has arrived is published even when the user or a limit stops the transfer: it need not come
/// again.
async fn flush(shared: &Shared, cancel: &CancellationToken, cx: &Context) {
    if cancel.is_cancelled() && !shared.transfer.plan_only {
        let flushed = tokio::time::timeout(FLUSH_DEADLINE, publish(cx)).await;
        // What could not be flushed is found by the next session, or sent again.
        let _best_effort = flushed;
    }
}

/// Ends before all is moved: what has arrived is published. Only where a deadline came after
/// something had moved there is more to be told than why it ended.
async fn end_early(
    shared: &Shared,
    opened: &Opened,
    contexts: &[Arc<Context>],
    stop: Stop,
) -> Result<(), Stop> {
    if matches!(stop, Stop::Deadline) {
        // Workers that were ended let go of what they hold a moment later.
        for _ in 0..RELEASES_AWAITED {
            if contexts.iter().all(|cx| Arc::strong_count(cx) == 1) {
                break;
            }
            tokio::time::sleep(RELEASE).await;
        }
    }
    for cx in contexts {
        flush(shared, &opened.cancel, cx).await;
    }
    let moved: Vec<_> = contexts.iter().map(|cx| cx.ledger.moved()).collect();
    let has_moved = moved.iter().any(|(entries, _)| *entries > 0);
    let has_begun = has_moved || shared.meter.progress().payload_bytes > 0;
    if matches!(stop, Stop::Deadline) && has_begun && !shared.transfer.plan_only {
        return Ok(());
    }
    shared.note_moved(moved.into_iter());
    Err(stop)
}

/// Stands in for a destination that a plan alone does not make, and of which nothing is known.
fn unknown_root(shared: &Shared) -> Root {
    Root {
        index: RootIndex(u32::MAX),
        path: shared.transfer.destination.path.clone(),
        device: 0,
        inode: 0,
        machine: [0; 16],
        space: Space { bytes_free: u64::MAX, inodes_free: None, volatile: false },
    }
}

async fn move_all(
    shared: &Shared,
    opened: &Opened,
    begun: Option<SourceList>,
) -> Result<Summary, Stop> {
    let state = shared.connector.state_directory().map_err(Stop::State)?;
    let unknown = unknown_root(shared);
    let (root, early) = tokio::select! {
        there = open_destination(shared, opened) => there?,
        () = shared.cancel.cancelled() => return Err(Stop::Cancelled),
        () = shared.deadline() => return Err(Stop::Deadline),
    };
    let early = Early { source: begun, ..early };
    let to = root.as_ref().or(opened.foreseen.as_ref()).unwrap_or(&unknown);
    let mut manifest = None;
    if !shared.transfer.plan_only {
        manifest = Some(Manifest::begin(&state, &shared.connector)?);
        let _as_far_as_it_went =
            forget_unused(&state.child("records")?, shared.clock.now().seconds);
    }
    shared.observer.observe(&Event::Phase(Phase::Scan));
    let mut pending = Scanned { early, is_there: root.is_some(), ..Scanned::default() };
    // On the heap: who calls this from futures of its own has a type that stays in bounds.
    let moving = Box::pin(move_mappings(shared, opened, to, &state, &mut manifest, &mut pending));
    let both = opened.two(to);
    // Asked meanwhile, so that nobody waits for it at the end.
    let asking = async {
        Ok(if shared.transfer.plan_only { None } else { Some(provenance(shared, &both).await) })
    };
    let moved = tokio::try_join!(within_limits(shared, opened, moving), asking);
    let Scanned { moved: contexts, scanned, .. } = pending;
    // A plan alone leaves them as they are.
    drop(scanned);
    let (is_cut, told) = match moved {
        Ok(((), told)) => (false, told),
        Err(stop) => {
            end_early(shared, opened, &contexts, stop).await?;
            (true, Some(provenance(shared, &both).await))
        }
    };
    shared.observer.observe(&Event::Phase(Phase::Verify));
    if shared.transfer.plan_only {
        // A plan tells the route, which nothing has had to wait for.
        for end in opened.ends() {
            end.decided().await;
        }
    } else {
        finish(shared, opened, to, &contexts).await?;
    }
    let told = told.map(|told| Box::new(told.ended(&*shared.clock)));
    for text in opened.ends().flat_map(Connected::later_notices) {
        shared.observer.observe(&Event::Notice(text));
    }
    let route = opened.ends().find_map(Connected::route_now);
    let route = Some(route.unwrap_or_else(Route::local));
    let overhead_bytes = opened.ends().map(|e| e.overhead_bytes()).sum();
    let shrunk_bytes = opened.ends().map(|e| e.shrunk_bytes()).sum();
    let (root, provenance) = (to.path.clone(), told);
    let ends = Ends { root, route, overhead_bytes, shrunk_bytes, provenance, is_cut };
    let (summary, kept) = wrap_up(shared, contexts, ends, manifest, &state)?;
    let (sink, number) = (&*opened.sink.sink, opened.publishings.fetch_add(1, Ordering::Relaxed));
    leave_receipt(shared, sink, to.index, number, &summary, kept.as_deref()).await?;
    Ok(summary)
}

/// Ends the writing.
async fn finish(
    shared: &Shared,
    opened: &Opened,
    to: &Root,
    contexts: &[Arc<Context>],
) -> Result<(), Stop> {
    let durable = shared.transfer.options.verify.level.is_durable();
    let finished = opened.sink.sink.finish(Finish { root: to.index, durable }).await;
    if let Err(EndpointError::Fault(_)) = &finished {
        // Nobody knows which bytes are lost.
        contexts.iter().filter_map(|cx| cx.tail.as_ref()).for_each(Tail::discard);
    }
    if finished.is_err() && durable {
        // An answer that was lost may have been that of a failed sync.
        contexts.iter().for_each(|cx| cx.note_unsynced());
    }
    finished.map_err(|e| Context::stop(Side::Destination, e))
}

/// Moves until all is there, until more than may has crossed a proxy, or until the time is over.
async fn within_limits(
    shared: &Shared,
    opened: &Opened,
    moving: impl Future<Output = Result<(), Stop>>,
) -> Result<(), Stop> {
    let limit = opened.proxy_limit(shared);
    let exceeded = async {
        match &limit {
            Some(limit) => limit.exceeded(shared).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(moving);
    let stop = tokio::select! {
        moved = &mut moving => return moved,
        stop = exceeded => stop,
        () = shared.deadline() => Stop::Deadline,
    };
    opened.cancel.cancel();
    // The last of it may have come meanwhile.
    match tokio::time::timeout(STOP_DEADLINE, moving).await {
        Ok(Ok(())) => Ok(()),
        Err(_) | Ok(Err(Stop::Cancelled | Stop::Lost(_))) => Err(stop),
        // What went wrong is graver than that the time was over.
        Ok(Err(graver)) if matches!(stop, Stop::Deadline) => Err(graver),
        Ok(Err(_)) => Err(stop),
    }
}

/// Scans every mapping, then moves them: whether all fits is known before the first byte, unless
/// there is room in plenty.
async fn move_mappings(
    shared: &Shared,
    opened: &Opened,
    to: &Root,
    state: &StateDirectory,
    manifest: &mut Option<Manifest>,
    pending: &mut Scanned,
) -> Result<(), Stop> {
    let roots = mapped_roots(shared, opened, to)?;
    let reserve = shared.transfer.options.disk.reserve;
    let (began, sent) = (shared.clock.elapsed(), shared.meter.begin_session());
    let limit = opened.proxy_limit(shared);
    let bill = Bill::of(shared, &opened.sources, &opened.of_request, &opened.sink);
    let removes = shared.transfer.options.removal.when.is_some();
    let waits = removes || limit.is_some() || bill.as_ref().is_some_and(Bill::is_capped);
    let preflight = Preflight::new(to.space, reserve, began, sent).waiting(waits);
    let preflight = Arc::new(preflight);
    for (at, (mapping, (root, paths))) in opened.mappings.iter().zip(roots).enumerate() {
        let source = &opened.sources[opened.of_request[mapping.source]];
        let machines = [root.machine_over_boots(), to.machine_over_boots()];
        let ends = [machines[0], &paths.source[..], machines[1], &paths.destination];
        let key = RecordKey::of(&ends);
        let (record, kept) = kept(shared, state, key, to, manifest.take())?;
        let cx = context(shared, opened, source, mapping, (root.index, to.index), at, kept);
        let is_there = pending.is_there;
        let comparable = is_there && cx.policy.inodes && root.machine == to.machine;
        let beside = comparable.then_some(to);
        pending.moved.push(Arc::clone(&cx));
        let may_lead = pending.scanned.is_empty();
        let plan_only = shared.transfer.plan_only;
        let removals = Removals::of(shared, &cx)?;
        let dispatcher = Dispatcher::new(&cx, &preflight, removals, may_lead, plan_only)?;
        let early = std::mem::take(&mut pending.early);
        let scanned = scan_one(shared, &cx, dispatcher, record, is_there, beside, early).await;
        let scanned = scanned.map_err(|stop| shared.of_source(mapping.source, stop))?;
        *manifest = cx.ledger.manifest();
        pending.scanned.push((cx, scanned.0, scanned.1));
        if pending.files() > FILES_WAITING_MAX && preflight.may_begin(shared.clock.elapsed()) {
            pending.move_scanned(shared).await?;
        }
    }
    pending.settle_removals(shared, &preflight).await?;
    shared.observer.observe(&Event::Plan(preflight.complete()));
    preflight.check()?;
    if let Some(limit) = &limit {
        pending.make_bytes_known(&preflight, limit, shared.transfer.plan_only).await?;
    }
    if let Some(bill) = &bill {
        pending.make_cost_known(shared, &preflight, bill).await?;
    }
    if shared.is_due() {
        return Err(Stop::Deadline);
    }
    if !shared.transfer.plan_only {
        pending.make_room_known(&preflight).await?;
        pending.remove_first(shared).await?;
        pending.move_scanned(shared).await?;
    }
    Ok(())
}

fn context(
    shared: &Shared,
    opened: &Opened,
    source: &Connected,
    mapping: &Mapping,
    roots: (RootIndex, RootIndex),
    at: usize,
    kept: Option<(Kept, Notes)>,
) -> Arc<Context> {
    let options = Arc::new(shared.transfer.options.clone());
    let (kept, notes) = kept.unzip();
    let (tail, unsynced) = notes.unzip();
    let (from, to) = (source.source.capabilities(), opened.sink.sink.capabilities());
    let modified = match from.metadata.modified {
        TimeGrain::Seconds => to.metadata.modified.min(TimeGrain::Seconds),
        // A source that keeps no times still has some.
        TimeGrain::Nothing | TimeGrain::Nanoseconds => to.metadata.modified,
    };
    let policy = Policy {
        compare: options.selection.compare,
        leaves: options.selection.leaves,
        preserve: options.preserve,
        keeps: MetadataKinds { modified, ..to.metadata },
        inodes: from.inodes && to.inodes,
    };
    Arc::new(Context {
        source: Arc::clone(&source.source),
        source_root: roots.0,
        sink: Arc::clone(&opened.sink.sink),
        sink_root: roots.1,
        withholds_secrets: opened.sink.rented.is_some() && !options.selection.allow_secrets,
        mapping: mapping.clone(),
        options,
        policy,
        ledger: Ledger::new(kept, Arc::clone(&shared.observer)),
        tail,
        unsynced,
        meter: Arc::clone(&shared.meter),
        publisher: Publisher::numbered_from(
            at as u64 * PARTIALS_SPAN,
            Arc::clone(&opened.publishings),
        ),
        load_check: CopyCheck::of(&shared.transfer.options, &opened.sink),
        bases: Bases::default(),
        aside: Aside::default(),
        passage: opened.way.passage.clone(),
        within: opened.way.within.clone(),
        spare: OnceLock::new(),
        budget: match &opened.way.passage {
            None => Budget::new(source.source.window(), u64::MAX),
            Some(passage) => Budget::new(u64::MAX, passage.window()),
        },
        pacer: Arc::clone(&shared.pacer),
        observer: Arc::clone(&shared.observer),
        clock: Arc::clone(&shared.clock),
        halt: Halt::under(&opened.cancel),
    })
}

/// What is written down while a mapping is moved.
type Notes = (Tail, Unsynced);

/// What an earlier transfer recorded, and what is kept on this machine while a mapping is moved; a
/// plan alone writes nothing.
fn kept(
    shared: &Shared,
    state: &StateDirectory,
    key: RecordKey,
    to: &Root,
    manifest: Option<Manifest>,
) -> Result<(RecordReader, Option<(Kept, Notes)>), Stop> {
    let records = state.child("records")?;
    if shared.transfer.plan_only {
        return Ok((RecordReader::open(&records, key)?, None));
    }
    let unique = || shared.connector.unique();
    // A record is a cache: where it cannot be brought up to date, more is compared.
    let _as_far_as_it_went = fold_tail(&records, key, unique());
    let old = RecordReader::open(&records, key)?;
    let record = RecordDraft::after(&old, &records, key, unique());
    let spool = state.spool(unique())?;
    let asked = shared.transfer.options.verify.level;
    let unsynced = Unsynced::of(records.clone(), &to.machine, to.device, unique())?;
    let notes = (Tail::new(records, key), unsynced);
    Ok((old, Some((Kept { spool, manifest, record, asked }, notes))))
}

/// Opens the root of every mapping's source.
async fn open_sources(
    shared: &Shared,
    sources: &[Connected],
    of_request: &[usize],
    mappings: &[Mapping],
) -> Result<Vec<Root>, Stop> {
    let mut roots = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        let source = &sources[of_request[mapping.source]];
        let open = OpenRoot { path: mapping.source_root.clone(), access: Access::Read };
        let root = source.source.open_root(open).await;
        let stop = |e| shared.of_source(mapping.source, Context::stop(Side::Source, e));
        roots.push(root.map_err(stop)?);
    }
    Ok(roots)
}

/// Where all goes is told before anything is scanned.
fn mapped_roots<'a>(
    shared: &Shared,
    opened: &'a Opened,
    to: &Root,
) -> Result<Vec<(&'a Root, MappedPath)>, Stop> {
    let mut roots = Vec::with_capacity(opened.mappings.len());
    for (mapping, root) in opened.mappings.iter().zip(&opened.source_roots) {
        let paths = refuse_nesting(shared, mapping, root, to)?;
        shared.observer.observe(&Event::Mapped {
            source: paths.source.clone(),
            destination: paths.destination.clone(),
        });
        roots.push((root, paths));
    }
    Ok(roots)
}
