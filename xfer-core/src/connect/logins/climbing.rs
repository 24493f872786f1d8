//! More logins than a clean link wants, where each connection is bound by the packets it loses.
//!
//! What the far side sends goes by its congestion control and not by ours, and most of those take
//! a lost packet for a full link. Connections that lose packets apart from each other carry as much
//! more as there are more of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{StreamExt, iter};

use super::{Further, LOOK, There, join_streams};
use crate::clock::backoff;
use crate::connect::tuner::Tuner;
use crate::endpoint::remote::{RemoteEndpoint, Tier};
use crate::event::{Event, RouteDecision, RouteTrial};
use crate::transport::gauge::Gauge;
use crate::transport::ssh::SshError;

/// Logins at most, the first among them.
const LOGINS_MAX: usize = 64;

/// Logins that are made at a time: a server that minds strangers begins to at ten.
const AT_ONCE: usize = 8;

/// The longest pause before each of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Each step makes so many of one: to be found too many takes as long as to be found too few.
const FACTOR: usize = 4;

/// Round trips of less than this are no link whose losses are felt.
const DELAY_MIN: Duration = Duration::from_millis(5);

/// What a connection that is bound by loss has on its way at most: at one lost packet in ten
/// thousand it is 180 kB.
const HELD_MAX: u64 = 256 << 10;

/// Readings of the delay that are looked at together.
const READINGS: usize = 4;

/// Beside a quarter of the delay, what is no queue yet.
const NO_QUEUE: Duration = Duration::from_millis(2);

impl Further {
    /// Makes more logins for as long as they make the transfer faster.
    ///
    /// # Errors
    /// The first login that was refused; there will be no more then.
    pub(super) async fn climb(
        &self,
        remote: &RemoteEndpoint,
        there: There,
    ) -> Result<(), SshError> {
        let Some(mut link) = self.link() else { return Ok(()) };
        let There { mut logins, mut last } = there;
        let begun =
            |logins| Tuner::new(logins, LOGINS_MAX, remote.round_trip()).stepping_by(FACTOR);
        let mut tuner = begun(logins);
        // Streams that are in use where others rest, and those of the logins that were enough.
        let (mut limit, mut enough) = (None, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            link.look();
            let is_busy = remote.is_moving() && remote.streams(Tier::Direct) == 0;
            let moved = remote.moved_bytes(Tier::Beside) + remote.moved_bytes(Tier::First);
            let Some(step) = tuner.sample(self.clock.elapsed(), moved, is_busy) else { continue };
            if step.to > step.from {
                if !link.binds_by_loss(step.rate / step.from.max(1) as u64) {
                    // It may do so at any time.
                    tuner = begun(step.from);
                    continue;
                }
                self.tell_of(step.told("logins"));
                enough = limit.take().unwrap_or_else(|| remote.streams(Tier::Beside));
                remote.use_streams(Tier::Beside, limit);
                let more = last + 1..last + 1 + step.to.saturating_sub(logins);
                if !more.is_empty() {
                    last = more.end - 1;
                    let joined = self.log_in_more(remote, more).await?;
                    if joined == 0 {
                        return Ok(());
                    }
                    logins += joined;
                }
                link.begin();
                tuner.has(step.to.min(logins), self.clock.elapsed());
            } else if step.to < step.from {
                self.tell_of(step.told("logins"));
                limit = Some(enough.max(1));
                remote.use_streams(Tier::Beside, limit);
            }
        }
    }

    /// Makes a login for each of these streams, a few at a time, and tells how many there are.
    ///
    /// # Errors
    /// Why none came about.
    pub(super) async fn log_in_more(
        &self,
        remote: &RemoteEndpoint,
        streams: Range<usize>,
    ) -> Result<usize, SshError> {
        let one = |number| async move {
            let ssh = self.next(number).side_by_side();
            tokio::time::sleep(backoff(1, PAUSE, ssh.seed)).await;
            let login = self.first.again(&ssh).await?;
            let (options, start) = (&self.options, &self.start);
            Ok(join_streams(&login, options, start, remote, number..=number).await)
        };
        let (mut joined, mut refused) = (0, None);
        let mut made = pin!(iter(streams.map(one)).buffer_unordered(AT_ONCE));
        while let Some(one) = made.next().await {
            match one {
                Ok(streams) => joined += streams,
                // One that a link lost says nothing of the others; a server that is full does.
                Err(error) => {
                    let is_full = matches!(error, SshError::Busy { .. });
                    refused = Some(error);
                    if is_full {
                        break;
                    }
                }
            }
        }
        refused.filter(|_| joined == 0).map_or(Ok(joined), Err)
    }

