//! Large buffers, used again: fresh memory costs a page fault for every 4 KiB.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::guard;

/// Buffers that are kept for later.
const KEPT_MAX: usize = 16;

/// Bytes in the largest buffer that is kept.
const KEPT_BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer on loan.
struct Loan {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// An empty buffer with room for `length` bytes, which the caller has checked against a limit.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        let mut bytes = guard(&self.0).pop().unwrap_or_default();
        bytes.clear();
        bytes.reserve_exact(length);
        bytes
    }

    /// Bytes that bring their buffer back when the last reader drops them.
    pub(super) fn lend(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Loan { bytes, home: Arc::clone(self) })
    }

    /// Takes a buffer back.
    pub(super) fn give_back(&self, bytes: Vec<u8>) {
        let mut kept = guard(&self.0);
        if bytes.capacity() <= KEPT_BYTES_MAX && kept.len() < KEPT_MAX {
            kept.push(bytes);
        }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}
