//! Carries the requests of the library that knows Azure and GCS, so that all go the way of ours: no
//! redirection, our roots, no proxy for this machine, and bounded answers.
//!
//! What a store answers instead of doing what it was asked becomes a [`StoreError`] here, where
//! status, headers and method are known; the library passes it on within its own errors, whose text
//! is never shown, for it may hold an address with a signature.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use xfer_protocol::path::Escaped;

use super::StoreError;
use super::xml::{Element, XML_BYTES_MAX};
use crate::transport::web::{Web, WebAnswer, WebError, WebRequest};

/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Characters of a refusal that an error repeats.
const REASON_MAX: usize = 200;

/// Bytes of a coding's name that an error repeats.
const CODING_MAX: usize = 32;

/// What stands in signed addresses and in headers that sign; a store's text may repeat either.
const SIGNING: [&str; 5] = ["sig=", "sig%3d", "x-goog-", "x-amz-", "bearer "];

/// The longest wait that a store may ask for.
const AFTER_MAX: u64 = 300;

/// Headers that the library does not know of, to be sent with a request; none is signed.
#[derive(Clone, Debug)]
pub(super) struct Besides(pub(super) HeaderMap);

/// The headers of an answer, whole.
#[derive(Clone, Debug)]
pub(super) struct Head(pub(super) HeaderMap);

/// Carries requests.
#[derive(Clone, Debug)]
pub(super) struct Carrier(pub(super) Web);

impl HttpConnector for Carrier {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Carrier {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let carried = self.carry(request).await;
        carried.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))
    }
}

impl Carrier {
    /// Asks once.
    ///
    /// # Errors
    /// Where the store does not do what it is asked, or nobody can tell whether it did.
    pub(super) async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, StoreError> {
        let (mut parts, body) = request.into_parts();
        let body = whole(body).await?;
        parts.headers.remove(HOST);
        if !body.is_empty() {
            parts.headers.remove(CONTENT_LENGTH);
        }
        // Whatever coding an object has, its bytes come as they are stored; of all else, which is
        // read here, nothing is unpacked.
        let is_object = parts.method == Method::HEAD || parts.headers.contains_key(RANGE);
        let coding = if is_object { "gzip" } else { "identity" };
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        if let Some(Besides(headers)) = parts.extensions.remove() {
            parts.headers.extend(headers);
        }
        let ranged = parts.headers.get(RANGE).and_then(length_of);
        let (method, address) = (parts.method.clone(), parts.uri.to_string());
        let asked = WebRequest { method: parts.method, address, headers: parts.headers, body };
        let answer = self.0.ask(asked).await.map_err(|error| broken(&method, error))?;
        let (status, headers) = (answer.status, answer.headers.clone());
        if !(200..300).contains(&status) {
            return Err(refused(&method, answer).await);
        }
        let body = match (status, ranged) {
            (206, Some(length)) => answer.exactly(length).await,
            _ => answer.at_most(XML_BYTES_MAX).await,
        };
        let body = body.map_err(|error| broken(&method, error))?;
        // What follows a writing is not read, and the writing was done.
        if !is_object && matches!(method, Method::GET | Method::POST) && !body.is_empty() {
            plain(&headers)?;
        }
        let mut carried = HttpResponse::new(body.into());
        *carried.status_mut() = StatusCode::from_u16(status)
            .map_err(|_| StoreError::Nonsense("a status that is none".to_owned()))?;
        *carried.headers_mut() = checked(headers.clone())?;
        carried.extensions_mut().insert(Head(headers));
        Ok(carried)
    }
}

/// Refuses a document in a coding that was not asked for.
fn plain(headers: &HeaderMap) -> Result<(), StoreError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let is_coding =
        |coding: &&[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
    match codings.find(is_coding) {
        Some(coding) => {
            let shown = &coding[..coding.len().min(CODING_MAX)];
            let why = format!("it comes in the coding {}", Escaped(shown));
            Err(StoreError::Nonsense(why))
        }
        None => Ok(()),
    }
}

/// The last byte of a range that cannot be counted on.
fn checked(headers: HeaderMap) -> Result<HeaderMap, StoreError> {
    let range = headers.get(http::header::CONTENT_RANGE).map(HeaderValue::to_str);
    let ends_nowhere = |range: &str| range.split(['-', '/']).any(|number| number.len() > 19);
    match range {
        Some(Err(_)) => Err(StoreError::Nonsense("a range that is none".to_owned())),
        Some(Ok(range)) if ends_nowhere(range) => {
            Err(StoreError::Nonsense("a range beyond any object".to_owned()))
        }
        _ => Ok(headers),
    }
}

