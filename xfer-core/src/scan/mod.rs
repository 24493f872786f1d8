//! The walk of a tree, in the order of `RelPath`: depth first, children sorted by their bytes.
//!
//! The walk holds descriptors and follows no name that it has not looked at: each step opens one
//! component with `O_NOFOLLOW` below a held directory, so a directory that is swapped for a link
//! while the walk runs leads nowhere. What cannot be listed becomes a problem, and the walk goes
//! on. Memory follows the names of the directories on the way down, not the entries of the tree.

mod ahead;
pub mod filter;
pub(crate) mod ignored;
mod level;
mod links;
mod names;
pub(crate) mod only;
mod stat;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;

pub use ahead::{Step, ahead};

use filter::{Decision, Filter};
use ignored::IgnoreFiles;
use level::{Children, Level, Stack};
use names::{FileKind, ListError, Names};
use only::Only;

use crate::disk::confine::{self, Confinement};
use crate::disk::fault::fault;
use crate::disk::list::ListingBuffer;
use crate::disk::stat::identity as identity_of;

/// Items in the first batch; each later one may have twice as many, up to the limit of a batch, so
/// that work begins early even where the disk is slow.
const FIRST_BATCH_ITEMS: usize = 64;

/// A walk under way. Blocking: it reads directories and metadata, and never a file's bytes but
/// those of ignore files.
pub struct Walk {
    root: OwnedFd,
    stack: Stack,
    options: ScanOptions,
    filter: Filter,
    only: Option<Only>,
    ignored: IgnoreFiles,
    /// The entry at which the walk begins; patterns match what follows it.
    under: RelPath,
    listing: ListingBuffer,
    /// The root's own entry, until it was yielded.
    first: Option<(Entry, Option<Fault>)>,
    batch_items: usize,
}

/// One entry that the walk looks at.
struct Found<'a> {
    name: &'a CStr,
    path: RelPath,
    /// Which of the wanted entries concern it, where only some are wanted.
    wanted: Wanted,
}

/// How much of what lies below an entry is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    All,
    /// Only these of the wanted entries, which all lie below it.
    Some(std::ops::Range<usize>),
}

impl Walk {
    /// Begins a walk at `under` below a directory. The descriptor may be shared: the walk moves no
    /// offset of it. Fails when `under` is not there, or with rules that are none.
    pub fn new(root: OwnedFd, under: &RelPath, options: ScanOptions) -> Result<Self, Fault> {
        let limit = |_| Fault::new(FaultKind::Limit, Operation::List, under.clone());
        let mut walk = Self {
            stack: Stack::new(),
            filter: Filter::new(&options.filter).map_err(limit)?,
            only: options.only.clone().map(Only::new),
            ignored: IgnoreFiles::new(&options.filter),
            under: under.clone(),
            listing: ListingBuffer::default(),
            first: None,
            batch_items: FIRST_BATCH_ITEMS,
            options,
            root,
        };
        walk.begin()?;
        Ok(walk)
    }

    /// The next items, `None` once there are no more. A batch holds at most
    /// [`limits::BATCH_ENTRIES_MAX`] items and ends soon after [`limits::BATCH_BYTES_TARGET`]
    /// bytes.
    pub fn next_batch(&mut self) -> Option<Vec<ScanItem>> {
        let mut batch = Batch { items: Vec::with_capacity(self.batch_items), bytes: 0 };
        self.batch_items = (self.batch_items * 2).min(limits::BATCH_ENTRIES_MAX);
        let limit = batch.items.capacity().min(limits::BATCH_ENTRIES_MAX);
        if let Some((entry, problem)) = self.first.take() {
            problem.into_iter().for_each(|fault| batch.problem(fault));
            self.begin_at_root(entry, &mut batch);
        }
        while batch.items.len() < limit && batch.bytes < limits::BATCH_BYTES_TARGET {
            if !self.step(&mut batch) {
                break;
            }
        }
        (!batch.items.is_empty()).then_some(batch.items)
    }

