//! How fast the path delivers, measured from what left and what was acknowledged
//!
//! A sample spans the time between a packet's departure and its acknowledgement and counts what
//! was delivered meanwhile. It is divided by the longer of the time it took to send and the time it
//! took to arrive, so that neither a burst sent at once nor acknowledgements that come in a clump
//! look faster than the path is.

use std::collections::VecDeque;
use std::time::Duration;

use super::rate::Rate;

/// Packets that leave within this of one another share one record: a rate is measured over
/// round trips of milliseconds, and a record for each packet of a long fast path would be many.
const SHARED: Duration = Duration::from_micros(200);

/// More records than a path of 1 Gbit/s and a second needs; beyond, the oldest go, and packets
/// without a record are counted but give no sample.
const RECORDS: usize = 16_384;

/// What was known when packets left
#[derive(Clone, Copy, Debug)]
struct Departure {
    at: Duration,
    delivered: u64,
    delivered_at: Duration,
    first_at: Duration,
    limited: bool,
}

/// What a batch of acknowledgements says
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Between the newest acknowledged packet's departure and now
    pub(super) rtt: Duration,
    /// None where that packet's departure was forgotten
    pub(super) rate: Option<Rate>,
    /// The sender had too little to send: the path may be faster than the rate
    pub(super) limited: bool,
    /// How much had been delivered when the newest acknowledged packet left
    pub(super) known: u64,
    /// Bytes that this batch acknowledged
    pub(super) bytes: u64,
}

/// Counts what is delivered, and takes a sample from each batch of acknowledgements
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    departures: VecDeque<Departure>,
    delivered: u64,
    delivered_at: Duration,
    /// When the newest acknowledged packet left
    first_at: Duration,
    /// Samples are limited until more than this was delivered: what leaves into an idle path too
    limited_until: Option<u64>,
    newest: Option<Duration>,
    batch: u64,
}

impl Delivery {
    /// Bytes acknowledged so far
    pub(super) fn total(&self) -> u64 {
        self.delivered
    }

    /// Packets left, with `in_flight` bytes out before them
    pub(super) fn departed(&mut self, now: Duration, in_flight: u64) {
        if in_flight == 0 {
            // The time in which nothing was out says nothing about the path.
            self.first_at = now;
            self.delivered_at = now;
        }
        if self.departures.back().is_some_and(|last| now < last.at + SHARED) {
            return;
        }
        if self.departures.len() == RECORDS {
            self.departures.pop_front();
        }
        self.departures.push_back(Departure {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_at: self.first_at,
            limited: self.limited_until.is_some_and(|until| self.delivered <= until),
        });
    }

    /// A packet that left at `sent` was acknowledged
    pub(super) fn acknowledged(&mut self, sent: Duration, bytes: u64) {
        self.delivered += bytes;
        self.batch += bytes;
        self.newest = self.newest.max(Some(sent));
    }

    /// The batch of acknowledgements is complete; `limited` says that the sender waits for the
    /// application, with `in_flight` bytes still out.
    pub(super) fn sample(
        &mut self,
        now: Duration,
        in_flight: u64,
        limited: bool,
    ) -> Option<Sample> {
        if limited {
            self.limited_until = Some(self.delivered + in_flight);
        }
        let sent = self.newest.take()?;
        let bytes = std::mem::take(&mut self.batch);
        let rtt = now.saturating_sub(sent);
        let after = self.departures.partition_point(|departure| departure.at <= sent);
        let departure = after.checked_sub(1).and_then(|at| self.departures.get(at)).copied();
        let rate = departure.and_then(|departure| {
            let sending = departure.at.saturating_sub(departure.first_at);
            let arriving = now.saturating_sub(departure.delivered_at);
            Rate::over(self.delivered - departure.delivered, sending.max(arriving))
        });
        self.delivered_at = now;
        self.first_at = self.first_at.max(sent);
        // Acknowledgements of packets that left long before the newest come late or never.
        while self.departures.front().is_some_and(|front| front.at + 2 * rtt < sent) {
            self.departures.pop_front();
        }
        Some(Sample {
            rtt,
            rate,
            limited: departure.is_none_or(|departure| departure.limited),
            known: departure.map_or(0, |departure| departure.delivered),
            bytes,
        })
    }
}
