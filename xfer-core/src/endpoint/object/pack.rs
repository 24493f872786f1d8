//! Small files: each one request, many at a time.

use futures_util::FutureExt;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Outcome, PackedFile, WritePack};

use super::confirm::Written;
use super::fault::own;
use super::places::Standing;
use super::publish::Staged;
use super::roots::OpenRoot;
use super::store::Load;
use super::sums::is_file;
use super::{OBJECTS_AT_ONCE, Shared, at_once, guard};
use crate::endpoint::EndpointResult;
use crate::endpoint::agentless::pack::{outcome, unpacked};

impl Shared {
    pub(super) async fn write_pack(
        &self,
        pack: WritePack,
        payload: Load,
    ) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(pack.root, Operation::Write)?;
        let length = payload.length();
        let files = unpacked(pack.files, length, |start, end| payload.cut(start, end))?;
        let claim = self.claims.claim(pack.root, files.iter().map(|(file, _)| &file.path)).await;
        if let Some((first, _)) = files.first() {
            // What leads to most of them is asked for once.
            let _each_tells = own(self.reach(&root, &first.path, Operation::Write, true).await)?;
        }
        let each = files.iter().map(|(file, load)| {
            let load = load.clone();
            outcome(file.ticket, self.write_file(&root, file, load, pack.publish)).boxed()
        });
        let outcomes = at_once(OBJECTS_AT_ONCE, each.collect()).await?;
        drop(claim);
        if pack.publish {
            self.write_grown(&root).await;
        }
        Ok(outcomes)
    }

    async fn write_file(
        &self,
        root: &OpenRoot,
        file: &PackedFile,
        load: Load,
        publish: bool,
    ) -> EndpointResult<Option<Stamp>> {
        let path = &file.path;
        let fault = |kind| Fault::new(kind, Operation::Write, path.clone());
        if !is_file(&load, file.digest) {
            return Err(fault(FaultKind::Mismatch).into());
        }
        if self.reach_new(root, path, Operation::Write).await? == Standing::Directory {
            return Err(fault(FaultKind::Conflict).into());
        }
        self.unstage(root, path).await?;
        self.release_partial(root, path).await;
        let (metadata, digest, size) = (&file.metadata, file.digest, file.size);
        if publish {
            let written = Written { root, path, metadata, digest, size };
            let durable = !self.options.believes_answers;
            return self.put_file(&written, &load, durable).await.map(Some);
        }
        let body = self.stage_load((root, path), load, metadata, digest).await?;
        let (ticket, metadata) = (file.ticket, metadata.clone());
        let staged = Staged { ticket, partial: None, metadata, digest, size, body };
        guard(&root.staged).insert(path.clone(), staged);
        Ok(None)
    }
}
