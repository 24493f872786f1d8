//! The walk of a tree, in the order of `RelPath`, with directories listed ahead of it: each costs
//! round trips, which must not add up.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::ScanItem;
use xfer_protocol::message::ScanOptions;
use xfer_protocol::path::RelPath;

use super::Shared;
use super::entry::entry;
use super::fault::{own, sort};
use super::listing::{Found, Listing};
use super::roots::OpenRoot;
use crate::disk::is_partial_name;
use crate::endpoint::EndpointResult;
use crate::scan::Wanted;
use crate::scan::filter::{Decision, Filter};
use crate::scan::ignored::{IgnoreFiles, KINDS};
use crate::scan::only::Only;
use crate::transport::sftp::{FileKind, Opening};

/// Directories that are listed ahead.
const AHEAD_MAX: usize = 16;

/// A walk under way.
pub(super) struct Walk {
    shared: Arc<Shared>,
    root: Arc<OpenRoot>,
    filter: Filter,
    only: Option<Only>,
    ignored: IgnoreFiles,
    owner: bool,
    /// The entry at which the walk begins; patterns match what follows it.
    under: RelPath,
    levels: Vec<Level>,
    ahead: HashMap<RelPath, Ahead>,
    first: Option<Found>,
    items: Vec<ScanItem>,
}

/// One directory whose children are being visited.
struct Level {
    path: RelPath,
    children: Children,
    /// Directories among the children that may be listed ahead.
    directories: VecDeque<RelPath>,
}

enum Children {
    All(VecDeque<Found>),
    /// Those that lead to wanted entries, found by name without listing the directory.
    Wanted(Range<usize>),
}

