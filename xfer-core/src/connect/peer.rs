//! A standing peer: dialled where the user says, known by the key that the user's token names.
//!
//! Control goes over TLS where that is reached, else over QUIC. Payload takes streams of QUIC where
//! the peer is far, and connections of TLS where it is near or nothing answers by UDP.

mod survey;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use xfer_protocol::hello::SessionId;
use xfer_protocol::message::Request;

pub(super) use survey::PeerWays;

use super::direct::{LONG, Now, QUIC_STREAMS, TLS_STREAMS};
use super::refusals::{not_the_peer, refused_token, session_error, unreached};
use super::{Connected, Connector, Keep, connected};
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::endpoint::remote::{Opening, RemoteEndpoint, SessionOptions, Tier};
use crate::endpoint::{Endpoint as _, EndpointResult};
use crate::error::{Failure, NetworkReason, TransferError, UsageReason};
use crate::event::{Event, Route, RouteDecision, RouteTrial, SharedObserver};
use crate::location::PeerHost;
use crate::options::{PreserveOptions, RouteChoice, TransferOptions};
use crate::transport::Stream;
use crate::transport::gauge::Gauge;
use crate::transport::peer::{Token, Verdict, Wishes};
use crate::transport::quic::{self, QuicConnection, QuicError};
use crate::transport::tls::{self, TlsError};

/// How long an address may take to answer.
const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// How long UDP may take to answer where TCP did.
const QUIC_DEADLINE: Duration = Duration::from_secs(2);

/// A peer ends a session after 120 s of silence; a third of this is the longest that we are silent.
const STALL_MAX: Duration = Duration::from_secs(300);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// How a peer is opened, again and again.
#[derive(Clone)]
struct Peer {
    place: String,
    token: Token,
    wishes: Wishes,
    observer: SharedObserver,
}

/// The first stream, and what it came over.
struct First {
    stream: Stream,
    address: SocketAddr,
    connection: Option<QuicConnection>,
}

/// A session on its first stream, and what that came over.
struct PeerSession {
    payload: Payload,
    connection: Option<QuicConnection>,
    gauge: Option<Gauge>,
}

