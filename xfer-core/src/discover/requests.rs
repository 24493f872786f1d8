//! Requests to a platform's interface: spaced as each of its addresses asks, repeated where that
//! helps, and no answer taken for what it does not say.

mod orders;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::error::{ApiProblem, PlatformError};
use super::json::Json;
use crate::clock::{Clock, backoff};
use crate::transport::http::{Answer, Ask, Base, Bearer, Http, Method};

/// Time for an answer, further tries included.
const WITHIN: Duration = Duration::from_secs(30);

/// Characters of its words that an error repeats.
const SAID_MAX: usize = 200;

/// An address with a limit of its own: it takes one request in that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) interval: Duration,
}

pub(super) struct Requests {
    http: Http,
    base: Base,
    keys: Vec<Bearer>,
    clock: Arc<dyn Clock>,
    seed: u64,
    /// When each address takes its next request.
    next: Mutex<HashMap<Endpoint, Duration>>,
    spaced: bool,
}

/// What came of one try.
enum Tried {
    Answered(Json),
    /// It may be answered after that time at least.
    Later(Duration, ApiProblem),
    Failed(ApiProblem),
}

impl Requests {
    /// Requests to `base`, with these keys in their order.
    pub(super) fn new(
        base: Base,
        keys: Vec<Bearer>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, ApiProblem> {
        let http = Http::to(&base)?;
        Ok(Self { http, base, keys, clock, seed, next: Mutex::default(), spaced: true })
    }

    /// The same to an interface that limits nobody.
    pub(super) fn unspaced(self) -> Self {
        Self { spaced: false, ..self }
    }

    /// An answer that is not what it should be.
    pub(super) fn unusable(&self, path: &str, what: String) -> PlatformError {
        PlatformError { place: self.place(Method::Get, path), problem: ApiProblem::Answer(what) }
    }

    /// An answer to a query that is not what it should be.
    pub(super) fn unusable_query(&self, path: &str, what: String) -> PlatformError {
        PlatformError { place: self.place(Method::Post, path), problem: ApiProblem::Answer(what) }
    }

    fn place(&self, method: Method, path: &str) -> String {
        let method = match method {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        };
        format!("{method} {}{path}", self.base.place())
    }

    /// Reads, with each key until one is taken.
    pub(super) async fn get(
        &self,
        endpoint: Endpoint,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Json, PlatformError> {
        self.ask(endpoint, &Ask { method: Method::Get, path, query, body: None }).await
    }

    /// Asks what changes nothing by a text of its own, and so may be repeated.
    pub(super) async fn query(
        &self,
        endpoint: Endpoint,
        path: &str,
        body: String,
    ) -> Result<Json, PlatformError> {
        self.ask(endpoint, &Ask { method: Method::Post, path, query: &[], body: Some(body) }).await
    }

    async fn ask(&self, endpoint: Endpoint, ask: &Ask<'_>) -> Result<Json, PlatformError> {
        let failed = |problem| PlatformError { place: self.place(ask.method, ask.path), problem };
        let mut refused = None;
        for key in &self.keys {
            match self.patiently(endpoint, ask, key).await {
                Err(problem @ ApiProblem::KeyRefused { .. }) => refused = Some(problem),
                other => return other.map_err(failed),
            }
        }
        Err(failed(refused.unwrap_or_else(|| ApiProblem::KeyMissing("none".to_owned()))))
    }

    async fn patiently(
        &self,
        endpoint: Endpoint,
        ask: &Ask<'_>,
        key: &Bearer,
    ) -> Result<Json, ApiProblem> {
        let until = self.clock.elapsed() + WITHIN;
        let mut attempt = 0;
        loop {
            self.take_turn(endpoint).await;
            let left = until.saturating_sub(self.clock.elapsed());
            let answered = self.http.ask(&self.base, key, ask, left.max(endpoint.interval)).await;
            self.took_turn(endpoint).await;
            let (wait, problem) = match answered.map(judge) {
                Ok(Tried::Answered(json)) => return Ok(json),
                Ok(Tried::Failed(problem)) => return Err(problem),
                Ok(Tried::Later(wait, problem)) => (wait, problem),
                Err(error) if error.may_pass() => (Duration::ZERO, error.into()),
                Err(error) => return Err(error.into()),
            };
            attempt += 1;
            let pause = backoff(attempt, WITHIN, self.seed).max(wait).max(endpoint.interval);
            if self.clock.elapsed() + pause >= until {
                return Err(problem);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// It counts from when it heard the last one, which was before its answer.
    async fn took_turn(&self, endpoint: Endpoint) {
        if !self.spaced {
            return;
        }
        let next = self.clock.elapsed() + endpoint.interval;
        self.next.lock().await.insert(endpoint, next);
    }

    /// Waits until the address takes a request again.
    async fn take_turn(&self, endpoint: Endpoint) {
        let next = self.next.lock().await;
        let now = self.clock.elapsed();
        if let Some(at) = next.get(&endpoint).filter(|at| **at > now) {
            tokio::time::sleep(*at - now).await;
        }
    }
}

/// What an answer comes to. Its status is not enough: it may be 200 and say that it failed.
fn judge(answer: Answer) -> Tried {
    let status = answer.status;
    let read = Json::parse(&answer.body);
    let said = said(&read, &answer.body);
    let failed = |problem| Tried::Failed(problem);
    match status {
        200..=299 => match read {
            Err(what) => failed(ApiProblem::Answer(what)),
            Ok(json) => match refusal(&json) {
                None => Tried::Answered(json),
                Some("no_such_instance") => failed(ApiProblem::NotFound(said)),
                Some("auth_error" | "invalid_token" | "not_authorized") => {
                    failed(ApiProblem::KeyRefused { status, said })
                }
                Some(_) => failed(ApiProblem::Refused { status, said }),
            },
        },
        401 | 403 => failed(ApiProblem::KeyRefused { status, said }),
        // The key of a session that is over.
        404 if said.contains("Session expired") => failed(ApiProblem::KeyRefused { status, said }),
        404 => failed(ApiProblem::NotFound(said)),
        429 => {
            let wait = answer.retry_after.unwrap_or_default();
            Tried::Later(wait.min(WITHIN), ApiProblem::Busy(WITHIN))
        }
        502..=504 => Tried::Later(Duration::ZERO, ApiProblem::Refused { status, said }),
        _ => failed(ApiProblem::Refused { status, said }),
    }
}

/// The code of an answer that says that it failed. `success` is true, or is not there; nothing else
/// counts as success. `errors` is empty, or is not there, whatever stands beside it.
fn refusal(json: &Json) -> Option<&str> {
    let code = || json.get("error").and_then(Json::text).unwrap_or("no reason given");
    match json {
        Json::Object(_)
            if !json.has("success") || json.get("success") == Some(&Json::Bool(true)) =>
        {
            match json.get("errors") {
                None => None,
                Some(Json::List(errors)) => errors.first().map(code_of),
                Some(_) => Some(code()),
            }
        }
        _ => Some(code()),
    }
}

/// That of one of several errors; a key that is not taken has one word for all platforms.
fn code_of(error: &Json) -> &str {
    let code = error.get("extensions").and_then(|more| more.get("code")).and_then(Json::text);
    match code {
        Some("UNAUTHENTICATED" | "FORBIDDEN") => "not_authorized",
        Some(code) => code,
        None => "no reason given",
    }
}

/// Its own words, as far as they are any.
fn said(read: &Result<Json, String>, body: &[u8]) -> String {
    let words: Vec<_> = read.as_ref().map(words).unwrap_or_default();
    let text = if words.is_empty() {
        // Of a whole answer nothing is repeated: it may hold keys.
        match read {
            Ok(_) => "without a reason".to_owned(),
            Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
        }
    } else {
        words.join(": ")
    };
    text.chars().take(SAID_MAX).collect()
}

/// Where platforms put their reasons: beside the rest, in an object, or in a list of objects.
fn words(json: &Json) -> Vec<&str> {
    let within = match json.get("errors").and_then(Json::list) {
        Some(errors) => errors.first(),
        None => json.get("error").filter(|error| error.text().is_none()),
    };
    let json = within.unwrap_or(json);
    let of = |name| json.get(name).and_then(Json::text);
    ["error", "code", "msg", "detail", "message"].into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests;
