//! Routes that came about and did not last: the next one is tried first.
//!
//! What lets a handshake pass may still stop what follows, and would be the first to answer again.

use std::collections::HashMap;
use std::time::Duration;

use super::candidates::Candidate;

/// For how long such a route is passed over.
const LEFT_FOR: Duration = Duration::from_secs(60);

/// A route that carried so many bytes is worth another try, once.
const CARRIED: u64 = 1 << 20;

/// A route that was lost.
#[derive(Debug)]
struct Loss {
    at: Duration,
    forgiven: bool,
}

/// What was lost, and when.
#[derive(Debug, Default)]
pub(super) struct Left(HashMap<Candidate, Loss>);

impl Left {
    /// Notes that a route was lost which had carried so many bytes.
    pub(super) fn note(&mut self, candidate: Candidate, carried: u64, now: Duration) {
        let again = self.0.get(&candidate).is_some_and(|loss| loss.is_recent(now));
        self.0.insert(candidate, Loss { at: now, forgiven: carried >= CARRIED && !again });
    }

    /// Whether the route is to be passed over.
    pub(super) fn holds(&self, candidate: &Candidate, now: Duration) -> bool {
        self.0.get(candidate).is_some_and(|loss| !loss.forgiven && loss.is_recent(now))
    }

    /// Whether no route was ever lost, so that waiting brings none back.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Loss {
    fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < LEFT_FOR
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::data_port::Carrier;

    use super::*;

    fn candidate(carrier: Carrier) -> Candidate {
        Candidate { carrier, address: ([192, 0, 2, 1], 1).into() }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_route_that_carried_nothing_is_passed_over_for_a_while_and_no_other() {
        let (tcp, udp) = (candidate(Carrier::Tcp), candidate(Carrier::Udp));
        let mut left = Left::default();
        assert!(left.is_empty() && !left.holds(&tcp, at(0)));
        left.note(tcp.clone(), CARRIED - 1, at(100));
        assert!(left.holds(&tcp, at(159)) && !left.holds(&udp, at(159)));
        assert!(!left.holds(&tcp, at(160)) && !left.is_empty());
    }

    #[test]
    fn a_route_that_carried_something_is_taken_again_once_a_while() {
        let tcp = candidate(Carrier::Tcp);
        let mut left = Left::default();
        left.note(tcp.clone(), CARRIED, at(100));
        assert!(!left.holds(&tcp, at(100)));
        left.note(tcp.clone(), u64::MAX, at(159));
        assert!(left.holds(&tcp, at(159)));
        left.note(tcp.clone(), CARRIED, at(219));
        assert!(!left.holds(&tcp, at(219)));
    }
}
