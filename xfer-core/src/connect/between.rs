//! Between two far machines: payload goes from one to the other, controlled from here.
//!
//! The destination's machine opens ports that answer the one key of the source's, which dials them
//! wherever they may lie; where none answers, it is the other way round. Whoever comes that way can
//! deliver payload and do nothing else: what it is, and where it goes, is said from here.

mod login;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::join_all;
use xfer_protocol::data_port::{Carrier, Dial, InsidePort, KeyDigest, Listen, Listening};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::passage::{Purpose, Reach, Reached};
use xfer_protocol::path::RelPath;

use super::connected::{Far, Keep};
use super::direct::{Login, Outside, distinct, outsides, preferred};
use super::refusals::no_passage;
use super::{Connected, Connector};
use crate::endpoint::EndpointError;
use crate::endpoint::passage::{Between, Passage};
use crate::endpoint::remote::RemoteEndpoint;
use crate::error::TransferError;
use crate::event::{Event, Route};
use crate::location::{Location, Machine, Which};
use crate::options::{Compression, MappedPort, NetworkOptions, RouteChoice, TransferOptions, Via};
use crate::transport::ssh::SshConnection;

/// Connections of TLS that the destination's machine makes where it has to dial.
const COMING_STREAMS: u16 = 4;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// One of the two machines.
struct End<'a> {
    connected: &'a Connected,
    remote: &'a Arc<RemoteEndpoint>,
    login: &'a SshConnection,
}

impl Connector {
    /// Whether payload between these goes from machine to machine: one has all the sources, both
    /// are reached by a login, and nobody asked to have it pass here.
    pub(crate) fn goes_between(
        &self,
        sources: &[Location],
        destination: &Location,
        network: &NetworkOptions,
    ) -> bool {
        let is_login = |machine: &Machine| match machine {
            Machine::Ssh(host) => !self.processes.contains_key(host),
            Machine::Platform(machine) => machine.which != Which::Itself,
            Machine::Local
            | Machine::Peer(_)
            | Machine::Store(_)
            | Machine::Rclone(_)
            | Machine::Web(_)
            | Machine::Hub(_) => false,
        };
        let is_far = |machine| is_login(machine) && !self.stands.contains_key(machine);
        let machine = sources.first().map(|source| &source.machine);
        let is_one = sources.iter().all(|source| Some(&source.machine) == machine);
        is_one
            && machine.is_some_and(is_far)
            && is_far(&destination.machine)
            && network.route != RouteChoice::Sftp
            && network.via == Via::Nothing
    }

    /// What the two sessions of such a transfer are opened with: they carry no payload.
    pub(crate) fn control_only(options: &TransferOptions) -> TransferOptions {
        let mut options = options.clone();
        options.network.route = RouteChoice::Ssh;
        options.network.streams = std::num::NonZeroUsize::new(1);
        options.network.data_ports = Vec::new();
        options
    }

    /// Opens the way from one to the other.
    ///
    /// # Errors
    /// Where neither machine reaches the other, with what was tried.
    pub(crate) async fn passage(
        &self,
        from: &Connected,
        to: &Connected,
        options: &TransferOptions,
    ) -> Result<Passage, TransferError> {
        let network = &options.network;
        let (place, mut tried) = (format!("{} to {}", from.place, to.place), Vec::new());
        let (Some(from), Some(to)) = (End::of(from), End::of(to)) else {
            tried.push("no agent runs on one of the two".to_owned());
            return Err(no_passage(&place, tried));
        };
        let mut opened = match network.route {
            RouteChoice::Auto | RouteChoice::Quic | RouteChoice::Tls => {
                by_ports(&from, &to, options, &mut tried).await
            }
            RouteChoice::Ssh | RouteChoice::Sftp => None,
        };
        if opened.is_none() && matches!(network.route, RouteChoice::Auto | RouteChoice::Ssh) {
            match login::reached(&from, &to, options, self.unique()).await {
                Ok(reached) => opened = Some(told(reached, &from, &to, true)),
                Err(why) => tried.push(why),
            }
        }
        let Some((route, told)) = opened else { return Err(no_passage(&place, tried)) };
        for end in [&from, &to] {
            let _once = end.connected.passage.set(route.clone());
        }
        self.observer.observe(&Event::Notice(told));
        self.observer.observe(&Event::Route(route));
        let between = Between::new(Arc::clone(from.remote), Arc::clone(to.remote));
        Ok(Passage::Between(between))
    }
}

