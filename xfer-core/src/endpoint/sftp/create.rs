//! Directories and links; metadata of what is there.

use futures_util::{FutureExt, TryFutureExt};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::{Create, NewEntry, NewKind, Outcome, Paths, SetMetadata};
use xfer_protocol::path::RelPath;

use super::entry::{stamp, wanted};
use super::fault::sort;
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once};
use crate::disk::{is_partial_name, written_over};
use crate::endpoint::agentless::pack::outcome;
use crate::endpoint::{EndpointError, EndpointResult};
use crate::transport::sftp::{Attributes, FileKind, Refusal, SftpError};

/// A name that holds no bytes of its own.
#[derive(Clone, Copy)]
enum NewName<'a> {
    HardLink(&'a [u8]),
    Link(&'a [u8]),
}

impl Shared {
    pub(super) async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(create.root, Operation::Create)?;
        check_batch(create.entries.len(), Operation::Create)?;
        let _claim = self.claims.claim(create.root, create.entries.iter().map(|e| &e.path)).await;
        let each = create.entries.iter().map(|entry| {
            let made = self.create_entry(&root, entry).map_ok(Some);
            outcome(entry.ticket, made).boxed()
        });
        at_once(AT_ONCE, each.collect()).await
    }

    async fn create_entry(&self, root: &OpenRoot, entry: &NewEntry) -> EndpointResult<Stamp> {
        let path = &entry.path;
        let bad = |kind| Fault::new(kind, Operation::Create, path.clone());
        if path.is_root() && entry.kind == NewKind::Directory {
            return self.stamp_at(root, path).await;
        }
        self.reach_new(root, path, Operation::Create).await?;
        match &entry.kind {
            NewKind::Device(_) | NewKind::Fifo | NewKind::Socket => {
                Err(bad(FaultKind::Unsupported).into())
            }
            NewKind::Directory => self.make_directory(root, path).await,
            NewKind::HardLink { of } => self.make_hard_link(root, path, of).await,
            NewKind::Symlink { content } if content.len() > limits::SYMLINK_BYTES_MAX => {
                Err(bad(FaultKind::Limit).into())
            }
            NewKind::Symlink { content } => {
                self.make_in_partial(root, path, NewName::Link(content)).await?;
                let partial = root.partial_at(path);
                self.set_link_metadata(&partial, path, &entry.metadata).await?;
                self.put_in_place(root, path, Operation::Create).await
            }
        }
    }

    async fn make_directory(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<Stamp> {
        let at = root.at(path);
        let made = match self.sftp.make_directory(&at, 0o700).await {
            Err(SftpError::Refused(Refusal::Failure)) => false,
            Err(error) => {
                return Err(self.write_fault(root, error, Operation::Create, path).await);
            }
            Ok(()) => true,
        };
        let found = match self.sftp.attributes(&at, false).await {
            Ok(found) => found,
            Err(error) => {
                return Err(self.write_fault(root, error, Operation::Create, path).await);
            }
        };
        if found.kind() != Some(FileKind::Directory) {
            return Err(Fault::new(FaultKind::Conflict, Operation::Create, path.clone()).into());
        }
        root.note(path);
        if made {
            self.touch(root, &path.parent().unwrap_or_default()).await?;
        } else if let Some(mode) = found.permissions.filter(|mode| mode & 0o700 != 0o700) {
            let mode = Some(mode & limits::MODE_MAX | 0o700);
            let attributes = Attributes { permissions: mode, ..Attributes::default() };
            // Somebody else's directory may let us in all the same.
            let _ = self.sftp.set(&at, &attributes).await;
        }
        Ok(stamp(&found))
    }

    async fn make_hard_link(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        of: &RelPath,
    ) -> EndpointResult<Stamp> {
        self.reach(root, of, Operation::Create, false).await?;
        let made = self.make_in_partial(root, path, NewName::HardLink(&root.at(of))).await;
        made.map_err(|error| match error {
            // Across file systems, or with too many names: version 3 has one word for all.
            EndpointError::Fault(fault) if fault.kind == FaultKind::Io => {
                Fault { kind: FaultKind::Unsupported, ..fault }.into()
            }
            other => other,
        })?;
        let stamp = self.put_in_place(root, path, Operation::Create).await?;
        // Renaming one name of a file over another of the same file changes nothing and leaves
        // both.
        self.drop_partial(root, path).await;
        Ok(stamp)
    }

    /// Makes something under an entry's partial name, in the place of whatever has that name.
    async fn make_in_partial(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        name: NewName<'_>,
    ) -> EndpointResult<()> {
        self.release_partial(root, path).await;
        let partial = root.partial_at(path);
        let mut made = self.make_name(name, &partial).await;
        if made == Err(SftpError::Refused(Refusal::Failure))
            && self.sftp.remove(&partial).await.is_ok()
        {
            made = self.make_name(name, &partial).await;
        }
        match made {
            Ok(()) => Ok(()),
            Err(error) => Err(self.write_fault(root, error, Operation::Create, path).await),
        }
    }

    async fn make_name(&self, name: NewName<'_>, at: &[u8]) -> Result<(), SftpError> {
        match name {
            NewName::HardLink(of) => self.sftp.make_hard_link(of, at).await,
            NewName::Link(content) => self.sftp.make_link(content, at).await,
        }
    }

    /// Sets what a symbolic link has of metadata, where the server can.
    async fn set_link_metadata(
        &self,
        at: &[u8],
        path: &RelPath,
        metadata: &Metadata,
    ) -> EndpointResult<()> {
        let (owner, rest) = wanted(metadata, &self.options);
        let rest = Attributes { permissions: None, ..rest };
        for attributes in owner.iter().chain([&rest]) {
            match self.sftp.set_link(at, attributes).await {
                Ok(()) | Err(SftpError::Refused(Refusal::Unsupported)) => {}
                Err(error) => return Err(sort(error, Operation::SetMetadata, path)),
            }
        }
        Ok(())
    }

    pub(super) async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(set.root, Operation::SetMetadata)?;
        check_batch(set.entries.len(), Operation::SetMetadata)?;
        // Children before parents, which may be closed to us afterwards; one depth at a time.
        let depth = |place: &usize| set.entries[*place].1.components().count();
        let mut order: Vec<usize> = (0..set.entries.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(depth(place)));
        let mut outcomes: Vec<(usize, Outcome)> = Vec::with_capacity(order.len());
        for level in order.chunk_by(|a, b| depth(a) == depth(b)) {
            let each = level.iter().map(|place| {
                let (ticket, path, metadata) = &set.entries[*place];
                let set = self.set_entry(&root, path, metadata).map_ok(Some);
                outcome(*ticket, set).boxed()
            });
            let done = at_once(AT_ONCE, each.collect()).await?;
            outcomes.extend(level.iter().copied().zip(done));
        }
        outcomes.sort_by_key(|(place, _)| *place);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    async fn set_entry(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        metadata: &Metadata,
    ) -> EndpointResult<Stamp> {
        let failed = |error| sort(error, Operation::SetMetadata, path);
        self.reach(root, path, Operation::SetMetadata, false).await?;
        let at = root.at(path);
        let found = self.sftp.attributes(&at, false).await.map_err(failed)?;
        if found.kind() == Some(FileKind::Symlink) {
            self.set_link_metadata(&at, path, metadata).await?;
        } else {
            let (owner, rest) = wanted(metadata, &self.options);
            for attributes in owner.iter().chain([&rest]) {
                self.sftp.set(&at, attributes).await.map_err(failed)?;
            }
        }
        if found.kind() == Some(FileKind::Directory) {
            self.touch(root, path).await?;
        }
        self.stamp_at(root, path).await
    }

    async fn stamp_at(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<Stamp> {
        let found = self.sftp.attributes(&root.at(path), false).await;
        Ok(stamp(&found.map_err(|error| sort(error, Operation::Stat, path))?))
    }

    pub(super) async fn remove_partials(&self, partials: &Paths) -> EndpointResult<()> {
        let root = self.writable(partials.root, Operation::Remove)?;
        check_batch(partials.paths.len(), Operation::Remove)?;
        for path in &partials.paths {
            if !path.name().is_some_and(is_partial_name) {
                let kind = FaultKind::Protocol;
                return Err(Fault::new(kind, Operation::Remove, path.clone()).into());
            }
            match self.reach(&root, path, Operation::Remove, false).await {
                Err(EndpointError::Fault(gone)) if gone.kind == FaultKind::NotFound => continue,
                other => other?,
            }
            if self.is_all_there_is(&root, path).await? {
                continue;
            }
            let at = root.at(path);
            // One that is being assembled here is no left-over.
            if self.partials.holds(&root, &at) {
                continue;
            }
            match self.sftp.remove(&at).await {
                Ok(()) | Err(SftpError::Refused(Refusal::NotFound)) => {}
                Err(error) => return Err(sort(error, Operation::Remove, path)),
            }
        }
        Ok(())
    }

    /// Whether a partial is a file that an agent began to write over, and nothing has its name
    /// again.
    async fn is_all_there_is(&self, root: &OpenRoot, partial: &RelPath) -> EndpointResult<bool> {
        let Some(name) = partial.name().and_then(written_over) else { return Ok(false) };
        let file = partial.parent().and_then(|parent| parent.child(name).ok());
        let Some(file) = file else { return Ok(true) };
        match self.sftp.attributes(&root.at(&file), false).await {
            Ok(_) => Ok(false),
            Err(SftpError::Refused(Refusal::NotFound)) => Ok(true),
            Err(error) => Err(sort(error, Operation::Remove, &file)),
        }
    }
}

fn check_batch(entries: usize, during: Operation) -> Result<(), Fault> {
    if entries > limits::BATCH_ENTRIES_MAX {
        return Err(Fault::new(FaultKind::Limit, during, RelPath::root()));
    }
    Ok(())
}
