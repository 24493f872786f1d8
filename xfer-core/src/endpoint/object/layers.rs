//! Manifests: each is read once, holds what this session changes, and is written at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::fault::{own, sort};
use super::manifest::{Described, DescribedKind, MANIFEST_BYTES_MAX, Manifest, ManifestError};
use super::roots::OpenRoot;
use super::store::{Checksum, Condition, Get, Key, Put, StoreError, StoreResult, Version};
use super::sums::{crc, length};
use super::{MANIFEST, Shared, guard};
use crate::endpoint::{EndpointError, EndpointResult};

/// Times that a manifest is read and written again because somebody else wrote it meanwhile.
const WRITES_MAX: u32 = 5;

/// Bytes of a manifest that are read at once.
const PIECE_BYTES: u64 = 8 << 20;

/// The manifests that were read, by the prefixes that they describe.
#[derive(Default)]
pub(super) struct Layers(tokio::sync::Mutex<HashMap<String, Arc<Layer>>>);

/// The manifest of one prefix.
pub(super) struct Layer {
    key: Key,
    state: Mutex<State>,
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    loaded: Manifest,
    version: Version,
    changes: BTreeMap<RelPath, Described>,
    /// Entries that this session removed.
    removed: BTreeSet<RelPath>,
    /// Entries of `loaded`, as it was read or written last.
    entries: usize,
    /// Changes when they were last found to be many; nothing once they are written.
    grown: usize,
    /// Objects that a link took the place of, by its path.
    replaced: BTreeMap<RelPath, Replaced>,
    /// Why it could not be read.
    problem: Option<FaultKind>,
}

/// An object that is removed once the link in its place is written.
struct Replaced {
    key: Key,
    /// Whether the link is written.
    linked: bool,
}

/// What one writing of a manifest changes.
struct Changes {
    made: BTreeMap<RelPath, Described>,
    removed: BTreeSet<RelPath>,
}

impl Layer {
    /// What is known of an entry; what this session made of it first.
    pub(super) fn get(&self, path: &RelPath) -> Option<Described> {
        let state = guard(&self.state);
        let loaded = || state.loaded.get(path).filter(|_| !state.removed.contains(path));
        state.changes.get(path).or_else(loaded).cloned()
    }

    /// Has the manifest say nothing more of an entry.
    pub(super) fn forget(&self, path: &RelPath) {
        let mut state = guard(&self.state);
        state.changes.remove(path);
        if state.loaded.get(path).is_some() {
            state.removed.insert(path.clone());
        }
    }

    /// What this session made of an entry.
    pub(super) fn changed(&self, path: &RelPath) -> Option<Described> {
        guard(&self.state).changes.get(path).cloned()
    }

    pub(super) fn change(&self, path: &RelPath, described: Described) {
        let mut state = guard(&self.state);
        state.removed.remove(path);
        state.changes.insert(path.clone(), described);
    }

    /// Remembers an object that is removed once the link in its place is written.
    pub(super) fn replace(&self, path: &RelPath, key: Key) {
        let replaced = Replaced { key, linked: false };
        guard(&self.state).replaced.insert(path.clone(), replaced);
    }

    /// An object that was written anew is none to be removed.
    pub(super) fn restore(&self, key: &Key) {
        guard(&self.state).replaced.retain(|_, replaced| replaced.key != *key);
    }

    /// Whether more than `least` changes came since this was last so, and so many that writing all
    /// of it for them is no waste: what is written over a session stays in proportion.
    pub(super) fn has_grown(&self, least: usize) -> bool {
        let mut state = guard(&self.state);
        let (now, enough) = (state.changes.len(), least.max(state.entries / 2));
        let grown = now > state.grown.saturating_add(enough);
        if grown {
            state.grown = now;
        }
        grown
    }

    fn take_read(&self, read: State) {
        let mut state = guard(&self.state);
        (state.loaded, state.version) = (read.loaded, read.version);
        (state.entries, state.problem) = (read.entries, read.problem);
    }

    /// The objects whose links are written.
    fn due(&self) -> Vec<(RelPath, Key)> {
        let state = guard(&self.state);
        let due = state.replaced.iter().filter(|(_, replaced)| replaced.linked);
        due.map(|(path, replaced)| (path.clone(), replaced.key.clone())).collect()
    }

    fn is_due(&self, path: &RelPath) -> bool {
        guard(&self.state).replaced.get(path).is_some_and(|replaced| replaced.linked)
    }

    pub(super) fn problem(&self) -> Option<FaultKind> {
        guard(&self.state).problem
    }

