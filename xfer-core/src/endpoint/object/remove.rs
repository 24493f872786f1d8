//! Removing entries that a source does not have: objects, and what manifests say of the rest.
//!
//! An object goes while it is what the list said: it is looked at once more, and the store is told
//! the entity tag that it must have, where it heeds one. A bucket that keeps versions keeps those.

use futures_util::{FutureExt, TryFutureExt};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::Outcome;
use xfer_protocol::message::removal::{Removal, Remove};
use xfer_protocol::path::RelPath;

use super::entry::Seen;
use super::fault::sort;
use super::places::Standing;
use super::roots::OpenRoot;
use super::store::{List, StoreError};
use super::{LOOKS_AT_ONCE, RECORDS, Shared, at_once};
use crate::disk::is_partial_name;
use crate::endpoint::agentless::pack::outcome;
use crate::endpoint::{EndpointError, EndpointResult};

/// Keys that are looked at for one that is not ours.
const KEYS_LOOKED_AT: u16 = 100;

impl Shared {
    pub(super) async fn remove(&self, remove: &Remove) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(remove.root, Operation::Remove)?;
        let bad = |kind| Fault::new(kind, Operation::Remove, RelPath::root());
        if remove.entries.len() > limits::BATCH_ENTRIES_MAX {
            return Err(bad(FaultKind::Limit).into());
        }
        if remove.backup.is_some() || remove.stays {
            return Err(bad(FaultKind::Unsupported).into());
        }
        let paths = remove.entries.iter().map(|entry| &entry.path);
        let _claim = self.claims.claim(remove.root, paths).await;
        let mut outcomes = Vec::with_capacity(remove.entries.len());
        // What lies in a directory comes before it, and goes before it is looked at.
        let side_by_side = |a: &Removal, b: &Removal| !a.directory && !b.directory;
        for level in remove.entries.chunk_by(side_by_side) {
            let each = level.iter().map(|entry| {
                let removed = self.remove_entry(&root, entry).map_ok(|()| None);
                outcome(entry.ticket, removed).boxed()
            });
            outcomes.extend(at_once(LOOKS_AT_ONCE, each.collect()).await?);
        }
        Ok(outcomes)
    }

    async fn remove_entry(&self, root: &OpenRoot, entry: &Removal) -> EndpointResult<()> {
        let path = &entry.path;
        let bad = |kind| Fault::new(kind, Operation::Remove, path.clone());
        let is_ours = |name: &[u8]| is_partial_name(name) || name == RECORDS.as_bytes();
        if path.is_root() || path.components().any(is_ours) {
            return Err(bad(FaultKind::Unsafe).into());
        }
        match self.reach(root, path, Operation::Remove, false).await {
            Err(EndpointError::Fault(gone)) if gone.kind == FaultKind::NotFound => return Ok(()),
            other => other?,
        }
        match (self.standing(root, path).await?, entry.directory) {
            (Standing::Nothing, _) => {}
            (Standing::Directory, true) => self.remove_directory(root, path).await?,
            (Standing::File, false) => self.remove_object(root, entry).await?,
            (Standing::Link, false) => {}
            _ => return Err(bad(FaultKind::Changed).into()),
        }
        if !root.forget(path) {
            // A manifest of a directory further out tells it, which is not ours to write.
            return Err(bad(FaultKind::Unsupported).into());
        }
        root.note_gone(path);
        Ok(())
    }

    async fn remove_object(&self, root: &OpenRoot, entry: &Removal) -> EndpointResult<()> {
        let path = &entry.path;
        let failed = |error| sort(error, Operation::Remove, path);
        let key = root.key(path, Operation::Remove)?;
        let Some(found) = self.listed(&key).await.map_err(failed)? else { return Ok(()) };
        let changed = || Fault::new(FaultKind::Changed, Operation::Remove, path.clone()).into();
        let is_it =
            |seen: &Seen| (seen.size, seen.number()) == (entry.stamp.size, entry.stamp.inode);
        let mut seen = Seen::listed(&found);
        if seen.etag.is_none() && !is_it(&seen) {
            // A store that lists no entity tags tells them of each object.
            match self.store.head(&key).await {
                Ok(object) => seen = Seen::of(&object),
                Err(StoreError::Missing) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
        if !is_it(&seen) {
            return Err(changed());
        }
        let removed = match &seen.etag {
            Some(etag) => self.store.remove_if(&key, etag).await,
            None => self.store.remove(&key).await,
        };
        match removed {
            Ok(()) | Err(StoreError::Missing) => Ok(()),
            // An earlier try may have removed it, whose answer was lost.
            Err(StoreError::Changed) => match self.listed(&key).await.map_err(failed)? {
                Some(_) => Err(changed()),
                None => Ok(()),
            },
            Err(error) => Err(failed(error)),
        }
    }

    /// A directory is removed once nothing but our records lies below it.
    async fn remove_directory(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<()> {
        let failed = |error| sort(error, Operation::Remove, path);
        let bad = |kind| Fault::new(kind, Operation::Remove, path.clone());
        let prefix = root.prefix_of(path, Operation::Remove)?;
        let list = List { prefix: &prefix, folded: false, page: None, most: KEYS_LOOKED_AT };
        let page = self.store.list(list).await.map_err(failed)?;
        let below = |key: &str| key.strip_prefix(&prefix).unwrap_or_default().to_owned();
        let below: Vec<_> = page.objects.iter().map(|object| below(&object.key)).collect();
        let is_told = below.iter().any(String::is_empty);
        let is_ours = |key: &String| key.is_empty() || key.split('/').any(|name| name == RECORDS);
        let is_full = !below.iter().all(is_ours);
        let described = root.described_below(path).into_iter().any(|below| below != *path);
        if is_full || page.next.is_some() || described {
            return Err(bad(FaultKind::Conflict).into());
        }
        // Of stores that have none, other tools wrote an object that stands for it, and whose key
        // is none of ours.
        let removed = if is_told { self.store.remove_directory(&prefix).await } else { Ok(()) };
        removed.map_err(failed)
    }
}
