//! A walk on a thread of its own, ahead of whoever takes its batches.

use tokio::sync::mpsc;
use xfer_protocol::manifest::ScanItem;

use super::Walk;

/// Runs a walk on a thread that is at most `batches` batches ahead. The channel ends with the walk;
/// dropping the receiver ends the thread at its next batch.
pub fn ahead(mut walk: Walk, batches: usize) -> std::io::Result<mpsc::Receiver<Vec<ScanItem>>> {
    let (sender, receiver) = mpsc::channel(batches.max(1));
    std::thread::Builder::new().name("xfer-scan".to_owned()).spawn(move || {
        while let Some(batch) = walk.next_batch() {
            if sender.blocking_send(batch).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}
