//! What one round trip was like

use std::time::Duration;

use super::rate::Rate;

/// Hundredths of a round's bytes that may be lost before it is taken for congestion. Radio links
/// and long paths lose a few in a hundred at any rate; a full queue loses as much as the sender
/// exceeds the path.
const EXCESS: u64 = 8;

/// Lost packets in one round below which their share says nothing.
const EXCESS_PACKETS: u64 = 16;

/// One round trip: from a packet's departure until its acknowledgement
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    pub(super) count: u64,
    /// The round ends when a packet is acknowledged that left after this much was delivered.
    pub(super) ends_at: u64,
    pub(super) shortest: Option<Duration>,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) best: Rate,
    /// The most that was in flight
    pub(super) most: u64,
}

impl Round {
    /// Too much was lost for it to be the path's own loss
    pub(super) fn excess(&self, mtu: u64) -> bool {
        self.lost >= EXCESS_PACKETS * mtu && 100 * self.lost > EXCESS * (self.lost + self.delivered)
    }
}