/// Bytes of `bytes=1-5`.
fn length_of(range: &HeaderValue) -> Option<usize> {
    let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    usize::try_from(last.checked_sub(first)?.checked_add(1)?).ok()
}

async fn whole(mut body: HttpRequestBody) -> Result<Bytes, StoreError> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(bytes.clone());
    }
    let mut pieces: Vec<Bytes> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StoreError::Failed("the body cannot be read".to_owned()))?;
        pieces.extend(frame.into_data().ok());
    }
    Ok(match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.remove(0),
        _ => {
            let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| all.extend_from_slice(piece));
            all.freeze()
        }
    })
}

fn changes_nothing(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// A request without a whole answer.
fn broken(method: &Method, error: WebError) -> StoreError {
    let shown = error.to_string();
    match error {
        WebError::Unreached { .. } => StoreError::Again(shown),
        WebError::Untrusted { .. } => StoreError::Untrusted(shown),
        WebError::Unusable(_) => StoreError::Failed(shown),
        WebError::Length { .. } if changes_nothing(method) => StoreError::Damaged(shown),
        _ if changes_nothing(method) => StoreError::Again(shown),
        _ => StoreError::Unknown(shown),
    }
}

/// An answer that is a refusal.
async fn refused(method: &Method, answer: WebAnswer) -> StoreError {
    let status = answer.status;
    let after = answer.header(RETRY_AFTER.as_str()).and_then(|text| text.parse::<u64>().ok());
    let after = after.map(|seconds| Duration::from_secs(seconds.min(AFTER_MAX)));
    let named = answer.header("x-ms-error-code").map(str::to_owned);
    let body = answer.at_most(REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let document = Element::parse(&body).unwrap_or_default();
    let code = named.as_deref().or_else(|| document.text_of("Code")).unwrap_or_default();
    sort(method, status, code, reason(status, code, &document), after)
}

/// What a document says that came with a success, and is one of an error all the same; nothing but
/// a reading is asked so.
pub(super) fn refused_within(document: &Element) -> StoreError {
    let code = document.text_of("Code").unwrap_or_default();
    let status = match code {
        "NoSuchBucket" | "NoSuchKey" | "NoSuchUpload" => 404,
        "AccessDenied" | "ExpiredToken" | "InvalidSecurity" | "SignatureDoesNotMatch" => 403,
        "InternalError" | "RequestTimeout" => 500,
        "ServiceUnavailable" => 503,
        _ if is_throttling(code) => 503,
        _ => 400,
    };
    sort(&Method::GET, status, code, reason(200, code, document), None)
}

fn reason(status: u16, code: &str, document: &Element) -> String {
    let message = document.text_of("Message").unwrap_or_default();
    let [code, message] = [code, message].map(|text| if is_signing(text) { "" } else { text });
    let reason: String = format!("{status} {code} {message}").chars().take(REASON_MAX).collect();
    Escaped(reason.trim().as_bytes()).to_string()
}

fn is_signing(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SIGNING.iter().any(|mark| text.contains(mark))
}

/// Whether a code says that nothing was done, because there was too much to do.
fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ServerBusy" | "SlowDown" | "ThrottlingException" | "TooManyRequests" | "RateLimitExceeded"
    )
}

fn sort(
    method: &Method,
    status: u16,
    code: &str,
    reason: String,
    after: Option<Duration>,
) -> StoreError {
    match (status, code) {
        (404, "NoSuchBucket" | "ContainerNotFound" | "ResourceNotFound") => StoreError::NoBucket,
        (404, _) => StoreError::Missing,
        (401, _) => StoreError::Refused(reason),
        (
            403,
            "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "InvalidSecurity"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "RequestTimeTooSkewed",
        ) => StoreError::Refused(reason),
        (403, _) => StoreError::Denied(reason),
        (409 | 412, "LeaseIdMissing" | "LeaseAlreadyPresent" | "OperationAborted") => {
            StoreError::Busy
        }
        (409, "BlobAlreadyExists") | (304 | 412 | 416, _) => StoreError::Changed,
        (409, "ContainerBeingDeleted" | "ContainerDisabled") => StoreError::NoBucket,
        (409, _) => StoreError::Busy,
        (400, "Md5Mismatch" | "Crc64Mismatch" | "BadDigest" | "InvalidDigest") => {
            StoreError::Damaged(reason)
        }
        // The blocks are no longer there, as after a completion whose answer got lost.
        (400, "InvalidBlockList") => StoreError::Missing,
        // A proxy before the store says that as well, whatever became of the request.
        (429 | 503, code) if changes_nothing(method) || is_throttling(code) => {
            StoreError::Slow { reason, after }
        }
        (408 | 500.., _) if changes_nothing(method) => StoreError::Again(reason),
        (408 | 429 | 500.., _) => StoreError::Unknown(reason),
        (300..400, _) => {
            StoreError::Elsewhere(format!("{reason}: it leads elsewhere, and nothing follows"))
        }
        _ => StoreError::Failed(reason),
    }
}

