//! Small files, many in one call.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode};
use xfer_protocol::digest::file_digest;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Outcome, PackedFile, WritePack};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::directories::{Directories, Place};
use super::publish::{Staged, StagedFile};
use super::roots::{OpenRoot, write_fault};
use crate::disk::fault::fault;
use crate::disk::metadata::{raw_mode, set_on_file};
use crate::disk::{Errno, file, is_partial_name, lock, metadata, partial, partial_name, stat};

/// Staged files that are held open, and so locked, where no lock of a directory covers them.
const HELD_MAX: usize = 256;

impl Shared {
    pub(super) fn write_pack(
        &self,
        pack: WritePack,
        payload: &[u8],
    ) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(pack.root, Operation::Write)?;
        check_pack(&pack, payload)?;
        let _claim = self.claims.claim(pack.root, pack.files.iter().map(|f| &f.path));
        let mut directories =
            Directories::new(&root, self.options.confinement, Operation::Write).making();
        let mut rest = payload;
        let outcomes = pack
            .files
            .iter()
            .map(|file| {
                // The sizes were checked to sum up to the payload.
                let size = usize::try_from(file.size).unwrap_or_default();
                let (bytes, behind) = rest.split_at(size);
                rest = behind;
                let result = self.write_packed(&root, &mut directories, file, bytes, pack.publish);
                Outcome { ticket: file.ticket, result }
            })
            .collect();
        Ok(outcomes)
    }

    fn write_packed(
        &self,
        root: &OpenRoot,
        directories: &mut Directories<'_>,
        packed: &PackedFile,
        bytes: &[u8],
        publish: bool,
    ) -> Result<Option<Stamp>, Fault> {
        let path = &packed.path;
        if file_digest(bytes) != packed.digest {
            return Err(Fault::new(FaultKind::Mismatch, Operation::Write, path.clone()));
        }
        let (place, name) = directories.parent(path)?;
        if is_partial_name(name) {
            return Err(Fault::new(FaultKind::Unsafe, Operation::Write, path.clone()));
        }
        let partial = partial_name(name);
        let written = self.write_partial(root, &place, &partial, packed, bytes, publish);
        let file = written.map_err(|errno| write_fault(root, errno, Operation::Write, path))?;
        if publish {
            file::close(file).map_err(|errno| {
                // Nothing is known of its bytes, so nobody shall find them.
                let _ = partial::remove_any(place.as_fd(), &partial);
                fault(errno, Operation::Write, path)
            })?;
            root.staging.withdraw(path);
            return self.publish_packed(root, &place, name, &partial, packed).map(Some);
        }
        let staged = if place.covered {
            file::close(file).map_err(|errno| fault(errno, Operation::Write, path))?;
            StagedFile::Closed { inode: None, on_root_device: place.on_root_device }
        } else {
            stage_uncovered(root, file, &place).map_err(|e| fault(e, Operation::Write, path))?
        };
        root.staging.stage(path, Staged { ticket: packed.ticket, file: staged });
        Ok(None)
    }

    /// Writes a file whole under its partial's name. One that fails is removed: the rest of a small
    /// file is not worth resuming. The mode of one that is published next is looked at there.
    fn write_partial(
        &self,
        root: &OpenRoot,
        place: &Place,
        name: &[u8],
        packed: &PackedFile,
        bytes: &[u8],
        publish: bool,
    ) -> Result<OwnedFd, Errno> {
        let mode = self.preserve.mode(&packed.metadata);
        let plain = packed.metadata.owner.is_none_or(|_| !self.preserve.owner)
            && !self.preserve.changes_xattrs(&packed.metadata);
        let first = if plain { raw_mode(mode & 0o777) } else { Mode::RUSR | Mode::WUSR };
        let file = match partial::create(place.as_fd(), name, first) {
            Err(Errno::EXIST) => {
                // Perhaps our own, of this very call's first run.
                root.staging.withdraw(&packed.path);
                self.release_partial(root, &packed.path);
                partial::create_anew(place.as_fd(), name, first)?
            }
            other => other?,
        };
        let fill = || {
            if !place.covered {
                lock::try_lock(&file, lock::LockMode::Exclusive)?;
            }
            file::write_at(&file, bytes, 0)?;
            if !plain {
                let now = rustix::fs::fstat(&file)?;
                return set_on_file(file.as_fd(), &now, &packed.metadata, self.preserve);
            }
            let kept = || rustix::fs::fstat(&file).map(|found| stat::permissions(&found) == mode);
            // What the umask spares, a directory's default access list can still take.
            if mode & (self.umask | 0o7000) != 0 || !(publish || kept()?) {
                rustix::fs::fchmod(&file, raw_mode(mode))?;
            }
            if self.preserve.times {
                metadata::set_modified(&file, packed.metadata.modified)?;
            }
            Ok(())
        };
        match fill() {
            Ok(()) => Ok(file),
            Err(errno) => {
                let _ = partial::remove_any(place.as_fd(), name);
                Err(errno)
            }
        }
    }

    /// Renames a file into place and looks at it. Its mode is looked at too: what a directory's
    /// default access list took from it is set again.
    fn publish_packed(
        &self,
        root: &OpenRoot,
        place: &Place,
        name: &[u8],
        partial: &[u8],
        packed: &PackedFile,
    ) -> Result<Stamp, Fault> {
        let path = &packed.path;
        partial::rename(place.as_fd(), partial, name).map_err(|errno| {
            let _ = partial::remove_any(place.as_fd(), partial);
            write_fault(root, errno, Operation::Commit, path)
        })?;
        let look = || {
            rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| fault(errno, Operation::Stat, path))
        };
        let found = look()?;
        let mode = self.preserve.mode(&packed.metadata);
        if stat::permissions(&found) == mode {
            return Ok(stat::stamp(&found));
        }
        metadata::set_mode_at(place.as_fd(), name, raw_mode(mode))
            .map_err(|errno| fault(errno, Operation::SetMetadata, path))?;
        Ok(stat::stamp(&look()?))
    }
}

fn check_pack(pack: &WritePack, payload: &[u8]) -> Result<(), Fault> {
    let bad = |kind| Fault::new(kind, Operation::Write, RelPath::root());
    if pack.files.len() > limits::BATCH_ENTRIES_MAX || payload.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(bad(FaultKind::Limit));
    }
    let total = pack.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size));
    match total {
        Some(total) if u64::try_from(payload.len()) == Ok(total) => Ok(()),
        _ => Err(bad(FaultKind::Protocol)),
    }
}

/// Keeps a file open, and its lock with it; of too many, the inode is remembered instead.
fn stage_uncovered(root: &OpenRoot, file: OwnedFd, place: &Place) -> Result<StagedFile, Errno> {
    if root.staging.held() < HELD_MAX {
        return Ok(StagedFile::Held { file, on_root_device: place.on_root_device });
    }
    let (_, inode) = stat::identity(&rustix::fs::fstat(&file)?);
    file::close(file)?;
    Ok(StagedFile::Closed { inode: Some(inode), on_root_device: place.on_root_device })
}
