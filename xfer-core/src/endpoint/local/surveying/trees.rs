//! What would be lost, in trees that a person recognises.
//!
//! A tree's digest is one over the set of its entries in whatever order they come (LtHash of
//! Bellare and Micciancio, 16 bits by 1024): nothing is sorted, and nothing is kept of an entry but
//! its part of a sum.

use std::collections::{BTreeMap, BTreeSet};

use xfer_protocol::digest::Digest;
use xfer_protocol::limits::SURVEY_TREES_MAX;
use xfer_protocol::survey::Tree;

use super::mount_table::is_at_or_below;
use crate::disk::walk::Seen;

/// Directories whose children are too many or too general to be named one by one, so that their
/// children's children are.
const DEEPER: &[&[u8]] = &[b"home", b"usr", b"var"];

/// Trees within one directory beyond which that directory is named instead.
const CHILDREN_MAX: usize = 64;

/// Trees that are kept while it is not known which will be too many.
const KEPT_MAX: usize = 4096;

/// Bytes of all paths that are told.
const PATHS_BYTES_MAX: usize = 128 * 1024;

/// Numbers of a sum.
const LANES: usize = 1024;

/// The trees found so far, each by its path.
#[derive(Default)]
pub(super) struct Trees {
    trees: BTreeMap<Vec<u8>, Entries>,
    /// Directories that had too many.
    merged: BTreeSet<Vec<u8>>,
}

/// The entries of one tree.
pub(super) struct Entries {
    count: u64,
    bytes: u64,
    /// Regular files among them.
    pub(super) files: u64,
    pub(super) is_listed: bool,
    sum: Box<[u16; LANES]>,
}

impl Default for Entries {
    fn default() -> Self {
        Self { count: 0, bytes: 0, files: 0, is_listed: true, sum: Box::new([0; LANES]) }
    }
}

impl Entries {
    /// Those of a tree that cannot be listed.
    pub(super) fn unlisted() -> Self {
        Self { is_listed: false, ..Self::default() }
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, path: &[u8], seen: &Seen) {
        self.count += 1;
        self.files += u64::from(seen.is_file);
        self.bytes = self.bytes.saturating_add(if seen.is_file { seen.size } else { 0 });
        let mut hasher = blake3::Hasher::new_derive_key("xfer survey entry 1");
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        hasher.update(&seen.size.to_le_bytes());
        for time in [seen.modified, seen.changed] {
            hasher.update(&time.seconds.to_le_bytes()).update(&time.nanoseconds.to_le_bytes());
        }
        let mut bytes = [0; 2 * LANES];
        hasher.finalize_xof().fill(&mut bytes);
        for (lane, bytes) in self.sum.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = lane.wrapping_add(u16::from_le_bytes([bytes[0], bytes[1]]));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.is_listed &= other.is_listed;
        for (lane, other) in self.sum.iter_mut().zip(other.sum.iter()) {
            *lane = lane.wrapping_add(*other);
        }
    }

    fn tree(&self, path: Vec<u8>) -> Tree {
        let mut hasher = blake3::Hasher::new_derive_key("xfer survey tree 1");
        hasher.update(&(path.len() as u64).to_le_bytes()).update(&path);
        hasher.update(&self.count.to_le_bytes()).update(&self.bytes.to_le_bytes());
        for lane in self.sum.iter() {
            hasher.update(&lane.to_le_bytes());
        }
        let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
        let digest = self.is_listed.then_some(digest);
        Tree { path, count: self.count, bytes: self.bytes, digest }
    }
}

impl Trees {
    /// Adds an entry to the tree that it belongs to.
    pub(super) fn add(&mut self, path: &[u8], seen: &Seen) {
        self.of(path).add(path, seen);
    }

    /// Notes a directory that cannot be listed.
    pub(super) fn is_unlistable(&mut self, path: &[u8]) {
        self.of(path).is_listed = false;
    }

    /// Adds a whole tree under its own path.
    pub(super) fn put(&mut self, path: Vec<u8>, entries: &Entries) {
        self.trees.entry(path).or_default().merge(entries);
    }

    fn of(&mut self, path: &[u8]) -> &mut Entries {
        let path = self.tree_of(path);
        if !self.trees.contains_key(&path) {
            self.trees.insert(path.clone(), Entries::default());
            self.thin_out(&path);
        }
        let path = self.tree_of(&path);
        self.trees.entry(path).or_default()
    }

    /// The path of the tree that a path belongs to.
    fn tree_of(&self, path: &[u8]) -> Vec<u8> {
        let names: Vec<_> = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
        let is_deep = names.first().is_some_and(|first| DEEPER.contains(first));
        let depth = names.len().min(if is_deep { 3 } else { 2 });
        let at = |depth: usize| match depth {
            0 => b"/".to_vec(),
            depth => names[..depth].iter().flat_map(|name| [b"/", *name].concat()).collect(),
        };
        let merged = (0..depth).map(at).find(|path| self.merged.contains(path));
        merged.unwrap_or_else(|| at(depth))
    }

    /// Merges where a directory has too many since a tree came.
    fn thin_out(&mut self, path: &[u8]) {
        let mut path = path.to_vec();
        while let Some(above) = parent(&path) {
            if self.children(&above) > CHILDREN_MAX {
                self.merge_below(&above);
            }
            path = above;
        }
        while self.trees.len() > KEPT_MAX {
            self.merge_most();
        }
    }

