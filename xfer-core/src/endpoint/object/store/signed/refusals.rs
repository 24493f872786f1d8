//! What a refusal means: of a status and a code of S3's, and of a connection that failed.

use std::time::Duration;

use http::HeaderMap;

use crate::transport::web::{WebAnswer, WebError};

use super::super::xml::Element;
use super::super::{StoreError, StoreResult};

/// Bytes of a refusal's body that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Characters of a store's text that are shown.
const SHOWN_MAX: usize = 200;

/// The longest that a store can make us wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What becomes of a request that is made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twice {
    /// The same as of one.
    Same,
    /// Another outcome, so that one that is not known has to be looked up.
    Differs,
}

/// What is known of a refusal.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    /// Where the bucket is, by the store's word.
    pub(super) region: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// Whether the object is there no longer, but what marks that.
    pub(super) is_marked_deleted: bool,
}

/// What was asked, as far as a refusal's meaning depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) twice: Twice,
    /// Whether it was for the bucket itself.
    pub(super) of_bucket: bool,
    /// The region that was signed for.
    pub(super) region: &'a str,
}

impl Refusal {
    /// Reads a refusal to its end; a body that cannot be read takes nothing from the status.
    pub(super) async fn read(answer: WebAnswer) -> Self {
        let (status, headers) = (answer.status, answer.headers.clone());
        let body = answer.at_most(REFUSAL_BYTES_MAX).await.unwrap_or_default();
        Self::of(status, &headers, &body)
    }

    /// A refusal that came whole.
    pub(super) fn of(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let mut refusal = Self {
            status,
            region: header("x-amz-bucket-region").map(str::to_owned),
            retry_after: header("retry-after").and_then(seconds),
            is_marked_deleted: header("x-amz-delete-marker") == Some("true"),
            ..Self::default()
        };
        if let Ok(error) = Element::parse(body) {
            refusal.take(&error);
        }
        refusal
    }

    /// A refusal that came as the body of a success.
    pub(super) fn within(status: u16, error: &Element) -> Self {
        let mut refusal = Self { status, ..Self::default() };
        refusal.take(error);
        refusal
    }

    fn take(&mut self, error: &Element) {
        let text = |name: &str| error.text_of(name).map(str::to_owned);
        self.code = text("Code");
        self.message = text("Message");
        self.region = self.region.take().or_else(|| text("Region"));
    }

    /// What it means.
    pub(super) fn meaning(&self, asked: Asked<'_>) -> StoreError {
        if let Some(error) = self.elsewhere(asked.region) {
            return error;
        }
        let code = self.code.as_deref().unwrap_or_default();
        self.of_code(code, asked.twice).unwrap_or_else(|| self.of_status(asked))
    }

    fn of_code(&self, code: &str, twice: Twice) -> Option<StoreError> {
        let text = || self.to_string();
        Some(match code {
            "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" => StoreError::Missing,
            "NoSuchBucket" => StoreError::NoBucket,
            "RequestTimeTooSkewed" => StoreError::Refused(off_clock(&text())),
            "AccessDenied" if self.is_expired() => StoreError::Refused(off_clock(&text())),
            "ExpiredToken"
            | "InvalidAccessKeyId"
            | "InvalidSecurity"
            | "InvalidToken"
            | "NotSignedUp"
            | "SignatureDoesNotMatch"
            | "TokenRefreshRequired" => StoreError::Refused(text()),
            "AccessDenied" | "AccountProblem" | "AllAccessDisabled" => StoreError::Denied(text()),
            "InvalidObjectState" => {
                StoreError::Failed(format!("{}: an archived object is restored first", text()))
            }
            "InvalidRange" | "PreconditionFailed" => StoreError::Changed,
            "ConditionalRequestConflict" | "OperationAborted" => StoreError::Busy,
            "ServiceUnavailable"
            | "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "ThrottlingException"
            | "TooManyRequests" => self.slow(),
            "IncompleteBody" | "InternalError" | "RequestTimeout" => self.failing(twice),
            "BadDigest"
            | "InvalidDigest"
            | "XAmzContentChecksumMismatch"
            | "XAmzContentSHA256Mismatch" => StoreError::Damaged(text()),
            "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder" => StoreError::Failed(text()),
            "MethodNotAllowed" if self.is_marked_deleted => StoreError::Missing,
            "MethodNotAllowed" | "NotImplemented" => StoreError::Unsupported,
            _ => return None,
        })
    }

    fn of_status(&self, asked: Asked<'_>) -> StoreError {
        match self.status {
            404 if asked.of_bucket => StoreError::NoBucket,
            404 => StoreError::Missing,
            405 if self.is_marked_deleted => StoreError::Missing,
            405 | 501 => StoreError::Unsupported,
            401 => StoreError::Refused(self.to_string()),
            403 => StoreError::Denied(self.to_string()),
            412 | 416 => StoreError::Changed,
            409 if self.code.is_none() => StoreError::Busy,
            429 => self.slow(),
            // A proxy before the store says that as well, whatever became of the request.
            503 if asked.twice == Twice::Same => self.slow(),
            408 | 500 | 502..=504 | 520..=530 => self.failing(asked.twice),
            _ => StoreError::Failed(self.to_string()),
        }
    }

