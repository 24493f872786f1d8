//! The session of `aws sso login`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use object_store::aws::AwsCredential;
use serde::Deserialize;

use super::asks::{Asks, form, request};
use super::problem::OpenError;
use super::profiles::text_of;
use super::refreshed::{Fresh, Source};
use super::{is_token, keys, moment};
use crate::clock::SystemClock;

/// Bytes of a file with a token.
const CACHE_BYTES_MAX: u64 = 256 << 10;

/// A role that a session opens.
#[derive(Debug)]
pub(super) struct Session {
    /// The file in which `aws sso login` leaves its token.
    pub(super) cache: PathBuf,
    pub(super) region: String,
    pub(super) account: String,
    pub(super) role: String,
    pub(super) profile: String,
    pub(super) asks: Arc<dyn Asks>,
}

/// The name under which a session's token lies in the cache.
pub(super) fn cached_as(name: &str) -> String {
    let sum = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, name.as_bytes());
    sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>() + ".json"
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    access_token: String,
    expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    role_credentials: RoleCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    /// In milliseconds.
    expiration: i64,
}

impl Session {
    fn over(&self) -> OpenError {
        let why = format!("the session is over: aws sso login --profile {}", self.profile);
        OpenError::refused(format!("profile {}", self.profile), why)
    }

    fn token(&self) -> Result<String, OpenError> {
        let place = self.cache.display();
        let text = text_of(&self.cache, CACHE_BYTES_MAX)?.ok_or_else(|| self.over())?;
        let why = "it holds no session; aws sso login writes it anew";
        let cached: Cached =
            serde_json::from_str(&text).map_err(|_| OpenError::broken(&place, why))?;
        let until = moment::seconds(&cached.expires_at);
        let until = until.ok_or_else(|| OpenError::broken(&place, why))?;
        if !is_token(&cached.access_token) {
            return Err(OpenError::broken(place, why));
        }
        let is_over = until <= SystemClock::shared().now().seconds;
        if is_over { Err(self.over()) } else { Ok(cached.access_token) }
    }
}

#[async_trait]
impl Source<AwsCredential> for Session {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        let token = self.token()?;
        let query = form(&[("role_name", &self.role), ("account_id", &self.account)]);
        let region = &self.region;
        let address =
            format!("https://portal.sso.{region}.amazonaws.com/federation/credentials?{query}");
        let headers = [("x-amz-sso_bearer_token", token.as_str())];
        let asked = request(Method::GET, address, &headers, Bytes::new());
        let said = self.asks.ask(asked).await?;
        let by = format!("profile {}: AWS access portal", self.profile);
        match said.status {
            200 => {}
            401 => return Err(self.over()),
            429 | 500.. => {
                return Err(OpenError::Unreached(format!("{by}: status {}", said.status)));
            }
            status => return Err(OpenError::refused(by, format!("status {status}"))),
        }
        let given = said.json::<Given>(&by)?.role_credentials;
        let token = Some(given.session_token.as_str());
        let credential = keys(&by, &given.access_key_id, &given.secret_access_key, token)?;
        Ok(Fresh { credential, until: Some(given.expiration / 1000) })
    }
}
