//! Streams on data ports: found, raced, watched, and found again.
//!
//! While the login is up anyway, the far side opens the ports that it has, and each place where one
//! may be dialled is a candidate. Payload waits for the winner, but not for long: after
//! [`PAYLOAD_WAITS`] it goes over the login. Whatever happens to a route, the session goes on, and
//! what had arrived has arrived.

mod candidates;
mod learnt;
mod left;
mod memory;
mod race;
mod reversed;
mod source;
mod survey;
mod tuning;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use xfer_protocol::data_port::{Carrier, Listen, Listening};

use crate::clock::Clock;
use crate::disk::state::StateDirectory;
use crate::endpoint::remote::{RemoteEndpoint, Tier};
use crate::event::{Event, Route, RouteDecision, RouteTrial, SharedObserver};
use crate::options::{MappedPort, NetworkOptions, RouteChoice};
use crate::transport::keys::{KeyError, SessionKey};
use crate::transport::quic::QuicConnection;
use crate::transport::ssh::SshConnection;
use candidates::Candidate;
pub(super) use candidates::{Login, Outside, is_proxy, outsides, preferred};
use learnt::Lessons;
use left::Left;
use memory::Memory;
use race::{Keys, Late, Reached, Unreached, further, race};

pub use source::RouteSource;
pub(super) use survey::{Door, Doors};

/// How long payload waits for a data port before it goes over the login.
const PAYLOAD_WAITS: Duration = Duration::from_secs(2);

/// How often a route is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A route on which payload waits and nothing moves for so long is left.
const STANDS_STILL: Duration = Duration::from_secs(8);

/// How long the streams of a route may take to join before it is told without those that hang.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// More than a connection hears while it stands still, from one look back to the other.
const HEARD_BYTES: u64 = 2_000;

/// The pause before a machine is looked for again after all ways led nowhere; it doubles.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Streams of TLS, each a connection: on a short link, and on one where each is bound by loss.
pub(super) const TLS_STREAMS: (usize, usize) = (2, 8);

/// Delay from which a link is not short.
pub(super) const LONG: Duration = Duration::from_millis(5);

/// Streams of one QUIC connection: gaps of lost packets spread over them, and each holds no more
/// than a sixteenth of what a long link has on its way.
pub(super) const QUIC_STREAMS: usize = 16;

/// The first index of a stream on a data port; the login's lie below.
const FIRST_INDEX: u16 = 1024;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What is known of the first outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Direct,
    /// No way is left; `stranger` where somebody else answered on one.
    Nowhere {
        stranger: bool,
    },
}

/// Waits for the first outcome; an error where there is no route.
pub(super) async fn decided(outcome: &mut watch::Receiver<Outcome>) -> Outcome {
    let decided = outcome.wait_for(|now| *now != Outcome::Pending).await;
    decided.map_or(Outcome::Nowhere { stranger: false }, |now| *now)
}

/// Asks for data ports.
pub(super) fn listen(own: &SessionKey, named: &[MappedPort]) -> Listen {
    let ports = named.iter().map(|port| port.inside).collect();
    Listen { key: own.digest(), ports, mapped: true }
}

/// Each port once, and no more than may be asked for.
pub(super) fn distinct(mut named: Vec<MappedPort>) -> Vec<MappedPort> {
    let mut seen = HashSet::new();
    named.retain(|port| seen.insert((port.inside, port.host.clone(), port.outside)));
    named.truncate(xfer_protocol::limits::DATA_PORTS_MAX);
    named
}

/// The route that carries payload now, where it is not the login's.
pub(super) type Now = Arc<Mutex<Option<Route>>>;

/// Finds and keeps a route to data ports for one session.
pub(super) struct Ladder {
    remote: Arc<RemoteEndpoint>,
    own: Result<SessionKey, KeyError>,
    network: NetworkOptions,
    source: Option<Arc<dyn RouteSource>>,
    login: Login,
    /// The address that the login leaves from.
    here: Option<IpAddr>,
    place: String,
    memory: Memory,
    lessons: Lessons,
    clock: Arc<dyn Clock>,
    observer: SharedObserver,
    unique: u64,
    index: u16,
    now: Now,
    outcome: watch::Sender<Outcome>,
    /// Whether somebody answered who is not the machine.
    stranger: AtomicBool,
    /// Routes that were tried and did not last.
    left: Left,
}

/// What a ladder is made with, beside its session.
pub(super) struct Ground<'a> {
    pub(super) network: &'a NetworkOptions,
    pub(super) source: Option<Arc<dyn RouteSource>>,
    pub(super) login: &'a SshConnection,
    pub(super) place: &'a str,
    pub(super) state: Option<&'a StateDirectory>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: SharedObserver,
    pub(super) unique: u64,
}

