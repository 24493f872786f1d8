//! Locks, as far as they go where nobody can lock on the far side: files in this machine's own
//! state directory, so transfers from here keep each other off an entry, and those from elsewhere
//! are not seen.

use std::collections::HashMap;
use std::sync::Mutex;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::Lock;
use xfer_protocol::path::RelPath;

use super::guard;
use crate::disk::Errno;
use crate::disk::fault::fault;
use crate::disk::lock::{LockMode, lock, try_lock};
use crate::disk::state::{LockFile, StateDirectory};
use crate::endpoint::EndpointResult;

/// Locks of one session, by the absolute paths that they stand for.
#[derive(Default)]
pub(in crate::endpoint) struct Locks(Mutex<HashMap<Vec<u8>, Held>>);

/// Where locks lie, and what tells the paths of one far side from those of another.
#[derive(Clone, Copy)]
pub(in crate::endpoint) struct Place<'a> {
    pub(in crate::endpoint) directory: &'a StateDirectory,
    /// Names the far side.
    pub(in crate::endpoint) far: &'a [u8],
}

struct Held {
    file: LockFile,
    mode: LockMode,
}

impl Place<'_> {
    fn file(&self, at: &[u8]) -> Result<LockFile, Errno> {
        let key = *blake3::hash(self.far).as_bytes();
        let name = blake3::keyed_hash(&key, at).to_hex();
        self.directory.lock_file(&name).map_err(|_| Errno::IO)
    }
}

impl Locks {
    pub(in crate::endpoint) fn clear(&self) {
        guard(&self.0).clear();
    }

    /// Lets go of all locks at and below a path.
    pub(in crate::endpoint) fn release(&self, root: &[u8]) {
        guard(&self.0).retain(|path, _| {
            let rest = path.strip_prefix(root);
            !rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/")
            })
        });
    }

    /// Locks entries exclusively, and shared what leads to them within their root; `at` tells the
    /// absolute path of an entry.
    pub(in crate::endpoint) fn lock(
        &self,
        place: Place<'_>,
        request: &Lock,
        at: impl Fn(&RelPath) -> Vec<u8>,
    ) -> EndpointResult<()> {
        for entry in &request.entries {
            let mut taken = Vec::new();
            let above = std::iter::successors(entry.parent(), RelPath::parent);
            let mut wanted: Vec<_> = above.map(|above| (above, LockMode::Shared)).collect();
            wanted.reverse();
            wanted.push((entry.clone(), LockMode::Exclusive));
            for (path, mode) in wanted {
                let at = at(&path);
                match self.take(place, &at, mode) {
                    Ok(true) => taken.push(at),
                    Ok(false) => {}
                    Err(errno) => {
                        let mut held = guard(&self.0);
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

    /// Keeps others off a path and what leads to it, for as long as what comes back is held;
    /// nothing where another process writes there already.
    pub(in crate::endpoint) fn keep_off(
        &self,
        place: Place<'_>,
        path: &[u8],
    ) -> Result<Option<Vec<LockFile>>, Errno> {
        let held = guard(&self.0);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let above = ends.map(|(end, _)| &path[..end.max(1)]);
        let mut kept = Vec::new();
        // What is locked here already, nobody else has.
        for at in above.chain([path]).filter(|at| !held.contains_key(*at)) {
            let file = place.file(at)?;
            match try_lock(&file, LockMode::Shared) {
                Ok(()) => kept.push(file),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
        Ok(Some(kept))
    }

    /// Takes one lock, or raises it; whether it is new comes back.
    fn take(&self, place: Place<'_>, at: &[u8], mode: LockMode) -> Result<bool, Errno> {
        let mut held = guard(&self.0);
        if let Some(known) = held.get_mut(at) {
            if known.mode < mode {
                lock(&known.file, mode)?;
                known.mode = mode;
            }
            return Ok(false);
        }
        let file = place.file(at)?;
        lock(&file, mode)?;
        held.insert(at.to_vec(), Held { file, mode });
        Ok(true)
    }
}
