//! Bytes a second, without rounding surprises

use std::time::Duration;

/// Bytes a second
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(pub(super) u64);

impl Rate {
    /// The rate at which so many bytes passed in so long; none in no time
    pub(super) fn over(bytes: u64, elapsed: Duration) -> Option<Self> {
        let scaled = u128::from(bytes) * Duration::from_secs(1).as_nanos();
        scaled.checked_div(elapsed.as_nanos()).map(|rate| Self(saturated(rate)))
    }

    /// How many bytes pass in so long
    pub(super) fn within(self, span: Duration) -> u64 {
        saturated(u128::from(self.0) * span.as_nanos() / Duration::from_secs(1).as_nanos())
    }

    /// This many hundredths of the rate
    pub(super) fn percent(self, hundredths: u64) -> Self {
        Self(percent(self.0, hundredths))
    }
}

/// This many hundredths of a value
pub(super) fn percent(value: u64, hundredths: u64) -> u64 {
    saturated(u128::from(value) * u128::from(hundredths) / 100)
}

fn saturated(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
