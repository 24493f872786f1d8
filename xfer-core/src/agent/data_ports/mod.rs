//! Data ports of the far side: where streams of a session arrive beside its first channel.
//!
//! Each port answers the one key that the controller named. Whoever has not proven it holds one of
//! a few places, for a few seconds; what has proven it is handed to the session as a stream.

pub(super) mod arriving;
mod mapped;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xfer_protocol::data_port::{
    Carrier, DataPort, Dial, InsidePort, KeyDigest, Listen, Listening, PortRefusal,
};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::passage::Purpose;
use xfer_protocol::path::RelPath;

use crate::transport::Stream;
use crate::transport::keys::SessionKey;
use crate::transport::quic::{self, QuicConnection, QuicPort};
use crate::transport::tls::{Acceptor, Dialler};
use arriving::Places;
use mapped::Mapped;

/// Mapped ports of each carrier that are opened unasked: one would do, and one of them may turn out
/// to be blocked.
const MAPPED_MAX: usize = 2;

/// How long the near side may take to answer when it is dialled.
const DIAL_DEADLINE: Duration = Duration::from_secs(4);

/// Proven streams that wait to be taken.
const ARRIVALS: usize = 16;

/// The data ports of one session.
pub(super) struct DataPorts {
    /// Takes streams that are served.
    arrivals: mpsc::Sender<Stream>,
    /// Takes streams of those who serve.
    callers: mpsc::Sender<Stream>,
    /// What all who come are there for, once that was said; the controller has no such purpose.
    purpose: OnceLock<Option<Purpose>>,
    over: CancellationToken,
    opened: tokio::sync::Mutex<Opened>,
    mapped: OnceLock<Mapped>,
}

#[derive(Default)]
struct Opened {
    own: Option<SessionKey>,
    peer: Option<KeyDigest>,
    ports: Vec<DataPort>,
    places: Option<Places>,
    tasks: JoinSet<()>,
}

impl DataPorts {
    /// Opens nothing yet. Until the session is over, streams that are to be served come out of the
    /// first receiver, and those of whoever takes parcels out of the second.
    pub(super) fn new(
        over: CancellationToken,
    ) -> (Self, mpsc::Receiver<Stream>, mpsc::Receiver<Stream>) {
        let (arrivals, arrived) = mpsc::channel(ARRIVALS);
        let (callers, called) = mpsc::channel(ARRIVALS);
        let opened = tokio::sync::Mutex::default();
        let (purpose, mapped) = (OnceLock::new(), OnceLock::new());
        (Self { arrivals, callers, purpose, over, opened, mapped }, arrived, called)
    }

