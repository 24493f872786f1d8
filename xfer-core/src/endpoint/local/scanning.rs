//! Scans under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits::{SCAN_BATCHES_KEPT, SCANS_MAX};
use xfer_protocol::manifest::ScanItem;
use xfer_protocol::message::{Scan, ScanBatch, ScanIndex, ScanNext};
use xfer_protocol::path::RelPath;

use super::roots::OpenRoot;
use super::{Shared, guard};
use crate::disk::fault::fault;
use crate::scan::{Step, Walk, ahead};

#[derive(Default)]
pub(super) struct Scans(Mutex<Table>);

#[derive(Default)]
struct Table {
    scans: BTreeMap<ScanIndex, Arc<tokio::sync::Mutex<Running>>>,
    begun: u32,
}

/// A scan whose batches are taken one after the other, and kept until their answers have come.
struct Running {
    root: Arc<OpenRoot>,
    batches: Option<mpsc::Receiver<Step>>,
    /// Those that may be asked for again, in order.
    kept: VecDeque<ScanBatch>,
    /// The number of the next one.
    next: u64,
}

impl Scans {
    pub(super) fn clear(&self) {
        guard(&self.0).scans.clear();
    }
}

impl Shared {
    pub(super) fn scan(&self, scan: Scan) -> Result<ScanIndex, Fault> {
        let root = self.root(scan.root, Operation::List)?;
        let batches = begin(&root, scan)?;
        let mut table = guard(&self.scans.0);
        if table.scans.len() >= SCANS_MAX && !table.forget_ended() {
            return Err(Fault::new(FaultKind::Limit, Operation::List, RelPath::root()));
        }
        let index = ScanIndex(table.begun);
        table.begun = table.begun.wrapping_add(1);
        let running = Running { root, batches: Some(batches), kept: VecDeque::new(), next: 0 };
        table.scans.insert(index, Arc::new(tokio::sync::Mutex::new(running)));
        Ok(index)
    }

    pub(super) async fn scan_next(&self, next: ScanNext) -> Result<ScanBatch, Fault> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::List, RelPath::root());
        let running =
            guard(&self.scans.0).scans.get(&next.scan).map(Arc::clone).ok_or_else(unknown)?;
        let mut running = running.lock().await;
        running.batch(next.sequence).await.ok_or_else(unknown)
    }
}

impl Table {
    /// Forgets the oldest scan that has ended; whether there was one.
    fn forget_ended(&mut self) -> bool {
        let has_ended = |running: &Arc<tokio::sync::Mutex<Running>>| {
            running.try_lock().is_ok_and(|running| running.batches.is_none())
        };
        let oldest = self.scans.iter().find(|(_, running)| has_ended(running));
        let oldest = oldest.map(|(index, _)| *index);
        oldest.is_some_and(|index| self.scans.remove(&index).is_some())
    }
}

impl Running {
    /// A batch that is kept or due; `None` for one that is neither, or of a walk that broke off.
    /// Waits with nothing taken, so that a call which is dropped has happened or has not.
    async fn batch(&mut self, sequence: u64) -> Option<ScanBatch> {
        if sequence >= self.next.saturating_add(SCAN_BATCHES_KEPT) {
            return None;
        }
        while self.next <= sequence {
            let (items, last) = match &mut self.batches {
                Some(batches) => match batches.recv().await? {
                    Step::Items(items) => (items, false),
                    Step::Last(items) => (items, true),
                },
                None => (Vec::new(), true),
            };
            if last {
                self.batches = None;
            }
            let entries = items.iter().filter_map(|item| match item {
                ScanItem::Entry(entry) => Some(entry),
                _ => None,
            });
            entries.for_each(|entry| self.root.rely_on_scanned(entry));
            self.kept.push_back(ScanBatch { sequence: self.next, items, last });
            self.next += 1;
        }
        let is_had =
            |batch: &ScanBatch| batch.sequence.saturating_add(SCAN_BATCHES_KEPT) <= sequence;
        while self.kept.front().is_some_and(is_had) {
            self.kept.pop_front();
        }
        self.kept.iter().find(|batch| batch.sequence == sequence).cloned()
    }
}

/// Batches that a scan may be ahead of whoever takes them.
const BATCHES_AHEAD: usize = 4;

fn begin(root: &OpenRoot, scan: Scan) -> Result<mpsc::Receiver<Step>, Fault> {
    let failed = |errno| fault(errno, Operation::List, &scan.under);
    let place = rustix::io::fcntl_dupfd_cloexec(root.place(), 0).map_err(failed)?;
    if scan.options.follow_links {
        root.follow_links();
    }
    let walk = Walk::new(place, &scan.under, scan.options)?;
    let no_thread = |_| Fault::new(FaultKind::Limit, Operation::List, scan.under.clone());
    ahead(walk, BATCHES_AHEAD).map_err(no_thread)
}
