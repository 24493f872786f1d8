//! The entries of a tree in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Device, Entry, EntryKind, Inode, Metadata, Stamp, Timestamp};
use xfer_protocol::message::NewKind;
use xfer_protocol::message::removal::{Removal, Renaming};
use xfer_protocol::path::RelPath;

use super::content::Content;
use crate::disk::is_partial_name;

/// Links on the way to one directory.
const LINKS_MAX: usize = 40;

/// All that outlives an endpoint: entries, partials and locks.
#[derive(Debug)]
pub(super) struct Tree {
    names: BTreeMap<RelPath, u64>,
    nodes: HashMap<u64, Node>,
    next_inode: u64,
    /// Counts changes, as the time of the tree.
    ticks: i64,
    /// Whether directories are entries; without it they are mere prefixes.
    directories: bool,
    /// What unfinished files hold, by the path that they will have.
    pub(super) partials: BTreeMap<RelPath, Content>,
    pub(super) locks: Vec<Held>,
    pub(super) sessions: u64,
    pub(super) machine: [u8; 16],
}

/// One lock of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) session: u64,
    pub(super) path: RelPath,
    pub(super) exclusive: bool,
}

#[derive(Clone, Debug)]
struct Node {
    kind: NodeKind,
    metadata: Metadata,
    changed: Timestamp,
    links: u32,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Device(Device),
    Directory,
    Fifo,
    File(Content),
    Socket,
    Symlink(Vec<u8>),
}

impl From<NewKind> for NodeKind {
    /// # Panics
    /// For a hard link, which is a name and no node.
    fn from(kind: NewKind) -> Self {
        match kind {
            NewKind::Device(device) => Self::Device(device),
            NewKind::Directory => Self::Directory,
            NewKind::Fifo => Self::Fifo,
            NewKind::HardLink { .. } => unreachable!("a hard link is no node"),
            NewKind::Socket => Self::Socket,
            NewKind::Symlink { content } => Self::Symlink(content),
        }
    }
}

impl Tree {
    pub(super) fn new(directories: bool) -> Self {
        let mut tree = Self {
            names: BTreeMap::new(),
            nodes: HashMap::new(),
            next_inode: 1,
            ticks: 1000,
            directories,
            partials: BTreeMap::new(),
            locks: Vec::new(),
            sessions: 0,
            machine: *b"a memory store!!",
        };
        if directories {
            tree.insert(&RelPath::root(), NodeKind::Directory, Metadata::default());
        }
        tree
    }

    /// Puts a new node under a name, in place of what was there.
    pub(super) fn insert(&mut self, path: &RelPath, kind: NodeKind, metadata: Metadata) -> Stamp {
        self.unlink(path);
        let inode = self.next_inode;
        self.next_inode += 1;
        let changed = self.tick();
        let mut metadata = metadata;
        if metadata.modified == Timestamp::default() {
            metadata.modified = changed;
        }
        self.nodes.insert(inode, Node { kind, metadata, changed, links: 1 });
        self.names.insert(path.clone(), inode);
        self.stamp(path).unwrap_or_default()
    }

    /// Makes a directory and those above it; what exists is kept. False if something else is in the
    /// way.
    pub(super) fn make_directories(&mut self, path: &RelPath) -> bool {
        if path.parent().is_some_and(|parent| !self.make_directories(&parent)) {
            return false;
        }
        if self.kind(path).is_none() {
            let metadata = Metadata { mode: 0o755, ..Metadata::default() };
            self.insert(path, NodeKind::Directory, metadata);
        }
        self.is_directory(path)
    }

    /// Gives a node one more name.
    pub(super) fn link(&mut self, of: &RelPath, path: &RelPath) -> Option<Stamp> {
        let inode = *self.names.get(of)?;
        if self.names.get(path) != Some(&inode) {
            self.unlink(path);
            let changed = self.tick();
            let node = self.nodes.get_mut(&inode)?;
            node.links += 1;
            node.changed = changed;
            self.names.insert(path.clone(), inode);
        }
        self.stamp(path)
    }

