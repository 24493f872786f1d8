//! Every source of credentials, from files and variables of a test alone.

#![expect(clippy::disallowed_methods, reason = "files of the test itself")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::aws::AwsCredential;
use tempfile::TempDir;

use super::asks::{Asks, Said};
use super::aws::Aws;
use super::google::{Google, find_asking};
use super::session::cached_as;
use super::*;
use crate::error::ExitClass;
use crate::transport::web::{WebError, WebRequest};

/// Names and values of variables or fields.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Answers by what an address begins with, and notes whatever was asked.
#[derive(Debug, Default)]
struct Double {
    answers: Vec<(&'static str, u16, &'static str)>,
    asked: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Asks for Double {
    async fn ask(&self, request: WebRequest) -> Result<Said, WebError> {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let address = format!("{} {}", request.method, request.address);
        let answers = self.answers.iter();
        let mut fitting = answers.filter(|(begins, ..)| address.starts_with(begins));
        let answer = fitting.next().map(|(_, status, body)| (*status, *body));
        self.asked.lock().unwrap().push((address.clone(), format!("{:?} {body}", request.headers)));
        let (status, body) = answer.ok_or(WebError::Unusable("nobody answers"))?;
        Ok(Said { status, body: Bytes::from_static(body.as_bytes()) })
    }
}

/// A home with files, and firmware that says something.
fn home(files: &[(&str, &str)], vendor: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let vendors = [("hardware/sys_vendor", vendor), ("hardware/product_name", vendor)];
    for (name, text) in files.iter().chain(&vendors) {
        let file = home.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    home
}

fn environment(home: &Path, variables: &[(&str, &str)]) -> Environment {
    let shown = home.display().to_string();
    let variables = variables.iter().map(|(name, value)| (*name, value.replace("HOME", &shown)));
    Environment::of(variables, Some(home.to_owned()), home.join("hardware"))
}

async fn keys_of(
    home: &TempDir,
    variables: &[(&str, &str)],
    asks: &Arc<Double>,
) -> Result<Arc<AwsCredential>, OpenError> {
    let asks = Arc::<Double>::clone(asks);
    let aws = Aws::asking(&environment(home.path(), variables), asks)?;
    let provider = aws.keys("s3://b").await?;
    Ok(provider.get_credential().await.unwrap())
}

const CONFIG: &str = "[default]\nregion = eu-west-1\n\
    [profile printed]\ncredential_process = sh HOME/prints\n\
    [profile role]\nrole_arn = arn:r\nsource_profile = base\nexternal_id = e/x\n\
    [profile around]\nrole_arn = arn:r\nsource_profile = around2\n\
    [profile around2]\nrole_arn = arn:r\nsource_profile = around\n\
    [profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\n\
    [profile web]\nrole_arn = arn:w\nweb_identity_token_file = HOME/token\n\
    [profile sso]\nsso_session = work\nsso_account_id = 12\nsso_role_name = r\n\
    [profile old]\nsso_start_url = https://o.example\nsso_region = eu-west-1\n\
    sso_account_id = 12\nsso_role_name = r\n\
    [sso-session work]\nsso_start_url = https://w.example\nsso_region = us-east-2\n\
    [profile half]\naws_access_key_id = HALF\n[profile code]\nrole_arn = a\nmfa_serial = m\n";

const STS: &str = "<R><Credentials><AccessKeyId>STS</AccessKeyId><SecretAccessKey>s+/=\
    </SecretAccessKey><SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>\
    </Credentials></R>";

const PORTAL: &str = "{\"roleCredentials\":{\"accessKeyId\":\"SSO\",\"secretAccessKey\":\"s\",\
    \"sessionToken\":\"t\",\"expiration\":32472144000000}}";

const GIVEN: &str = "{\"AccessKeyId\":\"BOX\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\
    \"Expiration\":\"2999-01-01T00:00:00Z\"}";

fn full_home() -> TempDir {
    let print = "echo '{\"Version\":1,\"AccessKeyId\":\"PRINT\",\"SecretAccessKey\":\"s\"}'";
    let session = "{\"accessToken\":\"tok\",\"expiresAt\":\"2999-01-01T00:00:00Z\"}";
    let cache = |name: &str| format!(".aws/sso/cache/{}", cached_as(name));
    let (new, old) = (cache("work"), cache("https://o.example"));
    let files = [
        (".aws/credentials", "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n"),
        ("prints", print),
        ("token", "web-token\n"),
        (new.as_str(), session),
        (old.as_str(), session),
    ];
    let home = home(&files, "Nobody");
    let config = CONFIG.replace("HOME", &home.path().display().to_string());
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    home
}

fn double() -> Arc<Double> {
    let answers = vec![
        ("POST https://sts.eu-central-1.amazonaws.com/", 200, STS),
        ("POST https://sts.eu-west-1.amazonaws.com/", 200, STS),
        ("POST https://sts.us-east-1.amazonaws.com/", 200, STS),
        ("GET https://portal.sso.us-east-2.amazonaws.com/federation/credentials?", 200, PORTAL),
        ("GET https://portal.sso.eu-west-1.amazonaws.com/federation/credentials?", 200, PORTAL),
        ("GET http://169.254.170.2/box", 200, GIVEN),
        ("GET http://127.0.0.1:9/box", 200, GIVEN),
    ];
    Arc::new(Double { answers, ..Double::default() })
}

#[tokio::test]
async fn keys_are_found_in_the_order_of_the_tools() {
    const OWN: (&str, &str) = ("AWS_ACCESS_KEY_ID", "ENV");
    const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "s");
    const FILE: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "HOME/token");
    const ARN: (&str, &str) = ("AWS_ROLE_ARN", "arn:x");
    const BOX: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/box");
    let none = ("AWS_SHARED_CREDENTIALS_FILE", "HOME/none");
    let home = full_home();
    let rows: [(Pairs<'_>, &str, usize); 14] = [
        (&[], "FILE", 0),
        (&[OWN, SECRET, FILE, ARN, BOX], "ENV", 0),
        (&[OWN, SECRET, ("AWS_PROFILE", "none")], "ENV", 0),
        (&[FILE, ARN, BOX], "STS", 1),
        (&[("AWS_PROFILE", "base"), BOX], "BASE", 0),
        (&[("AWS_PROFILE", " base\n")], "BASE", 0),
        (&[("AWS_DEFAULT_PROFILE", "printed")], "PRINT", 0),
        (&[("AWS_PROFILE", "role"), ("AWS_REGION", "eu-central-1")], "STS", 1),
        (&[("AWS_PROFILE", "web")], "STS", 1),
        (&[("AWS_PROFILE", "sso")], "SSO", 1),
        (&[("AWS_PROFILE", "old")], "SSO", 1),
        (&[BOX, none], "BOX", 1),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/box"), none], "BOX", 1),
        (&[("AWS_ACCESS_KEY_ID", " "), ("AWS_SECRET_ACCESS_KEY", "")], "FILE", 0),
    ];
    for (variables, id, requests) in rows {
        let asks = double();
        let found = keys_of(&home, variables, &asks).await;
        let found = found.unwrap_or_else(|error| panic!("{variables:?}: {error}"));
        assert_eq!(found.key_id, id, "{variables:?}");
        let asked = asks.asked.lock().unwrap();
        assert_eq!(asked.len(), requests, "{variables:?}: {asked:?}");
    }
}

#[tokio::test]
async fn what_gives_keys_out_is_asked_as_it_wants_to_be() {
    let (home, asks) = (full_home(), double());
    let region = ("AWS_REGION", "eu-central-1");
    keys_of(&home, &[("AWS_PROFILE", "role"), region], &asks).await.unwrap();
    keys_of(&home, &[("AWS_PROFILE", "web"), region], &asks).await.unwrap();
    keys_of(&home, &[("AWS_PROFILE", "sso")], &asks).await.unwrap();
    let asked = asks.asked.lock().unwrap();
    for (at, parts) in [
        (
            0,
            &[
                "Action=AssumeRole&",
                "RoleArn=arn%3Ar&",
                "ExternalId=e%2Fx",
                "Credential=BASE/",
                "/eu-central-1/sts/aws4_request",
            ][..],
        ),
        (1, &["Action=AssumeRoleWithWebIdentity&", "WebIdentityToken=web-token"]),
    ] {
        let found = parts.iter().all(|part| asked[at].1.contains(part));
        assert!(found, "{at}: {:?}", asked[at]);
    }
    assert!(!asked[1].1.contains("authorization"), "{:?}", asked[1]);
    assert!(asked[2].0.ends_with("?role_name=r&account_id=12"), "{:?}", asked[2]);
    assert!(!asked[2].1.contains("tok\""), "what is secret shows: {:?}", asked[2]);
}

/// Nothing that is not told where to ask asks anybody, the metadata service least of all.
#[tokio::test]
async fn no_request_strays() {
    let empty = home(&[], "QEMU");
    let amazon = home(&[], "Amazon EC2\n");
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    for (home, variables, is_asked) in [
        (&empty, &[][..], false),
        (&empty, &[off], false),
        (&empty, &[("AWS_EC2_METADATA_DISABLED", "false")], false),
        (&amazon, &[off], false),
        (&amazon, &[("AWS_EC2_METADATA_DISABLED", "TRUE")], false),
        (&amazon, &[], true),
    ] {
        let asks = Arc::new(Double::default());
        let error = keys_of(home, variables, &asks).await.unwrap_err();
        let asked = asks.asked.lock().unwrap();
        assert_eq!(!asked.is_empty(), is_asked, "{variables:?}: {asked:?}");
        if !is_asked {
            let OpenError::CredentialsMissing { looked, .. } = &error else { panic!("{error}") };
            assert!(looked.iter().any(|place| place.ends_with(".aws/config (not there)")));
            assert_eq!(error.class(), ExitClass::Config);
        }
    }
    let asks = Arc::new(Double::default());
    let variables = environment(empty.path(), &[]);
    let error = find_asking(&variables, Arc::<Double>::clone(&asks), "gs://b").await.unwrap_err();
    assert!(matches!(error, OpenError::CredentialsMissing { .. }), "{error}");
    assert!(asks.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_instance_is_given_the_keys_of_its_role() {
    let home = home(&[], "Amazon EC2\n");
    let answers = vec![
        ("PUT http://169.254.169.254/latest/api/token", 200, "t\n"),
        ("GET http://169.254.169.254/latest/meta-data/iam/security-credentials/r", 200, GIVEN),
        ("GET http://169.254.169.254/latest/meta-data/iam/security-credentials/", 200, "r\n"),
    ];
    let asks = Arc::new(Double { answers, ..Double::default() });
    assert_eq!(keys_of(&home, &[], &asks).await.unwrap().key_id, "BOX");
    assert_eq!(asks.asked.lock().unwrap().len(), 3);
}

/// Files and variables that cannot be used are named, with what to do, and nothing of them shown.
///
/// Rows: B-P5, B-P6.
#[tokio::test]
async fn what_is_broken_is_named() {
    let long = "x".repeat(1 << 20);
    let files = [("binary", "\0\u{1}SEKRET"), ("long", long.as_str()), ("plain", "SEKRET")];
    let home = full_home();
    for (name, text) in files {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    std::fs::write(home.path().join("invalid"), b"[default]\n\xff\xfe").unwrap();
    std::fs::write(home.path().join("empty"), "").unwrap();
    let file = |name: &'static str| ("AWS_SHARED_CREDENTIALS_FILE", name);
    let (config, expired) = (ExitClass::Config, ExitClass::Authentication);
    let over = "{\"accessToken\":\"SEKRET\",\"expiresAt\":\"2020-01-01T00:00:00Z\"}";
    let cache = home.path().join(".aws/sso/cache").join(cached_as("https://o.example"));
    std::fs::write(cache, over).unwrap();
    let rows: [(Pairs<'_>, ExitClass, &str); 19] = [
        (&[file("HOME/binary")], config, "binary: it is no text"),
        (&[file("HOME/invalid")], config, "invalid: it is no text"),
        (&[file("HOME/long")], config, "longer than"),
        (&[file("HOME/plain")], config, "plain, line 1"),
        (&[file("HOME")], config, "not a regular file"),
        (&[file("HOME/empty")], config, "no credentials"),
        (&[file("/dev/null")], config, "no credentials"),
        (&[("AWS_PROFILE", "none")], config, "AWS_PROFILE: there is no profile"),
        (&[("AWS_PROFILE", "half")], config, "aws_secret_access_key"),
        (&[("AWS_PROFILE", "code")], config, "export-credentials"),
        (&[("AWS_PROFILE", "around")], config, "without an end"),
        (&[("AWS_PROFILE", "old")], expired, "aws sso login --profile old"),
        (&[("AWS_ACCESS_KEY_ID", "A")], config, "AWS_SECRET_ACCESS_KEY: it is not set"),
        (&[("AWS_SECRET_ACCESS_KEY", "SEKRET")], config, "AWS_ACCESS_KEY_ID: it is not set"),
        (
            &[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "SEKRET\u{7f}X")],
            config,
            "secret access key",
        ),
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "HOME/token")], config, "AWS_ROLE_ARN"),
        (
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "HOME/none"), ("AWS_ROLE_ARN", "a")],
            config,
            "there is no such file",
        ),
        (&[("AWS_REGION", "e/x"), ("AWS_PROFILE", "web")], config, "AWS_REGION"),
        (
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://e.example/"), file("HOME/empty")],
            config,
            "without https",
        ),
    ];
    for (variables, class, told) in rows {
        let asks = double();
        let error = keys_of(&home, variables, &asks).await.unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.class(), class, "{variables:?}: {shown}");
        assert!(shown.contains(told), "{variables:?}: {shown}");
        assert!(!format!("{shown} {error:?}").contains("SEKRET"), "{shown}");
        assert!(asks.asked.lock().unwrap().is_empty(), "{variables:?}");
    }
    let newline = [("AWS_ACCESS_KEY_ID", "A\n"), ("AWS_SECRET_ACCESS_KEY", "b\r\n")];
    assert_eq!(keys_of(&home, &newline, &double()).await.unwrap().secret_key, "b");
}