    /// Names directly below a directory that lead to trees.
    fn children(&self, above: &[u8]) -> usize {
        let depth = above.iter().filter(|&&b| b == b'/').count() + usize::from(above != b"/");
        let below = self.trees.keys().filter(|path| is_at_or_below(path, above) && *path != above);
        let name = |path: &Vec<u8>| path.split(|&b| b == b'/').nth(depth).map(<[u8]>::to_vec);
        below.filter_map(name).collect::<BTreeSet<_>>().len()
    }

    fn merge_below(&mut self, above: &[u8]) {
        let mut whole = self.trees.remove(above).unwrap_or_default();
        self.trees.retain(|path, entries| {
            let stays = !is_at_or_below(path, above);
            if !stays {
                whole.merge(entries);
            }
            stays
        });
        self.trees.insert(above.to_vec(), whole);
        self.merged.insert(above.to_vec());
    }

    /// Merges the directory with most trees right below it, `/` last of all.
    fn merge_most(&mut self) {
        let mut above: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for path in self.trees.keys().filter_map(|path| parent(path)) {
            *above.entry(path).or_default() += 1;
        }
        let most = above.into_iter().max_by_key(|(path, count)| (path != b"/", *count));
        self.merge_below(&most.map_or_else(|| b"/".to_vec(), |(path, _)| path));
    }

    /// The trees, as many as can be told.
    pub(super) fn finish(mut self) -> Vec<Tree> {
        let bytes = |trees: &BTreeMap<Vec<u8>, Entries>| trees.keys().map(Vec::len).sum::<usize>();
        while self.trees.len() > SURVEY_TREES_MAX
            || self.trees.len() > 1 && bytes(&self.trees) > PATHS_BYTES_MAX
        {
            self.merge_most();
        }
        self.trees.into_iter().map(|(path, entries)| entries.tree(path)).collect()
    }
}

fn parent(path: &[u8]) -> Option<Vec<u8>> {
    match path.iter().rposition(|&byte| byte == b'/')? {
        0 if path.len() == 1 => None,
        0 => Some(b"/".to_vec()),
        at => Some(path[..at].to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::Timestamp;

    use super::*;

    fn seen(size: u64, seconds: i64) -> Seen {
        let at = Timestamp { seconds, nanoseconds: 5 };
        Seen { is_file: true, size, modified: at, changed: at, born: None }
    }

    fn found(paths: &[String]) -> Vec<Tree> {
        let mut trees = Trees::default();
        paths.iter().for_each(|path| trees.add(path.as_bytes(), &seen(3, 7)));
        trees.finish()
    }

    fn names(trees: &[Tree]) -> Vec<String> {
        trees.iter().map(|tree| String::from_utf8(tree.path.clone()).unwrap()).collect()
    }

    #[test]
    fn trees_are_what_a_person_recognises() {
        let paths = ["/a", "/root/x", "/root/data/1", "/root/data/2/3", "/home/ann/work/4/5"];
        let trees = found(&paths.map(str::to_owned));
        assert_eq!(names(&trees), ["/a", "/home/ann/work", "/root/data", "/root/x"]);
        assert_eq!((trees[2].count, trees[2].bytes), (2, 6));
    }

    #[test]
    fn many_trees_become_those_that_hold_them_in_any_order() {
        let mut paths: Vec<_> = (0..2000).map(|number| format!("/many/{number}")).collect();
        paths.extend((0..40).flat_map(|a| (0..40).map(move |b| format!("/d{a}/{b}/x"))));
        let trees = found(&paths);
        assert!(trees.len() <= SURVEY_TREES_MAX && trees.len() > 100, "{}", trees.len());
        let many = trees.iter().find(|tree| tree.path == b"/many").unwrap();
        assert_eq!(many.count, 2000);
        assert_eq!(trees.iter().map(|tree| tree.count).sum::<u64>(), 3600);
        paths.reverse();
        assert_eq!(found(&paths), trees);
        paths.rotate_left(777);
        assert_eq!(found(&paths), trees);
    }

    #[test]
    fn names_near_the_root_without_end_become_one() {
        let paths: Vec<_> = (0..5000).map(|number| format!("/{number}/x")).collect();
        let trees = found(&paths);
        assert_eq!((names(&trees), trees[0].count), (vec!["/".to_owned()], 5000));
    }

    #[test]
    fn every_change_makes_another_digest() {
        let of = |rows: &[(&str, u64, i64)]| {
            let mut trees = Trees::default();
            rows.iter().for_each(|(path, size, at)| trees.add(path.as_bytes(), &seen(*size, *at)));
            trees.finish().remove(0).digest.unwrap()
        };
        let plain = [("/d/a/1", 1, 1), ("/d/a/2", 2, 2)];
        let digest = of(&plain);
        assert_eq!(of(&[plain[1], plain[0]]), digest);
        for other in [
            &[("/d/a/1", 1, 1)][..],
            &[("/d/a/1", 1, 1), ("/d/a/2", 2, 3)],
            &[("/d/a/1", 1, 1), ("/d/a/2", 3, 2)],
            &[("/d/a/1", 1, 1), ("/d/a/3", 2, 2)],
            &[("/d/a/1", 2, 1), ("/d/a/2", 1, 2)],
            &[("/d/b/1", 1, 1), ("/d/b/2", 2, 2)],
        ] {
            assert_ne!(of(other), digest, "{other:?}");
        }
        let mut trees = Trees::default();
        trees.add(b"/d/a/1", &seen(1, 1));
        trees.is_unlistable(b"/d/a/closed");
        assert_eq!(trees.finish()[0].digest, None);
    }
}
