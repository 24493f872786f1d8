//! Two listings in step: what stands at the destination is found while the source is listed.

use std::sync::Arc;

use futures_util::future::join_all;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{Paths, Root, Scan, ScanBatch, ScanIndex, ScanOptions};
use xfer_protocol::path::{PathError, RelPath};

use super::Shared;
use super::batch::{Most, batches};
use super::context::{Context, Stop, fault};
use super::dispatch::Dispatcher;
use super::ledger::Side;
use super::listing::Listing;
use super::refusals::refuse_recursion;
use super::settling::{Settled, Unsettled};
use crate::disk::{in_place_name, partial_name};
use crate::endpoint::{EndpointError, EndpointResult, Source};
use crate::journal::RecordReader;
use crate::options::TransferOptions;
use crate::plan::mapping::Mapping;

/// Scans that began before their turn.
#[derive(Default)]
pub(super) struct Early {
    /// Of the source.
    pub(super) source: Option<SourceList>,
    /// Of what stands at the destination, in the order of [`lists_of`].
    pub(super) there: Option<Lists>,
}

/// The first batch of each list, or why there is none.
type Lists = Vec<Result<(ScanIndex, ScanBatch), Fault>>;

/// The list of a source, and which of its files are still being written.
pub(super) struct SourceList {
    listing: Listing,
    settled: Option<Settled>,
}

impl SourceList {
    /// Asks what is being written, and begins to list: whatever changes meanwhile is later.
    pub(super) async fn begin(
        shared: &Shared,
        source: &Arc<dyn Source>,
        scan: Scan,
    ) -> EndpointResult<Self> {
        let age = shared.transfer.options.selection.settle.time;
        let (finished, clock) = (&shared.finished, &*shared.clock);
        let settled = Settled::ask(&**source, scan.root, age, finished, clock).await?;
        Ok(Self { listing: Listing::begin(Arc::clone(source), scan).await?, settled })
    }

    pub(super) async fn next(&mut self) -> EndpointResult<Option<ScanItem>> {
        self.listing.next().await
    }

    /// Why a file is left for later, where it is.
    pub(super) fn leaves(&self, entry: &Entry) -> Option<Unsettled> {
        self.settled.as_ref().and_then(|settled| settled.of(entry))
    }
}

/// What is listed at the destination of a mapping: the entry itself, and the partials beside it
/// that an earlier session may have left.
pub(super) fn lists_of(
    mapping: &Mapping,
    options: &TransferOptions,
) -> Vec<(RelPath, ScanOptions)> {
    let partials = partials_of(&mapping.top).map(|partial| (partial, ScanOptions::default()));
    let top = (mapping.top.clone(), options_there(options));
    std::iter::once(top).chain(partials).collect()
}

fn options_there(options: &TransferOptions) -> ScanOptions {
    ScanOptions {
        xattrs: options.preserve.any_xattrs(),
        owner: options.preserve.owner,
        ..ScanOptions::default()
    }
}

/// Scans both ends of one mapping in step and hands every entry on.
pub(super) async fn scan_one(
    shared: &Shared,
    cx: &Arc<Context>,
    mut dispatcher: Dispatcher,
    mut records: RecordReader,
    is_there: bool,
    beside: Option<&Root>,
    early: Early,
) -> Result<(Dispatcher, Destination), Stop> {
    let stop = |e| Context::stop(Side::Source, e);
    let mut source = match early.source {
        Some(listing) => listing,
        None => {
            let (root, under) = (cx.source_root, cx.mapping.under.clone());
            let scan = Scan { root, under, options: cx.options.source_scan() };
            SourceList::begin(shared, &cx.source, scan).await.map_err(stop)?
        }
    };
    let (mut there, held) = match is_there {
        false => (Destination::nothing(), 0),
        true => begin_there(cx, early.there).await?,
    };
    dispatcher.held(held);
    let mut nothing_yet = true;
    while let Some(item) = source.next().await.map_err(stop)? {
        match item {
            ScanItem::Entry(entry) => {
                refuse_recursion(shared, cx, &entry, beside)?;
                let path = match cx.mapping.destination_of(&entry.path) {
                    Ok(path) => path,
                    // Where it goes it would lie deeper than any path may lead.
                    Err(PathError::TooLong) => {
                        let found = fault(FaultKind::Limit, Operation::Create, &entry.path);
                        cx.ledger.problem(Side::Destination, found);
                        nothing_yet = false;
                        continue;
                    }
                    Err(_) => {
                        return Err(Stop::MISMATCHED);
                    }
                };
                let found = there.find(cx, &path, &mut dispatcher).await?;
                dispatcher.more_there(!there.ended);
                if source.leaves(&entry).is_some() {
                    dispatcher.defer(&entry, &path);
                } else {
                    let recorded = records.find(&path);
                    dispatcher.entry(entry, path, found, recorded).await?;
                }
            }
            ScanItem::Excluded(path) => {
                if let Some(removals) = dispatcher.removals() {
                    removals.excluded(cx, &path);
                }
                cx.ledger.exclude(&path);
            }
            ScanItem::Partial { path, .. } => {
                cx.source_problem(fault(FaultKind::Unsafe, Operation::List, &path));
            }
            ScanItem::Problem(found) if nothing_yet && found.kind == FaultKind::NotFound => {
                return Err(Stop::Fault(Side::Source, found));
            }
            ScanItem::Problem(found) => cx.source_problem(found),
        }
        nothing_yet = false;
    }
    there.drain(cx, &mut dispatcher).await?;
    dispatcher.scanned().await?;
    Ok((dispatcher, there))
}

