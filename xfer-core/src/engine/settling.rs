//! Which files of a source are finished, and which are still being written.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, EntryKind, Timestamp};
use xfer_protocol::message::RootIndex;
use xfer_protocol::message::settling::Settling;

use crate::clock::Clock;
use crate::endpoint::{Endpoint, EndpointError, EndpointResult};

/// Files that are remembered to have been finished; with more, those before are forgotten, and
/// wait until they have settled.
const FINISHED_MAX: usize = 100_000;

/// Files that somebody saw being finished, as they were then: each is known by its inode and its
/// last change, so whatever is written later makes another of it.
#[derive(Default)]
pub(super) struct Finished(Mutex<HashSet<(u64, u64, Timestamp)>>);

impl Finished {
    pub(super) fn note(&self, files: impl IntoIterator<Item = (u64, u64, Timestamp)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            if known.len() >= FINISHED_MAX {
                known.clear();
            }
            known.insert(file);
        }
    }

    fn holds(&self, entry: &Entry) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(entry.inode.device, entry.inode.number, entry.inode.changed))
    }
}

/// What a source said before it was listed, and how long a file has to be left alone.
pub(super) struct Settled {
    /// In nanoseconds.
    age: i128,
    now: i128,
    open: HashSet<(u64, u64)>,
    finished: Arc<Finished>,
}

/// Why a file is left for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    /// It changed lately, and will have settled after so long.
    For(Duration),
    /// Somebody may still write to it.
    Open,
}

impl Settled {
    /// Asks a source what is being written there; nothing where files need not settle. A source
    /// that cannot tell is judged by this machine's clock.
    pub(super) async fn ask<E: Endpoint + ?Sized>(
        source: &E,
        root: RootIndex,
        age: Duration,
        finished: &Arc<Finished>,
        clock: &dyn Clock,
    ) -> EndpointResult<Option<Self>> {
        if age.is_zero() {
            return Ok(None);
        }
        let told = match source.settling(root).await {
            Ok(told) => told,
            Err(EndpointError::Fault(fault)) if fault.kind == FaultKind::Unsupported => {
                Settling { now: clock.now(), open: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Self::new(age, told, Arc::clone(finished))))
    }

    fn new(age: Duration, told: Settling, finished: Arc<Finished>) -> Self {
        let Settling { now, open } = told;
        let age = i128::try_from(age.as_nanos()).unwrap_or(i128::MAX / 4);
        Self { age, now: nanoseconds(now), open: open.into_iter().collect(), finished }
    }

    /// Why a file is left for later, where it is. What somebody set a later time of than the
    /// source's own is judged by its change alone, for it would never settle.
    pub(super) fn of(&self, entry: &Entry) -> Option<Unsettled> {
        if !matches!(entry.kind, EntryKind::File { .. }) {
            return None;
        }
        if self.open.contains(&(entry.inode.device, entry.inode.number)) {
            return Some(Unsettled::Open);
        }
        if self.finished.holds(entry) {
            return None;
        }
        let (changed, modified) =
            (nanoseconds(entry.inode.changed), nanoseconds(entry.metadata.modified));
        let modified = if modified > self.now { i128::MIN } else { modified };
        let settles = changed.max(modified).saturating_add(self.age);
        let left = u64::try_from(settles.saturating_sub(self.now)).ok().filter(|left| *left > 0);
        left.map(|left| Unsettled::For(Duration::from_nanos(left)))
    }
}

fn nanoseconds(moment: Timestamp) -> i128 {
    i128::from(moment.seconds) * 1_000_000_000 + i128::from(moment.nanoseconds)
}

#[cfg(test)]
mod tests {
    use xfer_protocol::manifest::{Inode, Metadata};
    use xfer_protocol::path::RelPath;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    fn file(number: u64, changed: i64, modified: i64) -> Entry {
        Entry {
            path: RelPath::new("f").expect("a path"),
            kind: EntryKind::File { size: 1, allocated: 1 },
            metadata: Metadata { modified: at(modified), ..Metadata::default() },
            inode: Inode { device: 1, number, changed: at(changed), links: 1 },
        }
    }

    fn settled() -> Settled {
        let told = Settling { now: at(1000), open: vec![(1, 7)] };
        Settled::new(Duration::from_secs(10), told, Arc::default())
    }

    #[test]
    fn either_time_counts_and_the_bound_is_exact() {
        let judge = settled();
        let left = |seconds| Some(Unsettled::For(Duration::from_secs(seconds)));
        for (changed, modified, expected) in [
            (990, 990, None),
            (991, 5, left(1)),
            (5, 991, left(1)),
            (1000, 1000, left(10)),
            // It changed after the source was asked.
            (1003, 1003, left(13)),
            // Somebody set its time to next year.
            (5, 9_000_000, None),
            (999, 9_000_000, left(9)),
        ] {
            assert_eq!(judge.of(&file(1, changed, modified)), expected, "{changed} {modified}");
        }
    }

    #[test]
    fn what_is_open_waits_however_old_it_is_and_directories_never_do() {
        let judge = settled();
        assert_eq!(judge.of(&file(7, 5, 5)), Some(Unsettled::Open));
        let directory = Entry { kind: EntryKind::Directory, ..file(7, 1000, 1000) };
        assert_eq!(judge.of(&directory), None);
    }

    #[test]
    fn what_was_seen_to_be_finished_does_not_wait_until_it_changes_again() {
        let judge = settled();
        judge.finished.note([(1, 3, at(999)), (1, 7, at(999))]);
        assert_eq!(judge.of(&file(3, 999, 999)), None);
        assert_eq!(judge.of(&file(3, 1000, 999)), Some(Unsettled::For(Duration::from_secs(10))));
        assert_eq!(judge.of(&file(7, 999, 999)), Some(Unsettled::Open));
    }
}
