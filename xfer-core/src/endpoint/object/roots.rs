//! Open roots: prefixes, and how entries below them are reached.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{Access, OpenRoot as Open, Outcome, Root, RootIndex, Space};
use xfer_protocol::path::RelPath;

use super::entry::{Seen, directory_number};
use super::keys::key_of;
use super::layers::Layer;
use super::locate::typed;
use super::manifest::{Described, DescribedKind};
use super::places::Names;
use super::publish::Staged;
use super::store::Key;
use super::{RECORDS, Shared, guard};
use crate::disk::partial_name;
use crate::endpoint::EndpointResult;

/// Bytes of a path below a root; one that is shorter may still have too long a key.
const PATH_BYTES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Roots(Mutex<Vec<Arc<OpenRoot>>>);

/// A prefix that entries are reached below.
pub(super) struct OpenRoot {
    pub(super) index: RootIndex,
    /// What keys below it begin with: empty, or with a `/` at its end.
    pub(super) prefix: String,
    /// Where it is in the bucket.
    at: RelPath,
    access: Access,
    pub(super) layer: Arc<Layer>,
    /// The manifests of what lies above, the nearest first, with the way from there to here.
    above: Vec<(RelPath, Arc<Layer>)>,
    /// The manifests of directories below, as far as a walk met them.
    below: Mutex<HashMap<RelPath, Arc<Layer>>>,
    /// The names that are known of directories below.
    pub(super) names: Mutex<HashMap<RelPath, Names>>,
    pub(super) staged: Mutex<BTreeMap<RelPath, Staged>>,
    /// What a publishing said that ended with an error, for the next one to tell.
    pub(super) untaken: Mutex<Vec<Outcome>>,
    /// Bytes of files whose times only a manifest tells that is not written yet.
    pub(super) untold: AtomicU64,
    /// The number of the last publishing and what it said, for a caller whom it did not reach;
    /// held while one is under way.
    pub(super) last_published: tokio::sync::Mutex<Option<(u64, Vec<Outcome>)>>,
}

impl OpenRoot {
    /// Where an entry is in the bucket, for locks.
    pub(super) fn place(&self, path: &RelPath) -> Vec<u8> {
        let mut place = b"/".to_vec();
        place.extend_from_slice(self.at.as_bytes());
        if !path.is_root() {
            if place.len() > 1 {
                place.push(b'/');
            }
            place.extend_from_slice(path.as_bytes());
        }
        place
    }

    /// The key of an entry below this root.
    pub(super) fn key(&self, path: &RelPath, during: Operation) -> Result<Key, Fault> {
        let fault = |kind| Fault::new(kind, during, path.clone());
        if path.as_bytes().len() > PATH_BYTES_MAX {
            return Err(fault(FaultKind::NameTooLong));
        }
        key_of(&self.prefix, path).map_err(fault)
    }

    /// What the keys of all that is below a directory begin with.
    pub(super) fn prefix_of(&self, path: &RelPath, during: Operation) -> Result<String, Fault> {
        if path.is_root() {
            return Ok(self.prefix.clone());
        }
        Ok(format!("{}/", self.key(path, during)?.as_str()))
    }

    /// The number of a directory.
    pub(super) fn number(&self, path: &RelPath) -> u64 {
        directory_number(&self.prefix_of(path, Operation::Stat).unwrap_or_default())
    }

    /// Where a file that is being assembled is told.
    pub(super) fn partial_at(path: &RelPath) -> Option<RelPath> {
        path.parent().unwrap_or_default().child(&partial_name(path.name()?)).ok()
    }

    /// The manifests that may describe an entry, the nearest first, with the way to it from there.
    fn layers_of(&self, path: &RelPath) -> Vec<(RelPath, Arc<Layer>)> {
        let mut layers = self.nested(path);
        layers.push((path.clone(), Arc::clone(&self.layer)));
        let above = self.above.iter();
        layers.extend(above.filter_map(|(way, l)| Some((way.join(path).ok()?, Arc::clone(l)))));
        layers
    }

    /// Of these, those of directories below this root.
    fn nested(&self, path: &RelPath) -> Vec<(RelPath, Arc<Layer>)> {
        let below = guard(&self.below);
        if below.is_empty() {
            return Vec::new();
        }
        let outer = std::iter::successors(Some(path.clone()), RelPath::parent);
        outer
            .filter_map(|at| Some((path.strip_prefix(&at)?, Arc::clone(below.get(&at)?))))
            .collect()
    }

    /// What manifests say of an entry; this session first, then the nearest that knows it.
    pub(super) fn described(&self, path: &RelPath) -> Option<Described> {
        let known = || self.layers_of(path).into_iter().find_map(|(way, layer)| layer.get(&way));
        self.layer.changed(path).or_else(known)
    }

    /// What a manifest says of an object in the state that it has now.
    pub(super) fn describes(&self, path: &RelPath, seen: &Seen) -> Option<Described> {
        let is = |found: &Described| seen.is_described(found);
        self.layers_of(path).into_iter().find_map(|(way, layer)| layer.get(&way).filter(is))
    }

    /// Has manifests say something else of an entry: this root's own, and those nearer to it.
    pub(super) fn change(&self, path: &RelPath, described: Described) {
        for (way, layer) in self.nested(path) {
            layer.change(&way, described.clone());
        }
        self.layer.change(path, described);
    }

    /// Has manifests say nothing more of an entry: this root's own, and those nearer to it. Whether
    /// none is left that does.
    pub(super) fn forget(&self, path: &RelPath) -> bool {
        for (way, layer) in self.nested(path) {
            layer.forget(&way);
        }
        self.layer.forget(path);
        self.described(path).is_none_or(|left| !left.is_no_file())
    }

