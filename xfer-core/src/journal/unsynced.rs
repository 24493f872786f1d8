//! Which file systems may have lost what they were to sync.
//!
//! The system tells of a failed sync once; afterwards it shows bytes that never reached the medium
//! as if they had, for as long as they are in its memory. A later transfer must not take those for
//! proven.

use std::sync::atomic::{AtomicBool, Ordering};

use super::RecordKey;
use crate::disk::state::{StateDirectory, StateError};

/// A note beside the records that a file system failed to sync. It outlives the transfer; after a
/// boot the machine has another name, and what it then shows comes from the medium.
pub struct Unsynced {
    records: StateDirectory,
    name: String,
    unique: u64,
    noted: AtomicBool,
}

impl Unsynced {
    /// The note of a file system, there or not: by its machine in this boot, and its device.
    pub fn of(
        records: StateDirectory,
        machine: &[u8],
        device: u64,
        unique: u64,
    ) -> Result<Self, StateError> {
        let key = RecordKey::of(&[b"unsynced", machine, &device.to_le_bytes()]);
        let name = format!("{}.unsynced", key.hex());
        let noted = AtomicBool::new(records.read(&name)?.is_some());
        Ok(Self { records, name, unique, noted })
    }

    /// Whether a sync has failed, in this transfer or before it.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// Notes that a sync failed. What cannot be written still counts for this transfer.
    pub fn note(&self) {
        if self.noted.swap(true, Ordering::Relaxed) {
            return;
        }
        let noted = self.records.create(&self.name, self.unique);
        let _as_far_as_it_went = noted.and_then(|file| file.commit(true));
    }
}
