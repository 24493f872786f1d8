//! Patience with a store: each request is repeated where that is safe and helps, and as many are
//! under way as the store bears.
//!
//! Never repeated is what may have been done and would not be the same a second time: a completion,
//! or a writing under a condition, whose outcome is unknown. Whoever asked looks that up.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use xfer_protocol::range::ByteRange;

use super::rate::{MOST, Rate, Slot};
use super::{
    Abilities, Checksum, Condition, Fetched, Get, Key, List, Load, Object, Original, Page, Part,
    Put, Service, Store, StoreError, StoreResult, Stored, Upload, UploadId,
};
use crate::clock::{Clock, spread_backoff};
use crate::endpoint::errands::Porter;
use crate::options::RetryOptions;

/// The longest pause, also where a store asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The pause after which refused credentials are tried once more: others may have come meanwhile.
const RENEWED_AFTER: Duration = Duration::from_secs(2);

/// Further tries of what was damaged: chance does not damage the same bytes so often.
const DAMAGED_MAX: u32 = 3;

/// How much patience there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct PatienceOptions {
    /// When to try again, and when to give up.
    pub retry: RetryOptions,
    /// Requests with bodies at a time at most. Default: 64, which is the most in any case.
    pub streams: Option<NonZeroUsize>,
    /// What decides pauses within their bounds.
    pub seed: u64,
}

/// What was asked of a store so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests, repeated ones included.
    pub requests: u64,
    /// Requests that were repeated.
    pub repeated: u64,
    /// Bytes of bodies that were moved again.
    pub wasted_bytes: u64,
}

/// A store that is asked again.
pub struct Patient {
    store: Arc<dyn Store>,
    options: PatienceOptions,
    clock: Arc<dyn Clock>,
    rate: Rate,
    last_success: Mutex<Duration>,
    /// Calls: each draws pauses of its own.
    calls: AtomicU64,
    requests: AtomicU64,
    repeated: AtomicU64,
    wasted_bytes: AtomicU64,
}

/// What a request is, as far as patience must know.
#[derive(Clone, Copy, Debug)]
struct Ask {
    /// Bytes of its body, or of its answer's.
    body: Option<u64>,
    /// Whether a second time changes nothing.
    repeatable: bool,
}

/// What a call remembers of its failures.
#[derive(Debug)]
struct Failures {
    began: Duration,
    seed: u64,
    tries: u32,
    damaged: u32,
    refused: bool,
    /// Whether an earlier try may have been done.
    unknown: bool,
}

impl Ask {
    const LIGHT: Self = Self { body: None, repeatable: true };

    fn heavy(bytes: u64) -> Self {
        Self { body: Some(bytes), repeatable: true }
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Patient {
    /// Patience with `store`, by the time of `clock`.
    pub fn new(store: Arc<dyn Store>, options: PatienceOptions, clock: Arc<dyn Clock>) -> Self {
        let rate = Rate::new(options.streams.map_or(MOST, NonZeroUsize::get));
        Self {
            store,
            options,
            clock,
            rate,
            last_success: Mutex::default(),
            calls: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            wasted_bytes: AtomicU64::new(0),
        }
    }

    /// What was asked so far.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Asked {
            requests: read(&self.requests),
            repeated: read(&self.repeated),
            wasted_bytes: read(&self.wasted_bytes),
        }
    }

