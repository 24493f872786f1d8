//! From a location to a live endpoint: the only file that knows all kinds.

mod between;
mod connected;
mod copies;
mod direct;
mod errands;
mod itself;
mod listed_keys;
mod logins;
mod orders;
mod peer;
mod peer_tokens;
mod pins;
mod platform;
mod platform_refusals;
mod proxy;
mod public;
mod rclone;
mod readers;
mod refusals;
mod store_refusals;
mod stores;
mod survey;
mod tuner;
mod uploads;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use xfer_protocol::data_port::Listen;
use xfer_protocol::hello::SessionId;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::message::Request;

use crate::agent::binary::Programs;
use crate::agent::bootstrap::{self, Start};
use crate::clock::{Clock, SystemClock};
use crate::discover::VastSettings;
use crate::disk::base::Base;
use crate::disk::state::{StateDirectory, StateError};
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::endpoint::remote::{Opening, RemoteEndpoint, SessionOptions};
use crate::endpoint::sftp::{SftpEndpoint, SftpOptions};
use crate::endpoint::{Endpoint, EndpointError, Sink, Source};
use crate::error::{Failure, ProtocolFailure, TransferError};
use crate::event::{Event, Route, SharedObserver};
use crate::gate::evidence::HostKeyChannel;
use crate::location::{Machine, SshHost, Which};
use crate::options::{RouteChoice, TransferOptions};
use crate::transport::Stream;
use crate::transport::keys::{KeyError, SessionKey};
use crate::transport::ssh::{HostKeyTrust, NoPrompt, SshConnection, SshOptions, SshTarget};

use connected::{Far, Keep, connected};
use direct::{Ground, Ladder, Now, Outcome};
use logins::{Further, Told};
use peer_tokens::PeerTokens;
use platform::Platforms;
use refusals::{bootstrap_error, no_route, session_error, ssh_error};

pub(crate) use connected::Asked;
pub use connected::Connected;
pub(crate) use copies::ByStore;
pub use direct::RouteSource;
pub(crate) use errands::OwnLink;
pub use pins::PinnedKey;
pub(crate) use proxy::Proxy;
pub use survey::WayKind;
pub(crate) use survey::{OpenWay, Survey, Ways};
pub use uploads::{UploadList, UploadState};

/// The ways of a session's payload, and what keeps them.
struct Chosen {
    now: Now,
    outcome: Option<watch::Receiver<Outcome>>,
    told: Told,
    tasks: JoinSet<()>,
}

/// What a machine is called, and who knows where its data ports are dialled.
#[derive(Clone)]
struct Place {
    name: String,
    source: Option<Arc<dyn RouteSource>>,
    /// Whether its name is the machine's own, wherever that is dialled.
    is_rented: bool,
}

/// Makes an endpoint in place of a machine, for tests and rehearsals.
type Stand = Arc<dyn Fn() -> Result<Connected, TransferError> + Send + Sync>;

/// Reaches machines.
#[derive(Clone)]
pub struct Connector {
    ssh: SshOptions,
    state: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    unique: Arc<AtomicU64>,
    stands: HashMap<Machine, Stand>,
    processes: HashMap<SshHost, Vec<std::ffi::OsString>>,
    sources: HashMap<SshHost, Arc<dyn RouteSource>>,
    peer_tokens: Arc<PeerTokens>,
    platforms: Arc<Platforms>,
    observer: SharedObserver,
}

impl Connector {
    /// Reaches machines over SSH with these options; state is kept in `state`, or nowhere that
    /// lasts.
    #[must_use]
    pub fn new(ssh: SshOptions, state: Option<PathBuf>) -> Self {
        let unique = Arc::new(AtomicU64::new(ssh.seed));
        Self {
            ssh,
            state,
            clock: SystemClock::shared(),
            unique,
            stands: HashMap::new(),
            processes: HashMap::new(),
            sources: HashMap::new(),
            peer_tokens: Arc::default(),
            platforms: Arc::default(),
            observer: Arc::new(|_: &Event| {}),
        }
    }

