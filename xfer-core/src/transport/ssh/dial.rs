//! The byte stream to a host: a socket, a tunnel through a jump host, or a ProxyCommand

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpSocket, lookup_host};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::connection::SshConnection;
use super::environment::{Environment, without_keys};
use super::error::{ReachProblem, SshError};
use super::host_config::{AddressFamily, HostConfig};
use super::wire::BoxedDuplex;
use crate::clock::SystemClock;
use crate::disk::descriptor;
use crate::transport::gathering;
use crate::transport::gauge::Gauge;

/// Time that one of several addresses gets at least
const ADDRESS_WITHIN_MIN: Duration = Duration::from_secs(2);

/// Delay from which pacing by bandwidth is worth its processor time: on a long link a lost packet
/// would halve the rate for many round trips
const FAR: Duration = Duration::from_millis(5);

/// A stream and what must outlive it
pub(super) struct Dialled {
    pub(super) stream: BoxedDuplex,
    /// How long the other end took to answer the dial; unknown through a proxy
    pub(super) round_trip: Option<Duration>,
    /// The two ends of the socket, where it is one
    pub(super) ends: Option<Ends>,
    /// Tells of the socket
    pub(super) gauge: Option<Gauge>,
    /// Killed when dropped
    pub(super) proxy: Option<Child>,
}

/// The two addresses between which the bytes of a login pass
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// This machine's
    pub here: IpAddr,
    /// The host's
    pub there: IpAddr,
}

/// Dials the host, through `jump` when there is one
pub(super) async fn dial(
    config: &HostConfig,
    jump: Option<&SshConnection>,
    limit: Duration,
) -> Result<Dialled, SshError> {
    if let Some(jump) = jump {
        let stream = jump.forward(&config.hostname, config.port).await?;
        return Ok(Dialled { stream, round_trip: None, ends: None, gauge: None, proxy: None });
    }
    let outcome = match &config.route.proxy_command {
        Some(command) => start_proxy(command),
        None => connect(config, limit).await,
    };
    outcome.map_err(|problem| SshError::Unreachable { host: config.host_and_port(), problem })
}

async fn connect(config: &HostConfig, limit: Duration) -> Result<Dialled, ReachProblem> {
    let addresses = addresses(config).await?;
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let share = (limit / count).max(ADDRESS_WITHIN_MIN);
    let mut last = ReachProblem::TimedOut(limit);
    for address in addresses {
        match timeout(share, open(address, config.route.bind_address.as_deref())).await {
            Ok(Ok(dialled)) => return Ok(dialled),
            Ok(Err(error)) => last = ReachProblem::Dial(error),
            Err(_) => last = ReachProblem::TimedOut(share),
        }
    }
    Err(last)
}

async fn addresses(config: &HostConfig) -> Result<Vec<SocketAddr>, ReachProblem> {
    let found = lookup_host((config.hostname.as_str(), config.port)).await;
    let wanted = |address: &SocketAddr| match config.route.address_family {
        AddressFamily::Any => true,
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
    };
    let mut addresses: Vec<SocketAddr> =
        found.map_err(ReachProblem::Name)?.filter(wanted).collect();
    addresses.dedup();
    if addresses.is_empty() {
        let error = io::Error::new(io::ErrorKind::NotFound, "none of the wanted family");
        return Err(ReachProblem::Name(error));
    }
    Ok(addresses)
}

async fn open(address: SocketAddr, from: Option<&str>) -> io::Result<Dialled> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        let from: IpAddr = from.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "BindAddress is not an address")
        })?;
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let clock = SystemClock::shared();
    let socket = socket.connect(address).await?;
    let round_trip = Some(clock.elapsed());
    if round_trip.is_some_and(|time| time >= FAR) {
        descriptor::pace_by_bandwidth(&socket);
    }
    socket.set_nodelay(true)?;
    let here = socket.local_addr().map(|local| local.ip().to_canonical());
    let ends = here.ok().map(|here| Ends { here, there: address.ip().to_canonical() });
    let gauge = Gauge::of_socket(&socket);
    let stream = Box::new(gathering::socket(socket)?);
    Ok(Dialled { stream, round_trip, ends, gauge, proxy: None })
}

/// Runs the command by the user's shell, as ssh does it; `exec` leaves no shell in between
fn start_proxy(command: &str) -> Result<Dialled, ReachProblem> {
    let failed = |error: io::Error| ReachProblem::ProxyCommand(error.to_string());
    let mut child = without_keys(Command::new(Environment::current().shell))
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    match (child.stdout.take(), child.stdin.take()) {
        (Some(stdout), Some(stdin)) => {
            let stream = Box::new(tokio::io::join(stdout, stdin));
            Ok(Dialled { stream, round_trip: None, ends: None, gauge: None, proxy: Some(child) })
        }
        _ => Err(ReachProblem::ProxyCommand("it has no pipes".to_owned())),
    }
}
