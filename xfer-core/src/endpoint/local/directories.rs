//! The directories that one call works in.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Mode, Stat};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use super::roots::OpenRoot;
use crate::disk::confine::{Confinement, open_directory};
use crate::disk::fault::fault;
use crate::disk::follow::{Followed, follow};
use crate::disk::{Errno, file, stat};

/// Directories that one call holds open at a time.
const OPEN_MAX: usize = 32;

/// Directories below a root, opened once in a call however many of its files are in them.
///
/// They are not kept for later calls: opening one again is cheap beside a batch of files, and asks
/// anew whether it still lies beneath the root.
pub(super) struct Directories<'a> {
    root: &'a OpenRoot,
    confinement: Confinement,
    during: Operation,
    /// Whether directories that are missing are made, and how.
    makes: Option<Mode>,
    open: HashMap<Box<[u8]>, Rc<Place>>,
}

/// An open directory below a root.
pub(super) struct Place {
    fd: OwnedFd,
    /// Whether it lies on the root's own file system.
    pub(super) on_root_device: bool,
    /// Whether a lock of ours keeps other transfers out of it.
    pub(super) covered: bool,
}

impl<'a> Directories<'a> {
    pub(super) fn new(root: &'a OpenRoot, confinement: Confinement, during: Operation) -> Self {
        Self { root, confinement, during, makes: None, open: HashMap::new() }
    }

    /// The same, making directories that are missing: batches overtake each other, so a file may
    /// come before its directory. They are for their owner alone until their metadata is set.
    pub(super) fn making(self) -> Self {
        Self { makes: Some(Mode::RWXU), ..self }
    }

    /// The same where nobody sets their metadata.
    pub(super) fn making_for_all(self) -> Self {
        Self { makes: Some(Mode::RWXU | Mode::RWXG | Mode::RWXO), ..self }
    }

    /// The directory that holds an entry, and the entry's name in it.
    pub(super) fn parent<'p>(&mut self, path: &'p RelPath) -> Result<(Rc<Place>, &'p [u8]), Fault> {
        let bytes = path.as_bytes();
        if bytes.is_empty() {
            return Err(Fault::new(FaultKind::Protocol, self.during, path.clone()));
        }
        let (parent, name) = match bytes.iter().rposition(|&b| b == b'/') {
            Some(end) => (&bytes[..end], &bytes[end + 1..]),
            None => (&bytes[..0], bytes),
        };
        if let Some(place) = self.open.get(parent) {
            return Ok((Rc::clone(place), name));
        }
        let parent = path.parent().unwrap_or_default();
        let place = self.open(&parent).map_err(|errno| fault(errno, self.during, path))?;
        Ok((place, name))
    }

    /// A directory itself.
    pub(super) fn open(&mut self, path: &RelPath) -> Result<Rc<Place>, Errno> {
        if let Some(place) = self.open.get(path.as_bytes()) {
            return Ok(Rc::clone(place));
        }
        let fd = match self.reach(path) {
            // Those that are not needed right now give way.
            Err(Errno::MFILE | Errno::NFILE) if !self.open.is_empty() => {
                self.open.clear();
                self.reach(path)?
            }
            other => other?,
        };
        let (device, _) = stat::identity(&rustix::fs::fstat(&fd)?);
        let place = Rc::new(Place {
            fd,
            on_root_device: device == self.root.device,
            covered: self.root.locks.cover(path),
        });
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        self.open.insert(path.as_bytes().into(), Rc::clone(&place));
        Ok(place)
    }

    fn reach(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        match self.makes {
            Some(mode) => open_making(self.root, path, self.confinement, mode),
            None => open_directory(self.root.place(), path, self.confinement),
        }
    }
}

/// Opens a directory below a root, making it and what leads to it where that is missing.
pub(super) fn open_making(
    root: &OpenRoot,
    path: &RelPath,
    confinement: Confinement,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let mut missing = Vec::new();
    let mut at = path.clone();
    let mut place = loop {
        match (open_directory(root.place(), &at, confinement), at.parent()) {
            (Err(Errno::NOENT), Some(parent)) => missing.push(std::mem::replace(&mut at, parent)),
            (opened, _) => break opened?,
        }
    };
    for directory in missing.iter().rev() {
        let name = directory.name().unwrap_or_default();
        match rustix::fs::mkdirat(&place, name, mode) {
            Ok(()) => {
                let (device, _) = stat::identity(&rustix::fs::fstat(&place)?);
                root.touch(&directory.parent().unwrap_or_default(), device == root.device);
                root.locks.entered(root, directory, confinement)?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let below = RelPath::new(name).map_err(|_| Errno::INVAL)?;
        place = open_directory(place.as_fd(), &below, confinement)?;
    }
    Ok(place)
}

/// An entry that is open for reading, and where it was found.
pub(super) struct Opened<'p> {
    pub(super) file: OwnedFd,
    pub(super) before: Stat,
    place: Found<'p>,
}

enum Found<'p> {
    Named(Rc<Place>, &'p [u8]),
    Followed(Followed),
}

impl Opened<'_> {
    /// The directory that holds the file, and its name there.
    pub(super) fn place(&self) -> (BorrowedFd<'_>, &[u8]) {
        match &self.place {
            Found::Named(place, name) => (place.as_fd(), name),
            Found::Followed(followed) => (followed.directory.as_fd(), &followed.name),
        }
    }
}

impl Directories<'_> {
    /// Opens a regular file, through links where the root's scans report such paths.
    pub(super) fn open_source<'p>(&mut self, path: &'p RelPath) -> Result<Opened<'p>, Fault> {
        let named = self.parent(path).and_then(|(place, name)| {
            let opened = file::open_source(place.as_fd(), name)
                .map_err(|errno| fault(errno, self.during, path))?
                .map(|(file, before)| (file, before, Found::Named(place, name)));
            Ok(opened)
        });
        let opened = match named {
            Ok(None) | Err(Fault { kind: FaultKind::Unsafe, .. }) if self.root.follows() => {
                self.follow_source(path).map_err(|errno| fault(errno, self.during, path))?
            }
            other => other?,
        };
        let (file, before, place) =
            opened.ok_or_else(|| Fault::new(FaultKind::Changed, self.during, path.clone()))?;
        Ok(Opened { file, before, place })
    }

    fn follow_source<'p>(
        &self,
        path: &RelPath,
    ) -> Result<Option<(OwnedFd, Stat, Found<'p>)>, Errno> {
        let followed = follow(self.root.place(), path, self.confinement)?;
        let opened = file::open_source(followed.directory.as_fd(), &followed.name)?;
        Ok(opened.map(|(file, before)| (file, before, Found::Followed(followed))))
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