    /// Reaches machines where nobody can be asked anything, and keeps no state that lasts. `seed`
    /// is a random number.
    #[must_use]
    pub fn unattended(seed: u64) -> Self {
        Self::new(SshOptions::new(Arc::new(NoPrompt), seed), None)
    }

    /// The same with an endpoint in place of a machine.
    #[must_use]
    pub fn with_stand(
        self,
        machine: &Machine,
        stand: impl Fn() -> Connected + Send + Sync + 'static,
    ) -> Self {
        self.with_failing_stand(machine, move || Ok(stand()))
    }

    /// The same with what may not be reached every time.
    #[must_use]
    pub fn with_failing_stand(
        mut self,
        machine: &Machine,
        stand: impl Fn() -> Result<Connected, TransferError> + Send + Sync + 'static,
    ) -> Self {
        self.stands.insert(machine.clone(), Arc::new(stand));
        self
    }

    /// The same with a process of this machine, an agent on its stdin and stdout, in place of a
    /// host.
    #[must_use]
    pub fn with_process(mut self, host: SshHost, command: Vec<std::ffi::OsString>) -> Self {
        self.processes.insert(host, command);
        self
    }

    /// The same with somebody who knows where a host's data ports are dialled.
    #[must_use]
    pub fn with_route_source(mut self, host: SshHost, source: Arc<dyn RouteSource>) -> Self {
        self.sources.insert(host, source);
        self
    }

    /// The same with a file of tokens for standing peers; it is read when the first is wanted.
    #[must_use]
    pub fn with_peer_tokens(self, file: PathBuf) -> Self {
        Self { peer_tokens: Arc::new(PeerTokens::new(file)), ..self }
    }

    /// The same asking Vast.ai with these settings; by itself it asks as the environment says.
    #[must_use]
    pub fn with_vast(self, settings: VastSettings) -> Self {
        Self { platforms: Arc::new(Platforms::with_vast(settings)), ..self }
    }

    /// The same, telling of routes as they are tried, taken and lost.
    #[must_use]
    pub fn telling(self, observer: SharedObserver) -> Self {
        Self { observer, ..self }
    }

