//! The other way round: this side listens, and the far side dials out.
//!
//! It helps where the far machine has no port that can be dialled, and this one can be: on a public
//! address, or in the same network. What arrives here must prove the key of the session as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use xfer_protocol::data_port::{Carrier, Dial};

use super::candidates::Candidate;
use super::race::{Keys, Link, Reached};
use crate::endpoint::remote::RemoteEndpoint;
use crate::transport::Stream;
use crate::transport::quic::QuicPort;
use crate::transport::tls::Acceptor;

/// How long the far side may take to come.
const COMES_WITHIN: Duration = Duration::from_secs(6);

/// How long whoever came may take to prove its key.
const PROOF_DEADLINE: Duration = Duration::from_secs(5);

/// Where this machine may be dialled from the far one.
pub(super) struct Near<'a> {
    pub(super) remote: &'a RemoteEndpoint,
    pub(super) keys: &'a Keys,
    /// The address that the login leaves from, and that at which it arrives.
    pub(super) addresses: Vec<IpAddr>,
    /// Streams that are wanted.
    pub(super) streams: usize,
}

impl Near<'_> {
    /// Has the far side dial this one over a carrier; why not, where it does not come.
    pub(super) async fn reached(&self, carrier: Carrier) -> Result<Reached, String> {
        let reached = async {
            match carrier {
                Carrier::Tcp => self.over_tcp().await,
                Carrier::Udp => self.over_udp().await,
            }
        };
        let late = || "the far side did not reach this machine in time".to_owned();
        tokio::time::timeout(COMES_WITHIN, reached).await.unwrap_or_else(|_| Err(late()))
    }

    async fn over_tcp(&self) -> Result<Reached, String> {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await,
        };
        let listener = listener.map_err(told)?;
        let port = listener.local_addr().map_err(told)?.port();
        let acceptor = Acceptor::new(&self.keys.own, self.keys.peer).map_err(told)?;
        let first = self.stream(&listener, &acceptor, port).await?;
        let further = (1..self.streams).map(|_| self.stream(&listener, &acceptor, port));
        let further = join_all(further).await.into_iter().filter_map(Result::ok);
        let streams = std::iter::once(first).chain(further).collect();
        Ok(Reached { candidate: self.candidate(Carrier::Tcp, port), link: Link::Streams(streams) })
    }

    /// One connection, whoever else knocks meanwhile.
    async fn stream(
        &self,
        listener: &TcpListener,
        acceptor: &Acceptor,
        port: u16,
    ) -> Result<Stream, String> {
        let accept = async {
            loop {
                let (socket, _) = listener.accept().await.map_err(told)?;
                if let Ok(stream) = acceptor.accept(socket).await {
                    return Ok::<_, String>(stream);
                }
            }
        };
        let (dialled, stream) = tokio::join!(self.dial(Carrier::Tcp, port), async {
            tokio::time::timeout(COMES_WITHIN, accept).await
        });
        dialled?;
        stream.unwrap_or_else(|_| Err("nobody came who proves the machine's key".to_owned()))
    }

    async fn over_udp(&self) -> Result<Reached, String> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .map_err(told)?;
        let number = socket.local_addr().map_err(told)?.port();
        let port = QuicPort::new(socket, &self.keys.own, self.keys.peer).map_err(told)?;
        let accept = async {
            while let Some(arrival) = port.next().await {
                if let Ok(connection) = arrival.prove(PROOF_DEADLINE).await {
                    return Ok(connection);
                }
            }
            Err("the port was closed".to_owned())
        };
        let dialled = self.dial(Carrier::Udp, number);
        tokio::pin!(accept, dialled);
        let connection = tokio::select! {
            connection = &mut accept => connection?,
            // Its answer may overtake the end of the handshake.
            dialled = &mut dialled => {
                dialled?;
                accept.await?
            }
        };
        let candidate = self.candidate(Carrier::Udp, number);
        Ok(Reached { candidate, link: Link::Quic(connection) })
    }

    async fn dial(&self, carrier: Carrier, port: u16) -> Result<(), String> {
        let addresses = self.addresses.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        let dial = Dial { key: self.keys.own.digest(), carrier, addresses };
        self.remote.dial(dial).await.map_err(told)
    }

    fn candidate(&self, carrier: Carrier, port: u16) -> Candidate {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let here = self.addresses.first().copied().unwrap_or(unknown);
        Candidate { carrier, address: SocketAddr::new(here, port) }
    }
}

fn told(error: impl ToString) -> String {
    error.to_string()
}

/// The addresses of this machine that the far one may reach: never more than the login shows.
pub(super) fn addresses(here: Option<IpAddr>, seen: Option<IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = here.into_iter().chain(seen).collect();
    addresses.dedup();
    addresses.retain(|address| !address.is_unspecified() && !address.is_multicast());
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_login_shows_is_told() {
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(addresses(ip("192.0.2.1"), ip("192.0.2.1")).len(), 1);
        assert_eq!(addresses(ip("10.0.0.2"), ip("192.0.2.1")).len(), 2);
        assert!(addresses(None, ip("0.0.0.0")).is_empty());
        assert!(addresses(None, None).is_empty());
    }
}
