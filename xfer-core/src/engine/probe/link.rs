//! How fast a link is: payload that means nothing goes over it for a while.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use xfer_protocol::limits::TRIAL_PAYLOAD_MAX;

use crate::clock::Clock;
use crate::endpoint::EndpointResult;
use crate::endpoint::filler::filler;
use crate::endpoint::remote::RemoteEndpoint;

/// How payload is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Bytes of a piece, from what it has at first on.
    pub(super) bytes: (u32, u32),
    /// How long one takes once the rate is known.
    pub(super) lasts: Duration,
    /// Bytes on their way, from what is at first on: on a slow link that is what is still under way
    /// when the time is over.
    pub(super) window: (u64, u64),
    /// What is on its way lasts four round trips and this: the window is not what holds the rate
    /// down.
    pub(super) window_lasts: Duration,
}

/// Of a session, as in a transfer.
const OF_SESSION: Pieces = Pieces {
    bytes: (16 << 10, TRIAL_PAYLOAD_MAX),
    lasts: Duration::from_millis(10),
    window: (256 << 10, 64 << 20),
    window_lasts: Duration::from_millis(100),
};

/// The part of the time in which a connection finds its rate, and which does not count.
const WARMING: u32 = 3;

/// How long what is under way may take to arrive once the time is over.
const DRAINED_WITHIN: Duration = Duration::from_secs(2);

/// Which way payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// What a measurement may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) time: Duration,
    pub(super) bytes: u64,
}

/// What payload did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// Bytes a second, once the connection had found its rate; 0 where nothing arrived.
    pub(super) rate: u64,
    /// Bytes that were moved, those included that did not count.
    pub(super) bytes: u64,
    /// Pieces that were under way at a time at most.
    pub(super) at_once: usize,
}

/// Round trips of requests with next to no payload, on the way that payload takes.
pub(super) async fn round_trips(
    remote: &RemoteEndpoint,
    clock: &dyn Clock,
    count: usize,
    time: Duration,
) -> EndpointResult<Vec<Duration>> {
    let (began, mut found) = (clock.elapsed(), Vec::new());
    while found.is_empty() || found.len() < count && clock.elapsed() - began < time {
        let asked = clock.elapsed();
        remote.sink(filler(1)).await?;
        found.push(clock.elapsed().saturating_sub(asked));
    }
    Ok(found)
}

/// The middle of some times, and how far neighbours are apart on average.
pub(super) fn middle_and_jitter(times: &[Duration]) -> Option<(Duration, Duration)> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = *sorted.get(sorted.len() / 2)?;
    let apart: Duration = times.windows(2).map(|pair| pair[0].abs_diff(pair[1])).sum();
    let pairs = u32::try_from(times.len() - 1).unwrap_or(u32::MAX).max(1);
    Some((middle, apart / pairs))
}

/// Has payload flow one way of a session until either bound is reached.
pub(super) async fn session_flow(
    remote: &Arc<RemoteEndpoint>,
    clock: &dyn Clock,
    direction: Direction,
    round_trip: Duration,
    bounds: Bounds,
) -> EndpointResult<Flow> {
    let pass = |length| {
        let remote = Arc::clone(remote);
        async move {
            match direction {
                Direction::Up => remote.sink(filler(length)).await,
                Direction::Down => remote.supply(length).await,
            }
        }
    };
    flow(clock, OF_SESSION, round_trip, bounds, pass).await
}

/// Has pieces pass until either bound is reached, or one of them fails.
pub(super) async fn flow<W, E>(
    clock: &dyn Clock,
    pieces: Pieces,
    round_trip: Duration,
    bounds: Bounds,
    mut pass: impl FnMut(u32) -> W,
) -> Result<Flow, E>
where
    W: Future<Output = Result<(), E>>,
{
    let mut meter = Meter::new(clock.elapsed(), pieces, round_trip);
    let mut under_way = FuturesUnordered::new();
    let (mut sent, mut on_its_way, mut at_once) = (0_u64, 0_u64, 0);
    let deadline = tokio::time::sleep(bounds.time);
    tokio::pin!(deadline);
    loop {
        while sent < bounds.bytes && on_its_way < meter.window() {
            let left = u32::try_from(bounds.bytes - sent).unwrap_or(u32::MAX);
            let length = meter.piece().min(left);
            (sent, on_its_way) = (sent + u64::from(length), on_its_way + u64::from(length));
            let passed = pass(length);
            under_way.push(async move { passed.await.map(|()| u64::from(length)) });
        }
        at_once = at_once.max(under_way.len());
        tokio::select! {
            () = &mut deadline => break,
            landed = under_way.next() => match landed {
                Some(landed) => {
                    let length = landed?;
                    on_its_way -= length;
                    meter.landed(clock.elapsed(), length);
                }
                None => break,
            },
        }
    }
    let rate = meter.rate();
    // What is still under way would be measured with what comes next.
    let patience = DRAINED_WITHIN.max(round_trip * 4);
    let drained = tokio::time::timeout(patience, async {
        while let Some(landed) = under_way.next().await {
            landed?;
        }
        Ok(())
    });
    drained.await.unwrap_or(Ok(()))?;
    Ok(Flow { rate, bytes: sent, at_once })
}

