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
    spared: AtomicU64,
    different: AtomicU64,
    written_over: AtomicU64,
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

    /// Bytes of a file on its way that need not be sent: holes, and what a partial holds.
    pub(super) fn spared(&self, bytes: u64) {
        self.spared.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of a file that was compared, and has to be sent.
    pub(super) fn different(&self, bytes: u64) {
        self.different.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file is whole, and may have been written over what it replaces.
    pub(super) fn write_over(&self, in_place: bool) {
        self.written_over.fetch_add(in_place.into(), Ordering::Relaxed);
    }

    /// Payload of earlier sessions. What is spared is found anew by every session.
    pub(super) fn begin_session(&self) -> u64 {
        self.spared.store(0, Ordering::Relaxed);
        self.different.store(0, Ordering::Relaxed);
        self.payload.load(Ordering::Relaxed)
    }

    /// Files that were written over what they replace.
    pub(super) fn written_over(&self) -> u64 {
        self.written_over.load(Ordering::Relaxed)
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
            spared_bytes: self.spared.load(Ordering::Relaxed),
            different_bytes: self.different.load(Ordering::Relaxed),
        }
    }
}