    /// What the first login's packets tell of the link, where its delay is known and long enough to
    /// be felt.
    pub(super) fn link(&self) -> Option<Link> {
        let least = self.first.round_trip().filter(|delay| *delay >= DELAY_MIN)?;
        let delays = Delays { least, lately: VecDeque::new() };
        Some(Link { gauge: self.first.gauge()?, delays, lost: 0, lost_before: 0 })
    }

    fn tell_of(&self, reason: String) {
        let (kind, place) = ("ssh", self.place.clone());
        let trial = RouteTrial { kind, place, decision: RouteDecision::Tuned, reason };
        self.observer.observe(&Event::RouteTrial(trial));
    }
}

/// What packets on the way tell of it. Where they queue it is full, and more connections share what
/// it has; where none is lost, something else binds them.
pub(super) struct Link {
    gauge: Gauge,
    delays: Delays,
    lost: u64,
    lost_before: u64,
}

impl Link {
    /// Asks the system once more.
    pub(super) fn look(&mut self) {
        let Some(reading) = self.gauge.read() else { return };
        self.delays.note(reading.round_trip);
        self.lost = reading.lost_packets + reading.disordered_packets;
    }

    /// What is lost from now on is lost by the connections that there are now.
    fn begin(&mut self) {
        self.lost_before = self.lost;
    }

    pub(super) fn loses_and_is_not_full(&self) -> bool {
        self.lost > self.lost_before && !self.delays.have_grown()
    }

    /// Whether a connection of this rate is bound by what it loses.
    fn binds_by_loss(&self, rate: u64) -> bool {
        self.loses_and_is_not_full() && self.delays.holds(rate) <= HELD_MAX
    }
}

/// What a packet and its answer took lately.
struct Delays {
    /// Where nothing queues.
    least: Duration,
    lately: VecDeque<Duration>,
}

impl Delays {
    fn note(&mut self, delay: Duration) {
        self.lately.push_back(delay);
        while self.lately.len() > READINGS {
            self.lately.pop_front();
        }
    }

    /// All of them: a queue that empties now and then does not keep a link full. Where none is
    /// known they may have.
    fn have_grown(&self) -> bool {
        let bound = self.least + self.least / 4 + NO_QUEUE;
        self.lately.iter().min().is_none_or(|delay| *delay > bound)
    }

    /// Bytes on their way at this rate.
    fn holds(&self, rate: u64) -> u64 {
        let bytes = u128::from(rate) * self.least.as_micros() / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(least: u64, lately: &[u64]) -> Delays {
        let mut delays =
            Delays { least: Duration::from_millis(least), lately: VecDeque::default() };
        lately.iter().for_each(|delay| delays.note(Duration::from_millis(*delay)));
        delays
    }

    #[test]
    fn a_link_is_full_where_every_packet_waits() {
        for (least, lately, is_full) in [
            (50, &[][..], true),
            (50, &[50, 52, 51, 54], false),
            // Full, and a queue of one bandwidth-delay product that a sender has just left room in.
            (50, &[100, 95, 90, 70], true),
            // It was.
            (50, &[100, 60, 100, 100], false),
            (50, &[51, 100, 100, 100, 100], true),
            // What a busy machine takes.
            (10, &[13, 14, 13, 14], false),
            (10, &[15, 16, 17, 18], true),
        ] {
            assert_eq!(of(least, lately).have_grown(), is_full, "{least}, {lately:?}");
        }
    }

    #[test]
    fn what_is_on_its_way_is_rate_times_delay() {
        assert_eq!(of(100, &[]).holds(2_000_000), 200_000);
        assert_eq!(of(100, &[]).holds(u64::MAX), u64::MAX / 10);
    }
}
