//! The walk of a tree, in the order of `RelPath`, with directories listed ahead of it: each costs
//! round trips, which must not add up.

use std::sync::Arc;

use bytes::Bytes;
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
use crate::endpoint::agentless::walk::{Children, Levels, Named, Rules, Step};
use crate::scan::Wanted;
use crate::scan::ignored::KINDS;
use crate::transport::sftp::{FileKind, Opening};

/// Directories that are listed ahead.
const AHEAD_MAX: usize = 16;

/// A walk under way.
pub(super) struct Walk {
    shared: Arc<Shared>,
    root: Arc<OpenRoot>,
    rules: Rules,
    owner: bool,
    levels: Levels<Found, Listing>,
    first: Option<Found>,
    items: Vec<ScanItem>,
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
        let owner = options.owner;
        let rules = Rules::new(under.clone(), options)?;
        shared.reach(&root, &under, Operation::Open, false).await?;
        let missing = || Fault::new(FaultKind::NotFound, Operation::Open, under.clone());
        let first = shared.find(&root, &under).await?.ok_or_else(missing)?;
        Ok(Self {
            shared,
            root,
            rules,
            owner,
            levels: Levels::new(AHEAD_MAX),
            first: Some(first),
            items: Vec::new(),
        })
    }

    /// The next items, about as many as asked for; none once the walk is over.
    pub(super) async fn next(&mut self, count: usize) -> EndpointResult<Vec<ScanItem>> {
        if let Some(first) = self.first.take() {
            let (path, wanted) = (self.rules.under.clone(), self.rules.wanted_first());
            self.visit(first, path, wanted).await?;
        }
        while self.items.len() < count && self.step().await? {}
        Ok(std::mem::take(&mut self.items))
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
        let kind = found.attributes.kind();
        if path.name().is_some_and(is_partial_name) {
            let size = found.attributes.size.unwrap_or_default();
            self.items.push(match kind {
                None | Some(FileKind::Directory) => {
                    ScanItem::Problem(Fault::new(FaultKind::Unsafe, Operation::List, path))
                }
                Some(FileKind::Regular) => ScanItem::Partial { path, allocated: size },
                // Links are made under such names too.
                Some(_) => ScanItem::Partial { path, allocated: 0 },
            });
            return Ok(());
        }
        let directory = kind == Some(FileKind::Directory);
        if !path.is_root() && self.rules.excluded(&path, directory) {
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
            Ok(entry) if !self.rules.filter.admits(&entry.kind, entry.metadata.modified) => {
                self.items.push(ScanItem::Excluded(path));
                return Ok(());
            }
            Ok(entry) => self.items.push(ScanItem::Entry(entry)),
            Err(kind) => self.problem(Fault::new(kind, Operation::Stat, path.clone())),
        }
        if directory {
            return self.descend(path, wanted).await;
        }
        self.problems(self.rules.missing_below(&wanted));
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
                    self.problems(problems);
                    Children::All(found)
                }
            },
        };
        self.enter_ignored(&path, &children).await?;
        let is_directory = |found: &Found| found.attributes.kind() == Some(FileKind::Directory);
        self.levels.enter(path, children, is_directory);
        self.list_ahead();
        Ok(())
    }

    async fn listing(&mut self, path: &RelPath) -> EndpointResult<Listing> {
        let listing = self.shared.list(&self.root, path);
        self.levels.listed(path, listing).await
    }

    /// Lists what the walk comes to next, from the deepest directory up.
    fn list_ahead(&mut self) {
        let rules = &self.rules;
        let skips = |next: &RelPath| rules.excluded(next, true);
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
        self.rules.ignored.enter_texts(path, texts);
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
        if size > self.rules.ignored.file_bytes_max() {
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

    fn problems(&mut self, faults: Vec<Fault>) {
        faults.into_iter().for_each(|fault| self.problem(fault));
    }

    fn problem(&mut self, fault: Fault) {
        self.items.push(ScanItem::Problem(fault));
    }
}