    /// The entries at and below a path for which `wanted` holds.
    pub(super) fn below(
        &self,
        under: &RelPath,
        wanted: impl Fn(&Described) -> bool,
    ) -> Vec<RelPath> {
        let state = guard(&self.state);
        let hidden =
            |path: &RelPath| state.changes.contains_key(path) || state.removed.contains(path);
        let loaded = state.loaded.below(under).filter(|(path, _)| !hidden(path));
        let changes = state.changes.range(under.clone()..);
        let changes = changes.take_while(|(path, _)| path.starts_with(under));
        let all = loaded.chain(changes).filter(|(_, described)| wanted(described));
        all.map(|(path, _)| path.clone()).collect()
    }
}

impl Shared {
    /// The manifest of a prefix, which is empty or ends in `/`.
    pub(super) async fn layer(&self, prefix: &str) -> EndpointResult<Arc<Layer>> {
        let mut layers = self.layers.0.lock().await;
        if let Some(known) = layers.get(prefix) {
            return Ok(Arc::clone(known));
        }
        let too_long = || Fault::new(FaultKind::Unsafe, Operation::Open, RelPath::root());
        let key = Key::new(format!("{prefix}{MANIFEST}")).ok_or_else(too_long)?;
        let state = self.read_layer(&key).await?;
        let layer = Layer { key, state: Mutex::new(state), writing: tokio::sync::Mutex::default() };
        let layer = Arc::new(layer);
        layers.insert(prefix.to_owned(), Arc::clone(&layer));
        Ok(layer)
    }

    async fn read_layer(&self, key: &Key) -> EndpointResult<State> {
        let empty = |problem| State { problem, ..State::default() };
        match self.read_manifest(key).await {
            Ok(Ok((loaded, version))) => {
                let entries = loaded.below(&RelPath::root()).count();
                Ok(State { loaded, version, entries, ..State::default() })
            }
            Ok(Err((kind, version))) => Ok(State { version, ..empty(Some(kind)) }),
            Err(StoreError::Missing) => Ok(empty(None)),
            // Whoever may not read what lies above a root is told nothing of it.
            Err(StoreError::Denied(_)) => Ok(empty(None)),
            Err(error) => Err(sort(error, Operation::Open, &RelPath::root())),
        }
    }

    async fn read_manifest(
        &self,
        key: &Key,
    ) -> Result<Result<(Manifest, Version), (FaultKind, Version)>, StoreError> {
        let found = self.store.head(key).await?;
        if found.size > MANIFEST_BYTES_MAX {
            return Ok(Err((FaultKind::Limit, found.version)));
        }
        let text = self.manifest_text(key, found.size, &found.version).await?;
        Ok(match Manifest::decode(&text) {
            Ok(manifest) => Ok((manifest, found.version)),
            Err(ManifestError::Schema(_)) => Err((FaultKind::Unsupported, found.version)),
            Err(_) => Err((FaultKind::Mismatch, found.version)),
        })
    }

    async fn manifest_text(&self, key: &Key, size: u64, version: &Version) -> StoreResult<Bytes> {
        let mut text = BytesMut::new();
        let mut start = 0;
        while let Ok(range) = ByteRange::new(start, size.min(start + PIECE_BYTES)) {
            let get = Get { key, range, version };
            text.extend_from_slice(&self.store.get(get).await?.0);
            start = range.end();
        }
        Ok(text.freeze())
    }

    /// Copies a manifest that could not be read to a name of its own, for it is about to be written
    /// over: what it told is nowhere else.
    async fn keep_unread(&self, layer: &Layer) -> StoreResult<()> {
        let version = {
            let state = guard(&layer.state);
            if state.problem != Some(FaultKind::Mismatch) {
                return Ok(());
            }
            state.version.clone()
        };
        let found = match self.store.head(&layer.key).await {
            Ok(found) if found.version == version => found,
            Ok(_) | Err(StoreError::Missing) => return Err(StoreError::Changed),
            Err(error) => return Err(error),
        };
        let text = self.manifest_text(&layer.key, found.size, &version).await?;
        if text.is_empty() {
            return Ok(());
        }
        let name = blake3::hash(&text).to_hex();
        let key = Key::new(format!("{}-{}", layer.key.as_str(), &name[..16]));
        let too_long = || StoreError::Failed("the key of its copy is too long".to_owned());
        let (key, checksum) = (key.ok_or_else(too_long)?, Checksum::Crc64Nvme(crc(&text)));
        let condition = Condition::Always;
        let put = Put { key: &key, body: text.into(), attributes: &[], checksum, condition };
        self.store.put(put).await.map(drop)
    }

