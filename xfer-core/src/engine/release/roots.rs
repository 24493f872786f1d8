//! One protected root: listed, written back, hashed, and looked at again.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{
    Access, FilterRules, OpenRoot, Reading, Root, RootIndex, Scan, ScanOptions,
};
use xfer_protocol::path::RelPath;

use super::Collecting;
use super::lines::LineFile;
use super::quick::Stamps;
use crate::endpoint::{EndpointError, EndpointResult, Source};
use crate::engine::batch::{Batch, Carried};
use crate::engine::hashing::{HASHED, hash_batch};
use crate::engine::listing::Listing;
use crate::gate::coverage::{Scanned, Tally};
use crate::gate::evidence::{Moment, ScanFailure};
use crate::receipt::manifest_entry;

/// Batches that are hashed at a time.
const BATCHES_HASHED: usize = 3;

/// What a listing came to.
pub(super) struct ScannedRoot {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) written_back: bool,
    /// What was found, for the fold.
    pub(super) lines: LineFile<Scanned>,
    /// What could not be listed, and stands in no order.
    pub(super) unlisted: Tally,
    /// The stamp of every entry with its path.
    prints: HashSet<[u8; 16]>,
}

/// Why a root is not scanned: for a reason of its own, or because all ends here.
pub(super) enum RootStop {
    Failed(ScanFailure),
    Ended(crate::error::TransferError),
}

impl From<EndpointError> for RootStop {
    fn from(error: EndpointError) -> Self {
        Self::Failed(failure(&error))
    }
}

impl From<crate::disk::state::StateError> for RootStop {
    fn from(error: crate::disk::state::StateError) -> Self {
        Self::Ended(crate::engine::outcome::state(error))
    }
}

/// What keeps a root from being known.
pub(super) fn failure(error: &EndpointError) -> ScanFailure {
    match error {
        EndpointError::Fault(fault) => match fault.kind {
            FaultKind::NotFound => ScanFailure::Missing,
            FaultKind::Conflict => ScanFailure::NoDirectory,
            _ => ScanFailure::Unreachable(fault.to_string()),
        },
        EndpointError::Lost(_) => ScanFailure::Unreachable(error.to_string()),
        EndpointError::Protocol(_) => ScanFailure::Broken(error.to_string()),
    }
}

/// Opens a root; one that is a link is none.
pub(super) async fn open(source: &dyn Source, path: &[u8]) -> Result<Root, RootStop> {
    let open = OpenRoot { path: path.to_vec(), access: Access::Read };
    let root = source.open_root(open).await?;
    if root.path == path { Ok(root) } else { Err(RootStop::Failed(ScanFailure::NoDirectory)) }
}

async fn list(
    source: &Arc<dyn Source>,
    root: RootIndex,
    filter: Option<&FilterRules>,
) -> EndpointResult<Listing> {
    let filter = filter.cloned().unwrap_or_default();
    let options = ScanOptions { filter, ..ScanOptions::default() };
    let scan = Scan { root, under: RelPath::root(), options };
    Listing::begin(Arc::clone(source), scan).await
}

impl Collecting {
    /// Lists a root, has it written back, then hashes all of it: stamped, synced, hashed, so that
    /// no store in between stays unseen.
    pub(super) async fn scan_root(
        &self,
        source: &Arc<dyn Source>,
        path: &[u8],
        filter: Option<&FilterRules>,
    ) -> Result<ScannedRoot, RootStop> {
        let root = open(&**source, path).await?.index;
        let began = self.moment();
        let mut listed = LineFile::<ScanItem>::new(&self.state, &self.connector)?;
        let (mut prints, mut unlisted) = (HashSet::new(), Tally::default());
        let mut listing = list(source, root, filter).await?;
        while let Some(item) = self.unless_stopped(listing.next()).await? {
            match &item {
                ScanItem::Entry(entry) => drop(prints.insert(print(entry))),
                ScanItem::Problem(fault) => unlisted.add(&fault.path, 0),
                // Half of a file that somebody is sending here.
                ScanItem::Partial { path, allocated } => unlisted.add(path, *allocated),
                ScanItem::Excluded(path) => drop(prints.insert(print_of_excluded(path))),
            }
            listed.add(&item)?;
        }
        let written_back = self.unless_stopped(source.write_back(root)).await;
        let written_back = match written_back {
            Err(RootStop::Failed(_)) => false,
            other => other.map(|()| true)?,
        };
        let lines = self.hash_listed(source, root, &mut listed).await?;
        let ended = self.moment();
        Ok(ScannedRoot { began, ended, written_back, lines, unlisted, prints })
    }