impl Ground<'_> {
    /// Whether there may be data ports at all.
    pub(super) fn is_promising(&self, remote: &RemoteEndpoint) -> bool {
        let asked = matches!(self.network.route, RouteChoice::Quic | RouteChoice::Tls);
        let may = asked || self.network.route == RouteChoice::Auto;
        let known = !self.network.data_ports.is_empty() || self.source.is_some();
        asked || may && (known || remote.maps_ports())
    }
}

impl Ladder {
    /// A ladder for a session whose payload waits for it, with what tells of the first outcome.
    pub(super) fn new(
        remote: &Arc<RemoteEndpoint>,
        own: Result<SessionKey, KeyError>,
        ground: Ground<'_>,
    ) -> (Self, Now, watch::Receiver<Outcome>) {
        let (outcome, told) = watch::channel(Outcome::Pending);
        let ends = ground.login.ends();
        let here = ends.map(|ends| ends.here);
        let host = ground.login.config().hostname.clone();
        let now = Now::default();
        remote.hold_payload(true);
        let lessons = Lessons::new(ground.state, here, &host, &ground.clock);
        let ladder = Self {
            lessons,
            remote: Arc::clone(remote),
            own,
            network: ground.network.clone(),
            source: ground.source,
            login: Login { host, address: ends.map(|ends| ends.there) },
            here,
            place: ground.place.to_owned(),
            memory: Memory::new(ground.state, here, Arc::clone(&ground.clock)),
            clock: ground.clock,
            observer: ground.observer,
            unique: ground.unique,
            index: FIRST_INDEX,
            now: Arc::clone(&now),
            outcome,
            stranger: AtomicBool::new(false),
            left: Left::default(),
        };
        (ladder, now, told)
    }

    /// Goes on until the session ends, or no way is left to be tried.
    pub(super) async fn run(mut self) {
        let remote = Arc::clone(&self.remote);
        let nowhere = tokio::select! {
            () = self.climb() => true,
            () = remote.closed() => false,
        };
        remote.hold_payload(false);
        // A session that ends needs nothing in place of its route.
        if nowhere {
            let stranger = self.stranger.load(Ordering::Relaxed);
            self.outcome.send_replace(Outcome::Nowhere { stranger });
        }
    }

    async fn climb(&mut self) {
        let own = match &self.own {
            Ok(own) => own.clone(),
            Err(error) => return self.tell("tls", "", RouteDecision::Failed, &error.to_string()),
        };
        let mut pause = AGAIN;
        loop {
            match self.one_round(&own).await {
                Some(()) => pause = AGAIN,
                None => {
                    self.settle_without();
                    // Who asked for a data port and nothing else waits for the answer.
                    let is_awaited = *self.outcome.borrow() == Outcome::Pending;
                    // The ports are where they were, and so is whatever lies in between.
                    let is_settled = self.source.is_none() && self.left.is_empty();
                    if is_awaited || is_settled {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_MAX);
                }
            }
        }
    }

    /// Payload goes over the login, unless that was ruled out.
    fn settle_without(&self) {
        if self.network.route != RouteChoice::Auto {
            return;
        }
        self.remote.hold_payload(false);
        self.outcome.send_if_modified(|now| {
            let is_first = *now == Outcome::Pending;
            if is_first {
                *now = Outcome::Nowhere { stranger: self.stranger.load(Ordering::Relaxed) };
            }
            is_first
        });
    }

    /// Looks for a route and keeps it while it lasts; `None` where there is none.
    async fn one_round(&mut self, own: &SessionKey) -> Option<()> {
        let waiting = async {
            tokio::time::sleep(PAYLOAD_WAITS).await;
            self.settle_without();
            std::future::pending::<Option<_>>().await
        };
        let (reached, late, keys) = tokio::select! {
            found = self.look(own) => found?,
            found = waiting => found?,
        };
        self.memory.forget(&reached.candidate);
        self.carry(reached, late, &keys).await
    }

    /// The first way that proves the far side's key, whoever has to be asked for it.
    async fn look(&self, own: &SessionKey) -> Option<(Reached, Late, Keys)> {
        let named = self.named_ports().await;
        let listening = match self.remote.listen(listen(own, &named)).await {
            Ok(listening) => listening,
            Err(error) => {
                self.tell("tls", &self.place, RouteDecision::Failed, &error.to_string());
                return None;
            }
        };
        self.tell_refused(&listening);
        let candidates = self.candidates(&named, &listening).await;
        let keys = Keys { own: own.clone(), peer: listening.key };
        let failed = |unreached| self.note(&unreached);
        let (reached, late) = match race(&candidates, &keys, self.remote.round_trip(), failed).await
        {
            Some(won) => won,
            None => (self.reversed(&listening, &keys).await?, Late::default()),
        };
        Some((reached, late, keys))
    }

