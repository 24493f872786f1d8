//! What kept a bucket from being opened, as the user is told.

use crate::endpoint::object::store::StoreError;
use crate::endpoint::object::store::open::OpenError;
use crate::endpoint::web::{WebProblem, WebSourceError};
use crate::error::{
    AuthenticationReason, ConfigReason, ExitClass, Failure, NetworkReason, Remedy, StoreReason,
    TransferError,
};
use crate::location::{Bucket, StoreKind};

/// What helps where what answers is no store, or none that can be believed.
const ENDPOINT: &str = "see what answers there; another address of the store is \
                        --endpoint-url URL, or AWS_ENDPOINT_URL_S3";

/// Why nothing was asked of a bucket.
pub(super) fn open_error(bucket: &Bucket, error: OpenError) -> TransferError {
    let place = bucket.to_string();
    match error.class() {
        ExitClass::Authentication => {
            let failure = Failure::new(place, AuthenticationReason::CredentialsRefused);
            TransferError::Authentication(failure.because(error).next(keys(bucket.kind)))
        }
        ExitClass::Network => {
            let failure = Failure::new(place, NetworkReason::StoreUnreachable);
            TransferError::Network(failure.because(error).next(keys(bucket.kind)))
        }
        _ => {
            let (reason, next) = match &error {
                OpenError::CredentialsMissing { .. } => {
                    (ConfigReason::CredentialsMissing, keys(bucket.kind))
                }
                OpenError::CredentialsBroken { .. } => {
                    let next = "put that right, or name others";
                    (ConfigReason::Credentials, Remedy::text(next))
                }
                _ => {
                    let next = "name the address of the store with --endpoint-url URL, and its \
                                region with AWS_REGION or B2_REGION";
                    (ConfigReason::Endpoint, Remedy::text(next))
                }
            };
            TransferError::Config(Failure::new(place, reason).because(error).next(next))
        }
    }
}

/// Why a bucket does not tell what is in it.
pub(super) fn store_error(bucket: &Bucket, error: StoreError) -> TransferError {
    let place = bucket.to_string();
    let refused = |reason, next| {
        let failure = Failure::new(place.clone(), reason).next(next);
        TransferError::Authentication(failure.because(error.clone()))
    };
    let unusable = |reason, next: Remedy| {
        let failure = Failure::new(place.clone(), reason).next(next);
        TransferError::Store(failure.because(error.clone()))
    };
    let unreached = |reason, next| {
        let failure = Failure::new(place.clone(), reason).next(Remedy::text(next));
        TransferError::Network(failure.because(error.clone()))
    };
    match &error {
        StoreError::Missing | StoreError::NoBucket => {
            unusable(StoreReason::NoSource, bucket_remedy(bucket))
        }
        StoreError::Refused(_) => {
            refused(AuthenticationReason::CredentialsRefused, keys(bucket.kind))
        }
        StoreError::Denied(_) => refused(AuthenticationReason::AccessDenied, rights(bucket.kind)),
        StoreError::Untrusted(_) => {
            let next = Remedy::text(
                "where that store has a certificate of its own, name the file that vouches for \
                 it: SSL_CERT_FILE=FILE; else look whose address that is",
            );
            refused(AuthenticationReason::StoreUntrusted, next)
        }
        StoreError::Slow { .. } => {
            unreached(NetworkReason::Throttled, "wait a while; then repeat the same command")
        }
        StoreError::Again(_) | StoreError::Unknown(_) | StoreError::Porter(_) => unreached(
            NetworkReason::StoreUnreachable,
            "check the network and the address (--endpoint-url URL, AWS_ENDPOINT_URL_S3); then \
             repeat the same command: it continues",
        ),
        StoreError::Elsewhere(_) | StoreError::Failed(_) => {
            unusable(StoreReason::Refuses, Remedy::text(ENDPOINT))
        }
        StoreError::Changed
        | StoreError::Busy
        | StoreError::Damaged(_)
        | StoreError::Unkept
        | StoreError::Unsupported
        | StoreError::Nonsense(_) => unusable(StoreReason::Nonsense, Remedy::text(ENDPOINT)),
    }
}

/// Why something public cannot be read.
pub(super) fn web_error(error: WebSourceError) -> TransferError {
    let place = error.place.clone();
    let refused = |reason, next| {
        let failure = Failure::new(place.clone(), reason).next(Remedy::text(next));
        TransferError::Authentication(failure.because(error.problem.clone()))
    };
    let unusable = |reason, next| {
        let failure = Failure::new(place.clone(), reason).next(Remedy::text(next));
        TransferError::Store(failure.because(error.problem.clone()))
    };
    match &error.problem {
        WebProblem::Missing => unusable(
            StoreReason::NoRepository,
            "look at the spelling and at the revision; one that is private needs HF_TOKEN",
        ),
        WebProblem::Refused(_) => refused(
            AuthenticationReason::AccessDenied,
            "of the hub: set HF_TOKEN to a token that may read it, and accept its terms in a \
             browser; of another address: ask for a new one, for signed ones expire",
        ),
        WebProblem::Untrusted(_) => refused(
            AuthenticationReason::StoreUntrusted,
            "where that server has a certificate of its own, name the file that vouches for it: \
             SSL_CERT_FILE=FILE; else look whose address that is",
        ),
        WebProblem::Later { .. } => {
            let failure = Failure::new(place.clone(), NetworkReason::StoreUnreachable);
            let next = "check the network and the address; then repeat the same command";
            let failure = failure.because(error.problem.clone()).next(Remedy::text(next));
            TransferError::Network(failure)
        }
        _ => unusable(StoreReason::Nonsense, "look at the address, with a browser or curl -I"),
    }
}