    /// Requests with bodies that may be under way now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.rate.limit()
    }

    /// Asks until there is an answer or no sense in it any more. Memory for the body is held
    /// meanwhile, a place among the requests under way only while one is.
    async fn patiently<'a, T>(
        &'a self,
        ask: Ask,
        call: impl Fn() -> BoxFuture<'a, StoreResult<T>> + Send + Sync,
    ) -> (StoreResult<T>, Failures) {
        let _room = match ask.body {
            Some(bytes) => self.rate.room(bytes).await,
            None => None,
        };
        let mut failures = Failures::new(self.clock.elapsed(), self.seed());
        loop {
            match self.once(ask, failures.tries > 0, &call).await {
                Ok(answer) => return (Ok(answer), failures),
                Err(error) => match self.after(ask, &error, &mut failures) {
                    Some(pause) => self.clock.pause(pause).await,
                    None => return (Err(error), failures),
                },
            }
        }
    }

    async fn once<'a, T>(
        &'a self,
        ask: Ask,
        again: bool,
        call: &(impl Fn() -> BoxFuture<'a, StoreResult<T>> + Send + Sync),
    ) -> StoreResult<T> {
        let slot = self.rate.begin(ask.body.is_some(), || self.clock.elapsed()).await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = ask.body.unwrap_or_default();
        if again {
            self.repeated.fetch_add(1, Ordering::Relaxed);
            self.wasted_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let answer = call().await;
        self.told(&slot, bytes, &answer);
        answer
    }

    fn told<T>(&self, slot: &Slot<'_>, bytes: u64, answer: &StoreResult<T>) {
        match answer {
            Ok(_) => {
                let now = self.clock.elapsed();
                slot.succeeded(bytes, now);
                *self.last_success.lock().unwrap_or_else(PoisonError::into_inner) = now;
            }
            Err(StoreError::Slow { .. }) => slot.slowed(),
            Err(_) => {}
        }
    }

    /// The pause before the next try; `None` where there is none.
    fn after(&self, ask: Ask, error: &StoreError, failures: &mut Failures) -> Option<Duration> {
        let least = failures.least_pause(ask, error)?;
        failures.tries += 1;
        let pause = spread_backoff(failures.tries, PAUSE_MAX, failures.seed).max(least);
        let success = *self.last_success.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.clock.elapsed().saturating_sub(success.max(failures.began));
        let retry = &self.options.retry;
        (failures.tries <= retry.retries && waited + pause < retry.give_up).then_some(pause)
    }

    fn seed(&self) -> u64 {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.options.seed.wrapping_add(call.wrapping_mul(1 << 32))
    }
}

impl Failures {
    fn new(began: Duration, seed: u64) -> Self {
        Self { began, seed, tries: 0, damaged: 0, refused: false, unknown: false }
    }

    /// The shortest pause after which it may be asked again; `None` where it may not.
    fn least_pause(&mut self, ask: Ask, error: &StoreError) -> Option<Duration> {
        match error {
            StoreError::Again(_) => Some(Duration::ZERO),
            StoreError::Slow { after, .. } => Some(after.unwrap_or_default().min(PAUSE_MAX)),
            StoreError::Unknown(_) => {
                self.unknown = true;
                ask.repeatable.then_some(Duration::ZERO)
            }
            // What came instead of bytes may have been spoilt on its way too.
            StoreError::Damaged(_) | StoreError::Nonsense(_) => {
                self.damaged += 1;
                (ask.body.is_some() && self.damaged <= DAMAGED_MAX).then_some(Duration::ZERO)
            }
            StoreError::Refused(_) => {
                let first = !std::mem::replace(&mut self.refused, true);
                first.then_some(RENEWED_AFTER)
            }
            StoreError::Missing
            | StoreError::NoBucket
            | StoreError::Denied(_)
            | StoreError::Changed
            | StoreError::Busy
            | StoreError::Unsupported
            | StoreError::Untrusted(_)
            | StoreError::Elsewhere(_)
            | StoreError::Porter(_)
            | StoreError::Unkept
            | StoreError::Failed(_) => None,
        }
    }
}

