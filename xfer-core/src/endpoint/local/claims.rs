//! One writer for each name: a call that is repeated while its first run still works waits for it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Condvar, Mutex, PoisonError};

use xfer_protocol::message::RootIndex;
use xfer_protocol::path::RelPath;

use super::guard;

#[derive(Default)]
pub(super) struct Claims {
    /// Names being written. Two names with one key only wait for each other.
    held: Mutex<HashSet<u64>>,
    freed: Condvar,
}

/// Names that are ours until it is dropped.
pub(super) struct Claim<'a> {
    claims: &'a Claims,
    keys: Vec<u64>,
}

impl Claims {
    /// Waits until nobody else writes any of the names, and takes all of them at once. A call makes
    /// one claim and no second, so that no two wait for each other.
    pub(super) fn claim<'a>(
        &self,
        root: RootIndex,
        paths: impl IntoIterator<Item = &'a RelPath>,
    ) -> Claim<'_> {
        let mut keys: Vec<_> = paths.into_iter().map(|path| key(root, path)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut held = guard(&self.held);
        while keys.iter().any(|key| held.contains(key)) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.extend(&keys);
        Claim { claims: self, keys }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut held = guard(&self.claims.held);
        for key in &self.keys {
            held.remove(key);
        }
        drop(held);
        self.claims.freed.notify_all();
    }
}

fn key(root: RootIndex, path: &RelPath) -> u64 {
    let mut hasher = DefaultHasher::new();
    (root, path).hash(&mut hasher);
    hasher.finish()
}