    /// The same, timed with another clock.
    #[must_use]
    pub fn timed_by(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The clock that everything here is timed with.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// A number that no other call returns, in this process or, but for chance, in any.
    #[must_use]
    pub fn unique(&self) -> u64 {
        // A multiplier of full period spreads neighbouring counts over all 64 bits.
        self.unique.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Where records and receipts are kept.
    pub fn state_directory(&self) -> Result<StateDirectory, StateError> {
        StateDirectory::open(&self.state_path())
    }

    /// Whether that lies in a directory of this machine, or is it.
    #[must_use]
    pub fn keeps_state_in(&self, directory: &Path) -> bool {
        StateDirectory::lies_in(&self.state_path(), directory)
    }

    fn state_path(&self) -> PathBuf {
        let user = rustix::process::geteuid().as_raw();
        let lasting = self.state.clone();
        lasting.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("xfer-state-{user}-{:016x}", self.ssh.seed))
        })
    }

    /// Opens an endpoint on a machine.
    ///
    /// # Errors
    /// Configuration, login, network, or no agent for that machine.
    pub fn connect<'a>(
        &'a self,
        machine: &'a Machine,
        options: &'a TransferOptions,
    ) -> BoxFuture<'a, Result<Connected, TransferError>> {
        Box::pin(async move { self.connect_ahead(machine, options, &[]).await })
    }

    /// The same with what will be asked there first: asked ahead, it is answered sooner.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_ahead<'a>(
        &'a self,
        machine: &'a Machine,
        options: &'a TransferOptions,
        ahead: &'a [Request],
    ) -> BoxFuture<'a, Result<Connected, TransferError>> {
        Box::pin(async move {
            if let Some(stand) = self.stands.get(machine) {
                return stand();
            }
            match machine {
                Machine::Local => {
                    Ok(Connected::here(Arc::new(itself::local(Base::WorkingDirectory, options))))
                }
                Machine::Peer(host) => self.peer(host, options, ahead).await,
                Machine::Platform(machine) if machine.which == Which::Itself => {
                    self.on_itself(machine.platform, options).await
                }
                Machine::Platform(machine) => self.platform(machine, options, ahead).await,
                Machine::Store(bucket) => self.store(bucket, options, ahead).await,
                Machine::Rclone(remote) => self.rclone(remote, options, ahead).await,
                Machine::Web(place) => self.web_file(place, options).await,
                Machine::Hub(repository) => self.hub(repository, options).await,
                Machine::Ssh(host) => match self.processes.get(host) {
                    Some(command) => self.process(host, command, options, ahead).await,
                    None => self.ssh(host, options, ahead).await,
                },
            }
        })
    }

    async fn ssh(
        &self,
        host: &SshHost,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let place = self.place_of(host);
        let failed = |error| ssh_error(&place.name, error);
        let target = SshTarget::new(host.user.as_deref(), &host.host, host.port).map_err(failed)?;
        let start = self.start(options);
        if options.network.route != RouteChoice::Sftp {
            bootstrap::foresee(options, &start);
        }
        let login = SshConnection::connect(&target, &self.ssh).await.map_err(failed)?;
        let proxy = Proxy::of(&place.name, &login);
        let host_key = Some(channel(login.host_key_trust()));
        let (unproven, direct) = (unproven(&login), login.is_direct() && proxy.is_none());
        let mut connected = self.beyond(place, login, start, options, ahead).await?;
        connected.notices.splice(0..0, unproven);
        connected.route = connected.route.map(|route| Route { direct, ..route });
        Ok(Connected { proxy, host_key, ..connected })
    }

    /// What lies at the end of a login.
    async fn beyond(
        &self,
        place: Place,
        login: SshConnection,
        mut start: Start,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        if options.network.route == RouteChoice::Sftp {
            return self.sftp(&place, login, options).await;
        }
        let own = SessionKey::generate();
        let listen = own.as_ref().ok().and_then(|own| self.listen_ahead(&place, options, own));
        let opening = opening(&start, options, listen.map(Request::Listen), ahead);
        start.opening = opening.bytes().to_vec();
        let first = match logins::start_first(&login, options, &start).await {
            Ok(first) => first,
            Err(error) if options.network.route == RouteChoice::Auto && error.nothing_runs() => {
                return match self.sftp(&place, login, options).await {
                    Ok(connected) => Ok(connected.instead_of_agent(&place.name, &error)),
                    Err(_) => Err(bootstrap_error(&place.name, error)),
                };
            }
            Err(error) => return Err(bootstrap_error(&place.name, error)),
        };
        let root = login.config().user == "root";
        let delay = login.round_trip();
        let remote = self.session(first.stream, options, root, opening.said(), &start, delay).await;
        let remote = Arc::new(remote.map_err(|error| session_error(&place.name, error))?);
        (start.join, start.opening) = (true, Vec::new());
        let Chosen { now, outcome, told, tasks } =
            self.routes(&place, &login, options, start, own, &remote).await?;
        let (transport, streams) = ("ssh".to_owned(), remote.payload_streams().max(1));
        let route = Route { kind: "ssh", transport, direct: true, streams };
        let keep = Keep::Logins { first: login, _further: tasks };
        let place = place.name;
        Ok(Connected { place, told, now, outcome, ..connected(remote, route, keep) })
    }

    /// Has payload take the best route, and the login's streams where there is none.
    async fn routes(
        &self,
        place: &Place,
        login: &SshConnection,
        options: &TransferOptions,
        start: Start,
        own: Result<SessionKey, KeyError>,
        remote: &Arc<RemoteEndpoint>,
    ) -> Result<Chosen, TransferError> {
        let (mut ssh, told) = (self.ssh.clone(), Told::default());
        ssh.seed = self.unique();
        let (first, options) = (login.clone(), options.clone());
        let (network, told_too) = (options.network.clone(), Arc::clone(&told));
        let further = Further {
            first,
            ssh,
            options,
            start,
            told: told_too,
            place: place.name.clone(),
            clock: self.clock(),
            observer: Arc::clone(&self.observer),
        };
        let state = self.state_directory().ok();
        let ground = Ground {
            network: &network,
            source: place.source.clone(),
            login,
            place: &place.name,
            state: state.as_ref(),
            clock: self.clock(),
            observer: Arc::clone(&self.observer),
            unique: self.unique(),
        };
        let mut tasks = JoinSet::new();
        let remote = Arc::clone(remote);
        if !ground.is_promising(&remote) {
            further.join(remote, &mut tasks).await;
            return Ok(Chosen { now: Now::default(), outcome: None, told, tasks });
        }
        let (ladder, now, outcome) = Ladder::new(&remote, own, ground);
        tasks.spawn(ladder.run());
        let mut told_of = outcome.clone();
        if network.route == RouteChoice::Auto {
            tasks.spawn(async move {
                let without = |now: &Outcome| matches!(now, Outcome::Nowhere { .. });
                if told_of.wait_for(without).await.is_ok() {
                    further.join_all(remote).await;
                }
            });
        } else if let Outcome::Nowhere { stranger } = direct::decided(&mut told_of).await {
            return Err(no_route(&place.name, stranger));
        }
        Ok(Chosen { now, outcome: Some(outcome), told, tasks })
    }

    /// An endpoint on the files of the machine alone.
    async fn sftp(
        &self,
        place: &Place,
        login: SshConnection,
        options: &TransferOptions,
    ) -> Result<Connected, TransferError> {
        let (is_rented, place) = (place.is_rented, &place.name);
        let stream = login.subsystem("sftp").await.map_err(|error| ssh_error(place, error))?;
        let mut machine = [0; 16];
        let known_as = if is_rented { place.clone() } else { login.config().place() };
        let name = blake3::hash(format!("sftp {known_as}").as_bytes());
        machine.copy_from_slice(&name.as_bytes()[..16]);
        let locks = self.state_directory().and_then(|state| state.child("locks"));
        let sftp = SftpOptions {
            machine,
            stall: options.retry.stall,
            owner: options.preserve.owner && login.config().user == "root",
            times: options.preserve.times,
            sync: options.verify.level.is_durable(),
            locks: locks.ok(),
        };
        let opened = SftpEndpoint::open(stream, sftp).await;
        let endpoint = Arc::new(opened.map_err(|error| session_error(place, error))?);
        let mut notices = Vec::new();
        if !endpoint.capabilities().proof_levels.contains(&ProofLevel::Durable) {
            notices.push(format!(
                "{place}: its SFTP server lacks fsync@openssh.com or posix-rename@openssh.com, so \
                 what is written there can be proven received and no more"
            ));
        }
        let transport = "sftp over ssh".to_owned();
        Ok(Connected {
            source: Arc::clone(&endpoint) as Arc<dyn Source>,
            sink: Arc::clone(&endpoint) as Arc<dyn Sink>,
            place: place.clone(),
            route: Some(Route { kind: "sftp", transport, direct: true, streams: 1 }),
            notices,
            proxy: None,
            rented: None,
            host_key: None,
            far: Far::Sftp(endpoint),
            told: Told::default(),
            now: Now::default(),
            passage: OnceLock::new(),
            outcome: None,
            _keep: Keep::Logins { first: login, _further: JoinSet::new() },
        })
    }

    async fn process(
        &self,
        host: &SshHost,
        command: &[std::ffi::OsString],
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let place = place_of(host);
        let no_agent = |cause: std::io::Error| {
            let failure = Failure::new(place.clone(), ProtocolFailure::AgentFailed);
            TransferError::Protocol(failure.because(cause))
        };
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let (program, arguments) = command.split_first().ok_or_else(|| no_agent(missing()))?;
        let mut process = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(no_agent)?;
        let (Some(input), Some(output)) = (process.stdout.take(), process.stdin.take()) else {
            return Err(no_agent(missing()));
        };
        let stream = Stream::new(input, output);
        let root = rustix::process::geteuid().is_root();
        let start = self.start(options);
        let opening = opening(&start, options, None, ahead);
        let remote = self.session(stream, options, root, opening, &start, None).await;
        let remote = Arc::new(remote.map_err(|error| session_error(&place, error))?);
        let transport = "pipe".to_owned();
        let route = Route { kind: "local", transport, direct: true, streams: 1 };
        let connected = connected(remote, route, Keep::Process { _process: process });
        // A pipe to a process of our own leads nowhere else.
        Ok(Connected { host_key: Some(HostKeyChannel::KnownHosts), ..connected })
    }

    async fn session(
        &self,
        stream: Stream,
        options: &TransferOptions,
        root: bool,
        opening: Opening,
        start: &Start,
        delay: Option<Duration>,
    ) -> Result<RemoteEndpoint, EndpointError> {
        let mut capabilities = LocalEndpoint::new(LocalOptions::default()).capabilities().clone();
        capabilities.metadata.owner = root && options.preserve.owner;
        let session = SessionOptions {
            stall: options.retry.stall,
            random: start.session.0,
            compression: options.network.compression,
        };
        let clock = self.clock();
        RemoteEndpoint::open_with(stream, capabilities, session, clock, opening, delay).await
    }

    fn place_of(&self, host: &SshHost) -> Place {
        let source = self.sources.get(host).cloned();
        Place { name: place_of(host), source, is_rented: false }
    }

    fn start(&self, options: &TransferOptions) -> Start {
        let random = || {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.unique().to_le_bytes());
            bytes[8..].copy_from_slice(&self.unique().to_le_bytes());
            bytes
        };
        Start {
            session: SessionId(random()),
            sentinels: [random(), random()],
            silence: options.retry.silence(),
            join: false,
            opening: Vec::new(),
            programs: Programs::default(),
        }
    }

    /// What will be asked for data ports, where that is known before the far side is.
    fn listen_ahead(
        &self,
        place: &Place,
        options: &TransferOptions,
        own: &SessionKey,
    ) -> Option<Listen> {
        let may = matches!(
            options.network.route,
            RouteChoice::Auto | RouteChoice::Quic | RouteChoice::Tls
        );
        let is_known = place.source.is_none();
        (may && is_known)
            .then(|| direct::listen(own, &direct::distinct(options.network.data_ports.clone())))
    }
}

