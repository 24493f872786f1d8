//! The walk of a tree, in the order of `RelPath`, which is not that of keys: names are sorted by
//! directory. Directories are listed ahead, and objects looked at many at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::FutureExt;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{EntryKind, Metadata, ScanItem};
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::entry::{Seen, entry, file, implied, metadata_of};
use super::fault::{own, sort};
use super::listing::{Found, Listing, Tree};
use super::manifest::{Described, DescribedKind};
use super::roots::OpenRoot;
use super::store::{Get, Version};
use super::{LOOKS_AT_ONCE, Shared, at_once};
use crate::endpoint::agentless::walk::{Children, Levels, Named, Rules, Step};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::scan::Wanted;
use crate::scan::ignored::KINDS;

/// Directories that are listed ahead; each may take as much memory as a listing may.
pub(super) const AHEAD_MAX: usize = 4;

/// A walk under way.
pub(super) struct Walk {
    shared: Arc<Shared>,
    root: Arc<OpenRoot>,
    rules: Rules,
    levels: Levels<Found, Tree>,
    /// Directories that a list of one above them told.
    ready: HashMap<RelPath, Listing>,
    /// What manifests and records tell, by the directories that it is in.
    told: ToldNames,
    first: Option<Found>,
    items: Vec<Item>,
}

/// What is known of a name beside its key.
#[derive(Clone, Copy, Debug)]
enum Told {
    Entry,
    Partial(u64),
}

/// An item, or an object that has to be looked at for it.
enum Item {
    Ready(ScanItem),
    Look(RelPath, Seen),
}

impl Named for Found {
    fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Walk {
    /// Begins a walk at `under`; fails when that is not there, or with rules that are none.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        root: Arc<OpenRoot>,
        under: RelPath,
        options: ScanOptions,
    ) -> EndpointResult<Self> {
        let rules = Rules::new(under.clone(), options)?;
        let told = told(&shared, &root, &under);
        let missing = || Fault::new(FaultKind::NotFound, Operation::Open, under.clone());
        let first = shared.find(&root, &under).await?.ok_or_else(missing)?;
        let problem = |kind| Fault::new(kind, Operation::List, under.clone());
        let items = root.problems().map(|kind| Item::Ready(ScanItem::Problem(problem(kind))));
        let items = items.collect();
        Ok(Self {
            shared,
            root,
            rules,
            levels: Levels::new(AHEAD_MAX),
            ready: HashMap::new(),
            told,
            first: Some(first),
            items,
        })
    }

    /// The next items, about as many as asked for, at least one; none once the walk is over.
    pub(super) async fn next(&mut self, count: usize) -> EndpointResult<Vec<ScanItem>> {
        if let Some(first) = self.first.take() {
            let (path, wanted) = (self.rules.under.clone(), self.rules.wanted_first());
            self.visit(first, path, wanted).await?;
        }
        while self.items.len() < count && self.step().await? {}
        let items = std::mem::take(&mut self.items);
        let each = items.into_iter().map(|item| self.settle(item).boxed()).collect();
        at_once(LOOKS_AT_ONCE, each).await
    }

    /// Looks at an object for its attributes, where no manifest describes it as it is now.
    async fn settle(&self, item: Item) -> EndpointResult<ScanItem> {
        let (path, seen) = match item {
            Item::Ready(item) => return Ok(item),
            Item::Look(path, seen) => (path, seen),
        };
        let (seen, metadata) = match self.root.describes(&path, &seen) {
            Some(described) => (seen, described.metadata()),
            None => {
                let key = self.root.key(&path, Operation::Stat)?;
                match self.shared.store.head(&key).await {
                    Ok(object) => {
                        // Some lists tell too little to know an object by.
                        let seen = Seen::of(&object);
                        self.shared.readings.tell(&key, &object);
                        let described = self.root.describes(&path, &seen);
                        let metadata = described.map(|described| described.metadata());
                        (seen, metadata.unwrap_or_else(|| metadata_of(&object)))
                    }
                    // One that is missing is told too: a list may name what nobody can have.
                    Err(error) => match sort(error, Operation::Stat, &path) {
                        EndpointError::Fault(fault) => return Ok(ScanItem::Problem(fault)),
                        error => return Err(error),
                    },
                }
            }
        };
        Ok(self.file_item(path, &seen, metadata))
    }

    fn file_item(&self, path: RelPath, seen: &Seen, metadata: Metadata) -> ScanItem {
        if let Some(etag) = &seen.etag {
            self.shared.versions.note(etag);
        }
        match file(path.clone(), seen, metadata) {
            Some(entry) if !self.rules.filter.admits(&entry.kind, entry.metadata.modified) => {
                ScanItem::Excluded(path)
            }
            Some(entry) => ScanItem::Entry(entry),
            None => ScanItem::Problem(Fault::new(FaultKind::FileTooLarge, Operation::Stat, path)),
        }
    }

