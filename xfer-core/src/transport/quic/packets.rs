//! How large the packets of a path may be, as far as the link tells that it begins with

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt;

/// Ten packets, which quinn hands to the system at once, may have this many bytes together: more is
/// refused whole, and passes for lost.
const AT_ONCE: u16 = 65_507;

/// The largest payload of a packet that is searched for.
pub(super) const LARGEST: u16 = AT_ONCE / 10;

/// The smallest that every path of QUIC carries.
const SMALLEST: u16 = 1_200;

/// The link where none is told: Ethernet's.
const USUAL_LINK: u32 = 1_500;

/// Headers of IPv4 and UDP, and of IPv6 and UDP.
const HEADERS: [u32; 2] = [28, 48];

/// The largest payload that a packet to this address may have on its first link. Where less
/// passes further on, the search ends lower after a few lost probes; searching higher would cost
/// every path of 1,500 bytes a second of smaller packets.
pub(super) fn largest_to(address: SocketAddr) -> u16 {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let headers = HEADERS[usize::from(address.is_ipv6())];
    let link = link_to(address).unwrap_or(USUAL_LINK);
    let payload = link.saturating_sub(headers).clamp(SMALLEST.into(), LARGEST.into());
    u16::try_from(payload).unwrap_or(LARGEST)
}

/// What the system would send there in one piece. Nothing is sent for it.
fn link_to(address: SocketAddr) -> Option<u32> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(address).ok()?;
    let told = match address {
        SocketAddr::V4(_) => sockopt::ip_mtu(&socket),
        SocketAddr::V6(_) => sockopt::ipv6_mtu(&socket),
    };
    told.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_large_as_the_first_link_carries() {
        let local: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:9".parse().unwrap();
        // The loopback carries 65,536 bytes.
        assert_eq!((largest_to(local), largest_to(mapped)), (LARGEST, LARGEST));
        let nowhere: SocketAddr = "255.255.255.255:9".parse().unwrap();
        assert_eq!(largest_to(nowhere), 1_472);
    }

    #[test]
    fn ten_packets_are_no_more_than_the_system_takes_at_once() {
        assert!(u32::from(LARGEST) * 10 <= u32::from(AT_ONCE));
    }
}
