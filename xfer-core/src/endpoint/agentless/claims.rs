//! One writer for each name: a call that is repeated while its first run still works waits for it.

use std::collections::HashSet;
use std::sync::Mutex;

use tokio::sync::Notify;
use xfer_protocol::message::RootIndex;
use xfer_protocol::path::RelPath;

use super::guard;

#[derive(Default)]
pub(in crate::endpoint) struct Claims {
    held: Mutex<HashSet<(RootIndex, RelPath)>>,
    freed: Notify,
}

/// Names that are ours until it is dropped.
pub(in crate::endpoint) struct Claim<'a> {
    claims: &'a Claims,
    names: Vec<(RootIndex, RelPath)>,
}

impl Claims {
    /// Waits until nobody else writes any of the names, and takes all of them at once. A call makes
    /// one claim and no second, so that no two wait for each other.
    pub(in crate::endpoint) async fn claim<'p>(
        &self,
        root: RootIndex,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) -> Claim<'_> {
        let mut names: Vec<_> = paths.into_iter().map(|path| (root, path.clone())).collect();
        names.sort_unstable();
        names.dedup();
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Whoever lets go after the look below is heard.
            freed.as_mut().enable();
            {
                let mut held = guard(&self.held);
                if !names.iter().any(|name| held.contains(name)) {
                    held.extend(names.iter().cloned());
                    return Claim { claims: self, names };
                }
            }
            freed.await;
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut held = guard(&self.claims.held);
        for name in &self.names {
            held.remove(name);
        }
        drop(held);
        self.claims.freed.notify_waiters();
    }
}
