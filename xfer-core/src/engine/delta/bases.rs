//! Files of the destination that something may be copied from: the old version under the same
//! name, the same content under another one, or what looks like the version before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use xfer_protocol::manifest::{Entry, EntryKind, Stamp};
use xfer_protocol::path::RelPath;

use crate::engine::pack::FileWork;

/// Bytes of the smallest file that is remembered: a smaller one is sent as quickly.
const REMEMBERED_LEAST: u64 = 1 << 20;

/// Files that are remembered at most, and of one size or one place.
const REMEMBERED_MAX: usize = 1 << 16;
const ALIKE_MAX: usize = 64;

/// Files under other names that are looked at.
const SAME_SIZE_MAX: usize = 4;
const SIMILAR_MAX: usize = 2;

/// A file of the destination as its list told it.
pub(super) type Known = (RelPath, Stamp);

/// Files of the destination, as far as they are listed.
#[derive(Default)]
pub(in crate::engine) struct Bases(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    count: usize,
    by_size: HashMap<u64, Vec<Known>>,
    by_place: HashMap<Place, Vec<Known>>,
}

/// The directory and the extension, which versions of one thing share.
type Place = (RelPath, Vec<u8>);

impl Bases {
    /// Notes what stands at the destination.
    pub(in crate::engine) fn note(&self, entry: &Entry) {
        let EntryKind::File { size, .. } = entry.kind else { return };
        if size < REMEMBERED_LEAST {
            return;
        }
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.count >= REMEMBERED_MAX {
            return;
        }
        listed.count += 1;
        let known = (entry.path.clone(), entry.stamp());
        let same_size = listed.by_size.entry(size).or_default();
        if same_size.len() < ALIKE_MAX {
            same_size.push(known.clone());
        }
        if let Some(place) = place_of(&entry.path) {
            let same_place = listed.by_place.entry(place).or_default();
            if same_place.len() < ALIKE_MAX {
                same_place.push(known);
            }
        }
    }

    /// What a file may have bytes in common with, the likeliest first: that which it replaces, what
    /// is as long, and what looks like the version before.
    pub(super) fn of(&self, work: &FileWork) -> Vec<Known> {
        let listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = |known: &&Known| known.0 != work.path;
        let same_size = listed.by_size.get(&work.size).into_iter().flatten().filter(others);
        let own = work.basis.as_deref().map(|stamp| (work.path.clone(), *stamp));
        let mut all: Vec<_> =
            own.into_iter().chain(same_size.take(SAME_SIZE_MAX).cloned()).collect();
        let place = place_of(&work.path);
        let mut similar: Vec<_> = place
            .and_then(|place| listed.by_place.get(&place))
            .into_iter()
            .flatten()
            .filter(others)
            .filter(|(_, stamp)| is_similar(stamp.size, work.size) && stamp.size != work.size)
            .collect();
        similar.sort_by_key(|(_, stamp)| std::cmp::Reverse(stamp.modified));
        all.extend(similar.into_iter().take(SIMILAR_MAX).cloned());
        all
    }
}

fn place_of(path: &RelPath) -> Option<Place> {
    let name = path.name()?;
    let dot = name.iter().rposition(|byte| *byte == b'.').unwrap_or(name.len());
    Some((path.parent()?, name[dot..].to_vec()))
}

/// Whether one is at most twice as long as the other.
fn is_similar(one: u64, other: u64) -> bool {
    one / 2 <= other && other / 2 <= one
}