    /// What was typed, and what the source of routes knows now.
    async fn named_ports(&self) -> Vec<MappedPort> {
        let mut named = self.network.data_ports.clone();
        if let Some(source) = &self.source {
            match source.mapped_ports().await {
                Ok(mapped) => named.extend(mapped),
                Err(error) => self.tell("tls", &self.place, RouteDecision::Failed, &error),
            }
        }
        distinct(named)
    }

    async fn candidates(&self, named: &[MappedPort], listening: &Listening) -> Vec<Candidate> {
        let round_trip = self.remote.round_trip();
        let preferred = preferred(self.network.route, round_trip);
        let preferred = self.lessons.order(preferred, round_trip);
        let outsides = outsides(named, listening, &self.login);
        if outsides.is_empty() {
            let reason = "no data port is open there whose outside address is known";
            self.tell("tls", &self.place, RouteDecision::Skipped, reason);
        }
        let mut found = Vec::new();
        for &carrier in &preferred {
            for outside in outsides.iter().filter(|outside| outside.carrier == carrier) {
                for address in self.addresses(outside).await {
                    found.push(Candidate { carrier, address });
                }
            }
        }
        let now = self.clock.elapsed();
        found.retain(|candidate| {
            let reason = if self.left.holds(candidate, now) {
                Some("it was lost a moment ago")
            } else if self.memory.holds(candidate) {
                Some("nothing answered there in the last 10 minutes")
            } else {
                None
            };
            if let Some(reason) = reason {
                self.tell_of(candidate, RouteDecision::Skipped, reason);
            }
            reason.is_none()
        });
        found
    }

    async fn addresses(&self, outside: &Outside) -> Vec<SocketAddr> {
        match tokio::net::lookup_host((outside.host.as_str(), outside.port)).await {
            Ok(found) => found.take(ADDRESSES_MAX).collect(),
            Err(error) => {
                let kind = candidates::kind_of(outside.carrier);
                let reason = format!("its name does not lead to an address: {error}");
                self.tell(kind, &outside.host, RouteDecision::Failed, &reason);
                Vec::new()
            }
        }
    }

    /// Where no port of the far machine answers, it may reach one of this. Payload does not wait.
    async fn reversed(&self, listening: &Listening, keys: &Keys) -> Option<Reached> {
        self.settle_without();
        let addresses = reversed::addresses(self.here, listening.controller);
        if addresses.is_empty() {
            return None;
        }
        for carrier in preferred(self.network.route, self.remote.round_trip()) {
            let streams = self.streams_of(carrier);
            let (remote, addresses) = (&*self.remote, addresses.clone());
            let near = reversed::Near { remote, keys, addresses, streams };
            match near.reached(carrier).await {
                Ok(reached) => return Some(reached),
                Err(reason) => {
                    let kind = candidates::kind_of(carrier);
                    self.tell(kind, "this machine", RouteDecision::Failed, &reason);
                }
            }
        }
        None
    }

    /// Tells of a candidate that did not come about, and remembers a silent one.
    fn note(&self, unreached: &Unreached) {
        self.stranger.fetch_or(unreached.stranger, Ordering::Relaxed);
        if unreached.silent {
            self.memory.note(&unreached.candidate, self.unique);
        }
        self.tell_of(&unreached.candidate, RouteDecision::Failed, &unreached.reason);
    }

    /// Has a route carry payload until it is lost.
    async fn carry(&mut self, reached: Reached, late: Late, keys: &Keys) -> Option<()> {
        let Reached { candidate, link } = reached;
        let count = self.streams_of(candidate.carrier);
        if let Some(learnt) = self.lessons.recall(candidate.carrier, self.remote.round_trip()) {
            self.remote.expect_rate(learnt.rate);
        }
        let race::Streams { streams, connection, missing } = link.streams(count).await;
        let began_with = streams.len() + missing;
        let mut indexes = self.indexes(began_with);
        let spare = self.indexes(tuning::STREAMS_MAX);
        let joining = streams.into_iter().zip(&mut indexes);
        let joining =
            joining.map(|(stream, index)| self.remote.add_stream(stream, index, Tier::Direct));
        let joined = join_all(joining).await;
        if joined.iter().all(Result::is_err) {
            let error = joined.into_iter().find_map(Result::err);
            let reason = error.map_or_else(String::new, |error| error.to_string());
            self.tell_of(&candidate, RouteDecision::Failed, &reason);
            self.left.note(candidate, 0, self.clock.elapsed());
            return None;
        }
        let before = self.remote.payload_bytes();
        self.tell_of(&candidate, RouteDecision::Taken, "the first that proved the machine's key");
        let settling = async {
            let patience = PAYLOAD_WAITS.max(self.remote.round_trip() * 4);
            late.settle(patience, |unreached| self.note(&unreached)).await;
            std::future::pending::<&str>().await
        };
        let why = tokio::select! {
            why = self.watch(connection.as_ref()) => why,
            why = settling => why,
            why = self.complete(&candidate, keys, indexes) => why,
            why = self.tune(&candidate, keys, began_with, spare) => why,
        };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Until the next route is found or found wanting: the login would be clogged.
        self.remote.hold_payload(true);
        self.remote.give_up(Tier::Direct);
        self.remote.use_streams(Tier::Direct, None);
        self.tell_of(&candidate, RouteDecision::Lost, why);
        let carried = self.remote.payload_bytes().saturating_sub(before);
        self.left.note(candidate, carried, self.clock.elapsed());
        Some(())
    }