#[async_trait]
impl Store for Patient {
    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }

    fn name(&self) -> &str {
        self.store.name()
    }

    fn address(&self) -> Option<&str> {
        self.store.address()
    }

    async fn head(&self, key: &Key) -> StoreResult<Object> {
        self.patiently(Ask::LIGHT, || self.store.head(key)).await.0
    }

    async fn get(&self, get: Get<'_>) -> StoreResult<(Bytes, Object)> {
        let ask = Ask::heavy(get.range.len());
        self.patiently(ask, || self.store.get(get.clone())).await.0
    }

    fn is_asked_by_others(&self) -> bool {
        self.store.is_asked_by_others()
    }

    async fn fetch(
        &self,
        get: Get<'_>,
        size: u64,
        porter: &Arc<Porter>,
    ) -> StoreResult<(Fetched, Object)> {
        let ask = Ask::heavy(get.range.len());
        self.patiently(ask, || self.store.fetch(get.clone(), size, porter)).await.0
    }

    async fn try_from_there(&self, porter: &Arc<Porter>) -> StoreResult<()> {
        self.store.try_from_there(porter).await
    }

    async fn put(&self, put: Put<'_>) -> StoreResult<Stored> {
        let repeatable = put.condition == Condition::Always;
        let ask = Ask { repeatable, ..Ask::heavy(put.body.length()) };
        let (answer, failures) = self.patiently(ask, || self.store.put(put.clone())).await;
        match answer {
            // It may be our own first try that stands there.
            Err(StoreError::Changed) if !repeatable && failures.damaged > 0 => {
                Err(StoreError::Unknown("what was written first came back damaged".to_owned()))
            }
            answer => answer,
        }
    }

    fn service(&self) -> Option<Service> {
        self.store.service()
    }

    /// Its bytes take no memory here, and the work of one with a body there.
    async fn copy(
        &self,
        key: &Key,
        original: &Original,
        attributes: &[(String, String)],
    ) -> StoreResult<Stored> {
        self.patiently(Ask::heavy(0), || self.store.copy(key, original, attributes)).await.0
    }

    async fn copy_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        original: &Original,
        range: ByteRange,
    ) -> StoreResult<Part> {
        let call = || self.store.copy_part(key, upload, number, original, range);
        self.patiently(Ask::heavy(0), call).await.0
    }

    async fn remove(&self, key: &Key) -> StoreResult<()> {
        self.patiently(Ask::LIGHT, || self.store.remove(key)).await.0
    }

    fn keeps_removed(&self) -> bool {
        self.store.keeps_removed()
    }

    async fn remove_directory(&self, prefix: &str) -> StoreResult<()> {
        self.patiently(Ask::LIGHT, || self.store.remove_directory(prefix)).await.0
    }

    async fn remove_if(&self, key: &Key, etag: &str) -> StoreResult<()> {
        self.patiently(Ask::LIGHT, || self.store.remove_if(key, etag)).await.0
    }

    async fn list(&self, list: List<'_>) -> StoreResult<Page> {
        self.patiently(Ask::LIGHT, || self.store.list(list.clone())).await.0
    }

    /// Where an answer was lost, an upload without parts may be left over.
    async fn begin(&self, key: &Key, attributes: &[(String, String)]) -> StoreResult<UploadId> {
        self.patiently(Ask::LIGHT, || self.store.begin(key, attributes)).await.0
    }

    async fn put_part(
        &self,
        key: &Key,
        upload: &UploadId,
        number: u32,
        body: Load,
        checksum: Checksum,
    ) -> StoreResult<Part> {
        let ask = Ask::heavy(body.length());
        let call = || self.store.put_part(key, upload, number, body.clone(), checksum);
        self.patiently(ask, call).await.0
    }

    async fn parts(&self, key: &Key, upload: &UploadId, after: u32) -> StoreResult<Vec<Part>> {
        self.patiently(Ask::LIGHT, || self.store.parts(key, upload, after)).await.0
    }

    async fn complete(
        &self,
        key: &Key,
        upload: &UploadId,
        parts: &[Part],
        attributes: &[(String, String)],
        checksum: Option<Checksum>,
        condition: Condition,
    ) -> StoreResult<Stored> {
        let ask = Ask { repeatable: false, ..Ask::LIGHT };
        let call = || {
            let condition = condition.clone();
            self.store.complete(key, upload, parts, attributes, checksum, condition)
        };
        self.patiently(ask, call).await.0
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> StoreResult<()> {
        let (answer, failures) = self.patiently(Ask::LIGHT, || self.store.abort(key, upload)).await;
        match answer {
            // An earlier try ended it, and its answer was lost.
            Err(StoreError::Missing) if failures.unknown => Ok(()),
            answer => answer,
        }
    }

    async fn uploads(&self, prefix: &str) -> StoreResult<Vec<Upload>> {
        self.patiently(Ask::LIGHT, || self.store.uploads(prefix)).await.0
    }
}

#[cfg(test)]
mod tests;
