//! Directories, links and special files; metadata of what is there.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Create, NewEntry, NewKind, Outcome, Paths, SetMetadata};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::directories::{Directories, Place};
use super::roots::{OpenRoot, write_fault};
use crate::disk::fault::fault;
use crate::disk::{
    Errno, confine, file, is_partial_name, metadata, partial, partial_name, special, stat, sync,
};

impl Shared {
    pub(super) fn create(&self, create: &Create) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(create.root, Operation::Create)?;
        check_batch(create.entries.len(), Operation::Create)?;
        let _claim = self.claims.claim(create.root, create.entries.iter().map(|e| &e.path));
        let mut directories =
            Directories::new(&root, self.options.confinement, Operation::Create).making();
        let outcomes = create.entries.iter().map(|entry| {
            let result = self.create_entry(&root, &mut directories, entry).map(Some);
            Outcome { ticket: entry.ticket, result }
        });
        Ok(outcomes.collect())
    }

    fn create_entry(
        &self,
        root: &OpenRoot,
        directories: &mut Directories<'_>,
        entry: &NewEntry,
    ) -> Result<Stamp, Fault> {
        let path = &entry.path;
        let bad = |kind| Fault::new(kind, Operation::Create, path.clone());
        if path.is_root() {
            // The root itself was opened, so it is there.
            let found = rustix::fs::fstat(root.place());
            let stamp = found.map(|found| stat::stamp(&found));
            return match entry.kind {
                NewKind::Directory => stamp.map_err(|e| fault(e, Operation::Stat, path)),
                _ => Err(bad(FaultKind::Conflict)),
            };
        }
        let (place, name) = directories.parent(path)?;
        if is_partial_name(name) {
            return Err(bad(FaultKind::Unsafe));
        }
        if matches!(entry.kind, NewKind::Device(_)) && !(self.options.devices && self.preserve.root)
        {
            return Err(bad(FaultKind::Device));
        }
        let made = match &entry.kind {
            NewKind::Directory => make_directory(&place, name),
            NewKind::HardLink { of } => {
                let (of_place, of_name) = directories.parent(of)?;
                // Not its own partial: where it cannot be linked, a copy goes on from that.
                let partial = partial_name(&partial_name(name));
                special::link(of_place.as_fd(), of_name, place.as_fd(), name, &partial)
            }
            NewKind::Symlink { content } if content.len() > limits::SYMLINK_BYTES_MAX => {
                return Err(bad(FaultKind::Limit));
            }
            kind => self.make_special(&place, name, kind, entry),
        };
        made.map_err(|errno| write_fault(root, errno, Operation::Create, path))?;
        root.touch(&path.parent().unwrap_or_default(), place.on_root_device);
        if matches!(entry.kind, NewKind::Directory) {
            root.locks
                .entered(root, path, self.options.confinement)
                .map_err(|errno| fault(errno, Operation::Lock, path))?;
        }
        let found = rustix::fs::statat(&*place, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| fault(errno, Operation::Stat, path))?;
        Ok(stat::stamp(&found))
    }

    /// Makes an entry under its partial's name, complete with its metadata, and renames it.
    fn make_special(
        &self,
        place: &Place,
        name: &[u8],
        kind: &NewKind,
        entry: &NewEntry,
    ) -> Result<(), Errno> {
        let metadata = &entry.metadata;
        if special::stands(place.as_fd(), name, kind)? {
            return metadata::set_at(place.as_fd(), name, metadata, self.preserve);
        }
        let partial = partial_name(name);
        partial::remove_any(place.as_fd(), &partial)?;
        special::make(place.as_fd(), &partial, kind)?;
        let published = metadata::set_at(place.as_fd(), &partial, metadata, self.preserve)
            .and_then(|()| partial::rename(place.as_fd(), &partial, name));
        if published.is_err() {
            let _ = partial::remove_any(place.as_fd(), &partial);
        }
        published
    }

    pub(super) fn set_metadata(&self, set: &SetMetadata) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(set.root, Operation::SetMetadata)?;
        check_batch(set.entries.len(), Operation::SetMetadata)?;
        let confinement = self.options.confinement;
        let mut directories = Directories::new(&root, confinement, Operation::SetMetadata);
        let outcomes = set.entries.iter().map(|(ticket, path, metadata)| {
            let failed = |errno| write_fault(&root, errno, Operation::SetMetadata, path);
            let mut apply = || {
                let (place, name) = if path.is_root() {
                    (directories.open(path).map_err(failed)?, b".".as_slice())
                } else {
                    directories.parent(path)?
                };
                metadata::set_at(place.as_fd(), name, metadata, self.preserve).map_err(failed)?;
                let found = rustix::fs::statat(&*place, name, AtFlags::SYMLINK_NOFOLLOW);
                let found = found.map_err(failed)?;
                let found = rely_on_changed(&root, &place, name, path, found).map_err(failed)?;
                Ok(Some(stat::stamp(&found)))
            };
            Outcome { ticket: *ticket, result: apply() }
        });
        Ok(outcomes.collect())
    }

    pub(super) fn remove_partials(&self, partials: &Paths) -> Result<(), Fault> {
        let root = self.writable(partials.root, Operation::Remove)?;
        check_batch(partials.paths.len(), Operation::Remove)?;
        let confinement = self.options.confinement;
        let mut directories = Directories::new(&root, confinement, Operation::Remove);
        for path in &partials.paths {
            let (place, name) = match directories.parent(path) {
                Err(gone) if gone.kind == FaultKind::NotFound => continue,
                other => other?,
            };
            if !is_partial_name(name) {
                return Err(Fault::new(FaultKind::Protocol, Operation::Remove, path.clone()));
            }
            // One that another transfer holds is that transfer's.
            partial::remove_unheld(place.as_fd(), name)
                .map_err(|errno| fault(errno, Operation::Remove, path))?;
        }
        Ok(())
    }
}

