//! Open roots.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind};
use xfer_protocol::message::{Access, OpenRoot as Open, Root, RootIndex, Space};
use xfer_protocol::path::RelPath;

use super::locking::Locks;
use super::places::Place;
use super::publish::Staging;
use super::{Shared, guard};
use crate::disk::confine::Confinement;
use crate::disk::fault::{fault, kind_of};
use crate::disk::{Errno, base, confine, space, stat, sync};

/// Directories with new names in them that are remembered one by one; beyond that, all are synced.
const TOUCHED_MAX: usize = 4096;

pub(super) struct Roots {
    machine: [u8; 16],
    open: Mutex<Vec<Arc<OpenRoot>>>,
}

/// A directory below which entries are read or written.
pub(super) struct OpenRoot {
    pub(super) index: RootIndex,
    place: OwnedFd,
    /// The same directory, open for syncing its file system; since before anything was written, so
    /// that it tells of every failed write.
    pub(super) whole: Option<OwnedFd>,
    /// The same where that tells of lost names only, not of lost bytes of files.
    names: Option<OwnedFd>,
    pub(super) device: u64,
    inode: u64,
    path: Vec<u8>,
    access: Access,
    /// Set once a scan followed links: its paths may lead through them.
    follows: AtomicBool,
    pub(super) locks: Locks,
    pub(super) staging: Staging,
    pub(super) touched: Mutex<Touched>,
    /// Set once something was found below that this session did not write: it may not have reached
    /// the medium.
    found: AtomicBool,
    /// The other file systems that it was found on, each by a directory.
    found_elsewhere: Mutex<BTreeMap<u64, RelPath>>,
    confinement: Confinement,
    /// A failed sync at the end: the system tells of it once, and the call may come again.
    unsynced: OnceLock<Fault>,
}

/// Directories whose names changed since they were last synced.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) directories: BTreeSet<RelPath>,
    pub(super) too_many: bool,
    /// Those on other file systems than the root's, of which syncing that tells nothing.
    pub(super) elsewhere: BTreeSet<RelPath>,
    /// Directories above the root in which it or its parents were made.
    pub(super) above: Vec<OwnedFd>,
}

impl Roots {
    pub(super) fn new() -> Self {
        Self { machine: base::machine(), open: Mutex::default() }
    }

    pub(super) fn clear(&self) {
        guard(&self.open).clear();
    }
}

impl OpenRoot {
    pub(super) fn place(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }

    /// Its absolute path.
    #[cfg(target_os = "linux")]
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Lets paths of a source lead through links that stay within it, as a scan reported them.
    pub(super) fn follow_links(&self) {
        self.follows.store(self.access == Access::Read, Ordering::Relaxed);
    }

    /// Whether paths may lead through links.
    pub(super) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// Remembers that a directory's names changed.
    pub(super) fn touch(&self, directory: &RelPath, on_root_device: bool) {
        let mut touched = guard(&self.touched);
        if touched.directories.contains(directory) || touched.elsewhere.contains(directory) {
            return;
        }
        if !on_root_device {
            touched.elsewhere.insert(directory.clone());
        } else if self.whole.is_some() && touched.directories.len() >= TOUCHED_MAX {
            touched.too_many = true;
        } else {
            touched.directories.insert(directory.clone());
        }
    }

