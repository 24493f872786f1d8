//! From a typed host to a login: hop by hop, patiently, one dial at a time

use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::PublicKey;

use super::algorithms::{ChaCha20, preferred};
use super::authenticate::{Credential, log_in, log_in_again};
use super::connection::{Inner, SshConnection};
use super::dial::{Dialled, dial};
use super::error::{ConfigurationProblem, ReachProblem, SshError};
use super::handshake::{Asking, Guard, HandshakeError, HostKeyTrust, PeerNotes, shake_hands};
use super::host_config::{HostConfig, resolve};
use super::host_key::HostKeyJudge;
use super::options::SshOptions;
use super::prompt::NoPrompt;
use super::target::SshTarget;
use super::tuning::{BUSY_PAUSE_MAX, JUMPS_MAX, LOGIN_WITHIN};
use super::wire::Greeting;
use crate::clock::backoff;

pub(super) type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<SshConnection, SshError>> + Send + 'a>>;

/// One hop: its jump hosts first, each resolved, proven and logged into by itself
pub(super) fn connect_hop<'a>(
    target: &'a SshTarget,
    options: &'a SshOptions,
    mut passed: Vec<String>,
) -> Connecting<'a> {
    Box::pin(async move {
        let config = resolve(target, options).await?;
        let misconfigured =
            |problem| SshError::Configuration { host: target.host().to_owned(), problem };
        let place = config.place();
        if passed.contains(&place) {
            return Err(misconfigured(ConfigurationProblem::JumpLoop(place)));
        }
        passed.push(place);
        if passed.len() > JUMPS_MAX + 1 {
            return Err(misconfigured(ConfigurationProblem::TooManyJumps));
        }
        let jump = match config.route.jumps.split_last() {
            None => None,
            Some((last, before)) => {
                let before: Vec<String> = before.iter().map(ToString::to_string).collect();
                let through = (!before.is_empty()).then(|| before.join(","));
                let options = options.for_jump(through);
                Some(connect_hop(last, &options, passed).await?)
            }
        };
        patiently(config, jump, options, None).await
    })
}

/// A further connection to where `first` leads, which was resolved and proven already
pub(super) async fn connect_again(
    first: &SshConnection,
    options: &SshOptions,
) -> Result<SshConnection, SshError> {
    let options = SshOptions { interactive: Arc::new(NoPrompt), ..options.clone() };
    let known = Known { host_key: first.host_key(), credential: first.credential() };
    patiently(first.config().clone(), first.jump().cloned(), &options, Some(known)).await
}

/// A connection to a host whose key is known, by what it will take
pub(super) async fn connect_with(
    target: &SshTarget,
    options: &SshOptions,
    host_key: (PublicKey, HostKeyTrust),
    credential: &Credential,
) -> Result<SshConnection, SshError> {
    let config = resolve(target, options).await?;
    let known = Known { host_key: Some(host_key), credential };
    patiently(config, None, options, Some(known)).await
}

/// What is known of a host before it is dialled
#[derive(Clone)]
struct Known<'a> {
    host_key: Option<(PublicKey, HostKeyTrust)>,
    /// What it takes
    credential: &'a Credential,
}

/// Dials again while the host takes no further logins
async fn patiently(
    config: HostConfig,
    jump: Option<SshConnection>,
    options: &SshOptions,
    known: Option<Known<'_>>,
) -> Result<SshConnection, SshError> {
    let mut waited = Duration::ZERO;
    let mut attempts = 0;
    let mut chacha20 = ChaCha20::Offered;
    loop {
        attempts += 1;
        // A further connection that must wait holds up nobody else.
        let dialling = match &known {
            Some(_) => Some(options.dialling.lock().await),
            None => None,
        };
        let attempted = attempt(&config, jump.as_ref(), options, chacha20, known.as_ref()).await;
        drop(dialling);
        let said = match attempted {
            Ok(connection) => return Ok(connection),
            Err(AttemptError::Terrapin) if chacha20 == ChaCha20::Offered => {
                chacha20 = ChaCha20::Withheld;
                continue;
            }
            Err(AttemptError::Terrapin) => {
                return Err(SshError::Protocol {
                    host: config.host_and_port(),
                    reason: "it insists on chacha20 without a strict key exchange".to_owned(),
                });
            }
            Err(AttemptError::Failed(error)) => return Err(*error),
            Err(AttemptError::Busy(said)) => said,
        };
        let pause = backoff(attempts, BUSY_PAUSE_MAX, options.seed);
        waited += pause;
        if waited > options.busy_budget {
            return Err(SshError::Busy { host: config.host_and_port(), said, attempts });
        }
        tokio::time::sleep(pause).await;
    }
}

