//! Removing entries that a source does not have.

use futures_util::{FutureExt, TryFutureExt};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::Outcome;
use xfer_protocol::message::removal::{Removal, Remove};
use xfer_protocol::path::RelPath;

use super::entry::stamp;
use super::fault::sort;
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once};
use crate::disk::is_partial_name;
use crate::endpoint::agentless::pack::outcome;
use crate::endpoint::{EndpointError, EndpointResult};
use crate::transport::sftp::{FileKind, Refusal, SftpError};

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
        // What lies side by side goes at once; a directory only once nothing is in it.
        let is_directory = |a: &Removal, b: &Removal| a.directory == b.directory && !a.directory;
        for level in remove.entries.chunk_by(is_directory) {
            let each = level.iter().map(|entry| {
                let removed = self.remove_entry(&root, entry).map_ok(|()| None);
                outcome(entry.ticket, removed).boxed()
            });
            outcomes.extend(at_once(AT_ONCE, each.collect()).await?);
        }
        Ok(outcomes)
    }

    async fn remove_entry(&self, root: &OpenRoot, entry: &Removal) -> EndpointResult<()> {
        let path = &entry.path;
        let bad = |kind| Fault::new(kind, Operation::Remove, path.clone());
        if path.name().is_none_or(is_partial_name) {
            return Err(bad(FaultKind::Unsafe).into());
        }
        match self.reach(root, path, Operation::Remove, false).await {
            Err(EndpointError::Fault(gone)) if gone.kind == FaultKind::NotFound => return Ok(()),
            other => other?,
        }
        let at = root.at(path);
        let failed = |error| sort(error, Operation::Remove, path);
        let found = match self.sftp.attributes(&at, false).await {
            Err(SftpError::Refused(Refusal::NotFound)) => return Ok(()),
            other => other.map_err(failed)?,
        };
        let is_directory = found.kind() == Some(FileKind::Directory);
        let now = stamp(&found);
        let is_same =
            entry.directory || (now.size, now.modified) == (entry.stamp.size, entry.stamp.modified);
        if is_directory != entry.directory || !is_same {
            return Err(bad(FaultKind::Changed).into());
        }
        let removed = match is_directory {
            true => self.sftp.remove_directory(&at).await,
            false => self.sftp.remove(&at).await,
        };
        match removed {
            Ok(()) | Err(SftpError::Refused(Refusal::NotFound)) => {}
            // Version 3 has one word for a directory in which something is, and for the rest.
            Err(SftpError::Refused(Refusal::Failure)) if is_directory => {
                return Err(bad(FaultKind::Conflict).into());
            }
            Err(error) => return Err(failed(error)),
        }
        self.touch(root, &path.parent().unwrap_or_default()).await
    }
}