    /// Looks at one entry more; false once the walk is over.
    async fn step(&mut self) -> EndpointResult<bool> {
        let (path, found, wanted) = match self.levels.step(&self.rules) {
            None => return Ok(false),
            Some(Step::Left(path)) => {
                let problems = self.rules.ignored.leave(&path);
                self.problems(problems);
                return Ok(true);
            }
            Some(Step::TooLong(path)) => {
                self.problem(Fault::new(FaultKind::NameTooLong, Operation::List, path));
                return Ok(true);
            }
            Some(Step::Entry(path, found, wanted)) => (path, found, wanted),
        };
        let found = match found {
            Some(found) => Ok(Some(found)),
            None => own(self.shared.find(&self.root, &path).await)?,
        };
        match found {
            Ok(Some(found)) => self.visit(found, path, wanted).await?,
            Ok(None) => self.problems(self.rules.missing(path, &wanted)),
            Err(fault) => self.problem(fault),
        }
        Ok(true)
    }

    async fn visit(&mut self, found: Found, path: RelPath, wanted: Wanted) -> EndpointResult<()> {
        let problems = self.rules.ignored.take_problems(&path);
        self.problems(problems);
        let link = self.root.new_link(&path);
        if found.nameless || (found.object.is_some() && found.directory && link.is_none()) {
            // One key for two entries, or a key for none.
            self.problem(Fault::new(FaultKind::Unsafe, Operation::List, path));
            return Ok(());
        }
        if let Some(&Told::Partial(allocated)) = self.told_of(&path) {
            self.push(ScanItem::Partial { path, allocated });
            return Ok(());
        }
        if path.name().is_some_and(crate::disk::is_partial_name) {
            self.problem(Fault::new(FaultKind::Unsafe, Operation::List, path));
            return Ok(());
        }
        let described = link.or_else(|| match found.object {
            Some(_) => None,
            None => self.root.described(&path),
        });
        let is_file = described.as_ref().is_some_and(|described| !described.is_no_file());
        let is_empty = found.object.is_none() && !found.directory;
        if is_file && is_empty && !self.told.contains_key(&path) {
            // A manifest further out, older than this, had something else here. It is all gone.
            self.problems(self.rules.missing_below(&wanted));
            return Ok(());
        }
        let link = match &described {
            Some(Described { kind: DescribedKind::Symlink { content }, .. }) => {
                (!found.directory).then(|| content.clone())
            }
            _ => None,
        };
        let directory = link.is_none() && found.object.is_none();
        if !path.is_root() && self.rules.excluded(&path, directory) {
            self.push(ScanItem::Excluded(path));
            return Ok(());
        }
        let metadata = described.map_or_else(implied, |described| described.metadata());
        match (link, found.object) {
            (Some(content), _) => {
                let kind = EntryKind::Symlink { content };
                let number = self.root.number(&path);
                self.push(ScanItem::Entry(entry(path, kind, metadata, number)));
            }
            (None, Some(seen)) => self.items.push(Item::Look(path, seen)),
            (None, None) => return self.descend(path, wanted).await,
        }
        self.problems(self.rules.missing_below(&wanted));
        Ok(())
    }

    fn told_of(&self, path: &RelPath) -> Option<&Told> {
        self.told.get(&path.parent()?)?.get(path.name()?)
    }

    async fn descend(&mut self, path: RelPath, wanted: Wanted) -> EndpointResult<()> {
        let children = own(self.children(&path, wanted).await)?;
        // Its own manifest, which is known now, tells what it is.
        let described = self.root.described(&path);
        let metadata = described.map_or_else(implied, |described| described.metadata());
        let number = self.root.number(&path);
        let told = entry(path.clone(), EntryKind::Directory, metadata, number);
        self.push(ScanItem::Entry(told));
        let children = match children {
            Ok(children) => children,
            Err(fault) => {
                self.problem(fault);
                return Ok(());
            }
        };
        self.enter_ignored(&path, &children).await?;
        let is_directory = |found: &Found| found.directory && found.object.is_none();
        self.levels.enter(path, children, is_directory);
        self.list_ahead();
        Ok(())
    }

    async fn children(
        &mut self,
        path: &RelPath,
        wanted: Wanted,
    ) -> EndpointResult<Children<Found>> {
        if path.components().count() >= limits::PATH_DEPTH_MAX {
            return Err(Fault::new(FaultKind::Limit, Operation::List, path.clone()).into());
        }
        let mut listing = match wanted {
            Wanted::Some(range) => {
                self.meet_manifest(path).await?;
                return Ok(Children::Wanted(range));
            }
            Wanted::All => self.listing(path).await?,
        };
        if listing.records {
            self.meet_manifest(path).await?;
        }
        for name in self.told.get(path).into_iter().flat_map(BTreeMap::keys) {
            listing.name(name);
        }
        Ok(Children::All(listing.into_names()))
    }

