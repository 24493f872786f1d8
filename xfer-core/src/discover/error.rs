//! Why a platform could not be asked, or what is wrong with its answer.

use std::time::Duration;

use xfer_protocol::path::Escaped;

use crate::transport::http::HttpError;

/// What went wrong, and with which request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct PlatformError {
    /// Method and address, without its query.
    pub place: String,
    /// What is wrong.
    pub problem: ApiProblem,
}

/// What may be wrong with a platform's interface.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiProblem {
    /// No key is at hand.
    #[error("no API key: {0}")]
    KeyMissing(String),
    /// A key file, or an address, that cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The key is not taken.
    #[error("it does not take the API key ({status}: {})", Escaped(.said.as_bytes()))]
    KeyRefused {
        /// The status.
        status: u16,
        /// In its words.
        said: String,
    },
    /// It knows nothing of the sort.
    #[error("it knows no such thing (404: {})", Escaped(.0.as_bytes()))]
    NotFound(String),
    /// What is needed to reach a machine is not there, and a command brings it.
    #[error("{}", Escaped(.what.as_bytes()))]
    Missing {
        /// What is missing.
        what: String,
        /// The command.
        command: Vec<String>,
    },
    /// A file of ssh's configuration that leads there and cannot be used.
    #[error("{}", Escaped(.0.as_bytes()))]
    SshFile(String),
    /// The platform's own program, which is asked, cannot be run to its end.
    #[error("{}", Escaped(.0.as_bytes()))]
    NotRun(String),
    /// It says no.
    #[error("it refuses ({status}: {})", Escaped(.said.as_bytes()))]
    Refused {
        /// The status.
        status: u16,
        /// In its words.
        said: String,
    },
    /// Too many requests, for as long as they were repeated.
    #[error("it takes no more requests for now, and did not within {} s", .0.as_secs())]
    Busy(Duration),
    /// No answer.
    #[error("{0}")]
    Unanswered(#[from] HttpError),
    /// An answer that is not what its documentation says.
    #[error("its answer cannot be used: {}", Escaped(.0.as_bytes()))]
    Answer(String),
}
