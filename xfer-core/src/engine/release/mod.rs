//! Releasing a machine: what is collected for a verdict, and the destruction that a token allows.

mod destroy;
mod identity;
mod look;
mod quick;

use crate::clock::Clock;
use crate::gate::evidence::Moment;

pub use destroy::{Destroyed, Destruction, FOLLOWED, destroy};
pub use look::look;

/// Now, by both clocks.
#[must_use]
pub fn moment(clock: &dyn Clock) -> Moment {
    Moment { day: clock.now().seconds, boot: clock.since_boot() }
}
