//! The ways to a machine, opened one after the other so that each can be measured alone.
//!
//! A session is opened as a transfer opens it, and each way then carries its payload for a while,
//! first on one stream and then on as many as a transfer would use.

use std::sync::Arc;

use xfer_protocol::data_port::Carrier;

use super::direct::{Door, Doors, Ground, Ladder, is_proxy};
use super::logins::{CHANNELS_MAX, Wanted, join_streams};
use super::peer::PeerWays;
use super::platform::with_ports_advice;
use super::refusals::{bootstrap_error, no_route, session_error, ssh_error};
use super::{Connected, Connector, Place, opening, unproven};
use crate::agent::bootstrap::{self, Start};
use crate::discover::MachineRow;
use crate::endpoint::remote::{RemoteEndpoint, Tier};
use crate::error::TransferError;
use crate::location::{Machine, Which};
use crate::options::{RouteChoice, TransferOptions};
use crate::transport::gauge::{Gauge, Reading};
use crate::transport::keys::SessionKey;
use crate::transport::ssh::{SshConnection, SshTarget};

/// Channels of a login that are measured together at least, where a transfer would do with one.
const CHANNELS_MIN: usize = 4;

/// Why a login by a command goes straight to the machine.
const OWN: &str = "the command that leads there ends at the sshd of the machine itself";

/// What carries payload to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayKind {
    /// Channels of a login.
    Ssh,
    /// TLS to a data port or a standing peer.
    Tls,
    /// QUIC to a data port or a standing peer.
    Quic,
    /// SFTP over a login.
    Sftp,
    /// Requests to a store.
    Store,
    /// Requests for public files.
    Web,
}

impl WayKind {
    const ALL: [Self; 6] = [Self::Ssh, Self::Tls, Self::Quic, Self::Sftp, Self::Store, Self::Web];

    /// As [`Route::kind`](crate::event::Route::kind).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Sftp => "sftp",
            Self::Store => "store",
            Self::Web => "web",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of a data port.
    pub(super) fn of(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Tcp => Self::Tls,
            Carrier::Udp => Self::Quic,
        }
    }

    fn carrier(self) -> Option<Carrier> {
        match self {
            Self::Tls => Some(Carrier::Tcp),
            Self::Quic => Some(Carrier::Udp),
            Self::Ssh | Self::Sftp | Self::Store | Self::Web => None,
        }
    }
}

/// A machine that is reached.
pub(crate) enum Survey {
    /// It has no ways to choose from: this machine, one that only stores, or a stand.
    Plain(Box<Connected>),
    /// It has.
    Ways(Box<Ways>),
}

impl Survey {
    /// The same with what a platform tells of the machine.
    fn of(mut self, row: Box<MachineRow>) -> Self {
        if let Self::Ways(ways) = &mut self {
            ways.rented = Some(row);
        }
        self
    }

    /// The same with what the user should know beside.
    fn noticing(mut self, mut notices: Vec<String>) -> Self {
        let told = match &mut self {
            Self::Plain(end) => &mut end.notices,
            Self::Ways(ways) => &mut ways.notices,
        };
        notices.append(told);
        *told = notices;
        self
    }
}

/// The ways of one session.
pub(crate) struct Ways {
    /// The session; what is asked of it takes the way that is open.
    pub(crate) remote: Arc<RemoteEndpoint>,
    /// What the user should know of how it was reached.
    pub(crate) notices: Vec<String>,
    /// What its platform tells of the machine.
    pub(crate) rented: Option<Box<MachineRow>>,
    end: End,
}

enum End {
    Login(Box<LoginWays>),
    Peer(Box<PeerWays>),
}

/// A way that carries payload.
pub(crate) struct OpenWay {
    pub(crate) kind: WayKind,
    pub(crate) place: String,
    /// Whether no proxy is known to be in between, and why that is known.
    pub(crate) direct: bool,
    pub(crate) reason: String,
    pub(super) gauges: Vec<Gauge>,
    /// Where payload of it travels.
    pub(super) tier: Tier,
    /// What a data port's further streams are made of.
    pub(super) door: Option<Door>,
}

