//! From staged to there: files are renamed into place, and their directories synced.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Finish, Outcome, PartialIndex, Publish, Ticket};
use xfer_protocol::path::RelPath;

use super::entry::stamp;
use super::fault::{own, sort};
use super::pack::is_own;
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once, guard};
use crate::endpoint::EndpointResult;
use crate::transport::sftp::{FileKind, Opening, Refusal, SftpError};

/// A complete file under its partial's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged {
    pub(super) ticket: Ticket,
    /// The partial that it was assembled as, unless it came in a pack.
    pub(super) partial: Option<PartialIndex>,
    pub(super) synced: bool,
}

impl Shared {
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
        let appeared = at_once(AT_ONCE, each.collect()).await?;
        let mut appeared: Vec<_> = paths.into_iter().zip(appeared).collect();
        if publish.durable {
            let mut directories = root.take_touched();
            directories.extend(appeared.iter().filter_map(|(path, _)| path.parent()));
            if let Err(fault) = own(self.sync_directories(root, directories).await)? {
                // Which of the names last is unknown, so none is told to.
                for (path, outcome) in &mut appeared {
                    let stood = outcome.as_mut().filter(|outcome| outcome.result.is_ok());
                    if let Some(outcome) = stood {
                        outcome.result = Err(Fault { path: path.clone(), ..fault.clone() });
                    }
                }
            }
        }
        let outcomes: Vec<_> = appeared.into_iter().filter_map(|(_, outcome)| outcome).collect();
        *last = Some((publish.number, outcomes.clone()));
        Ok(outcomes)
    }

    async fn appear_claimed(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        publish: Publish,
    ) -> EndpointResult<Option<Outcome>> {
        let _claim = self.claims.claim(publish.root, [path]).await;
        // Taken now: until the claim was ours, the file could have been written anew.
        let taken = guard(&root.staged).remove(path);
        let Some(staged) = taken else { return Ok(None) };
        let appeared = own(self.appear(root, path, &staged, publish.durable).await)?;
        Ok(Some(Outcome { ticket: staged.ticket, result: appeared.map(Some) }))
    }

    /// Renames one staged file over its name.
    pub(super) async fn appear(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        staged: &Staged,
        durable: bool,
    ) -> EndpointResult<Stamp> {
        let from = root.partial_at(path);
        if durable && !staged.synced {
            let _place = self.handles.acquire().await;
            let synced = async { self.sftp.open(&from, Opening::Read).await?.sync().await };
            synced.await.map_err(|error| sort(error, Operation::Sync, path))?;
        }
        let Some(index) = staged.partial else {
            return self.put_in_place(root, path, Operation::Commit).await;
        };
        // One that cannot be renamed is complete all the same: a later session resumes it.
        let stamp = self.rename_into_place(root, path, Operation::Commit).await?;
        self.partials.forget(index);
        Ok(stamp)
    }

    /// Renames what lies under an entry's partial name over the entry; where that fails, the entry
    /// is as it was, and nothing of ours is left.
    pub(super) async fn put_in_place(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
    ) -> EndpointResult<Stamp> {
        let renamed = self.rename_into_place(root, path, during).await;
        if renamed.as_ref().is_err_and(is_own) {
            self.drop_partial(root, path).await;
        }
        renamed
    }

    /// The same, but what fails stays under its partial's name.
    async fn rename_into_place(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
    ) -> EndpointResult<Stamp> {
        let (from, to) = (root.partial_at(path), root.at(path));
        if let Err(error) = self.sftp.rename(&from, &to).await {
            return Err(self.rename_fault(root, error, path, during).await);
        }
        self.touch(root, &path.parent().unwrap_or_default()).await?;
        let found = self.sftp.attributes(&to, false).await;
        Ok(stamp(&found.map_err(|error| sort(error, Operation::Stat, path))?))
    }

    /// Why a rename failed: what stands in its way is looked at.
    async fn rename_fault(
        &self,
        root: &OpenRoot,
        error: SftpError,
        path: &RelPath,
        during: Operation,
    ) -> crate::endpoint::EndpointError {
        if error == SftpError::Refused(Refusal::Failure)
            && let Ok(found) = self.sftp.attributes(&root.at(path), false).await
        {
            let kind = match found.kind() {
                Some(FileKind::Directory) => Some(FaultKind::Conflict),
                // A server without a rename that replaces cannot replace a file whole.
                _ if !self.sftp.extensions().rename_over => Some(FaultKind::Unsupported),
                _ => None,
            };
            if let Some(kind) = kind {
                return Fault::new(kind, during, path.clone()).into();
            }
        }
        self.write_fault(root, error, during, path).await
    }

    pub(super) async fn finish(&self, finish: Finish) -> EndpointResult<()> {
        let root = self.root(finish.root, Operation::Sync)?;
        let touched: BTreeSet<RelPath> = root.take_touched();
        if finish.durable {
            self.sync_directories(&root, touched).await?;
        }
        self.locks.release(&root.path);
        Ok(())
    }
}
