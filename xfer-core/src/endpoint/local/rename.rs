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
use super::publish::{SYNC_EACH_MAX, each_in_threads};
use super::remove::in_writable;
use super::roots::{OpenRoot, write_fault};
use crate::disk::fault::fault;
use crate::disk::{Errno, file, is_partial_name, metadata, partial, stat, sync};

/// How renamed files are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    No,
    Each,
    /// All that are on the root's file system at once.
    Together,
}

impl Shared {
    pub(super) fn rename(&self, rename: &Rename) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(rename.root, Operation::Commit)?;
        let entries = &rename.entries;
        if entries.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Commit, RelPath::root()));
        }
        let names = entries.iter().flat_map(|entry| [&entry.from, &entry.to]);
        let _claim = self.claims.claim(rename.root, names);
        let many = rename.durable && entries.len() > SYNC_EACH_MAX;
        let whole = root.whole.as_ref().filter(|_| many);
        let durable = match (rename.durable, whole) {
            (false, _) => Durable::No,
            (true, None) => Durable::Each,
            (true, Some(_)) => Durable::Together,
        };
        let sync_together = || whole.map_or(Ok(()), sync::sync_whole);
        let before = sync_together();
        let mut directories = Directories::new(&root, self.options.confinement, Operation::Commit);
        let mut results = Vec::new();
        for some in entries.chunks(SYNC_EACH_MAX) {
            results.extend(match before {
                Ok(()) => self.rename_some(&root, &mut directories, some, durable),
                Err(errno) => {
                    some.iter().map(|it| Err(fault(errno, Operation::Sync, &it.to))).collect()
                }
            });
        }
        // The system tells of it once, and not of whose bytes are lost.
        for errno in
            [before, before.and_then(|()| sync_together())].into_iter().filter_map(Result::err)
        {
            root.stays_unsynced(root.fault(errno, Operation::Sync));
            for (entry, result) in entries.iter().zip(&mut results) {
                *result = Err(fault(errno, Operation::Sync, &entry.to));
            }
        }
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

    fn rename_some(
        &self,
        root: &OpenRoot,
        directories: &mut Directories<'_>,
        entries: &[Renaming],
        durable: Durable,
    ) -> Vec<Result<Stamp, Fault>> {
        let open = |entry| open_renamed(root, directories, entry, durable);
        let mut held: Vec<_> = entries.iter().map(open).collect();
        sync_each(root, entries, &mut held);
        for (entry, held) in entries.iter().zip(&mut held) {
            if let Ok(file) = held
                && let Err(fault) = self.rename_one(root, directories, entry, file)
            {
                *held = Err(fault);
            }
        }
        sync_each(root, entries, &mut held);
        let stamp = |(entry, held): (&Renaming, Result<Held, Fault>)| {
            let found = rustix::fs::fstat(&held?.file);
            let failed = |errno| write_fault(root, errno, Operation::Commit, &entry.to);
            found.map(|found| stat::stamp(&found)).map_err(failed)
        };
        entries.iter().zip(held).map(stamp).collect()
    }

    /// Gives a file its new name, unless it has that, and its metadata.
    fn rename_one(
        &self,
        root: &OpenRoot,
        directories: &mut Directories<'_>,
        entry: &Renaming,
        held: &Held,
    ) -> Result<(), Fault> {
        let Renaming { from, to, metadata, .. } = entry;
        let failed = |errno| write_fault(root, errno, Operation::Commit, to);
        let bad = |kind| Fault::new(kind, Operation::Commit, to.clone());
        let (there, to_name) = directories.parent(to)?;
        if !held.is_there {
            let (here, from_name) = directories.parent(from).map_err(|it| told_of(to, it))?;
            rename(&here, from_name, &there, to_name).map_err(|errno| match errno {
                Errno::EXIST => bad(FaultKind::Conflict),
                Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => {
                    bad(FaultKind::Unsupported)
                }
                errno => failed(errno),
            })?;
            root.touch(&from.parent().unwrap_or_default(), here.on_root_device);
            root.touch(&to.parent().unwrap_or_default(), there.on_root_device);
            if !partial::stands_at(&held.file, there.as_fd(), to_name).map_err(failed)? {
                // Another file was put under the old name in the moment before it went.
                let _as_it_was = rename(&there, to_name, &here, from_name);
                return Err(bad(FaultKind::Changed));
            }
        }
        metadata::set_at(there.as_fd(), to_name, metadata, self.preserve).map_err(failed)
    }
}

/// A file that is to have another name.
struct Held {
    file: OwnedFd,
    /// Whether it has that name already: this very request may have come before, and its answer
    /// was lost.
    is_there: bool,
    /// Whether it is synced by itself.
    alone: bool,
}

fn open_renamed(
    root: &OpenRoot,
    directories: &mut Directories<'_>,
    entry: &Renaming,
    durable: Durable,
) -> Result<Held, Fault> {
    let Renaming { from, to, stamp: seen, .. } = entry;
    let bad = |kind| Fault::new(kind, Operation::Commit, to.clone());
    let (there, to_name) = directories.parent(to)?;
    let (here, from_name) = directories.parent(from).map_err(|it| told_of(to, it))?;
    if is_partial_name(from_name) || is_partial_name(to_name) {
        return Err(bad(FaultKind::Unsafe));
    }
    let alone = match durable {
        Durable::No => false,
        Durable::Each => true,
        Durable::Together => !(here.on_root_device && there.on_root_device),
    };
    match file::open_source(here.as_fd(), from_name) {
        Ok(Some((file, found))) if stat::stamp(&found) == *seen => {
            Ok(Held { file, is_there: false, alone })
        }
        Ok(_) => Err(bad(FaultKind::Changed)),
        Err(Errno::NOENT) => match file::open_source(there.as_fd(), to_name) {
            Ok(Some((file, found))) if is_it(seen, &found) => {
                Ok(Held { file, is_there: true, alone })
            }
            _ => Err(bad(FaultKind::Changed)),
        },
        Err(errno) => Err(write_fault(root, errno, Operation::Commit, to)),
    }
}

/// Syncs those that have to be synced by themselves, several at a time.
fn sync_each(root: &OpenRoot, entries: &[Renaming], held: &mut [Result<Held, Fault>]) {
    let mut both: Vec<_> = entries.iter().zip(held).collect();
    let synced = each_in_threads(&mut both, |(_, held)| match held {
        Ok(Held { file, alone: true, .. }) => file::sync(file),
        _ => Ok(()),
    });
    for ((entry, held), synced) in both.into_iter().zip(synced) {
        if let Err(errno) = synced {
            *held = Err(write_fault(root, errno, Operation::Commit, &entry.to));
        }
    }
}

fn told_of(to: &RelPath, fault: Fault) -> Fault {
    Fault { path: to.clone(), ..fault }
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
