//! More logins than a clean link wants, where each connection is bound by the packets that it loses.
//!
//! What the far side sends goes by its congestion control and not by ours, and most of those take
//! a lost packet for a full link. Connections that lose packets apart from each other carry as much
//! more as there are more of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt, iter};

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
        let Some(mut queue) = self.queue() else { return Ok(()) };
        let There { mut logins, mut last } = there;
        let mut tuner = Tuner::new(logins, LOGINS_MAX, remote.round_trip()).stepping_by(FACTOR);
        // Streams that are in use where others rest, and those of the logins that were enough.
        let (mut limit, mut enough) = (None, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            queue.look();
            let is_busy = remote.is_moving() && remote.streams(Tier::Direct) == 0;
            let moved = remote.moved_bytes(Tier::Beside) + remote.moved_bytes(Tier::First);
            let Some(step) = tuner.sample(self.clock.elapsed(), moved, is_busy) else { continue };
            if step.to > step.from {
                if !queue.is_loss_the_bound(step.rate / step.from.max(1) as u64) {
                    tuner.has(step.from, self.clock.elapsed());
                    continue;
                }
                self.tell_of(step.told("logins"));
                enough = limit.take().unwrap_or_else(|| remote.streams(Tier::Beside));
                remote.use_streams(Tier::Beside, limit);
                let more = last + 1..last + 1 + step.to.saturating_sub(logins);
                last = more.end - 1;
                logins += self.log_in_more(remote, more).await?;
                tuner.has(step.to.min(logins), self.clock.elapsed());
            } else if step.to < step.from {
                self.tell_of(step.told("logins"));
                limit = Some(enough);
                remote.use_streams(Tier::Beside, limit);
            }
        }
    }

    /// Makes a login for each of these streams, a few at a time, and tells how many there are.
    pub(super) async fn log_in_more(
        &self,
        remote: &RemoteEndpoint,
        streams: Range<usize>,
    ) -> Result<usize, SshError> {
        let one = |number| async move {
            let ssh = self.next(number);
            tokio::time::sleep(backoff(1, PAUSE, ssh.seed)).await;
            let login = self.first.again(&ssh).await?;
            let (options, start) = (&self.options, &self.start);
            Ok(join_streams(&login, options, start, remote, number..=number).await)
        };
        let joined = iter(streams.map(one)).buffer_unordered(AT_ONCE);
        joined.try_fold(0, |all, joined| async move { Ok(all + joined) }).await
    }

    /// That of the first login, where its delay is known and long enough to be felt.
    pub(super) fn queue(&self) -> Option<Queue> {
        let least = self.first.round_trip().filter(|delay| *delay >= DELAY_MIN)?;
        let delays = Delays { least, lately: VecDeque::new() };
        Some(Queue { gauge: self.first.gauge()?, delays })
    }

    fn tell_of(&self, reason: String) {
        let (kind, place) = ("ssh", self.place.clone());
        let trial = RouteTrial { kind, place, decision: RouteDecision::Tuned, reason };
        self.observer.observe(&Event::RouteTrial(trial));
    }
}

/// Whether packets queue on the way: then the link is full, and more connections share what it has.
pub(super) struct Queue {
    gauge: Gauge,
    delays: Delays,
}

impl Queue {
    /// Asks the system once more.
    pub(super) fn look(&mut self) {
        self.delays.note(self.gauge.read().map(|reading| reading.round_trip));
    }

    pub(super) fn is_there(&self) -> bool {
        self.delays.have_grown()
    }

    /// Whether a connection of this rate is bound by what it loses.
    fn is_loss_the_bound(&self, rate: u64) -> bool {
        !self.is_there() && self.delays.holds(rate) <= HELD_MAX
    }
}

/// What a packet and its answer took lately.
struct Delays {
    /// Where nothing queues.
    least: Duration,
    lately: VecDeque<Duration>,
}

impl Delays {
    fn note(&mut self, delay: Option<Duration>) {
        self.lately.extend(delay);
        while self.lately.len() > READINGS {
            self.lately.pop_front();
        }
    }

    /// All of them: a queue that empties now and then does not keep a link full.
    fn have_grown(&self) -> bool {
        let bound = self.least + self.least / 4 + NO_QUEUE;
        self.lately.iter().min().is_some_and(|delay| *delay > bound)
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
        lately.iter().for_each(|delay| delays.note(Some(Duration::from_millis(*delay))));
        delays
    }

    #[test]
    fn a_link_is_full_where_every_packet_waits() {
        for (least, lately, is_full) in [
            (50, &[][..], false),
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
