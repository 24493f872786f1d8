//! What a user hears of each transfer of a relay, so that together they tell one story.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{EntryAction, Event, PlanTotals, SharedObserver};

/// What is told of one transfer.
pub(super) enum Told {
    /// All but that it began: of the whole that is told once.
    All,
    /// How it gets on; nothing of single entries, of which the next one tells.
    Progress,
    /// That, and what was moved.
    Entries,
    /// What the ones before left to it.
    Rest,
    /// Nothing; what the plan comes to is kept.
    Totals(Arc<Mutex<Option<PlanTotals>>>),
}

/// An observer that passes on what is told.
pub(super) fn heard(observer: &SharedObserver, told: Told) -> SharedObserver {
    let observer = Arc::clone(observer);
    Arc::new(move |event: &Event| {
        if told.passes(event) {
            observer.observe(event);
        }
    })
}

impl Told {
    fn passes(&self, event: &Event) -> bool {
        if let (Self::Totals(totals), Event::Plan(plan)) = (self, event) {
            *totals.lock().unwrap_or_else(PoisonError::into_inner) = Some(*plan);
        }
        match event {
            Event::Begun { .. } => false,
            // A problem of the ways before is told by the last, if it still is one.
            Event::Problem { .. } | Event::Mapped { .. } => matches!(self, Self::All | Self::Rest),
            // What is left to the last costs nothing beside what the others cost.
            Event::Cost(_) => !matches!(self, Self::Rest | Self::Totals(_)),
            Event::Entry { action, .. } => match self {
                Self::All => true,
                Self::Entries | Self::Rest => *action != EntryAction::Unchanged,
                Self::Progress | Self::Totals(_) => false,
            },
            Event::Notice(_) | Event::RouteTrial(_) | Event::Route(_) => {
                !matches!(self, Self::Totals(_) | Self::Rest)
            }
            _ => !matches!(self, Self::Totals(_)),
        }
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::path::RelPath;

    use super::*;

    #[test]
    fn one_story_is_told() {
        let entry = |action| Event::Entry { path: RelPath::root(), action, size: 1 };
        let (moved, unchanged) = (entry(EntryAction::Moved), entry(EntryAction::Unchanged));
        let plan = PlanTotals { entries: 7, complete: true, ..PlanTotals::default() };
        let totals = Arc::new(Mutex::new(None));
        let quiet = Told::Totals(Arc::clone(&totals));
        for event in [&moved, &unchanged, &Event::Plan(plan), &Event::Notice(String::new())] {
            assert!(!quiet.passes(event));
        }
        assert_eq!(*totals.lock().unwrap(), Some(plan));
        for (told, passes) in [
            (Told::All, (true, true)),
            (Told::Progress, (false, false)),
            (Told::Entries, (true, false)),
            (Told::Rest, (true, false)),
        ] {
            assert_eq!((told.passes(&moved), told.passes(&unchanged)), passes);
        }
    }
}