/// Where keys are looked for first.
fn keys(kind: StoreKind) -> Remedy {
    Remedy::text(match kind {
        StoreKind::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN where there is \
             one), or AWS_PROFILE=NAME for one of ~/.aws/credentials"
        }
        StoreKind::Gcs => {
            "set GOOGLE_APPLICATION_CREDENTIALS=FILE, a key file; or gcloud auth \
             application-default login"
        }
        StoreKind::Azure => {
            "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or AZURE_STORAGE_SAS_TOKEN"
        }
        StoreKind::B2 => "set B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY",
    })
}

/// What credentials must be allowed.
fn rights(kind: StoreKind) -> Remedy {
    Remedy::text(match kind {
        StoreKind::S3 => {
            "have them allowed s3:ListBucket on the bucket, s3:GetObject on its objects and, to \
             write, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload; or use others \
             (AWS_PROFILE=NAME)"
        }
        StoreKind::Gcs => "have them given the role roles/storage.objectUser on the bucket",
        StoreKind::Azure => {
            "have them given the role Storage Blob Data Contributor on the container"
        }
        StoreKind::B2 => {
            "make an application key with listBuckets, listFiles, readFiles and, to write, \
             writeFiles and deleteFiles"
        }
    })
}

/// How a bucket is made by its own tool.
fn bucket_remedy(bucket: &Bucket) -> Remedy {
    let (name, place) = (bucket.name.as_str(), bucket.to_string());
    let argv: Vec<String> = match bucket.kind {
        StoreKind::S3 => vec!["aws", "s3", "mb", &place],
        StoreKind::Gcs => vec!["gcloud", "storage", "buckets", "create", &place],
        StoreKind::Azure => vec!["az", "storage", "container", "create", "--name", name],
        StoreKind::B2 => vec!["b2", "bucket", "create", name, "allPrivate"],
    }
    .into_iter()
    .map(str::to_owned)
    .collect();
    let text = format!(
        "look at the spelling, at the account of the credentials and at --endpoint-url; a new \
         one: {}",
        argv.join(" ")
    );
    Remedy { text, argv }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(kind: StoreKind) -> Bucket {
        Bucket { kind, name: "bucket".into() }
    }

    #[test]
    fn each_answer_has_its_code_and_says_what_to_do() {
        let text = || "why".to_owned();
        for (error, reason, code) in [
            (StoreError::NoBucket, "no-such-bucket", 4),
            (StoreError::Missing, "no-such-bucket", 4),
            (StoreError::Refused(text()), "credentials-refused", 11),
            (StoreError::Denied(text()), "access-denied", 11),
            (StoreError::Untrusted(text()), "store-untrusted", 11),
            (StoreError::Again(text()), "store-unreachable", 10),
            (StoreError::Unknown(text()), "store-unreachable", 10),
            (StoreError::Slow { reason: text(), after: None }, "server-throttles", 10),
            (StoreError::Nonsense(text()), "store-answers-nonsense", 13),
            (StoreError::Unsupported, "store-answers-nonsense", 13),
            (StoreError::Elsewhere(text()), "store-refuses", 13),
            (StoreError::Failed(text()), "store-refuses", 13),
        ] {
            for kind in StoreKind::ALL {
                let told = store_error(&bucket(kind), error.clone());
                assert_eq!((told.reason(), told.exit_class().code()), (reason, code), "{error}");
                assert!(told.to_string().starts_with(&format!("{}://bucket: ", kind.scheme())));
                assert!(!told.remedies().is_empty() && told.cause().is_some(), "{error}");
            }
        }
        let there = store_error(&bucket(StoreKind::S3), StoreError::NoBucket).of_destination();
        assert_eq!((there.reason(), there.exit_class().code()), ("no-such-bucket", 8));
        assert_eq!(there.remedies()[0].argv.join(" "), "aws s3 mb s3://bucket");
    }

    #[test]
    fn what_is_public_and_cannot_be_read_has_its_code() {
        let why = || "why".to_owned();
        for (problem, reason, code) in [
            (WebProblem::Missing, "no-such-repository", 4),
            (WebProblem::Refused(401), "access-denied", 11),
            (WebProblem::Untrusted(why()), "store-untrusted", 11),
            (WebProblem::Later { reason: why(), after: None }, "store-unreachable", 10),
            (WebProblem::Nonsense(why()), "store-answers-nonsense", 13),
            (WebProblem::Astray("why"), "store-answers-nonsense", 13),
        ] {
            let told = web_error(WebSourceError { place: "hf://o/m".into(), problem });
            assert_eq!((told.reason(), told.exit_class().code()), (reason, code), "{told}");
            assert!(!told.remedies().is_empty() && told.cause().is_some(), "{told}");
        }
    }

    #[test]
    fn what_cannot_be_opened_has_its_code_and_says_what_to_do() {
        let text = || "why".to_owned();
        for (error, reason, code) in [
            (
                OpenError::CredentialsMissing { bucket: text(), looked: vec![], next: "next" },
                "credentials-missing",
                3,
            ),
            (
                OpenError::CredentialsBroken { place: text(), line: None, why: text() },
                "credentials-unusable",
                3,
            ),
            (OpenError::BadEndpoint { from: text(), why: "why" }, "endpoint-unusable", 3),
            (OpenError::RegionMissing { bucket: text(), looked: text() }, "endpoint-unusable", 3),
            (OpenError::Refused { by: text(), why: text() }, "credentials-refused", 11),
            (OpenError::Unreached(text()), "store-unreachable", 10),
        ] {
            for kind in StoreKind::ALL {
                let told = open_error(&bucket(kind), error.clone());
                assert_eq!((told.reason(), told.exit_class().code()), (reason, code), "{error}");
                assert!(!told.remedies().is_empty() && told.cause().is_some(), "{error}");
            }
        }
    }
}