/// Over TLS or QUIC, whichever of the two dials.
async fn by_ports(
    from: &End<'_>,
    to: &End<'_>,
    options: &TransferOptions,
    tried: &mut Vec<String>,
) -> Option<(Route, String)> {
    let network = &options.network;
    let mut opened = async || {
        let key = from.remote.make_key().await?;
        let listen = to.listen(key, network);
        let listening = to.remote.listen_for(listen, Purpose::Deliveries).await?;
        let reach = Reach {
            session: to.remote.session(),
            key: listening.key,
            addresses: to.addresses(&listening, network, from).await,
            streams: streams_of(network),
            compress: network.compression != Compression::Never,
            stall: seconds(options.retry.stall),
        };
        // Without an address it would wait for who comes, and nobody was told to.
        let dialled = match reach.addresses.is_empty() {
            true => Err(EndpointError::from(unreached())),
            false => from.remote.reach(reach.clone()).await,
        };
        let Err(error) = dialled else { return dialled.map(|reached| (reached, true)) };
        tried.push(format!("no port of {} is reached from there: {error}", to.connected.place));
        // Nothing but TCP comes back.
        if network.route == RouteChoice::Quic {
            return Err(error);
        }
        let listen = from.listen(listening.key, network);
        let coming = from.remote.listen_for(listen, Purpose::Passage).await?;
        let addresses = from.addresses(&coming, network, to).await;
        let tcp = addresses.into_iter().filter(|(carrier, _)| *carrier == Carrier::Tcp);
        let addresses: Vec<SocketAddr> = tcp.map(|(_, address)| address).collect();
        let dial = Dial { key: coming.key, carrier: Carrier::Tcp, addresses };
        let wanted = if reach.streams == 0 { COMING_STREAMS } else { reach.streams };
        let dials = join_all((0..wanted).map(|_| to.remote.dial(dial.clone())));
        let reach = Reach { addresses: Vec::new(), streams: wanted, ..reach };
        let (_those_that_came, reached) = tokio::join!(dials, from.remote.reach(reach));
        reached.map(|reached| (reached, false))
    };
    match opened().await {
        Ok((reached, there)) => Some(told(reached, from, to, there)),
        Err(error) => {
            tried.push(format!("no port of {} is reached: {error}", from.connected.place));
            None
        }
    }
}

fn unreached() -> Fault {
    Fault::new(FaultKind::NotFound, Operation::Open, RelPath::root())
}

fn told(reached: Reached, from: &End<'_>, to: &End<'_>, there: bool) -> (Route, String) {
    let kind = match reached.carrier {
        Some(Carrier::Tcp) => "tls",
        Some(Carrier::Udp) => "quic",
        None => "ssh",
    };
    let (source, sink) = (&from.connected.place, &to.connected.place);
    let who = if there { "dials" } else { "is dialled by" };
    let text = format!(
        "{source} {who} {sink}, and sends its files there by {kind} itself; none of them passes \
         this machine"
    );
    let streams = usize::from(reached.streams);
    (Route { kind, transport: kind.to_owned(), direct: true, streams }, text)
}

fn seconds(stall: std::time::Duration) -> u16 {
    u16::try_from(stall.as_secs()).unwrap_or(u16::MAX)
}

fn streams_of(network: &NetworkOptions) -> u16 {
    let asked = network.streams.map_or(0, |streams| streams.get().min(64));
    u16::try_from(asked).unwrap_or(0)
}

impl<'a> End<'a> {
    fn of(connected: &'a Connected) -> Option<Self> {
        let (Far::Agent(remote), Keep::Logins { first: login, .. }) =
            (&connected.far, &connected._keep)
        else {
            return None;
        };
        remote.opens_passages().then_some(Self { connected, remote, login })
    }

    /// Ports of this machine that the user or the platform names.
    fn named(&self, network: &NetworkOptions) -> Vec<MappedPort> {
        let told = self.connected.rented.as_ref().map(|row| row.ports.clone());
        distinct([network.data_ports.clone(), told.unwrap_or_default()].concat())
    }

    fn listen(&self, key: KeyDigest, network: &NetworkOptions) -> Listen {
        let any = [Carrier::Tcp, Carrier::Udp].map(|carrier| InsidePort { carrier, number: 0 });
        let mut ports = any.to_vec();
        ports.extend(self.named(network).iter().map(|port| port.inside));
        ports.truncate(xfer_protocol::limits::DATA_PORTS_MAX);
        Listen { key, ports, mapped: true }
    }

