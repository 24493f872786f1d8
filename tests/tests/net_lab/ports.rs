//! Ports with other numbers outside

use std::io::{Read, Write};
use std::net::TcpListener;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use xfer_tests::net::{Direction, Lab, Mapping, Protocol, Weather};

use super::{SILENCE, SOON, dial, listen, receive, udp, udp_on, waiting};

fn mapping(protocol: Protocol, outside: u16, inside: u16) -> Mapping {
    Mapping { protocol, outside, inside }
}

/// Which listener gets a connection to a port, as it tells itself
fn listener_at(lab: &Lab, listeners: &[TcpListener], port: u16) -> usize {
    let mut near = dial(lab, port, SOON).expect("connect");
    let mut readable: Vec<_> =
        listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
    let within = Timespec { tv_sec: 20, tv_nsec: 0 };
    retry_on_intr(|| poll(&mut readable, Some(&within))).expect("poll");
    let connected = |polled: &PollFd<'_>| polled.revents().contains(PollFlags::IN);
    let place = readable.iter().position(connected).expect("a connection");
    let (mut far, _) = listeners[place].accept().expect("accept");
    far.write_all(&[9]).expect("write");
    near.read_exact(&mut [0]).expect("read");
    place
}

#[test]
fn a_stream_goes_by_the_outside_port() {
    let lab = Lab::new(&Weather::default());
    let listener = listen(&lab.far, lab.link.far(), 8081);
    assert!(dial(&lab, 33526, SOON).is_err());
    lab.link.map_ports(&[mapping(Protocol::Tcp, 33526, 8081)]);
    let mut near = dial(&lab, 33526, SOON).expect("connect");
    let (mut far, _) = listener.accept().expect("accept");
    assert_eq!(near.peer_addr().expect("address").port(), 33526);
    assert_eq!(far.local_addr().expect("address").port(), 8081);
    // Enough for segments of every length, there and back.
    let sent = xfer_tests::random::Random::new(2).bytes(300_001);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            near.write_all(&sent).and_then(|()| near.shutdown(std::net::Shutdown::Write))
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).expect("read");
        assert!(received == sent);
    });
    far.write_all(b"all of it").expect("write");
    near.read_exact(&mut [0; 9]).expect("read");
    assert!(lab.link.counts(Direction::Out).remapped > 200);
    assert!(lab.link.counts(Direction::In).remapped > 2);
}

#[test]
fn datagrams_go_by_the_outside_port() {
    let lab = Lab::new(&Weather::default());
    lab.link.map_ports(&[mapping(Protocol::Udp, 33527, 8082), mapping(Protocol::Tcp, 33527, 1)]);
    let far = udp_on(&lab.far, lab.link.far(), 8082);
    let near = udp(&lab.near, lab.link.near());
    near.connect((lab.link.far(), 33527)).expect("connect");
    for length in 0..40 {
        near.send(&vec![1; length]).expect("send");
        let mut datagram = [0; 64];
        let (received, from) = receive(&far, &mut datagram);
        assert_eq!(received, length);
        far.send_to(&datagram[..length], from).expect("send");
        // A connected socket takes nothing from another port than the outside one.
        assert_eq!(receive(&near, &mut datagram).0, length);
    }
    assert_eq!(lab.link.counts(Direction::Out).remapped, 40);
    assert_eq!(lab.link.counts(Direction::In).remapped, 40);
}

#[test]
fn four_ports_change_places_at_once() {
    let lab = Lab::new(&Weather::default());
    let listeners = [8000, 8001, 8002, 8003].map(|port| listen(&lab.far, lab.link.far(), port));
    let map = |turn: u16| {
        let inside = |number: u16| 8000 + (number + turn) % 4;
        let mappings =
            [0, 1, 2, 3].map(|number| mapping(Protocol::Tcp, 30_000 + number, inside(number)));
        lab.link.map_ports(&mappings);
    };
    let reached = || [0, 1, 2, 3].map(|number| listener_at(&lab, &listeners, 30_000 + number));
    map(0);
    assert_eq!(reached(), [0, 1, 2, 3]);
    map(1);
    assert_eq!(reached(), [1, 2, 3, 0]);
    lab.link.map_ports(&[]);
    assert!(dial(&lab, 30_000, SOON).is_err());
}

#[test]
fn an_open_stream_ends_when_its_port_leads_to_another() {
    let lab = Lab::new(&Weather::default());
    let listeners = [8081, 9000].map(|port| listen(&lab.far, lab.link.far(), port));
    lab.link.map_ports(&[mapping(Protocol::Tcp, 33526, 8081)]);
    let mut near = dial(&lab, 33526, SOON).expect("connect");
    let (far, _) = listeners[0].accept().expect("accept");
    lab.link.map_ports(&[mapping(Protocol::Tcp, 33526, 9000)]);
    near.write_all(b"for the first").expect("write");
    let ended = near.read(&mut [0; 8]);
    assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    far.set_read_timeout(Some(SILENCE)).expect("a timeout");
    assert!((&far).read(&mut [0; 32]).is_err());
    assert_eq!(listener_at(&lab, &listeners, 33526), 1);
}

#[test]
fn datagrams_of_an_open_flow_reach_who_has_the_port_now() {
    let lab = Lab::new(&Weather::default());
    let far = [8082, 9001].map(|port| udp_on(&lab.far, lab.link.far(), port));
    let near = udp(&lab.near, lab.link.near());
    near.connect((lab.link.far(), 33527)).expect("connect");
    for (inside, number) in [(8082, 1_u32), (9001, 2)] {
        lab.link.map_ports(&[mapping(Protocol::Udp, 33527, inside)]);
        near.send(&number.to_be_bytes()).expect("send");
        super::settle(&lab, Direction::Out, u64::from(number));
    }
    assert_eq!((waiting(&far[0]), waiting(&far[1])), (vec![1], vec![2]));
}