    /// Notes a file below that stands as it was found, or has other metadata now. What syncing the
    /// file system at the end does not reach is synced at once.
    pub(super) fn rely_on(
        &self,
        file: impl AsFd,
        device: u64,
        path: &RelPath,
    ) -> Result<(), Errno> {
        if self.access == Access::Read {
            return Ok(());
        }
        if self.is_synced_whole(device) {
            self.found.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.touch(&path.parent().unwrap_or_default(), device == self.device);
        crate::disk::file::sync(file)
    }

    /// Notes a link, a special file or a file out of reach below that has other metadata now.
    pub(super) fn rely_on_name(&self, device: u64, path: &RelPath) {
        let parent = path.parent().unwrap_or_default();
        self.touch(&parent, device == self.device);
        self.rely_on_all(device, parent);
    }

    /// Notes an entry that a scan found below. Of a file that counts once its content is compared.
    pub(super) fn rely_on_scanned(&self, entry: &Entry) {
        match entry.kind {
            _ if self.access == Access::Read => {}
            EntryKind::File { .. } => {}
            EntryKind::Directory => self.rely_on_all(entry.inode.device, entry.path.clone()),
            _ => self.rely_on_all(entry.inode.device, entry.path.parent().unwrap_or_default()),
        }
    }

    /// Notes that a file system must be synced as a whole, one that holds a directory below.
    fn rely_on_all(&self, device: u64, directory: RelPath) {
        self.found.store(true, Ordering::Relaxed);
        if device != self.device {
            guard(&self.found_elsewhere).entry(device).or_insert(directory);
        }
    }

    #[cfg(test)]
    pub(super) fn found_elsewhere(&self) -> impl Iterator<Item = RelPath> {
        guard(&self.found_elsewhere).clone().into_values()
    }

    /// Whether syncing everything at the end tells of a file's failed writes too.
    pub(super) fn is_synced_whole(&self, device: u64) -> bool {
        device == self.device && self.whole.is_some()
    }

    /// Notes a failed sync that no entry's own outcome tells of.
    pub(super) fn stays_unsynced(&self, failed: Fault) {
        self.unsynced.get_or_init(|| failed);
    }

    /// Syncs at the end; what failed once has failed for as long as the root is open.
    pub(super) fn sync_once(&self, sync: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        if let Some(failed) = self.unsynced.get() {
            return Err(failed.clone());
        }
        sync().map_err(|failed| self.unsynced.get_or_init(|| failed).clone())
    }

    /// Syncs what was found.
    pub(super) fn sync_found(&self) -> Result<(), Errno> {
        for directory in std::mem::take(&mut *guard(&self.found_elsewhere)).into_values() {
            let place = confine::open_directory(self.place(), &directory, self.confinement);
            match place.and_then(|place| confine::open_for_reading(place.as_fd())) {
                Ok(place) => sync::sync_whole(place)?,
                // Removed again by now, so there is nothing left to last.
                Err(Errno::NOENT) => {}
                // A mode that keeps even us out.
                Err(Errno::ACCESS) => sync::sync_machine(),
                Err(errno) => return Err(errno),
            }
        }
        if !self.found.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        match self.whole.as_ref().or(self.names.as_ref()) {
            Some(whole) => sync::sync_whole(whole),
            None => {
                sync::sync_machine();
                Ok(())
            }
        }
    }

    /// A failure of this root as a whole.
    pub(super) fn fault(&self, errno: Errno, during: Operation) -> Fault {
        fault(errno, during, &RelPath::root())
    }
}

impl Shared {
    pub(super) fn open_root(&self, open: &Open) -> Result<Root, Fault> {
        let failed = |errno| fault(errno, Operation::Open, &RelPath::root());
        let opened =
            self.open_place(&open.path, open.access, self.roots.machine).map_err(failed)?;
        let Place { place, above, path, machine } = opened;
        let (device, inode) = stat::identity(&rustix::fs::fstat(&place).map_err(failed)?);
        let whole = match open.access {
            Access::Read => None,
            Access::Write | Access::WriteCreate => confine::open_for_reading(place.as_fd()).ok(),
        };
        let (whole, names) = match whole {
            Some(whole) if sync::whole_is_trusted(&whole) => (Some(whole), None),
            names => (None, names),
        };
        let space = space::free(place.as_fd(), self.options.reserve).map_err(failed)?;
        let mut roots = guard(&self.roots.open);
        if roots.len() >= limits::ROOTS_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::Open, RelPath::root()));
        }
        let index = RootIndex(u32::try_from(roots.len()).unwrap_or(u32::MAX));
        let root = OpenRoot {
            index,
            place,
            whole,
            names,
            device,
            inode,
            path,
            access: open.access,
            follows: AtomicBool::new(false),
            locks: Locks::default(),
            staging: Staging::default(),
            touched: Mutex::new(Touched { above, ..Touched::default() }),
            found: AtomicBool::new(false),
            found_elsewhere: Mutex::default(),
            confinement: self.options.confinement,
            unsynced: OnceLock::new(),
        };
        let reply =
            Root { index, path: root.path.clone(), device, inode: root.inode, machine, space };
        roots.push(Arc::new(root));
        Ok(reply)
    }

    /// A root that was opened before.
    pub(super) fn root(&self, index: RootIndex, during: Operation) -> Result<Arc<OpenRoot>, Fault> {
        let position = usize::try_from(index.0).unwrap_or(usize::MAX);
        guard(&self.roots.open)
            .get(position)
            .map(Arc::clone)
            .ok_or_else(|| Fault::new(FaultKind::Protocol, during, RelPath::root()))
    }

    /// A root that may be written below.
    pub(super) fn writable(
        &self,
        index: RootIndex,
        during: Operation,
    ) -> Result<Arc<OpenRoot>, Fault> {
        let root = self.root(index, during)?;
        match root.access {
            Access::Write | Access::WriteCreate => Ok(root),
            Access::Read => Err(Fault::new(FaultKind::Protocol, during, RelPath::root())),
        }
    }

    pub(super) fn space(&self, root: RootIndex) -> Result<Space, Fault> {
        let root = self.root(root, Operation::Stat)?;
        space::free(root.place(), self.options.reserve)
            .map_err(|errno| root.fault(errno, Operation::Stat))
    }
}

