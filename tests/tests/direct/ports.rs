//! Ports whose numbers are others outside, named and found

use std::net::TcpListener;

use xfer_tests::net::{Direction, Protocol, Weather};

use crate::{Pair, Port, ROUND_TRIP, TCP, Told, UDP, Verb, decided, named};

const MEBIBYTES: u64 = 8;

/// Most packets that carry so many MiB of payload
fn packets(mebibytes: u64) -> u64 {
    (mebibytes << 20) / 1500
}

/// Names that the environment of the far machine gives to [`TCP`] and [`UDP`]
const ENVIRONMENT: &str = "SetEnv VAST_TCP_PORT_22=22 VAST_TCP_PORT_8081=30526 \
                           VAST_UDP_PORT_8082=30527 PUBLIC_IPADDR=10.77.0.2";

fn result_route(told: &Told) -> (&str, bool) {
    let route = &told.result()["route"];
    (route["kind"].as_str().expect("a kind"), route["direct"].as_bool().expect("direct or not"))
}

/// A program that is started over the login
const PROGRAM: &str = "Starting session: command";

#[test]
fn a_named_port_carries_payload_both_ways() {
    let pair = Pair::new(&Weather::default().round_trip(ROUND_TRIP));
    pair.tree("source", MEBIBYTES);
    for (port, kind) in [(TCP, "tls"), (UDP, "quic")] {
        for verb in [Verb::Push, Verb::Pull] {
            let destination = format!("{verb:?}-{kind}");
            let before = pair.counts(verb).remapped;
            let begun = pair.server.log_count(PROGRAM);
            let told = pair.moved(verb, &named(&[port]), ["source", &destination]);
            // The login carries no payload, not even when the session ends.
            assert_eq!(pair.server.log_count(PROGRAM), begun + 1);
            assert_eq!(told.routes().last(), Some(&kind), "{verb:?}: {told:?}");
            assert_eq!(result_route(&told), (kind, true));
            assert_eq!(told.decisions(), [decided(port, "taken")], "{verb:?}");
            let crossed = pair.counts(verb).remapped - before;
            assert!(crossed >= packets(MEBIBYTES), "{verb:?} {kind}: {crossed} packets");
        }
    }
}

#[test]
fn mapped_ports_are_found_in_the_environment_of_the_far_machine() {
    let pair = Pair::with(&Weather::default().round_trip(ROUND_TRIP), ENVIRONMENT);
    pair.tree("source", MEBIBYTES);
    for verb in [Verb::Push, Verb::Pull] {
        let told = pair.moved::<&str>(verb, &[], ["source", &format!("{verb:?}")]);
        assert_eq!(told.routes().last(), Some(&"quic"), "{told:?}");
        assert_eq!(told.decisions(), [decided(UDP, "taken")]);
    }
    let told = pair.moved(Verb::Push, &["--route", "tls"], ["source", "tls"]);
    assert_eq!(told.decisions(), [decided(TCP, "taken")]);
}

#[test]
fn an_identity_port_is_the_same_inside() {
    let config = "SetEnv VAST_TCP_PORT_72299=30999 PUBLIC_IPADDR=10.77.0.2";
    let pair = Pair::with(&Weather::default().round_trip(ROUND_TRIP), config);
    pair.tree("source", 1);
    pair.block_nothing();
    let told = pair.moved::<&str>(Verb::Push, &[], ["source", "found"]);
    let port = Port { protocol: Protocol::Tcp, inside: 30_999, outside: 30_999 };
    assert_eq!(told.decisions(), [decided(port, "taken")]);
}

#[test]
fn a_route_that_is_asked_for_is_the_only_one() {
    let pair = Pair::with(&Weather::default().round_trip(ROUND_TRIP), ENVIRONMENT);
    pair.tree("source", 1);
    let told = pair.moved(Verb::Push, &["--route", "ssh"], ["source", "ssh"]);
    assert_eq!((told.routes().last(), told.decisions().len()), (Some(&"ssh"), 0));
    let told = pair.moved(Verb::Push, &["--route", "quic"], ["source", "quic"]);
    assert_eq!(told.decisions(), [decided(UDP, "taken")]);
}

#[test]
fn a_port_in_use_is_left_alone() {
    let pair = Pair::new(&Weather::default().round_trip(ROUND_TRIP));
    pair.tree("source", 1);
    let notebook = pair.lab.far.within(|| TcpListener::bind(("0.0.0.0", TCP.inside)));
    let notebook = notebook.expect("bind");
    notebook.set_nonblocking(true).expect("not blocking");
    let told = pair.moved(Verb::Push, &named(&[TCP, UDP]), ["source", "both"]);
    let refused = format!("tls host port {} skipped", TCP.inside);
    assert_eq!(told.decisions(), [refused, decided(UDP, "taken")]);

    let flags = [&named(&[TCP])[..], &["--route".to_owned(), "tls".to_owned()]].concat();
    let ended = pair.xfer.run(pair.arguments(Verb::Push, &flags, ["source", "one"]));
    let ended = ended.expect_code(10);
    assert_eq!(ended.result()["reason"], "no-data-port");
    assert!(notebook.accept().is_err(), "somebody knocked at a port of another program");
    assert!(!pair.path("one").exists());
}

#[test]
fn a_dry_run_tells_every_decision() {
    let pair = Pair::new(&Weather::default().round_trip(ROUND_TRIP));
    pair.tree("source", 1);
    let flags = [&named(&[TCP, UDP])[..], &["--dry-run".to_owned(), "-v".to_owned()]].concat();
    let arguments = pair.arguments(Verb::Push, &flags, ["source", "planned"]);
    let ended = pair.xfer.run(arguments.into_iter().filter(|argument| argument != "--json"));
    let ended = ended.expect_code(0);
    let said = [ended.stdout, ended.stderr].concat();
    let told = said.lines().any(|line| line.starts_with("xfer: quic 10.77.0.2:30527: taken: "));
    assert!(told, "{said}");
    assert!(said.contains("route quic: quic, direct, "), "{said}");
    assert!(!pair.path("planned").exists());
    assert!(pair.lab.link.counts(Direction::Out).remapped > 0);
}
