//! What rclone complains of, sorted into what a store can say; its words are bounded and escaped,
//! and the queries of addresses among them, which may be signatures, are left out.

use xfer_protocol::path::Escaped;

use crate::endpoint::object::store::StoreError;

/// Why a remote could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenProblem {
    /// No such program.
    #[error("there is no program {0} here")]
    Absent(String),
    /// A program that does not do what is needed.
    #[error("{0}")]
    Unusable(String),
    /// Its configuration has no such remote.
    #[error("its configuration has no remote of that name")]
    NoRemote,
    /// Its configuration cannot be read.
    #[error("{0}")]
    Configuration(String),
    /// The remote does not answer.
    #[error(transparent)]
    Remote(StoreError),
}

/// Characters of a complaint that are kept of its beginning and of its end, where the cause is.
const HEAD_MAX: usize = 80;
const TAIL_MAX: usize = 220;

/// Each row: what a complaint holds, in small letters, and what it means.
const NOT_THERE: &[&str] =
    &["object not found", "directory not found", "no such file", "not a directory"];
const NO_BUCKET: &[&str] = &["nosuchbucket", "bucket does not exist", "container not found"];
const REFUSED: &[&str] = &[
    "invalid_grant",
    "invalid_client",
    "unauthorized",
    "unauthenticated",
    "statuscode: 401",
    "error 401",
    "invalidaccesskeyid",
    "signaturedoesnotmatch",
    "expiredtoken",
    "expired_access_token",
    "invalid_access_token",
    "couldn't fetch token",
    "empty token found",
    "no valid credential",
    "unable to authenticate",
    "bad password",
];
const DENIED: &[&str] =
    &["accessdenied", "access denied", "forbidden", "statuscode: 403", "error 403", "permission"];
const SLOW: &[&str] =
    &["too many requests", "ratelimit", "slowdown", "error 429", "statuscode: 429"];
const AGAIN: &[&str] = &[
    "connection refused",
    "connection reset",
    "no such host",
    "network is unreachable",
    "no route to host",
    "i/o timeout",
    "timeout",
    "broken pipe",
    "server misbehaving",
    "use of closed network connection",
    "service unavailable",
    "internalerror",
    "statuscode: 50",
    "unexpected eof",
];
const CONFIGURATION: &[&str] =
    &["decrypt configuration", "config file", "config password", "password for config"];

fn has(text: &str, any: &[&str]) -> bool {
    any.iter().any(|word| text.contains(word))
}

/// What a complaint means.
pub(super) fn sorted(complaint: &str) -> StoreError {
    let (small, shown) = (complaint.to_lowercase(), shown(complaint));
    if has(&small, NO_BUCKET) {
        StoreError::NoBucket
    } else if has(&small, REFUSED) {
        StoreError::Refused(shown)
    } else if has(&small, NOT_THERE) {
        StoreError::Missing
    } else if has(&small, DENIED) {
        StoreError::Denied(shown)
    } else if has(&small, SLOW) {
        StoreError::Slow { reason: shown, after: None }
    } else if has(&small, AGAIN) {
        StoreError::Again(shown)
    } else {
        StoreError::Failed(shown)
    }
}

/// What a complaint about opening a remote means.
pub(super) fn sorted_open(complaint: &str) -> OpenProblem {
    let small = complaint.to_lowercase();
    if small.contains("didn't find section in config file")
        || small.contains("didn't find backend called")
    {
        OpenProblem::NoRemote
    } else if has(&small, CONFIGURATION) {
        OpenProblem::Configuration(shown(complaint))
    } else {
        OpenProblem::Remote(sorted(complaint))
    }
}

/// A complaint as it may be shown.
pub(super) fn shown(complaint: &str) -> String {
    let mut plain = String::new();
    for word in complaint.trim().split_inclusive(|c: char| c.is_whitespace() || c == '"') {
        match word.split_once('?') {
            Some((front, query)) if front.contains("://") => {
                plain.push_str(front);
                plain.push_str("?***");
                let end = query.chars().next_back().filter(|c| c.is_whitespace() || *c == '"');
                plain.extend(end);
            }
            _ => plain.push_str(word),
        }
    }
    let length = plain.chars().count();
    if length > HEAD_MAX + TAIL_MAX {
        let head: String = plain.chars().take(HEAD_MAX).collect();
        let tail: String = plain.chars().skip(length - TAIL_MAX).collect();
        plain = format!("{head} … {tail}");
    }
    Escaped(plain.as_bytes()).to_string()
}
