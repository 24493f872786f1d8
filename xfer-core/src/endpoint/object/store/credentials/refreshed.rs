//! Credentials that end, fetched anew before they do.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::CredentialProvider;
use tokio::sync::Mutex;

use super::super::StoreError;
use super::problem::OpenError;
use crate::clock::{Clock, SystemClock};

/// Seconds before their end at which credentials are fetched anew, where they live long enough.
const MARGIN_MAX: i64 = 300;

/// Seconds between attempts to fetch, whether what is there still opens or not: whoever waited for
/// one that failed would else make it again, each in its turn.
const AGAIN_AFTER: i64 = 30;

/// What was fetched.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    pub(super) credential: T,
    /// Its end, in seconds since 1970; `None` where it has none.
    pub(super) until: Option<i64>,
}

/// Fetches credentials.
#[async_trait]
pub(super) trait Source<T>: Debug + Send + Sync {
    async fn fetch(&self) -> Result<Fresh<T>, OpenError>;
}

#[derive(Debug)]
struct Held<T> {
    credential: Arc<T>,
    until: Option<i64>,
    refresh_at: i64,
}

/// What the last attempts came to.
#[derive(Debug)]
struct Attempts<T> {
    held: Option<Held<T>>,
    /// Why there is nothing that opens, and since when that is known.
    failed: Option<(OpenError, i64)>,
}

/// Holds what a source gave until it is nearly over.
pub(super) struct Refreshed<T> {
    source: Box<dyn Source<T>>,
    attempts: Mutex<Attempts<T>>,
    clock: Arc<dyn Clock>,
}

impl<T> Debug for Refreshed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refreshed").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<T: Debug + Send + Sync> Refreshed<T> {
    pub(super) fn new(source: impl Source<T> + 'static) -> Self {
        let attempts = Mutex::new(Attempts { held: None, failed: None });
        Self { source: Box::new(source), attempts, clock: SystemClock::shared() }
    }

    /// What opens now.
    pub(super) async fn now(&self) -> Result<Arc<T>, OpenError> {
        let mut attempts = self.attempts.lock().await;
        let now = self.clock.now().seconds;
        if let Some(held) = attempts.held.as_ref().filter(|held| now < held.refresh_at) {
            return Ok(Arc::clone(&held.credential));
        }
        let is_fresh = |at: i64| (at..at.saturating_add(AGAIN_AFTER)).contains(&now);
        if let Some((error, _)) = attempts.failed.as_ref().filter(|(_, at)| is_fresh(*at)) {
            return Err(error.clone());
        }
        attempts.failed = None;
        let fetched = self.source.fetch().await;
        match (fetched, attempts.held.as_mut()) {
            (Ok(fresh), _) => {
                let refresh_at = fresh.until.map_or(i64::MAX, |until| {
                    until - (until.saturating_sub(now) / 4).clamp(0, MARGIN_MAX)
                });
                let credential = Arc::new(fresh.credential);
                let given = Arc::clone(&credential);
                attempts.held = Some(Held { credential, until: fresh.until, refresh_at });
                Ok(given)
            }
            (Err(_), Some(held)) if held.until.is_none_or(|until| now < until) => {
                held.refresh_at = now + AGAIN_AFTER;
                Ok(Arc::clone(&held.credential))
            }
            (Err(error), _) => {
                // The time at which it is known, for a fetch may last.
                attempts.failed = Some((error.clone(), self.clock.now().seconds));
                Err(error)
            }
        }
    }
}

/// What goes wrong stands within the error as a [`StoreError`].
#[async_trait]
impl<T: Debug + Send + Sync> CredentialProvider for Refreshed<T> {
    type Credential = T;

    async fn get_credential(&self) -> object_store::Result<Arc<T>> {
        self.now().await.map_err(|error| {
            let shown = error.to_string();
            let sorted = match error {
                OpenError::Unreached(_) => StoreError::Again(shown),
                _ => StoreError::Refused(shown),
            };
            object_store::Error::Generic { store: "credentials", source: Box::new(sorted) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
    use std::time::Duration;

    use xfer_protocol::manifest::Timestamp;

    use super::*;

    #[derive(Debug)]
    struct Turned(AtomicI64);

    impl Clock for Turned {
        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }

        fn now(&self) -> Timestamp {
            Timestamp { seconds: self.0.load(Ordering::Relaxed), nanoseconds: 0 }
        }
    }

    /// Each lives a thousand seconds; from the third on there are no more.
    #[derive(Debug)]
    struct Counted(Arc<AtomicU32>, Arc<Turned>);

    #[async_trait]
    impl Source<u32> for Counted {
        async fn fetch(&self) -> Result<Fresh<u32>, OpenError> {
            let credential = self.0.fetch_add(1, Ordering::Relaxed);
            let until = Some(self.1.now().seconds + 1000);
            match credential {
                0 | 1 => Ok(Fresh { credential, until }),
                _ => Err(OpenError::refused("source", "no more")),
            }
        }
    }

    #[tokio::test]
    async fn credentials_are_fetched_before_they_end_and_used_until_they_do() {
        let clock = Arc::new(Turned(AtomicI64::new(0)));
        let asked = Arc::new(AtomicU32::new(0));
        let source = Counted(Arc::clone(&asked), Arc::clone(&clock));
        let mut refreshed = Refreshed::new(source);
        refreshed.clock = Arc::<Turned>::clone(&clock);
        for (now, given, times) in [
            (0, Some(0), 1),
            (749, Some(0), 1),
            (750, Some(1), 2),
            (1499, Some(1), 2),
            (1500, Some(1), 3),
            (1529, Some(1), 3),
            (1530, Some(1), 4),
            (1750, None, 5),
            (1779, None, 5),
            (1780, None, 6),
        ] {
            clock.0.store(now, Ordering::Relaxed);
            let got = refreshed.now().await.ok().map(|credential| *credential);
            assert_eq!((got, asked.load(Ordering::Relaxed)), (given, times), "at {now}");
        }
    }
}
