//! Scans under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::ScanItem;
use xfer_protocol::message::{Scan, ScanBatch, ScanIndex};
use xfer_protocol::path::RelPath;

use super::roots::OpenRoot;
use super::{Shared, guard};
use crate::disk::fault::fault;
use crate::scan::{Walk, ahead};

/// Scans that one endpoint has begun and not forgotten.
const SCANS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Scans(Mutex<HashMap<ScanIndex, Arc<tokio::sync::Mutex<Running>>>>);

/// A scan whose batches are taken one after the other.
struct Running {
    batches: Option<mpsc::Receiver<Vec<ScanItem>>>,
    sequence: u64,
}

impl Scans {
    pub(super) fn clear(&self) {
        guard(&self.0).clear();
    }
}

impl Shared {
    pub(super) fn scan(&self, scan: Scan) -> Result<ScanIndex, Fault> {
        let root = self.root(scan.root, Operation::List)?;
        let batches = begin(&root, scan)?;
        let mut scans = guard(&self.scans.0);
        if scans.len() >= SCANS_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::List, RelPath::root()));
        }
        let index = ScanIndex(u32::try_from(scans.len()).unwrap_or(u32::MAX));
        let running = Running { batches: Some(batches), sequence: 0 };
        scans.insert(index, Arc::new(tokio::sync::Mutex::new(running)));
        Ok(index)
    }

    pub(super) async fn scan_next(&self, scan: ScanIndex) -> Result<ScanBatch, Fault> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::List, RelPath::root());
        let running = guard(&self.scans.0).get(&scan).map(Arc::clone).ok_or_else(unknown)?;
        let mut running = running.lock().await;
        let items = match &mut running.batches {
            Some(batches) => batches.recv().await,
            None => None,
        };
        let last = items.is_none();
        if last {
            running.batches = None;
        }
        let sequence = running.sequence;
        running.sequence += 1;
        Ok(ScanBatch { sequence, items: items.unwrap_or_default(), last })
    }
}

/// Batches that a scan may be ahead of whoever takes them.
const BATCHES_AHEAD: usize = 4;

fn begin(root: &OpenRoot, scan: Scan) -> Result<mpsc::Receiver<Vec<ScanItem>>, Fault> {
    let failed = |errno| fault(errno, Operation::List, &scan.under);
    let place = rustix::io::fcntl_dupfd_cloexec(root.place(), 0).map_err(failed)?;
    if scan.options.follow_links {
        root.follow_links();
    }
    let walk = Walk::new(place, &scan.under, scan.options)?;
    let no_thread = |_| Fault::new(FaultKind::Limit, Operation::List, scan.under.clone());
    ahead(walk, BATCHES_AHEAD).map_err(no_thread)
}
