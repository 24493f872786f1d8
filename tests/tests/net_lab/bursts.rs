//! Devices that give and take packets many at once

use std::io::{IoSliceMut, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use xfer_tests::net::{Direction, Lab, Setup, Weather};
use xfer_tests::random::Random;

use super::{SOON, connection, settle, udp_pair};

const SIZE: usize = 1000;
const AT_ONCE: usize = 10;
/// As many as the receiver's buffer holds
const BURSTS: usize = 8;

fn lab(weather: &Weather) -> Lab {
    Lab::with(&Setup { offloads: true, ..Setup::default() }, weather)
}

/// Sends datagrams at once, the last half as long, whose bytes are each its number
fn send(socket: &UdpSocket, state: &UdpSocketState) {
    let numbers = (0..=u8::MAX).take(AT_ONCE);
    let mut contents: Vec<u8> = numbers.flat_map(|number| [number; SIZE]).collect();
    contents.truncate(AT_ONCE * SIZE - SIZE / 2);
    let (destination, segment_size) = (socket.peer_addr().expect("an address"), Some(SIZE));
    let transmit =
        Transmit { destination, ecn: None, contents: &contents, segment_size, src_ip: None };
    state.send(socket.into(), &transmit).expect("send");
}

/// The datagrams that arrive, and how many came with another
fn receive(socket: &UdpSocket, state: &UdpSocketState, count: u64) -> (Vec<Vec<u8>>, usize) {
    let (mut datagrams, mut together) = (Vec::new(), 0);
    let began = Instant::now();
    while (datagrams.len() as u64) < count && began.elapsed() < SOON {
        let (mut buffer, mut told) = (vec![0; 1 << 16], [RecvMeta::default()]);
        let mut into = [IoSliceMut::new(&mut buffer)];
        if state.recv(socket.into(), &mut into, &mut told).is_err() {
            continue;
        }
        let parts = buffer[..told[0].len].chunks(told[0].stride).map(Vec::from);
        together += parts.len() - 1;
        datagrams.extend(parts);
    }
    (datagrams, together)
}

#[test]
fn each_datagram_of_a_burst_is_a_packet() {
    for loss in [0.0, 0.3] {
        let lab = lab(&Weather::default().megabits(1000).loss(loss));
        let pair = udp_pair(&lab);
        let states = pair
            .each_ref()
            .map(|socket| UdpSocketState::new(socket.into()).expect("a socket with offloads"));
        for _ in 0..BURSTS {
            send(&pair[0], &states[0]);
        }
        settle(&lab, Direction::Out, (BURSTS * AT_ONCE) as u64);
        let counts = lab.link.counts(Direction::Out);
        assert_eq!(counts.packets, (BURSTS * AT_ONCE) as u64, "{counts:?}");
        let headers = 28 * counts.packets;
        assert_eq!(counts.bytes, headers + (BURSTS * (AT_ONCE * SIZE - SIZE / 2)) as u64);
        assert_eq!(counts.lost > 0, loss > 0.0, "{counts:?}");
        let (datagrams, together) = receive(&pair[1], &states[1], counts.delivered);
        assert_eq!(datagrams.len() as u64, counts.packets - counts.lost);
        assert!(together > 0, "each came alone");
        for datagram in &datagrams {
            let number = datagram[0];
            let is_last = usize::from(number) == AT_ONCE - 1;
            let wanted = if is_last { SIZE / 2 } else { SIZE };
            assert!(datagram.iter().all(|byte| *byte == number), "{number}: parts of two");
            assert_eq!(datagram.len(), wanted, "{number}");
        }
    }
}

#[test]
fn a_stream_of_bursts_arrives_whole() {
    let lab = lab(&Weather::default().megabits(200).loss(0.005));
    let sent = Random::new(6).bytes(4 << 20);
    let [mut near, mut far] = connection(&lab);
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| near.write_all(&sent).and_then(|()| near.shutdown(Shutdown::Both)));
        far.read_to_end(&mut received).expect("read");
    });
    assert!(received == sent, "{} bytes", received.len());
    let counts = lab.link.counts(Direction::Out);
    assert!(counts.lost > 0 && counts.bytes / counts.packets <= 1500, "{counts:?}");
}

#[test]
#[should_panic(expected = "neither looked at nor changed")]
fn what_looks_inside_a_burst_is_refused() {
    lab(&Weather::default()).link.change_both(|weather| weather.corrupt = 0.1);
}
