//! Locks of destination entries, held until the root is finished or the endpoint closed.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::fs::AtFlags;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::Lock;
use xfer_protocol::path::RelPath;

use super::roots::OpenRoot;
use super::{Shared, guard};
use crate::disk::confine::{Confinement, open_directory, open_for_reading};
use crate::disk::fault::fault;
use crate::disk::lock::{LockMode, lock};
use crate::disk::{Errno, in_place_name, partial, partial_name, stat};

/// Entries of one request beyond which their directories are locked instead: each lock is a
/// descriptor. No request of ours names as many.
const ENTRIES_MAX: usize = 256;

/// The locks below one root.
#[derive(Default)]
pub(super) struct Locks(Mutex<Held>);

#[derive(Default)]
struct Held {
    directories: HashMap<RelPath, (OwnedFd, LockMode)>,
    /// Entries that were locked and are no directories yet; locked when they become some.
    awaited: Vec<RelPath>,
}

impl Locks {
    pub(super) fn release(&self) {
        *guard(&self.0) = Held::default();
    }

    /// Whether a lock of ours keeps others from writing in a directory.
    pub(super) fn cover(&self, directory: &RelPath) -> bool {
        let held = guard(&self.0);
        let exclusive = |(path, (_, mode)): (&RelPath, &(OwnedFd, LockMode))| {
            *mode == LockMode::Exclusive && directory.starts_with(path)
        };
        held.directories.iter().any(exclusive)
    }

    /// Locks an entry that was just made as a directory, if it was to be locked.
    pub(super) fn entered(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        confinement: Confinement,
    ) -> Result<(), Errno> {
        if !guard(&self.0).awaited.contains(path) {
            return Ok(());
        }
        self.take(root, path, LockMode::Exclusive, confinement)?;
        guard(&self.0).awaited.retain(|awaited| awaited != path);
        Ok(())
    }

    /// Locks a directory, unless it is locked that much already.
    fn take(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        mode: LockMode,
        confinement: Confinement,
    ) -> Result<(), Errno> {
        let mut held = guard(&self.0);
        match held.directories.get_mut(path) {
            Some((_, have)) if *have >= mode => Ok(()),
            Some((directory, have)) => {
                lock(&*directory, mode)?;
                *have = mode;
                Ok(())
            }
            None => {
                let place = open_directory(root.place(), path, confinement)?;
                let directory = open_for_reading(place.as_fd())?;
                lock(&directory, mode)?;
                held.directories.insert(path.clone(), (directory, mode));
                Ok(())
            }
        }
    }
}

impl Shared {
    pub(super) fn lock(&self, request: &Lock) -> Result<(), Fault> {
        let root = self.writable(request.root, Operation::Lock)?;
        if request.entries.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Lock, RelPath::root()));
        }
        let many = request.entries.len() > ENTRIES_MAX;
        for entry in &request.entries {
            let parent = entry.parent();
            let result = match parent {
                Some(parent) if many => self.lock_directory(&root, &parent),
                _ => self.lock_entry(&root, entry),
            };
            result.map_err(|errno| fault(errno, Operation::Lock, entry))?;
        }
        Ok(())
    }

    /// Locks an entry, and what leads to it as far as it exists.
    fn lock_entry(&self, root: &OpenRoot, entry: &RelPath) -> Result<(), Errno> {
        let Some(name) = entry.name() else { return self.lock_directory(root, entry) };
        let parent = entry.parent().unwrap_or_default();
        self.share_ancestors(root, entry)?;
        let place = match open_directory(root.place(), &parent, self.options.confinement) {
            Err(Errno::NOENT) => return self.await_entry(root, entry),
            other => other?,
        };
        match rustix::fs::statat(&place, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if stat::file_type(&found).is_dir() => {
                return self.lock_directory(root, entry);
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        // A file's lock is its partial's, which lives as long as the file is assembled.
        for partial in [Some(partial_name(name)), in_place_name(name)].into_iter().flatten() {
            if partial::is_held(place.as_fd(), &partial)? {
                return Err(Errno::WOULDBLOCK);
            }
        }
        self.await_entry(root, entry)
    }

    fn await_entry(&self, root: &OpenRoot, entry: &RelPath) -> Result<(), Errno> {
        let mut held = guard(&root.locks.0);
        if !held.awaited.contains(entry) {
            held.awaited.push(entry.clone());
        }
        Ok(())
    }

    fn lock_directory(&self, root: &OpenRoot, path: &RelPath) -> Result<(), Errno> {
        self.share_ancestors(root, path)?;
        root.locks.take(root, path, LockMode::Exclusive, self.options.confinement)
    }

    fn share_ancestors(&self, root: &OpenRoot, path: &RelPath) -> Result<(), Errno> {
        let mut ancestors: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            match root.locks.take(root, &ancestor, LockMode::Shared, self.options.confinement) {
                Err(Errno::NOENT) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }
}
