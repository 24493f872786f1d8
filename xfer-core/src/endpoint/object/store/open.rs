//! Opening a bucket: endpoint, region and credentials as the tools of each platform find them.

use std::sync::Arc;
use std::time::Duration;

pub use super::credentials::{Environment, OpenError};
use super::credentials::{aws, azure, endpoint, google, is_here, secret_to};
use super::plain::PlainStore;
use super::signed::{SignedSettings, SignedStore};
use super::{Store, StoreError};
use crate::location::{Bucket, StoreKind};
use crate::transport::web::Web;

/// Time in which credentials must come about, whatever they need; a program that is asked for them
/// has a second less.
const WITHIN: Duration = Duration::from_secs(31);

/// What the command line calls the endpoint.
const FLAG: &str = "--endpoint-url";

/// What decides where a bucket is and what opens it.
#[derive(Clone, Debug, Default)]
pub struct StoreSettings {
    /// The endpoint that the command line names.
    pub endpoint: Option<String>,
    /// Variables and files.
    pub environment: Environment,
}

/// Opens a bucket. Credentials are fetched, and nothing is asked of the bucket itself.
///
/// # Errors
/// As [`OpenError`] says; each names what was looked at and what to do next.
pub async fn open(
    bucket: &Bucket,
    settings: &StoreSettings,
    web: Web,
) -> Result<Arc<dyn Store>, OpenError> {
    check_name(bucket)?;
    let opened = async {
        match bucket.kind {
            StoreKind::S3 => {
                let aws = aws::Aws::new(&settings.environment, &web)?;
                store_of(&signed(bucket, settings, &aws).await?, web)
            }
            StoreKind::B2 => store_of(&backblaze(bucket, settings)?, web),
            StoreKind::Gcs => {
                let found = google::find(&settings.environment, &web, &bucket.to_string()).await?;
                of_google(bucket, settings, found, web)
            }
            StoreKind::Azure => of_azure(bucket, settings, web),
        }
    };
    let late =
        |_| OpenError::Unreached(format!("{bucket}: none came within {} s", WITHIN.as_secs()));
    tokio::time::timeout(WITHIN, opened).await.map_err(late)?
}

/// Names become parts of hosts and of addresses.
fn check_name(bucket: &Bucket) -> Result<(), OpenError> {
    let bad = |why| Err(OpenError::BadName { bucket: bucket.to_string(), why });
    let name = bucket.name.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    // Some containers of Azure begin with `$`.
    let inner = match bucket.kind {
        StoreKind::Azure => name.strip_prefix('$').unwrap_or(name),
        _ => name,
    };
    if !inner.bytes().all(is_plain) || !inner.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return bad("letters, digits, -, . and _ make a name, and the first is no mark");
    }
    if name.len() < 3 || name.len() > 222 || name.contains("..") {
        return bad("it has 3 to 222 characters, and no two dots in a row");
    }
    Ok(())
}

/// The flag, for a platform whose tokens open whatever it has. It stands for every bucket of a run,
/// so nobody but this machine is sent them by it, where emulators listen; `why` says what names
/// another endpoint.
fn flag_here(
    settings: &StoreSettings,
    why: &'static str,
) -> Result<Option<(String, String)>, OpenError> {
    let Some(text) = &settings.endpoint else { return Ok(None) };
    let endpoint = endpoint(FLAG, text)?;
    if !is_here(&endpoint) {
        return Err(OpenError::BadEndpoint { from: FLAG.to_owned(), why });
    }
    Ok(Some((FLAG.to_owned(), endpoint)))
}

async fn signed(
    bucket: &Bucket,
    settings: &StoreSettings,
    aws: &aws::Aws,
) -> Result<SignedSettings, OpenError> {
    let flag = settings.endpoint.clone().map(|text| (FLAG.to_owned(), text));
    let named = flag.or_else(|| aws.endpoint());
    let named = named.map(|(from, text)| endpoint(&from, &text)).transpose()?;
    let region = match (aws.region()?, &named) {
        (Some(region), _) => region,
        (None, Some(_)) => aws::USUAL_REGION.to_owned(),
        (None, None) => {
            let (bucket, looked) = (bucket.to_string(), aws.region_looked());
            return Err(OpenError::RegionMissing { bucket, looked });
        }
    };
    // No certificate of AWS covers two labels before its own.
    let virtual_hosted = named.is_none() && !bucket.name.contains(['.', '_']);
    let credentials = aws.keys(&bucket.to_string()).await?;
    let bucket = bucket.name.clone();
    Ok(SignedSettings {
        bucket,
        region,
        endpoint: named,
        virtual_hosted,
        checksums: true,
        credentials,
    })
}

