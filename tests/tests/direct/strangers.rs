//! Somebody else on a data port, on either side of it

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use xfer_tests::net::Mapping;
use xfer_tests::xfer::Ended;

use crate::impostor::{ALPN, dialling, listen, speak};
use crate::{OTHER_TCP, OTHER_UDP, Pair, SOON, TCP, UDP, Verb, decided, long_link, named};

/// A handshake and what belongs to it; no byte of a file is in so little
const HANDSHAKE: u64 = 4096;

/// A program of somebody else, and the bytes that it was sent
struct Program(Arc<AtomicU64>);

impl Program {
    /// On TCP; `answer` is told what came, and whether it goes on
    fn on_tcp(pair: &Pair, port: u16, answer: fn(&mut TcpStream, &[u8]) -> bool) -> Self {
        let listener = pair.lab.far.within(|| TcpListener::bind(("0.0.0.0", port))).expect("bind");
        let heard = Arc::<AtomicU64>::default();
        let count = Arc::clone(&heard);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(length @ 1..) = socket.read(&mut buffer) {
                        count.fetch_add(length as u64, Ordering::Relaxed);
                        if !answer(&mut socket, &buffer[..length]) {
                            return;
                        }
                    }
                });
            }
        });
        Self(heard)
    }

    /// On UDP, where everything comes back
    fn on_udp(pair: &Pair, port: u16) -> Self {
        let socket = pair.lab.far.within(|| UdpSocket::bind(("0.0.0.0", port))).expect("bind");
        let heard = Arc::<AtomicU64>::default();
        let count = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, from)) => {
                        count.fetch_add(length as u64, Ordering::Relaxed);
                        drop(socket.send_to(&buffer[..length], from));
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self(heard)
    }

    fn heard(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn echo(socket: &mut TcpStream, said: &[u8]) -> bool {
    socket.write_all(said).is_ok()
}

fn http(socket: &mut TcpStream, _: &[u8]) -> bool {
    let answer = b"HTTP/1.1 400 Bad Request\r\nServer: other\r\nConnection: close\r\n\r\n";
    drop(socket.write_all(answer));
    false
}

/// Leads the outside port of TCP to somebody else's
fn mislead(pair: &Pair) {
    let wrong = Mapping { outside: TCP.outside, ..OTHER_TCP.mapping() };
    let udp = Mapping { outside: UDP.outside, ..OTHER_UDP.mapping() };
    pair.lab.link.map_ports(&[wrong, udp]);
}

/// A push that may go by TLS alone
fn alone(pair: &Pair) -> Ended {
    let flags = [&named(&[TCP])[..], &["--route".to_owned(), "tls".to_owned()]].concat();
    pair.xfer.run(pair.arguments(Verb::Push, &flags, ["source", "alone"]))
}

/// Rows: E11.
#[test]
fn another_program_on_the_port_gets_no_byte_of_a_file() {
    for answer in [echo, http] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 8);
        let tcp = Program::on_tcp(&pair, OTHER_TCP.inside, answer);
        let udp = Program::on_udp(&pair, OTHER_UDP.inside);
        mislead(&pair);
        let ended = alone(&pair).expect_code(11);
        assert_eq!(ended.result()["reason"], "data-port-identity");
        assert!(!pair.path("alone").exists());
        assert!((1..HANDSHAKE).contains(&tcp.heard()), "{} bytes", tcp.heard());

        let told = pair.moved(Verb::Push, &named(&[TCP, UDP]), ["source", "destination"]);
        assert_eq!(told.routes().last(), Some(&"ssh"), "{told:?}");
        assert!(told.decisions().contains(&decided(TCP, "failed")), "{:?}", told.decisions());
        assert!(tcp.heard() < 2 * HANDSHAKE, "{} bytes", tcp.heard());
        // First packets are of 1200 bytes, and go out again while nobody understands them.
        assert!(udp.heard() < 16 * HANDSHAKE, "{} bytes", udp.heard());
    }
}

/// A route that carried so much is dialled again as soon as it is lost
const CARRIED: u64 = 12 << 20;

/// Rows: E11.
#[test]
fn another_program_that_takes_over_a_port_gets_no_byte_of_a_file() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 32);
    let tcp = Program::on_tcp(&pair, OTHER_TCP.inside, echo);
    let before = pair.counts(Verb::Push).bytes;
    let running = pair.begun(Verb::Push, &named(&[TCP]), ["source", "destination"]);
    pair.wait(Verb::Push, |counts| counts.bytes >= before + CARRIED);
    mislead(&pair);
    let told = pair.ended(running.wait(), ["source", "destination"]);
    let expected = ["taken", "lost", "failed"].map(|decision| decided(TCP, decision));
    assert_eq!(told.decisions()[..3], expected, "{told:?}");
    assert!((1..HANDSHAKE).contains(&tcp.heard()), "{} bytes", tcp.heard());
}

/// Rows: E13.
#[test]
fn somebody_in_between_with_a_key_of_his_own_is_refused() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    let port = OTHER_TCP.inside;
    let listener = pair.lab.far.within(|| TcpListener::bind(("0.0.0.0", port))).expect("bind");
    let said = Arc::<Mutex<Vec<std::io::Result<Vec<u8>>>>>::default();
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            heard.lock().expect("no panic").push(listen(socket));
        }
    });
    mislead(&pair);
    let ended = alone(&pair).expect_code(11);
    assert_eq!(ended.result()["reason"], "data-port-identity");
    assert!(!pair.path("alone").exists());
    let said = said.lock().expect("no panic");
    assert!(!said.is_empty());
    assert!(said.iter().all(Result::is_err), "somebody was believed, and told {said:?}");
}

/// Rows: E13.
#[test]
fn whoever_dials_without_the_key_is_told_nothing() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 4);
    let slowly = ["--bwlimit".to_owned(), "2MB/s".to_owned()];
    let flags = [&named(&[TCP])[..], &slowly].concat();
    let running = pair.xfer.start(pair.arguments(Verb::Push, &flags, ["source", "destination"]));
    running.next_event(|event| event["decision"] == "taken").expect("a route");
    let protocols = [&[ALPN][..], &[b"xfer/999"], &[b"h2", b"http/1.1"], &[]];
    for with_key in [true, false] {
        for protocols in protocols {
            let address = SocketAddr::from((pair.lab.link.far(), TCP.outside));
            let socket = pair.lab.near.within(|| TcpStream::connect_timeout(&address, SOON));
            let socket = socket.expect("connect");
            socket.set_read_timeout(Some(SOON)).expect("a timeout");
            let answer = speak(dialling(with_key, protocols), socket);
            assert!(answer.is_err(), "{with_key} {protocols:?}: told {answer:?}");
        }
    }
    let told = pair.ended(running.wait(), ["source", "destination"]);
    assert_eq!(told.decisions(), [decided(TCP, "taken")]);
}