/// Sees to it that metadata which was set lasts; the entry as it is then.
fn rely_on_changed(
    root: &OpenRoot,
    place: &Place,
    name: &[u8],
    path: &RelPath,
    found: Stat,
) -> Result<Stat, Errno> {
    let (device, _) = stat::identity(&found);
    match stat::file_type(&found) {
        FileType::Directory => root.touch(path, device == root.device),
        FileType::RegularFile => match file::open_source(place.as_fd(), name) {
            Ok(Some((file, _))) => root.rely_on(file, device, path)?,
            Err(Errno::ACCESS) if !root.is_synced_whole(device) => {
                let flags = confine::HANDLE | confine::LEAF;
                let handle = rustix::fs::openat(place, name, flags, Mode::empty())?;
                sync::sync_unreadable(handle.as_fd())?;
                root.touch(&path.parent().unwrap_or_default(), device == root.device);
                // Its mode was another one meanwhile.
                return rustix::fs::fstat(&handle);
            }
            // Gone, or a mode that keeps even us out.
            Ok(None) | Err(Errno::ACCESS | Errno::NOENT) => root.rely_on_name(device, path),
            Err(errno) => return Err(errno),
        },
        _ => root.rely_on_name(device, path),
    }
    Ok(found)
}

fn check_batch(entries: usize, during: Operation) -> Result<(), Fault> {
    if entries > limits::BATCH_ENTRIES_MAX {
        return Err(Fault::new(FaultKind::Limit, during, RelPath::root()));
    }
    Ok(())
}

/// Makes a directory that we may enter and write; one that exists is kept.
fn make_directory(place: &Place, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::mkdirat(place, name, Mode::RWXU) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let found = rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat::file_type(&found) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let us = rustix::process::geteuid();
    let mode = stat::permissions(&found);
    if !us.is_root() && found.st_uid == us.as_raw() && mode & 0o700 != 0o700 {
        metadata::set_mode_at(place.as_fd(), name, metadata::raw_mode(mode | 0o700))?;
    }
    Ok(())
}