/// A listing under way, given up when it is dropped.
struct Ahead(JoinHandle<EndpointResult<Listing>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
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
        let bad = |kind| Fault::new(kind, Operation::List, under.clone());
        if options.follow_links {
            return Err(bad(FaultKind::Unsupported).into());
        }
        let filter = Filter::new(&options.filter).map_err(|_| bad(FaultKind::Limit))?;
        shared.reach(&root, &under, Operation::Open, false).await?;
        let missing = || Fault::new(FaultKind::NotFound, Operation::Open, under.clone());
        let first = shared.find(&root, &under).await?.ok_or_else(missing)?;
        Ok(Self {
            shared,
            root,
            filter,
            only: options.only.map(Only::new),
            ignored: IgnoreFiles::new(&options.filter),
            owner: options.owner,
            under,
            levels: Vec::new(),
            ahead: HashMap::new(),
            first: Some(first),
            items: Vec::new(),
        })
    }

    /// The next items, about as many as asked for; none once the walk is over.
    pub(super) async fn next(&mut self, count: usize) -> EndpointResult<Vec<ScanItem>> {
        if let Some(first) = self.first.take() {
            let path = self.under.clone();
            let wanted = self.only.as_ref().map_or(Wanted::All, |only| only.below(&path));
            self.visit(first, path, wanted).await?;
        }
        while self.items.len() < count && self.step().await? {}
        Ok(std::mem::take(&mut self.items))
    }

    /// Looks at one entry more; false once the walk is over.
    async fn step(&mut self) -> EndpointResult<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        let (path, found, wanted) = match &mut level.children {
            Children::All(found) => match found.pop_front() {
                Some(found) => (level.path.child(&found.name), Some(found), Wanted::All),
                None => return Ok(self.ascend()),
            },
            Children::Wanted(range) => {
                let depth = level.path.components().count();
                match self.only.as_ref().and_then(|only| only.next_child(range, depth)) {
                    Some((name, wanted)) => (level.path.child(name), None, wanted),
                    None => return Ok(self.ascend()),
                }
            }
        };
        let Ok(path) = path else {
            let fault = Fault::new(FaultKind::NameTooLong, Operation::List, level.path.clone());
            self.problem(fault);
            return Ok(true);
        };
        let found = match found {
            Some(found) => Ok(Some(found)),
            None => own(self.shared.find(&self.root, &path).await)?,
        };
        match found {
            Ok(Some(found)) => self.visit(found, path, wanted).await?,
            Ok(None) => self.missing(path, &wanted),
            Err(fault) => self.problem(fault),
        }
        Ok(true)
    }

    fn ascend(&mut self) -> bool {
        if let Some(left) = self.levels.pop() {
            let problems = self.ignored.leave(&left.path);
            self.items.extend(problems.into_iter().map(ScanItem::Problem));
        }
        true
    }

    async fn visit(&mut self, found: Found, path: RelPath, wanted: Wanted) -> EndpointResult<()> {
        let problems = self.ignored.take_problems(&path);
        self.items.extend(problems.into_iter().map(ScanItem::Problem));
        let kind = found.attributes.kind();
        if path.name().is_some_and(is_partial_name) {
            let allocated = found.attributes.size.unwrap_or_default();
            self.items.push(match kind {
                Some(FileKind::Regular) => ScanItem::Partial { path, allocated },
                _ => ScanItem::Problem(Fault::new(FaultKind::Unsafe, Operation::List, path)),
            });
            return Ok(());
        }
        let directory = kind == Some(FileKind::Directory);
        if !path.is_root() && self.excluded(&path, directory) {
            self.items.push(ScanItem::Excluded(path));
            return Ok(());
        }
        let content = match found.content {
            None => Bytes::new(),
            Some(Ok(content)) => content,
            Some(Err(fault)) => {
                self.problem(fault);
                return Ok(());
            }
        };
        match entry(path.clone(), &found.attributes, content.to_vec(), self.owner) {
            Ok(entry) if !self.filter.admits(&entry.kind, entry.metadata.modified) => {
                self.items.push(ScanItem::Excluded(path));
                return Ok(());
            }
            Ok(entry) => self.items.push(ScanItem::Entry(entry)),
            Err(kind) => self.problem(Fault::new(kind, Operation::Stat, path.clone())),
        }
        if directory {
            return self.descend(path, wanted).await;
        }
        self.missing_below(&wanted);
        Ok(())
    }

    async fn descend(&mut self, path: RelPath, wanted: Wanted) -> EndpointResult<()> {
        if path.components().count() >= limits::PATH_DEPTH_MAX {
            self.problem(Fault::new(FaultKind::Limit, Operation::List, path));
            return Ok(());
        }
        self.root.note(&path);
        let children = match wanted {
            Wanted::Some(range) => Children::Wanted(range),
            Wanted::All => match own(self.listing(&path).await)? {
                Err(fault) => {
                    self.problem(fault);
                    return Ok(());
                }
                Ok(Listing { found, problems }) => {
                    self.items.extend(problems.into_iter().map(ScanItem::Problem));
                    Children::All(found)
                }
            },
        };
        self.enter_ignored(&path, &children).await?;
        let directories = match &children {
            Children::All(found) => found
                .iter()
                .filter(|found| found.attributes.kind() == Some(FileKind::Directory))
                .filter_map(|found| path.child(&found.name).ok())
                .collect(),
            Children::Wanted(_) => VecDeque::new(),
        };
        self.levels.push(Level { path, children, directories });
        self.list_ahead();
        Ok(())
    }

    async fn listing(&mut self, path: &RelPath) -> EndpointResult<Listing> {
        match self.ahead.remove(path) {
            Some(mut ahead) => match (&mut ahead.0).await {
                Ok(listed) => listed,
                Err(_) => self.shared.list(&self.root, path).await,
            },
            None => self.shared.list(&self.root, path).await,
        }
    }

    /// Lists what the walk comes to next, from the deepest directory up.
    fn list_ahead(&mut self) {
        for at in (0..self.levels.len()).rev() {
            while self.ahead.len() < AHEAD_MAX {
                let Some(next) = self.levels[at].directories.pop_front() else { break };
                let begun = self.levels.get(at + 1).is_some_and(|below| next <= below.path);
                if begun || self.excluded(&next, true) {
                    continue;
                }
                let (shared, root) = (Arc::clone(&self.shared), Arc::clone(&self.root));
                let path = next.clone();
                let listing = async move { shared.list(&root, &path).await };
                self.ahead.insert(next, Ahead(tokio::spawn(listing)));
            }
        }
    }

    /// Reads the ignore files of a directory.
    async fn enter_ignored(&mut self, path: &RelPath, children: &Children) -> EndpointResult<()> {
        let mut texts = [Ok(None), Ok(None)];
        for (text, kind) in texts.iter_mut().zip(KINDS) {
            let name = kind.to_bytes();
            let Ok(place) = path.child(name) else { continue };
            if !self.ignored.honours(kind) {
                continue;
            }
            let found = match children {
                Children::All(found) => found
                    .binary_search_by(|found| found.name[..].cmp(name))
                    .ok()
                    .and_then(|at| found.get(at).cloned()),
                Children::Wanted(_) => self.shared.find(&self.root, &place).await?,
            };
            if let Some(found) = found {
                *text = own(self.read_text(&place, &found).await)?;
            }
        }
        self.ignored.enter_texts(path, texts);
        Ok(())
    }

    /// Reads an ignore file. A symbolic link is refused, as git refuses it.
    async fn read_text(&self, place: &RelPath, found: &Found) -> EndpointResult<Option<Vec<u8>>> {
        let refused = |kind| Fault::new(kind, Operation::Read, place.clone());
        match found.attributes.kind() {
            Some(FileKind::Regular) => {}
            // A directory of this name is no ignore file.
            Some(FileKind::Directory) => return Ok(None),
            _ => return Err(refused(FaultKind::Unsafe).into()),
        }
        let size = usize::try_from(found.attributes.size.unwrap_or_default()).unwrap_or(usize::MAX);
        if size > self.ignored.file_bytes_max() {
            return Err(refused(FaultKind::Limit).into());
        }
        let failed = |error| sort(error, Operation::Read, place);
        let _place = self.shared.handles.acquire().await;
        let handle = self.shared.sftp.open(&self.root.at(place), Opening::Read).await;
        let handle = handle.map_err(failed)?;
        let text = handle.read(0, size).await.map_err(failed)?;
        let text = text.ok_or_else(|| refused(FaultKind::Changed))?;
        Ok(Some(text.to_vec()))
    }

    /// What is wanted and not there.
    fn missing(&mut self, path: RelPath, wanted: &Wanted) {
        match wanted {
            Wanted::Some(_) => self.missing_below(wanted),
            Wanted::All => {
                self.problem(Fault::new(FaultKind::NotFound, Operation::Stat, path));
            }
        }
    }

    /// What is wanted below something that is no directory is missing.
    fn missing_below(&mut self, wanted: &Wanted) {
        if let (Wanted::Some(range), Some(only)) = (wanted, self.only.as_ref()) {
            let missing = only.paths(range).iter().cloned();
            let fault = |path| Fault::new(FaultKind::NotFound, Operation::Stat, path);
            self.items.extend(missing.map(fault).map(ScanItem::Problem));
        }
    }

    fn problem(&mut self, fault: Fault) {
        self.items.push(ScanItem::Problem(fault));
    }

    fn excluded(&self, path: &RelPath, directory: bool) -> bool {
        let below = path.strip_prefix(&self.under).unwrap_or_default();
        let named =
            if below.is_root() { path.name().unwrap_or_default() } else { below.as_bytes() };
        match self.filter.decide(named, directory) {
            Decision::Exclude => true,
            Decision::Include => false,
            Decision::Open => self.ignored.exclude(path, directory),
        }
    }
}
