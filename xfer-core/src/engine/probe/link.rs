//! How fast a link is: payload that means nothing goes over it for a while.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use xfer_protocol::limits::TRIAL_PAYLOAD_MAX;

use crate::clock::Clock;
use crate::endpoint::EndpointResult;
use crate::endpoint::filler::filler;
use crate::endpoint::remote::RemoteEndpoint;

/// Bytes of a piece at first and at least, and bytes on their way at first and at least: on a slow
/// link they are what is still under way when the time is over.
const PIECE_MIN: u32 = 16 << 10;
const WINDOW_MIN: u64 = 256 << 10;

/// Bytes on their way at most, as in a transfer.
const WINDOW_MAX: u64 = 64 << 20;

/// How long one piece takes on a link whose rate is known.
const PIECE_TIME: Duration = Duration::from_millis(10);

/// What is on its way lasts four round trips and this: the window is not what holds the rate down.
const WINDOW_TIME: Duration = Duration::from_millis(100);

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

/// Has payload flow one way until either bound is reached.
pub(super) async fn flow(
    remote: &Arc<RemoteEndpoint>,
    clock: &dyn Clock,
    direction: Direction,
    round_trip: Duration,
    bounds: Bounds,
) -> EndpointResult<Flow> {
    let mut meter = Meter::new(clock.elapsed(), round_trip);
    let mut under_way = FuturesUnordered::new();
    let (mut sent, mut on_its_way) = (0_u64, 0_u64);
    let deadline = tokio::time::sleep(bounds.time);
    tokio::pin!(deadline);
    loop {
        while sent < bounds.bytes && on_its_way < meter.window() {
            let left = u32::try_from(bounds.bytes - sent).unwrap_or(u32::MAX);
            let length = meter.piece().min(left);
            (sent, on_its_way) = (sent + u64::from(length), on_its_way + u64::from(length));
            under_way.push(piece(Arc::clone(remote), direction, length));
        }
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
        EndpointResult::Ok(())
    });
    drained.await.unwrap_or(Ok(()))?;
    Ok(Flow { rate, bytes: sent })
}

async fn piece(
    remote: Arc<RemoteEndpoint>,
    direction: Direction,
    length: u32,
) -> EndpointResult<u64> {
    match direction {
        Direction::Up => remote.sink(filler(length)).await?,
        Direction::Down => remote.supply(length).await?,
    }
    Ok(length.into())
}

/// Follows what lands.
struct Meter {
    began: Duration,
    round_trip: Duration,
    bytes: u64,
    window: u64,
    /// When how much had landed, at most once a millisecond.
    marks: Vec<(Duration, u64)>,
}

impl Meter {
    fn new(began: Duration, round_trip: Duration) -> Self {
        let marks = vec![(began, 0)];
        Self { began, round_trip, bytes: 0, window: WINDOW_MIN, marks }
    }

    fn landed(&mut self, now: Duration, bytes: u64) {
        self.bytes += bytes;
        // Doubles with each round trip, as a connection does, for as long as it is of use.
        let lasts = self.round_trip * 4 + WINDOW_TIME;
        let useful = within(self.average(now), lasts).clamp(WINDOW_MIN, WINDOW_MAX);
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
        let wanted = within(self.average(now), PIECE_TIME);
        u32::try_from(wanted).unwrap_or(u32::MAX).clamp(PIECE_MIN, TRIAL_PAYLOAD_MAX)
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
        let mut meter = Meter::new(Duration::from_secs(5), MILLI);
        for step in 1..=300_u32 {
            let bytes = if step <= 100 { 1_000 } else { 10_000 };
            meter.landed(Duration::from_secs(5) + MILLI * step, bytes);
        }
        let rate = meter.rate();
        assert!((9_900_000..=10_100_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_single_piece_has_a_rate_and_none_has_not() {
        let mut meter = Meter::new(Duration::ZERO, MILLI);
        assert_eq!(meter.rate(), 0);
        meter.landed(Duration::from_millis(500), 1_000_000);
        assert_eq!(meter.rate(), 2_000_000);
    }

    #[test]
    fn a_slow_link_gets_little_and_a_fast_one_much() {
        let after_a_second = |rate: u64| {
            let mut meter = Meter::new(Duration::ZERO, MILLI * 20);
            (1..=1000).for_each(|step| meter.landed(MILLI * step, rate / 1000));
            (meter.piece(), meter.window())
        };
        assert_eq!(after_a_second(125_000), (PIECE_MIN, WINDOW_MIN));
        let (piece, window) = after_a_second(1_000_000_000);
        assert_eq!((piece, window), (TRIAL_PAYLOAD_MAX, WINDOW_MAX));
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
