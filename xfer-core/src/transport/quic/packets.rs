//! How large the packets of a path may be, as far as the link tells that it begins with

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt;

use crate::transport::gauge::datagram_headers;

/// Ten packets, which quinn hands to the system at once, may have this many bytes together: more is
/// refused whole, and passes for lost.
const AT_ONCE: u16 = 65_507;

/// The largest payload of a packet that is searched for.
pub(super) const LARGEST: u16 = AT_ONCE / 10;

/// The smallest that every path of QUIC carries.
pub(super) const SMALLEST: u16 = 1_200;

/// The link where none is told: Ethernet's.
const USUAL_LINK: u32 = 1_500;

/// The largest payload that a packet to this address may have. Within one machine or network that
/// is what its first link carries. Elsewhere links of Ethernet's size lie in between, however large
/// the first is, and each size that does not pass costs the search three lost probes.
pub(super) fn largest_to(address: SocketAddr) -> u16 {
    let address = canonical(address);
    largest(address.ip(), link_to(address))
}

fn largest(address: IpAddr, link: Option<u32>) -> u16 {
    let link = link.unwrap_or(USUAL_LINK);
    let link = if is_near(address) { link } else { link.min(USUAL_LINK) };
    let payload = link.saturating_sub(datagram_headers(address));
    u16::try_from(payload).unwrap_or(LARGEST).clamp(SMALLEST, LARGEST)
}

/// An address of IPv4 that is written as one of IPv6, as the former.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // It may name the interface, which its number alone does not.
        IpAddr::V6(_) => address,
    }
}

/// Whether an address is of this machine or of a private network.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
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
    fn the_loopback_carries_the_largest_packets() {
        for address in ["127.0.0.1:9", "[::ffff:127.0.0.1]:9", "[::1]:9"] {
            assert_eq!(largest_to(address.parse().unwrap()), LARGEST, "{address}");
        }
    }

    #[test]
    fn packets_are_as_large_as_the_first_link_and_the_way_behind_it_let_them_be() {
        for (address, link, wanted) in [
            ("10.0.0.1", Some(1_500), 1_472),
            ("10.0.0.1", Some(1_400), 1_372),
            ("10.0.0.1", Some(4_000), 3_972),
            ("10.0.0.1", Some(9_001), LARGEST),
            ("10.0.0.1", None, 1_472),
            ("192.0.2.1", Some(9_001), 1_472),
            ("192.0.2.1", Some(1_280), 1_252),
            ("2001:db8::1", Some(9_001), 1_452),
            ("fd00::1", Some(4_000), 3_952),
            // Less than this no path of QUIC carries, whatever is told.
            ("192.0.2.1", Some(576), SMALLEST),
        ] {
            assert_eq!(largest(address.parse().unwrap(), link), wanted, "{address}, {link:?}");
        }
    }

    #[test]
    fn near_is_what_a_private_network_has() {
        let near = ["10.1.2.3", "192.168.1.1", "172.16.0.9", "169.254.1.1", "fd00::1", "fe80::1"];
        let far = ["11.1.2.3", "172.32.0.9", "100.64.0.1", "2001:db8::1"];
        for (addresses, wanted) in [(&near[..], true), (&far[..], false)] {
            for address in addresses {
                assert_eq!(is_near(address.parse().unwrap()), wanted, "{address}");
            }
        }
    }
}