    /// Names for so many streams, none of which was used before.
    fn indexes(&mut self, count: usize) -> std::ops::Range<u16> {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let first = self.index;
        self.index = first.saturating_add(count);
        first..self.index
    }

    /// Dials what is missing of a route while its first stream carries payload, and tells of it.
    async fn complete(
        &self,
        candidate: &Candidate,
        keys: &Keys,
        missing: std::ops::Range<u16>,
    ) -> &'static str {
        let kind = candidate.kind();
        let route = |streams| Route { kind, transport: kind.to_owned(), direct: true, streams };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(route(1));
        let joining = join_all(missing.map(|index| async move {
            if let Some(stream) = further(candidate, keys).await {
                // The others go on without one that is refused.
                let _refused = self.remote.add_stream(stream, index, Tier::Direct).await;
            }
        }));
        tokio::pin!(joining);
        let in_time = tokio::time::timeout(TOLD_WITHIN, &mut joining).await;
        self.observer.observe(&Event::Route(route(self.remote.streams(Tier::Direct))));
        self.outcome.send_replace(Outcome::Direct);
        if in_time.is_err() {
            joining.await;
        }
        std::future::pending().await
    }

    fn streams_of(&self, carrier: Carrier) -> usize {
        let is_long = self.remote.round_trip() >= LONG;
        let by_itself = match carrier {
            Carrier::Udp => QUIC_STREAMS,
            Carrier::Tcp if is_long => TLS_STREAMS.1,
            Carrier::Tcp => TLS_STREAMS.0,
        };
        let learnt = || match carrier {
            Carrier::Udp => by_itself,
            Carrier::Tcp => {
                let learnt = self.lessons.recall(carrier, self.remote.round_trip());
                learnt.map_or(by_itself, |learnt| learnt.streams)
            }
        };
        self.network.streams.map_or_else(learnt, |asked| asked.get().min(64))
    }

    /// Waits until the route has no stream left, or nothing moves on it though payload waits.
    async fn watch(&self, connection: Option<&QuicConnection>) -> &'static str {
        let mut last = (self.progress(connection), self.clock.elapsed());
        loop {
            let ended = async {
                match connection {
                    Some(connection) => drop(connection.closed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => return "the connection was lost",
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.remote.streams(Tier::Direct) == 0 {
                return "its connections were lost";
            }
            let (progress, now) = (self.progress(connection), self.clock.elapsed());
            if progress != last.0 || !self.remote.is_moving() {
                last = (progress, now);
            } else if now.saturating_sub(last.1) >= STANDS_STILL {
                return "nothing moved on it";
            }
        }
    }

    /// What changes while anything moves. A connection of QUIC takes megabytes from its streams
    /// at once and sends them as the path allows, so that only what it hears tells.
    fn progress(&self, connection: Option<&QuicConnection>) -> (u64, u64, u64) {
        let heard = connection.map_or(0, |c| c.heard_bytes() / HEARD_BYTES);
        (self.remote.moved_bytes(Tier::Direct), self.remote.payload_bytes(), heard)
    }

    fn tell_refused(&self, listening: &Listening) {
        for port in &listening.ports {
            if let Some(refusal) = port.refused {
                let place = format!("{} port {}", self.place, port.inside.number);
                let kind = candidates::kind_of(port.inside.carrier);
                self.tell(kind, &place, RouteDecision::Skipped, &refusal.to_string());
            }
        }
    }

    fn tell_of(&self, candidate: &Candidate, decision: RouteDecision, reason: &str) {
        self.tell(candidate.kind(), &candidate.address.to_string(), decision, reason);
    }

    fn tell(&self, kind: &'static str, place: &str, decision: RouteDecision, reason: &str) {
        let (place, reason) = (place.to_owned(), reason.to_owned());
        let trial = RouteTrial { kind, place, decision, reason };
        self.observer.observe(&Event::RouteTrial(trial));
    }
}