    /// What whoever arrives is there for, where it is not the controller.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.purpose.get().copied().flatten()
    }

    /// This side's key, made on first use.
    pub(super) async fn own_key(&self) -> Result<SessionKey, Fault> {
        self.opened.lock().await.own()
    }

    /// Whether the machine's environment maps ports.
    pub(super) fn are_mapped(&self) -> bool {
        !self.mapped.get_or_init(Mapped::read).ports.is_empty()
    }

    /// Opens what is not open yet, and tells of all that was asked for.
    pub(super) async fn listen(
        &self,
        listen: Listen,
        purpose: Option<Purpose>,
    ) -> Result<Listening, Fault> {
        let controller = controller();
        let mapped = self.mapped.get_or_init(Mapped::read);
        let mut opened = self.opened.lock().await;
        if *self.purpose.get_or_init(|| purpose) != purpose {
            return Err(Fault::new(FaultKind::Protocol, Operation::Open, RelPath::root()));
        }
        let key = opened.key(listen.key)?;
        let places = opened.places.get_or_insert_with(|| Places::new(controller)).clone();
        let mut ports = Vec::new();
        for inside in listen.ports {
            ports.push(self.open(&mut opened, &key, &places, inside, None));
        }
        let unasked = if listen.mapped { &[Carrier::Tcp, Carrier::Udp][..] } else { &[] };
        for &carrier in unasked {
            let of_carrier = mapped.ports.iter().filter(|(port, _)| port.carrier == carrier);
            let mut open = 0;
            for &(inside, outside) in of_carrier {
                if open < MAPPED_MAX {
                    let port = self.open(&mut opened, &key, &places, inside, Some(outside));
                    open += usize::from(port.refused.is_none());
                    ports.push(port);
                }
            }
        }
        ports.truncate(xfer_protocol::limits::DATA_PORTS_MAX);
        let key = key.digest();
        Ok(Listening { key, address: mapped.address, controller, ports })
    }

    /// Dials the near side at all its addresses, and keeps the first that proves the key.
    pub(super) async fn dial(&self, dial: Dial) -> Result<(), Fault> {
        let key = self.opened.lock().await.key(dial.key)?;
        let mut dialling = JoinSet::new();
        for address in dial.addresses {
            let (key, peer) = (key.clone(), dial.key);
            match dial.carrier {
                Carrier::Tcp => dialling.spawn(async move {
                    let dialler = Dialler::new(&key, peer).ok()?;
                    dialler.dial(address, DIAL_DEADLINE).await.ok().map(Reached::Stream)
                }),
                Carrier::Udp => dialling.spawn(async move {
                    let connection = quic::dial(address, &key, peer, DIAL_DEADLINE).await;
                    connection.ok().map(Reached::Connection)
                }),
            };
        }
        while let Some(dialled) = dialling.join_next().await {
            match dialled {
                Ok(Some(Reached::Stream(stream))) => {
                    // The session is over when nobody takes it.
                    let _gone = self.arrivals.send(stream).await;
                    return Ok(());
                }
                Ok(Some(Reached::Connection(connection))) => {
                    let serving = self.serve(connection);
                    self.opened.lock().await.tasks.spawn(serving);
                    return Ok(());
                }
                Ok(None) | Err(_) => {}
            }
        }
        Err(Fault::new(FaultKind::NotFound, Operation::Open, RelPath::root()))
    }

    /// Hands every stream of a connection to the session.
    fn serve(&self, connection: QuicConnection) -> impl Future<Output = ()> + 'static {
        arriving::streams_of(connection, self.arrivals.clone(), self.over.clone())
    }

    fn comers(&self) -> mpsc::Sender<Stream> {
        match self.purpose() {
            None | Some(Purpose::Deliveries) => self.arrivals.clone(),
            Some(Purpose::Passage) => self.callers.clone(),
        }
    }

    fn open(
        &self,
        opened: &mut Opened,
        key: &SessionKey,
        places: &Places,
        inside: InsidePort,
        outside: Option<u16>,
    ) -> DataPort {
        let is_same = |port: &&DataPort| port.inside == inside && inside.number != 0;
        if let Some(port) = opened.ports.iter().find(is_same) {
            return *port;
        }
        let peer = opened.peer.unwrap_or(KeyDigest([0; 32]));
        let bound = match inside.carrier {
            Carrier::Tcp => self.open_tcp(opened, key, peer, places, inside.number),
            Carrier::Udp => self.open_udp(opened, key, peer, places, inside.number),
        };
        let (inside, refused) = match bound {
            Ok(number) => (InsidePort { number, ..inside }, None),
            Err(refusal) => (inside, Some(refusal)),
        };
        let port = DataPort { inside, outside, refused };
        if refused.is_none() {
            opened.ports.push(port);
        }
        port
    }

    fn open_tcp(
        &self,
        opened: &mut Opened,
        key: &SessionKey,
        peer: KeyDigest,
        places: &Places,
        number: u16,
    ) -> Result<u16, PortRefusal> {
        let bind = |address: SocketAddr| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let number = listener.local_addr()?.port();
            Ok((tokio::net::TcpListener::from_std(listener)?, number))
        };
        let (listener, number) = bind_any(number, bind).map_err(|error| refusal(&error))?;
        let port = Acceptor::new(key, peer).map_err(|_| PortRefusal::Other)?;
        let (arrivals, over) = (self.comers(), self.over.clone());
        opened.tasks.spawn(arriving::over_tcp(listener, port, places.clone(), arrivals, over));
        Ok(number)
    }

    fn open_udp(
        &self,
        opened: &mut Opened,
        key: &SessionKey,
        peer: KeyDigest,
        places: &Places,
        number: u16,
    ) -> Result<u16, PortRefusal> {
        // Of a connection that comes, only the streams that its other end opens are taken.
        if self.purpose() == Some(Purpose::Passage) {
            return Err(PortRefusal::Other);
        }
        let bind = |address: SocketAddr| {
            let socket = UdpSocket::bind(address)?;
            let number = socket.local_addr()?.port();
            Ok((socket, number))
        };
        let (socket, number) = bind_any(number, bind).map_err(|error| refusal(&error))?;
        let port = QuicPort::new(socket, key, peer).map_err(|_| PortRefusal::Other)?;
        let (arrivals, over) = (self.arrivals.clone(), self.over.clone());
        opened.tasks.spawn(arriving::over_udp(port, places.clone(), arrivals, over));
        Ok(number)
    }
}

enum Reached {
    Stream(Stream),
    Connection(QuicConnection),
}

impl Opened {
    /// This side's key; whoever comes has one key as well, the same for all ports.
    fn key(&mut self, peer: KeyDigest) -> Result<SessionKey, Fault> {
        if *self.peer.get_or_insert(peer) != peer {
            return Err(Fault::new(FaultKind::Protocol, Operation::Open, RelPath::root()));
        }
        self.own()
    }

    fn own(&mut self) -> Result<SessionKey, Fault> {
        if let Some(key) = &self.own {
            return Ok(key.clone());
        }
        let unmade = |_| Fault::new(FaultKind::Io, Operation::Open, RelPath::root());
        let key = SessionKey::generate().map_err(unmade)?;
        self.own = Some(key.clone());
        Ok(key)
    }
}

/// Binds to all addresses of both families, or of the one that there is.
fn bind_any<T>(number: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let both = (IpAddr::from(Ipv6Addr::UNSPECIFIED), number).into();
    match bind(both) {
        Err(error) if !is_refusal(&error) => bind((Ipv4Addr::UNSPECIFIED, number).into()),
        bound => bound,
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn refusal(error: &io::Error) -> PortRefusal {
    match error.kind() {
        io::ErrorKind::AddrInUse => PortRefusal::InUse,
        io::ErrorKind::PermissionDenied => PortRefusal::Permission,
        _ => PortRefusal::Other,
    }
}

/// Where the login of this session comes from, as sshd tells it.
fn controller() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let address = connection.split(' ').next()?;
    // A link-local address names its interface as well, which means nothing elsewhere.
    address.parse().ok()
}

#[cfg(test)]
mod tests;
