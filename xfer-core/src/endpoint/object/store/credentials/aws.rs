//! Keys, region and endpoint for S3, in the order of the AWS tools.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

use super::asks::Asks;
use super::endpoint::secret_to;
use super::environment::Environment;
use super::keys;
use super::on_machine::{Container, Instance};
use super::problem::OpenError;
use super::process::Process;
use super::profiles::{Profiles, SectionKind};
use super::refreshed::{Fresh, Refreshed, Source};
pub(in super::super) use super::region;
use super::roles::{Assumed, Role, WebIdentity, service_of};
use super::session::{Session, cached_as};
use crate::transport::web::Web;

/// Profiles that lead from one to the next.
const PROFILES_MAX: usize = 8;

/// Where no region is said and none matters.
pub(in super::super) const USUAL_REGION: &str = "us-east-1";

/// Keys that do not end.
#[derive(Debug)]
struct Lasting(Arc<AwsCredential>);

#[async_trait]
impl Source<AwsCredential> for Lasting {
    async fn fetch(&self) -> Result<Fresh<AwsCredential>, OpenError> {
        let AwsCredential { key_id, secret_key, token } = &*self.0;
        let (key_id, secret_key) = (key_id.clone(), secret_key.clone());
        let credential = AwsCredential { key_id, secret_key, token: token.clone() };
        Ok(Fresh { credential, until: None })
    }
}

type Found = Refreshed<AwsCredential>;

fn lasting(credential: AwsCredential) -> Found {
    Refreshed::new(Lasting(Arc::new(credential)))
}

/// What the environment and the profiles say.
pub(in super::super) struct Aws {
    environment: Environment,
    profiles: Profiles,
    profile: String,
    asks: Arc<dyn Asks>,
}

impl Aws {
    /// Reads the profiles.
    pub(in super::super) fn new(environment: &Environment, web: &Web) -> Result<Self, OpenError> {
        Self::asking(environment, Arc::new(web.clone()))
    }

    pub(super) fn asking(
        environment: &Environment,
        asks: Arc<dyn Asks>,
    ) -> Result<Self, OpenError> {
        let profiles = Profiles::read(environment)?;
        let named = environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        let profile = match named {
            Some((variable, name)) => {
                let name = name.trim().to_owned();
                let is_there = profiles.has(SectionKind::Profile, &name);
                // Keys of the environment come first, whatever profile is named beside them.
                if !is_there && environment.get("AWS_ACCESS_KEY_ID").is_none() {
                    let read = looked(&profiles).join(" or ");
                    let why = format!("there is no profile of that name in {read}");
                    return Err(OpenError::broken(variable, why));
                }
                name
            }
            None => "default".to_owned(),
        };
        Ok(Self { environment: environment.clone(), profiles, profile, asks })
    }

