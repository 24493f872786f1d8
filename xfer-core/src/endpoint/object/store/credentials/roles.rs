//! Roles: keys for a while, of the Security Token Service.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::asks::{Asks, Said, form, request, shown};
use super::problem::OpenError;
use super::profiles::text_of;
use super::refreshed::{Fresh, Refreshed, Source};
use super::{is_token, keys, moment};
use crate::transport::web::WebRequest;

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

const FORM: &str = "application/x-www-form-urlencoded";

/// Where the service listens.
pub(super) fn service_of(region: &str) -> String {
    let chinese = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts.{region}.amazonaws.com{chinese}/")
}

/// A role that is taken on.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session: String,
    pub(super) external_id: Option<String>,
    pub(super) seconds: Option<String>,
    pub(super) service: String,
    pub(super) region: String,
    /// The file, variable or profile that names it.
    pub(super) place: String,
}

impl Role {
    fn fields<'a>(&'a self, action: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut fields = vec![
            ("Action", action),
            ("Version", "2011-06-15"),
            ("RoleArn", self.arn.as_str()),
            ("RoleSessionName", self.session.as_str()),
        ];
        fields.extend(self.seconds.as_deref().map(|seconds| ("DurationSeconds", seconds)));
        fields.extend(self.external_id.as_deref().map(|id| ("ExternalId", id)));
        fields
    }

    fn given(&self, said: &Said) -> Result<Fresh<AwsCredential>, OpenError> {
        let by = format!("{}: role", self.place);
        if said.status != 200 {
            let of = |name| said.element(name).unwrap_or_default();
            let why = format!("{} {}", of("Code"), of("Message"));
            let why = if why.trim().is_empty() { format!("status {}", said.status) } else { why };
            return Err(match said.status {
                500.. | 429 => OpenError::Unreached(format!("{by}: {}", shown(&why))),
                _ => OpenError::refused(by, shown(&why)),
            });
        }
        let of = |name| {
            let missing = || OpenError::refused(&by, "what it answers is not understood");
            said.element(name).ok_or_else(missing)
        };
        let (id, secret) = (of("AccessKeyId")?, of("SecretAccessKey")?);
        let credential = keys(&by, &id, &secret, Some(&of("SessionToken")?))?;
        let until = moment::seconds(&of("Expiration")?);
        Ok(Fresh { credential, until })
    }
}

/// A role taken on with a token that something else than AWS gave out.
#[derive(Debug)]
pub(super) struct WebIdentity {
    pub(super) role: Role,
    pub(super) file: PathBuf,
    pub(super) asks: Arc<dyn Asks>,
}

#[async_trait]
impl Source<AwsCredential> for WebIdentity {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        let place = self.file.display();
        let token = text_of(&self.file, TOKEN_BYTES_MAX)?
            .ok_or_else(|| OpenError::broken(place, "there is no such file"))?;
        let token = token.trim();
        if !is_token(token) {
            return Err(OpenError::broken(self.file.display(), "it holds no token"));
        }
        let mut fields = self.role.fields("AssumeRoleWithWebIdentity");
        fields.push(("WebIdentityToken", token));
        let headers = [("content-type", FORM)];
        let body = Bytes::from(form(&fields));
        let asked = request(Method::POST, self.role.service.clone(), &headers, body);
        self.role.given(&self.asks.ask(asked).await?)
    }
}

/// A role taken on with other keys.
#[derive(Debug)]
pub(super) struct Assumed {
    pub(super) role: Role,
    pub(super) with: Refreshed<AwsCredential>,
    pub(super) asks: Arc<dyn Asks>,
}

impl Assumed {
    fn signed(&self, with: &AwsCredential) -> Option<WebRequest> {
        let body = Bytes::from(form(&self.role.fields("AssumeRole")));
        let mut asked = HttpRequest::new(HttpRequestBody::from(body.clone()));
        *asked.method_mut() = Method::POST;
        *asked.uri_mut() = self.role.service.parse().ok()?;
        asked.headers_mut().insert("content-type", HeaderValue::from_static(FORM));
        let signer = AwsAuthorizer::new(with, "sts", &self.role.region);
        signer.try_authorize(&mut asked, None).ok()?;
        let (mut parts, _) = asked.into_parts();
        parts.headers.remove("host");
        let (address, headers) = (self.role.service.clone(), parts.headers);
        Some(WebRequest { method: Method::POST, address, headers, body })
    }
}

#[async_trait]
impl Source<AwsCredential> for Assumed {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        let with = self.with.now().await?;
        let unsigned = || OpenError::broken(&self.role.place, "the request cannot be signed");
        let asked = self.signed(&with).ok_or_else(unsigned)?;
        self.role.given(&self.asks.ask(asked).await?)
    }
}