/// What a carried request, or a source of credentials, came to; it stands within the library's
/// error.
pub(super) fn within(error: &(dyn Error + 'static)) -> Option<StoreError> {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.filter_map(|error| error.downcast_ref::<StoreError>()).next().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let slow = StoreError::Slow { reason: "r".to_owned(), after: None };
        for (method, status, code, wanted) in [
            (Method::GET, 404, "BlobNotFound", StoreError::Missing),
            (Method::PUT, 404, "ContainerNotFound", StoreError::NoBucket),
            (Method::GET, 403, "AuthenticationFailed", StoreError::Refused("r".to_owned())),
            (Method::GET, 403, "AuthorizationFailure", StoreError::Denied("r".to_owned())),
            (Method::PUT, 412, "ConditionNotMet", StoreError::Changed),
            (Method::PUT, 412, "LeaseIdMissing", StoreError::Busy),
            (Method::PUT, 409, "BlobAlreadyExists", StoreError::Changed),
            (Method::PUT, 503, "ServerBusy", slow.clone()),
            (Method::GET, 503, "", slow.clone()),
            (Method::PUT, 503, "", StoreError::Unknown("r".to_owned())),
            (Method::POST, 429, "", StoreError::Unknown("r".to_owned())),
            (Method::PUT, 500, "OperationTimedOut", StoreError::Unknown("r".to_owned())),
            (Method::PUT, 400, "InvalidBlockList", StoreError::Missing),
            (Method::GET, 429, "", slow),
            (Method::GET, 500, "", StoreError::Again("r".to_owned())),
            (Method::POST, 500, "", StoreError::Unknown("r".to_owned())),
            (Method::PUT, 504, "", StoreError::Unknown("r".to_owned())),
            (Method::PUT, 400, "Md5Mismatch", StoreError::Damaged("r".to_owned())),
            (Method::PUT, 400, "", StoreError::Failed("r".to_owned())),
        ] {
            let got = sort(&method, status, code, "r".to_owned(), None);
            assert_eq!(got, wanted, "{method} {status} {code}");
        }
        let moved = sort(&Method::GET, 307, "", "307".to_owned(), None);
        assert!(matches!(moved, StoreError::Elsewhere(told) if told.contains("elsewhere")));
    }

    #[test]
    fn no_signature_is_repeated() {
        let error = |message: &str| {
            let text =
                format!("<Error><Code>InternalError</Code><Message>{message}</Message></Error>");
            refused_within(&Element::parse(text.as_bytes()).unwrap())
        };
        assert_eq!(error("later"), StoreError::Again("200 InternalError later".to_owned()));
        for secret in
            ["at https://h/b?sv=1&amp;SIG=k", "X-Goog-Signature=k", "x-amz-date", "bearer k"]
        {
            assert_eq!(error(secret), StoreError::Again("200 InternalError".to_owned()));
        }
    }

    #[test]
    fn a_document_comes_as_it_is() {
        let mut headers = HeaderMap::new();
        assert_eq!(plain(&headers), Ok(()));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("Identity"));
        assert_eq!(plain(&headers), Ok(()));
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let refused = plain(&headers).unwrap_err();
        assert!(matches!(&refused, StoreError::Nonsense(why) if why.contains("gzip")), "{refused}");
    }

    #[test]
    fn a_range_has_a_length() {
        for (text, length) in [
            ("bytes=0-0", Some(1)),
            ("bytes=5-9", Some(5)),
            ("bytes=5-", None),
            ("bytes=-5", None),
            ("bytes=9-5", None),
            ("bytes=0-18446744073709551615", None),
        ] {
            assert_eq!(length_of(&HeaderValue::from_static(text)), length, "{text}");
        }
        let mut headers = HeaderMap::new();
        let range = HeaderValue::from_static("bytes 0-18446744073709551615/5");
        headers.insert("content-range", range);
        assert!(checked(headers).is_err());
    }
}
