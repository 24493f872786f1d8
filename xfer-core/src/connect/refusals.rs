//! What kept a machine from being reached, as the user is told.

use crate::agent::bootstrap::BootstrapError;
use crate::endpoint::EndpointError;
use crate::error::{
    AuthenticationReason, ConfigReason, Failure, NetworkReason, ProtocolFailure, Remedy,
    TransferError,
};
use crate::transport::peer::Verdict;
use crate::transport::ssh::{HostKeyProblem, KeyProblem, ReachProblem, SshError, SshErrorClass};

/// What helps behind a wall that swallows what is not sent to its proxy.
const BY_PROXY: &str = "where only an HTTP proxy leads out, repeat with \
                        -o ProxyCommand='nc -X connect -x PROXY:PORT %h %p'";

pub(super) fn ssh_error(place: &str, error: SshError) -> TransferError {
    match error.class() {
        SshErrorClass::Usage | SshErrorClass::Configuration => {
            let (reason, next) = match &error {
                SshError::Key { path, problem: KeyProblem::OpenToOthers { .. } } => {
                    (ConfigReason::Key, format!("chmod 600 '{}'", path.display()))
                }
                SshError::Key { .. } => {
                    (ConfigReason::Key, "repeat with -i FILE_OF_ANOTHER_PRIVATE_KEY".to_owned())
                }
                _ => {
                    let host = place.rsplit('@').next().unwrap_or(place);
                    (
                        ConfigReason::Ssh,
                        format!("put that right; ssh -G {host} tells what it reads"),
                    )
                }
            };
            let failure = Failure::new(place, reason).next(Remedy::text(next));
            TransferError::Config(failure.because(error))
        }
        SshErrorClass::Network => {
            let reason = match &error {
                SshError::Busy { .. } => NetworkReason::Throttled,
                SshError::Lost { .. } => NetworkReason::Lost,
                SshError::Unreachable { problem: ReachProblem::Name(_), .. } => {
                    NetworkReason::Unresolved
                }
                SshError::Unreachable { problem: ReachProblem::TimedOut(_), .. } => {
                    NetworkReason::TimedOut
                }
                _ => NetworkReason::Unreachable,
            };
            let next = match reason {
                NetworkReason::Unresolved => "check the name, and ~/.ssh/config if it is of there",
                NetworkReason::Unreachable | NetworkReason::TimedOut => {
                    "check host and port (--port N); then repeat the same command: it continues"
                }
                _ => "repeat the same command: it continues",
            };
            let mut failure = Failure::new(place, reason).next(Remedy::text(next));
            if reason == NetworkReason::TimedOut {
                failure = failure.next(Remedy::text(BY_PROXY));
            }
            TransferError::Network(failure.because(error))
        }
        SshErrorClass::Authentication => {
            let SshError::HostKey { problem, .. } = &error else {
                let reason = AuthenticationReason::KeyRefused;
                return TransferError::Authentication(Failure::new(place, reason).because(error));
            };
            let mut failure = Failure::new(place, host_key_reason(problem));
            failure.next.extend(problem.remedy().map(Remedy::text));
            TransferError::Authentication(failure.because(error))
        }
        SshErrorClass::Protocol => {
            let reason = ProtocolFailure::AgentFailed;
            TransferError::Protocol(Failure::new(place, reason).because(error))
        }
    }
}

fn host_key_reason(problem: &HostKeyProblem) -> AuthenticationReason {
    use HostKeyProblem::{
        Another, Changed, Declined, NeedsCertificate, NotRecorded, Revoked, TooShort, Unknown,
    };
    match problem {
        Changed { .. } | Another { .. } => AuthenticationReason::HostKeyChanged,
        Revoked { .. } => AuthenticationReason::HostKeyRevoked,
        Unknown { .. } | Declined { .. } => AuthenticationReason::HostKeyUnknown,
        NeedsCertificate { .. } | NotRecorded { .. } | TooShort { .. } => {
            AuthenticationReason::HostKeyUnusable
        }
    }
}

