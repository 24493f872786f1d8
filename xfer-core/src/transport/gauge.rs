//! What a connection's packets met on their way, as far as the sending side knows

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::quic::QuicConnection;
use crate::disk::descriptor;

/// Headers of IPv4 and UDP, which QUIC does not count.
const DATAGRAM_HEADERS: u32 = 28;

/// The same for IPv6.
const DATAGRAM_HEADERS_V6: u32 = 48;

/// Bytes of them in a packet to this address.
pub(crate) fn datagram_headers(address: IpAddr) -> u32 {
    if address.to_canonical().is_ipv4() { DATAGRAM_HEADERS } else { DATAGRAM_HEADERS_V6 }
}

/// Tells of one connection, for as long as it is there
#[derive(Clone, Debug)]
pub struct Gauge(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Socket(Arc<OwnedFd>),
    Quic(QuicConnection),
}

/// What is known of a connection
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How long a packet and its answer took lately.
    pub round_trip: Duration,
    /// Packets that were sent.
    pub sent_packets: u64,
    /// Packets among them that were taken for lost.
    pub lost_packets: u64,
    /// Packets that arrived before one that was sent earlier, as all do behind a lost one; 0 where
    /// nobody knows.
    pub disordered_packets: u64,
    /// Bytes of the largest packet that passes whole, headers of IP included; 0 where nobody knows.
    pub path_mtu: u32,
}

impl Gauge {
    /// One for a connected TCP socket; nothing where the system has no descriptor left.
    pub(crate) fn of_socket(socket: impl AsFd) -> Option<Self> {
        let again = rustix::io::fcntl_dupfd_cloexec(socket, 0).ok()?;
        Some(Self(Kind::Socket(Arc::new(again))))
    }

    /// One for a connection of QUIC.
    pub(crate) fn of_quic(connection: QuicConnection) -> Self {
        Self(Kind::Quic(connection))
    }

    /// What is known now.
    #[must_use]
    pub fn read(&self) -> Option<Reading> {
        match &self.0 {
            Kind::Socket(socket) => {
                let told = descriptor::socket_facts(socket)?;
                Some(Reading {
                    round_trip: told.round_trip,
                    sent_packets: told.sent_packets,
                    lost_packets: told.resent_packets.min(told.sent_packets),
                    disordered_packets: told.disordered_packets,
                    path_mtu: told.path_mtu,
                })
            }
            Kind::Quic(connection) => {
                let headers = datagram_headers(connection.from());
                let reading = connection.reading();
                Some(Reading { path_mtu: reading.path_mtu + headers, ..reading })
            }
        }
    }
}

impl Reading {
    /// The same of several connections together; the path is that of the narrowest.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let narrowest = [self.path_mtu, other.path_mtu].into_iter().filter(|mtu| *mtu > 0).min();
        Self {
            round_trip: self.round_trip.max(other.round_trip),
            sent_packets: self.sent_packets + other.sent_packets,
            lost_packets: self.lost_packets + other.lost_packets,
            disordered_packets: self.disordered_packets + other.disordered_packets,
            path_mtu: narrowest.unwrap_or(0),
        }
    }

    /// The share of packets that were lost, of 1; unknown where none was sent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
    pub fn loss(&self) -> Option<f64> {
        (self.sent_packets > 0).then(|| self.lost_packets as f64 / self.sent_packets as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_connections_are_one_path() {
        let one =
            Reading { sent_packets: 60, lost_packets: 3, path_mtu: 1500, ..Reading::default() };
        let other = Reading { sent_packets: 40, lost_packets: 0, path_mtu: 1400, ..one };
        let both = one.with(other).with(Reading::default());
        assert_eq!((both.loss(), both.path_mtu), (Some(0.03), 1400));
        assert_eq!(Reading::default().loss(), None);
    }
}