    /// Removes a name.
    pub(super) fn unlink(&mut self, path: &RelPath) {
        let Some(inode) = self.names.remove(path) else { return };
        let changed = self.tick();
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.links -= 1;
            node.changed = changed;
            if node.links == 0 {
                self.nodes.remove(&inode);
            }
        }
    }

    /// Removes an entry that is what it was, or gives it another name instead.
    pub(super) fn remove(
        &mut self,
        path: &RelPath,
        entry: &Removal,
        to: Option<RelPath>,
        stays: bool,
    ) -> Result<(), Fault> {
        let bad = |kind| Err(Fault::new(kind, Operation::Remove, path.clone()));
        if is_partial_name(path.name().unwrap_or_default()) {
            return bad(FaultKind::Unsafe);
        }
        match self.absence(path) {
            FaultKind::NotFound => {}
            kind => return bad(kind),
        }
        let Some(found) = self.entry(path) else { return Ok(()) };
        let (now, seen) = (found.stamp(), entry.stamp);
        let is_directory = found.kind == EntryKind::Directory;
        let same_moment = entry.linked || stays || now.changed == seen.changed;
        let same_times = entry.linked || now.modified == seen.modified;
        let is_same = now.inode == seen.inode
            && (is_directory || same_moment && same_times && now.size == seen.size);
        if is_directory != entry.directory || !is_same {
            return bad(FaultKind::Changed);
        }
        if is_directory {
            if !stays && self.below(path).nth(1).is_some() {
                return bad(FaultKind::Conflict);
            }
        } else if let Some(to) = to {
            self.prepare_place(&to, Operation::Remove)?;
            self.link(path, &to);
        }
        if !stays {
            self.unlink(path);
        }
        Ok(())
    }

    /// Gives a file that is what it was a name that nothing has, and its metadata.
    pub(super) fn rename(
        &mut self,
        from: &RelPath,
        entry: &Renaming,
        to: &RelPath,
    ) -> Result<Stamp, Fault> {
        let bad = |kind| Err(Fault::new(kind, Operation::Commit, to.clone()));
        let is_partial = |path: &RelPath| is_partial_name(path.name().unwrap_or_default());
        if is_partial(from) || is_partial(to) {
            return bad(FaultKind::Unsafe);
        }
        let seen = entry.stamp;
        match (self.entry(from), self.entry(to)) {
            (Some(now), None) if now.stamp() == seen && now.kind != EntryKind::Directory => {
                if let Some(parent) = to.parent()
                    && !self.is_directory(&parent)
                {
                    return bad(self.absence(to));
                }
                self.link(from, to);
                self.unlink(from);
            }
            (None, Some(now)) if (now.inode.number, now.kind.size()) == (seen.inode, seen.size) => {
            }
            (Some(now), Some(_)) if now.stamp() == seen => return bad(FaultKind::Conflict),
            _ => return bad(FaultKind::Changed),
        }
        let set = self.set_metadata(to, entry.metadata.clone());
        set.ok_or_else(|| Fault::new(FaultKind::NotFound, Operation::Commit, to.clone()))
    }

    /// Sets metadata of an entry.
    pub(super) fn set_metadata(&mut self, path: &RelPath, metadata: Metadata) -> Option<Stamp> {
        let changed = self.tick();
        let node = self.nodes.get_mut(self.names.get(path)?)?;
        if node.metadata != metadata {
            node.metadata = metadata;
            node.changed = changed;
        }
        self.stamp(path)
    }

    /// Changes a file's content in place, as a program that runs beside a transfer does.
    pub(super) fn overwrite(&mut self, path: &RelPath, start: u64, bytes: Bytes) -> Option<()> {
        let changed = self.tick();
        let node = self.nodes.get_mut(self.names.get(path)?)?;
        let NodeKind::File(content) = &mut node.kind else { return None };
        content.write(start, bytes);
        node.changed = changed;
        node.metadata.modified = changed;
        Some(())
    }

    pub(super) fn kind(&self, path: &RelPath) -> Option<&NodeKind> {
        self.nodes.get(self.names.get(path)?).map(|node| &node.kind)
    }

    pub(super) fn entry(&self, path: &RelPath) -> Option<Entry> {
        let number = *self.names.get(path)?;
        let node = self.nodes.get(&number)?;
        let kind = match &node.kind {
            NodeKind::Device(device) => EntryKind::Device(*device),
            NodeKind::Directory => EntryKind::Directory,
            NodeKind::Fifo => EntryKind::Fifo,
            NodeKind::File(content) => {
                EntryKind::File { size: content.size(), allocated: content.allocated() }
            }
            NodeKind::Socket => EntryKind::Socket,
            NodeKind::Symlink(content) => EntryKind::Symlink { content: content.clone() },
        };
        let inode = Inode { device: 1, number, changed: node.changed, links: node.links };
        Some(Entry { path: path.clone(), kind, metadata: node.metadata.clone(), inode })
    }

    pub(super) fn stamp(&self, path: &RelPath) -> Option<Stamp> {
        self.entry(path).map(|entry| entry.stamp())
    }

    /// A file's content, if it is still what its stamp says.
    pub(super) fn file(&self, path: &RelPath, stamp: Stamp) -> Result<&Content, Fault> {
        let fault = |kind| Fault::new(kind, Operation::Read, path.clone());
        match self.kind(path) {
            Some(NodeKind::File(content)) if self.stamp(path) == Some(stamp) => Ok(content),
            Some(_) => Err(fault(FaultKind::Changed)),
            None => Err(fault(FaultKind::NotFound)),
        }
    }

    /// All names at a path and below it, in order.
    pub(super) fn below<'a>(&'a self, path: &'a RelPath) -> impl Iterator<Item = &'a RelPath> {
        self.names.range(path.clone()..).map(|(name, _)| name).take_while(|n| n.starts_with(path))
    }

    pub(super) fn is_directory(&self, path: &RelPath) -> bool {
        match self.directories {
            true => matches!(self.kind(path), Some(NodeKind::Directory)),
            false => self.below(path).any(|name| name != path),
        }
    }

    /// Where a path leads when every link on the way is followed; `None` if it dangles.
    pub(super) fn resolve(&self, path: &RelPath) -> Option<RelPath> {
        let mut todo: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut here = RelPath::root();
        let mut links = 0;
        while let Some(component) = todo.pop() {
            match component.as_slice() {
                b"" | b"." => {}
                b".." => here = here.parent().unwrap_or_default(),
                name => {
                    let next = here.child(name).ok()?;
                    if let Some(NodeKind::Symlink(content)) = self.kind(&next) {
                        links += 1;
                        if links > LINKS_MAX {
                            return None;
                        }
                        if content.starts_with(b"/") {
                            here = RelPath::root();
                        }
                        todo.extend(content.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                    } else {
                        here = next;
                    }
                }
            }
        }
        Some(here)
    }

    /// Makes the directories that lead to a path, where an entry that is no directory may be put.
    pub(super) fn prepare_place(&mut self, path: &RelPath, during: Operation) -> Result<(), Fault> {
        let fault = |kind| Err(Fault::new(kind, during, path.clone()));
        let Some(parent) = path.parent() else { return fault(FaultKind::Conflict) };
        if path.name().is_some_and(is_partial_name) {
            return fault(FaultKind::Unsafe);
        }
        if !self.directories {
            return Ok(());
        }
        if self.kind(&parent).is_none() && self.absence(path) == FaultKind::NotFound {
            self.make_directories(&parent);
        }
        match (self.kind(&parent), self.kind(path)) {
            (Some(NodeKind::Directory), Some(NodeKind::Directory)) => fault(FaultKind::Conflict),
            (Some(NodeKind::Directory), _) => Ok(()),
            _ => fault(self.absence(path)),
        }
    }

    /// Why there is nothing at a path: what stands on the way to it.
    pub(super) fn absence(&self, path: &RelPath) -> FaultKind {
        let mut above: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).collect();
        above.reverse();
        let in_the_way = above.iter().find_map(|here| match self.kind(here) {
            Some(NodeKind::Directory) => None,
            Some(NodeKind::Symlink(_)) => Some(FaultKind::Unsafe),
            Some(_) => Some(FaultKind::Conflict),
            None => Some(FaultKind::NotFound),
        });
        in_the_way.unwrap_or(FaultKind::NotFound)
    }

    fn tick(&mut self) -> Timestamp {
        self.ticks += 1;
        Timestamp { seconds: self.ticks, nanoseconds: 0 }
    }
}
