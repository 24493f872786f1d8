//! Time, read in one place.
//!
//! The engine is given a [`Clock`]; tests give it one that they turn by hand.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use xfer_protocol::manifest::Timestamp;

/// The time of day and a monotonic time.
pub trait Clock: Send + Sync {
    /// Monotonic time since the clock was made; what all timeouts are measured with.
    fn elapsed(&self) -> Duration;

    /// The time of day, for receipts and events; never decides what is safe.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self(start()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
fn start() -> Instant {
    Instant::now()
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp {
                seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: since.subsec_nanos(),
            },
            Err(_) => Timestamp::default(),
        }
    }
}
