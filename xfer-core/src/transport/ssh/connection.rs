//! One login, many channels

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use russh::client::{Handle, Msg};
use russh::keys::PublicKey;
use russh::{Channel, ChannelMsg, Disconnect};
use tokio::process::Child;
use tokio::time::timeout;

use super::authenticate::Credential;
use super::channel::{ChannelKeeper, Exec, Output, collect, open_lane};
use super::connecting::{connect_again, connect_hop};
use super::dial::Ends;
use super::error::{ChannelUse, ReachProblem, SshError};
use super::handshake::{Guard, HostKeyTrust, Lifetime, PeerNotes};
use super::host_config::HostConfig;
use super::host_key;
use super::options::SshOptions;
use super::target::SshTarget;
use super::tuning::{CHANNEL_OPENS_WITHIN, CHANNEL_PAUSE, CHANNEL_PAUSE_MAX, CLOSE_WITHIN};
use super::wire::BoxedDuplex;
use crate::transport::Stream;
use crate::transport::gauge::Gauge;

/// An authenticated connection; clones share it, and it ends with the last of them and of its
/// streams
#[derive(Clone)]
pub struct SshConnection {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) handle: Handle<Guard>,
    pub(super) config: HostConfig,
    pub(super) notes: PeerNotes,
    pub(super) lifetime: Lifetime,
    /// Whether a channel was given back, which the host may still count
    pub(super) given_back: AtomicBool,
    /// Channels that wait for what they are to be used for
    pub(super) ahead: Mutex<Vec<Channel<Msg>>>,
    /// What a further login may use
    pub(super) credential: Credential,
    /// What the bytes run through must outlive the connection.
    pub(super) jump: Option<SshConnection>,
    pub(super) ends: Option<Ends>,
    pub(super) round_trip: Option<Duration>,
    pub(super) gauge: Option<Gauge>,
    pub(super) _proxy: Option<Child>,
}

impl fmt::Debug for SshConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SshConnection").field("place", &self.inner.config.place()).finish()
    }
}

