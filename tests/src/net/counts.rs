//! What a link did

/// What a direction did until now, in packets where nothing else is said
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entered the link
    pub packets: u64,
    /// The same in bytes, headers of IP included
    pub bytes: u64,
    /// Given to the host at the other end
    pub delivered: u64,
    /// Lost by chance
    pub lost: u64,
    /// Dropped because the queue was full
    pub overflowed: u64,
    /// Dropped because the link is cut
    pub cut: u64,
    /// Dropped by a selection
    pub dropped: u64,
    /// Dropped because the device at the other end is down
    pub refused: u64,
    /// Dropped because they lead to a port that was given up by [`super::Link::rebind`]
    pub unsolicited: u64,
    /// Overtaken by later ones, if there were any
    pub reordered: u64,
    /// Sent twice
    pub duplicated: u64,
    /// A bit turned, with a checksum that is wrong then
    pub corrupted: u64,
    /// A bit turned, with a checksum that is right
    pub forged: u64,
    /// Rewritten by the map of ports
    pub remapped: u64,
    /// Rewritten to or from a port that [`super::Link::rebind`] gave
    pub rebound: u64,
}

impl Counts {
    /// How many have neither arrived nor been dropped
    pub fn under_way(&self) -> u64 {
        let gone = self.lost + self.overflowed + self.cut + self.dropped + self.unsolicited;
        self.packets + self.duplicated - self.delivered - self.refused - gone
    }
}
