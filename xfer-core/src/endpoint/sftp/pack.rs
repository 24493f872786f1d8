//! Small files: each written to its partial's name, many at a time.

use bytes::Bytes;
use futures_util::FutureExt;
use xfer_protocol::digest::file_digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Outcome, PackedFile, WritePack};
use xfer_protocol::path::RelPath;

use super::fault::sort;
use super::publish::Staged;
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once, guard};
use crate::endpoint::agentless::pack::{outcome, unpacked};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::transport::sftp::SftpError;

impl Shared {
    pub(super) async fn write_pack(
        &self,
        pack: WritePack,
        payload: Bytes,
    ) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(pack.root, Operation::Write)?;
        let at = |offset: u64| usize::try_from(offset).ok();
        let cut = |start, end| Some(payload.slice(at(start)?..at(end)?));
        let files = unpacked(pack.files, payload.len() as u64, cut)?;
        let _claim = self.claims.claim(pack.root, files.iter().map(|(file, _)| &file.path)).await;
        let each = files.iter().map(|(file, bytes)| {
            let bytes = Bytes::clone(bytes);
            outcome(file.ticket, self.write_file(&root, file, bytes, pack.publish)).boxed()
        });
        at_once(AT_ONCE, each.collect()).await
    }

    async fn write_file(
        &self,
        root: &OpenRoot,
        file: &PackedFile,
        bytes: Bytes,
        publish: bool,
    ) -> EndpointResult<Option<Stamp>> {
        let path = &file.path;
        let fault = |kind| Fault::new(kind, Operation::Write, path.clone());
        if file_digest(&bytes) != file.digest {
            return Err(fault(FaultKind::Mismatch).into());
        }
        self.reach_new(root, path, Operation::Write).await?;
        guard(&root.staged).remove(path);
        self.release_partial(root, path).await;
        let written = self.write_partial(root, file, bytes, publish).await;
        let synced = match written {
            Ok(synced) => synced,
            Err(error) => {
                self.drop_partial(root, path).await;
                return Err(error);
            }
        };
        let staged = Staged { ticket: file.ticket, partial: None, synced };
        if publish {
            return self.appear(root, path, &staged, false).await.map(Some);
        }
        guard(&root.staged).insert(path.clone(), staged);
        Ok(None)
    }

    /// Writes one file under its partial's name; whether it is synced comes back.
    async fn write_partial(
        &self,
        root: &OpenRoot,
        file: &PackedFile,
        bytes: Bytes,
        publish: bool,
    ) -> EndpointResult<bool> {
        let path = &file.path;
        let _place = self.handles.acquire().await;
        let handle = self.make_partial(root, path, Operation::Write).await?;
        if let Err(error) = handle.write(0, bytes).await {
            return Err(self.write_fault(root, error, Operation::Write, path).await);
        }
        let tainted = || Fault::new(FaultKind::Tainted, Operation::Sync, path.clone()).into();
        let synced = match self.complete(&handle, &file.metadata, !publish).await {
            Ok(synced) => synced,
            Err((Operation::Sync, SftpError::Refused(_))) => return Err(tainted()),
            Err((during, error)) => return Err(sort(error, during, path)),
        };
        match handle.close().await {
            Ok(()) => Ok(synced),
            Err(SftpError::Refused(_)) => Err(tainted()),
            Err(error) => Err(sort(error, Operation::Write, path)),
        }
    }

    /// Removes what was written of a file that failed.
    pub(super) async fn drop_partial(&self, root: &OpenRoot, path: &RelPath) {
        // What cannot be removed is found by the next scan, which tells it as a partial.
        let _ = self.sftp.remove(&root.partial_at(path)).await;
    }
}

/// Whether the session goes on after an error.
pub(super) fn is_own(error: &EndpointError) -> bool {
    matches!(error, EndpointError::Fault(_))
}
