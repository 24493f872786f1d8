//! quinn as it is, but for buffers that hold what a fast path has in flight

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustix::net::sockopt;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Kind, Load, PIECE, identity, ready};
use crate::Done;

/// What a socket is asked to hold, and a connection and each of its streams may, in bytes
const SOCKET_BUFFER: usize = 16 << 20;
const WINDOW: u32 = 64 << 20;
const STREAM_WINDOW: u32 = 16 << 20;

/// The largest payload of a packet of which ten may be handed to the system at once
const LARGEST: u16 = 6_550;

/// Receives all streams and says how many bytes came
pub(super) fn receive(load: Load, kind: Kind) -> Done<u64> {
    let crypto = QuicServerConfig::try_from(identity::server()?).map_err(told)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(kind)));
    Runtime::new().map_err(told)?.block_on(async {
        let endpoint = endpoint(Some(config), kind)?;
        ready(endpoint.local_addr().map_err(told)?, "-");
        let incoming = endpoint.accept().await.ok_or("closed")?;
        let connection = incoming.await.map_err(told)?;
        let mut streams = JoinSet::new();
        for _ in 0..load.streams {
            let mut stream = connection.accept_uni().await.map_err(told)?;
            streams.spawn(async move {
                let mut count = 0;
                while let Some(chunk) = stream.read_chunk(PIECE, true).await.map_err(told)? {
                    count += chunk.bytes.len() as u64;
                }
                Ok::<_, String>(count)
            });
        }
        let count = streams.join_all().await.into_iter().sum();
        // The sender closes when its last byte is acknowledged.
        connection.closed().await;
        count
    })
}

/// Sends all streams
pub(super) fn send(to: SocketAddr, load: Load, kind: Kind) -> Done {
    let crypto = QuicClientConfig::try_from(identity::client()?).map_err(told)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(kind)));
    Runtime::new().map_err(told)?.block_on(async {
        let endpoint = endpoint(None, kind)?;
        let connecting = endpoint.connect_with(config, to, "reference").map_err(told)?;
        let connection = connecting.await.map_err(told)?;
        let piece = Bytes::from(vec![1; PIECE]);
        let mut streams = JoinSet::new();
        for number in 0..load.streams {
            let sent = fill(connection.clone(), piece.clone(), load.of_stream(number));
            streams.spawn(sent);
        }
        let ends: Done<Vec<()>> = streams.join_all().await.into_iter().collect();
        connection.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
        ends.map(drop)
    })
}

async fn fill(connection: Connection, piece: Bytes, mut left: u64) -> Done {
    let mut stream = connection.open_uni().await.map_err(told)?;
    while left > 0 {
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        stream.write_chunk(piece.slice(..length)).await.map_err(told)?;
        left -= length as u64;
    }
    stream.finish().map_err(told)?;
    stream.stopped().await.map(drop).map_err(told)
}

fn endpoint(server: Option<ServerConfig>, kind: Kind) -> Done<Endpoint> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    // The kernel grants what it permits.
    let _granted = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _granted = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    let mut config = EndpointConfig::default();
    if kind == Kind::QuicLarge {
        config.max_udp_payload_size(LARGEST).map_err(told)?;
    }
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).map_err(told)
}

fn transport(kind: Kind) -> TransportConfig {
    let mut config = TransportConfig::default();
    config.receive_window(VarInt::from_u32(WINDOW)).send_window(WINDOW.into());
    config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    if kind == Kind::QuicLarge {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(LARGEST);
        config.mtu_discovery_config(Some(discovery));
    }
    config
}

fn told(error: impl Display) -> String {
    error.to_string()
}
