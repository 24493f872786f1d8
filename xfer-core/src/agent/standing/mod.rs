//! A standing peer: serves sessions on a port of its own to whoever holds a token.
//!
//! It is for machines without sshd. TLS on TCP and QUIC on UDP have one number; who dials it must
//! prove a token within a few seconds, and until then holds one of a few places. What a session may
//! reach is what the token's line in the token file says, and named roots alone.

pub mod key;
mod sessions;
pub mod tokens;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::data_ports::arriving::{PROOF_DEADLINE, Places, REST};
use crate::clock::SystemClock;
use crate::disk::named_roots::NamedRoots;
use crate::transport::Stream;
use crate::transport::keys::SessionKey;
use crate::transport::peer::{self, Verdict};
use crate::transport::quic::{QuicArrival, QuicConnection, QuicPort};
use crate::transport::tls::PeerAcceptor;
use sessions::{Holder, Sessions};
use tokens::TokenFile;

/// How often a number is looked for that is free for TCP and for UDP.
const BIND_ATTEMPTS: usize = 16;

/// What is served, where, and to whom.
#[derive(Debug)]
pub struct StandingOptions {
    /// Where to listen; port 0 asks the system for a free one.
    pub listen: SocketAddr,
    /// What the peer proves.
    pub key: SessionKey,
    /// Who may come.
    pub tokens: TokenFile,
    /// What is there.
    pub roots: NamedRoots,
}

/// A peer whose ports are open.
pub struct StandingPeer {
    address: SocketAddr,
    listener: tokio::net::TcpListener,
    acceptor: PeerAcceptor,
    port: QuicPort,
    places: Places,
    sessions: Arc<Sessions>,
}

impl StandingPeer {
    /// Opens both ports; needs a runtime.
    ///
    /// # Errors
    /// When a port is in use or may not be opened.
    pub fn bind(options: StandingOptions) -> io::Result<Self> {
        let StandingOptions { listen, key, tokens, roots } = options;
        let (listener, socket) = bind_both(listen)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address,
            listener: tokio::net::TcpListener::from_std(listener)?,
            acceptor: PeerAcceptor::new(&key).map_err(io::Error::other)?,
            port: QuicPort::of_peer(socket, &key).map_err(io::Error::other)?,
            places: Places::new(None),
            sessions: Sessions::new(tokens, roots, SystemClock::shared()),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub fn run(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { listener, acceptor, port, places, sessions, .. } = self;
            let tcp = over_tcp(listener, acceptor, places.clone(), Arc::clone(&sessions));
            tokio::join!(tcp, over_udp(port, places, sessions));
        })
    }
}

/// Binds one number for both; none that is in use.
fn bind_both(listen: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut attempt = 1;
    loop {
        let listener = TcpListener::bind(listen)?;
        match UdpSocket::bind(listener.local_addr()?) {
            Ok(socket) => return Ok((listener, socket)),
            Err(_) if listen.port() == 0 && attempt < BIND_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn over_tcp(
    listener: tokio::net::TcpListener,
    acceptor: PeerAcceptor,
    places: Places,
    sessions: Arc<Sessions>,
) {
    let mut streams = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while streams.try_join_next().is_some() {}
        let Ok((socket, from)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        // Who finds no place is disconnected, and may come again.
        let Some(place) = places.take(from.ip()) else { continue };
        let (acceptor, places) = (acceptor.clone(), places.clone());
        let sessions = Arc::clone(&sessions);
        streams.spawn(async move {
            let admitting = admit_socket(&acceptor, socket, &sessions);
            let admitted = tokio::time::timeout(PROOF_DEADLINE, admitting).await;
            drop(place);
            if let Ok(Some((stream, holder))) = admitted {
                places.learn(from.ip());
                sessions.serve(stream, holder).await;
            }
        });
    }
}

async fn admit_socket(
    acceptor: &PeerAcceptor,
    socket: TcpStream,
    sessions: &Sessions,
) -> Option<(Stream, Holder)> {
    let (mut stream, exported) = acceptor.accept(socket).await.ok()?;
    let holder = admit(&mut stream, &exported, sessions).await?;
    Some((stream, holder))
}

/// Reads the opening of a stream and answers it.
async fn admit(stream: &mut Stream, exported: &[u8; 32], sessions: &Sessions) -> Option<Holder> {
    let opened = peer::read_opening(stream, exported).await.ok()?;
    let (verdict, holder) = match opened {
        Some(opened) => sessions.judge(opened.verifier, opened.wishes).await,
        None => (Verdict::Unknown, None),
    };
    peer::answer(stream, verdict).await.ok()?;
    holder
}

async fn over_udp(port: QuicPort, places: Places, sessions: Arc<Sessions>) {
    let mut connections = JoinSet::new();
    while let Some(arrival) = port.next().await {
        while connections.try_join_next().is_some() {}
        if places.is_crowded() && !arrival.is_proven_address() {
            arrival.demand_address();
            continue;
        }
        let Some(place) = places.take(arrival.from()) else {
            arrival.ignore();
            continue;
        };
        connections.spawn(serve_connection(arrival, place, places.clone(), Arc::clone(&sessions)));
    }
}

/// Serves all streams of a connection, the first of which must be proven soon.
async fn serve_connection(
    arrival: QuicArrival,
    place: OwnedSemaphorePermit,
    places: Places,
    sessions: Arc<Sessions>,
) {
    let admitting = async {
        let connection = arrival.prove(PROOF_DEADLINE).await.ok()?;
        let admitted = match connection.accept().await {
            Ok(stream) => admit_stream(&connection, stream, &sessions).await,
            Err(_) => None,
        };
        if admitted.is_none() {
            // Closing it at once would overtake what was answered.
            let _gone = connection.closed().await;
        }
        Some((connection, admitted?))
    };
    let admitted = tokio::time::timeout(PROOF_DEADLINE, admitting).await;
    drop(place);
    let Ok(Some((connection, first))) = admitted else { return };
    places.learn(connection.from());
    connection.trust();
    let mut streams = JoinSet::new();
    let mut next = Some(first);
    loop {
        if let Some((stream, holder)) = next.take() {
            let sessions = Arc::clone(&sessions);
            streams.spawn(async move { sessions.serve(stream, holder).await });
        }
        while streams.try_join_next().is_some() {}
        let Ok(stream) = connection.accept().await else { break };
        let admitting = admit_stream(&connection, stream, &sessions);
        next = tokio::time::timeout(PROOF_DEADLINE, admitting).await.ok().flatten();
    }
    while streams.join_next().await.is_some() {}
}

async fn admit_stream(
    connection: &QuicConnection,
    mut stream: Stream,
    sessions: &Sessions,
) -> Option<(Stream, Holder)> {
    let exported = connection.exported().ok()?;
    let holder = admit(&mut stream, &exported, sessions).await?;
    Some((stream, holder))
}
