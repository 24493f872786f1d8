//! From staged to there: sync files, rename, sync directories.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{Finish, Outcome, Publish, Ticket};
use xfer_protocol::path::RelPath;

use super::directories::Directories;
use super::partials::PartialFile;
use super::roots::{OpenRoot, Touched, write_fault};
use super::{Shared, guard};
use crate::disk::fault::fault;
use crate::disk::{Errno, confine, file, partial, partial_name, stat, sync};

/// Files up to which each is synced; for more, the whole file system is, which costs half as much
/// for a few hundred but waits for the writes of others too.
pub(super) const SYNC_EACH_MAX: usize = 64;

/// Threads that sync files and directories: journals take many waiting ones in one go.
const SYNC_THREADS: usize = 16;

/// What waits to be published below one root.
#[derive(Default)]
pub(super) struct Staging {
    waiting: Mutex<Waiting>,
    /// Held while a group is published, so that a call that comes again meets the outcomes of the
    /// first.
    publishing: Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    staged: BTreeMap<RelPath, Staged>,
    held: usize,
    /// The last publishing and its outcomes, told again when it is asked for again.
    last: Option<(u64, Vec<Outcome>)>,
}

/// One file that is complete under its partial's name.
pub(super) struct Staged {
    pub(super) ticket: Ticket,
    pub(super) file: StagedFile,
}

pub(super) enum StagedFile {
    /// A large one, still open.
    Partial(Arc<PartialFile>),
    /// A small one, open because only its own lock protects it.
    Held { file: OwnedFd, on_root_device: bool },
    /// A small one.
    Closed {
        /// What it must still be, where no lock protects it.
        inode: Option<u64>,
        on_root_device: bool,
    },
}

impl Staging {
    pub(super) fn stage(&self, path: &RelPath, staged: Staged) {
        let mut waiting = guard(&self.waiting);
        waiting.held += usize::from(staged.is_held());
        if let Some(before) = waiting.staged.insert(path.clone(), staged) {
            waiting.held -= usize::from(before.is_held());
        }
    }

    /// What is answered to a publishing that was before: the same for the last one, and nothing for
    /// one that comes too late, for nobody waits for it.
    fn told(&self, number: u64) -> Option<Vec<Outcome>> {
        match &guard(&self.waiting).last {
            Some((last, outcomes)) if *last == number => Some(outcomes.clone()),
            Some((last, _)) if *last > number => Some(Vec::new()),
            _ => None,
        }
    }

    /// Takes back what was staged under a path, if anything was.
    pub(super) fn withdraw(&self, path: &RelPath) {
        let mut waiting = guard(&self.waiting);
        if let Some(before) = waiting.staged.remove(path) {
            waiting.held -= usize::from(before.is_held());
        }
    }

    /// Small files that are held open.
    pub(super) fn held(&self) -> usize {
        guard(&self.waiting).held
    }

    fn paths(&self) -> Vec<RelPath> {
        guard(&self.waiting).staged.keys().cloned().collect()
    }

    /// Takes what is staged under paths that the caller has claimed: a writer that replaces a
    /// staged file either was before, or waits.
    fn take(&self, paths: &[RelPath]) -> BTreeMap<RelPath, Staged> {
        let mut waiting = guard(&self.waiting);
        let taken: BTreeMap<_, _> =
            paths.iter().filter_map(|path| waiting.staged.remove_entry(path)).collect();
        waiting.held -= taken.values().filter(|staged| staged.is_held()).count();
        taken
    }
}

impl Staged {
    fn is_held(&self) -> bool {
        matches!(self.file, StagedFile::Held { .. })
    }

    /// Whether it is what it replaces: without a sync a power cut could leave a mixture under its
    /// name, of the right size and time.
    fn is_in_place(&self) -> bool {
        matches!(&self.file, StagedFile::Partial(partial) if partial.is_in_place())
    }
}

impl Shared {
    pub(super) fn publish(&self, publish: Publish) -> Result<Vec<Outcome>, Fault> {
        let root = self.writable(publish.root, Operation::Commit)?;
        let _publishing = guard(&root.staging.publishing);
        if let Some(told) = root.staging.told(publish.number) {
            return Ok(told);
        }
        let paths = root.staging.paths();
        let _claim = self.claims.claim(publish.root, &paths);
        let staged = root.staging.take(&paths);
        let mut outcomes = BTreeMap::new();
        let (to_sync, mut staged): (BTreeMap<_, _>, BTreeMap<_, _>) =
            staged.into_iter().partition(|(_, staged)| publish.durable || staged.is_in_place());
        staged.extend(self.sync_files(&root, to_sync, &mut outcomes));
        let mut renamed: BTreeMap<RelPath, Vec<(Ticket, RelPath)>> = BTreeMap::new();
        let mut directories = Directories::new(&root, self.options.confinement, Operation::Commit);
        for (path, staged) in staged {
            let result = self.rename_staged(&root, &mut directories, &path, &staged);
            if result.is_ok() {
                let parent = path.parent().unwrap_or_default();
                renamed.entry(parent).or_default().push((staged.ticket, path));
            }
            outcomes.insert(staged.ticket, result.map(Some));
        }
        if publish.durable {
            for (directory, errno) in self.sync_touched(&root) {
                let files = renamed.get(&directory);
                if files.is_none() {
                    root.stays_unsynced(fault(errno, Operation::Sync, &directory));
                }
                for (ticket, path) in files.into_iter().flatten() {
                    outcomes.insert(*ticket, Err(fault(errno, Operation::Sync, path)));
                }
            }
        }
        let outcomes: Vec<_> =
            outcomes.into_iter().map(|(ticket, result)| Outcome { ticket, result }).collect();
        guard(&root.staging.waiting).last = Some((publish.number, outcomes.clone()));
        Ok(outcomes)
    }