    /// Takes what the manifest of a directory tells, which somebody wrote who began there.
    async fn meet_manifest(&mut self, path: &RelPath) -> EndpointResult<()> {
        if path.is_root() {
            return Ok(());
        }
        let prefix = self.root.prefix_of(path, Operation::List)?;
        let layer = self.shared.layer(&prefix).await?;
        if let Some(kind) = layer.problem() {
            self.problem(Fault::new(kind, Operation::List, path.clone()));
        }
        let paths = layer.below(&RelPath::root(), Described::is_no_file);
        tell(&mut self.told, paths.iter().filter_map(|below| path.join(below).ok()));
        self.root.meet(path, layer);
        Ok(())
    }

    async fn listing(&mut self, path: &RelPath) -> EndpointResult<Listing> {
        if let Some(ready) = self.ready.remove(path) {
            return Ok(ready);
        }
        let listing = self.shared.list(&self.root, path);
        let listed = self.levels.listed(path, listing).await;
        let Tree { own, below } = listed?;
        self.ready.extend(below);
        Ok(own)
    }

    /// Lists what the walk comes to next, from the deepest directory up.
    fn list_ahead(&mut self) {
        let (rules, ready) = (&self.rules, &self.ready);
        let skips = |next: &RelPath| ready.contains_key(next) || rules.excluded(next, true);
        self.levels.list_ahead(skips, |next| {
            let (shared, root) = (Arc::clone(&self.shared), Arc::clone(&self.root));
            async move { shared.list(&root, &next).await }
        });
    }

    /// Reads the ignore files of a directory.
    async fn enter_ignored(
        &mut self,
        path: &RelPath,
        children: &Children<Found>,
    ) -> EndpointResult<()> {
        let mut texts = [Ok(None), Ok(None)];
        for (text, kind) in texts.iter_mut().zip(KINDS) {
            let name = kind.to_bytes();
            let Ok(place) = path.child(name) else { continue };
            if !self.rules.ignored.honours(kind) {
                continue;
            }
            let found = match children {
                Children::All(found) => {
                    found.iter().find(|found| found.name[..] == *name && !found.nameless).cloned()
                }
                Children::Wanted(_) => self.shared.find(&self.root, &place).await?,
            };
            if let Some(found) = found {
                *text = own(self.read_text(&place, &found).await)?;
            }
        }
        self.rules.ignored.enter_texts(path, texts);
        Ok(())
    }

    /// Reads an ignore file.
    async fn read_text(&self, place: &RelPath, found: &Found) -> EndpointResult<Option<Vec<u8>>> {
        let refused = |kind| Fault::new(kind, Operation::Read, place.clone());
        // A directory of this name is no ignore file, and a link is none, as git has it.
        let Some(seen) = &found.object else { return Ok(None) };
        let size = usize::try_from(seen.size).unwrap_or(usize::MAX);
        if size > self.rules.ignored.file_bytes_max() {
            return Err(refused(FaultKind::Limit).into());
        }
        let Some(range) = ByteRange::whole(seen.size) else { return Ok(Some(Vec::new())) };
        let key = self.root.key(place, Operation::Read)?;
        let version = Version { etag: seen.etag.as_deref().map(str::to_owned), id: None };
        let read = self.shared.store.get(Get { key: &key, range, version: &version }).await;
        let (bytes, _) = read.map_err(|error| sort(error, Operation::Read, place))?;
        Ok(Some(bytes.to_vec()))
    }

    fn problems(&mut self, faults: Vec<Fault>) {
        faults.into_iter().for_each(|fault| self.problem(fault));
    }

    fn problem(&mut self, fault: Fault) {
        self.push(ScanItem::Problem(fault));
    }

    fn push(&mut self, item: ScanItem) {
        self.items.push(Item::Ready(item));
    }
}

/// What is known of names beside their keys, by the directories that they are in.
type ToldNames = HashMap<RelPath, BTreeMap<Box<[u8]>, Told>>;

/// Notes entries that no key tells of, with all that leads to them.
fn tell(told: &mut ToldNames, paths: impl Iterator<Item = RelPath>) {
    for path in paths {
        for path in std::iter::successors(Some(path), RelPath::parent) {
            let (Some(parent), Some(name)) = (path.parent(), path.name()) else { break };
            if told.entry(parent).or_default().insert(name.into(), Told::Entry).is_some() {
                break;
            }
        }
    }
}

/// What manifests tell of directories and links below an entry, with all that leads to them, and
/// what records tell of files under way.
fn told(shared: &Shared, root: &OpenRoot, under: &RelPath) -> ToldNames {
    let mut told = ToldNames::new();
    tell(&mut told, root.described_below(under).into_iter());
    for (path, allocated) in shared.recorded(root) {
        let partial = OpenRoot::partial_at(&path).filter(|path| path.starts_with(under));
        if let Some(partial) = partial
            && let (Some(parent), Some(name)) = (partial.parent(), partial.name())
        {
            told.entry(parent).or_default().insert(name.into(), Told::Partial(allocated));
        }
    }
    told
}
