//! Locks, as far as they go over a store: files in this machine's own state directory, so transfers
//! from here keep each other off an entry, and those from elsewhere are not seen.

use std::collections::HashMap;
use std::sync::Mutex;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::Lock;
use xfer_protocol::path::RelPath;

use super::{Shared, guard};
use crate::disk::Errno;
use crate::disk::fault::fault;
use crate::disk::lock::{LockMode, lock};
use crate::disk::state::{LockFile, StateDirectory};
use crate::endpoint::EndpointResult;

/// Locks of one session, by the absolute paths that they stand for.
#[derive(Default)]
pub(super) struct Locks(Mutex<HashMap<Vec<u8>, Held>>);

struct Held {
    file: LockFile,
    mode: LockMode,
}

impl Locks {
    pub(super) fn clear(&self) {
        guard(&self.0).clear();
    }

    /// Lets go of all locks at and below a path.
    pub(super) fn release(&self, root: &[u8]) {
        guard(&self.0).retain(|path, _| {
            let rest = path.strip_prefix(root);
            !rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/")
            })
        });
    }
}

impl Shared {
    /// Locks entries exclusively, and shared what leads to them within their root.
    pub(super) fn lock(&self, lock: &Lock) -> EndpointResult<()> {
        let root = self.writable(lock.root, Operation::Lock)?;
        let Some(directory) = &self.options.locks else { return Ok(()) };
        for entry in &lock.entries {
            let mut taken = Vec::new();
            let above = std::iter::successors(entry.parent(), RelPath::parent);
            let mut wanted: Vec<_> = above.map(|above| (above, LockMode::Shared)).collect();
            wanted.reverse();
            wanted.push((entry.clone(), LockMode::Exclusive));
            for (path, mode) in wanted {
                let at = root.place(&path);
                match self.take(directory, &at, mode) {
                    Ok(true) => taken.push(at),
                    Ok(false) => {}
                    Err(errno) => {
                        let mut held = guard(&self.locks.0);
                        taken.iter().for_each(|at| drop(held.remove(at)));
                        let fault = match errno {
                            Errno::WOULDBLOCK => {
                                Fault::new(FaultKind::Busy, Operation::Lock, entry.clone())
                            }
                            errno => fault(errno, Operation::Lock, entry),
                        };
                        return Err(fault.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes one lock, or raises it; whether it is new comes back.
    fn take(&self, directory: &StateDirectory, at: &[u8], mode: LockMode) -> Result<bool, Errno> {
        let mut held = guard(&self.locks.0);
        if let Some(known) = held.get_mut(at) {
            if known.mode < mode {
                lock(&known.file, mode)?;
                known.mode = mode;
            }
            return Ok(false);
        }
        let name = blake3::keyed_hash(&self.lock_key(), at).to_hex();
        let file = directory.lock_file(&name).map_err(|_| Errno::IO)?;
        lock(&file, mode)?;
        held.insert(at.to_vec(), Held { file, mode });
        Ok(true)
    }

    /// Tells the keys of one bucket from those of another.
    fn lock_key(&self) -> [u8; 32] {
        *blake3::hash(self.store.name().as_bytes()).as_bytes()
    }
}
