//! HTTP to the programming interfaces of platforms: one request, one bounded answer.
//!
//! Goals: a key goes to the host that was asked for and to no other, so no redirection is followed
//! and nothing but HTTPS leaves this machine; no answer costs more than [`ANSWER_BYTES_MAX`] or the
//! time that was given; nothing of a request is shown but its method and place.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};

/// Bytes of an answer; the longest that is known, a page of machines, has a twentieth of it.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Time in which a connection must come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What is done to what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes.
    Put,
    /// Makes, or searches.
    Post,
    /// Ends.
    Delete,
}

/// A key that opens an account. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    /// A key, white space around it taken off; `None` where no header can carry it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let key = text.trim();
        let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then(|| Self(key.to_owned()))
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(…)")
    }
}

/// A host that answers requests, and a prefix of their paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    address: reqwest::Url,
}

impl Base {
    /// Reads `https://host[:port][/prefix]`; `http://` is taken for this machine's own addresses
    /// alone, because the key would cross a network in the clear.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let address = reqwest::Url::parse(text.trim().trim_end_matches('/')).ok()?;
        let is_safe =
            address.scheme() == "https" || (address.scheme() == "http" && is_here(&address));
        let is_bare = address.username().is_empty()
            && address.password().is_none()
            && address.query().is_none()
            && address.fragment().is_none();
        (is_safe && is_bare).then_some(Self { address })
    }

    /// The host and port that are asked.
    #[must_use]
    pub fn place(&self) -> String {
        let host = self.address.host_str().unwrap_or_default();
        match self.address.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    fn join(&self, path: &str, query: &[(&str, String)]) -> reqwest::Url {
        let mut address = self.address.clone();
        let prefix = address.path().trim_end_matches('/').to_owned();
        address.set_path(&format!("{prefix}{path}"));
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        address
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// What is done.
    pub method: Method,
    /// The path below the base, `/` first and last.
    pub path: &'a str,
    /// Pairs behind the `?`, encoded here.
    pub query: &'a [(&'a str, String)],
    /// JSON, where there is any.
    pub body: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long to wait, where that was said in whole seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("{0}")]
    Unreached(String),
    /// What came is no answer, or not a whole one.
    #[error("{0}")]
    Broken(String),
    /// Not within the time that was given.
    #[error("no whole answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It led elsewhere.
    #[error("it answers {0}, a redirection, which is not followed with a key in hand")]
    Redirected(u16),
    /// More than any answer.
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// A coding that was not asked for.
    #[error("its answer is coded in a way that was not asked for")]
    Coded,
    /// No request can be made.
    #[error("{0}")]
    Unusable(&'static str),
}

impl HttpError {
    /// Whether the same request may be answered later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreached(_) | Self::TimedOut(_))
    }
}

/// Makes requests; clones share connections.
#[derive(Clone, Debug)]
pub struct Http {
    inner: reqwest::Client,
}

impl Http {
    /// Trusts the system's roots, those of `SSL_CERT_FILE` and `SSL_CERT_DIR` in their place where
    /// these are set, and built-in ones where there are none. Proxies are those of the environment.
    ///
    /// # Errors
    /// Only where the system gives no randomness or no roots can be read at all.
    pub fn to(base: &Base) -> Result<Self, HttpError> {
        let tls = tls().map_err(|_| HttpError::Unusable("no version of TLS"))?;
        let mut builder = reqwest::Client::builder();
        if base.address.scheme() == "http" {
            // In the clear it goes to this machine, and to no proxy either.
            builder = builder.no_proxy();
        }
        let inner = builder
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_WITHIN)
            .user_agent(concat!("xfer/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| HttpError::Unusable("the TLS configuration is not taken"))?;
        Ok(Self { inner })
    }

    /// Asks once, and reads the whole answer within `limit`.
    ///
    /// # Errors
    /// As [`HttpError`] says; any status but a redirection is an answer.
    pub async fn ask(
        &self,
        base: &Base,
        key: &Bearer,
        ask: &Ask<'_>,
        limit: Duration,
    ) -> Result<Answer, HttpError> {
        let method = match ask.method {
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let header = key.header().ok_or(HttpError::Unusable("no header carries that key"))?;
        let mut request = self
            .inner
            .request(method, base.join(ask.path, ask.query))
            .header(reqwest::header::AUTHORIZATION, header)
            .timeout(limit);
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        answer(request.send().await.map_err(|error| unanswered(&error, limit))?, limit).await
    }
}

async fn answer(mut response: reqwest::Response, limit: Duration) -> Result<Answer, HttpError> {
    let status = response.status();
    if status.is_redirection() {
        return Err(HttpError::Redirected(status.as_u16()));
    }
    if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(HttpError::Coded);
    }
    let retry_after = response.headers().get(RETRY_AFTER).and_then(whole_seconds);
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| unanswered(&error, limit))? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status: status.as_u16(), retry_after, body })
}

fn whole_seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What lies beneath says more than the outermost error, which repeats the address.
fn unanswered(error: &reqwest::Error, limit: Duration) -> HttpError {
    if error.is_timeout() {
        return HttpError::TimedOut(limit);
    }
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let innermost =
        causes.last().map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    if error.is_connect() { HttpError::Unreached(innermost) } else { HttpError::Broken(innermost) }
}

/// Whether an address is one of this machine's own.
pub(super) fn is_here(address: &reqwest::Url) -> bool {
    let host = address.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// TLS to whatever a known root vouches for.
pub(super) fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider);
    let tls = tls.with_safe_default_protocol_versions()?;
    Ok(tls.with_root_certificates(roots()).with_no_client_auth())
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Files that cannot be read count as absent: what they would have proven is then refused.
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let is_chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|n| std::env::var_os(n).is_some());
    if roots.is_empty() && !is_chosen {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[cfg(test)]
mod tests;