    /// The region, where one is said.
    pub(in super::super) fn region(&self) -> Result<Option<String>, OpenError> {
        if let Some((place, text)) = self.environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]) {
            return region(place, &text).map(Some);
        }
        let value = self.profiles.of(&self.profile, "region");
        value.map(|value| region(&value.file.display().to_string(), &value.text)).transpose()
    }

    /// Where a region was looked for.
    pub(in super::super) fn region_looked(&self) -> String {
        format!("AWS_REGION, AWS_DEFAULT_REGION, region of the profile {}", self.profile)
    }

    /// The endpoint, where one is said, and where it stands.
    pub(in super::super) fn endpoint(&self) -> Option<(String, String)> {
        let ignored = self.environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        if ignored.is_some_and(|said| said.trim().eq_ignore_ascii_case("true")) {
            return None;
        }
        let set = self.environment.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let set = set.map(|(place, text)| (place.to_owned(), text));
        set.or_else(|| self.profiles.endpoint(&self.profile))
    }

    /// Keys, fetched once already.
    pub(in super::super) async fn keys(
        &self,
        bucket: &str,
    ) -> Result<AwsCredentialProvider, OpenError> {
        let found = match self.of_environment()? {
            Some(found) => Some(found),
            None => self.of_profile(&self.profile, 0)?,
        };
        let found = match found {
            Some(found) => Some(found),
            None => Container::of(&self.environment, &self.asks)?.map(Refreshed::new),
        };
        let found =
            found.or_else(|| Some(Refreshed::new(Instance::of(&self.environment, &self.asks)?)));
        let found = found.ok_or_else(|| self.missing(bucket))?;
        found.now().await?;
        Ok(Arc::new(found))
    }

    fn missing(&self, bucket: &str) -> OpenError {
        let mut places: Vec<String> =
            ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"].map(str::to_owned).into();
        places.extend(looked(&self.profiles));
        places.push(format!("profile {}", self.profile));
        places.push("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned());
        places.push("the machine itself, which is no instance of EC2 that may be asked".to_owned());
        let next = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run: \
                    aws configure";
        OpenError::CredentialsMissing { bucket: bucket.to_owned(), looked: places, next }
    }

    fn of_environment(&self) -> Result<Option<Found>, OpenError> {
        const ID: &str = "AWS_ACCESS_KEY_ID";
        const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
        let get = |name| self.environment.get(name);
        match (get(ID), get(SECRET)) {
            (Some(id), Some(secret)) => {
                let token = get("AWS_SESSION_TOKEN").or_else(|| get("AWS_SECURITY_TOKEN"));
                return keys(ID, &id, &secret, token.as_deref()).map(|keys| Some(lasting(keys)));
            }
            (Some(_), None) => {
                return Err(OpenError::broken(SECRET, format!("it is not set, and {ID} is")));
            }
            (None, Some(_)) => {
                return Err(OpenError::broken(ID, format!("it is not set, and {SECRET} is")));
            }
            (None, None) => {}
        }
        let Some(file) = get("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
        let Some(arn) = get("AWS_ROLE_ARN") else {
            let why = "it is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is";
            return Err(OpenError::broken("AWS_ROLE_ARN", why));
        };
        let session = get("AWS_ROLE_SESSION_NAME");
        let role = self.role(arn, session, "AWS_WEB_IDENTITY_TOKEN_FILE")?;
        let file = self.environment.path(&file);
        let asks = Arc::clone(&self.asks);
        Ok(Some(Refreshed::new(WebIdentity { role, file, asks })))
    }

    fn role(&self, arn: String, session: Option<String>, place: &str) -> Result<Role, OpenError> {
        let region = self.region()?.unwrap_or_else(|| USUAL_REGION.to_owned());
        const STS: &str = "AWS_ENDPOINT_URL_STS";
        // What is sent there opens something, and so does what comes back.
        let service = self.environment.get(STS).map(|text| secret_to(STS, &text)).transpose()?;
        let service = service.map(|service| format!("{service}/"));
        let service = service.unwrap_or_else(|| service_of(&region));
        let session = session.unwrap_or_else(|| "xfer".to_owned());
        let place = place.to_owned();
        Ok(Role { arn, session, external_id: None, seconds: None, service, region, place })
    }

    fn of_profile(&self, profile: &str, depth: usize) -> Result<Option<Found>, OpenError> {
        let of = |key| self.profiles.of(profile, key);
        if of("role_arn").is_some() {
            return self.of_role(profile, depth).map(Some);
        }
        if of("sso_session").is_some() || of("sso_start_url").is_some() {
            return self.of_session(profile).map(Some);
        }
        if let Some(found) = self.of_keys(profile)? {
            return Ok(Some(found));
        }
        let Some(command) = of("credential_process") else { return Ok(None) };
        let place = format!("{}, line {}", command.file.display(), command.line);
        Process::new(&command.text, place).map(|process| Some(Refreshed::new(process)))
    }

    fn of_keys(&self, profile: &str) -> Result<Option<Found>, OpenError> {
        let of = |key| self.profiles.of(profile, key);
        match (of("aws_access_key_id"), of("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let place = format!("{}, profile {profile}", id.file.display());
                let token = of("aws_session_token").map(|token| token.text.as_str());
                keys(&place, &id.text, &secret.text, token).map(|keys| Some(lasting(keys)))
            }
            (Some(there), None) => {
                Err(there.broken("the profile has no aws_secret_access_key beside this"))
            }
            (None, Some(there)) => {
                Err(there.broken("the profile has no aws_access_key_id beside this"))
            }
            (None, None) => Ok(None),
        }
    }

    fn of_role(&self, profile: &str, depth: usize) -> Result<Found, OpenError> {
        let of = |key| self.profiles.of(profile, key);
        let text = |key| of(key).map(|value| value.text.clone());
        let Some(arn) = of("role_arn") else {
            return Err(OpenError::broken(format!("profile {profile}"), "no role_arn"));
        };
        if let Some(serial) = of("mfa_serial") {
            let why = "the role asks for a code, which nobody can type here; set the keys that \
                       aws configure export-credentials prints";
            return Err(serial.broken(why));
        }
        if depth >= PROFILES_MAX {
            return Err(arn.broken("source_profile leads from profile to profile without an end"));
        }
        let place = format!("{}, line {}", arn.file.display(), arn.line);
        let mut role = self.role(arn.text.clone(), text("role_session_name"), &place)?;
        (role.external_id, role.seconds) = (text("external_id"), text("duration_seconds"));
        let asks = Arc::clone(&self.asks);
        if let Some(file) = text("web_identity_token_file") {
            let file = self.environment.path(&file);
            return Ok(Refreshed::new(WebIdentity { role, file, asks }));
        }
        let with = match (of("source_profile"), of("credential_source")) {
            (Some(source), _) if source.text == profile => self.of_keys(profile)?,
            (Some(source), _) => {
                if !self.profiles.has(SectionKind::Profile, &source.text) {
                    return Err(source.broken("there is no profile of that name"));
                }
                self.of_profile(&source.text, depth + 1)?
            }
            (None, Some(source)) => match source.text.as_str() {
                "Environment" => self.of_environment()?,
                "EcsContainer" => Container::of(&self.environment, &self.asks)?.map(Refreshed::new),
                "Ec2InstanceMetadata" => {
                    Instance::of(&self.environment, &self.asks).map(Refreshed::new)
                }
                _ => return Err(source.broken("there is no such credential_source")),
            },
            (None, None) => return Err(arn.broken("the profile has no source_profile")),
        };
        let with =
            with.ok_or_else(|| arn.broken("its source has no keys to take the role with"))?;
        Ok(Refreshed::new(Assumed { role, with, asks }))
    }

    fn of_session(&self, profile: &str) -> Result<Found, OpenError> {
        let of = |key| self.profiles.of(profile, key);
        let session = of("sso_session");
        if let Some(session) = session
            && !self.profiles.has(SectionKind::Session, &session.text)
        {
            return Err(session.broken("there is no [sso-session] of that name"));
        }
        let need = |key: &'static str| {
            let value = session
                .and_then(|named| self.profiles.get(SectionKind::Session, &named.text, key))
                .or_else(|| of(key));
            let missing = || OpenError::broken(format!("profile {profile}"), format!("no {key}"));
            value.map(|value| value.text.clone()).ok_or_else(missing)
        };
        let name = match session {
            Some(session) => session.text.clone(),
            None => need("sso_start_url")?,
        };
        let usual = PathBuf::from(".aws/sso/cache").join(cached_as(&name));
        let cache = self.environment.at_home(&usual.to_string_lossy());
        let homeless = || OpenError::broken(format!("profile {profile}"), "no home directory");
        Ok(Refreshed::new(Session {
            cache: cache.ok_or_else(homeless)?,
            region: region(&format!("profile {profile}: sso_region"), &need("sso_region")?)?,
            account: need("sso_account_id")?,
            role: need("sso_role_name")?,
            profile: profile.to_owned(),
            asks: Arc::clone(&self.asks),
        }))
    }
}

