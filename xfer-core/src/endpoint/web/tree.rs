//! The files of a public source as a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, ScanItem, Timestamp};
use xfer_protocol::message::{LocatedKind, Scan, ScanOptions};
use xfer_protocol::path::RelPath;

use super::file::RemoteFile;
use crate::scan::filter::{Decision, Filter};

/// Permission bits of a directory.
const MODE: u32 = 0o755;

/// Files by their paths; directories are what leads to them.
#[derive(Clone, Default)]
pub(super) struct Tree(BTreeMap<RelPath, Arc<RemoteFile>>);

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a file; refused where its place, or one that leads to it, is taken.
    pub(super) fn add(&mut self, file: Arc<RemoteFile>) -> Result<(), ()> {
        let path = file.path.clone();
        let mut above = std::iter::successors(path.parent(), RelPath::parent);
        let is_below_a_file = above.any(|above| self.0.contains_key(&above));
        if is_below_a_file || self.below(&path).next().is_some() {
            return Err(());
        }
        self.0.insert(path, file);
        Ok(())
    }

    pub(super) fn file(&self, path: &RelPath) -> Option<&Arc<RemoteFile>> {
        self.0.get(path)
    }

    pub(super) fn kind(&self, path: &RelPath) -> Option<LocatedKind> {
        match self.0.contains_key(path) {
            true => Some(LocatedKind::Other),
            false => self.below(path).next().map(|_| LocatedKind::Directory),
        }
    }

    /// Files and directories so many names deep that are wanted, in order.
    pub(super) fn paths_of_depth(
        &self,
        depth: usize,
        is_wanted: impl Fn(&RelPath) -> bool,
    ) -> Vec<RelPath> {
        let at_depth = |path: &RelPath| {
            let mut above = std::iter::successors(Some(path.clone()), RelPath::parent);
            above.find(|path| path.components().count() == depth)
        };
        let mut found: Vec<_> = self.0.keys().filter_map(at_depth).collect();
        found.dedup();
        found.retain(is_wanted);
        found
    }

    pub(super) fn below<'a>(
        &'a self,
        path: &'a RelPath,
    ) -> impl Iterator<Item = &'a Arc<RemoteFile>> {
        let range = self.0.range(path.clone()..);
        range.take_while(|(name, _)| name.starts_with(path)).map(|(_, file)| file)
    }

    /// All that a scan yields, in order.
    pub(super) fn list(&self, base: &RelPath, scan: &Scan) -> Result<Vec<ScanItem>, Fault> {
        let fault = |kind, path: &RelPath| Fault::new(kind, Operation::List, path.clone());
        let options = &scan.options;
        // Files of rules would have to be read first, and none is known to lie in such a place.
        if options.filter.gitignore {
            return Err(fault(FaultKind::Unsupported, &scan.under));
        }
        let filter = Filter::new(&options.filter);
        let filter = filter.map_err(|_| fault(FaultKind::Limit, &scan.under))?;
        let top = base.join(&scan.under);
        let top = top.map_err(|_| fault(FaultKind::NameTooLong, &scan.under))?;
        let mut list = List { filter, scan, items: Vec::new(), before: None, left_out: None };
        for file in self.below(&top) {
            list.visit(file, &file.path.strip_prefix(base).unwrap_or_default());
        }
        if list.before.is_none() {
            return Err(fault(FaultKind::NotFound, &scan.under));
        }
        for path in options.only.iter().flatten().filter(|path| path.starts_with(&scan.under)) {
            let is_there = base.join(path).is_ok_and(|path| self.kind(&path).is_some());
            if !is_there {
                list.items.push(ScanItem::Problem(fault(FaultKind::NotFound, path)));
            }
        }
        list.items.sort_by(|a, b| path_of(a).cmp(path_of(b)));
        Ok(list.items)
    }
}

/// A list under way.
struct List<'a> {
    filter: Filter,
    scan: &'a Scan,
    items: Vec<ScanItem>,
    /// The file before this one.
    before: Option<RelPath>,
    /// What was left out last.
    left_out: Option<RelPath>,
}

impl List<'_> {
    fn visit(&mut self, file: &RemoteFile, path: &RelPath) {
        let before = self.before.replace(path.clone());
        let mut leading: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).collect();
        leading.retain(|above| above.starts_with(&self.scan.under));
        leading.reverse();
        for above in leading {
            if self.is_left_out(&above, true) {
                return;
            }
            let is_listed = before.as_ref().is_some_and(|before| before.starts_with(&above));
            if !is_listed && is_wanted(&self.scan.options, &above) {
                self.items.push(ScanItem::Entry(directory(above, file.modified)));
            }
        }
        if self.is_left_out(path, false) || !is_wanted(&self.scan.options, path) {
            return;
        }
        self.items.push(match file.entry() {
            Some(entry) if self.filter.admits(&entry.kind, entry.metadata.modified) => {
                ScanItem::Entry(Entry { path: path.clone(), ..entry })
            }
            Some(_) => ScanItem::Excluded(path.clone()),
            None => {
                let kind = FaultKind::Unmeasured;
                ScanItem::Problem(Fault::new(kind, Operation::Stat, path.clone()))
            }
        });
    }

    /// Whether patterns leave it out; the first time that is told.
    fn is_left_out(&mut self, path: &RelPath, directory: bool) -> bool {
        if self.left_out.as_ref().is_some_and(|left_out| path.starts_with(left_out)) {
            return true;
        }
        let below = path.strip_prefix(&self.scan.under).unwrap_or_default();
        let matched = match below.is_root() {
            true => self.scan.under.name(),
            false => Some(below.as_bytes()),
        };
        let decided = matched.map(|matched| self.filter.decide(matched, directory));
        if decided != Some(Decision::Exclude) || !is_wanted(&self.scan.options, path) {
            return false;
        }
        self.left_out = Some(path.clone());
        self.items.push(ScanItem::Excluded(path.clone()));
        true
    }
}

fn is_wanted(options: &ScanOptions, path: &RelPath) -> bool {
    let leads = |only: &RelPath| path.starts_with(only) || only.starts_with(path);
    options.only.as_ref().is_none_or(|only| only.iter().any(leads))
}

fn directory(path: RelPath, modified: Timestamp) -> Entry {
    let number = blake3::hash(path.as_bytes());
    let number = number.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Entry {
        path,
        kind: EntryKind::Directory,
        metadata: Metadata { mode: MODE, modified, ..Metadata::default() },
        inode: Inode { number, links: 1, ..Inode::default() },
    }
}

fn path_of(item: &ScanItem) -> &RelPath {
    match item {
        ScanItem::Entry(entry) => &entry.path,
        ScanItem::Excluded(path) | ScanItem::Partial { path, .. } => path,
        ScanItem::Problem(fault) => &fault.path,
    }
}
