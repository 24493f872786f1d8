//! The names in one directory, from the keys that begin with its prefix.

use std::collections::{BTreeMap, HashMap, VecDeque};

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::path::RelPath;

use super::entry::Seen;
use super::fault::sort;
use super::keys::path_of;
use super::roots::OpenRoot;
use super::store::{List, Listed};
use super::walk::AHEAD_MAX;
use super::{MANIFEST, RECORDS, Shared};
use crate::endpoint::EndpointResult;

/// Bytes that the names of one directory may take: somewhat more than a million.
const NAMES_BYTES_MAX: usize = 256 << 20;

/// What one name takes beside its bytes.
const NAME_COST: usize = 160;

/// Pages in a row that may bring no new name: deletions leave such, but not without end.
const IDLE_PAGES_MAX: u32 = 1000;

/// Objects of a page.
const PAGE: u16 = 1000;

/// Pages of all that lies below a directory that are asked for before it is listed by itself.
const DEEP_PAGES_MAX: usize = 32;

/// One name of a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) name: Box<[u8]>,
    pub(super) object: Option<Seen>,
    /// Whether keys lie below it.
    pub(super) directory: bool,
    /// A key that no name has, told by what it would be called.
    pub(super) nameless: bool,
}

/// The names of a directory, in the order of their bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    names: BTreeMap<(Box<[u8]>, bool), Found>,
    /// Whether a manifest lies there.
    pub(super) records: bool,
}

/// The way through the pages of a list, which ends whatever a store says.
#[derive(Default)]
pub(super) struct Pages {
    due: Option<String>,
    idle: u32,
}

/// A listed directory; where one page told all below it, with the directories there.
pub(super) struct Tree {
    pub(super) own: Listing,
    pub(super) below: HashMap<RelPath, Listing>,
}

impl Listing {
    pub(super) fn name(&mut self, name: &[u8]) -> &mut Found {
        let key = (Box::from(name), false);
        self.names.entry(key).or_insert_with(|| Found { name: name.into(), ..Found::default() })
    }

    /// Notes a key that no entry has.
    fn nameless(&mut self, rest: &str) {
        let mut name = rest.replace('/', "%2F").into_bytes();
        name.retain(|&byte| byte != 0);
        name.truncate(limits::NAME_BYTES_MAX);
        if matches!(&*name, b"" | b"." | b"..") {
            name.extend_from_slice(b"%2F");
        }
        let found = Found { name: name.clone().into(), nameless: true, ..Found::default() };
        self.names.insert((name.into(), true), found);
    }

    pub(super) fn into_names(self) -> VecDeque<Found> {
        self.names.into_values().collect()
    }
}

impl Pages {
    /// What asks for the page that is due.
    pub(super) fn due(&self) -> Option<&str> {
        self.due.as_deref()
    }

    /// Goes on to what that page says comes next; false at the end.
    pub(super) fn turn(
        &mut self,
        next: Option<String>,
        brought_names: bool,
        path: &RelPath,
    ) -> Result<bool, Fault> {
        self.idle = if brought_names { 0 } else { self.idle + 1 };
        if next.is_some() && (next == self.due || self.idle > IDLE_PAGES_MAX) {
            return Err(Fault::new(FaultKind::Protocol, Operation::List, path.clone()));
        }
        self.due = next;
        Ok(self.due.is_some())
    }
}

impl Shared {
    /// All that is below a directory, page after page, as long as a page tells more directories
    /// than would be listed at once one by one; `None` where that ends before the list does.
    async fn list_deep(&self, path: &RelPath, prefix: &str) -> EndpointResult<Option<Tree>> {
        let mut listed = Tree { own: Listing::default(), below: HashMap::new() };
        let mut pages = Pages::default();
        for _ in 0..DEEP_PAGES_MAX {
            let list = List { prefix, folded: false, page: pages.due(), most: PAGE };
            let page = self.store.list(list).await;
            let page = page.map_err(|error| sort(error, Operation::List, path))?;
            let had = listed.below.len();
            for object in &page.objects {
                listed.take(path, prefix, object);
            }
            if !pages.turn(page.next, !page.objects.is_empty(), path)? {
                return Ok(Some(listed));
            }
            if listed.below.len() - had <= AHEAD_MAX {
                break;
            }
        }
        Ok(None)
    }