pub(super) fn bootstrap_error(place: &str, error: BootstrapError) -> TransferError {
    match error {
        BootstrapError::Ssh(error) => ssh_error(place, error),
        BootstrapError::Binary(error) => {
            TransferError::Protocol(Failure::new(place, ProtocolFailure::NoAgent).because(error))
        }
        error => {
            let reason = ProtocolFailure::AgentFailed;
            TransferError::Protocol(Failure::new(place, reason).because(error))
        }
    }
}

pub(super) fn session_error(place: &str, error: EndpointError) -> TransferError {
    use crate::endpoint::ProtocolReason;
    let reason = match &error {
        EndpointError::Protocol(ProtocolReason::Version) => ProtocolFailure::Version,
        EndpointError::Protocol(ProtocolReason::BadHello) => ProtocolFailure::Greeting,
        EndpointError::Lost(_) => {
            let failure = Failure::new(place, NetworkReason::Lost);
            return TransferError::Network(failure.because(error));
        }
        _ => ProtocolFailure::Broken,
    };
    TransferError::Protocol(Failure::new(place, reason).because(error))
}

/// Somebody else answers where a standing peer should.
pub(super) fn not_the_peer(
    place: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> TransferError {
    let next = "nothing was sent there; see whether host and port are right, and whether the peer \
                still has its state directory: with another key it needs another token";
    let failure = Failure::new(place, AuthenticationReason::NotThePeer);
    TransferError::Authentication(failure.because(error).next(Remedy::text(next)))
}

/// What a standing peer said to a token instead of letting it in.
pub(super) fn refused_token(place: &str, verdict: Verdict) -> TransferError {
    let (reason, next) = match verdict {
        Verdict::Expired => (
            AuthenticationReason::TokenExpired,
            "have another one made there: xfer serve --token-file FILE --new-token",
        ),
        Verdict::Full => {
            let failure = Failure::new(place, NetworkReason::Throttled);
            return TransferError::Network(failure);
        }
        Verdict::Accepted | Verdict::Unknown => (
            AuthenticationReason::TokenRefused,
            "see that its line is in the peer's token file, or have another one made there: xfer \
             serve --token-file FILE --new-token",
        ),
    };
    TransferError::Authentication(Failure::new(place, reason).next(Remedy::text(next)))
}

/// A standing peer that cannot be talked to now.
pub(super) fn unreached(
    place: &str,
    reason: NetworkReason,
    error: impl std::error::Error + Send + Sync + 'static,
) -> TransferError {
    let next = "check host and port, and that xfer serve runs there; then repeat the same command: \
                it continues";
    let failure = Failure::new(place, reason).because(error).next(Remedy::text(next));
    TransferError::Network(failure)
}

/// Why a route that was asked for by name did not come about.
pub(super) fn no_route(place: &str, stranger: bool) -> TransferError {
    if stranger {
        let next = "something else answers on a data port: look at the port map; --route ssh does \
                    without";
        let failure = Failure::new(place, AuthenticationReason::NotTheMachine);
        return TransferError::Authentication(failure.next(Remedy::text(next)));
    }
    let next = "-v tells what was tried; --route auto takes the login where no data port answers";
    let failure = Failure::new(place, NetworkReason::NoDataPort).next(Remedy::text(next));
    TransferError::Network(failure)
}

/// Why nothing goes from one machine to another, and what else would do.
pub(super) fn no_passage(place: &str, tried: Vec<String>) -> TransferError {
    let failure = Failure::new(place, NetworkReason::NoPassage);
    let failure = tried.into_iter().fold(failure, |failure, what| failure.detail("tried", what));
    let here = "have it pass this machine, at the speed of its own link: repeat with --via here";
    let ports = "or open a port of one of the two, and name it: --data-port INSIDE:OUTSIDE/tcp";
    TransferError::Network(failure.next(Remedy::text(here)).next(Remedy::text(ports)))
}