    /// Another region is never gone to by itself: what was signed is for this one, and who points
    /// there may be anybody.
    fn elsewhere(&self, asked: &str) -> Option<StoreError> {
        let is_moved = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        // Some name a region of their own with whatever else they refuse.
        let is_of_region = |code: &str| {
            code.starts_with("Authorization") || code.starts_with("IllegalLocationConstraint")
        };
        let is_foreign = self.status == 400 && self.code.as_deref().is_none_or(is_of_region);
        let region = self.region.as_deref().filter(|region| *region != asked);
        match (is_moved || is_foreign, region) {
            (true, Some(region)) => {
                let region = shown(region);
                Some(StoreError::Elsewhere(format!(
                    "the bucket is in the region {region}, not in {asked}: \
                     set AWS_REGION={region}, or give its --endpoint-url"
                )))
            }
            _ if is_moved => Some(StoreError::Elsewhere(format!(
                "{self}: the bucket is elsewhere, and no redirection is followed: \
                 set AWS_REGION, or give the right --endpoint-url"
            ))),
            _ => None,
        }
    }

    fn failing(&self, twice: Twice) -> StoreError {
        match twice {
            Twice::Same => StoreError::Again(self.to_string()),
            Twice::Differs => StoreError::Unknown(self.to_string()),
        }
    }

    fn slow(&self) -> StoreError {
        StoreError::Slow { reason: self.to_string(), after: self.retry_after }
    }

    /// Each request is signed when it is made, so what is over was never in time.
    fn is_expired(&self) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains("expired"))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the store answers {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {}", shown(code))?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {}", shown(message))?;
        }
        Ok(())
    }
}

/// A store's text for a person: escaped, not too long, and nothing that a request was signed with.
pub(super) fn shown(text: &str) -> String {
    if text.to_ascii_lowercase().contains("x-amz-") {
        return "(a text that repeats a signed request)".to_owned();
    }
    let end = text.char_indices().nth(SHOWN_MAX);
    let cut = &text[..end.map_or(text.len(), |(at, _)| at)];
    let more = if end.is_some() { "…" } else { "" };
    format!("{}{more}", xfer_protocol::path::Escaped(cut.as_bytes()))
}

/// What a connection that failed means for a request.
pub(super) fn lost(error: &WebError, twice: Twice) -> StoreError {
    let text = error.to_string();
    match (error, twice) {
        (WebError::Unreached { .. }, _) => StoreError::Again(text),
        (WebError::Untrusted { .. }, _) => StoreError::Untrusted(text),
        (WebError::Unusable(_), _) => StoreError::Failed(text),
        (_, Twice::Differs) => StoreError::Unknown(text),
        (WebError::Length { expected, came, .. }, Twice::Same) if came > expected => {
            StoreError::Damaged(text)
        }
        (_, Twice::Same) => StoreError::Again(text),
    }
}

/// Success with a body of no interest, which is read so that its connection serves again.
pub(super) async fn drained(answer: WebAnswer, twice: Twice) -> StoreResult<()> {
    let body = answer.at_most(REFUSAL_BYTES_MAX).await;
    body.map(|_| ()).map_err(|error| lost(&error, twice))
}

/// Whole seconds; a date would be one of the store's clock.
fn seconds(text: &str) -> Option<Duration> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = Duration::from_secs(text.parse().unwrap_or(u64::MAX));
    is_plain.then(|| seconds.min(WAIT_MAX))
}