fn backblaze(bucket: &Bucket, settings: &StoreSettings) -> Result<SignedSettings, OpenError> {
    let environment = &settings.environment;
    let credentials = aws::backblaze(environment, &bucket.to_string())?;
    const REGIONS: [&str; 2] = ["B2_REGION", "AWS_REGION"];
    let region = environment.first(&REGIONS);
    let region = region.map(|(place, text)| aws::region(place, &text)).transpose()?;
    let (region, endpoint) = match (region, &settings.endpoint) {
        (region, Some(text)) => {
            let endpoint = endpoint(FLAG, text)?;
            // The region is a part of Backblaze's own hosts: s3.us-west-004.backblazeb2.com.
            let host = endpoint.split("://s3.").nth(1);
            let told = host.and_then(|host| host.strip_suffix(".backblazeb2.com"));
            let told = told.map(str::to_owned).or(region);
            (told.unwrap_or_else(|| aws::USUAL_REGION.to_owned()), endpoint)
        }
        (Some(region), None) => {
            let endpoint = format!("https://s3.{region}.backblazeb2.com");
            (region, endpoint)
        }
        (None, None) => {
            let (bucket, looked) = (bucket.to_string(), REGIONS.join(", "));
            return Err(OpenError::RegionMissing { bucket, looked });
        }
    };
    let (bucket, endpoint) = (bucket.name.clone(), Some(endpoint));
    let virtual_hosted = false;
    // Backblaze refuses requests that carry the newer checksums.
    Ok(SignedSettings { bucket, region, endpoint, virtual_hosted, checksums: false, credentials })
}

fn store_of(settings: &SignedSettings, web: Web) -> Result<Arc<dyn Store>, OpenError> {
    let opened = SignedStore::open(settings, web);
    let unusable = |error: StoreError| OpenError::broken(&settings.bucket, error.to_string());
    Ok(Arc::new(opened.map_err(unusable)?))
}

fn of_google(
    bucket: &Bucket,
    settings: &StoreSettings,
    found: google::Google,
    web: Web,
) -> Result<Arc<dyn Store>, OpenError> {
    let why = "it is for S3 and B2, and for gs:// on this machine alone; name another in \
               gcs_base_url of the service account's file";
    let named = flag_here(settings, why)?.or_else(|| found.endpoint());
    let named = named.map(|(from, text)| secret_to(&from, &text)).transpose()?;
    Ok(Arc::new(PlainStore::gcs(&bucket.name, named, found, web)?))
}

