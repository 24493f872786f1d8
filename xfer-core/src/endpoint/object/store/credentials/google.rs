//! What opens a bucket of Google Cloud Storage.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use object_store::client::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GcpCredentialProvider};
use serde::Deserialize;

use super::asks::{Asks, form, request, shown};
use super::environment::Environment;
use super::is_token;
use super::problem::OpenError;
use super::profiles::text_of;
use super::refreshed::{Fresh, Refreshed, Source};
use crate::clock::SystemClock;
use crate::transport::web::Web;

/// Bytes of a file with credentials.
const FILE_BYTES_MAX: u64 = 64 << 10;

const TOKENS: &str = "https://oauth2.googleapis.com/token";

const METADATA: &str = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/\
                        default/token";

/// What was found.
pub(in super::super) enum Google {
    /// The JSON of a service account.
    Account {
        json: String,
        /// The endpoint that it names, and where it stands.
        endpoint: Option<(String, String)>,
    },
    /// Tokens.
    Tokens(GcpCredentialProvider),
}

impl std::fmt::Debug for Google {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Account { .. } => "Account",
            Self::Tokens(_) => "Tokens",
        })
    }
}

impl Google {
    /// The endpoint that comes with the credentials, and where it stands.
    pub(in super::super) fn endpoint(&self) -> Option<(String, String)> {
        match self {
            Self::Account { endpoint, .. } => endpoint.clone(),
            Self::Tokens(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    private_key: String,
    #[serde(default)]
    disable_oauth: bool,
    gcs_base_url: Option<String>,
}

#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

/// What a person logged in with: `gcloud auth application-default login`.
struct Login {
    user: User,
    place: String,
    asks: Arc<dyn Asks>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("place", &self.place).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: i64,
}

impl Given {
    fn fresh(self, by: &str) -> Result<Fresh<GcpCredential>, OpenError> {
        if !is_token(&self.access_token) {
            return Err(OpenError::refused(by, "what it answers is no token"));
        }
        let now = SystemClock::shared().now().seconds;
        let credential = GcpCredential { bearer: self.access_token };
        Ok(Fresh { credential, until: Some(now.saturating_add(self.expires_in)) })
    }
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

#[async_trait]
impl Source<GcpCredential> for Login {
    async fn fetch(&self) -> Result<Fresh<GcpCredential>, OpenError> {
        let body = form(&[
            ("grant_type", "refresh_token"),
            ("client_id", &self.user.client_id),
            ("client_secret", &self.user.client_secret),
            ("refresh_token", &self.user.refresh_token),
        ]);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let asked = request(Method::POST, TOKENS.to_owned(), &headers, Bytes::from(body));
        let said = self.asks.ask(asked).await?;
        let by = &self.place;
        match said.status {
            200 => said.json::<Given>(by)?.fresh(by),
            429 | 500.. => Err(OpenError::Unreached(format!("{by}: status {}", said.status))),
            status => {
                let denied = said.json::<Denied>(by).map(|denied| shown(&denied.error));
                let why = denied.unwrap_or_else(|_| format!("status {status}"));
                let next = "log in anew: gcloud auth application-default login";
                Err(OpenError::refused(by, format!("{why}; {next}")))
            }
        }
    }
}

/// What a machine of Compute Engine is given.
#[derive(Debug)]
struct Machine(Arc<dyn Asks>);

#[async_trait]
impl Source<GcpCredential> for Machine {
    async fn fetch(&self) -> Result<Fresh<GcpCredential>, OpenError> {
        const BY: &str = "the machine's metadata service";
        let headers = [("metadata-flavor", "Google")];
        let asked = request(Method::GET, METADATA.to_owned(), &headers, Bytes::new());
        let said = self.0.ask(asked).await?;
        match said.status {
            200 => said.json::<Given>(BY)?.fresh(BY),
            status => Err(OpenError::refused(BY, format!("status {status}"))),
        }
    }
}

/// Looks in the order of Google's libraries, after tokens and accounts that variables hold.
pub(in super::super) async fn find(
    environment: &Environment,
    web: &Web,
    bucket: &str,
) -> Result<Google, OpenError> {
    find_asking(environment, Arc::new(web.clone()), bucket).await
}

pub(super) async fn find_asking(
    environment: &Environment,
    asks: Arc<dyn Asks>,
    bucket: &str,
) -> Result<Google, OpenError> {
    const TOKEN: [&str; 2] = ["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"];
    const KEY: &str = "GOOGLE_SERVICE_ACCOUNT_KEY";
    const FILES: [&str; 3] =
        ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_APPLICATION_CREDENTIALS"];
    if let Some((place, token)) = environment.first(&TOKEN) {
        let token = token.trim().to_owned();
        if !is_token(&token) {
            return Err(OpenError::broken(place, "it holds no token"));
        }
        let credential = GcpCredential { bearer: token };
        return Ok(Google::Tokens(Arc::new(StaticCredentialProvider::new(credential))));
    }
    if let Some(text) = environment.get(KEY) {
        return of_text(text, KEY, &asks).await;
    }
    if let Some((variable, file)) = environment.first(&FILES) {
        let file = environment.path(&file);
        let absent = || format!("{} is not there", file.display());
        let text = text_of(&file, FILE_BYTES_MAX)?;
        let text = text.ok_or_else(|| OpenError::broken(variable, absent()))?;
        return of_text(text, &file.display().to_string(), &asks).await;
    }
    let mut looked: Vec<String> =
        [&TOKEN[..], &[KEY], &FILES[..]].concat().into_iter().map(str::to_owned).collect();
    let usual = "application_default_credentials.json";
    let configured = environment.get("CLOUDSDK_CONFIG").map(PathBuf::from);
    let folder = configured.or_else(|| environment.at_home(".config/gcloud"));
    if let Some(file) = folder.map(|folder| folder.join(usual)) {
        if let Some(text) = text_of(&file, FILE_BYTES_MAX)? {
            return of_text(text, &file.display().to_string(), &asks).await;
        }
        looked.push(format!("{} (not there)", file.display()));
    }
    if environment.machine_says(&["product_name"], "Google Compute Engine") {
        let found = Refreshed::new(Machine(asks));
        found.now().await?;
        return Ok(Google::Tokens(Arc::new(found)));
    }
    looked.push("the machine itself, which is none of Compute Engine".to_owned());
    let next = "Set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or run: \
                gcloud auth application-default login";
    Err(OpenError::CredentialsMissing { bucket: bucket.to_owned(), looked, next })
}

/// Nothing of the text is shown.
async fn of_text(text: String, place: &str, asks: &Arc<dyn Asks>) -> Result<Google, OpenError> {
    let broken = |why: &str| OpenError::broken(place, why);
    let no_json = "it is not the JSON of Google credentials";
    let typed: Typed = serde_json::from_str(&text).map_err(|_| broken(no_json))?;
    match typed.kind.as_deref() {
        Some("service_account") | None => {
            let account: Account = serde_json::from_str(&text)
                .map_err(|_| broken("it is not the JSON of a service account's key"))?;
            if !account.disable_oauth && !account.private_key.contains("PRIVATE KEY") {
                return Err(broken("its private_key is none"));
            }
            let endpoint = account.gcs_base_url.map(|text| (place.to_owned(), text));
            Ok(Google::Account { json: text, endpoint })
        }
        Some("authorized_user") => {
            let why = "a client_id, client_secret or refresh_token is missing";
            let user: User = serde_json::from_str(&text).map_err(|_| broken(why))?;
            let asks = Arc::clone(asks);
            let found = Refreshed::new(Login { user, place: place.to_owned(), asks });
            found.now().await?;
            Ok(Google::Tokens(Arc::new(found)))
        }
        Some(_) => Err(broken(
            "credentials of this type are not read; use the key of a service account, or \
             GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)",
        )),
    }
}
