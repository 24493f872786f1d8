//! What a link does to packets

use std::time::Duration;

use super::selection::Selection;

/// Least room of a queue whose length is not given, in bytes
const QUEUE_LEAST: u64 = 256 << 10;

/// What happens to packets of one direction
///
/// The default is a link without delay or limit that harms nothing. Shares are of 1, so that 0.01
/// is one packet in a hundred.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weather {
    /// How long a packet is under way after it was serialised
    pub delay: Duration,
    /// Bytes a second, headers of IP included; 0 is no limit
    pub rate: u64,
    /// Bytes that may wait to be serialised before more are dropped; by default what the rate
    /// carries in two delays, and at least 256 KiB
    pub queue: Option<u64>,
    /// The share of packets lost
    pub loss: f64,
    /// How many packets are lost in a row on average; up to 1 each is lost by itself
    pub burst: f64,
    /// The share of packets held for [`Weather::reorder_by`] more, so that later ones overtake them
    pub reorder: f64,
    /// How long those are held
    pub reorder_by: Duration,
    /// The share of packets that arrive twice
    pub duplicate: f64,
    /// How long after the first the second arrives
    pub duplicate_after: Duration,
    /// The share of packets in whose payload a bit turns over, which their checksum tells
    pub corrupt: f64,
    /// The share of packets in whose payload a bit turns over, with the checksum made right, so
    /// that a program receives it
    pub forge: f64,
    /// The packets to which the shares above apply; by default all
    pub only: Selection,
    /// What is dropped without a word
    pub drops: Vec<Selection>,
    /// Packets arrive together at multiples of this time, with silence between; 0 is at once
    pub gather: Duration,
    /// Nothing passes
    pub cut: bool,
}

impl Weather {
    /// Half of the round trip in each direction
    #[must_use]
    pub fn round_trip(mut self, time: Duration) -> Self {
        self.delay = time / 2;
        self
    }

    /// Millions of bits a second; 0 is no limit
    #[must_use]
    pub fn megabits(mut self, rate: u64) -> Self {
        self.rate = rate * 1_000_000 / 8;
        self
    }

    /// The share of packets lost, each by itself
    #[must_use]
    pub fn loss(mut self, share: f64) -> Self {
        self.loss = share;
        self
    }

    /// Bytes that may wait to be serialised
    pub fn room(&self) -> u64 {
        let product = || {
            let bytes = u128::from(self.rate) * self.delay.as_micros() * 2 / 1_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX).max(QUEUE_LEAST)
        };
        self.queue.unwrap_or_else(product)
    }

    /// Whether any packet is treated other than the rest
    pub(super) fn harms(&self) -> bool {
        self.cut || !self.drops.is_empty() || self.alters()
    }

    /// Whether it looks into packets, changes them, or sends one twice
    pub(super) fn looks_inside(&self) -> bool {
        let shares = [self.duplicate, self.corrupt, self.forge];
        let all = Selection::default();
        !self.drops.is_empty() || self.only != all || shares.iter().any(|share| *share > 0.0)
    }

    /// Whether any share is above 0
    pub(super) fn alters(&self) -> bool {
        let shares = [self.loss, self.reorder, self.duplicate, self.corrupt, self.forge];
        shares.iter().any(|share| *share > 0.0)
    }
}
