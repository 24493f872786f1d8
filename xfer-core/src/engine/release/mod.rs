//! Releasing a machine: what is collected for a verdict, and the destruction that a token allows.

mod identity;
mod quick;

use crate::clock::Clock;
use crate::gate::evidence::Moment;

/// Now, by both clocks.
pub(crate) fn moment(clock: &dyn Clock) -> Moment {
    Moment { day: clock.now().seconds, boot: clock.since_boot() }
}
