//! How much a connection keeps in flight
//!
//! [`Congestion::Measured`] holds the window at the measured product of delivery rate and round
//! trip and takes no notice of the few packets in a hundred that long paths lose by themselves;
//! [`Congestion::Cubic`] is quinn's own, for paths where a loss does mean a full queue.

mod controller;
mod delivery;
mod highest;
mod model;
mod phase;
mod rate;
mod round;
#[cfg(test)]
mod simulated;
mod surplus;

use std::sync::Arc;

use quinn::congestion::{ControllerFactory, CubicConfig};

use controller::Measured;

/// How a connection decides how much may be in flight
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// By the measured delivery rate and round trip; the default
    #[default]
    Measured,
    /// CUBIC: by loss
    Cubic,
}

impl Congestion {
    /// What makes a controller for each connection
    pub fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Measured => Arc::new(Measured),
            Self::Cubic => Arc::new(CubicConfig::default()),
        }
    }
}
