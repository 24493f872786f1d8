//! One login, many channels

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, Disconnect};
use tokio::process::Child;
use tokio::time::timeout;

use super::algorithms::{ChaCha20, preferred};
use super::authenticate::log_in;
use super::backoff::Backoff;
use super::channel::{ChannelKeeper, Exec, Output, collect, open_lane};
use super::dial::dial;
use super::error::{ChannelUse, ConfigurationProblem, ReachProblem, SshError};
use super::handshake::{
    Asking, Guard, HandshakeError, HostKeyTrust, Lifetime, PeerNotes, shake_hands,
};
use super::host_config::{HostConfig, resolve};
use super::host_key::HostKeyJudge;
use super::options::SshOptions;
use super::target::SshTarget;
use super::tuning::{CHANNEL_OPENS_WITHIN, CLOSE_WITHIN, JUMPS_MAX, LOGIN_WITHIN};
use super::wire::{BoxedDuplex, Greeting};
use crate::transport::Stream;

/// An authenticated connection; clones share it, and it ends with the last of them and of its streams
#[derive(Clone)]
pub struct SshConnection {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle<Guard>,
    config: HostConfig,
    notes: PeerNotes,
    lifetime: Lifetime,
    /// What the bytes run through must outlive the connection.
    _jump: Option<SshConnection>,
    _proxy: Option<Child>,
}

impl fmt::Debug for SshConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SshConnection").field("place", &self.inner.config.place()).finish()
    }
}

impl SshConnection {
    /// Resolves, dials, proves the host, logs in
    ///
    /// One dial at a time goes out for all clones of `options`. A host that takes no further logins is asked
    /// again with growing pauses until `busy_budget` is spent.
    pub async fn connect(target: &SshTarget, options: &SshOptions) -> Result<Self, SshError> {
        let _one_at_a_time = options.gate.lock().await;
        connect_hop(target, options, Vec::new()).await
    }

    /// What the host was resolved to
    pub fn config(&self) -> &HostConfig {
        &self.inner.config
    }

    /// How far the host's identity is proven
    pub fn host_key_trust(&self) -> HostKeyTrust {
        self.inner.notes.trust()
    }

    /// Whether the connection has ended
    pub fn is_closed(&self) -> bool {
        self.inner.handle.is_closed()
    }

    /// Starts a command; the host's login shell reads it
    pub async fn exec(&self, command: impl Into<Vec<u8>>) -> Result<Exec, SshError> {
        let command = command.into();
        let start = async |channel: &Channel<Msg>| channel.exec(true, command).await;
        self.start(ChannelUse::Command, start).await
    }

    /// Runs a command to its end with `stdin`, and collects at most `output_limit` bytes of its stdout
    pub async fn run(
        &self,
        command: impl Into<Vec<u8>>,
        stdin: impl Into<Bytes>,
        output_limit: usize,
    ) -> Result<Output, SshError> {
        let exec = self.exec(command).await?;
        let host = self.inner.config.host_and_port();
        collect(exec, stdin.into(), output_limit, host).await
    }

    /// Starts a subsystem, such as `sftp`
    pub async fn subsystem(&self, name: &str) -> Result<Stream, SshError> {
        let start =
            async |channel: &Channel<Msg>| channel.request_subsystem(true, name.to_owned()).await;
        Ok(self.start(ChannelUse::Subsystem, start).await?.stream)
    }

    /// Says goodbye; streams that are still open end
    pub async fn close(&self) {
        let farewell = self.inner.handle.disconnect(Disconnect::ByApplication, "", "en");
        // A peer that is gone needs no farewell.
        drop(timeout(CLOSE_WITHIN, farewell).await);
    }

    /// A tunnel to `host`, as jump hosts make it
    pub(super) async fn forward(&self, host: &str, port: u16) -> Result<BoxedDuplex, SshError> {
        let opening =
            self.inner.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        let refused = |reason: String| SshError::Unreachable {
            host: super::target::host_and_port(host, port),
            problem: ReachProblem::Forward { jump: self.inner.config.host_and_port(), reason },
        };
        match timeout(CHANNEL_OPENS_WITHIN, opening).await {
            Ok(Ok(channel)) => Ok(Box::new(channel.into_stream())),
            Ok(Err(error)) => Err(refused(error.to_string().to_lowercase())),
            Err(_) => Err(refused("no answer".to_owned())),
        }
    }

