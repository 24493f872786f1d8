//! Directories and links, which only the manifest knows; metadata of what is there.

use futures_util::{FutureExt, TryFutureExt};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::{Create, NewEntry, NewKind, Outcome, Paths, SetMetadata};
use xfer_protocol::path::RelPath;

use super::entry::{Seen, implied, number_of, stamp};
use super::fault::sort;
use super::manifest::{Described, DescribedKind};
use super::places::Standing;
use super::roots::OpenRoot;
use super::store::{StoreError, UploadId};
use super::{LOOKS_AT_ONCE, Shared, at_once, attributes};
use crate::disk::fault::fault as io_fault;
use crate::disk::is_partial_name;
use crate::endpoint::EndpointResult;
use crate::endpoint::agentless::pack::outcome;

impl Shared {
    pub(super) async fn create(&self, create: Create) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(create.root, Operation::Create)?;
        check_batch(create.entries.len(), Operation::Create)?;
        let _claim = self.claims.claim(create.root, create.entries.iter().map(|e| &e.path)).await;
        let each = create.entries.iter().map(|entry| {
            let made = self.create_entry(&root, entry).map_ok(Some);
            outcome(entry.ticket, made).boxed()
        });
        at_once(LOOKS_AT_ONCE, each.collect()).await
    }

    async fn create_entry(&self, root: &OpenRoot, entry: &NewEntry) -> EndpointResult<Stamp> {
        let path = &entry.path;
        let bad = |kind| Fault::new(kind, Operation::Create, path.clone());
        if path.is_root() && entry.kind == NewKind::Directory {
            return Ok(directory_stamp(root, path));
        }
        let stands = self.reach_new(root, path, Operation::Create).await?;
        match &entry.kind {
            NewKind::Device(_) | NewKind::Fifo | NewKind::Socket | NewKind::HardLink { .. } => {
                Err(bad(FaultKind::Unsupported).into())
            }
            NewKind::Directory => match stands {
                Standing::File | Standing::Link => Err(bad(FaultKind::Conflict).into()),
                Standing::Directory => {
                    if root.layer.get(path).is_none() {
                        let kind = DescribedKind::Directory;
                        let found = root.described(path);
                        let found = found.unwrap_or_else(|| Described::new(kind, &implied()));
                        root.change(path, found);
                    }
                    Ok(directory_stamp(root, path))
                }
                Standing::Nothing => {
                    // Metadata of its own comes last, as everywhere.
                    let made = Described::new(DescribedKind::Directory, &entry.metadata);
                    let made = Described { mode: made.mode | 0o700, ..made };
                    root.change(path, made);
                    root.note(path, Standing::Directory);
                    Ok(directory_stamp(root, path))
                }
            },
            NewKind::Symlink { content } if content.len() > limits::SYMLINK_BYTES_MAX => {
                Err(bad(FaultKind::Limit).into())
            }
            NewKind::Symlink { content } if content.is_empty() || content.contains(&0) => {
                Err(bad(FaultKind::Unsupported).into())
            }
            NewKind::Symlink { .. } if stands == Standing::Directory => {
                Err(bad(FaultKind::Conflict).into())
            }
            NewKind::Symlink { content } => {
                self.unstage(root, path).await?;
                self.release_partial(root, path).await;
                if stands == Standing::File {
                    root.layer.replace(path, root.key(path, Operation::Create)?);
                }
                let kind = DescribedKind::Symlink { content: content.clone() };
                root.change(path, Described::new(kind, &entry.metadata));
                Ok(stamp(0, entry.metadata.modified, root.number(path)))
            }
        }
    }

    pub(super) async fn set_metadata(&self, set: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        let root = self.writable(set.root, Operation::SetMetadata)?;
        check_batch(set.entries.len(), Operation::SetMetadata)?;
        let each = set.entries.iter().map(|(ticket, path, metadata)| {
            let set = self.set_entry(&root, path, metadata).map_ok(Some);
            outcome(*ticket, set).boxed()
        });
        at_once(LOOKS_AT_ONCE, each.collect()).await
    }

    async fn set_entry(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        metadata: &Metadata,
    ) -> EndpointResult<Stamp> {
        let missing = || Fault::new(FaultKind::NotFound, Operation::SetMetadata, path.clone());
        let stands = if path.is_root() {
            Standing::Directory
        } else {
            root.key(path, Operation::SetMetadata)?;
            self.reach(root, path, Operation::SetMetadata, false).await?;
            self.standing(root, path).await?
        };
        let (kind, size, number) = match (stands, root.described(path)) {
            (Standing::Nothing, _) => return Err(missing().into()),
            (Standing::Directory, _) => (DescribedKind::Directory, 0, root.number(path)),
            (Standing::Link, Some(described)) => (described.kind, 0, root.number(path)),
            (Standing::Link, None) => return Err(missing().into()),
            (Standing::File, _) => self.file_kind(root, path).await?,
        };
        root.change(path, Described::new(kind, metadata));
        Ok(stamp(size, metadata.modified, number))
    }

    /// What is to be described of a file: as this session wrote it, or as it is found.
    async fn file_kind(
        &self,
        root: &OpenRoot,
        path: &RelPath,
    ) -> EndpointResult<(DescribedKind, u64, u64)> {
        if let Some(Described { kind, .. }) = root.layer.changed(path)
            && let DescribedKind::File { size, etag, .. } = &kind
        {
            let (size, number) = (*size, number_of(etag));
            return Ok((kind, size, number));
        }
        let key = root.key(path, Operation::SetMetadata)?;
        let found = self.store.head(&key).await;
        let found = found.map_err(|error| sort(error, Operation::SetMetadata, path))?;
        let (seen, size) = (Seen::of(&found), found.size);
        let before = root.describes(path, &seen).map(|described| described.kind);
        let kind = before.unwrap_or_else(|| DescribedKind::File {
            size,
            etag: found.version.etag.clone().unwrap_or_default(),
            digest: attributes::read(&found.attributes).digest,
        });
        Ok((kind, size, seen.number()))
    }

    pub(super) async fn remove_partials(&self, partials: &Paths) -> EndpointResult<()> {
        let root = self.writable(partials.root, Operation::Remove)?;
        check_batch(partials.paths.len(), Operation::Remove)?;
        let ours = |path: &RelPath| path.name().is_some_and(is_partial_name);
        if let Some(path) = partials.paths.iter().find(|path| !ours(path)) {
            let kind = FaultKind::Protocol;
            return Err(Fault::new(kind, Operation::Remove, path.clone()).into());
        }
        for (path, _) in self.recorded(&root) {
            let told = OpenRoot::partial_at(&path);
            let wanted = told.is_some_and(|told| partials.paths.contains(&told));
            // One that is being assembled here is no left-over.
            if !wanted || self.partials.holds(&root, &path) {
                continue;
            }
            // Another process of this machine may assemble it, from a root further in.
            let _kept_off = match self.lock_place() {
                Some(place) => match self.locks.keep_off(place, &root.place(&path)) {
                    Ok(Some(kept)) => kept,
                    Ok(None) => continue,
                    Err(errno) => return Err(io_fault(errno, Operation::Remove, &path).into()),
                },
                None => Vec::new(),
            };
            let key = root.key(&path, Operation::Remove)?;
            let Some(record) = self.record_of(&key) else { continue };
            if record.begun.attempt.is_some() {
                match self.store.abort(&key, &UploadId(record.begun.upload)).await {
                    Ok(()) | Err(StoreError::Missing) => {}
                    Err(error) => return Err(sort(error, Operation::Remove, &path)),
                }
            }
            self.drop_record(&key);
        }
        Ok(())
    }
}

fn directory_stamp(root: &OpenRoot, path: &RelPath) -> Stamp {
    let described = root.described(path).map(|found| found.metadata());
    stamp(0, described.unwrap_or_else(implied).modified, root.number(path))
}

fn check_batch(entries: usize, during: Operation) -> Result<(), Fault> {
    if entries > limits::BATCH_ENTRIES_MAX {
        return Err(Fault::new(FaultKind::Limit, during, RelPath::root()));
    }
    Ok(())
}
