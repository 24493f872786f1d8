//! Where a bucket is, and how a request to it is signed: as an address that holds its signature.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpService,
};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};

use crate::transport::web::WebRequest;

use super::super::{Key, StoreError, StoreResult};
use super::refusals::shown;

/// How long a signature may be used: a store looks when a request begins, so that this is no limit
/// to a body; and a clock that is wrong by more than a quarter of an hour is refused anyway.
pub(crate) const SIGNATURE_LIFE: Duration = Duration::from_secs(15 * 60);

/// Which bucket, where, and by whose leave.
#[derive(Clone)]
pub struct SignedSettings {
    /// Its name.
    pub bucket: String,
    /// Its region, which a signature names.
    pub region: String,
    /// `http[s]://host[:port][/prefix]`, without the bucket; AWS where it is not given.
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the host, and not as the first part of the path.
    pub virtual_hosted: bool,
    /// Whether checksums are sent; some that speak S3 refuse the headers.
    pub checksums: bool,
    /// Asked before each signature.
    pub(crate) credentials: AwsCredentialProvider,
}

impl SignedSettings {
    /// A bucket of AWS, for keys that stay as they are; `session` is the token that belongs to
    /// keys of a short life.
    #[must_use]
    pub fn of_keys(bucket: &str, region: &str, id: &str, key: &str, session: Option<&str>) -> Self {
        let credential = AwsCredential {
            key_id: id.to_owned(),
            secret_key: key.to_owned(),
            token: session.map(str::to_owned),
        };
        let credentials = object_store::StaticCredentialProvider::new(credential);
        Self {
            bucket: bucket.to_owned(),
            region: region.to_owned(),
            endpoint: None,
            virtual_hosted: true,
            checksums: true,
            credentials: Arc::new(credentials),
        }
    }
}

impl std::fmt::Debug for SignedSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedSettings")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("virtual_hosted", &self.virtual_hosted)
            .finish_non_exhaustive()
    }
}

/// A request before it is signed.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking<'a> {
    pub(super) method: Method,
    /// The object; the bucket itself where there is none.
    pub(super) key: Option<&'a Key>,
    pub(super) query: Vec<(&'static str, String)>,
    /// All are signed: a store refuses what is named `x-amz-` and is not.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<'a> Asking<'a> {
    pub(super) fn new(method: Method, key: Option<&'a Key>) -> Self {
        Self { method, key, ..Self::default() }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// # Errors
    /// [`StoreError::Failed`] where no header can carry that.
    pub(super) fn header(mut self, name: &str, value: &str) -> StoreResult<Self> {
        let refused = || StoreError::Failed(format!("no request can carry the header {name}"));
        let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !is_plain || value.trim() != value {
            return Err(refused());
        }
        let name = HeaderName::try_from(name).map_err(|_| refused())?;
        let value = HeaderValue::try_from(value).map_err(|_| refused())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// Signs requests; sends nothing.
#[derive(Clone)]
pub(super) struct Signing {
    store: AmazonS3,
}

impl Signing {
    /// # Errors
    /// [`StoreError::Failed`] where the endpoint is no address of a store.
    pub(super) fn new(settings: &SignedSettings) -> StoreResult<Self> {
        let store = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_credentials(Arc::clone(&settings.credentials))
            .with_http_connector(Mute)
            // A virtual host, for this builder, is an endpoint that has the bucket already.
            .with_virtual_hosted_style_request(true)
            .with_endpoint(address(settings)?)
            .build()
            .map_err(|error| StoreError::Failed(shown(&error.to_string())))?;
        Ok(Self { store })
    }

    /// The request as a value, good for `life`.
    ///
    /// # Errors
    /// [`StoreError::Failed`] for a key that cannot be asked for, and whatever the credentials'
    /// source says.
    pub(super) async fn sign(&self, asking: Asking<'_>, life: Duration) -> StoreResult<WebRequest> {
        let path = asking.key.map_or(Ok(Path::ROOT), path)?;
        let mut options = SignedUrlOptions::new().with_query(asking.query);
        options.signed_headers = asking.headers.clone();
        let signed = self.store.signed_url_opts(asking.method.clone(), &path, life, &options);
        let address = signed.await.map_err(|error| unsigned(&error))?.to_string();
        let Asking { method, headers, body, .. } = asking;
        Ok(WebRequest { method, address, headers, body })
    }
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signing(…)")
    }
}

/// The library takes keys as they are, but for control bytes and for what it would strip.
fn path(key: &Key) -> StoreResult<Path> {
    let refused = "a key with control bytes cannot be asked for: they are written %XX";
    match Path::parse(key.as_str()) {
        Ok(path) if path.as_ref() == key.as_str() => Ok(path),
        _ => Err(StoreError::Failed(refused.to_owned())),
    }
}

/// An error of a credentials' source comes through as it is.
fn unsigned(error: &object_store::Error) -> StoreError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return error.clone();
        }
        cause = error.source();
    }
    StoreError::Refused(shown(&format!("no request can be signed: {error}")))
}

