//! Addresses that tell a machine who it is, and hand out its keys to whoever asks from there.
//!
//! A request that another machine made must not be answered by them, whatever name leads there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What is said of such an address.
pub(crate) const FORBIDDEN: &str =
    "it leads to an address of the machine's link, or to one where a cloud tells of its machines";

/// Where a cloud's machines are told who they are, besides the addresses of the link.
const TOLD_AT: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
];

/// The same of clouds that have addresses of their own: Alibaba, Azure, Oracle.
const TOLD_AT_TOO: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The address that a request names by itself; `None` where it names a host.
pub(super) fn address_of(address: &reqwest::Url) -> Option<IpAddr> {
    let host = address.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is one of the link, or tells of machines as those do.
pub(super) fn is_of_link(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(host) => host.is_link_local(),
        IpAddr::V6(host) => host.is_unicast_link_local() || TOLD_AT.contains(&host),
    }
}

/// Whether no request that another machine made goes to an address.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    let address = match address.to_canonical() {
        // What translates between the two families leads there as well (RFC 6052).
        IpAddr::V6(host) if host.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = host.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        address => address,
    };
    let is_told_at = matches!(address, IpAddr::V4(host) if TOLD_AT_TOO.contains(&host));
    is_told_at || is_of_link(address)
}

/// A name leads where no request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{FORBIDDEN}")]
pub(super) struct Forbidden;

/// Resolves names, and refuses those with any address that is forbidden.
pub(super) struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<_> = found.collect();
            if found.iter().any(|address| is_forbidden(address.ip())) {
                return Err(Forbidden.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_tells_a_machine_who_it_is_is_not_asked() {
        for (host, forbidden) in [
            ("169.254.169.254", true),
            ("0xa9fea9fe", true),
            ("2852039166", true),
            ("169.254.170.2", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("192.0.0.192", true),
            ("[fe80::1]", true),
            ("[febf::1]", true),
            ("[fd00:ec2::254]", true),
            ("[fd00:ec2::23]", true),
            ("[::ffff:169.254.169.254]", true),
            ("[64:ff9b::169.254.169.254]", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("100.100.100.201", false),
            ("[fec0::1]", false),
            ("[64:ff9b::10.0.0.1]", false),
        ] {
            let address = reqwest::Url::parse(&format!("http://{host}/a")).unwrap();
            let address = address_of(&address).unwrap();
            assert_eq!(is_forbidden(address), forbidden, "{host}");
        }
        let named = reqwest::Url::parse("http://169.254.169.254.example/").unwrap();
        assert_eq!(address_of(&named), None);
    }

    #[tokio::test]
    async fn no_name_leads_there_either() {
        let resolved = |name: &str| Guard.resolve(name.parse().unwrap());
        let refused = resolved("169.254.169.254").await.err().unwrap();
        assert!(refused.is::<Forbidden>());
        assert!(resolved("127.0.0.1").await.is_ok());
    }
}
