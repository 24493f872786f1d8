//! A scan as one ordered stream of items, a few batches ahead of its reader.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{Scan, ScanBatch, ScanIndex, ScanNext};
use xfer_protocol::path::RelPath;

use crate::endpoint::{Endpoint, EndpointError, EndpointResult, LostReason};

/// Batches asked for at once: hides the round trips of a long link, and no more than are kept to be
/// told again.
const BATCHES_AHEAD: usize = 6;

/// The items of one scan, in order.
pub(super) struct Listing {
    batches: mpsc::Receiver<EndpointResult<ScanBatch>>,
    items: VecDeque<ScanItem>,
    /// Whether the last batch is among those that came.
    ended: bool,
    order: Order,
    _reader: JoinSet<()>,
}

/// What a scan may list next. A peer's list is believed no more than its names: one entry twice, or
/// one below what is no directory, would be written through something else.
struct Order {
    /// Whether directories are entries of their own; without them, files alone are listed.
    lists_directories: bool,
    last: Option<RelPath>,
    /// The directories that lead to the last entry.
    directories: Vec<RelPath>,
}

impl Order {
    fn admit(&mut self, entry: &Entry) -> Result<(), Fault> {
        let unsafe_entry = || Fault::new(FaultKind::Unsafe, Operation::List, entry.path.clone());
        if let Some(last) = &self.last {
            if entry.path <= *last || !self.lists_directories && entry.path.starts_with(last) {
                return Err(unsafe_entry());
            }
            let leads_here = |directory: &RelPath| entry.path.starts_with(directory);
            while self.directories.last().is_some_and(|d| !leads_here(d)) {
                self.directories.pop();
            }
            if self.lists_directories && self.directories.last() != entry.path.parent().as_ref() {
                return Err(unsafe_entry());
            }
        }
        if entry.kind == EntryKind::Directory {
            self.directories.push(entry.path.clone());
        }
        self.last = Some(entry.path.clone());
        Ok(())
    }
}

impl Listing {
    /// Begins a scan.
    pub(super) async fn begin<E>(endpoint: Arc<E>, scan: Scan) -> EndpointResult<Self>
    where
        E: Endpoint + ?Sized + 'static,
    {
        let lists_directories = endpoint.capabilities().metadata.directories;
        let index = endpoint.scan(scan).await?;
        Ok(Self::from(endpoint, index, lists_directories, None))
    }

    /// A scan that was begun with its first batch.
    pub(super) fn begun<E>(endpoint: Arc<E>, (index, first): (ScanIndex, ScanBatch)) -> Self
    where
        E: Endpoint + ?Sized + 'static,
    {
        let lists_directories = endpoint.capabilities().metadata.directories;
        Self::from(endpoint, index, lists_directories, Some(first))
    }

    fn from<E>(
        endpoint: Arc<E>,
        index: ScanIndex,
        lists_directories: bool,
        first: Option<ScanBatch>,
    ) -> Self
    where
        E: Endpoint + ?Sized + 'static,
    {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let mut reader = JoinSet::new();
        let next = u64::from(first.is_some());
        let (items, ended) = first.map_or((Vec::new(), false), |first| (first.items, first.last));
        if !ended {
            reader.spawn(read_batches(endpoint, index, next, sender));
        }
        let order = Order { lists_directories, last: None, directories: Vec::new() };
        Self { batches, items: items.into(), ended, order, _reader: reader }
    }

    /// The next item, `None` after the last.
    pub(super) async fn next(&mut self) -> EndpointResult<Option<ScanItem>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                if let ScanItem::Entry(entry) = &item {
                    self.order.admit(entry)?;
                }
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            // A list that breaks off is not taken for a shorter tree.
            let broken = EndpointError::Lost(LostReason::Ended);
            let batch = self.batches.recv().await.ok_or(broken)??;
            self.ended = batch.last;
            self.items = batch.items.into();
        }
    }
}

async fn read_batches<E>(
    endpoint: Arc<E>,
    scan: ScanIndex,
    next: u64,
    out: mpsc::Sender<EndpointResult<ScanBatch>>,
) where
    E: Endpoint + ?Sized + 'static,
{
    let ask = |sequence| {
        let endpoint = Arc::clone(&endpoint);
        async move { endpoint.scan_next(ScanNext { scan, sequence }).await }
    };
    let mut batches = pin!(stream::iter(next..).map(ask).buffered(BATCHES_AHEAD));
    while let Some(batch) = batches.next().await {
        let last = batch.as_ref().map_or(true, |batch| batch.last);
        if out.send(batch).await.is_err() || last {
            return;
        }
    }
}