/// A way that does not come about.
pub(crate) struct Shut {
    pub(crate) place: String,
    pub(crate) reason: String,
    /// Whether there was anything to be tried.
    pub(crate) was_tried: bool,
    /// Whether somebody else answered.
    pub(crate) stranger: bool,
}

impl OpenWay {
    /// What its connections met.
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.gauges.iter().filter_map(Gauge::read).reduce(Reading::with)
    }
}

impl Connector {
    /// Reaches a machine as a transfer would, and no further than its first stream.
    pub(crate) async fn survey(
        &self,
        machine: &Machine,
        options: &TransferOptions,
    ) -> Result<Survey, TransferError> {
        let is_stand = self.stands.contains_key(machine);
        match machine {
            Machine::Peer(host) if !is_stand => {
                let (ways, remote) = self.peer_ways(host, options).await?;
                let (end, notices) = (End::Peer(Box::new(ways)), Vec::new());
                Ok(Survey::Ways(Box::new(Ways { remote, notices, rented: None, end })))
            }
            Machine::Platform(machine) if !is_stand && machine.which != Which::Itself => {
                let reached = self.reach(machine).await?;
                let start = self.start(options);
                let known = match reached.proxy {
                    Some(proxy) => {
                        let why = proxy.why.into_iter().map(|why| format!("; {why}"));
                        let why: String = why.collect();
                        Some((false, format!("{} passes its bytes on{why}", proxy.name)))
                    }
                    None => reached.is_own_command.then(|| (true, OWN.to_owned())),
                };
                let survey =
                    self.login_ways(reached.place, reached.login, start, options, known).await?;
                Ok(survey.noticing(reached.notices).of(reached.row))
            }
            Machine::Ssh(host) if !is_stand && !self.processes.contains_key(host) => {
                let place = self.place_of(host);
                let failed = |error| ssh_error(&place.name, error);
                let target = SshTarget::new(host.user.as_deref(), &host.host, host.port);
                let start = self.start(options);
                if options.network.route != RouteChoice::Sftp {
                    bootstrap::foresee(options, &start);
                }
                let login = SshConnection::connect(&target.map_err(failed)?, &self.ssh).await;
                let login = login.map_err(failed)?;
                let notices = unproven(&login);
                let survey = self.login_ways(place, login, start, options, None).await?;
                Ok(survey.noticing(notices))
            }
            _ => self.connect(machine, options).await.map(|end| Survey::Plain(Box::new(end))),
        }
    }

    /// `known` tells whether its bytes go there straight, and why, where the login does not.
    async fn login_ways(
        &self,
        place: Place,
        login: SshConnection,
        mut start: Start,
        options: &TransferOptions,
        known: Option<(bool, String)>,
    ) -> Result<Survey, TransferError> {
        let route = options.network.route;
        let plain = |end: Connected| Survey::Plain(Box::new(end));
        if route == RouteChoice::Sftp {
            return self.sftp(&place, login, options).await.map(plain);
        }
        let first = match bootstrap::start(&login, options, &start).await {
            Ok(first) => first,
            Err(error) if route == RouteChoice::Auto && error.nothing_runs() => {
                return match self.sftp(&place, login, options).await {
                    Ok(connected) => Ok(plain(connected.instead_of_agent(&place.name, &error))),
                    Err(_) => Err(bootstrap_error(&place.name, error)),
                };
            }
            Err(error) => return Err(bootstrap_error(&place.name, error)),
        };
        let (gauge, opening) = (first.stream.writer.gauge(), opening(&start, options, None, &[]));
        let remote = self.session(first.stream, options, false, opening, &start, None).await;
        let remote = Arc::new(remote.map_err(|error| session_error(&place.name, error))?);
        start.join = true;
        let network = options.network.clone();
        let ground = Ground {
            network: &network,
            source: place.source.clone(),
            login: &login,
            place: &place.name,
            // A way that was silent a while ago is tried, and is not remembered either.
            state: None,
            clock: self.clock(),
            observer: Arc::clone(&self.observer),
            unique: self.unique(),
        };
        let is_promising = ground.is_promising(&remote);
        let (ladder, _, _) = Ladder::new(&remote, SessionKey::generate(), ground);
        remote.hold_payload(false);
        let (options, notices) = (options.clone(), Vec::new());
        let ways = LoginWays {
            remote: Arc::clone(&remote),
            place: place.name,
            login,
            start,
            options,
            gauge,
            ladder,
            doors: None,
            is_promising,
            known,
            stranger: false,
        };
        let end = End::Login(Box::new(ways));
        Ok(Survey::Ways(Box::new(Ways { remote, notices, rented: None, end })))
    }
}