fn off_clock(text: &str) -> String {
    format!("{text}; this machine's clock is wrong, or the store's")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: Asked<'static> = Asked { twice: Twice::Same, of_bucket: false, region: "here" };
    const DIFFERS: Asked<'static> = Asked { twice: Twice::Differs, ..SAME };

    fn refusal(status: u16, code: &str) -> Refusal {
        let code = (!code.is_empty()).then(|| code.to_owned());
        Refusal { status, code, ..Refusal::default() }
    }

    /// The variant alone.
    fn kind(error: &StoreError) -> String {
        let shown = format!("{error:?}");
        shown.split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn refusals_have_meanings() {
        let rows = [
            (404, "NoSuchKey", "Missing", "Missing"),
            (404, "NoSuchUpload", "Missing", "Missing"),
            (404, "NoSuchBucket", "NoBucket", "NoBucket"),
            (404, "", "Missing", "Missing"),
            (403, "InvalidAccessKeyId", "Refused", "Refused"),
            (403, "SignatureDoesNotMatch", "Refused", "Refused"),
            (400, "ExpiredToken", "Refused", "Refused"),
            (400, "TokenRefreshRequired", "Refused", "Refused"),
            (403, "RequestTimeTooSkewed", "Refused", "Refused"),
            (401, "", "Refused", "Refused"),
            (403, "AccessDenied", "Denied", "Denied"),
            (403, "", "Denied", "Denied"),
            (412, "PreconditionFailed", "Changed", "Changed"),
            (412, "", "Changed", "Changed"),
            (416, "InvalidRange", "Changed", "Changed"),
            (409, "ConditionalRequestConflict", "Busy", "Busy"),
            (409, "BucketNotEmpty", "Failed", "Failed"),
            (503, "SlowDown", "Slow", "Slow"),
            (503, "", "Slow", "Unknown"),
            (429, "", "Slow", "Slow"),
            (500, "InternalError", "Again", "Unknown"),
            (500, "", "Again", "Unknown"),
            (502, "", "Again", "Unknown"),
            (504, "", "Again", "Unknown"),
            (400, "RequestTimeout", "Again", "Unknown"),
            (200, "InternalError", "Again", "Unknown"),
            (200, "SlowDown", "Slow", "Slow"),
            (200, "EntityTooSmall", "Failed", "Failed"),
            (200, "Whatever", "Failed", "Failed"),
            (301, "PermanentRedirect", "Elsewhere", "Elsewhere"),
            (307, "", "Elsewhere", "Elsewhere"),
            (400, "BadDigest", "Damaged", "Damaged"),
            (400, "XAmzContentSHA256Mismatch", "Damaged", "Damaged"),
            (400, "InvalidDigest", "Damaged", "Damaged"),
            (400, "EntityTooSmall", "Failed", "Failed"),
            (400, "InvalidPart", "Failed", "Failed"),
            (400, "InvalidPartOrder", "Failed", "Failed"),
            (501, "NotImplemented", "Unsupported", "Unsupported"),
            (501, "", "Unsupported", "Unsupported"),
            (405, "MethodNotAllowed", "Unsupported", "Unsupported"),
            (400, "", "Failed", "Failed"),
            (418, "Teapot", "Failed", "Failed"),
            (600, "", "Failed", "Failed"),
        ];
        for (status, code, same, differs) in rows {
            let refusal = refusal(status, code);
            assert_eq!(kind(&refusal.meaning(SAME)), same, "{status} {code}");
            assert_eq!(kind(&refusal.meaning(DIFFERS)), differs, "{status} {code}, once");
        }
        let of_bucket = Asked { of_bucket: true, ..SAME };
        assert_eq!(refusal(404, "").meaning(of_bucket), StoreError::NoBucket);
        let digest = Refusal { region: Some("own".to_owned()), ..refusal(400, "BadDigest") };
        assert_eq!(kind(&digest.meaning(SAME)), "Damaged");
        let marked = Refusal { is_marked_deleted: true, ..refusal(405, "MethodNotAllowed") };
        assert_eq!(marked.meaning(SAME), StoreError::Missing);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let region = || Some("eu-west-1".to_owned());
        for (status, code) in [(301, ""), (307, ""), (400, "AuthorizationQueryParametersError")] {
            let refusal = Refusal { region: region(), ..refusal(status, code) };
            let text = refusal.meaning(SAME).to_string();
            assert!(text.contains("AWS_REGION=eu-west-1") && text.contains("here"), "{text}");
        }
        let text = refusal(403, "RequestTimeTooSkewed").meaning(SAME).to_string();
        assert!(text.contains("clock") && text.contains("RequestTimeTooSkewed"), "{text}");
        let message = Some("Request has expired".to_owned());
        let expired = Refusal { message, ..refusal(403, "AccessDenied") };
        assert!(
            matches!(expired.meaning(SAME), StoreError::Refused(text) if text.contains("clock"))
        );
    }

    #[test]
    fn a_stores_text_is_shown_with_care() {
        assert_eq!(shown("a\x1b[31m\n\u{202e}b"), "a\\x1b[31m\\x0a\\xe2\\x80\\xaeb");
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), SHOWN_MAX + 1);
        let echoed = shown("bad: /b/k?X-Amz-Signature=abc&X-Amz-Credential=AKID");
        assert!(!echoed.contains("abc") && !echoed.contains("AKID"), "{echoed}");
    }

    #[test]
    fn waits_are_short() {
        let rows = [
            ("0", Some(0)),
            ("7", Some(7)),
            ("99999999", Some(30)),
            ("99999999999999999999999", Some(30)),
            ("-1", None),
            ("", None),
            ("1.5", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ];
        for (text, expected) in rows {
            assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn connections_that_fail_have_meanings() {
        let (host, reason) = ("h:1".to_owned(), "r".to_owned());
        let length = |came| WebError::Length { host: "h:1".to_owned(), expected: 5, came };
        let rows = [
            (WebError::Unreached { host: host.clone(), reason: reason.clone() }, "Again", "Again"),
            (
                WebError::Untrusted { host: host.clone(), reason: reason.clone() },
                "Untrusted",
                "Untrusted",
            ),
            (WebError::Broken { host: host.clone(), reason }, "Again", "Unknown"),
            (WebError::TimedOut { host, after: WAIT_MAX }, "Again", "Unknown"),
            (length(4), "Again", "Unknown"),
            (length(6), "Damaged", "Unknown"),
            (WebError::Unusable("u"), "Failed", "Failed"),
        ];
        for (error, same, differs) in rows {
            assert_eq!(kind(&lost(&error, Twice::Same)), same, "{error}");
            assert_eq!(kind(&lost(&error, Twice::Differs)), differs, "{error}");
        }
    }
}