/// A failure of writing an entry below a root.
pub(super) fn write_fault(
    root: &OpenRoot,
    errno: Errno,
    during: Operation,
    path: &RelPath,
) -> Fault {
    crate::disk::fault::write_fault(errno, during, path, root.place())
}

/// Whether bytes that were written before this failure can still be trusted.
pub(super) fn keeps_bytes(errno: Errno) -> bool {
    matches!(kind_of(errno), FaultKind::NoSpace | FaultKind::Quota | FaultKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use xfer_protocol::manifest::Metadata;
    use xfer_protocol::message::removal::{Rename, Renaming};
    use xfer_protocol::message::{Finish, SetMetadata, Ticket};

    use super::*;
    use crate::endpoint::local::tests::{Lab, packed};
    use crate::endpoint::local::{LocalEndpoint, LocalOptions};
    use crate::endpoint::{Endpoint, Sink};

    /// The system tells of a failed sync once, and the answer to a finish may be lost.
    #[tokio::test]
    async fn a_sync_that_failed_has_failed_when_it_is_asked_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = LocalEndpoint::new(LocalOptions::default());
        let path = directory.path().as_os_str().as_encoded_bytes().to_vec();
        let open = Open { path, access: Access::Write };
        let index = endpoint.open_root(open).await.unwrap().index;
        let root = endpoint.shared.root(index, Operation::Sync).unwrap();
        let failed = root.fault(Errno::IO, Operation::Sync);
        assert_eq!(root.sync_once(|| Err(failed.clone())), Err(failed.clone()));
        let finish = |durable| endpoint.finish(Finish { root: index, durable });
        assert_eq!(finish(true).await, Err(failed.into()));
        assert_eq!(finish(false).await, Ok(()));
    }

    /// Lets every sync of the whole file system fail: what is only a place cannot be synced.
    fn obstruct(lab: &Lab, is_trusted: bool) {
        let place = confine::open_root(lab.directory.path().as_os_str().as_encoded_bytes());
        let mut roots = guard(&lab.endpoint.shared.roots.open);
        let root = Arc::get_mut(&mut roots[0]).unwrap();
        (root.whole, root.names) =
            if is_trusted { (Some(place.unwrap()), None) } else { (None, Some(place.unwrap())) };
    }

    async fn finishes(lab: &Lab) -> bool {
        lab.endpoint.finish(Finish { root: lab.root, durable: true }).await.is_ok()
    }

    /// What an earlier session made and did not sync is synced by the one that finds it.
    #[tokio::test]
    async fn what_a_scan_found_is_synced() {
        for (is_trusted, scans) in [(true, true), (false, true), (true, false)] {
            let lab = Lab::on("/tmp").await;
            std::os::unix::fs::symlink("x", lab.at("link")).unwrap();
            obstruct(&lab, is_trusted);
            if scans {
                lab.scan().await;
            }
            assert_eq!(finishes(&lab).await, !scans);
        }
    }

    /// Where one sync does not stand for all, each directory has its own, however many there are.
    #[tokio::test]
    async fn each_of_many_directories_is_synced() {
        let lab = Lab::on("/tmp").await;
        std::os::unix::fs::symlink("x", lab.at("obstacle")).unwrap();
        {
            let mut roots = guard(&lab.endpoint.shared.roots.open);
            let root = Arc::get_mut(&mut roots[0]).unwrap();
            root.whole = None;
            let gone = (0..5000).map(|number| format!("gone-{number}"));
            for name in gone.chain(["obstacle".to_owned()]) {
                root.touch(&RelPath::new(name).unwrap(), true);
            }
        }
        assert!(!finishes(&lab).await);
    }

    /// A link with new metadata is not brought to the medium by its directory alone.
    #[tokio::test]
    async fn links_are_synced_where_files_are_synced_one_by_one() {
        let lab = Lab::on("/tmp").await;
        std::os::unix::fs::symlink("x", lab.at("link")).unwrap();
        obstruct(&lab, false);
        let entries = vec![(Ticket(1), RelPath::new("link").unwrap(), Metadata::default())];
        let set = SetMetadata { root: lab.root, entries };
        assert!(lab.endpoint.set_metadata(set).await.unwrap()[0].result.is_ok());
        assert!(!finishes(&lab).await);
    }

    /// A file that its owner may not open is synced by itself, or not called done.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_nobody_may_read_is_synced_by_itself() {
        crate::disk::unprivileged::run(|directory| {
            let endpoint = LocalEndpoint::new(LocalOptions::default());
            let path = directory.as_os_str().as_encoded_bytes().to_vec();
            let open = Open { path, access: Access::Write };
            let index = endpoint.shared.open_root(&open).unwrap().index;
            {
                let mut roots = guard(&endpoint.shared.roots.open);
                let root = Arc::get_mut(&mut roots[0]).unwrap();
                root.names = root.whole.take();
            }
            #[expect(clippy::disallowed_methods, reason = "the test makes the file itself")]
            std::fs::write(directory.join("file"), b"bytes").unwrap();
            let metadata = Metadata { mode: 0o200, ..Metadata::default() };
            let entries = vec![(Ticket(1), RelPath::new("file").unwrap(), metadata)];
            let set = SetMetadata { root: index, entries };
            let stamp = endpoint.shared.set_metadata(&set).unwrap().remove(0).result.unwrap();
            #[expect(clippy::disallowed_methods, reason = "the test looks at the file itself")]
            let found = std::fs::metadata(directory.join("file")).unwrap();
            assert_eq!(found.mode() & 0o7777, 0o200);
            let changed = stamp.unwrap().changed;
            let expected = (changed.seconds, i64::from(changed.nanoseconds));
            assert_eq!((found.ctime(), found.ctime_nsec()), expected);
        });
    }

    /// A failed sync of the whole file system is told once, and not of whose bytes are lost: none
    /// of them is published, and the end fails too.
    #[tokio::test]
    async fn a_failed_sync_of_the_whole_counts_for_all() {
        let lab = Lab::on("/tmp").await;
        obstruct(&lab, true);
        let files = (0..100).map(|number| packed(number, &format!("f{number}"), b"")).collect();
        lab.pack(files, b"").await;
        let outcomes = lab.publish(true).await;
        assert!(outcomes.len() == 100 && outcomes.iter().all(|o| o.result.is_err()));
        assert!(lab.names().is_empty(), "{:?}", lab.names());
        assert!(!finishes(&lab).await);
    }

    /// The same of files that get other names: they keep theirs. Where each is synced by itself,
    /// the others' syncs do not matter.
    #[tokio::test]
    async fn what_is_not_synced_keeps_its_name() {
        for (is_trusted, count) in [(true, 100), (true, 3), (false, 100_u64)] {
            let lab = Lab::on("/tmp").await;
            let renaming = |number: u64| {
                let [from, to] = ["old", "new"].map(|name| format!("{name}-{number}"));
                #[expect(clippy::disallowed_methods, reason = "the test makes the file itself")]
                std::fs::write(lab.at(&from), from.as_bytes()).unwrap();
                let found = rustix::fs::stat(lab.at(&from)).unwrap();
                let [from, to] = [from, to].map(|name| RelPath::new(name).unwrap());
                let (ticket, metadata) = (Ticket(number), Metadata::default());
                Renaming { ticket, from, stamp: stat::stamp(&found), to, metadata }
            };
            let entries = (0..count).map(renaming).collect();
            obstruct(&lab, is_trusted);
            let rename = Rename { root: lab.root, entries, durable: true };
            let outcomes = lab.endpoint.rename(rename).await.unwrap();
            let fails = is_trusted && count == 100;
            assert_eq!(outcomes.len() as u64, count);
            assert!(outcomes.iter().all(|outcome| outcome.result.is_err() == fails));
            let kept = if fails { "old" } else { "new" };
            assert_eq!(lab.names().len() as u64, count);
            assert!(lab.names().iter().all(|name| name.starts_with(kept)), "{:?}", lab.names());
        }
    }
}
