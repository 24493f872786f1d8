use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use xfer_protocol::data_port::{Carrier, Dial, InsidePort, Listen, Listening, PortRefusal};
use xfer_protocol::fault::FaultKind;

use super::DataPorts;
use crate::transport::Stream;
use crate::transport::keys::SessionKey;
use crate::transport::quic::{self, QuicPort};
use crate::transport::tls::{Acceptor, Dialler};

const LIMIT: Duration = Duration::from_secs(5);

struct Lab {
    ports: DataPorts,
    arrived: mpsc::Receiver<Stream>,
    over: CancellationToken,
    near: SessionKey,
}

impl Lab {
    fn new() -> Self {
        let over = CancellationToken::new();
        let (ports, arrived, _called) = DataPorts::new(over.clone());
        Self { ports, arrived, over, near: SessionKey::generate().unwrap() }
    }

    async fn listen(&self, ports: &[InsidePort]) -> Listening {
        let listen = Listen { key: self.near.digest(), ports: ports.to_vec(), mapped: false };
        self.ports.listen(listen, None).await.unwrap()
    }

    /// What arrives echoes one byte, so that both ends are known to be joined.
    async fn echo(&mut self, mut dialled: Stream) {
        dialled.writer.write_all(b"x").await.unwrap();
        dialled.writer.flush().await.unwrap();
        let mut arrived = self.arrived.recv().await.unwrap();
        assert_eq!(arrived.reader.read_u8().await.unwrap(), b'x');
    }
}

fn any(carrier: Carrier) -> InsidePort {
    InsidePort { carrier, number: 0 }
}

fn at(listening: &Listening, index: usize) -> SocketAddr {
    assert_eq!(listening.ports[index].refused, None);
    ([127, 0, 0, 1], listening.ports[index].inside.number).into()
}

#[tokio::test]
async fn streams_arrive_over_both_carriers() {
    let mut lab = Lab::new();
    let listening = lab.listen(&[any(Carrier::Tcp), any(Carrier::Udp)]).await;
    let dialler = Dialler::new(&lab.near, listening.key).unwrap();
    let stream = dialler.dial(at(&listening, 0), LIMIT).await.unwrap();
    lab.echo(stream).await;
    let connection = quic::dial(at(&listening, 1), &lab.near, listening.key, LIMIT).await.unwrap();
    for _ in 0..3 {
        let stream = connection.open().await.unwrap();
        lab.echo(stream).await;
    }
}

/// Rows: E13, E14.
#[tokio::test]
async fn strangers_bring_no_stream_and_keep_nobody_out() {
    let mut lab = Lab::new();
    let listening = lab.listen(&[any(Carrier::Tcp), any(Carrier::Udp)]).await;
    let stranger = SessionKey::generate().unwrap();
    // They are connected, say nothing, and hold every place that strangers have, and more.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(tokio::net::TcpStream::connect(at(&listening, 0)).await.unwrap());
    }
    let dialler = Dialler::new(&stranger, listening.key).unwrap();
    if let Ok(mut stream) = dialler.dial(at(&listening, 0), LIMIT).await {
        assert!(stream.reader.read_u8().await.is_err());
    }
    drop(idle);
    let connection = quic::dial(at(&listening, 1), &stranger, listening.key, LIMIT).await;
    if let Ok(connection) = connection {
        let _refused = connection.closed().await;
    }
    let dialler = Dialler::new(&lab.near, listening.key).unwrap();
    let stream = loop {
        // Those who went make room as soon as that is seen.
        if let Ok(stream) = dialler.dial(at(&listening, 0), LIMIT).await {
            break stream;
        }
    };
    lab.echo(stream).await;
    assert!(lab.arrived.try_recv().is_err());
}

#[tokio::test]
async fn a_port_in_use_is_left_alone() {
    let lab = Lab::new();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let used = [
        InsidePort { carrier: Carrier::Tcp, number: tcp.local_addr().unwrap().port() },
        InsidePort { carrier: Carrier::Udp, number: udp.local_addr().unwrap().port() },
    ];
    let listening = lab.listen(&used).await;
    for (port, used) in listening.ports.iter().zip(used) {
        assert_eq!((port.inside, port.refused), (used, Some(PortRefusal::InUse)));
    }
}

#[tokio::test]
async fn a_request_that_is_repeated_opens_nothing_new() {
    let lab = Lab::new();
    let first = lab.listen(&[any(Carrier::Tcp), any(Carrier::Udp)]).await;
    let asked: Vec<_> = first.ports.iter().map(|port| port.inside).collect();
    let again = lab.listen(&asked).await;
    assert_eq!((again.key, again.ports), (first.key, first.ports));
    let other = SessionKey::generate().unwrap().digest();
    let refused = lab.ports.listen(Listen { key: other, ports: vec![], mapped: false }, None).await;
    assert_eq!(refused.unwrap_err().kind, FaultKind::Protocol);
}

#[tokio::test]
async fn ports_end_with_the_session() {
    let lab = Lab::new();
    let listening = lab.listen(&[any(Carrier::Tcp)]).await;
    lab.over.cancel();
    while tokio::net::TcpStream::connect(at(&listening, 0)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_far_side_dials_out_and_keeps_the_first_that_proves_the_key() {
    let mut lab = Lab::new();
    let far = lab.listen(&[]).await.key;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(&lab.near, far).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = vec![nobody, listener.local_addr().unwrap()];
    let dial = |carrier, addresses| Dial { key: lab.near.digest(), carrier, addresses };
    let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await.unwrap() };
    let (told, stream) = tokio::join!(lab.ports.dial(dial(Carrier::Tcp, addresses)), accept);
    assert_eq!(told, Ok(()));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let port = QuicPort::new(socket, &lab.near, far).unwrap();
    let accept = async { port.next().await.unwrap().prove(LIMIT).await.unwrap() };
    let (told, connection) =
        tokio::join!(lab.ports.dial(dial(Carrier::Udp, vec![address])), accept);
    assert_eq!(told, Ok(()));
    let refused = lab.ports.dial(dial(Carrier::Tcp, vec![nobody])).await;
    assert_eq!(refused.unwrap_err().kind, FaultKind::NotFound);
    lab.echo(stream).await;
    let stream = connection.open().await.unwrap();
    lab.echo(stream).await;
}
