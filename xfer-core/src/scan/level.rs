//! The directories on the way down, with a bounded number of them open.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::path::RelPath;

use super::Wanted;
use super::names::{FileKind, Names};
use super::only::Only;
use crate::disk::confine::{self, Confinement, HANDLE, LEAF};
use crate::disk::fault::fault;
use crate::disk::stat;

/// Directories that are open at a time: deeper trees close those far above and find them again.
const OPEN_MAX: usize = 256;

/// Directories that are opened again at a time, so that a walk from the root serves many levels.
const REOPENED: usize = 128;

/// One directory whose children are being visited.
pub(super) struct Level {
    /// `None` while it is closed because the walk is far below it.
    pub(super) directory: Option<OwnedFd>,
    pub(super) path: RelPath,
    /// Where it really is, when a link was followed on the way to it.
    pub(super) real: Option<RelPath>,
    identity: (u64, u64),
    children: Children,
}

/// The children that are still to be visited.
pub(super) enum Children {
    /// All that were listed.
    All(Names),
    /// The one at which the walk begins.
    One(Option<(CString, Wanted)>),
    /// Those that lead to wanted entries, found by name without listing the directory.
    Wanted(Range<usize>),
}

impl Level {
    pub(super) fn new(
        directory: OwnedFd,
        path: RelPath,
        identity: (u64, u64),
        children: Children,
    ) -> Self {
        Self { directory: Some(directory), path, real: None, identity, children }
    }

    /// The next child, its name copied into `buffer`.
    pub(super) fn next<'b>(
        &mut self,
        only: Option<&Only>,
        buffer: &'b mut [u8; limits::NAME_BYTES_MAX + 1],
    ) -> Option<(&'b CStr, FileKind, Wanted)> {
        let (length, kind, wanted) = match &mut self.children {
            Children::All(names) => {
                let (name, kind) = names.next()?;
                (copy(name.to_bytes(), buffer), kind, Wanted::All)
            }
            Children::One(name) => {
                let (name, wanted) = name.take()?;
                (copy(name.to_bytes(), buffer), FileKind::Unknown, wanted)
            }
            Children::Wanted(range) => {
                let depth = self.path.components().count();
                let (name, wanted) = only?.next_child(range, depth)?;
                (copy(name, buffer), FileKind::Unknown, wanted)
            }
        };
        let name = CStr::from_bytes_until_nul(&buffer[..=length])
            .expect("a copied name is followed by its NUL");
        Some((name, kind, wanted))
    }

    fn place(&self) -> &RelPath {
        self.real.as_ref().unwrap_or(&self.path)
    }
}

/// Directories from the one at which the walk began down to the one being visited.
pub(super) struct Stack {
    levels: Vec<Level>,
    /// Levels above this one are closed.
    open_from: usize,
}

impl Stack {
    pub(super) fn new() -> Self {
        Self { levels: Vec::new(), open_from: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    pub(super) fn last(&self) -> Option<&Level> {
        self.levels.last()
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Level> {
        self.levels.last_mut()
    }

    /// Whether a directory is on the way down.
    pub(super) fn holds(&self, identity: (u64, u64)) -> bool {
        self.levels.iter().any(|level| level.identity == identity)
    }

    pub(super) fn push(&mut self, level: Level) {
        self.levels.push(level);
        if self.levels.len() - self.open_from > OPEN_MAX {
            self.levels[self.open_from].directory = None;
            self.open_from += 1;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Level> {
        self.levels.pop()
    }

    /// Gives up what remains to be visited in the last directory.
    pub(super) fn abandon_last(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.children = Children::One(None);
        }
    }

    /// Opens the last directory again if it was closed, and those above it on the way.
    pub(super) fn reopen(&mut self, root: BorrowedFd<'_>) -> Result<(), Fault> {
        let Some(last) = self.levels.len().checked_sub(1) else { return Ok(()) };
        if self.levels[last].directory.is_some() {
            return Ok(());
        }
        let mut first = (last + 1).saturating_sub(REOPENED);
        // One walk serves several levels only if each lies below the one before it.
        let place = self.levels[last].place().clone();
        let nested = |level: &Level| place.starts_with(level.place());
        if !self.levels[first..last].iter().all(nested) {
            first = last;
        }
        self.open_from = first;
        let mut above: Option<(OwnedFd, RelPath)> = None;
        for level in &mut self.levels[first..=last] {
            let failed = |errno| fault(errno, Operation::Open, &level.path);
            let (parent, rest) = match &above {
                None => (root, Some(level.place().clone())),
                Some((parent, path)) => (parent.as_fd(), level.place().strip_prefix(path)),
            };
            let rest = rest.unwrap_or_default();
            let opened =
                confine::open_directory(parent, &rest, Confinement::default()).map_err(failed)?;
            let found = stat::identity(&rustix::fs::fstat(&opened).map_err(failed)?);
            if found != level.identity {
                let path = level.path.clone();
                return Err(Fault::new(FaultKind::Changed, Operation::Open, path));
            }
            let kept = rustix::io::fcntl_dupfd_cloexec(&opened, 0).map_err(failed)?;
            level.directory = Some(kept);
            above = Some((opened, level.place().clone()));
        }
        Ok(())
    }
}

/// What a directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// To list it.
    List,
    /// To reach what is in it by name, for which permission to list is not needed.
    Pass,
}

/// Opens a directory, and nothing but a directory, in another one.
pub(super) fn open(
    parent: BorrowedFd<'_>,
    name: &CStr,
    opening: Opening,
) -> rustix::io::Result<OwnedFd> {
    let access = match opening {
        Opening::List => OFlags::RDONLY,
        Opening::Pass => HANDLE,
    };
    rustix::fs::openat(parent, name, access | OFlags::DIRECTORY | LEAF, Mode::empty())
}

fn copy(name: &[u8], buffer: &mut [u8; limits::NAME_BYTES_MAX + 1]) -> usize {
    let length = name.len().min(limits::NAME_BYTES_MAX);
    buffer[..length].copy_from_slice(&name[..length]);
    buffer[length] = 0;
    length
}
