//! Requests that the library has no words for, signed by it and made here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;

use super::super::carrier::{Carrier, within};
use super::super::credentials::encoded;
use super::super::{Checksum, Key, StoreError, StoreResult};

/// What signs.
pub(super) enum Signer {
    Azure { account: String, credentials: AzureCredentialProvider },
    Gcs { credentials: GcpCredentialProvider },
}

/// One bucket, asked by requests of ours.
pub(super) struct Direct {
    pub(super) carrier: Carrier,
    /// Its address, without a `/` at its end.
    pub(super) base: String,
    pub(super) signer: Signer,
}

/// A request before it is signed.
#[derive(Default)]
pub(super) struct Asking<'a> {
    pub(super) method: Method,
    pub(super) key: Option<&'a Key>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// An answer.
pub(super) struct Answered {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answered {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The state of what was just written.
    pub(super) fn etag(&self) -> StoreResult<String> {
        let none = || StoreError::Unknown("the answer has no entity tag".to_owned());
        self.header("etag").map(str::to_owned).ok_or_else(none)
    }
}

/// An error of the library; what stands within it is ours, and its text is not shown.
pub(super) fn unsigned(error: &object_store::Error) -> StoreError {
    let why = || StoreError::Refused("no request can be signed with these credentials".to_owned());
    within(error).unwrap_or_else(why)
}

impl Direct {
    pub(super) async fn ask(&self, asking: Asking<'_>) -> StoreResult<Answered> {
        let unusable = |_| StoreError::Failed("no address can carry this key".to_owned());
        let mut address = self.base.clone();
        for part in asking.key.iter().flat_map(|key| key.as_str().split('/')) {
            address.push('/');
            address.push_str(&encoded(part));
        }
        for (mark, (name, value)) in
            std::iter::once('?').chain(std::iter::repeat('&')).zip(&asking.query)
        {
            address.push(mark);
            address.push_str(name);
            address.push('=');
            address.push_str(&encoded(value));
        }
        let length = asking.body.len();
        let mut request = HttpRequest::new(HttpRequestBody::from(asking.body));
        *request.method_mut() = asking.method.clone();
        *request.uri_mut() = address.parse().map_err(unusable)?;
        if !matches!(asking.method, Method::GET | Method::HEAD) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        for (name, value) in &asking.headers {
            let refused = || StoreError::Failed(format!("no request can carry the header {name}"));
            let value = HeaderValue::try_from(value).map_err(|_| refused())?;
            let name = HeaderName::try_from(name).map_err(|_| refused())?;
            request.headers_mut().insert(name, value);
        }
        self.sign(&mut request).await?;
        let answer = self.carrier.carry(request).await?;
        let (parts, body) = answer.into_parts();
        let lost = |_| StoreError::Unknown("the answer is lost".to_owned());
        Ok(Answered { headers: parts.headers, body: body.bytes().await.map_err(lost)? })
    }

    async fn sign(&self, request: &mut HttpRequest) -> StoreResult<()> {
        match &self.signer {
            Signer::Azure { account, credentials } => {
                let credential = credentials.get_credential().await.map_err(|e| unsigned(&e))?;
                let authorizer = AzureAuthorizer::new(&credential, account);
                authorizer.try_authorize(request).map_err(|error| unsigned(&error))
            }
            Signer::Gcs { credentials } => {
                let credential = credentials.get_credential().await.map_err(|e| unsigned(&e))?;
                let bearer = HeaderValue::try_from(format!("Bearer {}", credential.bearer));
                let refused = |_| StoreError::Refused("a token that is none".to_owned());
                let mut bearer = bearer.map_err(refused)?;
                bearer.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, bearer);
                Ok(())
            }
        }
    }
}

/// `Content-MD5`, which every store compares.
pub(super) fn md5(checksum: Checksum) -> Option<(String, String)> {
    match checksum {
        Checksum::Md5(sum) => Some(("content-md5".to_owned(), STANDARD.encode(sum))),
        _ => None,
    }
}

/// Sixteen bytes of MD5.
pub(super) fn of_md5(text: &str) -> Option<Checksum> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Checksum::Md5)
}

/// The sums of `x-goog-hash`: `crc32c=…,md5=…`, in one header or two.
pub(super) fn of_goog(headers: &HeaderMap) -> Vec<Checksum> {
    let texts = headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(',')).filter_map(|pair| pair.split_once('='));
    let sums = pairs.filter_map(|(name, sum)| match name.trim() {
        "crc32c" => {
            let bytes = STANDARD.decode(sum.trim()).ok()?.try_into().ok()?;
            Some(Checksum::Crc32c(u32::from_be_bytes(bytes)))
        }
        "md5" => of_md5(sum),
        _ => None,
    });
    sums.collect()
}
