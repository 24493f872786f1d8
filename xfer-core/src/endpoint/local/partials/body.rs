//! What a file is assembled in: a partial beside what it replaces, or that itself.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, Stat};
use xfer_protocol::manifest::Stamp;

use crate::disk::metadata::raw_mode;
use crate::disk::xattrs::{self, Exactly, Holder};
use crate::disk::{Errno, file, in_place_name, partial, partial_name, stat, sync};

/// A file that is locked as long as it is open.
pub(super) struct Body {
    /// The directory that holds it.
    place: OwnedFd,
    /// The name of what it becomes.
    name: Vec<u8>,
    /// Its name while it is assembled.
    own_name: Vec<u8>,
    file: Arc<OwnedFd>,
    is_in_place: bool,
    was_begun: bool,
    stage: Mutex<Stage>,
}

/// How far what is written over is on its way. It keeps its own name, and all else that it has,
/// until the first byte of it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is this still.
    Standing(Stamp),
    /// It has its name while it is assembled, and nothing more yet.
    Renamed,
    Ready,
}

impl Body {
    /// What was begun to be written over; else what `over` says, if that can be; else a partial.
    pub(super) fn open(place: OwnedFd, name: &[u8], over: Option<&Stamp>) -> Result<Self, Errno> {
        let (file, stage, own_name) = match in_place(&place, name, over)? {
            Some((file, stage, own_name)) => (file, stage, Some(own_name)),
            None => (partial::open(place.as_fd(), &partial_name(name))?, Stage::Ready, None),
        };
        let (is_in_place, was_begun) = (own_name.is_some(), stage == Stage::Renamed);
        let own_name = own_name.unwrap_or_else(|| partial_name(name));
        let (file, stage) = (Arc::new(file), Mutex::new(stage));
        Ok(Self { place, name: name.to_vec(), own_name, file, is_in_place, was_begun, stage })
    }

    pub(super) fn place(&self) -> &OwnedFd {
        &self.place
    }

    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.is_in_place
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was begun to be written over before it was opened.
    pub(super) fn was_begun(&self) -> bool {
        self.was_begun
    }

    /// Whether it may be written to.
    pub(super) fn is_ready(&self) -> bool {
        *self.stage() == Stage::Ready
    }

    /// The name that it has now.
    pub(super) fn own_name(&self) -> &[u8] {
        if matches!(*self.stage(), Stage::Standing(_)) { &self.name } else { &self.own_name }
    }

    /// Takes its name from what is to be written over, and makes it as long as the new file, before
    /// a byte of it changes. What changed by another hand since it was opened stays what it is.
    ///
    /// # Errors
    /// `STALE` then.
    pub(super) fn begin(&self, size: u64) -> Result<(), Errno> {
        let mut stage = self.stage();
        match *stage {
            Stage::Standing(seen) => {
                let before = rustix::fs::fstat(&self.file)?;
                if stat::stamp(&before) != seen {
                    return Err(Errno::STALE);
                }
                self.take_name()?;
                *stage = Stage::Renamed;
                if let Err(errno) = self.open_up(size) {
                    // No byte of it has changed yet.
                    if self.give_back(&before).is_ok() {
                        *stage = Stage::Standing(stat::stamp(&rustix::fs::fstat(&self.file)?));
                    }
                    return Err(errno);
                }
            }
            Stage::Renamed => self.open_up(size)?,
            Stage::Ready => return Ok(()),
        }
        *stage = Stage::Ready;
        Ok(())
    }

    fn take_name(&self) -> Result<(), Errno> {
        let place = self.place.as_fd();
        if !partial::stands_at(&self.file, place, &self.name)? {
            return Err(Errno::STALE);
        }
        match partial::rename_to_free(place, &self.name, place, &self.own_name) {
            // Nothing is put there by anybody else while this lock is held.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                partial::rename(place, &self.name, &self.own_name)?;
            }
            renamed => renamed?,
        }
        if partial::stands_at(&self.file, place, &self.own_name)? {
            return Ok(());
        }
        // Another file was put under the name in the moment before it went.
        let _as_it_was = partial::rename_to_free(place, &self.own_name, place, &self.name);
        Err(Errno::STALE)
    }

    /// Readies what is written over: what is written next may be for fewer eyes than what was
    /// there, none of it runs with the rights of its owner, and nothing that was said of the old
    /// bytes is said of the new. The directory is synced before any byte changes: no power cut may
    /// bring the old name back over a mixture.
    fn open_up(&self, size: u64) -> Result<(), Errno> {
        sync::sync_directory(self.place.as_fd())?;
        rustix::fs::fchmod(&self.file, Mode::RUSR | Mode::WUSR)?;
        let privileged = rustix::process::geteuid().is_root();
        match xattrs::set(Holder::Open(self.file.as_fd()), &[], privileged, Exactly::All) {
            Ok(_) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
        file::set_length(&self.file, size)?;
        // An earlier try to write beside it is of no use any more, unless another goes on with it.
        let _held = partial::remove_unheld(self.place.as_fd(), &partial_name(&self.name));
        Ok(())
    }

    /// Undoes what comes before the first byte that changes, but for extended attributes.
    fn give_back(&self, before: &Stat) -> Result<(), Errno> {
        rustix::fs::fchmod(&self.file, raw_mode(stat::permissions(before)))?;
        partial::rename_to_free(self.place.as_fd(), &self.own_name, self.place.as_fd(), &self.name)
    }

    /// Gives it up. What a file was to be written over is all that there is of it.
    pub(super) fn remove(&self) -> Result<(), Errno> {
        match self.is_in_place {
            true => Ok(()),
            false => partial::remove_any(self.place.as_fd(), &self.own_name),
        }
    }
}

/// What was begun to be written over; else what `over` says, if that can be.
fn in_place(
    place: &OwnedFd,
    name: &[u8],
    over: Option<&Stamp>,
) -> Result<Option<(OwnedFd, Stage, Vec<u8>)>, Errno> {
    let Some(own_name) = in_place_name(name) else { return Ok(None) };
    if partial::stands(place.as_fd(), &own_name) {
        let begun = partial::open_begun(place.as_fd(), &own_name)?;
        return Ok(begun.map(|file| (file, Stage::Renamed, own_name)));
    }
    let Some(seen) = over else { return Ok(None) };
    let file = partial::open_to_write_over(place.as_fd(), name, seen)?;
    Ok(file.map(|file| (file, Stage::Standing(*seen), own_name)))
}
