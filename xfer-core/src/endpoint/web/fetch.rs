//! One request for something public, and where it leads.
//!
//! Files lie behind redirections: a hub's name of a file leads to a store, with a signature that
//! expires. They are followed here and nowhere else, and a key stays with the host that it is for.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::WebProblem;
use crate::clock::{Clock, spread_backoff};
use crate::options::RetryOptions;
use crate::transport::address::Address;
use crate::transport::http::Bearer;
use crate::transport::web::{Web, WebAnswer, WebRequest};

/// Redirections on the way to one file.
const REDIRECTIONS_MAX: usize = 5;

/// Requests at a time where nobody says how many, and at most.
const STREAMS: usize = 16;
const STREAMS_MAX: usize = 64;

/// The longest pause, also where a longer one is asked for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How public files are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebOptions {
    /// When to try again, and when to give up.
    pub retry: RetryOptions,
    /// Requests at a time. Default: 16; 64 at most.
    pub streams: Option<NonZeroUsize>,
    /// What decides pauses within their bounds.
    pub seed: u64,
}

/// Makes requests, with patience.
pub(super) struct Fetcher {
    web: Web,
    options: WebOptions,
    clock: Arc<dyn Clock>,
    slots: Semaphore,
    calls: AtomicU64,
    /// A key, and whom it is for.
    key: Option<(Address, Bearer)>,
}

/// An answer, and who gave it.
pub(super) struct Fetched {
    pub(super) answer: WebAnswer,
    pub(super) at: Address,
    /// Whether it was shown the key.
    pub(super) with_key: bool,
}

/// Tries of one call.
pub(super) struct Tries<'a> {
    fetcher: &'a Fetcher,
    began: Duration,
    seed: u64,
    count: u32,
}

impl Fetcher {
    pub(super) fn new(
        web: Web,
        options: WebOptions,
        clock: Arc<dyn Clock>,
        key: Option<(Address, Bearer)>,
    ) -> Self {
        let streams = options.streams.map_or(STREAMS, NonZeroUsize::get).min(STREAMS_MAX);
        let slots = Semaphore::new(streams);
        Self { web, options, clock, slots, calls: AtomicU64::new(0), key }
    }

    /// A place among the requests under way.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.acquire().await.ok()
    }

    pub(super) fn tries(&self) -> Tries<'_> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let seed = self.options.seed.wrapping_add(call.wrapping_mul(1 << 32));
        Tries { fetcher: self, began: self.clock.elapsed(), seed, count: 0 }
    }

    /// Asks once, and follows. Any status from 200 to 299 is an answer.
    pub(super) async fn fetch(
        &self,
        method: &Method,
        address: &Address,
        headers: &HeaderMap,
    ) -> Result<Fetched, WebProblem> {
        let mut at = address.clone();
        let mut is_at_home = true;
        for _ in 0..=REDIRECTIONS_MAX {
            // Who has been led away from a host does not show its key when led back.
            is_at_home &= self.key.as_ref().is_some_and(|(home, _)| home.is_beside(&at));
            let request = WebRequest {
                method: method.clone(),
                address: at.secret().to_owned(),
                headers: self.headers(headers, is_at_home),
                body: Bytes::new(),
            };
            let answer = self.web.ask(request).await?;
            match answer.status {
                200..=299 => {
                    plain(&answer.headers)?;
                    return Ok(Fetched { answer, at, with_key: is_at_home });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let location = answer.header("location");
                    let location = location.ok_or(WebProblem::Astray("without saying where"))?;
                    let next = at.leads_to(location);
                    at = next.ok_or(WebProblem::Astray("out of TLS, or to this machine"))?;
                }
                status => return Err(refusal(status, &answer.headers)),
            }
        }
        Err(WebProblem::Astray("in too many steps"))
    }

    /// The headers of a request that shows no key.
    pub(super) fn keyless(&self, asked: &HeaderMap) -> HeaderMap {
        self.headers(asked, false)
    }

    fn headers(&self, asked: &HeaderMap, with_key: bool) -> HeaderMap {
        let mut headers = asked.clone();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let key = self.key.as_ref().filter(|_| with_key);
        if let Some(key) = key.and_then(|(_, key)| key.header()) {
            headers.insert(AUTHORIZATION, key);
        }
        headers
    }

    /// A whole answer of at most so many bytes, and its headers.
    pub(super) async fn document(
        &self,
        address: &Address,
        most: usize,
    ) -> Result<(Bytes, HeaderMap), WebProblem> {
        let mut tries = self.tries();
        loop {
            let _slot = self.slot().await;
            let tried = async {
                let fetched = self.fetch(&Method::GET, address, &HeaderMap::new()).await?;
                let headers = fetched.answer.headers.clone();
                let body = fetched.answer.at_most(most).await?;
                Ok((body, headers))
            };
            match tried.await {
                Ok(document) => return Ok(document),
                Err(problem) => tries.after(problem).await?,
            }
        }
    }
}

impl Tries<'_> {
    /// Waits for the next try; the problem where there is none.
    pub(super) async fn after(&mut self, problem: WebProblem) -> Result<(), WebProblem> {
        let WebProblem::Later { after, .. } = &problem else { return Err(problem) };
        self.count += 1;
        let pause = spread_backoff(self.count, PAUSE_MAX, self.seed);
        let pause = pause.max(after.unwrap_or_default().min(PAUSE_MAX));
        let (clock, retry) = (&self.fetcher.clock, &self.fetcher.options.retry);
        let waited = clock.elapsed().saturating_sub(self.began);
        if self.count > retry.retries || waited + pause >= retry.give_up {
            return Err(problem);
        }
        clock.pause(pause).await;
        Ok(())
    }
}

/// Refuses bytes that are not those that are stored.
pub(super) fn plain(headers: &HeaderMap) -> Result<(), WebProblem> {
    match headers.get(http::header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            let coding = String::from_utf8_lossy(coding.as_bytes());
            Err(WebProblem::Coded(coding.chars().take(40).collect()))
        }
        _ => Ok(()),
    }
}

pub(super) fn refusal(status: u16, headers: &HeaderMap) -> WebProblem {
    match status {
        401 | 403 => WebProblem::Refused(status),
        404 | 410 => WebProblem::Missing,
        412 | 416 => WebProblem::Changed,
        408 | 425 | 429 | 500..=599 if status != 501 => {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok());
            let after = after.map(Duration::from_secs);
            WebProblem::Later { reason: format!("status {status}"), after }
        }
        _ => WebProblem::Status(status),
    }
}