/// What a session begins with: as much of what will be asked as a command holds with ease.
fn opening(
    start: &Start,
    options: &TransferOptions,
    listen: Option<Request>,
    ahead: &[Request],
) -> Opening {
    let mut requests: Vec<_> = listen.into_iter().chain(ahead.iter().cloned()).collect();
    loop {
        let opening = Opening::new(start.session, options.network.compression, &requests);
        if opening.bytes().len() <= bootstrap::OPENING_BYTES_MAX || requests.pop().is_none() {
            return opening;
        }
    }
}

/// How a key was proven that stands in the user's own files, or does not.
fn channel(trust: HostKeyTrust) -> HostKeyChannel {
    match trust {
        HostKeyTrust::Known => HostKeyChannel::KnownHosts,
        HostKeyTrust::AcceptedByPerson
        | HostKeyTrust::AcceptedNew
        | HostKeyTrust::Changed
        | HostKeyTrust::Unproven => HostKeyChannel::FirstUse,
    }
}

/// What the user should know of hosts that nobody has proven.
fn unproven(login: &SshConnection) -> Vec<String> {
    let warnings = login.hosts().filter_map(|(host, trust)| {
        let what = match trust {
            HostKeyTrust::Unproven => "is not listed",
            HostKeyTrust::Changed => "is not the one that is listed for it",
            HostKeyTrust::Known | HostKeyTrust::AcceptedByPerson | HostKeyTrust::AcceptedNew => {
                return None;
            }
        };
        Some(format!(
            "{host}: its host key {what}, and StrictHostKeyChecking=no lets whoever answers pass \
             for it"
        ))
    });
    warnings.collect()
}

fn place_of(host: &SshHost) -> String {
    let user = host.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{user}{}{port}", host.host)
}