/// The keys of Backblaze B2, which are keys of S3 by another name.
pub(in super::super) fn backblaze(
    environment: &Environment,
    bucket: &str,
) -> Result<AwsCredentialProvider, OpenError> {
    const ID: &str = "B2_APPLICATION_KEY_ID";
    const KEY: &str = "B2_APPLICATION_KEY";
    let (id, secret) = match (environment.get(ID), environment.get(KEY)) {
        (Some(id), Some(secret)) => (id, secret),
        (Some(_), None) => return Err(OpenError::broken(KEY, format!("unset, and {ID} is set"))),
        (None, Some(_)) => return Err(OpenError::broken(ID, format!("unset, and {KEY} is set"))),
        (None, None) => {
            let (bucket, looked) = (bucket.to_owned(), [ID, KEY].map(str::to_owned).into());
            let next = "Set both to what b2 key create prints";
            return Err(OpenError::CredentialsMissing { bucket, looked, next });
        }
    };
    Ok(Arc::new(lasting(keys(ID, &id, &secret, None)?)))
}

/// The files that were looked at, and which are not there.
fn looked(profiles: &Profiles) -> Vec<String> {
    let files = profiles.files.iter();
    let shown = files.map(|(file, is_there)| {
        let absent = if *is_there { "" } else { " (not there)" };
        format!("{}{absent}", file.display())
    });
    shown.collect()
}
