//! A login that a platform's machine refused, told with the keys that the machine is said to let
//! in.

use std::time::Duration;

use super::Connector;
use super::platform::named;
use super::platform_refusals::api_error;
use crate::discover::{LoginKey, MachineRow};
use crate::error::{AuthenticationReason, Failure, TransferError};
use crate::location::{PlatformKind, PlatformMachine};
use crate::transport::ssh::{KeyOrigin, Listed, LoginRefused, SshError};

/// How long the platform is waited for; what was refused is known without it.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

impl Connector {
    /// The same error, where it is that of a refused login with what its platform knows of it.
    pub(super) async fn with_listed_keys(
        &self,
        machine: &PlatformMachine,
        row: &MachineRow,
        error: TransferError,
    ) -> TransferError {
        // A jump host on the way may refuse too, which is nobody's instance.
        let is_its = |refused: &LoginRefused| {
            row.logins.iter().any(|way| way.host == refused.host && way.port == refused.port)
        };
        let Some((by, advice)) = tellers(machine) else { return error };
        let Some(refused) = refusal(&error).filter(is_its) else { return error };
        let listing = async {
            let (name, asked) = (named(machine)?, self.platforms.of(machine.platform, self).await?);
            let failed = |error| api_error(&machine.to_string(), error);
            asked.login_keys(name).await.map_err(failed)
        };
        let keys = match tokio::time::timeout(TOLD_WITHIN, listing).await {
            Ok(Ok(keys)) => Ok(keys.into_iter().map(told).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        };
        let place = machine.to_string();
        let told = LoginRefused {
            remedies: vec![advice(machine, &refused)],
            location: Some(place.clone()),
            listed: Some(Listed { by, keys }),
            ..refused
        };
        let failure = Failure::new(place, AuthenticationReason::KeyRefused);
        TransferError::Authentication(failure.because(SshError::LoginRefused(Box::new(told))))
    }
}

fn told(key: LoginKey) -> (String, String) {
    (key.fingerprint, key.comment)
}

fn refusal(error: &TransferError) -> Option<LoginRefused> {
    let TransferError::Authentication(failure) = error else { return None };
    match failure.cause.as_deref()?.downcast_ref::<SshError>()? {
        SshError::LoginRefused(refused) => Some((**refused).clone()),
        _ => None,
    }
}

/// How a key is added to a machine of which one was refused.
type Advice = fn(&PlatformMachine, &LoginRefused) -> String;

/// Who tells which keys a machine lets in, and how one is added; nothing where nobody does.
fn tellers(machine: &PlatformMachine) -> Option<(&'static str, Advice)> {
    match machine.platform {
        PlatformKind::Vast => Some(("Vast API", attach)),
        PlatformKind::Sky | PlatformKind::RunPod | PlatformKind::Lambda => None,
    }
}

fn attach(machine: &PlatformMachine, refused: &LoginRefused) -> String {
    format!(
        "add yours to this instance: vastai attach ssh {} \"$(cat {})\"\n(the whole line; keys \
         added to the account reach new instances only)",
        machine.name().unwrap_or_default(),
        public_half(refused)
    )
}

/// The file of a public key that may be added, as a shell reads it between double quotes' `$()`.
fn public_half(refused: &LoginRefused) -> String {
    let file = refused.offered.iter().find_map(|key| match &key.origin {
        KeyOrigin::File(path) => path.to_str(),
        KeyOrigin::Agent(_) => None,
    });
    let is_plain =
        |path: &&str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@".contains(&b));
    match file {
        Some(path) if is_plain(&path) => format!("{path}.pub"),
        Some(_) => "'PATH_OF_YOUR_KEY.pub'".to_owned(),
        None => "~/.ssh/id_ed25519.pub".to_owned(),
    }
}
