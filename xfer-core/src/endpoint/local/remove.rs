//! Removing entries that a source does not have.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::Outcome;
use xfer_protocol::message::removal::{Removal, Remove};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::directories::{Directories, Place};
use super::roots::{OpenRoot, write_fault};
use crate::disk::{Errno, is_partial_name, metadata, partial_name, special, stat};

/// What one call removes in.
struct Removing<'a> {
    root: &'a OpenRoot,
    /// Where entries are.
    places: Directories<'a>,
    /// Where they are kept.
    kept: Directories<'a>,
    backup: Option<&'a RelPath>,
    stays: bool,
}

impl Shared {
    pub(super) fn remove(&self, remove: &Remove) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(remove.root, Operation::Remove)?;
        if remove.entries.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Remove, RelPath::root()));
        }
        if remove.stays && remove.backup.is_none() {
            return Err(Fault::new(FaultKind::Protocol, Operation::Remove, RelPath::root()));
        }
        let _claim = self.claims.claim(remove.root, remove.entries.iter().map(|e| &e.path));
        let places = || Directories::new(&root, self.options.confinement, Operation::Remove);
        let mut removing = Removing {
            root: &root,
            places: places(),
            kept: places().making_for_all(),
            backup: remove.backup.as_ref(),
            stays: remove.stays,
        };
        let outcomes = remove.entries.iter().map(|entry| {
            let result = removing.remove(entry).map(|()| None);
            Outcome { ticket: entry.ticket, result }
        });
        Ok(outcomes.collect())
    }
}

impl Removing<'_> {
    fn remove(&mut self, entry: &Removal) -> Result<(), Fault> {
        let path = &entry.path;
        let bad = |kind| Fault::new(kind, Operation::Remove, path.clone());
        let (place, name) = match self.places.parent(path) {
            Err(gone) if gone.kind == FaultKind::NotFound => return Ok(()),
            other => other?,
        };
        if is_partial_name(name) {
            return Err(bad(FaultKind::Unsafe));
        }
        let failed = |errno| write_fault(self.root, errno, Operation::Remove, path);
        let found = match rustix::fs::statat(&*place, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(failed)?,
        };
        if !is_still(entry, self.stays, &found) {
            return Err(bad(FaultKind::Changed));
        }
        if entry.directory {
            if self.stays {
                return Ok(());
            }
            let emptied = || rustix::fs::unlinkat(&*place, name, AtFlags::REMOVEDIR);
            in_writable(&place, emptied).map_err(failed)?;
        } else {
            match self.backup {
                Some(backup) => self.keep(&place, name, path, backup)?,
                None => {
                    let unlinked = || rustix::fs::unlinkat(&*place, name, AtFlags::empty());
                    in_writable(&place, unlinked).map_err(failed)?;
                }
            }
        }
        self.root.touch(&path.parent().unwrap_or_default(), place.on_root_device);
        Ok(())
    }

    /// Gives an entry its name below the backup directory, instead of its own or beside it.
    fn keep(
        &mut self,
        place: &Place,
        name: &[u8],
        path: &RelPath,
        backup: &RelPath,
    ) -> Result<(), Fault> {
        let failed = |errno| write_fault(self.root, errno, Operation::Remove, path);
        let too_long = |_| Fault::new(FaultKind::NameTooLong, Operation::Remove, path.clone());
        let to = backup.join(path).map_err(too_long)?;
        let (kept, kept_name) =
            self.kept.parent(&to).map_err(|fault| Fault { path: path.clone(), ..fault })?;
        let (here, there) = (place.as_fd(), kept.as_fd());
        if self.stays {
            let partial = partial_name(&partial_name(kept_name));
            special::link(here, name, there, kept_name, &partial).map_err(failed)?;
        } else {
            let renamed = || rustix::fs::renameat(here, name, there, kept_name);
            in_writable(place, renamed).map_err(failed)?;
        }
        self.root.touch(&to.parent().unwrap_or_default(), kept.on_root_device);
        Ok(())
    }
}

/// Whether an entry is what a scan saw.
fn is_still(entry: &Removal, stays: bool, found: &Stat) -> bool {
    let is_directory = stat::file_type(found) == FileType::Directory;
    let (seen, now) = (&entry.stamp, stat::stamp(found));
    if entry.directory || is_directory {
        return entry.directory && is_directory && seen.inode == now.inode;
    }
    // What is done under one name of a file is seen under all of them: its metadata is set, or
    // another name goes. A further name may have been given by this very request before its answer
    // was lost.
    let same_times = entry.linked || seen.modified == now.modified;
    let same_moment = entry.linked || stays || seen.changed == now.changed;
    (seen.size, seen.inode) == (now.size, now.inode) && same_times && same_moment
}

/// Changes the names in a directory, which is made writable where it is ours and is not: it goes as
/// well, or gets its mode back with its times.
pub(super) fn in_writable(
    place: &Place,
    change: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    match change() {
        Err(Errno::ACCESS) => {
            let found = rustix::fs::fstat(place)?;
            let mode = stat::permissions(&found);
            let is_ours = found.st_uid == rustix::process::geteuid().as_raw();
            if !is_ours || mode & 0o300 == 0o300 {
                return Err(Errno::ACCESS);
            }
            metadata::set_mode_at(place.as_fd(), b".", metadata::raw_mode(mode | 0o300))?;
            change()
        }
        other => other,
    }
}
