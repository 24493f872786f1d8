//! QUIC over UDP: one connection, and as many streams on it as are wanted
//!
//! The side that dials and the side that answers know each other's keys before
//! ([`super::keys`]); whoever opened the connection, the controller opens its streams.

mod packets;
mod stream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustix::net::sockopt;
use xfer_protocol::data_port::KeyDigest;

use super::Stream;
use super::congestion::Congestion;
use super::gauge::Reading;
use super::keys::exporter::{EXPORTED_BYTES, Exported, LABEL};
use super::keys::{SessionKey, client_of_peer};
use super::quic_tuning;

/// The server's name, which is part of the interface and of nothing that is sent.
const NAME: &str = "xfer";

/// Streams that one connection carries at most.
const STREAMS_MAX: u32 = 64;

/// What a standing peer takes of a connection before its first stream is proven, in bytes.
const UNPROVEN_BYTES: u32 = 64 << 10;

/// Connections that may be on their way before their addresses have to be proven.
pub(crate) const UNPROVEN_MAX: usize = 8;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuicError {
    /// The system gives no socket.
    #[error("no UDP socket: {0}")]
    Socket(io::Error),
    /// The address cannot be dialled at all.
    #[error("it cannot be dialled: {0}")]
    Dial(quinn::ConnectError),
    /// Nothing answered in time.
    #[error("nothing answered by UDP within {} ms", .0.as_millis())]
    Silent(Duration),
    /// What answered does not hold the key, or speaks something else.
    #[error("what answered does not prove the key of this session")]
    Identity,
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Lost(ConnectionError),
    /// No configuration can be made of the key.
    #[error("no configuration of TLS: {0}")]
    Tls(rustls::Error),
}

/// A proven connection.
#[derive(Clone, Debug)]
pub(crate) struct QuicConnection {
    connection: Connection,
    /// Drives it for as long as it is there.
    _endpoint: Endpoint,
}

/// A port where connections arrive.
pub(crate) struct QuicPort {
    endpoint: Endpoint,
    settings: ServerConfig,
    guests: Guests,
}

/// A connection that has proven nothing yet.
pub(crate) struct QuicArrival {
    incoming: Incoming,
    endpoint: Endpoint,
    settings: ServerConfig,
    guests: Guests,
}

/// Who may open a connection to a port.
#[derive(Clone, Copy, Debug)]
enum Guests {
    /// One, whose key is known.
    Peer,
    /// Whoever proves a token on a stream.
    Anybody,
}

/// Dials an address and takes `peer` alone for an answer.
pub(crate) async fn dial(
    address: SocketAddr,
    key: &SessionKey,
    peer: KeyDigest,
    deadline: Duration,
) -> Result<QuicConnection, QuicError> {
    connect(address, key.client(peer).map_err(QuicError::Tls)?, deadline).await
}

/// Dials a standing peer, and takes the holder of `peer` alone for an answer.
pub(crate) async fn dial_peer(
    address: SocketAddr,
    peer: KeyDigest,
    deadline: Duration,
) -> Result<QuicConnection, QuicError> {
    connect(address, client_of_peer(peer).map_err(QuicError::Tls)?, deadline).await
}

async fn connect(
    address: SocketAddr,
    crypto: rustls::ClientConfig,
    deadline: Duration,
) -> Result<QuicConnection, QuicError> {
    let crypto = QuicClientConfig::try_from(crypto).map_err(|_| no_cipher())?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(packets::largest_to(address))));
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).map_err(QuicError::Socket)?;
    let endpoint = endpoint(socket, None)?;
    let connecting = endpoint.connect_with(config, address, NAME).map_err(QuicError::Dial)?;
    match tokio::time::timeout(deadline, connecting).await {
        Ok(Ok(connection)) => Ok(QuicConnection { connection, _endpoint: endpoint }),
        Ok(Err(error)) => Err(refused(error, deadline)),
        Err(_) => Err(QuicError::Silent(deadline)),
    }
}

impl QuicPort {
    /// Answers `peer` alone on a socket that is bound.
    pub(crate) fn new(
        socket: UdpSocket,
        key: &SessionKey,
        peer: KeyDigest,
    ) -> Result<Self, QuicError> {
        Self::answering(socket, key.server(peer).map_err(QuicError::Tls)?, Guests::Peer)
    }

    /// Answers anybody on a socket that is bound, as a standing peer does.
    pub(crate) fn of_peer(socket: UdpSocket, key: &SessionKey) -> Result<Self, QuicError> {
        Self::answering(socket, key.server_of_peer().map_err(QuicError::Tls)?, Guests::Anybody)
    }

    fn answering(
        socket: UdpSocket,
        crypto: rustls::ServerConfig,
        guests: Guests,
    ) -> Result<Self, QuicError> {
        let crypto = QuicServerConfig::try_from(crypto).map_err(|_| no_cipher())?;
        let mut settings = ServerConfig::with_crypto(Arc::new(crypto));
        // What waits to be accepted has cost a packet each, and is bounded here.
        settings.max_incoming(4 * UNPROVEN_MAX);
        settings.transport_config(Arc::new(guests.transport(packets::SMALLEST)));
        Ok(Self { endpoint: endpoint(socket, Some(settings.clone()))?, settings, guests })
    }

    /// The next connection that wants to come about; `None` once the port is closed.
    pub(crate) async fn next(&self) -> Option<QuicArrival> {
        let incoming = self.endpoint.accept().await?;
        let (endpoint, settings) = (self.endpoint.clone(), self.settings.clone());
        Some(QuicArrival { incoming, endpoint, settings, guests: self.guests })
    }
}