/// Begins to list the destination, unless that was begun, and finds what the partials beside the
/// mapped entry hold.
async fn begin_there(cx: &Context, early: Option<Lists>) -> Result<(Destination, u64), Stop> {
    let begun = |list: Result<_, Fault>| match list {
        Ok(first) => Ok(Listing::begun(Arc::clone(&cx.sink), first)),
        Err(fault) => Err(fault.into()),
    };
    let lists: Vec<_> = if let Some(early) = early {
        early.into_iter().map(begun).collect()
    } else {
        let lists = lists_of(&cx.mapping, &cx.options).into_iter().map(|(under, options)| {
            let scan = Scan { root: cx.sink_root, under, options };
            Listing::begin(Arc::clone(&cx.sink), scan)
        });
        join_all(lists).await
    };
    let mut lists = lists.into_iter();
    let mut destination = match lists.next() {
        Some(top) => Destination::of(top)?,
        None => Destination::nothing(),
    };
    let mut held = 0;
    for (listing, partial) in lists.zip(partials_of(&cx.mapping.top)) {
        if let Some(allocated) = held_by(listing).await {
            held += allocated;
            destination.partials.push(partial);
        }
    }
    Ok((destination, held))
}

/// Bytes that a partial of a single file holds: it lies beside the mapped entry, not below it.
async fn held_by(partial: EndpointResult<Listing>) -> Option<u64> {
    match partial.ok()?.next().await {
        Ok(Some(ScanItem::Partial { allocated, .. })) => Some(allocated),
        Ok(Some(ScanItem::Entry(entry))) => match entry.kind {
            EntryKind::File { allocated, .. } => Some(allocated),
            _ => None,
        },
        _ => None,
    }
}

/// What stands at the destination, read in step with the source.
pub(super) struct Destination {
    listing: Option<Listing>,
    next: Option<Entry>,
    ended: bool,
    partials: Vec<RelPath>,
}

impl Destination {
    fn nothing() -> Self {
        Self { listing: None, next: None, ended: true, partials: Vec::new() }
    }

    fn of(listing: EndpointResult<Listing>) -> Result<Self, Stop> {
        let listing = match listing {
            Err(EndpointError::Fault(f)) if f.kind == FaultKind::NotFound => None,
            other => Some(other.map_err(|e| Context::stop(Side::Destination, e))?),
        };
        Ok(Self { ended: listing.is_none(), listing, next: None, partials: Vec::new() })
    }

    /// The entry at `path`, `None` where there is none. Paths must be asked for in order.
    async fn find(
        &mut self,
        cx: &Context,
        path: &RelPath,
        dispatcher: &mut Dispatcher,
    ) -> Result<Option<Entry>, Stop> {
        loop {
            match self.next.take() {
                Some(entry) if entry.path < *path => dispatcher.foreign(&entry),
                Some(entry) if entry.path == *path => return Ok(Some(entry)),
                Some(later) => {
                    self.next = Some(later);
                    return Ok(None);
                }
                None if self.ended => return Ok(None),
                None => {}
            }
            self.advance(cx, dispatcher).await?;
        }
    }

    async fn advance(&mut self, cx: &Context, dispatcher: &mut Dispatcher) -> Result<(), Stop> {
        let item = match self.listing.as_mut() {
            Some(listing) => listing.next().await,
            None => Ok(None),
        };
        match item.map_err(|e| Context::stop(Side::Destination, e))? {
            None => self.ended = true,
            Some(ScanItem::Entry(entry)) if entry.path.starts_with(&cx.mapping.top) => {
                if let Some(removals) = dispatcher.removals() {
                    removals.stands(cx, &entry.path);
                }
                self.next = Some(entry);
            }
            Some(ScanItem::Entry(_)) => {
                return Err(Stop::MISMATCHED);
            }
            Some(ScanItem::Partial { path, allocated }) => {
                dispatcher.partial(&path, allocated);
                self.partials.push(path);
            }
            // What cannot be listed counts as absent; writing there will tell why.
            Some(ScanItem::Excluded(_)) => {}
            Some(ScanItem::Problem(found)) => {
                if let Some(removals) = dispatcher.removals() {
                    removals.unlisted(found);
                }
            }
        }
        Ok(())
    }

    async fn drain(&mut self, cx: &Context, dispatcher: &mut Dispatcher) -> Result<(), Stop> {
        loop {
            if let Some(entry) = self.next.take() {
                dispatcher.foreign(&entry);
            }
            if self.ended {
                return Ok(());
            }
            self.advance(cx, dispatcher).await?;
        }
    }

    /// Removes partials that nothing will resume: all but those of entries that failed, or are left
    /// for later.
    pub(super) async fn remove_partials(self, cx: &Context) -> Result<(), Stop> {
        let left = cx.ledger.left_paths();
        let kept: Vec<_> = left.iter().flat_map(partials_of).collect();
        let stale = self.partials.into_iter().filter(|p| !kept.contains(p));
        for paths in batches(stale, Most::entries(1024)) {
            let paths = Paths { root: cx.sink_root, paths };
            let removed = cx.sink.remove_partials(paths).await;
            removed.map_err(|e| Context::stop(Side::Destination, e))?;
        }
        Ok(())
    }
}

/// Where partials of a file may be.
fn partials_of(path: &RelPath) -> impl Iterator<Item = RelPath> {
    let names = path.name().map(|name| [Some(partial_name(name)), in_place_name(name)]);
    let (names, parent) = (names.into_iter().flatten().flatten(), path.parent());
    names.filter_map(move |name| parent.as_ref()?.child(&name).ok())
}