    /// Whether there are no more items.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.first.is_none() && self.stack.is_empty()
    }

    fn begin(&mut self) -> Result<(), Fault> {
        let under = self.under.clone();
        let failed = |errno| fault(errno, Operation::Open, &under);
        let Some(parent) = under.parent() else {
            let stat = rustix::fs::fstat(&self.root).map_err(failed)?;
            let path = RelPath::root();
            let here =
                level::open(self.root.as_fd(), c".", level::Opening::Pass).map_err(failed)?;
            self.first = Some(self.entry(&here, c"", &stat, path)?);
            return Ok(());
        };
        let directory = confine::open_directory(self.root.as_fd(), &parent, Confinement::default())
            .map_err(failed)?;
        let name = c_string(under.name().unwrap_or_default());
        rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let identity = identity_of(&rustix::fs::fstat(&directory).map_err(failed)?);
        let wanted = self.only.as_ref().map_or(Wanted::All, |only| only.below(&under));
        let children = Children::One(Some((name, wanted)));
        self.stack.push(Level::new(directory, parent, identity, children));
        Ok(())
    }

    fn begin_at_root(&mut self, entry: Entry, batch: &mut Batch) {
        let path = entry.path.clone();
        let identity = (entry.inode.device, entry.inode.number);
        batch.push(ScanItem::Entry(entry));
        let wanted = self.only.as_ref().map_or(Wanted::All, |only| only.below(&path));
        let opened = level::open(self.root.as_fd(), c".", opening(&wanted));
        self.descend(opened, path, None, identity, wanted, batch);
    }

    /// Looks at one entry more; false once the walk is over.
    fn step(&mut self, batch: &mut Batch) -> bool {
        let mut buffer = [0; limits::NAME_BYTES_MAX + 1];
        let Some(level) = self.stack.last_mut() else { return false };
        let Some((name, kind, wanted)) = level.next(self.only.as_ref(), &mut buffer) else {
            self.ascend(batch);
            return true;
        };
        match level.path.child(name.to_bytes()) {
            Ok(path) => self.visit(Found { name, path, wanted }, kind, batch),
            Err(_) => {
                let kind = FaultKind::NameTooLong;
                let fault = Fault::new(kind, Operation::List, level.path.clone());
                batch.problem(fault);
            }
        }
        true
    }

    fn ascend(&mut self, batch: &mut Batch) {
        if let Some(left) = self.stack.pop() {
            self.ignored.leave(&left.path).into_iter().for_each(|fault| batch.problem(fault));
        }
        if let Err(fault) = self.stack.reopen(self.root.as_fd()) {
            // What remains of that directory cannot be reached any more.
            self.stack.abandon_last();
            batch.problem(fault);
        }
    }

    fn visit(&mut self, found: Found<'_>, kind: FileKind, batch: &mut Batch) {
        self.ignored.take_problems(&found.path).into_iter().for_each(|fault| batch.problem(fault));
        let reserved = crate::disk::is_partial_name(found.name.to_bytes());
        let known = match kind {
            FileKind::Directory => Some(true),
            FileKind::Other => Some(false),
            FileKind::Symlink => (!self.options.follow_links).then_some(false),
            FileKind::Unknown => None,
        };
        if !reserved && known.is_some_and(|directory| self.excluded(&found.path, directory)) {
            return batch.push(ScanItem::Excluded(found.path));
        }
        let stat = match self.stat(found.name) {
            Ok(stat) => stat,
            Err(errno) => return self.missing(errno, found, batch),
        };
        if reserved {
            return batch.push(partial(&stat, found.path));
        }
        if self.options.follow_links && stat::is_symlink(&stat) {
            return self.follow(found, batch);
        }
        let directory = stat::is_directory(&stat);
        if known != Some(directory) && self.excluded(&found.path, directory) {
            return batch.push(ScanItem::Excluded(found.path));
        }
        let Some(level) = self.stack.last() else { return };
        let Some(parent) = level.directory.as_ref() else { return };
        let real = level.real.as_ref().map(|real| real.child(found.name.to_bytes()));
        let opened =
            directory.then(|| level::open(parent.as_fd(), found.name, opening(&found.wanted)));
        let entry = self.entry(parent, found.name, &stat, found.path.clone());
        let real = real.and_then(Result::ok);
        self.list(entry, opened, found, identity_of(&stat), real, batch);
    }

    /// Yields an entry and goes down into it if it is a directory.
    fn list(
        &mut self,
        entry: Result<(Entry, Option<Fault>), Fault>,
        opened: Option<rustix::io::Result<OwnedFd>>,
        found: Found<'_>,
        identity: (u64, u64),
        real: Option<RelPath>,
        batch: &mut Batch,
    ) {
        match entry {
            Ok((entry, _)) if !self.filter.admits(&entry.kind, entry.metadata.modified) => {
                return batch.push(ScanItem::Excluded(entry.path));
            }
            Ok((entry, problem)) => {
                problem.into_iter().for_each(|fault| batch.problem(fault));
                batch.push(ScanItem::Entry(entry));
            }
            Err(fault) => batch.problem(fault),
        }
        match opened {
            Some(opened) => {
                self.descend(opened, found.path, real, identity, found.wanted, batch);
            }
            None => self.missing_below(&found.wanted, batch),
        }
    }

    fn follow(&mut self, found: Found<'_>, batch: &mut Batch) {
        let Some(level) = self.stack.last() else { return };
        let parent = level.real.as_ref().unwrap_or(&level.path);
        let target = match links::resolve(self.root.as_fd(), parent, found.name) {
            Ok(target) => target,
            Err(refused) => {
                let mut fault = refused.at(found.path);
                // It is the link that leads nowhere; nothing went away while we looked.
                if fault.kind == FaultKind::NotFound {
                    fault.kind = FaultKind::Unsupported;
                }
                return batch.problem(fault);
            }
        };
        let directory = stat::is_directory(&target.stat);
        if self.excluded(&found.path, directory) {
            return batch.push(ScanItem::Excluded(found.path));
        }
        let identity = identity_of(&target.stat);
        if directory && self.stack.holds(identity) {
            let fault = Fault::new(FaultKind::Unsafe, Operation::List, found.path);
            return batch.problem(fault);
        }
        let entry = self.entry(&target.parent, &target.name, &target.stat, found.path.clone());
        let opened = directory
            .then(|| level::open(target.parent.as_fd(), &target.name, opening(&found.wanted)));
        self.list(entry, opened, found, identity, Some(target.real), batch);
    }

    fn descend(
        &mut self,
        opened: rustix::io::Result<OwnedFd>,
        path: RelPath,
        real: Option<RelPath>,
        identity: (u64, u64),
        wanted: Wanted,
        batch: &mut Batch,
    ) {
        let listed = opened.map_err(ListError::System).and_then(|directory| {
            let children = match wanted {
                Wanted::All => Children::All(Names::list(directory.as_fd(), &mut self.listing)?),
                Wanted::Some(range) => Children::Wanted(range),
            };
            Ok((directory, children))
        });
        match listed {
            Ok((directory, children)) => {
                self.ignored.enter(directory.as_fd(), &path, &children);
                let mut level = Level::new(directory, path, identity, children);
                level.real = real;
                self.stack.push(level);
            }
            Err(ListError::TooMany) => {
                batch.problem(Fault::new(FaultKind::Limit, Operation::List, path));
            }
            // It was a directory a moment ago.
            Err(ListError::System(Errno::NOTDIR | Errno::LOOP)) => {
                batch.problem(Fault::new(FaultKind::Changed, Operation::List, path));
            }
            Err(ListError::System(errno)) => {
                batch.problem(fault(errno, Operation::List, &path));
            }
        }
    }

    /// What is wanted below something that is no directory, or not there, is missing.
    fn missing_below(&self, wanted: &Wanted, batch: &mut Batch) {
        if let (Wanted::Some(range), Some(only)) = (wanted, self.only.as_ref()) {
            for path in only.paths(range) {
                let fault = Fault::new(FaultKind::NotFound, Operation::Stat, path.clone());
                batch.problem(fault);
            }
        }
    }

    fn missing(&self, errno: Errno, found: Found<'_>, batch: &mut Batch) {
        match found.wanted {
            Wanted::Some(_) if errno == Errno::NOENT => self.missing_below(&found.wanted, batch),
            _ => batch.problem(fault(errno, Operation::Stat, &found.path)),
        }
    }

    fn stat(&self, name: &CStr) -> rustix::io::Result<Stat> {
        let parent = self.stack.last().and_then(|level| level.directory.as_ref());
        let parent = parent.ok_or(Errno::NOENT)?;
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Attributes that cannot be read are a problem beside the entry, whose bytes can still be
    /// copied.
    fn entry(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        stat: &Stat,
        path: RelPath,
    ) -> Result<(Entry, Option<Fault>), Fault> {
        let mut entry = stat::entry(parent.as_fd(), name, stat, path, &self.options)?;
        if !self.options.xattrs {
            return Ok((entry, None));
        }
        match stat::xattrs(parent.as_fd(), name, &entry.path) {
            Ok(xattrs) => {
                entry.metadata.xattrs = xattrs;
                Ok((entry, None))
            }
            Err(fault) => Ok((entry, Some(fault))),
        }
    }

    fn excluded(&self, path: &RelPath, directory: bool) -> bool {
        let begin = self.under.as_bytes().len();
        let below = match path.as_bytes().get(begin..) {
            Some([b'/', below @ ..]) => below,
            Some(below @ [_, ..]) => below,
            _ => path.name().unwrap_or_default(),
        };
        match self.filter.decide(below, directory) {
            Decision::Exclude => true,
            Decision::Include => false,
            Decision::Open => self.ignored.exclude(path, directory),
        }
    }
}

