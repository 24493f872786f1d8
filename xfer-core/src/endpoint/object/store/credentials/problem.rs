//! Why a bucket is not opened, and what to do next.

use crate::error::ExitClass;
use crate::transport::web::WebError;

/// Why a bucket is not opened; nothing was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There are no credentials at all.
    #[error("{bucket}: no credentials. Looked at {}. {next}", looked.join(", "))]
    CredentialsMissing {
        /// The bucket.
        bucket: String,
        /// Every place, in the order in which it was looked at.
        looked: Vec<String>,
        /// What to set.
        next: &'static str,
    },
    /// Credentials, or what leads to them, cannot be used as they are.
    #[error("{place}{}: {why}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    CredentialsBroken {
        /// The file, variable or program.
        place: String,
        /// The line of the file.
        line: Option<u32>,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// What should name an endpoint does not.
    #[error("{from}: {why}; an endpoint is https://HOST[:PORT]")]
    BadEndpoint {
        /// Where it stands.
        from: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The bucket's name cannot be one.
    #[error("{bucket} is no name of a bucket: {why}")]
    BadName {
        /// The bucket.
        bucket: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The region of a bucket is not known.
    #[error("{bucket}: no region. Looked at {looked}. Set AWS_REGION to the bucket's region")]
    RegionMissing {
        /// The bucket.
        bucket: String,
        /// Every place, in the order in which it was looked at.
        looked: String,
    },
    /// Whoever gives credentials out refuses to, or what was given is over.
    #[error("{by}: {why}")]
    Refused {
        /// Who.
        by: String,
        /// What it says, and what to do.
        why: String,
    },
    /// Whoever gives credentials out does not answer.
    #[error("credentials are not to be had: {0}")]
    Unreached(String),
}

impl OpenError {
    /// Its row of the exit codes.
    #[must_use]
    pub fn class(&self) -> ExitClass {
        match self {
            Self::CredentialsMissing { .. }
            | Self::CredentialsBroken { .. }
            | Self::BadEndpoint { .. }
            | Self::RegionMissing { .. } => ExitClass::Config,
            Self::BadName { .. } => ExitClass::Usage,
            Self::Refused { .. } => ExitClass::Authentication,
            Self::Unreached(_) => ExitClass::Network,
        }
    }

    pub(in super::super) fn broken(place: impl ToString, why: impl Into<String>) -> Self {
        Self::CredentialsBroken { place: place.to_string(), line: None, why: why.into() }
    }

    pub(in super::super) fn broken_at(place: impl ToString, line: u32, why: &str) -> Self {
        let (place, why) = (place.to_string(), why.to_owned());
        Self::CredentialsBroken { place, line: Some(line), why }
    }

    pub(in super::super) fn refused(by: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused { by: by.into(), why: why.into() }
    }
}

impl From<WebError> for OpenError {
    fn from(error: WebError) -> Self {
        match error {
            WebError::Untrusted { host, reason } => Self::refused(host, reason),
            other => Self::Unreached(other.to_string()),
        }
    }
}
