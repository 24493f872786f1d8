//! What is done about a machine that does not run: pure, told the time and what its platform says.

use std::time::Duration;

use crate::discover::MachineState;
use crate::options::MachineOptions;

/// Between two looks at a machine.
pub(super) const POLL: Duration = Duration::from_secs(5);

/// How long a machine that was started is waited for where nobody says otherwise: an image that
/// has to be fetched again takes minutes.
const START_WITHIN: Duration = Duration::from_secs(600);

/// A start that takes longer mostly waits for processors that somebody else rents.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Waits for one machine.
#[derive(Debug)]
pub(super) struct Vigil {
    until: Duration,
    may_start: bool,
    /// When it was started.
    started: Option<Duration>,
    is_stall_told: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It runs.
    Go,
    /// It is to be started.
    Start,
    /// It is to be looked at again after [`POLL`].
    Wait,
    /// The same, and its start has taken so long that somebody should know.
    TellStall,
    /// It was waited for long enough.
    GiveUp,
}

/// How long a machine is waited for that does not run.
pub(super) fn patience(options: MachineOptions) -> Duration {
    let by_itself = if options.start { START_WITHIN } else { Duration::ZERO };
    options.wait.filter(|wait| !wait.is_zero()).unwrap_or(by_itself)
}

impl Vigil {
    /// Begins; `until` is when it ends.
    pub(super) fn new(until: Duration, may_start: bool) -> Self {
        Self { until, may_start, started: None, is_stall_told: false }
    }

    /// What follows from a machine's state, where that is known.
    pub(super) fn step(&mut self, state: Option<MachineState>, now: Duration) -> Step {
        if state == Some(MachineState::Running) {
            return Step::Go;
        }
        if now >= self.until {
            return Step::GiveUp;
        }
        if state == Some(MachineState::Stopped) && self.may_start && self.started.is_none() {
            self.started = Some(now);
            return Step::Start;
        }
        let has_stalled = |started: Duration| now.saturating_sub(started) >= STALLED_AFTER;
        if !self.is_stall_told && self.started.is_some_and(has_stalled) {
            self.is_stall_told = true;
            return Step::TellStall;
        }
        Step::Wait
    }

    /// The start was surely not heard.
    pub(super) fn was_not_started(&mut self) {
        self.started = None;
        self.may_start = false;
    }

    /// Whether a start was asked for, which is taken back where nobody waits for it any more: it
    /// would succeed some time, and cost from then on.
    pub(super) fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// How long until the next look.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        POLL.min(self.until.saturating_sub(now)).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MachineState::{HostOffline, Running, Starting, Stopped, Stopping, Unknown};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_machine_that_does_not_run_is_waited_for_as_long_as_was_asked() {
        for state in [Stopped, Stopping, Starting, HostOffline, Unknown] {
            let mut vigil = Vigil::new(at(20), false);
            assert_eq!(vigil.step(Some(state), at(0)), Step::Wait, "{state:?}");
            assert_eq!(vigil.step(None, at(10)), Step::Wait, "nobody knows");
            assert_eq!(vigil.step(Some(state), at(20)), Step::GiveUp, "{state:?}");
            assert_eq!(vigil.step(Some(Running), at(21)), Step::Go, "{state:?}");
            assert!(!vigil.has_started());
        }
    }

    #[test]
    fn a_stopped_machine_is_started_once_and_its_stall_told_once() {
        let mut vigil = Vigil::new(at(100), true);
        assert_eq!(vigil.step(Some(Starting), at(0)), Step::Wait, "somebody else started it");
        assert_eq!(vigil.step(Some(Stopped), at(5)), Step::Start);
        assert!(vigil.has_started());
        // What is read just after may be late.
        assert_eq!(vigil.step(Some(Stopped), at(10)), Step::Wait);
        assert_eq!(vigil.step(Some(Starting), at(34)), Step::Wait);
        assert_eq!(vigil.step(Some(Starting), at(35)), Step::TellStall);
        assert_eq!(vigil.step(Some(Starting), at(40)), Step::Wait);
        assert_eq!(vigil.step(Some(Starting), at(100)), Step::GiveUp);
    }

    #[test]
    fn looks_are_five_seconds_apart_and_the_last_is_at_the_end() {
        let vigil = Vigil::new(at(12), false);
        assert_eq!(vigil.pause(at(0)), POLL);
        assert_eq!(vigil.pause(at(10)), at(2));
        assert!(vigil.pause(at(12)) > Duration::ZERO);
    }

    #[test]
    fn a_start_has_a_bound_of_its_own() {
        let of = |start, wait| patience(MachineOptions { start, wait });
        assert_eq!(of(false, None), Duration::ZERO);
        assert_eq!(of(false, Some(at(9))), at(9));
        assert_eq!(of(true, None), START_WITHIN);
        assert_eq!(of(true, Some(Duration::ZERO)), START_WITHIN);
        assert_eq!(of(true, Some(at(9))), at(9));
    }
}