#[tokio::test]
async fn a_refusal_says_why() {
    let home = full_home();
    let denied = "<E><Error><Code>AccessDenied</Code><Message>no\u{1b}[2J</Message></Error></E>";
    for (status, class) in [(403, ExitClass::Authentication), (503, ExitClass::Network)] {
        let answers = vec![("POST https://sts.", status, denied)];
        let asks = Arc::new(Double { answers, ..Double::default() });
        let error = keys_of(&home, &[("AWS_PROFILE", "role")], &asks).await.unwrap_err();
        assert_eq!(error.class(), class);
        assert!(error.to_string().contains("AccessDenied no\\x1b[2J"), "{error}");
    }
}

const ACCOUNT: &str = "{\"type\":\"service_account\",\"private_key\":\"-----BEGIN PRIVATE KEY\",\
    \"private_key_id\":\"i\",\"client_email\":\"e\",\"gcs_base_url\":\"http://127.0.0.1:1\"}";

const USER: &str = "{\"type\":\"authorized_user\",\"client_id\":\"i\",\"client_secret\":\"SEKRET\",\
    \"refresh_token\":\"SEKRET\"}";

#[tokio::test]
async fn google_credentials_are_found_in_their_order() {
    let usual = ".config/gcloud/application_default_credentials.json";
    let files = [(usual, USER), ("account", ACCOUNT), ("other", "{\"type\":\"external_account\"}")];
    let home = home(&files, "Google Compute Engine");
    let token = "{\"access_token\":\"tok\",\"expires_in\":3600}";
    let application = |name: &'static str| ("GOOGLE_APPLICATION_CREDENTIALS", name);
    let rows: [(Pairs<'_>, u16, Result<&str, &str>, usize); 8] = [
        (&[], 200, Ok("tok"), 1),
        (&[application("HOME/account")], 200, Ok("account"), 0),
        (&[("GOOGLE_SERVICE_ACCOUNT_KEY", ACCOUNT)], 200, Ok("account"), 0),
        (&[("GOOGLE_OAUTH_ACCESS_TOKEN", "own\n"), application("HOME/none")], 200, Ok("own"), 0),
        (&[application("HOME/none")], 200, Err("is not there"), 0),
        (&[application("HOME/other")], 200, Err("of this type"), 0),
        (&[("GOOGLE_OAUTH_ACCESS_TOKEN", "a b")], 200, Err("no token"), 0),
        (&[], 400, Err("gcloud auth application-default login"), 1),
    ];
    for (variables, status, wanted, requests) in rows {
        let answers = vec![("POST https://oauth2.googleapis.com/token", status, token)];
        let asks = Arc::new(Double { answers, ..Double::default() });
        let variables = environment(home.path(), variables);
        let found = find_asking(&variables, Arc::<Double>::clone(&asks), "gs://b").await;
        assert_eq!(asks.asked.lock().unwrap().len(), requests);
        match (found, wanted) {
            (Ok(found @ Google::Account { .. }), Ok("account")) => {
                assert_eq!(found.endpoint().unwrap().1, "http://127.0.0.1:1");
            }
            (Ok(Google::Tokens(tokens)), Ok(token)) => {
                assert_eq!(tokens.get_credential().await.unwrap().bearer, token);
            }
            (Err(error), Err(told)) => {
                assert!(error.to_string().contains(told), "{error}");
                assert!(!format!("{error} {error:?}").contains("SEKRET"), "{error}");
            }
            (found, wanted) => panic!("{wanted:?}: {found:?}"),
        }
    }
}

#[test]
fn azure_credentials_are_found() {
    let long = "t".repeat((64 << 10) + 1);
    let home = home(&[("token", "a.b.c\n"), ("long", long.as_str()), ("empty", "\n")], "Nobody");
    let find =
        |variables: &[(&str, &str)]| azure::find(&environment(home.path(), variables), "az://c");
    let account = ("AZURE_STORAGE_ACCOUNT", "acc0unt");
    let key = ("AZURE_STORAGE_KEY", "c2VjcmV0\n");
    let sas = ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=a%2Bb");
    let whole = "DefaultEndpointsProtocol=https;AccountName=named;AccountKey=c2VjcmV0;\
                 BlobEndpoint=http://127.0.0.1:1/named;";
    let whole = ("AZURE_STORAGE_CONNECTION_STRING", whole.trim());
    let suffixed = "AccountName=named;SharedAccessSignature=sv=1&sig=b;EndpointSuffix=x.example";
    let suffixed = ("AZURE_STORAGE_CONNECTION_STRING", suffixed);
    let who = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "i")];
    let secret = ("AZURE_CLIENT_SECRET", "s");
    let federated = ("AZURE_FEDERATED_TOKEN_FILE", "HOME/token");
    let file = |at| [account, who[0], who[1], ("AZURE_FEDERATED_TOKEN_FILE", at)];
    let [absent, folder, long, empty] =
        ["HOME/absent", "HOME/hardware", "HOME/long", "HOME/empty"].map(file);
    for (variables, name, proof, endpoint) in [
        (&[account, key][..], "acc0unt", "Fixed", None),
        (&[account, sas], "acc0unt", "Fixed", None),
        (&[whole, account], "named", "Fixed", Some("http://127.0.0.1:1/named")),
        (&[suffixed], "named", "Fixed", Some("https://named.blob.x.example")),
        (&[account, who[0], who[1], secret], "acc0unt", "Application", None),
        (&[account, who[0], who[1], federated], "acc0unt", "Federated", None),
    ] {
        let found = find(variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
        let got = found.endpoint.as_ref().map(|(_, endpoint)| endpoint.as_str());
        let proven = format!("{:?}", found.proof);
        assert_eq!((&*found.account, &*proven, got), (name, proof, endpoint), "{variables:?}");
    }
    for (variables, told) in [
        (&[][..], "no credentials"),
        (&[account], "no credentials"),
        (&[account, ("AZURE_STORAGE_KEY", "SEKRET!")], "AZURE_STORAGE_KEY: the account's key"),
        (&[account, ("AZURE_STORAGE_SAS_TOKEN", "SEKRET")], "shared access signature"),
        (&[account, who[0], who[1]], "AZURE_CLIENT_SECRET: it is not set"),
        (&absent, "absent is not there"),
        (&folder, "hardware: "),
        (&long, "long: "),
        (&empty, "it holds no token"),
        (&[("AZURE_STORAGE_ACCOUNT", "a.b/c"), key], "3 to 24"),
    ] {
        let error = find(variables).unwrap_err();
        assert_eq!(error.class(), ExitClass::Config);
        assert!(error.to_string().contains(told), "{variables:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("SEKRET"), "{error}");
    }
}
