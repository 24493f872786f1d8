//! Why something public could not be read.

use std::time::Duration;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use crate::endpoint::{EndpointError, LostReason};
use crate::transport::web::WebError;

/// What was wrong with a request or its answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebProblem {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// Nobody may read it, or not without a key, or not with this one.
    #[error("access is refused (status {0})")]
    Refused(u16),
    /// It is no more what it was.
    #[error("it changed")]
    Changed,
    /// The same request may succeed.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// How long to wait, where that was said.
        after: Option<Duration>,
    },
    /// The certificate is not believed.
    #[error("{0}")]
    Untrusted(String),
    /// Its bytes come in a coding that was not asked for.
    #[error("it comes in the coding {0:?}, which is not what is stored")]
    Coded(String),
    /// It leads where nobody should follow.
    #[error("it leads elsewhere: {0}")]
    Astray(&'static str),
    /// It is answered whole where a range was asked for.
    #[error("no range of it can be read")]
    NoRanges,
    /// Its bytes do not have the digest that the hub tells.
    #[error("its bytes do not have the digest that the hub tells")]
    Mismatch,
    /// What came makes no sense, or is more than a limit of ours.
    #[error("the answer makes no sense: {0}")]
    Nonsense(String),
    /// Any other refusal.
    #[error("status {0}")]
    Status(u16),
    /// No request can be made.
    #[error("{0}")]
    Unusable(&'static str),
}

/// A problem, and where it was met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct WebSourceError {
    /// What was read, without its query.
    pub place: String,
    /// What was wrong.
    pub problem: WebProblem,
}

impl From<WebError> for WebProblem {
    fn from(error: WebError) -> Self {
        match error {
            WebError::Untrusted { .. } => Self::Untrusted(error.to_string()),
            WebError::Unusable(reason) => Self::Unusable(reason),
            _ => Self::later(error.to_string()),
        }
    }
}

impl WebProblem {
    pub(super) fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after: None }
    }

    /// What it means for an entry.
    pub(super) fn at(&self, path: &RelPath, during: Operation) -> EndpointError {
        let kind = match self {
            Self::Missing => FaultKind::NotFound,
            Self::Refused(_) | Self::Untrusted(_) => FaultKind::Permission,
            Self::Changed => FaultKind::Changed,
            Self::Later { .. } => return EndpointError::Lost(LostReason::Ended),
            Self::Coded(_) | Self::NoRanges => FaultKind::Unsupported,
            Self::Mismatch => FaultKind::Mismatch,
            Self::Astray(_) | Self::Nonsense(_) | Self::Status(_) | Self::Unusable(_) => {
                FaultKind::Io
            }
        };
        Fault::new(kind, during, path.clone()).into()
    }
}