impl Connector {
    pub(super) async fn peer(
        &self,
        host: &PeerHost,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<Connected, TransferError> {
        let choice = options.network.route;
        let PeerSession { payload, connection, .. } =
            self.peer_session(host, options, ahead).await?;
        let remote = Arc::clone(&payload.remote);
        let (now, mut tasks) = (Now::default(), JoinSet::new());
        let kind = if connection.is_some() { "quic" } else { "tls" };
        match connection {
            Some(connection) => drop(payload.over_quic(&connection, 1).await),
            None => payload.settle(choice, &now, &mut tasks).await,
        }
        let streams = remote.payload_streams().max(1);
        let route = Route { kind, transport: kind.to_owned(), direct: true, streams };
        let keep = Keep::Peer { _tasks: tasks };
        Ok(Connected { now, ..connected(remote, route, keep) })
    }

    /// A session on its first stream.
    async fn peer_session(
        &self,
        host: &PeerHost,
        options: &TransferOptions,
        ahead: &[Request],
    ) -> Result<PeerSession, TransferError> {
        let (place, choice) = (host.to_string(), options.network.route);
        if matches!(choice, RouteChoice::Ssh | RouteChoice::Sftp) {
            return Err(UsageReason::RouteOfPeer(place).into());
        }
        let token = self.peer_tokens.find(host)?;
        let PreserveOptions { times, xattrs, acls, .. } = options.preserve;
        let wishes = Wishes { times, xattrs, acls };
        let observer = Arc::clone(&self.observer);
        let peer = Peer { place: place.clone(), token, wishes, observer };
        let addresses = addresses(host, &place).await?;
        let First { stream, address, connection } = peer.first(&addresses, choice).await?;
        let gauge = stream.writer.gauge();
        let mut capabilities = LocalEndpoint::new(LocalOptions::default()).capabilities().clone();
        capabilities.metadata.owner = false;
        let random = self.start(options).session.0;
        let session = SessionOptions {
            stall: options.retry.stall.min(STALL_MAX),
            random,
            compression: options.network.compression,
        };
        let opening = Opening::new(SessionId(random), session.compression, ahead);
        let (clock, delay) = (self.clock(), None);
        let opened =
            RemoteEndpoint::open_with(stream, capabilities, session, clock, opening, delay);
        let remote = opened.await;
        let remote = Arc::new(remote.map_err(|error| session_error(&place, error))?);
        let asked = options.network.streams.map(|streams| streams.get().min(64));
        Ok(PeerSession { payload: Payload { peer, remote, address, asked }, connection, gauge })
    }
}

async fn addresses(host: &PeerHost, place: &str) -> Result<Vec<SocketAddr>, TransferError> {
    match tokio::net::lookup_host((host.host.as_str(), host.port)).await {
        Ok(found) => Ok(found.take(ADDRESSES_MAX).collect()),
        Err(error) => {
            let failure = Failure::new(place, NetworkReason::Unresolved).because(error);
            Err(TransferError::Network(failure))
        }
    }
}

impl Peer {
    /// The first stream, over the first address that answers.
    async fn first(
        &self,
        addresses: &[SocketAddr],
        choice: RouteChoice,
    ) -> Result<First, TransferError> {
        let mut last = None;
        if choice != RouteChoice::Quic {
            for &address in addresses {
                match self.tls(address, DIAL_DEADLINE).await {
                    Ok(stream) => return Ok(First { stream, address, connection: None }),
                    Err(error @ TransferError::Network(_)) => {
                        self.tell("tls", address, RouteDecision::Failed, &error.to_string());
                        last = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let limit = if last.is_some() { QUIC_DEADLINE } else { DIAL_DEADLINE };
        for &address in addresses.iter().filter(|_| choice != RouteChoice::Tls) {
            match self.quic(address, limit).await {
                Ok((connection, stream)) => {
                    return Ok(First { stream, address, connection: Some(connection) });
                }
                Err(error @ TransferError::Network(_)) => {
                    self.tell("quic", address, RouteDecision::Failed, &error.to_string());
                    last = last.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        let nowhere = || {
            let failure = Failure::new(self.place.clone(), NetworkReason::Unresolved);
            TransferError::Network(failure)
        };
        Err(last.unwrap_or_else(nowhere))
    }

    async fn tls(&self, address: SocketAddr, limit: Duration) -> Result<Stream, TransferError> {
        let dialled = tls::dial_peer(self.token.peer(), address, limit).await;
        let (mut stream, exported) = dialled.map_err(|error| match error {
            TlsError::Stranger { .. } | TlsError::Garbled { .. } | TlsError::Unknown { .. } => {
                not_the_peer(&self.place, error)
            }
            TlsError::Late { .. } => unreached(&self.place, NetworkReason::TimedOut, error),
            _ => unreached(&self.place, NetworkReason::Unreachable, error),
        })?;
        self.open(&mut stream, &exported).await?;
        Ok(stream)
    }

    async fn quic(
        &self,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<(QuicConnection, Stream), TransferError> {
        let failed = |error| match error {
            QuicError::Identity => not_the_peer(&self.place, error),
            QuicError::Silent(_) => unreached(&self.place, NetworkReason::TimedOut, error),
            _ => unreached(&self.place, NetworkReason::Unreachable, error),
        };
        let dialled = quic::dial_peer(address, self.token.peer(), limit).await;
        let connection = dialled.map_err(failed)?;
        let stream = self.stream_of(&connection).await?;
        Ok((connection, stream))
    }

    async fn stream_of(&self, connection: &QuicConnection) -> Result<Stream, TransferError> {
        let failed = |error| unreached(&self.place, NetworkReason::Lost, error);
        let exported = connection.exported().map_err(failed)?;
        let mut stream = connection.open().await.map_err(failed)?;
        self.open(&mut stream, &exported).await?;
        Ok(stream)
    }

    /// Proves the token on a stream that stands.
    async fn open(&self, stream: &mut Stream, exported: &[u8; 32]) -> Result<(), TransferError> {
        let lost = |error| unreached(&self.place, NetworkReason::Lost, error);
        let opening = self.token.open(stream, self.wishes, exported);
        let late = |_| unreached(&self.place, NetworkReason::TimedOut, Silent);
        let said = tokio::time::timeout(DIAL_DEADLINE, opening).await.map_err(late)?;
        match said.map_err(lost)? {
            Verdict::Accepted => Ok(()),
            verdict => Err(refused_token(&self.place, verdict)),
        }
    }

    fn tell(&self, kind: &'static str, address: SocketAddr, decision: RouteDecision, reason: &str) {
        let (place, reason) = (address.to_string(), reason.to_owned());
        self.observer.observe(&Event::RouteTrial(RouteTrial { kind, place, decision, reason }));
    }
}

/// A peer that took a proof and said nothing to it.
#[derive(Debug, thiserror::Error)]
#[error("it did not answer to the token")]
struct Silent;

/// What a session's payload goes over.
#[derive(Clone)]
struct Payload {
    peer: Peer,
    remote: Arc<RemoteEndpoint>,
    address: SocketAddr,
    asked: Option<usize>,
}

impl Payload {
    /// Opens streams beside a first one on TLS, and has TLS follow on QUIC where that is lost.
    async fn settle(&self, choice: RouteChoice, now: &Now, tasks: &mut JoinSet<()>) {
        let is_far = self.remote.round_trip() >= LONG;
        if self.asked == Some(1) {
            return;
        }
        if choice != RouteChoice::Auto || !is_far {
            return self.over_tls(1).await;
        }
        match tokio::time::timeout(QUIC_DEADLINE, self.quic()).await {
            Ok(Ok((connection, used))) => {
                let reason = "the peer is far, and it proved its key by UDP";
                self.peer.tell("quic", self.address, RouteDecision::Taken, reason);
                let streams = self.remote.payload_streams().max(1);
                let (kind, transport) = ("quic", "quic".to_owned());
                let route = Route { kind, transport, direct: true, streams };
                *now.lock().unwrap_or_else(PoisonError::into_inner) = Some(route);
                let (payload, now) = (self.clone(), Arc::clone(now));
                tasks.spawn(async move {
                    let _why = connection.closed().await;
                    *now.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    let reason = "the connection was lost";
                    payload.peer.tell("quic", payload.address, RouteDecision::Lost, reason);
                    payload.remote.give_up(Tier::Direct);
                    payload.over_tls(used).await;
                });
            }
            failed => {
                let error = failed.ok().and_then(Result::err);
                let reason = error.map_or_else(
                    || "nothing answered by UDP in time".to_owned(),
                    |error| error.to_string(),
                );
                self.peer.tell("quic", self.address, RouteDecision::Failed, &reason);
                self.over_tls(1).await;
            }
        }
    }

    async fn quic(&self) -> Result<(QuicConnection, u16), TransferError> {
        let (connection, stream) = self.peer.quic(self.address, QUIC_DEADLINE).await?;
        let place = &self.peer.place;
        let joined = self.remote.add_stream(stream, 1, Tier::Direct).await;
        joined.map_err(|error| session_error(place, error))?;
        Ok((connection.clone(), self.over_quic(&connection, 2).await))
    }

    /// Opens further streams of a connection, and tells the next index.
    async fn over_quic(&self, connection: &QuicConnection, from: u16) -> u16 {
        let until = index(self.asked.unwrap_or(QUIC_STREAMS));
        join_all((from..=until).map(|index| async move {
            let stream = self.peer.stream_of(connection).await.ok()?;
            self.remote.add_stream(stream, index, Tier::Direct).await.ok()
        }))
        .await;
        until.max(from) + 1
    }

    async fn over_tls(&self, from: u16) {
        let is_far = self.remote.round_trip() >= LONG;
        let by_itself = if is_far { TLS_STREAMS.1 } else { TLS_STREAMS.0 };
        let count = index(self.asked.unwrap_or(by_itself));
        // A stream that does not come about leaves the others.
        let _joined: Vec<Option<EndpointResult<()>>> =
            join_all((from..from.saturating_add(count)).map(|index| async move {
                let stream = self.peer.tls(self.address, DIAL_DEADLINE).await.ok()?;
                Some(self.remote.add_stream(stream, index, Tier::Beside).await)
            }))
            .await;
    }
}

fn index(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