    /// Where the other machine may find what this one opened.
    async fn addresses(
        &self,
        listening: &Listening,
        network: &NetworkOptions,
        other: &End<'_>,
    ) -> Vec<(Carrier, SocketAddr)> {
        let ends = self.login.ends();
        let host = self.login.config().hostname.clone();
        let login = Login { host, address: ends.map(|ends| ends.there) };
        let mut hosts: Vec<IpAddr> = Vec::new();
        let is_one = other.connected.place == self.connected.place;
        if is_one {
            hosts.push(Ipv4Addr::LOCALHOST.into());
        }
        if self.is_beside(other) {
            hosts.extend(self.connected.rented.iter().flat_map(|row| &row.near));
        }
        hosts.extend(login.default_host(listening.address));
        let carriers = preferred(network.route, super::direct::LONG);
        let open = || listening.ports.iter().filter(|port| port.refused.is_none());
        let inside = hosts.iter().flat_map(|host| {
            open()
                .map(move |port| (port.inside.carrier, SocketAddr::new(*host, port.inside.number)))
        });
        let mut all: Vec<_> = Vec::new();
        for outside in outsides(&self.named(network), listening, &login) {
            all.extend(resolved(&outside).await);
        }
        all.extend(inside);
        all.retain(|(carrier, _)| carriers.contains(carrier));
        let is_here = |address: &IpAddr| is_one || login.address == Some(*address);
        all.retain(|(_, address)| is_here(&address.ip()) || may_be_dialled(address.ip()));
        let mut seen = std::collections::HashSet::new();
        all.retain(|found| seen.insert(*found));
        all.truncate(xfer_protocol::limits::DIALS_MAX);
        all
    }

    /// Whether the two may be in one network: on one host, or behind one address.
    fn is_beside(&self, other: &End<'_>) -> bool {
        let host = |end: &End<'_>| end.connected.rented.as_ref().and_then(|row| row.host.clone());
        let there = |end: &End<'_>| end.login.ends().map(|ends| ends.there);
        let same_host = host(self).is_some() && host(self) == host(other);
        same_host || there(self).is_some() && there(self) == there(other)
    }
}

/// Whether an address that a far machine tells of itself may lie on the other one's way there: it
/// is to find nothing out about that one, nor about what only that one reaches.
fn may_be_dialled(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

async fn resolved(outside: &Outside) -> Vec<(Carrier, SocketAddr)> {
    match tokio::net::lookup_host((outside.host.as_str(), outside.port)).await {
        Ok(found) => found.take(ADDRESSES_MAX).map(|found| (outside.carrier, found)).collect(),
        // A name without an address is one way less.
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_between_what_is_reached_by_logins() {
        let connector = Connector::unattended(7);
        let goes = |sources: &[&str], to: &str, network: &NetworkOptions| {
            let location = |text: &&str| Location::parse(text.as_bytes()).unwrap();
            let sources: Vec<_> = sources.iter().map(location).collect();
            connector.goes_between(&sources, &location(&to), network)
        };
        let plain = NetworkOptions::default();
        for (sources, to, expected) in [
            (&["a:/x"][..], "b:/y", true),
            (&["a:/x", "a:/z"], "vast:7:/y", true),
            (&["a:/x"], "a:/y", true),
            (&["a:/x", "c:/z"], "b:/y", false),
            (&["a:/x"], "/y", false),
            (&["/x"], "b:/y", false),
            (&["vast:self:/x"], "b:/y", false),
            (&["a:/x"], "vast:self:/y", false),
            (&["xfer://h:1/r"], "b:/y", false),
        ] {
            assert_eq!(goes(sources, to, &plain), expected, "{sources:?} {to}");
        }
        let here = NetworkOptions { via: Via::Here, ..plain.clone() };
        let sftp = NetworkOptions { route: RouteChoice::Sftp, ..plain };
        assert!(!goes(&["a:/x"], "b:/y", &here) && !goes(&["a:/x"], "b:/y", &sftp));
    }

    #[test]
    fn no_machine_has_the_other_dial_into_itself() {
        let may = |text: &str| may_be_dialled(text.parse().unwrap());
        for address in ["10.0.0.2", "192.0.2.7", "2001:db8::7", "172.17.0.2"] {
            assert!(may(address), "{address}");
        }
        for address in
            ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::ffff:127.0.0.1"]
        {
            assert!(!may(address), "{address}");
        }
    }
}
