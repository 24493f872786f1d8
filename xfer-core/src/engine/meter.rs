//! Counters of a transfer, read by whoever reports.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::Progress;

/// Counts payload and files as they are done; shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Meter {
    files_done: AtomicU64,
    payload: AtomicU64,
    verified: AtomicU64,
    reused: AtomicU64,
    wasted: AtomicU64,
}

impl Meter {
    pub(super) fn files_done(&self, files: u64) {
        self.files_done.fetch_add(files, Ordering::Relaxed);
    }

    /// Payload that the destination took.
    pub(super) fn payload(&self, bytes: u64) {
        self.payload.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes compared or read back.
    pub(super) fn verified(&self, bytes: u64) {
        self.verified.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were already there.
    pub(super) fn reused(&self, bytes: u64) {
        self.reused.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Payload that was sent and has to be sent again.
    pub(super) fn wasted(&self, bytes: u64) {
        self.wasted.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn wasted_bytes(&self) -> u64 {
        self.wasted.load(Ordering::Relaxed)
    }

    /// Bytes that sessions moved, compared or found there: how far each of them came.
    pub(super) fn dealt_with(&self) -> u64 {
        let all = [&self.payload, &self.verified, &self.reused];
        all.into_iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            files_done: self.files_done.load(Ordering::Relaxed),
            payload_bytes: self.payload.load(Ordering::Relaxed),
            verified_bytes: self.verified.load(Ordering::Relaxed),
            reused_bytes: self.reused.load(Ordering::Relaxed),
        }
    }
}
