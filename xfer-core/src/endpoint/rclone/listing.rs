//! Lists of keys, made of directories: rclone tells them one at a time, and each costs a request.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::StreamExt;

use super::rows::Row;
use super::{RcloneStore, guard};
use crate::disk::is_partial_name;
use crate::endpoint::object::store::{Key, List, Listed, Page, StoreError, StoreResult};

/// Directories in one that are looked into at once, to tell a small tree by one list; where there
/// are more, it is none.
const LOOKS_INTO: usize = 32;

/// Directories that are listed at a time.
const LISTS_AT_ONCE: usize = 8;

/// Listings that are kept for the question that follows.
const KEPT_MAX: usize = 32;

/// What asks for the rest of a list that is too long for one page; nobody does.
const REST: &str = "rest";

/// Listings that somebody is about to ask for again.
#[derive(Default)]
pub(super) struct Listings(Mutex<HashMap<String, Vec<Row>>>);

impl Listings {
    fn keep(&self, prefix: &str, rows: Vec<Row>) {
        let mut kept = guard(&self.0);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(prefix.to_owned(), rows);
    }

    fn take(&self, prefix: &str) -> Option<Vec<Row>> {
        guard(&self.0).remove(prefix)
    }

    /// Forgets all: something was written.
    pub(super) fn clear(&self) {
        guard(&self.0).clear();
    }
}

impl RcloneStore {
    pub(super) async fn page(&self, list: List<'_>) -> StoreResult<Page> {
        let prefix = list.prefix;
        if list.page.is_some() {
            return Err(StoreError::Unsupported);
        }
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return self.file_page(prefix).await;
        }
        if list.folded {
            let rows = match self.listings.take(prefix) {
                Some(rows) => rows,
                None => self.rows(prefix).await?.unwrap_or_default(),
            };
            return Ok(self.folded(prefix, &rows));
        }
        let Some(rows) = self.rows(prefix).await? else { return Ok(Page::default()) };
        if list.most == 1 {
            // It is asked whether there is anything.
            let first = rows.first().map(|row| self.listed(prefix, row));
            let objects = vec![first.unwrap_or_else(|| marker(prefix))];
            return Ok(Page { objects, ..Page::default() });
        }
        self.tree(prefix, rows, usize::from(list.most)).await
    }

    /// The one file of that key: of keys that only begin so nothing is told.
    async fn file_page(&self, prefix: &str) -> StoreResult<Page> {
        let Some(key) = Key::new(prefix) else { return Ok(Page::default()) };
        let found = self.row(&key).await?;
        let objects = found.map(|row| Listed { key: prefix.to_owned(), ..self.listed("", &row) });
        Ok(Page { objects: objects.into_iter().collect(), ..Page::default() })
    }

    /// What is in a directory, in the order of names; `None` where there is none.
    async fn rows(&self, prefix: &str) -> StoreResult<Option<Vec<Row>>> {
        let directory = prefix.strip_suffix('/').unwrap_or(prefix);
        let listed = self.program.list(&self.file_system, directory, self.features.sum).await;
        let mut rows = match listed {
            Ok(rows) => rows,
            Err(StoreError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        if rows.is_empty() && !self.features.holds_empty(directory) {
            return Ok(None);
        }
        // What a killed process left of a file is none, and the next that sends it writes over it.
        rows.retain(|row| row.is_dir || !is_partial_name(row.name.as_bytes()));
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Some(rows))
    }

    fn folded(&self, prefix: &str, rows: &[Row]) -> Page {
        let mut page = Page::default();
        for (nth, row) in rows.iter().enumerate() {
            let before = nth.checked_sub(1).and_then(|before| rows.get(before));
            let is_second = before.is_some_and(|before| before.name == row.name);
            if is_second || is_unusable(&row.name) {
                page.objects.push(nameless(prefix, row, nth));
            } else if row.is_dir {
                page.prefixes.push(format!("{prefix}{}/", row.name));
            } else {
                page.objects.push(self.listed(prefix, row));
            }
        }
        page
    }

    /// All that is below a directory, where that is little.
    async fn tree(&self, prefix: &str, rows: Vec<Row>, most: usize) -> StoreResult<Page> {
        let mut whole = Page::default();
        let mut next = vec![self.folded(prefix, &rows)];
        let top = next[0].prefixes.len();
        if rows.is_empty() && !prefix.is_empty() {
            whole.objects.push(marker(prefix));
        }
        let mut looked = 0;
        while !next.is_empty() {
            let prefixes: Vec<String> = next.iter().flat_map(|p| p.prefixes.clone()).collect();
            whole.objects.extend(next.drain(..).flat_map(|page| page.objects));
            looked += prefixes.len();
            if top > LOOKS_INTO || looked > LOOKS_INTO || whole.objects.len() > most {
                self.listings.keep(prefix, rows);
                return Ok(Page { next: Some(REST.to_owned()), ..Page::default() });
            }
            let lists = prefixes.clone().into_iter().map(|prefix| async move {
                let rows = self.rows(&prefix).await?.unwrap_or_default();
                StoreResult::Ok((rows.is_empty(), self.folded(&prefix, &rows)))
            });
            let lists: Vec<_> =
                futures_util::stream::iter(lists).buffered(LISTS_AT_ONCE).collect().await;
            for (prefix, listed) in prefixes.iter().zip(lists) {
                let (is_empty, page) = listed?;
                whole.objects.extend(is_empty.then(|| marker(prefix)));
                next.push(page);
            }
        }
        whole.objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(whole)
    }

    fn listed(&self, prefix: &str, row: &Row) -> Listed {
        if row.is_dir {
            return marker(&format!("{prefix}{}/", row.name));
        }
        Listed {
            key: format!("{prefix}{}", row.name),
            size: row.bytes().unwrap_or(u64::MAX),
            etag: Some(self.features.tag(row)),
            modified: row.modified(),
        }
    }
}

fn is_unusable(name: &str) -> bool {
    matches!(name, "" | "." | "..") || name.contains(['/', '\0'])
}

/// What stands for a directory: an object without bytes whose key ends in `/`.
fn marker(prefix: &str) -> Listed {
    let modified = xfer_protocol::manifest::Timestamp::default();
    Listed { key: prefix.to_owned(), size: 0, etag: None, modified }
}

/// A key that no file has, for what can be told by no name of its own: a second file of one name,
/// which some remotes have.
fn nameless(prefix: &str, row: &Row, nth: usize) -> Listed {
    let key = format!("{prefix}{}//{nth}", row.name);
    Listed { size: 1, ..marker(&key) }
}
