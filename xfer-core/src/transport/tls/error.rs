//! Why there is no stream, or no longer one

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{AlertDescription, Error};

/// What went wrong with a TLS stream, and whose fault it is
///
/// A stream's own `io::Error` holds one as well.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The connection ended during the handshake.
    #[error("the connection to {address} broke during the handshake")]
    Broken {
        /// The other end
        address: SocketAddr,
        /// What the system said
        #[source]
        cause: io::Error,
    },
    /// The handshake or a record is not as it must be: no TLS, another version, or damage.
    #[error("{address} does not speak the protocol of a data port")]
    Garbled {
        /// The other end
        address: SocketAddr,
        /// What is wrong
        #[source]
        cause: TlsProblem,
    },
    /// Not everything was done in time.
    #[error("{address} was not there and proven within {} s", limit.as_secs_f32())]
    Late {
        /// The other end
        address: SocketAddr,
        /// The time it had
        limit: Duration,
    },
    /// Who answers or asks holds another key than the expected one, or none.
    #[error("{address} is not the machine that was expected there")]
    Stranger {
        /// The other end
        address: SocketAddr,
        /// What is wrong
        #[source]
        cause: TlsProblem,
    },
    /// The connection ended, and the peer had not said that it would.
    #[error("the stream from {address} was cut off")]
    Truncated {
        /// The other end
        address: SocketAddr,
    },
    /// The other side expects another key than ours.
    #[error("{address} does not know this side's key")]
    Unknown {
        /// The other end
        address: SocketAddr,
        /// What is wrong
        #[source]
        cause: TlsProblem,
    },
    /// Nobody answers there.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The other end
        address: SocketAddr,
        /// What the system said
        #[source]
        cause: io::Error,
    },
}

/// A breach of TLS, in the words of its library
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct TlsProblem(#[from] Error);

impl TlsError {
    /// Tells whose fault it is.
    pub(super) fn failed(address: SocketAddr, error: Error) -> Self {
        let cause = TlsProblem(error);
        match cause.0 {
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                Self::Stranger { address, cause }
            }
            Error::AlertReceived(alert) if is_about_key(alert) => Self::Unknown { address, cause },
            _ => Self::Garbled { address, cause },
        }
    }

    /// As a stream tells it.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Broken { cause, .. } | Self::Unreachable { cause, .. } => cause.kind(),
            Self::Garbled { .. } => io::ErrorKind::InvalidData,
            Self::Late { .. } => io::ErrorKind::TimedOut,
            Self::Stranger { .. } | Self::Unknown { .. } => io::ErrorKind::PermissionDenied,
            Self::Truncated { .. } => io::ErrorKind::UnexpectedEof,
        };
        io::Error::new(kind, self)
    }
}

fn is_about_key(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}
