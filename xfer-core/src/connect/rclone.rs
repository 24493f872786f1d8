//! Remotes of an installed rclone: it is started, has the remote opened, and is asked once before
//! anything is scanned.

use std::sync::Arc;
use std::time::Duration;

use xfer_protocol::message::Request;

use super::stores::prefix;
use super::{Connected, Connector};
use crate::endpoint::object::store::{Store, StoreError};
use crate::endpoint::object::{ObjectEndpoint, ObjectOptions};
use crate::endpoint::rclone::{OpenProblem, RcloneOptions, RcloneStore};
use crate::error::{
    AuthenticationReason, ConfigReason, Failure, NetworkReason, Remedy, StoreReason, TransferError,
};
use crate::event::Route;
use crate::location::RcloneRemote;
use crate::options::TransferOptions;

/// Which program, where the person has another than the one that is found by its name.
const PROGRAM: &str = "RCLONE";

/// Time for the first answer: rclone would try for minutes, and an address that is wrong is to be
/// told soon.
const OPENS_WITHIN: Duration = Duration::from_secs(60);

/// Files that are on their way at a time: as many as the engine has blocks for.
const STREAMS: usize = 32;

impl Connector {
    /// What a remote of rclone's leads to.
    ///
    /// # Errors
    /// No rclone, no such remote, or one that refuses or does not answer.
    pub(super) async fn rclone(
        &self,
        remote: &RcloneRemote,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let (stall, seed) = (options.retry.stall, self.unique());
        let program = std::env::var_os(PROGRAM).filter(|name| !name.is_empty());
        let program = program.unwrap_or_else(|| "rclone".into());
        let failed = |problem| rclone_error(remote, problem);
        let clock = self.clock();
        let asked = RcloneOptions { program, stall, seed };
        let opened = async {
            let store = RcloneStore::open(remote, asked, &*clock).await?;
            let looked = store.first_look(&prefix(ahead)).await;
            looked.map(|()| store).map_err(OpenProblem::Remote)
        };
        let opened = tokio::time::timeout(OPENS_WITHIN, opened).await;
        let silent = || {
            let seconds = OPENS_WITHIN.as_secs();
            let why = format!("rclone has no answer from there within {seconds} s");
            Err(OpenProblem::Remote(StoreError::Again(why)))
        };
        let store = opened.unwrap_or_else(|_| silent()).map_err(failed)?;
        let weak_states = !store.proves_states();
        let objects = ObjectOptions {
            weak_states,
            begins_anew: true,
            records: None,
            ..self.object_options(options)
        };
        let store = Arc::new(store) as Arc<dyn Store>;
        let here = Connected::here(Arc::new(ObjectEndpoint::new(store, objects)));
        let transport = "rclone".to_owned();
        let route = Some(Route { kind: "store", transport, direct: true, streams: STREAMS });
        Ok(Connected { place: remote.to_string(), route, ..here })
    }
}

/// Why nothing can be done with a remote, as the user is told.
fn rclone_error(remote: &RcloneRemote, problem: OpenProblem) -> TransferError {
    let place = format!("{remote}:");
    let config = |reason, next: Remedy| {
        let failure = Failure::new(place.clone(), reason).next(next);
        TransferError::Config(failure.because(problem.clone()))
    };
    match &problem {
        OpenProblem::Absent(_) | OpenProblem::Unusable(_) => config(
            ConfigReason::RcloneMissing,
            Remedy::text(
                "install a current rclone (https://rclone.org/install/), or name one with \
                 RCLONE=/path/to/rclone",
            ),
        ),
        OpenProblem::NoRemote => {
            let argv = vec!["rclone".to_owned(), "listremotes".to_owned()];
            let text = "look at the spelling; those that there are: rclone listremotes; a new \
                        one: rclone config"
                .to_owned();
            config(ConfigReason::RcloneRemote, Remedy { text, argv })
        }
        OpenProblem::Configuration(_) => config(
            ConfigReason::RcloneRemote,
            Remedy::text(
                "name its configuration with RCLONE_CONFIG=FILE; one that is encrypted opens \
                 with RCLONE_CONFIG_PASS",
            ),
        ),
        OpenProblem::Remote(error) => remote_error(place, error),
    }
}

fn remote_error(place: String, error: &StoreError) -> TransferError {
    let (cause, place) = (error.clone(), || place.clone());
    let tried = Remedy::text("see whether rclone reaches it by itself: rclone lsd REMOTE:");
    match error {
        StoreError::Missing | StoreError::NoBucket => {
            let failure = Failure::new(place(), StoreReason::NoSource).because(cause);
            TransferError::Store(failure.next(tried))
        }
        StoreError::Refused(_) => {
            let failure = Failure::new(place(), AuthenticationReason::CredentialsRefused);
            let next = Remedy::text("have rclone log in anew: rclone config reconnect REMOTE:");
            TransferError::Authentication(failure.because(cause).next(next))
        }
        StoreError::Denied(_) | StoreError::Untrusted(_) => {
            let failure = Failure::new(place(), AuthenticationReason::AccessDenied);
            TransferError::Authentication(failure.because(cause).next(tried))
        }
        StoreError::Slow { .. }
        | StoreError::Again(_)
        | StoreError::Unknown(_)
        | StoreError::Porter(_) => {
            let failure = Failure::new(place(), NetworkReason::StoreUnreachable).because(cause);
            let next = "check the network; then repeat the same command: it continues";
            TransferError::Network(failure.next(Remedy::text(next)))
        }
        StoreError::Elsewhere(_) | StoreError::Failed(_) => {
            let failure = Failure::new(place(), StoreReason::Refuses).because(cause);
            TransferError::Store(failure.next(tried))
        }
        StoreError::Changed
        | StoreError::Busy
        | StoreError::Damaged(_)
        | StoreError::Unsupported
        | StoreError::Unkept
        | StoreError::Nonsense(_) => {
            let failure = Failure::new(place(), StoreReason::Nonsense).because(cause);
            TransferError::Store(failure.next(tried))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_its_code_and_says_what_to_do() {
        let text = || "why".to_owned();
        let remote = RcloneRemote { name: "drive".to_owned(), absolute: false };
        for (problem, reason, code) in [
            (OpenProblem::Absent(text()), "rclone-missing", 3),
            (OpenProblem::Unusable(text()), "rclone-missing", 3),
            (OpenProblem::NoRemote, "rclone-remote-unusable", 3),
            (OpenProblem::Configuration(text()), "rclone-remote-unusable", 3),
            (OpenProblem::Remote(StoreError::Missing), "no-such-bucket", 4),
            (OpenProblem::Remote(StoreError::Refused(text())), "credentials-refused", 11),
            (OpenProblem::Remote(StoreError::Denied(text())), "access-denied", 11),
            (OpenProblem::Remote(StoreError::Again(text())), "store-unreachable", 10),
            (OpenProblem::Remote(StoreError::Failed(text())), "store-refuses", 13),
            (OpenProblem::Remote(StoreError::Nonsense(text())), "store-answers-nonsense", 13),
        ] {
            let told = rclone_error(&remote, problem);
            assert_eq!((told.reason(), told.exit_class().code()), (reason, code), "{told}");
            assert!(told.to_string().starts_with("rclone:drive:"), "{told}");
            assert!(!told.remedies().is_empty() && told.cause().is_some(), "{told}");
        }
    }
}
