//! A walk on a thread of its own, ahead of whoever takes its batches.

use tokio::sync::mpsc;
use xfer_protocol::manifest::ScanItem;

use super::Walk;

/// What a walk brings. A channel that closes before the end says that the walk broke off.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The next entries.
    Items(Vec<ScanItem>),
    /// The last of them; none where there was nothing more.
    Last(Vec<ScanItem>),
}

/// Runs a walk on a thread that is at most `batches` batches ahead. Dropping the receiver ends the
/// thread at its next batch.
pub fn ahead(mut walk: Walk, batches: usize) -> std::io::Result<mpsc::Receiver<Step>> {
    let (sender, receiver) = mpsc::channel(batches.max(1));
    std::thread::Builder::new().name("xfer-scan".to_owned()).spawn(move || {
        loop {
            let batch = walk.next_batch().unwrap_or_default();
            let is_last = walk.is_over();
            let step = if is_last { Step::Last(batch) } else { Step::Items(batch) };
            // Nobody who listens any more needs to know.
            if sender.blocking_send(step).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(receiver)
}
