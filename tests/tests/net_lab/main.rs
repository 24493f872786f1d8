//! Every fault of the network laboratory fires, as sockets see it that know nothing of it

mod bursts;
mod capacity;
mod damage;
mod filters;
mod logins;
mod losses;
mod ports;
mod rebinding;
mod times;
mod transfer;
mod trips;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use xfer_tests::net::{Counts, Direction, Host, Lab};

/// Far beyond what anything here takes
const SOON: Duration = Duration::from_secs(20);

/// What arrives with nothing else is in no buffer after this
const SILENCE: Duration = Duration::from_millis(100);

/// A socket of a host on a port of the system's choice
fn udp(host: &Host, address: Ipv4Addr) -> UdpSocket {
    udp_on(host, address, 0)
}

fn udp_on(host: &Host, address: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = host.within(|| UdpSocket::bind((address, port))).expect("bind");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    socket
}

/// A socket at each end, of which the near one sends to the far one
fn udp_pair(lab: &Lab) -> [UdpSocket; 2] {
    let near = udp(&lab.near, lab.link.near());
    let far = udp(&lab.far, lab.link.far());
    near.connect(far.local_addr().expect("address")).expect("connect");
    [near, far]
}

/// Sends numbered datagrams of so many bytes and returns the numbers that arrive, in order
///
/// A few at a time, so that no buffer of a socket overflows.
fn exchange(lab: &Lab, pair: &[UdpSocket; 2], count: u32, length: usize) -> Vec<u32> {
    let mut arrived = Vec::new();
    let numbers: Vec<_> = (0..count).collect();
    for numbers in numbers.chunks(50) {
        let before = lab.link.counts(Direction::Out).packets;
        for number in numbers {
            let mut datagram = vec![0; length];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            pair[0].send(&datagram).expect("send");
        }
        let all = before + numbers.len() as u64;
        settle(lab, Direction::Out, all);
        arrived.extend(waiting(&pair[1]));
    }
    arrived
}

/// Waits until so many packets have entered the link and none is under way
fn settle(lab: &Lab, direction: Direction, packets: u64) {
    let settled = |counts: &Counts| counts.packets >= packets && counts.under_way() == 0;
    let waited = lab.link.wait_for(direction, settled, SOON);
    assert!(waited, "{packets}: {:?}", lab.link.counts(direction));
}

/// The next datagram's length and sender
fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(datagram) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received.expect("receive"),
        }
    }
}

/// The numbers of all datagrams that a socket holds
fn waiting(socket: &UdpSocket) -> Vec<u32> {
    socket.set_nonblocking(true).expect("not blocking");
    let mut datagram = [0; 2000];
    let mut numbers = Vec::new();
    while let Ok(length) = socket.recv(&mut datagram) {
        assert!(length >= 4, "a datagram of {length} bytes");
        numbers.push(u32::from_be_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]));
    }
    socket.set_nonblocking(false).expect("blocking");
    numbers
}

/// A listener of a host
fn listen(host: &Host, address: Ipv4Addr, port: u16) -> TcpListener {
    host.within(|| TcpListener::bind((address, port))).expect("bind")
}

/// A connection from the near host to a port of the far one
fn dial(lab: &Lab, port: u16, within: Duration) -> std::io::Result<TcpStream> {
    let address = SocketAddrV4::new(lab.link.far(), port).into();
    let near = lab.near.within(|| TcpStream::connect_timeout(&address, within))?;
    near.set_read_timeout(Some(SOON))?;
    Ok(near)
}

/// A connection and its two ends
fn connection(lab: &Lab) -> [TcpStream; 2] {
    let listener = listen(&lab.far, lab.link.far(), 0);
    let near = dial(lab, listener.local_addr().expect("address").port(), SOON).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    far.set_read_timeout(Some(SOON)).expect("a timeout");
    [near, far]
}

/// What something takes
fn timed(act: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    act();
    begun.elapsed()
}
