//! Whoever knows nothing but the number of a port, many times over

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use xfer_tests::measured::once_in_three;
use xfer_tests::net::Weather;

use crate::impostor::{ALPN, dialling};
use crate::{Pair, ROUND_TRIP, SOON, TCP, UDP, Verb, decided, named};

const CROWD: usize = 500;

/// How long a stranger may stay, and what a loaded machine may add
const STAYS: Duration = Duration::from_secs(7);

/// What a crowd may cost the agent
const MEMORY: u64 = 32 << 20;

/// 50 Mbit/s, at which [`MEBIBYTES`] take 8 s
fn slow_link() -> Weather {
    Weather::default().megabits(50).round_trip(ROUND_TRIP)
}

const MEBIBYTES: u64 = 48;
const ALONE: f64 = 8.1;

/// So many connections at once
fn crowd(pair: &Pair, address: SocketAddr) -> Vec<TcpStream> {
    let connect = || TcpStream::connect_timeout(&address, SOON).expect("connect");
    std::thread::scope(|scope| {
        let some = || -> Vec<TcpStream> {
            pair.lab.near.within(|| (0..CROWD / 20).map(|_| connect()).collect())
        };
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Keeps every second one busy with one byte of a handshake at a time until all are closed by the
/// other side, and tells how long that took
fn linger(mut crowd: Vec<TcpStream>) -> Duration {
    // A record of 16,000 bytes, and in it a greeting of as many.
    let handshake = [22, 3, 1, 62, 128, 1, 0, 62, 124, 3, 3];
    let begun = Instant::now();
    for socket in &crowd {
        socket.set_nonblocking(true).expect("not blocking");
    }
    for round in 0.. {
        let mut number = 0;
        crowd.retain_mut(|socket| {
            number += 1;
            let byte = handshake.get(round).copied().unwrap_or(0);
            let would_block = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
            let open = matches!(socket.read(&mut [0; 64]), Err(error) if would_block(&error));
            open && (number % 2 == 0 || socket.write_all(&[byte]).is_ok())
        });
        if crowd.is_empty() || begun.elapsed() > SOON {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    begun.elapsed()
}

/// Rows: E14.
#[test]
fn strangers_who_linger_hold_nobody_up_and_are_soon_gone() {
    let in_time = |(stayed, seconds): &(Duration, f64)| *stayed < STAYS && *seconds < 2.0 * ALONE;
    once_in_three(linger_beside_a_transfer, in_time);
}

/// How long they stayed, and how many seconds the transfer took
fn linger_beside_a_transfer() -> (Duration, f64) {
    let pair = Pair::new(&slow_link());
    pair.tree("source", MEBIBYTES);
    let running = pair.begun(Verb::Push, &named(&[TCP]), ["source", "destination"]);
    let before = pair.server.peak_memory();
    let address = SocketAddr::from((pair.lab.link.far(), TCP.outside));
    let stayed = linger(crowd(&pair, address));
    let cost = pair.server.peak_memory().saturating_sub(before);
    let told = pair.ended(running.wait(), ["source", "destination"]);
    let seconds = told.result()["elapsed_s"].as_f64().expect("seconds");
    println!("stayed {stayed:?}, cost {cost} of {before} bytes, {:.0} %", 100.0 * ALONE / seconds);
    assert!(before > 0 && cost < MEMORY, "{cost} bytes more than {before}");
    assert_eq!(told.decisions(), [decided(TCP, "taken")]);
    (stayed, seconds)
}

/// First packets of so many connections, as whoever holds no key of the session makes them
fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    sink.set_read_timeout(Some(SOON)).expect("a timeout");
    let address = sink.local_addr().expect("address");
    let crypto = QuicClientConfig::try_from(dialling(true, &[ALPN])).expect("a configuration");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let endpoint = endpoint.expect("an endpoint");
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    while found.len() < count {
        let connecting = endpoint.connect_with(config.clone(), address, "xfer").expect("dial");
        loop {
            let mut packet = vec![0; 2048];
            let length = sink.recv(&mut packet).expect("a packet");
            packet.truncate(length);
            // Its destination's name, of as many bytes as the sixth says.
            let name = packet[6..6 + usize::from(packet[5])].to_vec();
            if seen.insert(name) {
                found.push(packet);
                break;
            }
        }
        drop(connecting);
    }
    found
}

/// Rows: E15.
#[test]
fn first_packets_of_strangers_cost_little() {
    let pair = Pair::new(&slow_link());
    pair.tree("source", MEBIBYTES);
    let packets = first_packets(300);
    let device = pair.lab.link.device();
    let sources: Vec<_> = (20..36).map(|last| Ipv4Addr::new(10, 77, 0, last)).collect();
    sources.iter().for_each(|address| pair.lab.near.add_address(*address, &device));
    let running = pair.begun(Verb::Push, &named(&[UDP]), ["source", "destination"]);
    let before = pair.server.peak_memory();
    let bind = |address: &Ipv4Addr| {
        let socket = pair.lab.near.within(|| UdpSocket::bind((*address, 0))).expect("bind");
        socket.set_nonblocking(true).expect("not blocking");
        socket
    };
    let sockets: Vec<_> = sources.iter().map(bind).collect();
    // They prove nothing, for nobody there answers.
    let mut demands = 0;
    for round in 0..10 {
        for (number, packet) in packets.iter().enumerate() {
            let socket = &sockets[(number + round) % sockets.len()];
            drop(socket.send_to(packet, (pair.lab.link.far(), UDP.outside)));
        }
        pair.wait_delivered(Verb::Push, packets.len() as u64);
        for socket in &sockets {
            let mut answer = [0; 2048];
            while let Ok(1..) = socket.recv(&mut answer) {
                demands += usize::from(answer[0] >> 4 == 0xf);
            }
        }
    }
    let cost = pair.server.peak_memory().saturating_sub(before);
    let told = pair.ended(running.wait(), ["source", "destination"]);
    let seconds = told.result()["elapsed_s"].as_f64().expect("seconds");
    println!("{demands} demands, cost {cost} of {before} bytes, {:.0} %", 100.0 * ALONE / seconds);
    assert!(demands > packets.len(), "{demands} were asked to prove their address");
    assert!(before > 0 && cost < MEMORY, "{cost} bytes more than {before}");
    assert_eq!(told.decisions(), [decided(UDP, "taken")]);
}