    async fn start<F>(&self, wanted: ChannelUse, request: F) -> Result<Exec, SshError>
    where
        F: AsyncFnOnce(&Channel<Msg>) -> Result<(), russh::Error>,
    {
        let opening = async {
            let mut channel = self.inner.handle.channel_open_session().await?;
            request(&channel).await?;
            let accepted = accepted(&mut channel).await;
            Ok::<_, russh::Error>((channel, accepted))
        };
        let refused = |reason: String| SshError::Channel { host: self.host(), wanted, reason };
        match timeout(CHANNEL_OPENS_WITHIN, opening).await {
            Ok(Ok((channel, true))) => {
                let (reader, writer) = channel.split();
                let keeper = ChannelKeeper::new(writer, self.clone());
                Ok(open_lane(reader, keeper))
            }
            Ok(Ok((_, false))) if self.is_closed() => Err(self.lost()),
            Ok(Ok((_, false))) => Err(refused("it said no".to_owned())),
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                Err(refused(format!("{why:?}").escape_debug().to_string()))
            }
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => Err(refused("no answer in time".to_owned())),
        }
    }

    pub(super) fn lifetime(&self) -> Lifetime {
        self.inner.lifetime.clone()
    }

    fn host(&self) -> String {
        self.inner.config.host_and_port()
    }

    fn lost(&self) -> SshError {
        SshError::Lost { host: self.host(), reason: self.inner.notes.reason() }
    }
}

/// Waits for the answer to a request
async fn accepted(channel: &mut Channel<Msg>) -> bool {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return false,
            Some(_) => {}
        }
    }
}

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<SshConnection, SshError>> + Send + 'a>>;

/// One hop: its jump hosts first, each resolved, proven and logged into by itself
fn connect_hop<'a>(
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
        patiently(config, jump, options).await
    })
}

/// Dials again while the host takes no further logins
async fn patiently(
    config: HostConfig,
    jump: Option<SshConnection>,
    options: &SshOptions,
) -> Result<SshConnection, SshError> {
    let mut backoff = Backoff::new(options.seed);
    let mut waited = Duration::ZERO;
    let mut attempts = 0;
    let mut chacha20 = ChaCha20::Offered;
    loop {
        attempts += 1;
        let said = match attempt(&config, jump.as_ref(), options, chacha20).await {
            Ok(connection) => return Ok(connection),
            Err(AttemptError::Terrapin) if chacha20 == ChaCha20::Offered => {
                chacha20 = ChaCha20::Withheld;
                continue;
            }
            Err(AttemptError::Terrapin) => "chacha20 without a strict key exchange".to_owned(),
            Err(AttemptError::Failed(error)) => return Err(*error),
            Err(AttemptError::Busy(said)) => said,
        };
        let pause = backoff.pause();
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
) -> Result<SshConnection, AttemptError> {
    let limit = config.route.connect_timeout.unwrap_or(options.connect_timeout);
    let (asking, notes, greeting) = (Asking::default(), PeerNotes::default(), Greeting::default());
    let judge = HostKeyJudge::prepare(config, &options.interactive, options.seed).await?;
    let offered = preferred(&config.algorithms, &judge.known_kinds(), chacha20)
        .map_err(|problem| SshError::Configuration { host: config.typed_host.clone(), problem })?;
    let (guard, lifetime) = Guard::new(judge, asking.clone(), notes.clone());
    let connecting = async {
        let dialled = dial(config, jump, limit).await?;
        let shaken =
            shake_hands(dialled.stream, offered, guard, &greeting, config.route.liveness).await;
        let handle = shaken.map_err(|error| explain(error, config, &greeting))?;
        Ok::<_, AttemptError>((handle, dialled.proxy))
    };
    let timed_out = || SshError::Unreachable {
        host: config.host_and_port(),
        problem: ReachProblem::TimedOut(limit),
    };
    let (mut handle, proxy) = asking.within(limit, connecting).await.ok_or_else(timed_out)??;
    let login = log_in(&mut handle, config, &options.interactive, &asking, &notes);
    asking.within(LOGIN_WITHIN, login).await.ok_or_else(|| SshError::Lost {
        host: config.host_and_port(),
        reason: format!("the login did not end in {LOGIN_WITHIN:?}"),
    })??;
    let (config, jump) = (config.clone(), jump.cloned());
    let inner = Inner { handle, config, notes, lifetime, _jump: jump, _proxy: proxy };
    Ok(SshConnection { inner: Arc::new(inner) })
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
