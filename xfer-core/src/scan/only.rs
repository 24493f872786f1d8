//! The entries that are wanted, where only some are.

use std::ops::Range;

use xfer_protocol::path::RelPath;

use super::Wanted;

/// Wanted entries in the order of the walk, each once. An entry stands for all below it.
pub(crate) struct Only(Vec<RelPath>);

impl Only {
    pub(crate) fn new(mut paths: Vec<RelPath>) -> Self {
        paths.sort_unstable();
        // What lies below a wanted entry is wanted with it.
        paths.dedup_by(|later, earlier| later.starts_with(earlier));
        Self(paths)
    }

    /// What is wanted of `path` and below; an empty range if nothing is.
    pub(crate) fn below(&self, path: &RelPath) -> Wanted {
        let start = self.0.partition_point(|p| p < path);
        let above = self.0[..start].last().is_some_and(|p| path.starts_with(p));
        if above || self.0.get(start) == Some(path) {
            return Wanted::All;
        }
        let length = self.0[start..].partition_point(|p| p.starts_with(path));
        Wanted::Some(start..start + length)
    }

    /// The first child of a directory at `depth` that leads to something wanted in `range`, which
    /// is cut down to what comes after it.
    pub(crate) fn next_child(
        &self,
        range: &mut Range<usize>,
        depth: usize,
    ) -> Option<(&[u8], Wanted)> {
        let paths = &self.0[range.clone()];
        let first = paths.first()?;
        let mut components = first.components();
        let name = components.nth(depth)?;
        let wanted = if components.next().is_none() {
            range.start += 1;
            Wanted::All
        } else {
            let length = paths.partition_point(|p| p.components().nth(depth) == Some(name));
            let start = range.start;
            range.start += length;
            Wanted::Some(start..range.start)
        };
        Some((name, wanted))
    }

    pub(crate) fn paths(&self, range: &Range<usize>) -> &[RelPath] {
        &self.0[range.clone()]
    }
}