    /// Takes what the manifest of a directory below says.
    pub(super) fn meet(&self, directory: &RelPath, layer: Arc<Layer>) {
        guard(&self.below).insert(directory.clone(), layer);
    }

    /// The manifests that this root changes.
    pub(super) fn written_layers(&self) -> Vec<Arc<Layer>> {
        let below = guard(&self.below).values().cloned().collect::<Vec<_>>();
        below.into_iter().chain([Arc::clone(&self.layer)]).collect()
    }

    /// The symbolic link that this session made of an entry.
    pub(super) fn new_link(&self, path: &RelPath) -> Option<Described> {
        let is_link = |found: &Described| matches!(found.kind, DescribedKind::Symlink { .. });
        self.layer.changed(path).filter(is_link)
    }

    /// Directories and links at and below a path, of all manifests.
    pub(super) fn described_below(&self, under: &RelPath) -> Vec<RelPath> {
        let mut paths = self.layer.below(under, Described::is_no_file);
        for (way, layer) in &self.above {
            let Ok(under) = way.join(under) else { continue };
            let below = layer.below(&under, Described::is_no_file);
            paths.extend(below.iter().filter_map(|path| path.strip_prefix(way)));
        }
        paths
    }

    /// Why a manifest of this root says nothing.
    pub(super) fn problems(&self) -> impl Iterator<Item = FaultKind> {
        let above = self.above.iter().map(|(_, layer)| layer);
        std::iter::once(&self.layer).chain(above).filter_map(|layer| layer.problem())
    }
}

impl Shared {
    pub(super) async fn open_root(&self, open: &Open) -> EndpointResult<Root> {
        let top = RelPath::root();
        let bad = |kind| Fault::new(kind, Operation::Open, top.clone());
        let found = typed(&open.path).ok_or_else(|| bad(FaultKind::Unsafe))?;
        let at = self.followed(found).await?.ok_or_else(|| bad(FaultKind::Unsafe))?;
        // What we write there is read by name, as receipts are, and written by nobody else.
        let is_ours = at.components().any(|name| name == RECORDS.as_bytes());
        if is_ours && open.access != Access::Read {
            return Err(bad(FaultKind::Unsafe).into());
        }
        let prefix = match at.is_root() {
            true => String::new(),
            false => format!("{}/", key_of("", &at).map_err(bad)?.as_str()),
        };
        if !self.is_open(&prefix) {
            self.check_root(&at, &prefix, open.access).await?;
        }
        let layer = self.layer(&prefix).await?;
        let mut above = Vec::new();
        for outer in std::iter::successors(at.parent(), RelPath::parent) {
            let way = at.strip_prefix(&outer).unwrap_or_default();
            let prefix = match outer.is_root() {
                true => String::new(),
                false => format!("{}/", key_of("", &outer).map_err(bad)?.as_str()),
            };
            above.push((way, self.layer(&prefix).await?));
        }
        let path = format!("{}/{}", self.store.name(), prefix.trim_end_matches('/'));
        let machine = blake3::hash(self.store.name().as_bytes());
        let machine = machine.as_bytes().first_chunk().copied().unwrap_or_default();
        let inode = directory_number(&prefix);
        let mut roots = guard(&self.roots.0);
        if roots.len() >= limits::ROOTS_MAX {
            return Err(bad(FaultKind::Limit).into());
        }
        let index = RootIndex(u32::try_from(roots.len()).unwrap_or(u32::MAX));
        roots.push(Arc::new(OpenRoot {
            index,
            prefix,
            at,
            access: open.access,
            layer,
            above,
            below: Mutex::default(),
            names: Mutex::default(),
            staged: Mutex::default(),
            untaken: Mutex::default(),
            untold: AtomicU64::new(0),
            last_published: tokio::sync::Mutex::default(),
        }));
        drop(roots);
        Ok(Root { index, path: path.into_bytes(), device: 0, inode, machine, space: SPACE })
    }

    /// Whether a root of that prefix was opened to be made: to this session, it is there.
    fn is_open(&self, prefix: &str) -> bool {
        let roots = guard(&self.roots.0);
        roots.iter().any(|root| root.prefix == prefix && root.access == Access::WriteCreate)
    }

    /// Finds a root, or nothing in its way.
    async fn check_root(&self, at: &RelPath, prefix: &str, access: Access) -> EndpointResult<()> {
        let bad = |kind| Fault::new(kind, Operation::Open, RelPath::root());
        for outer in std::iter::successors(Some(at.clone()), RelPath::parent) {
            if !outer.is_root() && self.has_object(&outer).await? && !self.has_below(&outer).await?
            {
                return Err(bad(FaultKind::Conflict).into());
            }
        }
        let makes = access == Access::WriteCreate;
        if makes || prefix.is_empty() || self.is_directory(at).await? {
            return Ok(());
        }
        Err(bad(FaultKind::NotFound).into())
    }

    pub(super) fn root(&self, index: RootIndex, during: Operation) -> Result<Arc<OpenRoot>, Fault> {
        let at = usize::try_from(index.0).unwrap_or(usize::MAX);
        let unknown = || Fault::new(FaultKind::Protocol, during, RelPath::root());
        guard(&self.roots.0).get(at).map(Arc::clone).ok_or_else(unknown)
    }

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

    pub(super) fn space(&self, index: RootIndex) -> EndpointResult<Space> {
        self.root(index, Operation::Stat)?;
        Ok(SPACE)
    }
}

/// A bucket has no end that it would tell.
const SPACE: Space = Space { bytes_free: u64::MAX, inodes_free: None, volatile: false };
