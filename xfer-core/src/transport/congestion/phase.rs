//! What the window is doing: finding the rate, or holding it and asking for more now and then

use std::time::Duration;

use super::model::{Model, SHORTEST_HOLDS};
use super::rate::Rate;
use super::round::Round;

/// How long little is in flight while the shortest round trip is measured anew.
const MEASURE: Duration = Duration::from_millis(200);

/// Rounds without growth after which the rate is taken for the path's.
const PLATEAU: u8 = 3;

/// Rounds at over twice the shortest round trip after which the way itself may have grown: fewer
/// than the rate is remembered for.
const FAR_ROUNDS: u64 = 4;

/// What the window is doing
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Doubles each round until the rate stops growing
    Startup {
        /// The rate when it last grew by a quarter
        best: Rate,
        /// Rounds since
        rounds: u8,
    },
    /// Lets the queue run empty
    Drain,
    /// Asks for a quarter more, for as long as it takes to be seen
    Raise {
        /// The round in which the raised window began
        since: u64,
    },
    /// Holds the rate
    Cruise {
        /// The round in which the next raise begins
        until: u64,
    },
    /// An eighth of the window, so that the round trip shows without the queue
    Measure {
        /// When it ends; known once so little is in flight
        until: Option<Duration>,
    },
}

impl Phase {
    pub(super) fn startup() -> Self {
        Self::Startup { best: Rate::default(), rounds: 0 }
    }

    /// The phase after a batch of acknowledgements; `ended` is the round that it ended
    pub(super) fn after(
        self,
        model: &mut Model,
        now: Duration,
        ended: Option<Round>,
        limited: bool,
    ) -> Self {
        let settled = !matches!(self, Self::Startup { .. } | Self::Measure { .. });
        let stale = now > model.shortest_at + SHORTEST_HOLDS || model.far_rounds >= FAR_ROUNDS;
        if settled && stale {
            return Self::Measure { until: None };
        }
        match self {
            Self::Startup { best, rounds } => match ended {
                Some(round) if !limited => Self::grown(model, round, best, rounds),
                _ => self,
            },
            Self::Drain if model.in_flight <= model.window() => {
                // Senders that share a path should not all raise at once; what was
                // delivered differs between them.
                let rounds = 4 + model.delivered() / model.mtu % 4;
                Self::Cruise { until: model.round.count + rounds }
            }
            Self::Drain => self,
            Self::Cruise { until } if model.round.count >= until => {
                Self::Raise { since: model.round.count }
            }
            Self::Cruise { .. } => self,
            // The first round still acknowledges what left before the raise.
            Self::Raise { since } => match ended {
                Some(round) if round.count > since || round.excess(model.mtu) => {
                    model.raised(round.excess(model.mtu));
                    Self::Drain
                }
                _ => self,
            },
            Self::Measure { until: None } if model.in_flight <= model.window() => {
                Self::Measure { until: Some(now + MEASURE) }
            }
            Self::Measure { until: Some(until) } if now >= until && ended.is_some() => {
                model.renew_shortest(now);
                Self::Cruise { until: model.round.count }
            }
            Self::Measure { .. } => self,
        }
    }

    fn grown(model: &Model, round: Round, best: Rate, rounds: u8) -> Self {
        // Handshakes and greetings leave the window all but empty: their rate is not the path's.
        if 2 * round.most < model.window() {
            return Self::Startup { best, rounds };
        }
        let rate = model.rate();
        if rate >= best.percent(125) {
            return Self::Startup { best: rate, rounds: 0 };
        }
        let rounds = rounds + 1;
        if rounds >= PLATEAU || model.queued(&round) || round.excess(model.mtu) {
            return Self::Drain;
        }
        Self::Startup { best, rounds }
    }

    /// A marked packet ends what asks for more
    pub(super) fn after_mark(self) -> Self {
        match self {
            Self::Startup { .. } | Self::Raise { .. } => Self::Drain,
            _ => self,
        }
    }
}
