//! What opens a container of Azure Blob Storage.

use std::path::{Path, PathBuf};

use object_store::azure::{AzureAccessKey, AzureCredential, split_sas};

use super::environment::Environment;
use super::is_token;
use super::problem::OpenError;
use super::profiles::text_of;

const ACCOUNT: [&str; 2] = ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"];
const KEY: [&str; 4] = [
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_MASTER_KEY",
];
const SAS: [&str; 2] = ["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"];
const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";
const IDENTITY: [&str; 3] = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// How a request proves who sends it.
pub(in super::super) enum Proof {
    /// A key of the account, or a signature that came with it.
    Fixed(AzureCredential),
    /// An application with a secret.
    Application { tenant: String, id: String, secret: String },
    /// An application with a token that something else gave out.
    Federated { tenant: String, id: String, file: PathBuf },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Application { .. } => "Application",
            Self::Federated { .. } => "Federated",
        })
    }
}

impl Proof {
    /// Whether whoever reads a request can send others with what stands in it.
    pub(in super::super) fn can_be_repeated(&self) -> bool {
        !matches!(self, Self::Fixed(AzureCredential::AccessKey(_)))
    }
}

/// What was found.
#[derive(Debug)]
pub(in super::super) struct Azure {
    pub(in super::super) account: String,
    /// Where the account's blobs are, and where that stands.
    pub(in super::super) endpoint: Option<(String, String)>,
    pub(in super::super) proof: Proof,
}

/// What a connection string says; the last of a name counts nowhere, for there is one of each.
fn connection<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

fn of_key(place: &str, text: &str) -> Result<Proof, OpenError> {
    let key = AzureAccessKey::try_new(text.trim());
    let key = key.map_err(|_| OpenError::broken(place, "the account's key is no base64"))?;
    Ok(Proof::Fixed(AzureCredential::AccessKey(key)))
}

fn of_signature(place: &str, text: &str) -> Result<Proof, OpenError> {
    let broken = || OpenError::broken(place, "this is no shared access signature");
    let pairs = split_sas(text.trim()).map_err(|_| broken())?;
    let is_signed = pairs.iter().any(|(name, _)| name == "sig");
    if !is_signed || !pairs.iter().all(|(name, value)| is_token(name) && !value.contains('\n')) {
        return Err(broken());
    }
    Ok(Proof::Fixed(AzureCredential::SASToken(pairs)))
}

/// Looks at the connection string first, as `az` does, then at each variable of its own.
pub(in super::super) fn find(environment: &Environment, bucket: &str) -> Result<Azure, OpenError> {
    let string = environment.get(CONNECTION);
    let of = |name| string.as_deref().and_then(|text| connection(text, name));
    let named = environment.first(&ACCOUNT).map(|(_, name)| name.trim().to_owned());
    let Some(account) = of("AccountName").map(str::to_owned).or(named) else {
        if string.is_some() && of("BlobEndpoint").is_none() {
            return Err(OpenError::broken(CONNECTION, "it has no AccountName"));
        }
        return Err(missing(bucket));
    };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !(3..=24).contains(&account.len()) || !account.bytes().all(is_name) {
        let place = if of("AccountName").is_some() { CONNECTION } else { ACCOUNT[0] };
        let why = "an account's name is 3 to 24 of a-z and 0-9";
        return Err(OpenError::broken(place, why));
    }
    Ok(Azure { account, endpoint: endpoint(&of), proof: proof(environment, &of, bucket)? })
}

fn endpoint<'a>(of: &impl Fn(&'static str) -> Option<&'a str>) -> Option<(String, String)> {
    if let Some(endpoint) = of("BlobEndpoint") {
        return Some((CONNECTION.to_owned(), endpoint.to_owned()));
    }
    let (account, suffix) = (of("AccountName")?, of("EndpointSuffix")?);
    let scheme = of("DefaultEndpointsProtocol").unwrap_or("https");
    Some((CONNECTION.to_owned(), format!("{scheme}://{account}.blob.{suffix}")))
}

fn proof<'a>(
    environment: &Environment,
    of: &impl Fn(&'static str) -> Option<&'a str>,
    bucket: &str,
) -> Result<Proof, OpenError> {
    if let Some(key) = of("AccountKey") {
        return of_key(CONNECTION, key);
    }
    if let Some(signature) = of("SharedAccessSignature") {
        return of_signature(CONNECTION, signature);
    }
    if let Some((place, key)) = environment.first(&KEY) {
        return of_key(place, &key);
    }
    if let Some((place, signature)) = environment.first(&SAS) {
        return of_signature(place, &signature);
    }
    let said = IDENTITY.map(|name| environment.get(name).map(|text| text.trim().to_owned()));
    for (name, text) in IDENTITY.iter().zip(&said) {
        if text.as_deref().is_some_and(|text| !is_token(text)) {
            return Err(OpenError::broken(name, "this cannot be one"));
        }
    }
    let file = environment.get(FEDERATED).map(|file| environment.path(&file));
    match (said, file) {
        ([Some(tenant), Some(id), Some(secret)], _) => {
            Ok(Proof::Application { tenant, id, secret })
        }
        ([Some(tenant), Some(id), None], Some(file)) => {
            check_token(&file)?;
            Ok(Proof::Federated { tenant, id, file })
        }
        ([None, None, None], _) => Err(missing(bucket)),
        (said, _) => {
            let unset = IDENTITY.iter().zip(&said).find(|(_, text)| text.is_none());
            let unset = unset.map_or(IDENTITY[2], |(name, _)| name);
            Err(OpenError::broken(unset, "it is not set, and others that belong to it are"))
        }
    }
}

/// The library reads the file by itself, whatever it is and however long.
fn check_token(file: &Path) -> Result<(), OpenError> {
    let absent = || OpenError::broken(FEDERATED, format!("{} is not there", file.display()));
    let text = text_of(file, TOKEN_BYTES_MAX)?.ok_or_else(absent)?;
    let none = || OpenError::broken(file.display(), "it holds no token");
    if is_token(text.trim()) { Ok(()) } else { Err(none()) }
}

fn missing(bucket: &str) -> OpenError {
    let all = [&[CONNECTION], &ACCOUNT[..], &KEY[..], &SAS[..], &IDENTITY[..], &[FEDERATED]];
    let looked = all.concat().into_iter().map(str::to_owned).collect();
    let next = "Set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or what \
                az storage account show-connection-string prints as \
                AZURE_STORAGE_CONNECTION_STRING";
    OpenError::CredentialsMissing { bucket: bucket.to_owned(), looked, next }
}