    /// Writes every manifest that a root changed.
    pub(super) async fn write_layers(&self, root: &OpenRoot) -> EndpointResult<()> {
        for layer in root.written_layers() {
            self.write_layer(&layer).await?;
        }
        Ok(())
    }

    /// Writes what changed over what is there; a manifest that nothing changed is not written. Then
    /// removes what links took the place of.
    async fn write_layer(&self, layer: &Layer) -> EndpointResult<()> {
        let _one_writer = layer.writing.lock().await;
        let failed = |error| sort(error, Operation::Sync, &RelPath::root());
        let changes = {
            let state = guard(&layer.state);
            Changes { made: state.changes.clone(), removed: state.removed.clone() }
        };
        if changes.made.is_empty() && changes.removed.is_empty() {
            return self.remove_replaced(layer).await;
        }
        for _ in 0..WRITES_MAX {
            match self.put_layer(layer, &changes).await? {
                Ok(version) => {
                    settle_layer(layer, &changes, version);
                    return self.remove_replaced(layer).await;
                }
                Err(StoreError::Changed | StoreError::Unknown(_) | StoreError::Busy) => {
                    layer.take_read(self.read_layer(&layer.key).await?);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Fault::new(FaultKind::Busy, Operation::Sync, RelPath::root()).into())
    }

    /// Tries once to write what changed; the version that it has then comes back.
    async fn put_layer(
        &self,
        layer: &Layer,
        changes: &Changes,
    ) -> EndpointResult<StoreResult<Version>> {
        let (text, condition) = merged(layer, changes)?;
        if let Err(error) = self.keep_unread(layer).await {
            return Ok(Err(error));
        }
        let checksum = Checksum::Crc64Nvme(crc(&text));
        let put = Put { key: &layer.key, body: text.into(), attributes: &[], checksum, condition };
        Ok(self.store.put(put).await.map(|stored| stored.version))
    }

    /// Removes the objects whose links are written: while one is there, every reader sees it and no
    /// link. One that stays is tried again with the next writing.
    async fn remove_replaced(&self, layer: &Layer) -> EndpointResult<()> {
        let mut outcome = Ok(());
        for (path, key) in layer.due() {
            // One that was written anew meanwhile is not ours to remove.
            if !layer.is_due(&path) {
                continue;
            }
            let removed = match self.store.remove(&key).await {
                Ok(()) | Err(StoreError::Missing) => Ok(()),
                Err(error) => Err(sort(error, Operation::Remove, &path)),
            };
            match own(removed)? {
                Ok(()) => layer.restore(&key),
                Err(fault) => outcome = outcome.and(Err(fault)),
            }
        }
        Ok(outcome?)
    }
}

/// Books what was written. What came while it was under way is left for the next time.
fn settle_layer(layer: &Layer, changes: &Changes, version: Version) {
    let written = &changes.made;
    let mut state = guard(&layer.state);
    let state = &mut *state;
    (state.version, state.problem, state.grown) = (version, None, 0);
    state.entries = state.loaded.below(&RelPath::root()).count();
    state.changes.retain(|path, described| written.get(path) != Some(described));
    state.removed.retain(|path| !changes.removed.contains(path));
    for (path, replaced) in &mut state.replaced {
        let link = written.get(path).map(|described| &described.kind);
        replaced.linked |= matches!(link, Some(DescribedKind::Symlink { .. }));
    }
}

/// What is to be written, and over what.
fn merged(layer: &Layer, changes: &Changes) -> Result<(Bytes, Condition), EndpointError> {
    let mut state = guard(&layer.state);
    if state.problem == Some(FaultKind::Unsupported) || state.problem == Some(FaultKind::Limit) {
        // A later version wrote what this one cannot keep.
        return Err(Fault::new(FaultKind::Unsupported, Operation::Sync, RelPath::root()).into());
    }
    for (path, described) in &changes.made {
        state.loaded.insert(path.clone(), described.clone());
    }
    for path in &changes.removed {
        state.loaded.remove(path);
    }
    let condition = match (&state.version.etag, state.problem) {
        (Some(etag), _) => Condition::Has(etag.clone()),
        (None, Some(_)) => Condition::Always,
        (None, None) => Condition::Absent,
    };
    let text = Bytes::from(state.loaded.encode());
    if length(&text) > MANIFEST_BYTES_MAX {
        // No later session would read it.
        return Err(Fault::new(FaultKind::Limit, Operation::Sync, RelPath::root()).into());
    }
    Ok((text, condition))
}