/// Follows what lands.
struct Meter {
    pieces: Pieces,
    began: Duration,
    round_trip: Duration,
    bytes: u64,
    window: u64,
    /// When how much had landed, at most once a millisecond.
    marks: Vec<(Duration, u64)>,
}

impl Meter {
    fn new(began: Duration, pieces: Pieces, round_trip: Duration) -> Self {
        let (marks, window) = (vec![(began, 0)], pieces.window.0);
        Self { pieces, began, round_trip, bytes: 0, window, marks }
    }

    fn landed(&mut self, now: Duration, bytes: u64) {
        self.bytes += bytes;
        // Doubles with each round trip, as a connection does, for as long as it is of use.
        let lasts = self.round_trip * 4 + self.pieces.window_lasts;
        let (least, most) = self.pieces.window;
        let useful = within(self.average(now), lasts).clamp(least, most);
        self.window = (self.window + bytes).min(useful.max(self.window));
        match self.marks.last_mut() {
            Some(mark) if now.saturating_sub(mark.0) < Duration::from_millis(1) => {
                mark.1 = self.bytes;
            }
            _ => self.marks.push((now, self.bytes)),
        }
    }

    fn window(&self) -> u64 {
        self.window
    }

    /// Bytes of the next piece.
    fn piece(&self) -> u32 {
        let now = self.marks.last().map_or(self.began, |mark| mark.0);
        let wanted = within(self.average(now), self.pieces.lasts);
        let (least, most) = self.pieces.bytes;
        u32::try_from(wanted).unwrap_or(u32::MAX).clamp(least, most)
    }

    fn average(&self, now: Duration) -> u64 {
        per_second(self.bytes, now.saturating_sub(self.began))
    }

    /// Bytes a second after the first part of the time.
    fn rate(&self) -> u64 {
        let Some(&(last, bytes)) = self.marks.last() else { return 0 };
        let from = self.began + last.saturating_sub(self.began) / WARMING;
        let warm = self.marks.iter().find(|mark| mark.0 >= from).filter(|mark| mark.0 < last);
        let &(since, before) = warm.unwrap_or(&(self.began, 0));
        per_second(bytes - before, last.saturating_sub(since))
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let rate = u128::from(bytes) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn within(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_micros() / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn the_time_in_which_a_connection_warms_up_does_not_count() {
        let mut meter = Meter::new(Duration::from_secs(5), OF_SESSION, MILLI);
        for step in 1..=300_u32 {
            let bytes = if step <= 100 { 1_000 } else { 10_000 };
            meter.landed(Duration::from_secs(5) + MILLI * step, bytes);
        }
        let rate = meter.rate();
        assert!((9_900_000..=10_100_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_single_piece_has_a_rate_and_none_has_not() {
        let mut meter = Meter::new(Duration::ZERO, OF_SESSION, MILLI);
        assert_eq!(meter.rate(), 0);
        meter.landed(Duration::from_millis(500), 1_000_000);
        assert_eq!(meter.rate(), 2_000_000);
    }

    #[test]
    fn a_slow_link_gets_little_and_a_fast_one_much() {
        let after_a_second = |rate: u64| {
            let mut meter = Meter::new(Duration::ZERO, OF_SESSION, MILLI * 20);
            (1..=1000).for_each(|step| meter.landed(MILLI * step, rate / 1000));
            (meter.piece(), meter.window())
        };
        assert_eq!(after_a_second(125_000), (OF_SESSION.bytes.0, OF_SESSION.window.0));
        let (piece, window) = after_a_second(1_000_000_000);
        assert_eq!((piece, window), (OF_SESSION.bytes.1, OF_SESSION.window.1));
        let (_, window) = after_a_second(12_500_000);
        assert!((2_000_000..2_500_000).contains(&window), "{window}");
    }

    #[test]
    fn the_middle_bears_an_outlier_and_jitter_tells_of_it() {
        let times = [20, 21, 20, 120, 20].map(Duration::from_millis);
        let (middle, jitter) = middle_and_jitter(&times).unwrap();
        assert_eq!((middle, jitter), (MILLI * 20, MILLI * 202 / 4));
        assert_eq!(middle_and_jitter(&[]), None);
        assert_eq!(middle_and_jitter(&times[..1]), Some((MILLI * 20, Duration::ZERO)));
    }
}