impl Ways {
    /// What there may be, in the order in which it is to be measured.
    pub(crate) fn kinds(&self) -> Vec<WayKind> {
        match &self.end {
            End::Login(ways) => ways.kinds(),
            End::Peer(ways) => ways.kinds(),
        }
    }

    /// How many of them there is anything to try of.
    pub(crate) fn promising(&self) -> usize {
        match &self.end {
            End::Login(ways) if !ways.is_promising => 1,
            _ => self.kinds().len(),
        }
    }

    /// Has payload take one stream of a way.
    pub(crate) async fn open(&mut self, kind: WayKind) -> Result<OpenWay, Shut> {
        match &mut self.end {
            End::Login(ways) => ways.open(kind).await,
            End::Peer(ways) => ways.open(kind).await,
        }
    }

    /// Has payload take as many streams as a transfer would, and tells how many these are.
    pub(crate) async fn widen(&mut self, way: &mut OpenWay) -> usize {
        match &mut self.end {
            End::Login(ways) => ways.widen(way).await,
            End::Peer(ways) => ways.widen(way).await,
        }
        self.remote.payload_streams()
    }

    /// Whether payload still takes a way that was opened, and not another one in its place.
    pub(crate) fn carries(&self, way: &OpenWay) -> bool {
        way.tier != Tier::Direct || self.remote.streams(Tier::Direct) > 0
    }

    /// What a transfer ends with where none of these ways is open.
    pub(crate) fn nowhere(&self) -> TransferError {
        let error = match &self.end {
            End::Login(ways) => no_route(&ways.place, ways.stranger),
            End::Peer(ways) => ways.lost(),
        };
        match &self.rented {
            Some(row) => with_ports_advice(error, row),
            None => error,
        }
    }

    /// Ends what only this way used.
    pub(crate) fn leave(&self, way: OpenWay) {
        drop(way);
        self.remote.give_up(Tier::Direct);
    }

    /// The way that a transfer takes of those that are open, and why.
    pub(crate) fn preferred(&self, open: &[WayKind]) -> Option<(WayKind, String)> {
        let choice = match &self.end {
            End::Login(ways) => ways.options.network.route,
            End::Peer(ways) => ways.choice(),
        };
        preferred(open, choice, self.remote.round_trip())
    }
}

fn preferred(
    open: &[WayKind],
    choice: RouteChoice,
    round_trip: std::time::Duration,
) -> Option<(WayKind, String)> {
    let better = super::direct::preferred(choice, round_trip);
    let ranked = better.iter().map(|carrier| WayKind::of(*carrier)).chain([WayKind::Ssh]);
    let (rank, kind) = ranked.enumerate().find(|(_, kind)| open.contains(kind))?;
    let because = match (choice, rank, kind) {
        (RouteChoice::Auto, 0, WayKind::Quic) => {
            "the far side takes 5 ms or more to answer, where QUIC loses least"
        }
        (RouteChoice::Auto, 0, _) => {
            "the far side answers within 5 ms, where TLS loses nothing and costs less"
        }
        (RouteChoice::Auto, _, _) if open.len() == 1 => "it is the only one that is open",
        (RouteChoice::Auto, _, _) => "it is the best of those that are open",
        _ => "it was asked for",
    };
    Some((kind, because.to_owned()))
}

/// Ways beyond a login.
struct LoginWays {
    remote: Arc<RemoteEndpoint>,
    place: String,
    login: SshConnection,
    /// That of an agent which joins the session.
    start: Start,
    options: TransferOptions,
    gauge: Option<Gauge>,
    ladder: Ladder,
    doors: Option<Result<Doors, String>>,
    is_promising: bool,
    /// Whether its bytes go there straight, and why, where its platform says so.
    known: Option<(bool, String)>,
    /// Whether somebody answered who is not the machine.
    stranger: bool,
}

