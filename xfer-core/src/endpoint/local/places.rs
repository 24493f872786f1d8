//! Paths as the other side types them: anywhere on this machine, or below named roots alone.

use std::os::fd::OwnedFd;

use rustix::fs::Stat;
use xfer_protocol::message::Access;

use super::Shared;
use crate::disk::base::{self, MadeDirectory};
use crate::disk::named_roots::NamedRoots;
use crate::disk::{Errno, confine};

/// What a session may reach where it may not reach the whole machine.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The only places.
    pub roots: NamedRoots,
    /// Whether anything may be written there.
    pub writes: bool,
}

/// A directory that was opened to be a root.
pub(super) struct Place {
    pub(super) place: OwnedFd,
    /// Directories above it that were changed by making it.
    pub(super) above: Vec<OwnedFd>,
    /// As the other side is told of it.
    pub(super) path: Vec<u8>,
    /// The machine that the path is of.
    pub(super) machine: [u8; 16],
}

impl Shared {
    pub(super) fn look(&self, path: &[u8], follow: bool) -> Result<Option<Stat>, Errno> {
        match &self.reach {
            // No link is followed there.
            Some(reach) => reach.roots.look(path),
            None => base::look(&self.options.base.resolve(path), follow),
        }
    }

    pub(super) fn open_listing(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        match &self.reach {
            Some(reach) => reach.roots.open_listing(path),
            None => base::open_listing(&self.options.base.resolve(path)),
        }
    }

    pub(super) fn open_place(
        &self,
        path: &[u8],
        access: Access,
        machine: [u8; 16],
    ) -> Result<Place, Errno> {
        let makes = access == Access::WriteCreate;
        let alone = |place| MadeDirectory { place, parents: Vec::new() };
        let Some(reach) = &self.reach else {
            let resolved = self.options.base.resolve(path);
            let opened = if makes {
                base::open_or_make(&resolved)?
            } else {
                alone(confine::open_root(&resolved)?)
            };
            let path = base::absolute_path(&opened.place, &resolved);
            return Ok(Place { place: opened.place, above: opened.parents, path, machine });
        };
        if access != Access::Read && !reach.writes {
            return Err(Errno::ACCESS);
        }
        let roots = &reach.roots;
        let opened = if makes { roots.open_or_make(path)? } else { alone(roots.open(path)?) };
        let machine = roots.machine(path, machine);
        let path = roots.told(path);
        Ok(Place { place: opened.place, above: opened.parents, path, machine })
    }
}
