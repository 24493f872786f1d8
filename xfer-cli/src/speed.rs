//! How fast bytes move: lately, and since the first of them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::output::amounts;

/// The time that "lately" spans.
const WINDOW: Duration = Duration::from_secs(3);

/// Samples closer than this tell nothing new.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Samples of a growing count.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    samples: VecDeque<(Duration, u64)>,
    began: Option<(Duration, u64)>,
    latest: (Duration, u64),
}

impl Speed {
    /// Adds a sample.
    pub(crate) fn record(&mut self, at: Duration, bytes: u64) {
        if self.began.is_none() && bytes > 0 {
            self.began = Some(self.latest);
        }
        self.latest = (at, bytes);
        if self.samples.back().is_none_or(|(last, _)| at >= *last + SAMPLE_EVERY) {
            self.samples.push_back((at, bytes));
        }
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW <= at {
            self.samples.pop_front();
        }
    }

    /// Bytes a second over the last three seconds.
    pub(crate) fn now(&self) -> u64 {
        self.since(self.samples.front().copied())
    }

    /// Bytes a second since the first byte.
    pub(crate) fn average(&self, at: Duration) -> u64 {
        let Some((began, bytes)) = self.began else { return 0 };
        amounts::rate(self.latest.1.saturating_sub(bytes), at.saturating_sub(began))
    }

    /// The time of the last sample.
    pub(crate) fn latest(&self) -> Duration {
        self.latest.0
    }

    fn since(&self, sample: Option<(Duration, u64)>) -> u64 {
        match sample {
            Some((at, bytes)) if at < self.latest.0 => {
                amounts::rate(self.latest.1.saturating_sub(bytes), self.latest.0 - at)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lately_forgets_and_the_average_does_not() {
        let mut speed = Speed::default();
        for tick in 0..=100u64 {
            let bytes = if tick <= 50 { tick * 100 } else { 5000 };
            speed.record(Duration::from_millis(tick * 100), bytes);
        }
        assert_eq!(speed.now(), 0);
        assert_eq!(speed.average(Duration::from_secs(10)), 500);
    }

    #[test]
    fn nothing_moved_is_no_speed() {
        let mut speed = Speed::default();
        speed.record(Duration::ZERO, 0);
        assert_eq!((speed.now(), speed.average(Duration::from_secs(1))), (0, 0));
    }
}
