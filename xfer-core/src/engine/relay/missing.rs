//! What a plan would move: only that goes by way of the bucket.

use std::sync::{Arc, Mutex, PoisonError};

use xfer_protocol::path::RelPath;

use crate::event::{EntryAction, Event, PlanTotals, SharedObserver};
use crate::location::Location;

/// Paths that are remembered; beyond that, everything goes.
const PATHS_MAX: usize = 100_000;

/// A plan as far as it was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Planned {
    totals: PlanTotals,
    /// How many sources were mapped.
    mapped: usize,
    /// What is to be moved or compared, by its place at the destination.
    paths: Vec<RelPath>,
    has_more: bool,
}

/// Collects a plan, and passes on what it costs.
#[derive(Clone, Default)]
pub(super) struct Planning(Arc<Mutex<Planned>>);

impl Planning {
    /// An observer of the transfer that makes the plan.
    pub(super) fn heard(&self, observer: &SharedObserver) -> SharedObserver {
        let (planning, observer) = (self.clone(), Arc::clone(observer));
        Arc::new(move |event: &Event| {
            planning.0.lock().unwrap_or_else(PoisonError::into_inner).take(event);
            if matches!(event, Event::Cost(_)) {
                observer.observe(event);
            }
        })
    }

    pub(super) fn planned(self) -> Planned {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Planned {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Plan(totals) => self.totals = *totals,
            Event::Mapped { .. } => self.mapped += 1,
            Event::Entry { path, action: EntryAction::Moved | EntryAction::Compare, .. } => {
                if self.paths.len() < PATHS_MAX {
                    self.paths.push(path.clone());
                } else {
                    self.has_more = true;
                }
            }
            _ => {}
        }
    }

    /// Whether nothing is left to move, by what is known without reading any file.
    pub(super) fn is_there(&self) -> bool {
        let totals = &self.totals;
        totals.complete && totals.entries_to_move == 0 && totals.entries_to_compare == 0
    }

    /// What is missing, below the one source that is a directory; nothing where all of it is, or
    /// where that cannot be told in paths below one source.
    pub(super) fn missing_of(self, sources: &[Location]) -> Option<Vec<RelPath>> {
        let [source] = sources else { return None };
        let is_all = self.paths.len() as u64 >= self.totals.entries;
        if self.mapped != 1 || self.has_more || is_all || !self.totals.complete {
            return None;
        }
        // Of a directory that is not asked for its contents, all paths begin with its name.
        let is_contents = source.path.ends_with(b"/") || source.last_name().is_none();
        let below = |path: RelPath| {
            if is_contents {
                return (!path.is_root()).then_some(path);
            }
            let slash = path.as_bytes().iter().position(|byte| *byte == b'/')?;
            RelPath::new(&path.as_bytes()[slash + 1..]).ok()
        };
        self.paths.into_iter().map(below).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(entries: u64, paths: &[(&str, EntryAction)]) -> Planned {
        let mut planned = Planned::default();
        planned.take(&Event::Mapped { source: Vec::new(), destination: Vec::new() });
        for (path, action) in paths {
            let path = RelPath::new(path.as_bytes().to_vec()).unwrap();
            planned.take(&Event::Entry { path, action: *action, size: 1 });
        }
        let totals = PlanTotals { entries, complete: true, ..PlanTotals::default() };
        planned.take(&Event::Plan(totals));
        planned
    }

    fn missing(planned: &Planned, sources: &[&str]) -> Option<Vec<String>> {
        let sources: Vec<_> =
            sources.iter().map(|text| Location::parse(text.as_bytes()).unwrap()).collect();
        let missing = planned.clone().missing_of(&sources)?;
        Some(missing.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_missing_is_told_below_its_source() {
        use EntryAction::{Compare, Metadata, Moved};
        let some = plan(9, &[("d/x/a", Moved), ("d/b", Compare), ("d/c", Metadata)]);
        let named = Some(vec!["x/a".to_owned(), "b".to_owned()]);
        for source in ["host:/a/d", "host:/a/*"] {
            assert_eq!(missing(&some, &[source]), named, "{source}");
        }
        let contents = Some(vec!["d/x/a".to_owned(), "d/b".to_owned()]);
        for source in ["host:/a/", "host:", "host:/a/.."] {
            assert_eq!(missing(&some, &[source]), contents, "{source}");
        }
    }

    #[test]
    fn everything_goes_where_less_cannot_be_told() {
        use EntryAction::Moved;
        let all = plan(2, &[("d", Moved), ("d/a", Moved)]);
        assert_eq!(missing(&all, &["host:/d"]), None);
        let itself = plan(3, &[("d", Moved), ("d/a", Moved)]);
        assert_eq!(missing(&itself, &["host:/d"]), None, "the directory itself is to be made");
        let mut some = plan(3, &[("d/a", Moved)]);
        assert_eq!(missing(&some, &["host:/d", "host:/e"]), None);
        some.mapped = 2;
        assert_eq!(missing(&some, &["host:/*"]), None, "a pattern of several");
        let mut many = plan(2 * PATHS_MAX as u64, &vec![("d/a", Moved); PATHS_MAX]);
        assert_eq!(missing(&many, &["host:/d"]).map(|all| all.len()), Some(PATHS_MAX));
        many.take(&Event::Entry { path: RelPath::root(), action: Moved, size: 1 });
        assert_eq!(missing(&many, &["host:/d"]), None);
    }

    #[test]
    fn what_is_there_is_known_by_the_whole_plan_alone() {
        assert!(plan(3, &[]).is_there());
        assert!(!Planned::default().is_there());
        for totals in [
            PlanTotals { entries_to_move: 1, complete: true, ..PlanTotals::default() },
            PlanTotals { entries_to_compare: 1, complete: true, ..PlanTotals::default() },
        ] {
            assert!(!Planned { totals, ..Planned::default() }.is_there());
        }
    }
}