/// How one attempt failed
enum AttemptError {
    /// The host is full or has had enough of us
    Busy(String),
    /// Worth one more attempt without ChaCha20
    Terrapin,
    Failed(Box<SshError>),
}

impl From<SshError> for AttemptError {
    fn from(error: SshError) -> Self {
        Self::Failed(Box::new(error))
    }
}

async fn attempt(
    config: &HostConfig,
    jump: Option<&SshConnection>,
    options: &SshOptions,
    chacha20: ChaCha20,
    known: Option<&Known<'_>>,
) -> Result<SshConnection, AttemptError> {
    let limit = config.route.connect_timeout.unwrap_or(options.connect_timeout);
    let (asking, notes, greeting) = (Asking::default(), PeerNotes::default(), Greeting::default());
    let judge = match known.and_then(|known| known.host_key.clone()) {
        Some(shown) => HostKeyJudge::of_further_connection(config, shown),
        None => HostKeyJudge::prepare(config, &options.interactive, options.seed).await?,
    };
    let offered = preferred(&config.algorithms, &judge.known_kinds(), chacha20)
        .map_err(|problem| SshError::Configuration { host: config.typed_host.clone(), problem })?;
    let (guard, lifetime) = Guard::new(judge, asking.clone(), notes.clone());
    let connecting = async {
        let dialled = dial(config, jump, limit).await?;
        let Dialled { stream, round_trip, ends, gauge, proxy } = dialled;
        let liveness = config.route.liveness;
        let shaken = shake_hands(stream, round_trip, offered, guard, &greeting, liveness).await;
        let handle = shaken.map_err(|error| explain(error, config, &greeting))?;
        Ok::<_, AttemptError>((handle, ends, round_trip, gauge, proxy))
    };
    let timed_out = || SshError::Unreachable {
        host: config.host_and_port(),
        problem: ReachProblem::TimedOut(limit),
    };
    let (mut handle, ends, round_trip, gauge, proxy) =
        asking.within(limit, connecting).await.ok_or_else(timed_out)??;
    let login = async {
        match known {
            None => log_in(&mut handle, config, &options.interactive, &asking, &notes).await,
            Some(known) => {
                log_in_again(&mut handle, config, known.credential, &asking, &notes).await?;
                Ok(Credential::Person)
            }
        }
    };
    let credential = asking.within(LOGIN_WITHIN, login).await.ok_or_else(|| SshError::Lost {
        host: config.host_and_port(),
        reason: format!("the login did not end in {LOGIN_WITHIN:?}"),
    })??;
    let (config, jump) = (config.clone(), jump.cloned());
    let given_back = AtomicBool::new(false);
    Ok(SshConnection::new(Inner {
        handle,
        config,
        notes,
        lifetime,
        given_back,
        ahead: Mutex::default(),
        credential,
        jump,
        ends,
        round_trip,
        gauge,
        _proxy: proxy,
    }))
}

/// What a failed handshake means, by how far it came
fn explain(error: HandshakeError, config: &HostConfig, greeting: &Greeting) -> AttemptError {
    let host = config.host_and_port();
    let engine = match error {
        HandshakeError::Refused(error) => return AttemptError::Failed(error),
        HandshakeError::Terrapin => return AttemptError::Terrapin,
        HandshakeError::Engine(error) => error,
    };
    if !greeting.has_banner() {
        return explain_silence(&engine, config, greeting);
    }
    let reason = engine.to_string().to_lowercase();
    let error = match engine {
        russh::Error::IO(_) | russh::Error::Disconnect | russh::Error::HUP => {
            SshError::Lost { host, reason }
        }
        _ => SshError::Protocol { host, reason: reason.escape_debug().to_string() },
    };
    error.into()
}

/// A connection that ended before the banner
///
/// sshd closes so when `MaxStartups` is exceeded or a penalty runs, with or without a line of text.
fn explain_silence(
    engine: &russh::Error,
    config: &HostConfig,
    greeting: &Greeting,
) -> AttemptError {
    let host = config.host_and_port();
    let said = greeting.text();
    let refusals = ["Exceeded MaxStartups", "Not allowed at this time"];
    if refusals.iter().any(|refusal| said.contains(refusal)) {
        return AttemptError::Busy(said);
    }
    if let Some(command) = &config.route.proxy_command {
        let problem = ReachProblem::ProxyCommand(format!("{command:?} ended before a banner came"));
        return SshError::Unreachable { host, problem }.into();
    }
    let ended =
        matches!(engine, russh::Error::Disconnect | russh::Error::IO(_) | russh::Error::HUP);
    if ended && said.is_empty() {
        return AttemptError::Busy("it closed the connection before its banner".to_owned());
    }
    SshError::Unreachable { host, problem: ReachProblem::NotSsh(said) }.into()
}