fn of_azure(
    bucket: &Bucket,
    settings: &StoreSettings,
    web: Web,
) -> Result<Arc<dyn Store>, OpenError> {
    let found = azure::find(&settings.environment, &bucket.to_string())?;
    let why = "it is for S3 and B2, and for az:// on this machine alone; name another as \
               BlobEndpoint in AZURE_STORAGE_CONNECTION_STRING";
    let named = flag_here(settings, why)?.or_else(|| found.endpoint.clone());
    let named = named.map(|(from, text)| {
        if found.proof.can_be_repeated() { secret_to(&from, &text) } else { endpoint(&from, &text) }
    });
    Ok(Arc::new(PlainStore::azure(&bucket.name, named.transpose()?, found, web)?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::error::ExitClass;

    /// Names and values of variables.
    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "s")];
    const B2: [(&str, &str); 2] = [("B2_APPLICATION_KEY_ID", "A"), ("B2_APPLICATION_KEY", "s")];

    fn bucket(kind: StoreKind, name: &str) -> Bucket {
        Bucket { kind, name: name.to_owned() }
    }

    fn settings(endpoint: Option<&str>, variables: &[(&str, &str)]) -> StoreSettings {
        let variables = KEYS.iter().chain(&B2).chain(variables).copied();
        let environment = Environment::of(variables, None, PathBuf::from("/none"));
        StoreSettings { endpoint: endpoint.map(str::to_owned), environment }
    }

    fn web() -> Web {
        Web::new(Duration::from_secs(5)).unwrap()
    }

    #[tokio::test]
    async fn a_bucket_of_s3_is_where_the_settings_say() {
        let (here, region) = ("http://127.0.0.1:9", ("AWS_REGION", "eu-west-1"));
        let set = ("AWS_ENDPOINT_URL", "https://all.example/");
        let s3 = ("AWS_ENDPOINT_URL_S3", "https://s3.example");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
        let rows: [(Option<&str>, Pairs<'_>, &str, _, &str, bool); 7] = [
            (None, &[region], "bucket", None, "eu-west-1", true),
            (None, &[region], "dotted.bucket", None, "eu-west-1", false),
            (Some(here), &[], "bucket", Some(here), "us-east-1", false),
            (Some(here), &[set, s3, region], "bucket", Some(here), "eu-west-1", false),
            (None, &[set], "bucket", Some("https://all.example"), "us-east-1", false),
            (None, &[set, s3], "bucket", Some("https://s3.example"), "us-east-1", false),
            (None, &[set, s3, ignored, region], "bucket", None, "eu-west-1", true),
        ];
        for (flag, variables, name, endpoint, region, is_virtual) in rows {
            let settings = settings(flag, variables);
            let aws = aws::Aws::new(&settings.environment, &web()).unwrap();
            let signed = signed(&bucket(StoreKind::S3, name), &settings, &aws).await.unwrap();
            let got = (signed.endpoint.as_deref(), &*signed.region, signed.virtual_hosted);
            assert_eq!(got, (endpoint, region, is_virtual), "{flag:?} {variables:?}");
        }
    }

    #[tokio::test]
    async fn a_bucket_of_backblaze_has_its_region_in_its_host() {
        let own = "https://s3.us-west-004.backblazeb2.com";
        let region = [("B2_REGION", "us-west-004")];
        let other = [("AWS_REGION", "us-west-004")];
        for (flag, variables, endpoint, region) in [
            (None, &region[..], own, "us-west-004"),
            (None, &other, own, "us-west-004"),
            (Some(own), &[], own, "us-west-004"),
            (Some("http://127.0.0.1:9/"), &[], "http://127.0.0.1:9", "us-east-1"),
        ] {
            let signed = backblaze(&bucket(StoreKind::B2, "bucket"), &settings(flag, variables));
            let signed = signed.unwrap();
            assert_eq!((signed.endpoint.as_deref(), &*signed.region), (Some(endpoint), region));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_told() {
        let azure = [("AZURE_STORAGE_ACCOUNT", "acc"), ("AZURE_STORAGE_SAS_TOKEN", "sig=a")];
        let token = [("GOOGLE_OAUTH_ACCESS_TOKEN", "tok")];
        let (s3, gs, az) = (StoreKind::S3, StoreKind::Gcs, StoreKind::Azure);
        let (config, usage) = (ExitClass::Config, ExitClass::Usage);
        let readable = [(
            "AZURE_STORAGE_CONNECTION_STRING",
            "AccountName=acc;SharedAccessSignature=sig=a;BlobEndpoint=http://a.example",
        )];
        let rows: [(_, &str, Option<&str>, Pairs<'_>, _, &str); 14] = [
            (s3, "bucket", None, &[], config, "Set AWS_REGION"),
            (StoreKind::B2, "bucket", None, &[], config, "B2_REGION"),
            (s3, "b", Some("http://127.0.0.1:9"), &[], usage, "3 to 222"),
            (s3, "a/../b", Some("http://127.0.0.1:9"), &[], usage, "letters"),
            (s3, "-bucket", Some("http://127.0.0.1:9"), &[], usage, "no mark"),
            (s3, "bucket", Some("127.0.0.1:9"), &[], config, "--endpoint-url"),
            (s3, "bucket", Some("ftp://a.example"), &[], config, "http"),
            (s3, "bucket", Some("https://me:SEKRET@a.example"), &[], config, "a password"),
            (s3, "bucket", Some("https://a.example/?SEKRET"), &[], config, "a query"),
            (gs, "bucket", None, &[], config, "GOOGLE_APPLICATION_CREDENTIALS"),
            (gs, "bucket", Some("https://a.example"), &token, config, "gcs_base_url"),
            (az, "bucket", None, &[], config, "AZURE_STORAGE_CONNECTION_STRING"),
            (az, "bucket", Some("https://a.example"), &azure, config, "BlobEndpoint"),
            (az, "bucket", None, &readable, config, "use https"),
        ];
        for (kind, name, flag, variables, class, told) in rows {
            let opened = open(&bucket(kind, name), &settings(flag, variables), web()).await;
            let error = opened.err().unwrap_or_else(|| panic!("{name} {flag:?} opens"));
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().contains(told), "{error}");
            assert!(!format!("{error} {error:?}").contains("SEKRET"), "{error}");
        }
    }

    #[tokio::test]
    async fn buckets_of_every_kind_open_without_a_request() {
        let here = Some("http://127.0.0.1:9");
        let variables = [
            ("AZURE_STORAGE_ACCOUNT", "acc"),
            ("AZURE_STORAGE_KEY", "c2VjcmV0"),
            ("GOOGLE_OAUTH_ACCESS_TOKEN", "tok"),
        ];
        for kind in StoreKind::ALL {
            let opened = open(&bucket(kind, "bucket"), &settings(here, &variables), web()).await;
            let opened = opened.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            let shown = format!("{opened:?}");
            assert!(!shown.contains("tok") && !shown.contains("c2Vj"), "{shown}");
        }
    }
}
