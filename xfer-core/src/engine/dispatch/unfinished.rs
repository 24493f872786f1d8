//! Files that an earlier session began to write over. They stay until something has their names
//! again, so the room that they take is counted for themselves alone.

use std::collections::BTreeMap;

use xfer_protocol::path::RelPath;

use super::Dispatcher;
use super::work::Work;
use crate::disk::written_over;

/// Bytes that they take, by what they become.
#[derive(Default)]
pub(super) struct Unfinished(BTreeMap<RelPath, u64>);

impl Dispatcher {
    /// Counts what a partial of an earlier session holds.
    pub(in crate::engine) fn partial(&mut self, partial: &RelPath, allocated: u64) {
        let name = partial.name().and_then(written_over);
        match name.and_then(|name| partial.parent()?.child(name).ok()) {
            Some(file) => drop(self.unfinished.0.insert(file, allocated)),
            None => self.held(allocated),
        }
    }

    /// Counts those that will be gone on with.
    pub(super) fn count_unfinished(&mut self) {
        let large = self.waiting.iter().filter_map(|work| match work {
            Work::CopyLarge(file) => self.unfinished.0.get(&file.path),
            Work::Copy(_) | Work::Compare(_) | Work::Create(_) => None,
        });
        let held = large.sum();
        self.held(held);
    }
}
