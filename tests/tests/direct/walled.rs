//! Networks that let next to nothing out: two ports, or a proxy

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use xfer_tests::net::{Protocol, Selection};

use crate::{Pair, Port, TCP, UDP, Verb, decided, long_link, named};

/// What is open in most walls, beside the port of the login
const HTTPS: Port = Port { protocol: Protocol::Tcp, inside: 8081, outside: 443 };

/// Where the proxy listens, on the other side of the wall
const PROXY: u16 = 3128;

/// Within this bytes move, or the user knows what to do
const SOON: Duration = Duration::from_secs(15);

/// A wall in which these ports are open
fn wall(pair: &Pair, open: &[u16]) {
    pair.block_nothing();
    pair.block(&Selection::default().all_ports_but(open));
}

#[test]
fn payload_goes_by_the_one_port_that_is_open_beside_the_login() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    pair.lab.link.map_ports(&[HTTPS, UDP].map(Port::mapping));
    wall(&pair, &[pair.server.port(), HTTPS.outside]);
    for verb in [Verb::Push, Verb::Pull] {
        let told = pair.moved(verb, &named(&[HTTPS, UDP]), ["source", &format!("{verb:?}")]);
        assert!(told.decisions().contains(&decided(HTTPS, "taken")), "{:?}", told.decisions());
        assert_eq!(told.routes().last(), Some(&"tls"));
    }
}

#[test]
fn payload_goes_by_the_login_where_no_data_port_is_open() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    wall(&pair, &[pair.server.port(), HTTPS.outside]);
    for verb in [Verb::Push, Verb::Pull] {
        let begun = Instant::now();
        let told = pair.moved(verb, &named(&[TCP, UDP]), ["source", &format!("{verb:?}")]);
        assert!(begun.elapsed() < SOON, "{verb:?}: {:?}", begun.elapsed());
        assert_eq!(told.routes().last(), Some(&"ssh"));
    }
}

/// A proxy that knows CONNECT, in the far host, for as long as the test runs
fn proxy(pair: &Pair) {
    let address = SocketAddr::from((pair.lab.link.far(), PROXY));
    let listener = pair.lab.far.within(|| TcpListener::bind(address)).expect("bind");
    let host = pair.lab.far.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let host = host.clone();
            std::thread::spawn(move || host.within(|| pass_on(client)));
        }
    });
}

/// Connects a client to whom it names, and copies both ways
fn pass_on(mut client: TcpStream) {
    let mut lines = BufReader::new(client.try_clone().expect("clone")).lines();
    let first = lines.next().expect("a request").expect("text");
    let named = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let server = TcpStream::connect(named.expect("CONNECT")).expect("connect");
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("answer");
    let back = (server.try_clone().expect("clone"), client.try_clone().expect("clone"));
    std::thread::spawn(move || copy(back.0, back.1));
    copy(client, server);
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // Whoever is gone ends it.
    let _ended = std::io::copy(&mut from, &mut to);
    let _closed = to.shutdown(Shutdown::Write);
}

/// Speaks CONNECT as `nc -X connect` does
fn through_the_proxy(pair: &Pair) -> String {
    let place = format!("{}/{PROXY}", pair.lab.link.far());
    format!(
        "ProxyCommand=bash -c 'exec 3<>/dev/tcp/{place}; \
         printf \"CONNECT %%s:%%s HTTP/1.1\\r\\n\\r\\n\" %h %p >&3; \
         while read -r line <&3 && [ \"${{#line}}\" -gt 1 ]; do :; done; \
         cat <&3 & exec cat >&3'"
    )
}

#[test]
fn payload_goes_through_a_proxy_where_nothing_else_leads_out() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    proxy(&pair);
    wall(&pair, &[PROXY]);
    for verb in [Verb::Push, Verb::Pull] {
        let command = ["-o".to_owned(), through_the_proxy(&pair)];
        let flags = [&named(&[TCP, UDP])[..], &command].concat();
        let begun = Instant::now();
        let told = pair.moved(verb, &flags, ["source", &format!("{verb:?}")]);
        assert!(begun.elapsed() < SOON, "{verb:?}: {:?}", begun.elapsed());
        assert_eq!(told.routes().last(), Some(&"ssh"));
        assert_eq!(told.result()["route"]["direct"], false);
    }
}

#[test]
fn who_has_not_named_the_proxy_is_told_how() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 1);
    proxy(&pair);
    wall(&pair, &[PROXY]);
    let begun = Instant::now();
    let flags = named(&[TCP, UDP]);
    let ended = pair.xfer.run(pair.arguments(Verb::Push, &flags, ["source", "destination"]));
    let ended = ended.expect_code(10);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let remedies = ended.result()["remedies"].to_string();
    assert!(remedies.contains("ProxyCommand"), "{remedies}");
}