impl LoginWays {
    fn kinds(&self) -> Vec<WayKind> {
        match self.options.network.route {
            RouteChoice::Auto => vec![WayKind::Ssh, WayKind::Tls, WayKind::Quic],
            RouteChoice::Tls => vec![WayKind::Tls],
            RouteChoice::Quic => vec![WayKind::Quic],
            RouteChoice::Ssh | RouteChoice::Sftp => vec![WayKind::Ssh],
        }
    }

    async fn open(&mut self, kind: WayKind) -> Result<OpenWay, Shut> {
        let Some(carrier) = kind.carrier() else {
            let (direct, reason) = self.directness();
            let (place, door) = (self.login.config().host_and_port(), None);
            let gauges = self.gauge.iter().cloned().collect();
            let tier = Tier::First;
            return Ok(OpenWay { kind, place, direct, reason, gauges, tier, door });
        };
        let shut = |reason: &str| {
            let (place, reason) = (String::new(), reason.to_owned());
            Shut { place, reason, was_tried: false, stranger: false }
        };
        if !self.is_promising {
            return Err(shut("no data port is known; --data-port names one"));
        }
        if self.doors.is_none() {
            self.doors = Some(self.ladder.doors().await);
        }
        match &self.doors {
            Some(Ok(doors)) => {
                let opened = self.ladder.open_door(doors, carrier).await;
                self.stranger |= opened.as_ref().is_err_and(|shut| shut.stranger);
                opened
            }
            Some(Err(reason)) => Err(shut(reason)),
            None => Err(shut("no data port is known")),
        }
    }

    async fn widen(&mut self, way: &mut OpenWay) {
        let asked = self.options.network.streams.map(|streams| streams.get());
        if let (Some(_), Some(Ok(doors))) = (way.kind.carrier(), &self.doors) {
            return self.ladder.widen_door(doors, way).await;
        }
        let wanted = Wanted::of(asked, self.remote.round_trip()).here;
        let least = asked.unwrap_or(CHANNELS_MIN);
        let count = wanted.max(least).min(CHANNELS_MAX);
        if count > 1 {
            let (login, options, start) = (&self.login, &self.options, &self.start);
            join_streams(login, options, start, &self.remote, 1..=count).await;
        }
    }

    /// Whether the login goes straight to the machine, and why that is known.
    fn directness(&self) -> (bool, String) {
        let config = self.login.config();
        if let Some(known) = &self.known {
            return known.clone();
        }
        if is_proxy(&config.hostname) {
            return (false, format!("{} is a proxy of the platform", config.hostname));
        }
        if self.login.is_direct() {
            return (true, "no ProxyJump or ProxyCommand leads there".to_owned());
        }
        let what = match config.route.proxy_command {
            Some(_) => "a ProxyCommand leads there, and its far end is unknown",
            None => "jump hosts pass its bytes on",
        };
        (false, what.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_transfer_takes_the_best_way_that_is_open() {
        use WayKind::{Quic, Ssh, Tls};
        let of = |open: &[WayKind], choice, millis| {
            preferred(open, choice, Duration::from_millis(millis)).map(|(kind, _)| kind)
        };
        assert_eq!(of(&[Ssh, Tls, Quic], RouteChoice::Auto, 1), Some(Tls));
        assert_eq!(of(&[Ssh, Tls, Quic], RouteChoice::Auto, 50), Some(Quic));
        assert_eq!(of(&[Ssh, Tls], RouteChoice::Auto, 50), Some(Tls));
        assert_eq!(of(&[Ssh], RouteChoice::Auto, 50), Some(Ssh));
        assert_eq!(of(&[Quic], RouteChoice::Quic, 1), Some(Quic));
        assert_eq!(of(&[Ssh], RouteChoice::Ssh, 1), Some(Ssh));
        assert_eq!(of(&[], RouteChoice::Auto, 1), None);
    }

    #[test]
    fn kinds_have_the_names_of_routes() {
        for kind in WayKind::ALL {
            assert_eq!(WayKind::of_name(kind.name()), Some(kind));
        }
        assert_eq!(WayKind::of_name("local"), None);
    }
}
