//! Requests to whoever gives credentials out: small, bounded, and to be watched by tests.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;
use xfer_protocol::path::Escaped;

use super::problem::OpenError;
use crate::transport::web::{Web, WebError, WebRequest};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Time for one answer.
pub(super) const WITHIN: Duration = Duration::from_secs(20);

/// Characters of a refusal that an error repeats.
const REASON_MAX: usize = 200;

/// An answer, whole.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Said {
    /// What a JSON answer holds; nothing of it is shown, for it is a secret.
    pub(super) fn json<T: DeserializeOwned>(&self, by: &str) -> Result<T, OpenError> {
        let nonsense = |_| OpenError::refused(by, "what it answers is not understood");
        serde_json::from_slice(&self.body).map_err(nonsense)
    }

    /// The text of the first element of that name.
    pub(super) fn element(&self, name: &str) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let (_, behind) = text.split_once(&format!("<{name}>"))?;
        let (inner, _) = behind.split_once(&format!("</{name}>"))?;
        (!inner.contains(['<', '&'])).then(|| inner.trim().to_owned())
    }
}

/// Asks once.
#[async_trait]
pub(super) trait Asks: Debug + Send + Sync {
    async fn ask(&self, request: WebRequest) -> Result<Said, WebError>;
}

#[async_trait]
impl Asks for Web {
    async fn ask(&self, request: WebRequest) -> Result<Said, WebError> {
        let host = host_of(&request.address);
        let asked = async {
            let answer = Self::ask(self, request).await?;
            let status = answer.status;
            Ok(Said { status, body: answer.at_most(ANSWER_BYTES_MAX).await? })
        };
        let in_time = tokio::time::timeout(WITHIN, asked).await;
        in_time.unwrap_or(Err(WebError::TimedOut { host, after: WITHIN }))
    }
}

/// A request; a header's value that cannot be one is left out, as values were looked at before.
pub(super) fn request(
    method: Method,
    address: String,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> WebRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            map.insert(HeaderName::from_static(name), value);
        }
    }
    WebRequest { method, address, headers: map, body }
}

/// A form, as a body or a query.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// All but what no address changes, as `%XX`.
pub(in super::super) fn encoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                shown.push(char::from(byte));
            }
            _ => shown.push_str(&format!("%{byte:02X}")),
        }
    }
    shown
}

/// What stands between the scheme and the path.
pub(super) fn host_of(address: &str) -> String {
    let behind = address.split_once("://").map_or(address, |(_, behind)| behind);
    behind.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
}

/// The beginning of what somebody else says.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(REASON_MAX).collect();
    Escaped(short.as_bytes()).to_string()
}

/// Whether a text can be a key or a token: it goes into a header.
pub(in super::super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