impl SshConnection {
    /// Resolves, dials, proves the host, logs in
    ///
    /// One dial at a time goes out for all clones of `options`. A host that takes no further logins
    /// is asked again with growing pauses until `busy_budget` is spent.
    pub fn connect<'a>(
        target: &'a SshTarget,
        options: &'a SshOptions,
    ) -> BoxFuture<'a, Result<Self, SshError>> {
        Box::pin(async move {
            let _one_at_a_time = options.dialling.lock().await;
            connect_hop(target, options, Vec::new()).await
        })
    }

    /// Logs in once more where this connection leads, by the same jump host and with what this
    /// login took; the host must show the same key. Nobody is asked anything.
    ///
    /// A host that takes no further logins is asked again with growing pauses until `busy_budget`
    /// is spent; others of the clones of `options` may dial in between.
    pub fn again<'a>(&'a self, options: &'a SshOptions) -> BoxFuture<'a, Result<Self, SshError>> {
        Box::pin(async move { connect_again(self, options).await })
    }

    /// Why there may be no further login beside this one, where that is so
    pub fn alone(&self) -> Option<&'static str> {
        match (&self.inner.credential, &self.inner.config.route.proxy_command) {
            (Credential::Person, _) => Some("it would need somebody to be asked once more"),
            (_, Some(_)) => Some("a ProxyCommand leads there, which may ask"),
            _ => None,
        }
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// What the host was resolved to
    pub fn config(&self) -> &HostConfig {
        &self.inner.config
    }

    /// What the host took
    pub(super) fn credential(&self) -> &Credential {
        &self.inner.credential
    }

    /// The key that the host has shown, and how far it is proven by it
    pub(super) fn host_key(&self) -> Option<(PublicKey, HostKeyTrust)> {
        self.inner.notes.host_key()
    }

    /// The connection to the last jump host
    pub(super) fn jump(&self) -> Option<&Self> {
        self.inner.jump.as_ref()
    }

    /// How far the host's identity is proven
    pub fn host_key_trust(&self) -> HostKeyTrust {
        self.inner.notes.trust()
    }

    /// Lists the host's key under the name by which it is looked up, so that no other is believed
    /// from now on; its fingerprint
    pub fn pin_host_key(&self) -> Result<String, SshError> {
        let Some((key, _)) = self.host_key() else { return Err(self.lost()) };
        let recorded = host_key::record(&self.inner.config, &key);
        recorded.map_err(|problem| SshError::HostKey { host: self.host(), problem })?;
        Ok(host_key::fingerprint(&key))
    }

    /// This connection, and those to jump hosts that it runs through, the last first
    pub fn hops(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |hop| hop.jump())
    }

    /// The hosts on the way there and itself, the last first, and how far each is proven
    pub fn hosts(&self) -> impl Iterator<Item = (String, HostKeyTrust)> {
        self.hops().map(|hop| (hop.host(), hop.host_key_trust()))
    }

    /// Whether nothing that is known to pass bytes on lies in between
    pub fn is_direct(&self) -> bool {
        self.jump().is_none() && self.inner.config.route.proxy_command.is_none()
    }

    /// Between which addresses its bytes pass; unknown where something lies in between
    pub fn ends(&self) -> Option<Ends> {
        self.inner.ends
    }

    /// How long the host took to answer the dial; unknown where something lies in between
    pub fn round_trip(&self) -> Option<Duration> {
        self.inner.round_trip
    }

    /// What tells of its socket; nothing where something lies in between
    pub(crate) fn gauge(&self) -> Option<Gauge> {
        self.inner.gauge.clone()
    }

    /// Whether the connection has ended
    pub fn is_closed(&self) -> bool {
        self.inner.handle.is_closed()
    }

    /// Opens channels ahead of their use, as many as the host grants: what is started next begins
    /// on one of them, a round trip sooner
    pub fn open_ahead<'a>(&'a self, channels: usize) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let opening = (0..channels).map(|_| async {
                if let Ok(channel) = self.inner.handle.channel_open_session().await {
                    self.ahead().push(channel);
                }
            });
            futures_util::future::join_all(opening).await;
        })
    }

    fn ahead(&self) -> MutexGuard<'_, Vec<Channel<Msg>>> {
        self.inner.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command; the host's login shell reads it
    pub fn exec(&self, command: impl Into<Vec<u8>>) -> BoxFuture<'_, Result<Exec, SshError>> {
        self.started(command.into())
    }

    fn started(&self, command: Vec<u8>) -> BoxFuture<'_, Result<Exec, SshError>> {
        Box::pin(async move {
            let start = async |channel: &Channel<Msg>| channel.exec(true, command).await;
            self.start(ChannelUse::Command, start).await
        })
    }

    /// Runs a command to its end with `stdin`, and collects at most `output_limit` bytes of its
    /// stdout
    pub fn run(
        &self,
        command: impl Into<Vec<u8>>,
        stdin: impl Into<Bytes>,
        output_limit: usize,
    ) -> BoxFuture<'_, Result<Output, SshError>> {
        self.run_to_end(command.into(), stdin.into(), output_limit)
    }

    fn run_to_end(
        &self,
        command: Vec<u8>,
        stdin: Bytes,
        output_limit: usize,
    ) -> BoxFuture<'_, Result<Output, SshError>> {
        Box::pin(async move {
            let exec = self.started(command).await?;
            let host = self.inner.config.host_and_port();
            collect(exec, stdin, output_limit, host).await
        })
    }

    /// Starts a subsystem, such as `sftp`
    pub fn subsystem<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Stream, SshError>> {
        Box::pin(async move {
            let start = async |channel: &Channel<Msg>| {
                channel.request_subsystem(true, name.to_owned()).await
            };
            Ok(self.start(ChannelUse::Subsystem, start).await?.stream)
        })
    }

    /// Says goodbye; streams that are still open end
    pub fn close<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let farewell = self.inner.handle.disconnect(Disconnect::ByApplication, "", "en");
            // A peer that is gone needs no farewell.
            drop(timeout(CLOSE_WITHIN, farewell).await);
        })
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

    /// Notes that a channel is about to be given back; the host counts it until it has seen that
    pub(super) fn channel_given_back(&self) {
        self.inner.given_back.store(true, Ordering::Relaxed);
    }

    /// Opens a channel; where others were given back before, one that is refused is asked for again
    async fn open_session(&self) -> Result<Channel<Msg>, russh::Error> {
        let mut pause = CHANNEL_PAUSE;
        loop {
            let given_back = self.inner.given_back.load(Ordering::Relaxed);
            match self.inner.handle.channel_open_session().await {
                Err(russh::Error::ChannelOpenFailure(_))
                    if given_back && pause <= CHANNEL_PAUSE_MAX =>
                {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
    }

    async fn start<F>(&self, wanted: ChannelUse, request: F) -> Result<Exec, SshError>
    where
        F: AsyncFnOnce(&Channel<Msg>) -> Result<(), russh::Error>,
    {
        let opening = async {
            let opened = self.ahead().pop();
            let mut channel = match opened {
                Some(channel) => channel,
                None => self.open_session().await?,
            };
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
                Err(self.no_channel(format!("{why:?}").escape_debug().to_string()))
            }
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => Err(self.no_channel("no answer in time".to_owned())),
        }
    }

    fn no_channel(&self, reason: String) -> SshError {
        SshError::NoChannel { host: self.host(), reason }
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
