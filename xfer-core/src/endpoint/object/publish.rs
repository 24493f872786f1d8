//! From staged to there: what waits in memory is written, and uploads are completed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::{Finish, Outcome, PartialIndex, Publish, RootIndex, Ticket};
use xfer_protocol::path::RelPath;

use super::confirm::Written;
use super::fault::{own, sort};
use super::places::Standing;
use super::roots::OpenRoot;
use super::store::{Checksum, Condition, Key, Load, Put};
use super::sums::crc;
use super::upload::Upload;
use super::{OBJECTS_AT_ONCE, RECORDS, Shared, at_once, guard};
use crate::endpoint::EndpointResult;

/// Bytes of staged files that wait in memory; others wait in the store.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Changes after which a manifest is written before the end; of a large one, more.
const CHANGES_MAX: usize = 5_000;

/// The same for bytes of files whose times only the manifest tells: without it, a later session
/// would have to read them to find them equal.
const UNTOLD_BYTES_MAX: u64 = 1 << 30;

/// A complete file that is not there yet.
#[derive(Clone)]
pub(super) struct Staged {
    pub(super) ticket: Ticket,
    /// The partial that it was assembled as, unless it came in a pack.
    pub(super) partial: Option<PartialIndex>,
    pub(super) metadata: Metadata,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) body: Body,
}

/// Where the bytes of a staged file are.
#[derive(Clone)]
pub(super) enum Body {
    Waiting(Arc<Waiting>),
    Upload(Arc<Upload>),
}

/// Bytes in memory, here or elsewhere, which count while they are there.
pub(super) struct Waiting {
    pub(super) load: Load,
    count: Arc<AtomicU64>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.count.fetch_sub(self.load.length(), Ordering::Relaxed);
    }
}

impl Shared {
    /// Keeps the bytes of a complete file until it is published.
    pub(super) async fn stage_load(
        &self,
        (root, path): (&OpenRoot, &RelPath),
        load: Load,
        metadata: &Metadata,
        digest: Digest,
    ) -> EndpointResult<Body> {
        let before = self.waiting.fetch_add(load.length(), Ordering::Relaxed);
        let waiting = Waiting { count: Arc::clone(&self.waiting), load };
        if before + waiting.load.length() <= WAITING_BYTES_MAX || waiting.load.is_empty() {
            return Ok(Body::Waiting(Arc::new(waiting)));
        }
        let file = (root.key(path, Operation::Write)?, path.clone());
        let upload = Upload::of_one(self, file, waiting.load.clone(), metadata, digest).await?;
        Ok(Body::Upload(Arc::new(upload)))
    }

    /// Takes a file from what is staged; what only waited to be published is gone.
    pub(super) async fn unstage(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<()> {
        let before = guard(&root.staged).remove(path);
        match before.map(|staged| staged.body) {
            Some(Body::Upload(upload)) if upload.tells => upload.abort(self).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn publish(&self, publish: Publish) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(publish.root, Operation::Commit)?;
        let root = &*root;
        let mut last = root.last_published.lock().await;
        if let Some((number, outcomes)) = &*last
            && *number >= publish.number
        {
            // The last one is told again; nobody waits for the answer of one before it.
            let again = *number == publish.number;
            return Ok(if again { outcomes.clone() } else { Vec::new() });
        }
        let paths: Vec<_> = guard(&root.staged).keys().cloned().collect();
        let each = paths.iter().map(|path| self.appear_claimed(root, path, publish).boxed());
        let appeared = at_once(OBJECTS_AT_ONCE, each.collect()).await?;
        let mut lost = None;
        for outcome in appeared {
            match outcome {
                Ok(outcome) => guard(&root.untaken).extend(outcome),
                Err(error) => lost = Some(error),
            }
        }
        if let Some(error) = lost {
            return Err(error);
        }
        let outcomes = std::mem::take(&mut *guard(&root.untaken));
        *last = Some((publish.number, outcomes.clone()));
        self.write_grown(root).await;
        Ok(outcomes)
    }

    /// Writes the manifests before the end, once they have much to tell that is not written.
    pub(super) async fn write_grown(&self, root: &OpenRoot) {
        let untold = root.untold.load(Ordering::Relaxed) >= UNTOLD_BYTES_MAX;
        if root.layer.has_grown(CHANGES_MAX) || untold {
            root.untold.store(0, Ordering::Relaxed);
            // What fails now is tried again at the end, where it is told.
            let _later = self.write_layers(root).await;
        }
    }

    /// What became of one staged file; an error of the session comes beside it, for others appeared
    /// all the same and have to be told of.
    async fn appear_claimed(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        publish: Publish,
    ) -> EndpointResult<EndpointResult<Option<Outcome>>> {
        let _claim = self.claims.claim(publish.root, [path]).await;
        // Taken now: until the claim was ours, the file could have been written anew.
        let taken = guard(&root.staged).remove(path);
        let Some(staged) = taken else { return Ok(Ok(None)) };
        Ok(match own(self.appear(root, path, &staged, publish.durable).await) {
            Ok(result) => Ok(Some(Outcome { ticket: staged.ticket, result: result.map(Some) })),
            Err(error) => {
                // Whether it is there is unknown: the call may come again.
                guard(&root.staged).entry(path.clone()).or_insert(staged);
                Err(error)
            }
        })
    }

    /// Makes one staged file an object.
    async fn appear(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        staged: &Staged,
        durable: bool,
    ) -> EndpointResult<Stamp> {
        if self.reach_new(root, path, Operation::Commit).await? == Standing::Directory {
            return Err(Fault::new(FaultKind::Conflict, Operation::Commit, path.clone()).into());
        }
        let Staged { metadata, digest, size, .. } = staged;
        let written = Written { root, path, metadata, digest: *digest, size: *size };
        let stamp = match &staged.body {
            Body::Waiting(waiting) => self.put_file(&written, &waiting.load, durable).await?,
            Body::Upload(upload) => {
                let stamp = self.complete_file(&written, upload, durable).await?;
                if !upload.tells {
                    root.untold.fetch_add(*size, Ordering::Relaxed);
                }
                stamp
            }
        };
        if let Some(index) = staged.partial {
            self.partials.forget(index);
        }
        Ok(stamp)
    }

    pub(super) async fn keep_receipt(
        &self,
        root: RootIndex,
        name: &str,
        text: Bytes,
    ) -> EndpointResult<()> {
        let root = self.writable(root, Operation::Write)?;
        let refused = || Fault::new(FaultKind::Unsafe, Operation::Write, RelPath::root());
        let key = Key::new(format!("{}{RECORDS}/{name}", root.prefix)).ok_or_else(refused)?;
        let (checksum, condition) = (Checksum::Crc64Nvme(crc(&text)), Condition::Always);
        let put = Put { key: &key, body: text.into(), attributes: &[], checksum, condition };
        let written = self.store.put(put).await;
        written.map_err(|error| sort(error, Operation::Write, &RelPath::root()))?;
        Ok(())
    }

    pub(super) async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        let root = self.root(finish.root, Operation::Sync)?;
        let written = self.write_layers(&root).await;
        self.locks.release(&root.place(&RelPath::root()));
        written
    }
}
