//! The roots of a survey, as places on file systems: whatever path leads there is found out.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use super::mount_table::{Mount, MountTable, Spot, is_at_or_below};
use crate::disk::{base, confine, proc_files};

/// All protected roots.
#[derive(Debug, Default)]
pub(super) struct Protected {
    /// Absolute paths, with no link in them; those that are there.
    pub(super) paths: Vec<Vec<u8>>,
    /// The roots, and what is mounted below them.
    spots: Vec<Spot>,
    /// Kinds of file systems that they are on.
    magics: BTreeSet<u64>,
}

impl Protected {
    /// Looks up roots by their absolute paths. One that is not there holds nothing that anybody
    /// could have open.
    pub(super) fn of(roots: &[Vec<u8>], table: &MountTable) -> Self {
        let mut protected = Self::default();
        for root in roots {
            let Ok(place) = confine::open_root(root) else { continue };
            protected.add(&place, base::absolute_path(&place, root), table);
        }
        protected
    }

    fn add(&mut self, place: &OwnedFd, path: Vec<u8>, table: &MountTable) {
        self.spots.extend(table.spot(&path));
        let below = table.visible().filter(|mount| mount.is_at_or_below(&path));
        for mount in below.filter(|mount| !mount.is_kernel_made()) {
            self.spots.push(mount.spot());
            let opened = confine::open_root(&mount.point);
            self.magics.extend(opened.ok().and_then(|at| proc_files::magic(at.as_fd()).ok()));
        }
        self.magics.extend(proc_files::magic(place).ok());
        self.paths.push(path);
    }

    /// Whether a place is within a root.
    pub(super) fn holds(&self, spot: &Spot) -> bool {
        self.spots.iter().any(|own| spot.is_at_or_below(own))
    }

    /// Whether a path leads into a root, as paths are on this machine.
    pub(super) fn names(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|root| is_at_or_below(path, root))
    }

    /// Whether a path is that of a root itself.
    pub(super) fn is_root(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|root| root == path)
    }

    /// Whether a root, or what is mounted below one, is on that file system.
    pub(super) fn is_on(&self, device: (u32, u32)) -> bool {
        self.spots.iter().any(|spot| spot.device == device)
    }

    /// Whether a root is on a file system of that kind.
    pub(super) fn is_on_kind(&self, magic: u64) -> bool {
        self.magics.contains(&magic)
    }

    /// Whether what is stored through a mount lands within a root by way of an overlay.
    pub(super) fn is_below(&self, mount: &Mount, table: &MountTable) -> bool {
        let above = if mount.kind == b"overlay" { mount.option(b"upperdir") } else { None };
        above.and_then(|above| table.spot(&above)).is_some_and(|spot| self.holds(&spot))
    }
}
