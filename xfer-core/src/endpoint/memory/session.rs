//! One session on a store: roots, scans and partials under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, ScanItem};
use xfer_protocol::message::{
    Access, Finish, Lock, OpenRoot, Outcome, PartialIndex, Root, RootIndex, Space, Ticket,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::RangeSet;

use super::Profile;
use super::reading::location;
use super::tree::{Held, Tree};

/// What a session has open.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    pub(super) profile: Profile,
    roots: Vec<(RelPath, Access)>,
    pub(super) scans: Vec<Vec<Vec<ScanItem>>>,
    pub(super) partials: HashMap<PartialIndex, Assembly>,
    /// Partials that were published or discarded.
    pub(super) done: BTreeSet<PartialIndex>,
    /// What waits to be published, by root and path below it.
    pub(super) staged: BTreeMap<(RootIndex, RelPath), Staged>,
    /// What the last publishing of a root said, for a caller whom it did not reach.
    pub(super) published: HashMap<RootIndex, (u64, Vec<Outcome>)>,
}

/// A file being assembled.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) root: RootIndex,
    pub(super) path: RelPath,
    /// Where it will be in the store.
    pub(super) place: RelPath,
    pub(super) size: u64,
    /// Bytes that were written or kept in this session.
    pub(super) present: RangeSet,
    /// Bytes whose digests were told in this session.
    pub(super) hashed: RangeSet,
    pub(super) staged: bool,
}

/// A complete file that waits to be published.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) ticket: Ticket,
    pub(super) metadata: Metadata,
    pub(super) bytes: StagedBytes,
}

#[derive(Debug)]
pub(super) enum StagedBytes {
    Pack(Bytes),
    Partial(PartialIndex),
}

impl Session {
    pub(super) fn new(id: u64, profile: Profile) -> Self {
        Self {
            id,
            profile,
            roots: Vec::new(),
            scans: Vec::new(),
            partials: HashMap::new(),
            done: BTreeSet::new(),
            staged: BTreeMap::new(),
            published: HashMap::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn open_root(
        &mut self,
        tree: &mut Tree,
        open: &OpenRoot,
        space: Space,
    ) -> Result<Root, Fault> {
        let fault = |kind| Fault::new(kind, Operation::Open, RelPath::root());
        let typed = location(&open.path).ok_or_else(|| fault(FaultKind::NotFound))?;
        let base = tree.resolve(&typed).ok_or_else(|| fault(FaultKind::NotFound))?;
        if self.roots.len() >= limits::ROOTS_MAX {
            return Err(fault(FaultKind::Limit));
        }
        if self.profile == Profile::Disk {
            let made = open.access == Access::WriteCreate && tree.make_directories(&base);
            match tree.kind(&base) {
                Some(_) if made || tree.is_directory(&base) => {}
                None if open.access != Access::WriteCreate => {
                    return Err(fault(FaultKind::NotFound));
                }
                _ => return Err(fault(FaultKind::Conflict)),
            }
        }
        let inode = tree.entry(&base).map_or(0, |entry| entry.inode.number);
        let path = [b"/", base.as_bytes()].concat();
        let index = RootIndex(u32::try_from(self.roots.len()).unwrap_or(u32::MAX));
        self.roots.push((base, open.access));
        Ok(Root { index, path, device: 1, inode, machine: tree.machine, space })
    }

    /// Where a root is in the store.
    pub(super) fn base(&self, root: RootIndex, during: Operation) -> Result<&RelPath, Fault> {
        self.root(root, during).map(|(base, _)| base)
    }

    /// Where a root that may be written is in the store.
    pub(super) fn writable(&self, root: RootIndex, during: Operation) -> Result<&RelPath, Fault> {
        match self.root(root, during)? {
            (_, Access::Read) => Err(Fault::new(FaultKind::Protocol, during, RelPath::root())),
            (base, Access::Write | Access::WriteCreate) => Ok(base),
        }
    }

    fn root(&self, root: RootIndex, during: Operation) -> Result<&(RelPath, Access), Fault> {
        let index = usize::try_from(root.0).unwrap_or(usize::MAX);
        let unknown = || Fault::new(FaultKind::Protocol, during, RelPath::root());
        self.roots.get(index).ok_or_else(unknown)
    }

    pub(super) fn lock(&mut self, tree: &mut Tree, lock: &Lock) -> Result<(), Fault> {
        let base = self.writable(lock.root, Operation::Lock)?;
        let mut wanted = Vec::new();
        for entry in &lock.entries {
            let path = place(base, entry, Operation::Lock)?;
            let mut above = path.parent();
            wanted.push((entry, Held { session: self.id, path, exclusive: true }));
            while let Some(path) = above.filter(|path| path.starts_with(base)) {
                above = path.parent();
                wanted.push((entry, Held { session: self.id, path, exclusive: false }));
            }
        }
        let meets = |held: &Held, wanted: &Held| {
            let both_shared = !held.exclusive && !wanted.exclusive;
            held.session != wanted.session && held.path == wanted.path && !both_shared
        };
        for (entry, wanted) in &wanted {
            if tree.locks.iter().any(|held| meets(held, wanted)) {
                return Err(Fault::new(FaultKind::Busy, Operation::Lock, (*entry).clone()));
            }
        }
        tree.locks.extend(wanted.into_iter().map(|(_, held)| held));
        Ok(())
    }

    pub(super) fn finish(&mut self, tree: &mut Tree, finish: Finish) -> Result<(), Fault> {
        let base = self.base(finish.root, Operation::Sync)?;
        tree.locks.retain(|held| held.session != self.id || !held.path.starts_with(base));
        Ok(())
    }
}

/// Where an entry below a root is in the store.
pub(super) fn place(base: &RelPath, path: &RelPath, during: Operation) -> Result<RelPath, Fault> {
    base.join(path).map_err(|_| Fault::new(FaultKind::NameTooLong, during, path.clone()))
}