/// The bucket's own address, without a `/` at its end.
pub(super) fn address(settings: &SignedSettings) -> StoreResult<String> {
    let SignedSettings { bucket, region, .. } = settings;
    let refused = |why: &str| {
        let text = "the endpoint is no address of a store: it is http[s]://host[:port][/prefix]";
        StoreError::Failed(format!("{text}{why}"))
    };
    let is_name = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !text.is_empty() && text.bytes().all(is_plain) && !text.starts_with('.')
    };
    if !is_name(bucket) || !is_name(region) {
        let text = "a bucket or a region is named by letters, digits, `-`, `.` and `_`";
        return Err(StoreError::Failed(text.to_owned()));
    }
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let default = || format!("https://s3.{region}.amazonaws.com{suffix}");
    let endpoint = settings.endpoint.clone().unwrap_or_else(default);
    let parsed: Uri = endpoint.parse().map_err(|_| refused(""))?;
    let (scheme, authority) = match (parsed.scheme_str(), parsed.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => (scheme, authority.as_str()),
        _ => return Err(refused("")),
    };
    let is_bare = !authority.contains('@') && parsed.query().is_none() && !endpoint.contains('#');
    let prefix = parsed.path().trim_end_matches('/');
    let is_numeric = parsed
        .host()
        .is_none_or(|host| host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok());
    match (is_bare, settings.virtual_hosted) {
        (false, _) => Err(refused(", and nothing else")),
        (true, true) if is_numeric => Err(refused(", whose host is a name here")),
        (true, true) => Ok(format!("{scheme}://{bucket}.{authority}{prefix}")),
        (true, false) => Ok(format!("{scheme}://{authority}{prefix}/{bucket}")),
    }
}

/// The library signs, and what it signs is sent elsewhere; it is given no way out.
#[derive(Debug)]
struct Mute;

impl HttpConnector for Mute {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self))
    }
}

