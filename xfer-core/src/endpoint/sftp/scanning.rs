//! Scans under way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits::{SCAN_BATCHES_KEPT, SCANS_MAX};
use xfer_protocol::manifest::ScanItem;
use xfer_protocol::message::{Scan, ScanBatch, ScanIndex, ScanNext};
use xfer_protocol::path::RelPath;

use super::walk::Walk;
use super::{Shared, guard};
use crate::endpoint::EndpointResult;

/// Batches that a scan may be ahead of whoever takes them.
const BATCHES_AHEAD: usize = 4;

/// Items in the first batch; each later one may have twice as many, up to the last.
const BATCH_ITEMS: (usize, usize) = (64, 1024);

#[derive(Default)]
pub(super) struct Scans(Mutex<HashMap<ScanIndex, Arc<tokio::sync::Mutex<Running>>>>);

/// A scan whose batches are taken one after the other, and kept for those who ask again.
struct Running {
    batches: Option<mpsc::Receiver<EndpointResult<Vec<ScanItem>>>>,
    /// Those that may be asked for again, in order.
    kept: VecDeque<ScanBatch>,
    /// The number of the next one.
    next: u64,
}

impl Scans {
    pub(super) fn clear(&self) {
        guard(&self.0).clear();
    }
}

impl Shared {
    pub(super) async fn scan(self: Arc<Self>, scan: Scan) -> EndpointResult<ScanIndex> {
        let root = self.root(scan.root, Operation::List)?;
        let mut walk = Walk::begin(Arc::clone(&self), root, scan.under, scan.options).await?;
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let closed = self.closed.clone();
        tokio::spawn(async move {
            let mut count = BATCH_ITEMS.0;
            loop {
                let batch = tokio::select! {
                    batch = walk.next(count) => batch,
                    () = closed.cancelled() => return,
                };
                count = (count * 2).min(BATCH_ITEMS.1);
                let ended = !batch.as_ref().is_ok_and(|items| !items.is_empty());
                let empty = batch.as_ref().is_ok_and(Vec::is_empty);
                if empty || sender.send(batch).await.is_err() || ended {
                    return;
                }
            }
        });
        let mut scans = guard(&self.scans.0);
        if scans.len() >= SCANS_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::List, RelPath::root()).into());
        }
        let index = ScanIndex(u32::try_from(scans.len()).unwrap_or(u32::MAX));
        let running = Running { batches: Some(receiver), kept: VecDeque::new(), next: 0 };
        scans.insert(index, Arc::new(tokio::sync::Mutex::new(running)));
        Ok(index)
    }

    pub(super) async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::List, RelPath::root());
        let running = guard(&self.scans.0).get(&next.scan).map(Arc::clone).ok_or_else(unknown)?;
        let mut running = running.lock().await;
        let batch = running.batch(next.sequence).await?;
        self.check_open()?;
        Ok(batch.ok_or_else(unknown)?)
    }
}

impl Running {
    /// A batch that is kept or due; `None` for one that is neither. Waits with nothing taken, so
    /// that a call which is dropped has happened or has not.
    async fn batch(&mut self, sequence: u64) -> EndpointResult<Option<ScanBatch>> {
        if sequence >= self.next.saturating_add(SCAN_BATCHES_KEPT) {
            return Ok(None);
        }
        while self.next <= sequence {
            let items = match &mut self.batches {
                Some(batches) => batches.recv().await.transpose()?,
                None => None,
            };
            let last = items.is_none();
            if last {
                self.batches = None;
            }
            let items = items.unwrap_or_default();
            self.kept.push_back(ScanBatch { sequence: self.next, items, last });
            self.next += 1;
        }
        let had = |batch: &ScanBatch| batch.sequence.saturating_add(SCAN_BATCHES_KEPT) <= sequence;
        while self.kept.front().is_some_and(had) {
            self.kept.pop_front();
        }
        Ok(self.kept.iter().find(|batch| batch.sequence == sequence).cloned())
    }
}