    pub(super) fn finish(&self, finish: Finish) -> Result<(), Fault> {
        let root = self.writable(finish.root, Operation::Sync)?;
        self.remove_staged(&root);
        if finish.durable {
            root.sync_once(|| {
                root.sync_found().map_err(|errno| root.fault(errno, Operation::Sync))?;
                match self.sync_touched(&root).into_iter().next() {
                    Some((directory, errno)) => Err(fault(errno, Operation::Sync, &directory)),
                    None => Ok(()),
                }
            })?;
        }
        self.files.forget_root(root.index);
        root.locks.release();
        Ok(())
    }

    /// Removes small files that were staged and never published: sending them again costs less than
    /// keeping them, and large ones stay for a later session.
    fn remove_staged(&self, root: &OpenRoot) {
        let _publishing = guard(&root.staging.publishing);
        let paths = root.staging.paths();
        let _claim = self.claims.claim(root.index, &paths);
        let staged = root.staging.take(&paths);
        let mut directories = Directories::new(root, self.options.confinement, Operation::Remove);
        for (path, staged) in staged {
            if matches!(staged.file, StagedFile::Partial(_)) {
                continue;
            }
            if let Ok((place, name)) = directories.parent(&path) {
                drop(staged);
                // A later session finds and replaces what cannot be removed now.
                let _ = partial::remove_unheld(place.as_fd(), &partial_name(name));
            }
        }
    }

    fn rename_staged(
        &self,
        root: &OpenRoot,
        directories: &mut Directories<'_>,
        path: &RelPath,
        staged: &Staged,
    ) -> Result<Stamp, Fault> {
        let failed = |errno| write_fault(root, errno, Operation::Commit, path);
        let parent = path.parent().unwrap_or_default();
        if let StagedFile::Partial(partial) = &staged.file {
            let (place, file) = (partial.place().as_fd(), partial.file());
            let (device, inode) = identity(file).map_err(failed)?;
            let (own, name) = (partial.own_name(), partial.name());
            let stamp = rename(place, own, name, Some(inode)).map_err(failed)?;
            root.touch(&parent, device == root.device);
            self.partials.forget(partial.index());
            return Ok(stamp);
        }
        let (place, name) = directories.parent(path)?;
        let inode = match &staged.file {
            StagedFile::Held { file, .. } => Some(identity(file).map_err(failed)?.1),
            StagedFile::Closed { inode, .. } => *inode,
            StagedFile::Partial(_) => None,
        };
        let own = partial_name(name);
        let stamp = rename(place.as_fd(), &own, name, inode).map_err(failed)?;
        root.touch(&parent, place.on_root_device);
        Ok(stamp)
    }

    /// Syncs staged files; those that fail are removed and get their outcome.
    fn sync_files(
        &self,
        root: &OpenRoot,
        staged: BTreeMap<RelPath, Staged>,
        outcomes: &mut BTreeMap<Ticket, Result<Option<Stamp>, Fault>>,
    ) -> BTreeMap<RelPath, Staged> {
        let on_root = |s: &&Staged| match &s.file {
            StagedFile::Held { on_root_device, .. } | StagedFile::Closed { on_root_device, .. } => {
                *on_root_device
            }
            StagedFile::Partial(_) => false,
        };
        let many = staged.values().filter(on_root).count() > SYNC_EACH_MAX;
        let whole = root.whole.as_ref().filter(|_| many).map(sync::sync_whole);
        let mut failed: Vec<(RelPath, Errno)> = Vec::new();
        if let Some(Err(errno)) = whole {
            // The system tells of it once, and not of whose bytes are lost.
            failed
                .extend(staged.iter().filter(|(_, s)| on_root(s)).map(|(p, _)| (p.clone(), errno)));
            root.stays_unsynced(root.fault(errno, Operation::Sync));
        }
        let mut singly: Vec<(&RelPath, &Staged)> =
            staged.iter().filter(|(_, s)| whole.is_none() || !on_root(s)).collect();
        let one_by_one = each_in_threads(&mut singly, |(path, staged)| {
            self.sync_one(root, path, staged).err().map(|errno| ((*path).clone(), errno))
        });
        failed.extend(one_by_one.into_iter().flatten());
        let mut staged = staged;
        for (path, errno) in failed {
            if let Some(lost) = staged.remove(&path) {
                self.remove_lost(root, &path, &lost);
                outcomes.insert(lost.ticket, Err(lost_fault(errno, &path)));
            }
        }
        staged
    }

