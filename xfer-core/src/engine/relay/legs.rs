//! What a user hears of each transfer of a relay, so that together they tell one story.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{EntryAction, Event, SharedObserver};

/// What is told of one transfer.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// All but that it began: of the whole that is told once.
    All,
    /// How it gets on; nothing of single entries, of which the next one tells.
    Progress,
    /// That, and what was moved.
    Entries,
    /// What the ones before left to it.
    Rest,
}

/// What may be spent on all transfers together, and what was.
#[derive(Clone)]
pub(super) struct Purse {
    cap: Option<f64>,
    spent: Arc<Mutex<f64>>,
}

impl Purse {
    pub(super) fn of(cap: Option<f64>) -> Self {
        Self { cap, spent: Arc::default() }
    }

    /// US dollars that the next transfer may cost.
    pub(super) fn left(&self) -> Option<f64> {
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        self.cap.map(|cap| (cap - spent).max(0.0))
    }

    /// Each session of a transfer costs part of what the first one said.
    fn pay(&self, paid: &mut f64, usd: f64) {
        let more = (usd - *paid).max(0.0);
        *paid += more;
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += more;
    }
}

/// An observer that passes on what is told, and pays for it.
pub(super) fn heard(observer: &SharedObserver, told: Told, purse: &Purse) -> SharedObserver {
    let (observer, purse, paid) = (Arc::clone(observer), purse.clone(), Mutex::new(0.0));
    Arc::new(move |event: &Event| {
        if let Event::Cost(cost) = event {
            let mut paid = paid.lock().unwrap_or_else(PoisonError::into_inner);
            purse.pay(&mut paid, cost.usd().unwrap_or_default());
        }
        if told.passes(event) {
            observer.observe(event);
        }
    })
}

impl Told {
    fn passes(self, event: &Event) -> bool {
        match event {
            // What all of them cost is told of the plan.
            Event::Begun { .. } | Event::Cost(_) => false,
            // A problem of the ways before is told by the last, if it still is one.
            Event::Problem { .. } | Event::Mapped { .. } => matches!(self, Self::All | Self::Rest),
            Event::Entry { action, .. } => match self {
                Self::All => true,
                Self::Entries | Self::Rest => *action != EntryAction::Unchanged,
                Self::Progress => false,
            },
            Event::Notice(_) | Event::RouteTrial(_) | Event::Route(_) => {
                !matches!(self, Self::Rest)
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::path::RelPath;

    use super::*;
    use crate::event::{Cost, Toll};

    #[test]
    fn one_story_is_told() {
        let entry = |action| Event::Entry { path: RelPath::root(), action, size: 1 };
        let (moved, unchanged) = (entry(EntryAction::Moved), entry(EntryAction::Unchanged));
        for (told, passes) in [
            (Told::All, (true, true)),
            (Told::Progress, (false, false)),
            (Told::Entries, (true, false)),
            (Told::Rest, (true, false)),
        ] {
            assert_eq!((told.passes(&moved), told.passes(&unchanged)), passes);
        }
    }

    #[test]
    fn what_one_transfer_cost_is_not_left_for_the_next() {
        let toll = Toll { machine: "vast:1".into(), out: true, per_gb: Some(1.0), per_hour: None };
        let cost = |gb: u64| Event::Cost(Cost::of(0, [(toll.clone(), gb * 1_000_000_000)]));
        let nobody: SharedObserver = Arc::new(|_: &Event| {});
        let purse = Purse::of(Some(10.0));
        let first = heard(&nobody, Told::Progress, &purse);
        // The second session goes on with what is left.
        first.observe(&cost(4));
        first.observe(&cost(1));
        assert_eq!(purse.left(), Some(6.0));
        heard(&nobody, Told::Entries, &purse).observe(&cost(4));
        assert_eq!(purse.left(), Some(2.0));
        heard(&nobody, Told::Rest, &purse).observe(&cost(4));
        assert_eq!(purse.left(), Some(0.0));
        assert_eq!(Purse::of(None).left(), None);
    }
}
