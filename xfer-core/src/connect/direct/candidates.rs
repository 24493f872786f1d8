//! Where a session's data ports may be dialled, in the order in which that is worth trying.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use xfer_protocol::data_port::{Carrier, DataPort, InsidePort, Listening};

use crate::options::{MappedPort, RouteChoice};

/// Delay from which QUIC is worth more than TLS: below it TCP loses nothing, and costs less.
const DELAY_FOR_QUIC: Duration = Duration::from_millis(5);

/// Candidates of one carrier at most.
const OF_EACH_MAX: usize = 4;

/// The name of Vast's proxies: a login there ends at another machine than its bytes.
const PROXY_DOMAIN: &str = ".vast.ai";

/// One address at which a data port may answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    pub(super) carrier: Carrier,
    pub(super) address: SocketAddr,
}

impl Candidate {
    /// As in [`crate::event::Route::kind`].
    pub(super) fn kind(&self) -> &'static str {
        kind_of(self.carrier)
    }
}

/// As in [`crate::event::Route::kind`].
pub(super) fn kind_of(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Tcp => "tls",
        Carrier::Udp => "quic",
    }
}

/// The carriers that may be used, the better one first.
pub(in crate::connect) fn preferred(choice: RouteChoice, round_trip: Duration) -> Vec<Carrier> {
    match choice {
        RouteChoice::Quic => vec![Carrier::Udp],
        RouteChoice::Tls => vec![Carrier::Tcp],
        RouteChoice::Auto if round_trip < DELAY_FOR_QUIC => vec![Carrier::Tcp, Carrier::Udp],
        RouteChoice::Auto => vec![Carrier::Udp, Carrier::Tcp],
        RouteChoice::Sftp | RouteChoice::Ssh => Vec::new(),
    }
}

/// What is known of the machine's own address.
#[derive(Clone, Debug)]
pub(in crate::connect) struct Login {
    /// The name that its login was dialled by.
    pub(in crate::connect) host: String,
    /// The address that this led to.
    pub(in crate::connect) address: Option<IpAddr>,
}

impl Login {
    /// Where ports are dialled for which nobody names a host: at the address of the login, which
    /// answered just now, unless another machine passes its bytes on.
    pub(in crate::connect) fn default_host(&self, public: Option<IpAddr>) -> Option<IpAddr> {
        self.address.filter(|_| !is_proxy(&self.host)).or(public)
    }
}

/// Whether a login to that name ends at another machine than its bytes.
pub(in crate::connect) fn is_proxy(host: &str) -> bool {
    host.to_ascii_lowercase().trim_end_matches('.').ends_with(PROXY_DOMAIN)
}

/// A port that is open and where it is dialled, host by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connect) struct Outside {
    pub(in crate::connect) carrier: Carrier,
    pub(in crate::connect) host: String,
    pub(in crate::connect) port: u16,
}

/// Every open port with the places at which it is dialled; those that somebody named first.
pub(in crate::connect) fn outsides(
    named: &[MappedPort],
    listening: &Listening,
    login: &Login,
) -> Vec<Outside> {
    let own = login.default_host(listening.address).map(|address| address.to_string());
    let is_open = |inside: InsidePort| {
        listening.ports.iter().any(|p: &DataPort| p.inside == inside && p.refused.is_none())
    };
    let named = named.iter().filter(|port| is_open(port.inside)).filter_map(|port| {
        let host = port.host.clone().or_else(|| own.clone())?;
        Some(Outside { carrier: port.inside.carrier, host, port: port.outside })
    });
    let told = listening.ports.iter().filter(|port| port.refused.is_none());
    let told = told.filter_map(|port| {
        let public = listening.address.map(|address| address.to_string());
        let host = public.or_else(|| own.clone())?;
        Some(Outside { carrier: port.inside.carrier, host, port: port.outside? })
    });
    let mut all: Vec<Outside> = Vec::new();
    for outside in named.chain(told) {
        let of_carrier = all.iter().filter(|other| other.carrier == outside.carrier).count();
        if of_carrier < OF_EACH_MAX && !all.contains(&outside) {
            all.push(outside);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(carrier: Carrier, number: u16) -> InsidePort {
        InsidePort { carrier, number }
    }

    fn named(carrier: Carrier, number: u16, host: Option<&str>, outside: u16) -> MappedPort {
        MappedPort { inside: inside(carrier, number), host: host.map(str::to_owned), outside }
    }

    fn listening(ports: &[(Carrier, u16, Option<u16>, bool)], public: Option<&str>) -> Listening {
        use xfer_protocol::data_port::{KeyDigest, PortRefusal};
        let port = |&(carrier, number, outside, open): &(Carrier, u16, Option<u16>, bool)| {
            let refused = (!open).then_some(PortRefusal::InUse);
            DataPort { inside: inside(carrier, number), outside, refused }
        };
        Listening {
            key: KeyDigest([0; 32]),
            address: public.map(|address| address.parse().unwrap()),
            controller: None,
            ports: ports.iter().map(port).collect(),
        }
    }

    fn login(host: &str, address: Option<&str>) -> Login {
        Login { host: host.to_owned(), address: address.map(|a| a.parse().unwrap()) }
    }

    fn places(all: &[Outside]) -> Vec<String> {
        all.iter().map(|o| format!("{}:{}/{}", o.host, o.port, o.carrier)).collect()
    }

    #[test]
    fn named_ports_come_first_and_only_open_ones() {
        use Carrier::{Tcp, Udp};
        let asked = [
            named(Tcp, 8081, None, 33_526),
            named(Udp, 8082, Some("gw.example"), 33_527),
            named(Tcp, 8080, None, 33_528),
        ];
        let told = [(Tcp, 8081, None, true), (Udp, 8082, None, true), (Tcp, 8080, None, false)];
        let mapped = [(Udp, 9000, Some(40_000), true)];
        let listening = listening(&[&told[..], &mapped].concat(), Some("192.0.2.1"));
        let found = outsides(&asked, &listening, &login("gpu", Some("198.51.100.7")));
        let expected = ["198.51.100.7:33526/tcp", "gw.example:33527/udp", "192.0.2.1:40000/udp"];
        assert_eq!(places(&found), expected);
    }

    #[test]
    fn a_proxy_is_no_host_of_data_ports() {
        let asked = [named(Carrier::Tcp, 8081, None, 33_526)];
        let open = [(Carrier::Tcp, 8081, None, true)];
        let at = |host: &str, public| {
            places(&outsides(&asked, &listening(&open, public), &login(host, Some("192.0.2.9"))))
        };
        assert_eq!(at("ssh5.vast.ai", Some("192.0.2.1")), ["192.0.2.1:33526/tcp"]);
        assert_eq!(at("SSH5.Vast.AI.", None), [""; 0]);
        assert_eq!(at("notvast.ai", None), ["192.0.2.9:33526/tcp"]);
        let through_jump = login("gpu", None);
        assert!(outsides(&asked, &listening(&open, None), &through_jump).is_empty());
    }

    #[test]
    fn the_better_kind_depends_on_the_delay() {
        use Carrier::{Tcp, Udp};
        let millis = Duration::from_millis;
        assert_eq!(preferred(RouteChoice::Auto, millis(1)), [Tcp, Udp]);
        assert_eq!(preferred(RouteChoice::Auto, millis(5)), [Udp, Tcp]);
        assert_eq!(preferred(RouteChoice::Quic, millis(1)), [Udp]);
        assert_eq!(preferred(RouteChoice::Tls, millis(100)), [Tcp]);
        assert_eq!(preferred(RouteChoice::Ssh, millis(100)), []);
    }
}