    fn sync_one(&self, root: &OpenRoot, path: &RelPath, staged: &Staged) -> Result<(), Errno> {
        match &staged.file {
            StagedFile::Partial(partial) => file::sync(partial.file()),
            StagedFile::Held { file, .. } => file::sync(file),
            StagedFile::Closed { .. } => {
                let parent = path.parent().unwrap_or_default();
                let place =
                    confine::open_directory(root.place(), &parent, self.options.confinement)?;
                let name = partial_name(path.name().unwrap_or_default());
                let flags = OFlags::RDONLY | confine::LEAF;
                let opened = match rustix::fs::openat(&place, name.as_slice(), flags, Mode::empty())
                {
                    // A mode that keeps even us out.
                    Err(Errno::ACCESS) => {
                        let flags = confine::HANDLE | confine::LEAF;
                        let handle = rustix::fs::openat(&place, name, flags, Mode::empty())?;
                        return sync::sync_unreadable(handle.as_fd());
                    }
                    other => other?,
                };
                file::sync(opened)
            }
        }
    }

    fn remove_lost(&self, root: &OpenRoot, path: &RelPath, lost: &Staged) {
        if let StagedFile::Partial(partial) = &lost.file {
            partial.taint();
            return;
        }
        let mut directories = Directories::new(root, self.options.confinement, Operation::Remove);
        if let Ok((place, name)) = directories.parent(path) {
            let _ = partial::remove_any(place.as_fd(), &partial_name(name));
        }
    }

    /// Syncs the directories whose names changed, and returns those that failed.
    pub(super) fn sync_touched(&self, root: &OpenRoot) -> Vec<(RelPath, Errno)> {
        let Touched { directories, too_many, elsewhere, above } =
            std::mem::take(&mut *guard(&root.touched));
        for place in above {
            if let Err(errno) = sync::sync_directory(place.as_fd()) {
                root.stays_unsynced(root.fault(errno, Operation::Sync));
            }
        }
        let mut failed = Vec::new();
        let mut singly: Vec<_> = elsewhere.into_iter().collect();
        match &root.whole {
            Some(whole) if too_many || directories.len() > SYNC_EACH_MAX => {
                if let Err(errno) = sync::sync_whole(whole) {
                    root.stays_unsynced(root.fault(errno, Operation::Sync));
                    failed.extend(directories.into_iter().map(|directory| (directory, errno)));
                }
            }
            _ => singly.extend(directories),
        }
        let synced = each_in_threads(&mut singly, |directory| {
            let place = confine::open_directory(root.place(), directory, self.options.confinement);
            match place.and_then(|place| sync::sync_directory(place.as_fd())) {
                // Removed again by now, so there is nothing left to last.
                Ok(()) | Err(Errno::NOENT) => None,
                Err(errno) => Some((directory.clone(), errno)),
            }
        });
        failed.extend(synced.into_iter().flatten());
        failed
    }
}

/// Renames a partial into place. One that another file has replaced meanwhile is somebody else's.
fn rename(
    place: BorrowedFd<'_>,
    partial: &[u8],
    name: &[u8],
    inode: Option<u64>,
) -> Result<Stamp, Errno> {
    let at = |name: &[u8]| rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_ours = |found: &Stat| inode.is_none_or(|inode| stat::identity(found).1 == inode);
    if inode.is_some() && !is_ours(&at(partial)?) {
        return Err(Errno::WOULDBLOCK);
    }
    partial::rename(place, partial, name)?;
    let found = at(name)?;
    if is_ours(&found) { Ok(stat::stamp(&found)) } else { Err(Errno::WOULDBLOCK) }
}

fn identity(file: impl AsFd) -> Result<(u64, u64), Errno> {
    Ok(stat::identity(&rustix::fs::fstat(file)?))
}

/// What a failed sync means: the bytes must be sent again, unless there is no room for them.
fn lost_fault(errno: Errno, path: &RelPath) -> Fault {
    let mut fault = fault(errno, Operation::Sync, path);
    if fault.kind == FaultKind::Io {
        fault.kind = FaultKind::Tainted;
    }
    fault
}

/// Does blocking work on each item, several at a time.
pub(super) fn each_in_threads<T: Sync, R: Send>(
    items: &mut [T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let threads = SYNC_THREADS.min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = items
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<_>>()))
            .collect();
        running
            .into_iter()
            .flat_map(|r| r.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
