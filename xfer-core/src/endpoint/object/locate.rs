//! What stands at a path that a person typed, and what its patterns match.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{Locate, Located, LocatedKind};
use xfer_protocol::path::RelPath;

use super::fault::sort;
use super::keys::{key_of, path_of};
use super::listing::Pages;
use super::manifest::{Described, DescribedKind};
use super::store::List;
use super::{LOOKS_AT_ONCE, RECORDS, Shared, at_once};
use crate::disk::glob;
use crate::endpoint::EndpointResult;

/// Links that are followed on the way to one entry.
const LINKS_MAX: usize = 40;

/// A path from the top of the bucket; `None` where it can be none.
pub(super) fn typed(path: &[u8]) -> Option<RelPath> {
    let names: Vec<_> = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
    RelPath::new(names.join(&b'/')).ok()
}

/// A link's content, as a path from the top of the bucket.
fn target(link: &RelPath, content: &[u8]) -> Option<RelPath> {
    let mut at = link.parent().unwrap_or_default();
    if content.starts_with(b"/") {
        return None;
    }
    for name in content.split(|&b| b == b'/') {
        at = match name {
            b"" | b"." => at,
            b".." => at.parent()?,
            name => at.child(name).ok()?,
        };
    }
    Some(at)
}

impl Shared {
    pub(super) async fn locate(&self, locate: &Locate) -> EndpointResult<Vec<Located>> {
        if locate.path.len() > limits::PATH_BYTES_MAX {
            let kind = FaultKind::NameTooLong;
            return Err(Fault::new(kind, Operation::Stat, RelPath::root()).into());
        }
        if !locate.expand || !glob::has_patterns(&locate.path) {
            return self.locate_plainly(locate).await;
        }
        let paths = self.expand(&locate.path).await?;
        let each = paths.iter().map(|path| self.located(path).boxed()).collect();
        let kinds = at_once(LOOKS_AT_ONCE, each).await?;
        // What comes behind a match need not be there.
        let there = |(path, kind): (Vec<u8>, Option<_>)| {
            kind.map(|kind| Located { path, kind: Some(kind) })
        };
        let mut found: Vec<_> = paths.into_iter().zip(kinds).filter_map(there).collect();
        if found.is_empty() {
            // As shells do: a name may hold the very characters of a pattern.
            found = self.locate_plainly(locate).await?;
            found.retain(|located| located.kind.is_some());
        }
        Ok(found)
    }

    async fn locate_plainly(&self, locate: &Locate) -> EndpointResult<Vec<Located>> {
        let kind = self.located(&locate.path).await?;
        Ok(vec![Located { path: locate.path.clone(), kind }])
    }

    async fn located(&self, path: &[u8]) -> EndpointResult<Option<LocatedKind>> {
        let Some(at) = typed(path) else { return Ok(None) };
        let follows = path.ends_with(b"/");
        if self.link_at(&at).await?.is_some() {
            let Some(behind) = self.followed(at).await? else {
                return Ok((!follows).then_some(LocatedKind::Other));
            };
            return Ok(match (self.is_directory(&behind).await?, follows) {
                (true, true) => Some(LocatedKind::Directory),
                (true, false) => Some(LocatedKind::DirectoryLink),
                (false, _) => Some(LocatedKind::Other),
            });
        }
        if !follows && !at.is_root() && self.has_object(&at).await? {
            return Ok(Some(LocatedKind::Other));
        }
        if self.is_directory(&at).await? {
            return Ok(Some(LocatedKind::Directory));
        }
        let is_object = follows && self.has_object(&at).await?;
        Ok(is_object.then_some(LocatedKind::Other))
    }

    /// Where a path leads once its last link is followed; `None` where it leads nowhere.
    pub(super) async fn followed(&self, path: RelPath) -> EndpointResult<Option<RelPath>> {
        let mut at = path;
        for _ in 0..LINKS_MAX {
            let Some(content) = self.link_at(&at).await? else { return Ok(Some(at)) };
            let Some(next) = target(&at, &content) else { return Ok(None) };
            at = next;
        }
        Ok(None)
    }

    /// What a symbolic link holds that a manifest above it tells of, and no object hides.
    async fn link_at(&self, at: &RelPath) -> EndpointResult<Option<Vec<u8>>> {
        match self.described_at(at).await? {
            Some(Described { kind: DescribedKind::Symlink { content }, .. }) => Ok(Some(content)),
            _ => Ok(None),
        }
    }

