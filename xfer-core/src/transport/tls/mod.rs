//! TLS 1.3 over one TCP socket, between two sides that know each other's key by its digest
//!
//! A [`Dialler`] opens streams and an [`Acceptor`] answers; what either gives is authenticated on
//! both sides. rustls makes the handshake and all keys, the records are ours: read from the socket
//! straight to where the payload is wanted and opened there, and sealed many to one large write. An
//! end that the peer did not announce is an error, never an end of data.

mod error;
mod handshake;
mod reader;
mod records;
mod socket;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xfer_protocol::data_port::KeyDigest;

use super::Stream;
use super::gathering;
use super::keys::exporter::{Exported, Exporter};
use super::keys::{SessionKey, client_of_peer};
pub use error::{TlsError, TlsProblem};
use handshake::{Begun, Side};
use reader::TlsReader;
use writer::TlsWriter;

/// Time that whoever connects has to prove its key; until then it is nobody.
pub const PROVEN_WITHIN: Duration = Duration::from_secs(5);

/// What dials data ports of one peer
#[derive(Clone, Debug)]
pub struct Dialler(Arc<ClientConfig>);

/// What answers one peer on data ports
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Dialler {
    /// Proves `key`, and talks to nobody but the holder of `peer`.
    ///
    /// # Errors
    /// When the key cannot be used with TLS 1.3.
    pub fn new(key: &SessionKey, peer: KeyDigest) -> Result<Self, TlsProblem> {
        let mut config = key.client(peer)?;
        config.enable_secret_extraction = true;
        Ok(Self(Arc::new(config)))
    }

    /// Opens a stream; all of it within `limit`.
    ///
    /// The other side may still refuse our key: what comes first on the stream is then an error
    /// that holds a [`TlsError`].
    ///
    /// # Errors
    /// When nobody answers, or not the holder of the key.
    pub fn dial<'a>(
        &'a self,
        address: SocketAddr,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Stream, TlsError>> {
        Box::pin(async move { dial(Arc::clone(&self.0), address, limit).await })
    }
}

/// Opens a stream to a standing peer, with what its connection exports.
pub(crate) async fn dial_peer(
    peer: KeyDigest,
    address: SocketAddr,
    limit: Duration,
) -> Result<(Stream, Exported), TlsError> {
    let failed = |error| TlsError::failed(address, error);
    let exporter = Exporter::shared();
    let mut config = client_of_peer(peer).map_err(failed)?;
    config.enable_secret_extraction = true;
    config.key_log = Arc::<Exporter>::clone(&exporter);
    let stream = dial(Arc::new(config), address, limit).await?;
    let exported = exporter.exported().ok_or(rustls::Error::HandshakeNotComplete);
    Ok((stream, exported.map_err(failed)?))
}

async fn dial(
    config: Arc<ClientConfig>,
    address: SocketAddr,
    limit: Duration,
) -> Result<Stream, TlsError> {
    let dialled = async {
        let socket = socket::connect(address).await;
        let socket = socket.map_err(|cause| TlsError::Unreachable { address, cause })?;
        let name = ServerName::IpAddress(address.ip().into());
        let connection = UnbufferedClientConnection::new(config, name);
        let connection = connection.map_err(|cause| TlsError::failed(address, cause))?;
        open(connection, socket, address).await
    };
    timeout(limit, dialled).await.unwrap_or(Err(TlsError::Late { address, limit }))
}

/// What answers anybody on the port of a standing peer
#[derive(Clone, Debug)]
pub(crate) struct PeerAcceptor(ServerConfig);

impl PeerAcceptor {
    pub(crate) fn new(key: &SessionKey) -> Result<Self, TlsProblem> {
        let mut config = key.server_of_peer()?;
        config.enable_secret_extraction = true;
        Ok(Self(config))
    }

    /// Answers on a socket that was accepted; who it is has yet to be proven.
    pub(crate) async fn accept(&self, socket: TcpStream) -> Result<(Stream, Exported), TlsError> {
        let exporter = Exporter::shared();
        let mut config = self.0.clone();
        config.key_log = Arc::<Exporter>::clone(&exporter);
        let address = peer_of(&socket);
        let stream = accept(Arc::new(config), PROVEN_WITHIN, socket).await?;
        let failed = |error| TlsError::failed(address, error);
        let exported = exporter.exported().ok_or(rustls::Error::HandshakeNotComplete);
        Ok((stream, exported.map_err(failed)?))
    }
}

impl Acceptor {
    /// Proves `key`, and talks to nobody but the holder of `peer`.
    ///
    /// # Errors
    /// When the key cannot be used with TLS 1.3.
    pub fn new(key: &SessionKey, peer: KeyDigest) -> Result<Self, TlsProblem> {
        let mut config = key.server(peer)?;
        config.enable_secret_extraction = true;
        Ok(Self(Arc::new(config)))
    }

    /// Answers on a socket that was accepted. Until the peer has proven its key, for at most
    /// [`PROVEN_WITHIN`], it costs some 40 KiB.
    ///
    /// # Errors
    /// When the other side is not the holder of the key, or too slow.
    pub fn accept<'a>(&'a self, socket: TcpStream) -> BoxFuture<'a, Result<Stream, TlsError>> {
        Box::pin(async move { self.accept_within(PROVEN_WITHIN, socket).await })
    }

    async fn accept_within(&self, limit: Duration, socket: TcpStream) -> Result<Stream, TlsError> {
        accept(Arc::clone(&self.0), limit, socket).await
    }
}

fn peer_of(socket: &TcpStream) -> SocketAddr {
    socket.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

async fn accept(
    config: Arc<ServerConfig>,
    limit: Duration,
    socket: TcpStream,
) -> Result<Stream, TlsError> {
    let address = peer_of(&socket);
    let accepted = async {
        socket::tune_accepted(&socket);
        let connection = UnbufferedServerConnection::new(config);
        let connection = connection.map_err(|cause| TlsError::failed(address, cause))?;
        open(connection, socket, address).await
    };
    timeout(limit, accepted).await.unwrap_or(Err(TlsError::Late { address, limit }))
}

/// Makes a stream of a connected socket.
async fn open<S: Side>(
    connection: S,
    mut socket: TcpStream,
    address: SocketAddr,
) -> Result<Stream, TlsError> {
    let begun = handshake::shake_hands(connection, &mut socket).await;
    let Begun { sealer, opener, early } = begun.map_err(|failure| failure.at(address))?;
    socket::tune_to_distance(&socket);
    let broken = |cause: io::Error| TlsError::Broken { address, cause };
    let (input, output) = gathering::socket(socket).map_err(broken)?.into_inner();
    Ok(Stream {
        reader: Box::new(TlsReader::new(input, address, opener, early)),
        writer: Box::new(TlsWriter::new(output, address, sealer)),
    })
}

#[cfg(test)]
mod tests;