    /// Lists a directory: at first all that is below, which many small directories tell soonest.
    pub(super) async fn list(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<Tree> {
        let prefix = root.prefix_of(path, Operation::List)?;
        if let Some(all) = self.list_deep(path, &prefix).await? {
            return Ok(all);
        }
        let failed = |error| sort(error, Operation::List, path);
        let mut listed = Tree { own: Listing::default(), below: HashMap::new() };
        let (mut pages, mut bytes) = (Pages::default(), 0);
        loop {
            let list = List { prefix: &prefix, folded: true, page: pages.due(), most: PAGE };
            let page = self.store.list(list).await.map_err(failed)?;
            let had = listed.own.names.len();
            for object in &page.objects {
                bytes += NAME_COST + object.key.len() - prefix.len().min(object.key.len());
                listed.take(path, &prefix, object);
            }
            for below in &page.prefixes {
                bytes += NAME_COST + below.len() - prefix.len().min(below.len());
                listed.take_prefix(&prefix, below);
            }
            if bytes > NAMES_BYTES_MAX {
                return Err(Fault::new(FaultKind::Limit, Operation::List, path.clone()).into());
            }
            if !pages.turn(page.next, listed.own.names.len() > had, path)? {
                listed.below.clear();
                return Ok(listed);
            }
        }
    }

    /// One entry by its name, as a list would have told it; `None` where there is none.
    pub(super) async fn find(
        &self,
        root: &OpenRoot,
        path: &RelPath,
    ) -> EndpointResult<Option<Found>> {
        let name: Box<[u8]> = path.name().unwrap_or_default().into();
        if path.is_root() {
            return Ok(Some(Found { name, directory: true, ..Found::default() }));
        }
        let key = root.key(path, Operation::Stat)?;
        let prefix = format!("{}/", key.as_str());
        let list = List { prefix: &prefix, folded: false, page: None, most: 1 };
        let (object, below) = tokio::join!(self.listed(&key), self.store.list(list));
        let failed = |error| sort(error, Operation::Stat, path);
        let object = object.map_err(failed)?.map(|object| Seen::listed(&object));
        let below = below.map_err(failed)?;
        let directory = !below.objects.is_empty();
        let there = object.is_some()
            || directory
            || root.described(path).is_some_and(|found| {
                !matches!(found.kind, super::manifest::DescribedKind::File { .. })
            });
        Ok(there.then_some(Found { name, object, directory, nameless: false }))
    }
}

impl Tree {
    /// Takes an object somewhere below a directory.
    fn take(&mut self, directory: &RelPath, prefix: &str, object: &Listed) {
        let Some(rest) = object.key.strip_prefix(prefix) else { return };
        if rest.is_empty() {
            // Without bytes it marks the directory; with some it is data that no entry has.
            if object.size > 0 {
                self.own.nameless(rest);
            }
            return;
        }
        let described =
            rest.strip_suffix(MANIFEST).filter(|way| way.is_empty() || way.ends_with('/'));
        if described == Some("") {
            self.own.records = true;
        }
        let rest = match described {
            Some(way) => way,
            None if rest.split('/').any(|name| name == RECORDS) => return,
            None => rest,
        };
        if rest.is_empty() || rest.split('/').any(|name| name == RECORDS) {
            return;
        }
        let is_marker = object.size == 0 || described.is_some();
        let marker = rest.strip_suffix('/').filter(|_| is_marker);
        let Some(below) = path_of("", marker.unwrap_or(rest)) else {
            self.own.nameless(rest);
            return;
        };
        let mut at = directory.clone();
        let mut names = below.components().peekable();
        while let Some(name) = names.next() {
            let Ok(next) = at.child(name) else {
                self.own.nameless(rest);
                return;
            };
            let listing = match at == *directory {
                true => &mut self.own,
                false => self.below.entry(at).or_default(),
            };
            let found = listing.name(name);
            if names.peek().is_none() && marker.is_none() {
                found.object = Some(Seen::listed(object));
            } else {
                found.directory = true;
                self.below.entry(next.clone()).or_default();
            }
            at = next;
        }
        if described.is_some() {
            self.below.entry(at).or_default().records = true;
        }
    }

    /// Takes what lies behind the next `/`.
    fn take_prefix(&mut self, prefix: &str, below: &str) {
        let rest = below.strip_prefix(prefix).unwrap_or_default();
        let name = rest.strip_suffix('/').unwrap_or(rest);
        match path_of("", name) {
            Some(_) if name == RECORDS => self.own.records = true,
            Some(path) => self.own.name(path.as_bytes()).directory = true,
            None => self.own.nameless(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::Timestamp;

    use super::*;

    #[test]
    fn a_key_that_is_the_prefix_is_told_where_it_has_bytes() {
        for (size, nameless) in [(0, 0), (1, 1)] {
            let mut tree = Tree { own: Listing::default(), below: HashMap::new() };
            let modified = Timestamp::default();
            let object = Listed { key: "data/".to_owned(), size, etag: None, modified };
            tree.take(&RelPath::root(), "data/", &object);
            let names = tree.own.into_names();
            assert_eq!(names.iter().filter(|found| found.nameless).count(), nameless);
            assert_eq!(names.len(), nameless);
        }
    }

    #[test]
    fn pages_without_end_are_refused() {
        let top = RelPath::root();
        let page = |nth: u32| Some(nth.to_string());
        let mut pages = Pages::default();
        assert_eq!(pages.turn(page(0), true, &top), Ok(true));
        assert_eq!(pages.due(), Some("0"));
        let again = pages.turn(page(0), true, &top);
        assert_eq!(again.map_err(|fault| fault.kind), Err(FaultKind::Protocol));
        for nth in 1..=IDLE_PAGES_MAX {
            assert_eq!(pages.turn(page(nth), false, &top), Ok(true), "{nth}");
        }
        assert_eq!(pages.turn(page(0), true, &top), Ok(true));
        for nth in 1..=IDLE_PAGES_MAX {
            assert_eq!(pages.turn(page(nth), false, &top), Ok(true), "{nth}");
        }
        let idle = pages.turn(page(0), false, &top);
        assert_eq!(idle.map_err(|fault| fault.kind), Err(FaultKind::Protocol));
        assert_eq!(pages.turn(None, false, &top), Ok(false));
    }
}
