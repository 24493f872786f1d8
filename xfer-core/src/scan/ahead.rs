//! A walk on a thread of its own, ahead of whoever takes its batches.

use tokio::sync::mpsc;
use xfer_protocol::manifest::ScanItem;

use super::Walk;

/// What a walk brings. A channel that closes before the end says that the walk broke off.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The next entries.
    Items(Vec<ScanItem>),
    /// There are no more.
    End,
}

/// Runs a walk on a thread that is at most `batches` batches ahead. Dropping the receiver ends the
/// thread at its next batch.
pub fn ahead(mut walk: Walk, batches: usize) -> std::io::Result<mpsc::Receiver<Step>> {
    let (sender, receiver) = mpsc::channel(batches.max(1));
    std::thread::Builder::new().name("xfer-scan".to_owned()).spawn(move || {
        while let Some(batch) = walk.next_batch() {
            if sender.blocking_send(Step::Items(batch)).is_err() {
                return;
            }
        }
        // Nobody who listens any more needs to know.
        let _unheard = sender.blocking_send(Step::End);
    })?;
    Ok(receiver)
}
