//! Credentials that a machine or a container is given by what runs it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use object_store::aws::AwsCredential;
use serde::Deserialize;

use super::asks::{Asks, Said, host_of, request};
use super::environment::Environment;
use super::problem::OpenError;
use super::profiles::text_of;
use super::refreshed::{Fresh, Source};
use super::{is_token, keys, moment};

/// Time for the metadata service, which is on the machine itself.
const WITHIN: Duration = Duration::from_secs(3);

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Where a container is told its credentials.
const CONTAINER: &str = "http://169.254.170.2";

/// Hosts to which a token may go without TLS.
const PLAIN_HOSTS: [&str; 6] =
    ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost", "127.0.0.1", "[::1]"];

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

fn given(said: &Said, by: &str) -> Result<Fresh<AwsCredential>, OpenError> {
    match said.status {
        200 => {}
        429 | 500.. => return Err(OpenError::Unreached(format!("{by}: status {}", said.status))),
        status => return Err(OpenError::refused(by, format!("status {status}"))),
    }
    let given: Given = said.json(by)?;
    let token = given.token.as_deref();
    let credential = keys(by, &given.access_key_id, &given.secret_access_key, token)?;
    Ok(Fresh { credential, until: given.expiration.as_deref().and_then(moment::seconds) })
}

/// What a container is given.
pub(super) struct Container {
    address: String,
    by: &'static str,
    token: Option<String>,
    token_file: Option<PathBuf>,
    asks: Arc<dyn Asks>,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("by", &self.by).finish_non_exhaustive()
    }
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => &host[..inner.len() + 2],
        None => host.split(':').next().unwrap_or_default(),
    }
}

impl Container {
    /// `None` where no variable tells of one.
    pub(super) fn of(
        environment: &Environment,
        asks: &Arc<dyn Asks>,
    ) -> Result<Option<Self>, OpenError> {
        let Some((by, said)) = environment.first(&[RELATIVE, FULL]) else { return Ok(None) };
        let address = if by == RELATIVE {
            if !said.starts_with('/') {
                return Err(OpenError::broken(by, "it does not begin with /"));
            }
            format!("{CONTAINER}{said}")
        } else {
            said
        };
        let host = host_of(&address);
        let is_plain = address.starts_with("http://") && PLAIN_HOSTS.contains(&bare(&host));
        if !is_plain && !address.starts_with("https://") || host.contains('@') {
            let why = "without https only an address of this machine or of a container's agent";
            return Err(OpenError::broken(by, why));
        }
        let token = environment.get(TOKEN);
        let token_file = environment.get(TOKEN_FILE).map(|file| environment.path(&file));
        Ok(Some(Self { address, by, token, token_file, asks: Arc::clone(asks) }))
    }

    fn token(&self) -> Result<Option<String>, OpenError> {
        let (place, token) = match (&self.token_file, &self.token) {
            (Some(file), _) => {
                let missing = || OpenError::broken(file.display(), "there is no such file");
                let text = text_of(file, TOKEN_BYTES_MAX)?.ok_or_else(missing)?;
                (file.display().to_string(), text)
            }
            (None, Some(token)) => (TOKEN.to_owned(), token.clone()),
            (None, None) => return Ok(None),
        };
        // A scheme and a token: `Basic …`.
        let token = token.trim();
        if !token.split(' ').all(is_token) {
            return Err(OpenError::broken(place, "it holds no token"));
        }
        Ok(Some(token.to_owned()))
    }
}

#[async_trait]
impl Source<AwsCredential> for Container {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        let token = self.token()?;
        let headers = token.as_deref().map(|token| ("authorization", token));
        let asked = request(Method::GET, self.address.clone(), headers.as_slice(), Bytes::new());
        given(&self.asks.ask(asked).await?, self.by)
    }
}

/// What an instance of EC2 is given.
#[derive(Debug)]
pub(super) struct Instance {
    asks: Arc<dyn Asks>,
}

impl Instance {
    /// `None` unless the machine says that it is one, and nobody says that it is not to be asked.
    pub(super) fn of(environment: &Environment, asks: &Arc<dyn Asks>) -> Option<Self> {
        let disabled = environment.get("AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|said| said.trim().eq_ignore_ascii_case("true")) {
            return None;
        }
        let is_one = environment.machine_says(&["sys_vendor", "board_vendor"], "Amazon EC2");
        is_one.then(|| Self { asks: Arc::clone(asks) })
    }

    async fn ask(&self, method: Method, path: &str, token: &str) -> Result<Said, OpenError> {
        let address = format!("http://169.254.169.254/latest/{path}");
        let header = match method {
            Method::PUT => ("x-aws-ec2-metadata-token-ttl-seconds", "21600"),
            _ => ("x-aws-ec2-metadata-token", token),
        };
        let asked = self.asks.ask(request(method, address, &[header], Bytes::new()));
        let in_time = tokio::time::timeout(WITHIN, asked).await;
        let silent = || OpenError::Unreached("the instance's metadata service is silent".into());
        Ok(in_time.map_err(|_| silent())??)
    }
}

#[async_trait]
impl Source<AwsCredential> for Instance {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        const BY: &str = "the instance's metadata service";
        const ROLES: &str = "meta-data/iam/security-credentials/";
        let text = |said: Said| String::from_utf8_lossy(&said.body).trim().to_owned();
        let token = text(self.ask(Method::PUT, "api/token", "").await?);
        if !is_token(&token) {
            return Err(OpenError::refused(BY, "it gives no token"));
        }
        let roles = self.ask(Method::GET, ROLES, &token).await?;
        let status = roles.status;
        let role = text(roles).lines().next().unwrap_or_default().to_owned();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte);
        if status != 200 || role.is_empty() || !role.bytes().all(is_name) {
            return Err(OpenError::refused(
                BY,
                "the instance has no role; give it one, or set keys",
            ));
        }
        given(&self.ask(Method::GET, &format!("{ROLES}{role}"), &token).await?, BY)
    }
}
