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

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use xfer_protocol::data_port::KeyDigest;

use super::Stream;
use super::gathering;
use super::keys::SessionKey;
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
    pub async fn dial(&self, address: SocketAddr, limit: Duration) -> Result<Stream, TlsError> {
        let dialled = async {
            let socket = socket::connect(address).await;
            let socket = socket.map_err(|cause| TlsError::Unreachable { address, cause })?;
            let name = ServerName::IpAddress(address.ip().into());
            let connection = UnbufferedClientConnection::new(Arc::clone(&self.0), name);
            let connection = connection.map_err(|cause| TlsError::failed(address, cause))?;
            open(connection, socket, address).await
        };
        timeout(limit, dialled).await.unwrap_or(Err(TlsError::Late { address, limit }))
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
    pub async fn accept(&self, socket: TcpStream) -> Result<Stream, TlsError> {
        self.accept_within(PROVEN_WITHIN, socket).await
    }

    async fn accept_within(&self, limit: Duration, socket: TcpStream) -> Result<Stream, TlsError> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = socket.peer_addr().unwrap_or(nowhere);
        let accepted = async {
            socket::tune_accepted(&socket);
            let connection = UnbufferedServerConnection::new(Arc::clone(&self.0));
            let connection = connection.map_err(|cause| TlsError::failed(address, cause))?;
            open(connection, socket, address).await
        };
        timeout(limit, accepted).await.unwrap_or(Err(TlsError::Late { address, limit }))
    }
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