    async fn hash_listed(
        &self,
        source: &Arc<dyn Source>,
        root: RootIndex,
        listed: &mut LineFile<ScanItem>,
    ) -> Result<LineFile<Scanned>, RootStop> {
        let mut lines = LineFile::new(&self.state, &self.connector)?;
        let go_on = || !self.cancel.is_cancelled();
        let hashing = stream::iter(Batches::of(listed.read()?))
            .map(|items| async move {
                let items = items.map_err(|error| ScanFailure::Broken(error.to_string()))?;
                let entries = items.iter().filter_map(|item| match item {
                    ScanItem::Entry(entry) => Some(entry.clone()),
                    _ => None,
                });
                let entries = entries.collect();
                let hashed = hash_batch(&**source, root, entries, Reading::Cached, go_on).await;
                Ok((items, hashed.map_err(|error| failure(&error))?.0))
            })
            .buffered(BATCHES_HASHED);
        let mut hashing = std::pin::pin!(hashing);
        loop {
            let next = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(RootStop::Ended(Self::stopped())),
                next = hashing.next() => next,
            };
            let Some(hashed) = next else { return Ok(lines) };
            let (items, rows) = hashed.map_err(RootStop::Failed)?;
            let mut rows = rows.into_iter();
            for item in items {
                let line = match item {
                    ScanItem::Entry(entry) => scanned(entry, rows.next().map(|row| row.1)),
                    ScanItem::Excluded(path) => Scanned::Excluded(path),
                    ScanItem::Problem(_) | ScanItem::Partial { .. } => continue,
                };
                lines.add(&line)?;
            }
        }
    }

    /// Lists a root once more: what has another stamp than it had, is new, or is gone.
    pub(super) async fn changed_since(
        &self,
        source: &Arc<dyn Source>,
        path: &[u8],
        filter: Option<&FilterRules>,
        scanned: &ScannedRoot,
    ) -> Result<Tally, RootStop> {
        let root = open(&**source, path).await?.index;
        let mut listing = list(source, root, filter).await?;
        let (mut changed, mut same) = (Tally::default(), 0_u64);
        while let Some(item) = self.unless_stopped(listing.next()).await? {
            match item {
                ScanItem::Entry(entry) if scanned.prints.contains(&print(&entry)) => same += 1,
                ScanItem::Entry(entry) => changed.add(&entry.path, entry.kind.size()),
                ScanItem::Problem(fault) => changed.add(&fault.path, 0),
                ScanItem::Excluded(path) if scanned.prints.contains(&print_of_excluded(&path)) => {
                    same += 1;
                }
                ScanItem::Excluded(path) => changed.add(&path, 0),
                ScanItem::Partial { path, allocated } => changed.add(&path, allocated),
            }
        }
        let gone = (scanned.prints.len() as u64).saturating_sub(same);
        // One that changed counts once, though its old stamp is gone as well.
        changed.count = changed.count.max(gone);
        Ok(changed)
    }
}

/// What is known of an entry once it was hashed.
fn scanned(
    entry: Entry,
    digest: Option<Result<Option<Digest>, xfer_protocol::fault::Fault>>,
) -> Scanned {
    match (&entry.kind, digest) {
        // They hold nothing that could be copied, and something that is lost.
        (EntryKind::Socket | EntryKind::Fifo | EntryKind::Device(_), _) => {
            Scanned::Skipped(entry.path)
        }
        (kind, Some(Ok(digest))) => {
            Scanned::Entry(manifest_entry(entry.path, kind, &entry.metadata, digest))
        }
        (_, Some(Err(fault))) if matches!(fault.kind, FaultKind::Changed | FaultKind::NotFound) => {
            Scanned::Changing(entry.path)
        }
        (_, Some(Err(_)) | None) => Scanned::Unreadable(entry.path),
    }
}

/// An entry's path and stamp in few bytes.
fn print(entry: &Entry) -> [u8; 16] {
    let mut stamps = Stamps::new();
    stamps.add(entry);
    let mut print = [0; 16];
    print.copy_from_slice(&stamps.finish().as_bytes()[..16]);
    print
}

/// The same of what a filter left out, of which the path is all that is known.
fn print_of_excluded(path: &RelPath) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("xfer gate excluded print 1");
    hasher.update(path.as_bytes());
    let mut print = [0; 16];
    print.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    print
}

/// Cuts a list into what is hashed in one request each.
struct Batches<I> {
    items: I,
    batch: Batch<ScanItem>,
    ended: bool,
}

impl<I> Batches<I> {
    fn of(items: I) -> Self {
        Self { items, batch: Batch::new(HASHED), ended: false }
    }
}

impl<I, E> Iterator for Batches<I>
where
    I: Iterator<Item = Result<ScanItem, E>>,
{
    type Item = Result<Vec<ScanItem>, E>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.items.next() {
                Some(Ok(item)) => {
                    if let Some(full) = self.batch.push(item) {
                        return Some(Ok(full));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => self.ended = true,
            }
        }
        Some(self.batch.take()).filter(|batch| !batch.is_empty()).map(Ok)
    }
}

impl Carried for ScanItem {
    fn header_bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.header_bytes(),
            Self::Excluded(_) | Self::Problem(_) | Self::Partial { .. } => 0,
        }
    }

    fn content_bytes(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.content_bytes(),
            Self::Excluded(_) | Self::Problem(_) | Self::Partial { .. } => 0,
        }
    }
}
