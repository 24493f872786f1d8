//! Scans under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits::{SCAN_BATCHES_KEPT, SCANS_MAX};
use xfer_protocol::message::{Scan, ScanBatch, ScanIndex, ScanNext};
use xfer_protocol::path::RelPath;

use super::walk::Walk;
use super::{Shared, guard};
use crate::endpoint::{EndpointError, EndpointResult, LostReason};
use crate::scan::Step;

/// Batches that a scan may be ahead of whoever takes them.
const BATCHES_AHEAD: usize = 4;

/// Items in the first batch; each later one may have twice as many, up to the last.
const BATCH_ITEMS: (usize, usize) = (64, 1024);

#[derive(Default)]
pub(super) struct Scans(Mutex<Table>);

#[derive(Default)]
struct Table {
    scans: BTreeMap<ScanIndex, Arc<tokio::sync::Mutex<Running>>>,
    begun: u32,
}

/// A scan whose batches are taken one after the other, and kept for those who ask again.
struct Running {
    batches: Batches,
    /// Those that may be asked for again, in order.
    kept: VecDeque<ScanBatch>,
    /// The number of the next one.
    next: u64,
}

/// What of a scan is still to come.
enum Batches {
    /// A channel that closes without a last step says that the walk broke off.
    Coming(mpsc::Receiver<EndpointResult<Step>>),
    Ended,
    Failed(EndpointError),
}

impl Scans {
    pub(super) fn clear(&self) {
        guard(&self.0).scans.clear();
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
                let step = batch.map(|items| match items.is_empty() {
                    true => Step::Last(items),
                    false => Step::Items(items),
                });
                let goes_on = matches!(step, Ok(Step::Items(_)));
                if sender.send(step).await.is_err() || !goes_on {
                    return;
                }
            }
        });
        let mut table = guard(&self.scans.0);
        if table.scans.len() >= SCANS_MAX && !table.forget_ended() {
            return Err(Fault::new(FaultKind::Limit, Operation::List, RelPath::root()).into());
        }
        let index = ScanIndex(table.begun);
        table.begun = table.begun.wrapping_add(1);
        let running = Running::new(receiver);
        table.scans.insert(index, Arc::new(tokio::sync::Mutex::new(running)));
        Ok(index)
    }

    pub(super) async fn scan_next(&self, next: ScanNext) -> EndpointResult<ScanBatch> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::List, RelPath::root());
        let running =
            guard(&self.scans.0).scans.get(&next.scan).map(Arc::clone).ok_or_else(unknown)?;
        let mut running = running.lock().await;
        let batch = running.batch(next.sequence).await;
        // A walk breaks off when the endpoint is closed, which says why.
        self.check_open()?;
        Ok(batch?.ok_or_else(unknown)?)
    }
}

impl Table {
    /// Forgets the oldest scan that has ended; whether there was one.
    fn forget_ended(&mut self) -> bool {
        let has_ended = |running: &Arc<tokio::sync::Mutex<Running>>| {
            running.try_lock().is_ok_and(|running| !matches!(running.batches, Batches::Coming(_)))
        };
        let oldest = self.scans.iter().find(|(_, running)| has_ended(running));
        let oldest = oldest.map(|(index, _)| *index);
        oldest.is_some_and(|index| self.scans.remove(&index).is_some())
    }
}

impl Running {
    fn new(batches: mpsc::Receiver<EndpointResult<Step>>) -> Self {
        Self { batches: Batches::Coming(batches), kept: VecDeque::new(), next: 0 }
    }

    /// A batch that is kept or due; `None` for one that is neither. Waits with nothing taken, so
    /// that a call which is dropped has happened or has not.
    async fn batch(&mut self, sequence: u64) -> EndpointResult<Option<ScanBatch>> {
        if sequence >= self.next.saturating_add(SCAN_BATCHES_KEPT) {
            return Ok(None);
        }
        while self.next <= sequence {
            let (items, last) = match self.step().await? {
                Step::Items(items) => (items, false),
                Step::Last(items) => (items, true),
            };
            self.kept.push_back(ScanBatch { sequence: self.next, items, last });
            self.next += 1;
        }
        let had = |batch: &ScanBatch| batch.sequence.saturating_add(SCAN_BATCHES_KEPT) <= sequence;
        while self.kept.front().is_some_and(had) {
            self.kept.pop_front();
        }
        Ok(self.kept.iter().find(|batch| batch.sequence == sequence).cloned())
    }

    /// The next step: past the end the last again, and past an error that error.
    async fn step(&mut self) -> EndpointResult<Step> {
        let step = match &mut self.batches {
            Batches::Coming(batches) => {
                batches.recv().await.unwrap_or(Err(EndpointError::Lost(LostReason::Ended)))
            }
            Batches::Ended => Ok(Step::Last(Vec::new())),
            Batches::Failed(error) => Err(error.clone()),
        };
        match &step {
            Ok(Step::Items(_)) => {}
            Ok(Step::Last(_)) => self.batches = Batches::Ended,
            Err(error) => self.batches = Batches::Failed(error.clone()),
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scan_that_broke_off_never_seems_complete() {
        let lost = EndpointError::Lost(LostReason::Ended);
        let fault = Fault::new(FaultKind::Io, Operation::List, RelPath::root());
        let fault = EndpointError::from(fault);
        for (told, expected) in [(None, lost), (Some(fault.clone()), fault)] {
            let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
            sender.send(Ok(Step::Items(Vec::new()))).await.unwrap();
            if let Some(error) = told {
                sender.send(Err(error)).await.unwrap();
            }
            drop(sender);
            let mut running = Running::new(receiver);
            let first = running.batch(0).await.unwrap().unwrap();
            assert!(!first.last);
            for _ in 0..2 {
                assert_eq!(running.batch(1).await, Err(expected.clone()));
            }
            assert_eq!(running.batch(0).await, Ok(Some(first)));
        }
    }

    #[tokio::test]
    async fn only_scans_that_have_ended_are_forgotten() {
        let mut table = Table::default();
        let (coming, receiver) = mpsc::channel(BATCHES_AHEAD);
        let (ending, ended) = mpsc::channel(BATCHES_AHEAD);
        ending.send(Ok(Step::Last(Vec::new()))).await.unwrap();
        let mut ended = Running::new(ended);
        assert!(ended.batch(0).await.unwrap().unwrap().last);
        for (index, running) in [Running::new(receiver), ended].into_iter().enumerate() {
            let index = ScanIndex(u32::try_from(index).unwrap());
            table.scans.insert(index, Arc::new(tokio::sync::Mutex::new(running)));
        }
        assert!(table.forget_ended());
        assert!(!table.forget_ended());
        assert_eq!(table.scans.keys().collect::<Vec<_>>(), [&ScanIndex(0)]);
        drop(coming);
    }
}