impl QuicArrival {
    /// Whether the other side has shown that it receives what is sent to its address.
    pub(crate) fn is_proven_address(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Where it says that it comes from.
    pub(crate) fn from(&self) -> IpAddr {
        self.incoming.remote_address().ip()
    }

    /// Answers with the stateless demand for that proof, and forgets the arrival.
    pub(crate) fn demand_address(self) {
        // It may be asked once; whoever comes again without the proof is dropped.
        let _asked_before = self.incoming.retry();
    }

    /// Forgets the arrival without a word.
    pub(crate) fn ignore(self) {
        self.incoming.ignore();
    }

    /// Waits for the proof of the key.
    pub(crate) async fn prove(mut self, deadline: Duration) -> Result<QuicConnection, QuicError> {
        let largest = packets::largest_to(self.incoming.remote_address());
        self.settings.transport_config(Arc::new(self.guests.transport(largest)));
        let accepted = self.incoming.accept_with(Arc::new(self.settings));
        let connecting = accepted.map_err(QuicError::Lost)?;
        match tokio::time::timeout(deadline, connecting).await {
            Ok(Ok(connection)) => Ok(QuicConnection { connection, _endpoint: self.endpoint }),
            Ok(Err(error)) => Err(refused(error, deadline)),
            Err(_) => Err(QuicError::Silent(deadline)),
        }
    }
}

impl QuicConnection {
    /// Opens a stream; the other side learns of it with its first byte.
    pub(crate) async fn open(&self) -> Result<Stream, QuicError> {
        let (send, receive) = self.connection.open_bi().await.map_err(QuicError::Lost)?;
        Ok(stream::joined(send, receive, self.clone()))
    }

    /// The next stream that the other side opened.
    pub(crate) async fn accept(&self) -> Result<Stream, QuicError> {
        let (send, receive) = self.connection.accept_bi().await.map_err(QuicError::Lost)?;
        Ok(stream::joined(send, receive, self.clone()))
    }

    /// Bytes of UDP that came from the other side, its acknowledgements included.
    pub(crate) fn heard_bytes(&self) -> u64 {
        self.connection.stats().udp_rx.bytes
    }

    /// What its packets met; the path carries so many bytes of payload of UDP.
    pub(crate) fn reading(&self) -> Reading {
        let path = self.connection.stats().path;
        Reading {
            round_trip: path.rtt,
            sent_packets: path.sent_packets,
            lost_packets: path.lost_packets,
            disordered_packets: 0,
            path_mtu: path.current_mtu.into(),
        }
    }

    /// Bytes that both ends of this connection know, and nobody else.
    pub(crate) fn exported(&self) -> Result<Exported, QuicError> {
        let mut exported = [0; EXPORTED_BYTES];
        let told = self.connection.export_keying_material(&mut exported, LABEL, b"");
        told.map(|()| exported).map_err(|_| QuicError::Identity)
    }

    /// Grants what is kept from those who have proven nothing.
    pub(crate) fn trust(&self) {
        self.connection.set_receive_window(VarInt::from_u32(quic_tuning::WINDOW));
        self.connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS_MAX));
    }

    /// Where the other side is.
    pub(crate) fn from(&self) -> IpAddr {
        self.connection.remote_address().ip()
    }

    /// Waits until the connection is lost or closed.
    pub(crate) async fn closed(&self) -> QuicError {
        QuicError::Lost(self.connection.closed().await)
    }
}

impl Guests {
    fn transport(self, largest_packet: u16) -> TransportConfig {
        let mut config = transport(largest_packet);
        if matches!(self, Self::Anybody) {
            config.max_concurrent_bidi_streams(VarInt::from_u32(1));
            config.receive_window(VarInt::from_u32(UNPROVEN_BYTES));
        }
        config
    }
}

fn endpoint(socket: UdpSocket, server: Option<ServerConfig>) -> Result<Endpoint, QuicError> {
    // What the system grants less than that, a lossy link of a gigabit a second feels.
    let _granted = sockopt::set_socket_recv_buffer_size(&socket, quic_tuning::SOCKET_BUFFER);
    let _granted = sockopt::set_socket_send_buffer_size(&socket, quic_tuning::SOCKET_BUFFER);
    let mut config = EndpointConfig::default();
    let within_bounds = config.max_udp_payload_size(packets::LARGEST);
    within_bounds.map_err(|error| QuicError::Socket(io::Error::other(error)))?;
    let endpoint = Endpoint::new(config, server, socket, Arc::new(TokioRuntime));
    endpoint.map_err(QuicError::Socket)
}

fn transport(largest_packet: u16) -> TransportConfig {
    let mut config = quic_tuning::transport_config(Congestion::default(), largest_packet);
    config.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    config.max_concurrent_uni_streams(VarInt::from_u32(0));
    config
}

/// A key without the cipher that the first packets need; ours always have it.
fn no_cipher() -> QuicError {
    QuicError::Tls(rustls::Error::General("no cipher for the first packets".to_owned()))
}

/// What a handshake ended with.
fn refused(error: ConnectionError, deadline: Duration) -> QuicError {
    match error {
        ConnectionError::TimedOut => QuicError::Silent(deadline),
        // Codes from 0x100 to 0x1ff are those of TLS: the proof failed on either side.
        ConnectionError::TransportError(error) if is_tls(u64::from(error.code)) => {
            QuicError::Identity
        }
        ConnectionError::ConnectionClosed(close) if is_tls(u64::from(close.error_code)) => {
            QuicError::Identity
        }
        other => QuicError::Lost(other),
    }
}

fn is_tls(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

#[cfg(test)]
mod tests;
