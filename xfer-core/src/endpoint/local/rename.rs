//! Giving files other names: what would go is kept as what is wanted.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Stat;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::Outcome;
use xfer_protocol::message::removal::{Rename, Renaming};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::directories::{Directories, Place};
use super::remove::in_writable;
use super::roots::{OpenRoot, write_fault};
use crate::disk::fault::fault;
use crate::disk::{Errno, file, is_partial_name, metadata, partial, stat};

impl Shared {
    pub(super) fn rename(&self, rename: &Rename) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(rename.root, Operation::Commit)?;
        let entries = &rename.entries;
        if entries.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Commit, RelPath::root()));
        }
        let names = entries.iter().flat_map(|entry| [&entry.from, &entry.to]);
        let _claim = self.claims.claim(rename.root, names);
        let mut directories = Directories::new(&root, self.options.confinement, Operation::Commit);
        let renamed = |entry| self.rename_one(&root, &mut directories, entry, rename.durable);
        let mut results: Vec<_> = entries.iter().map(renamed).collect();
        if rename.durable {
            for (directory, errno) in self.sync_touched(&root) {
                let touches = |path: &RelPath| path.parent().unwrap_or_default() == directory;
                let mut is_told = false;
                for (entry, result) in entries.iter().zip(&mut results) {
                    if result.is_ok() && (touches(&entry.from) || touches(&entry.to)) {
                        *result = Err(fault(errno, Operation::Sync, &entry.to));
                        is_told = true;
                    }
                }
                if !is_told {
                    root.stays_unsynced(fault(errno, Operation::Sync, &directory));
                }
            }
        }
        let outcome = |(entry, result): (&Renaming, Result<_, _>)| Outcome {
            ticket: entry.ticket,
            result: result.map(Some),
        };
        Ok(entries.iter().zip(results).map(outcome).collect())
    }

    fn rename_one(
        &self,
        root: &OpenRoot,
        directories: &mut Directories<'_>,
        entry: &Renaming,
        durable: bool,
    ) -> Result<Stamp, Fault> {
        let Renaming { from, to, stamp: seen, .. } = entry;
        let failed = |errno| write_fault(root, errno, Operation::Commit, to);
        let bad = |kind| Fault::new(kind, Operation::Commit, to.clone());
        let told = |fault| Fault { path: to.clone(), ..fault };
        let (there, to_name) = directories.parent(to)?;
        let (here, from_name) = directories.parent(from).map_err(told)?;
        if is_partial_name(from_name) || is_partial_name(to_name) {
            return Err(bad(FaultKind::Unsafe));
        }
        let held = match file::open_source(here.as_fd(), from_name) {
            Ok(Some((held, found))) if stat::stamp(&found) == *seen => held,
            Ok(_) => return Err(bad(FaultKind::Changed)),
            // This very request may have come before, and its answer was lost.
            Err(Errno::NOENT) => match file::open_source(there.as_fd(), to_name) {
                Ok(Some((held, found))) if is_it(seen, &found) => {
                    return self.settle_renamed(root, &there, entry, &held, durable);
                }
                _ => return Err(bad(FaultKind::Changed)),
            },
            Err(errno) => return Err(failed(errno)),
        };
        if durable {
            file::sync(&held).map_err(failed)?;
        }
        rename(&here, from_name, &there, to_name).map_err(|errno| match errno {
            Errno::EXIST => bad(FaultKind::Conflict),
            Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                bad(FaultKind::Unsupported)
            }
            errno => failed(errno),
        })?;
        root.touch(&from.parent().unwrap_or_default(), here.on_root_device);
        root.touch(&to.parent().unwrap_or_default(), there.on_root_device);
        if !partial::stands_at(&held, there.as_fd(), to_name).map_err(failed)? {
            // Another file was put under the old name in the moment before it went.
            let _as_it_was = rename(&there, to_name, &here, from_name);
            return Err(bad(FaultKind::Changed));
        }
        self.settle_renamed(root, &there, entry, &held, durable)
    }

    /// Sets the metadata of a file that has its new name, and sees to it that they last.
    fn settle_renamed(
        &self,
        root: &OpenRoot,
        there: &Place,
        entry: &Renaming,
        held: &OwnedFd,
        durable: bool,
    ) -> Result<Stamp, Fault> {
        let failed = |errno| write_fault(root, errno, Operation::Commit, &entry.to);
        let name = entry.to.name().unwrap_or_default();
        metadata::set_at(there.as_fd(), name, &entry.metadata, self.preserve).map_err(failed)?;
        if durable {
            file::sync(held).map_err(failed)?;
        }
        rustix::fs::fstat(held).map(|found| stat::stamp(&found)).map_err(failed)
    }
}

/// Whether a file is one that was seen under its old name, whatever its times are by now.
fn is_it(seen: &Stamp, found: &Stat) -> bool {
    let now = stat::stamp(found);
    (seen.inode, seen.size) == (now.inode, now.size)
}

/// Gives an entry another name unless something has that.
fn rename(here: &Place, from: &[u8], there: &Place, to: &[u8]) -> Result<(), Errno> {
    let renamed = || partial::rename_to_free(here.as_fd(), from, there.as_fd(), to);
    in_writable(here, || in_writable(there, renamed))
}