#[async_trait]
impl HttpService for Mute {
    async fn call(&self, _request: HttpRequest) -> Result<HttpResponse, HttpError> {
        Err(HttpError::new(HttpErrorKind::Unknown, std::io::Error::other("nothing is sent here")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: Option<&str>, virtual_hosted: bool) -> SignedSettings {
        let settings = SignedSettings::of_keys("b", "eu-west-1", "AKID", "sekret", Some("tooken"));
        SignedSettings { endpoint: endpoint.map(str::to_owned), virtual_hosted, ..settings }
    }

    #[test]
    fn buckets_have_addresses() {
        let rows = [
            (None, true, "https://b.s3.eu-west-1.amazonaws.com"),
            (None, false, "https://s3.eu-west-1.amazonaws.com/b"),
            (Some("http://127.0.0.1:9/"), false, "http://127.0.0.1:9/b"),
            (Some("https://host/pre/fix/"), false, "https://host/pre/fix/b"),
            (Some("https://host:8"), true, "https://b.host:8"),
        ];
        for (endpoint, virtual_hosted, expected) in rows {
            let found = address(&settings(endpoint, virtual_hosted)).unwrap();
            assert_eq!(found, expected);
        }
        let china = SignedSettings { region: "cn-north-1".to_owned(), ..settings(None, true) };
        assert_eq!(address(&china).unwrap(), "https://b.s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn what_is_no_endpoint() {
        let rows = [
            ("", false),
            ("host", false),
            ("ftp://host", false),
            ("https://", false),
            ("https://user:word@host", false),
            ("https://host?a=b", false),
            ("https://host#a", false),
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
        ];
        for (endpoint, virtual_hosted) in rows {
            let outcome = address(&settings(Some(endpoint), virtual_hosted));
            assert!(matches!(outcome, Err(StoreError::Failed(_))), "{endpoint}: {outcome:?}");
        }
        for bucket in ["", "a/b", "a?b", "a b", "..", "a\n", "ä"] {
            let settings = SignedSettings { bucket: bucket.to_owned(), ..settings(None, false) };
            assert!(address(&settings).is_err(), "{bucket}");
        }
    }

    #[tokio::test]
    async fn a_request_is_signed_with_all_it_has() {
        let settings = settings(Some("http://127.0.0.1:9"), false);
        let signing = Signing::new(&settings).unwrap();
        let key = Key::new("a b/%41+~#?ä'").unwrap();
        let asking = Asking::new(Method::PUT, Some(&key)).query("uploadId", "a+b/=");
        let asking = asking.header("x-amz-meta-mtime", "1 2").unwrap();
        let asking = asking.header("if-none-match", "*").unwrap();
        let request = signing.sign(asking, SIGNATURE_LIFE).await.unwrap();
        let (path, query) = request.address.split_once('?').unwrap();
        assert_eq!(path, "http://127.0.0.1:9/b/a%20b/%2541%2B~%23%3F%C3%A4%27");
        let rest = query.strip_prefix("uploadId=a%2Bb%2F%3D&").unwrap();
        let signed = "X-Amz-SignedHeaders=host%3Bif-none-match%3Bx-amz-meta-mtime";
        for part in [signed, "X-Amz-Expires=900", "X-Amz-Security-Token=tooken", "AKID"] {
            assert!(rest.contains(part), "{part}");
        }
        assert_eq!(request.headers["x-amz-meta-mtime"], "1 2");
        let shown = format!("{settings:?} {signing:?} {request:?}");
        for secret in ["sekret", "tooken", "AKID", "Signature"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_for() {
        let signing = Signing::new(&settings(None, true)).unwrap();
        for key in ["a\nb", "a\0", "\u{7f}"] {
            let key = Key::new(key).unwrap();
            let outcome = signing.sign(Asking::new(Method::GET, Some(&key)), SIGNATURE_LIFE).await;
            assert!(matches!(outcome, Err(StoreError::Failed(_))), "{key}");
        }
        for value in ["a\n", " a", "a ", "ä", "\0"] {
            let outcome = Asking::new(Method::PUT, None).header("x-amz-meta-a", value);
            assert!(matches!(outcome, Err(StoreError::Failed(_))), "{value:?}");
        }
        assert!(Asking::new(Method::PUT, None).header("x-amz-meta-a b", "c").is_err());
    }

    #[tokio::test]
    async fn the_library_sends_nothing() {
        use object_store::ObjectStoreExt;
        let signing = Signing::new(&settings(Some("http://127.0.0.1:9"), false)).unwrap();
        let outcome = signing.store.head(&Path::from("a")).await.unwrap_err();
        assert!(outcome.to_string().contains("nothing is sent here"), "{outcome}");
    }
}