/// Items on their way out, and about how many bytes they will have as a message.
struct Batch {
    items: Vec<ScanItem>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, item: ScanItem) {
        // What the numbers of an entry need when they are encoded.
        const NUMBERS: usize = 48;
        self.bytes += NUMBERS
            + match &item {
                ScanItem::Entry(entry) => {
                    let content = match &entry.kind {
                        EntryKind::Symlink { content } => content.len(),
                        _ => 0,
                    };
                    let xattrs = entry.metadata.xattrs.iter();
                    entry.path.as_bytes().len()
                        + content
                        + xattrs.map(|x| 8 + x.name.len() + x.value.len()).sum::<usize>()
                }
                ScanItem::Excluded(path) | ScanItem::Partial { path, .. } => path.as_bytes().len(),
                ScanItem::Problem(fault) => fault.path.as_bytes().len(),
            };
        self.items.push(item);
    }

    fn problem(&mut self, fault: Fault) {
        self.push(ScanItem::Problem(fault));
    }
}

fn opening(wanted: &Wanted) -> level::Opening {
    match wanted {
        Wanted::All => level::Opening::List,
        Wanted::Some(_) => level::Opening::Pass,
    }
}

/// Links and special files are made under such names too; a directory never is.
fn partial(stat: &Stat, path: RelPath) -> ScanItem {
    match stat::kind_without_content(stat) {
        Some(EntryKind::Directory) => {
            ScanItem::Problem(Fault::new(FaultKind::Unsafe, Operation::List, path))
        }
        Some(EntryKind::File { allocated, .. }) => ScanItem::Partial { path, allocated },
        _ => ScanItem::Partial { path, allocated: 0 },
    }
}

fn c_string(name: &[u8]) -> CString {
    CString::new(name).expect("a RelPath holds no NUL")
}