    /// What the manifests above a path say of it, the nearest first.
    async fn described_at(&self, at: &RelPath) -> EndpointResult<Option<Described>> {
        for outer in std::iter::successors(at.parent(), RelPath::parent) {
            let prefix = match outer.is_root() {
                true => String::new(),
                false => match key_of("", &outer) {
                    Ok(key) => format!("{}/", key.as_str()),
                    Err(_) => continue,
                },
            };
            let layer = self.layer(&prefix).await?;
            let found = at.strip_prefix(&outer).and_then(|way| layer.get(&way));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub(super) async fn has_object(&self, at: &RelPath) -> EndpointResult<bool> {
        let Ok(key) = key_of("", at) else { return Ok(false) };
        let found = self.listed(&key).await;
        found.map(|found| found.is_some()).map_err(|e| sort(e, Operation::Stat, &RelPath::root()))
    }

    /// Whether keys lie below a path.
    pub(super) async fn has_below(&self, at: &RelPath) -> EndpointResult<bool> {
        let Ok(key) = key_of("", at) else { return Ok(at.is_root()) };
        let prefix = format!("{}/", key.as_str());
        let list = List { prefix: &prefix, folded: false, page: None, most: 1 };
        match self.store.list(list).await {
            Ok(page) => Ok(!page.objects.is_empty()),
            Err(error) => Err(sort(error, Operation::Stat, &RelPath::root())),
        }
    }

    pub(super) async fn is_directory(&self, at: &RelPath) -> EndpointResult<bool> {
        let described = self.described_at(at).await?;
        let is_told = described.is_some_and(|found| found.kind == DescribedKind::Directory);
        Ok(at.is_root() || is_told || self.has_below(at).await?)
    }

    /// The paths that a pattern matches, sorted; one component after the other.
    async fn expand(&self, pattern: &[u8]) -> EndpointResult<Vec<Vec<u8>>> {
        let mut paths = vec![Vec::new()];
        for component in pattern.split_inclusive(|&b| b == b'/') {
            let (name, slash) = match component.split_last() {
                Some((b'/', name)) => (name, true),
                _ => (component, false),
            };
            let mut longer = Vec::new();
            for path in paths {
                if glob::has_patterns(name) {
                    self.matches_in(&path, name, &mut longer).await?;
                } else {
                    longer.push([&path, &*glob::literal(name)].concat());
                }
            }
            if slash {
                longer.iter_mut().for_each(|path| path.push(b'/'));
            }
            paths = longer;
        }
        Ok(paths)
    }

    async fn matches_in(
        &self,
        directory: &[u8],
        pattern: &[u8],
        matches: &mut Vec<Vec<u8>>,
    ) -> EndpointResult<()> {
        let limit = || Fault::new(FaultKind::Limit, Operation::List, RelPath::root());
        let Some(at) = typed(directory) else { return Ok(()) };
        let prefix = match key_of("", &at) {
            Ok(key) => format!("{}/", key.as_str()),
            Err(_) if at.is_root() => String::new(),
            Err(_) => return Ok(()),
        };
        let mut names = BTreeSet::new();
        let (mut pages, mut furthest) = (Pages::default(), String::new());
        loop {
            let list = List { prefix: &prefix, folded: true, page: pages.due(), most: 1000 };
            let page = self.store.list(list).await;
            let page = page.map_err(|e| sort(e, Operation::List, &RelPath::root()))?;
            let keys = page.objects.iter().map(|object| object.key.as_str());
            let prefixes = page.prefixes.iter().map(|prefix| prefix.trim_end_matches('/'));
            let found = keys.chain(prefixes).filter_map(|key| path_of(&prefix, key));
            names.extend(
                found
                    .filter_map(|path| path.name().map(<[u8]>::to_vec))
                    .filter(|name| glob::matches(pattern, name) && *name != RECORDS.as_bytes()),
            );
            if matches.len() + names.len() > limits::BATCH_ENTRIES_MAX {
                return Err(limit().into());
            }
            // Lists are sorted, so what lies further is new, also where the pattern skips it.
            let last = page.objects.iter().map(|object| &object.key).chain(&page.prefixes).max();
            let further = last.filter(|last| **last > furthest).cloned();
            let brought_names = further.is_some();
            furthest = further.unwrap_or(furthest);
            if !pages.turn(page.next, brought_names, &RelPath::root())? {
                break;
            }
        }
        let layer = self.layer(&prefix).await?;
        let told = layer.below(&RelPath::root(), |_| true);
        let told = told.iter().filter(|path| path.components().count() == 1);
        names.extend(
            told.filter_map(|path| path.name().map(<[u8]>::to_vec))
                .filter(|name| glob::matches(pattern, name)),
        );
        matches.extend(names.into_iter().map(|name| [directory, &name].concat()));
        Ok(())
    }
}
