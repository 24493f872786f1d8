//! Files that only got another name at the source: what is about to be removed has their content,
//! and gets their name instead of being copied and removed.
//!
//! It keeps its own name until all else has arrived, and goes only with what is removed then: a
//! transfer that ends before leaves it, and one that may remove nothing copies it after all.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xfer_protocol::digest::Digest;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::removal::{Removal, Rename, Renaming};
use xfer_protocol::path::RelPath;

use crate::engine::batch::{Carried, Most, batches, metadata_bytes, path_bytes};
use crate::engine::context::{Context, Stop};
use crate::engine::ledger::Side;
use crate::engine::pack::{FileWork, PACK_FILE_MAX};
use crate::engine::publisher::{Staged, settle};

/// Files under other names that are compared with one.
const COMPARED_MAX: usize = 4;

/// Files renamed in one request.
const RENAMED: Most = Most::entries(256);

/// What goes, by its size, and what of it gets another name.
#[derive(Default)]
pub(in crate::engine) struct Renames(Mutex<State>);

#[derive(Default)]
struct State {
    going: HashMap<u64, Vec<(RelPath, Stamp)>>,
    taken: HashSet<RelPath>,
    renamed: Vec<Renamed>,
}

/// A file of the source whose content stands under a name that goes.
pub(in crate::engine) struct Renamed {
    work: FileWork,
    from: RelPath,
    stamp: Stamp,
    digest: Digest,
}

impl Carried for Renamed {
    fn header_bytes(&self) -> usize {
        let paths = path_bytes(&self.from) + path_bytes(&self.work.path);
        paths + metadata_bytes(&self.work.wanted)
    }

    fn content_bytes(&self) -> u64 {
        0
    }
}

impl Renames {
    pub(super) fn of<'a>(going: impl Iterator<Item = &'a Removal>) -> Self {
        let mut state = State::default();
        let is_large = |r: &&Removal| r.stamp.size > PACK_FILE_MAX;
        for removal in going.filter(|r| !r.directory && !r.linked).filter(is_large) {
            let known = (removal.path.clone(), removal.stamp);
            state.going.entry(removal.stamp.size).or_default().push(known);
        }
        Self(Mutex::new(state))
    }

    /// What has the size of a file and may have its content, the likeliest first: a file that got
    /// another name keeps its time, and often the last part of its name.
    pub(in crate::engine) fn like(&self, work: &FileWork) -> Vec<(RelPath, Stamp)> {
        let state = self.lock();
        let same_size = state.going.get(&work.size).into_iter().flatten();
        let mut like: Vec<_> =
            same_size.filter(|(path, _)| !state.taken.contains(path)).cloned().collect();
        like.sort_by_key(|(path, stamp)| {
            let same_time = stamp.modified == work.stamp.modified;
            (!same_time, path.name() != work.path.name())
        });
        like.truncate(COMPARED_MAX);
        like
    }

    /// Notes that a file has the content of one that goes, unless another one has that already.
    pub(in crate::engine) fn take(
        &self,
        work: &FileWork,
        (from, stamp): (RelPath, Stamp),
        digest: Digest,
    ) -> bool {
        let mut state = self.lock();
        let is_free = state.taken.insert(from.clone());
        if is_free {
            state.renamed.push(Renamed { work: work.clone(), from, stamp, digest });
        }
        is_free
    }

    pub(in crate::engine) fn found(&self) -> Vec<Renamed> {
        std::mem::take(&mut self.lock().renamed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renamed {
    pub(in crate::engine) fn into_work(self) -> FileWork {
        self.work
    }
}

/// Gives files their names and books them. Returns those that have to be copied all the same.
pub(in crate::engine) async fn rename(
    cx: &Context,
    found: Vec<Renamed>,
) -> Result<Vec<FileWork>, Stop> {
    let durable = cx.options.verify.level.is_durable();
    let mut left = Vec::new();
    for batch in batches(found, RENAMED) {
        let entries = batch.iter().map(|renamed| {
            let FileWork { ticket, path, wanted, .. } = &renamed.work;
            let (from, stamp) = (renamed.from.clone(), renamed.stamp);
            Renaming { ticket: *ticket, from, stamp, to: path.clone(), metadata: wanted.clone() }
        });
        let rename = Rename { root: cx.sink_root, entries: entries.collect(), durable };
        let outcomes = cx.sink.rename(rename).await;
        let outcomes = outcomes.map_err(|error| Context::stop(Side::Destination, error))?;
        let tickets = batch.iter().map(|renamed| renamed.work.ticket);
        if outcomes.iter().map(|outcome| outcome.ticket).ne(tickets) {
            return Err(Stop::MISMATCHED);
        }
        let mut done = Vec::new();
        for (outcome, Renamed { work, digest, .. }) in outcomes.into_iter().zip(batch) {
            if let Err(fault) = outcome.result {
                // What keeps it from being copied either is told then.
                drop(cx.sort(Side::Destination, fault.into())?);
                left.push(work);
                continue;
            }
            let FileWork { ticket, path, size, stamp: source, .. } = work;
            cx.ledger.digest(ticket, digest);
            cx.meter.reused(size);
            let staged = Staged { path, size, source, digest: Some(digest) };
            cx.publisher.stage(vec![(ticket, staged)]);
            done.push(outcome);
        }
        settle(cx, done).await?;
    }
    Ok(left)
}
