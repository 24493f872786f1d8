//! Datagrams that do not pass, from the start or from some moment on, and ports that go silent

use std::time::{Duration, Instant};

use xfer_tests::net::{Protocol, Selection, Weather};

use crate::{Pair, ROUND_TRIP, TCP, UDP, Verb, decided, long_link, named};

/// What may cross the link beside the payload: headers, the login, and what was on its way when a
/// route was lost
const BESIDE: u64 = 20 << 20;

/// A file that takes some seconds
const MEBIBYTES: u64 = 32;
const SIZE: u64 = MEBIBYTES << 20;

/// Were what arrived until then sent again, more would cross the link than may
const LATE: u64 = SIZE * 3 / 4;

/// Packets that are payload, and more than were on the link when something happened to it
const FLOWING: u64 = 1500;

fn datagrams() -> Selection {
    Selection::default().protocol(Protocol::Udp)
}

fn data_ports() -> Selection {
    Selection::default().ports(&[TCP.outside, UDP.outside])
}

/// Rows: E8.
#[test]
fn bytes_flow_at_once_where_datagrams_are_blocked() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 8);
        pair.block(&datagrams());
        let flags = named(&[TCP, UDP]);
        let running = pair.xfer.start(pair.arguments(verb, &flags, ["source", "destination"]));
        pair.wait(Verb::Push, |counts| counts.dropped > 0);
        let begun = Instant::now();
        pair.wait(verb, |counts| counts.remapped > FLOWING);
        let waited = begun.elapsed();
        println!("{verb:?}: bytes flow after {waited:?}");
        assert!(waited < Duration::from_secs(2), "{waited:?}");
        let told = pair.ended(running.wait(), ["source", "destination"]);
        assert!(told.decisions().contains(&decided(TCP, "taken")), "{:?}", told.decisions());
        assert_eq!(told.routes().last(), Some(&"tls"));
    }
}

/// Rows: E8.
#[test]
fn a_blocked_way_is_remembered() {
    let pair = Pair::new(&Weather::default().round_trip(ROUND_TRIP).megabits(20));
    pair.tree("source", 8);
    pair.block(&datagrams());
    let flags = named(&[TCP, UDP]);
    let first = pair.moved(Verb::Push, &flags, ["source", "first"]);
    assert_eq!(first.decisions(), [decided(TCP, "taken"), decided(UDP, "failed")]);
    let dropped = pair.counts(Verb::Push).dropped;
    assert!(dropped > 0);
    let second = pair.moved(Verb::Push, &flags, ["source", "second"]);
    assert_eq!(second.decisions(), [decided(UDP, "skipped"), decided(TCP, "taken")]);
    assert_eq!(pair.counts(Verb::Push).dropped, dropped, "a blocked way was tried again");
}

/// Rows: E8.
#[test]
fn payload_goes_over_the_login_where_no_data_port_answers() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    pair.block(&data_ports());
    let flags = named(&[TCP, UDP]);
    let running = pair.xfer.start(pair.arguments(Verb::Push, &flags, ["source", "destination"]));
    pair.wait(Verb::Push, |counts| counts.dropped > 0);
    let begun = Instant::now();
    pair.wait_delivered(Verb::Push, FLOWING);
    let waited = begun.elapsed();
    println!("bytes flow after {waited:?}");
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    let told = pair.ended(running.wait(), ["source", "destination"]);
    assert_eq!(told.routes().last(), Some(&"ssh"));
}

/// Rows: E8.
#[test]
fn a_transfer_goes_on_over_tcp_when_datagrams_are_blocked() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&long_link());
        pair.tree("source", MEBIBYTES);
        let before = pair.counts(verb).bytes;
        let running = pair.begun(verb, &named(&[TCP, UDP]), ["source", "destination"]);
        pair.wait(verb, |counts| counts.bytes >= before + LATE);
        let begun = Instant::now();
        pair.block(&datagrams());
        pair.wait_delivered(verb, FLOWING);
        let waited = begun.elapsed();
        let told = pair.ended(running.wait(), ["source", "destination"]);
        let crossed = pair.counts(verb).bytes - before;
        println!("{verb:?}: bytes flow after {waited:?}, {crossed} bytes crossed the link");
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        let expected = [decided(UDP, "taken"), decided(UDP, "lost"), decided(TCP, "taken")];
        assert_eq!(told.decisions()[..3], expected, "{told:?}");
        // What has arrived has arrived.
        assert!(crossed < SIZE + BESIDE, "{crossed}");
    }
}

/// A packet that a handshake is made of is smaller, and one of payload is larger
const OF_A_HANDSHAKE: usize = 900;

/// Rows: E7, E8.
#[test]
fn a_way_that_lets_nothing_but_the_handshake_pass_is_taken_once() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    pair.block(&Selection::default().ports(&[TCP.outside]).above(OF_A_HANDSHAKE));
    let told = pair.moved(Verb::Push, &named(&[TCP]), ["source", "destination"]);
    let decisions = told.decisions();
    assert_eq!(decisions[..2], [decided(TCP, "taken"), decided(TCP, "lost")], "{told:?}");
    assert!(!decisions[2..].contains(&decided(TCP, "taken")), "{decisions:?}");
    assert!(pair.counts(Verb::Push).dropped > 0);
}

/// Rows: E3, E8.
#[test]
fn a_transfer_goes_on_over_the_login_when_all_data_ports_fall_silent() {
    for (ports, verb) in [(&[TCP, UDP][..], Verb::Push), (&[TCP], Verb::Pull)] {
        let pair = Pair::new(&long_link());
        pair.tree("source", MEBIBYTES);
        let before = pair.counts(verb).bytes;
        let running = pair.begun(verb, &named(ports), ["source", "destination"]);
        pair.wait(verb, |counts| counts.bytes >= before + LATE);
        let begun = Instant::now();
        pair.block(&data_ports());
        pair.wait_delivered(verb, FLOWING);
        let waited = begun.elapsed();
        let told = pair.ended(running.wait(), ["source", "destination"]);
        let crossed = pair.counts(verb).bytes - before;
        println!("{verb:?}: bytes flow after {waited:?}, {crossed} bytes crossed the link");
        assert!(waited < Duration::from_secs(14), "{waited:?}");
        assert!(told.number("payload_bytes") >= SIZE);
        assert!(crossed < SIZE + BESIDE, "{crossed}");
        assert_eq!(told.decisions()[1], decided(ports[ports.len() - 1], "lost"), "{told:?}");
    }
}

#[test]
fn the_far_side_dials_out_where_none_of_its_ports_answers() {
    for (route, verb) in [("quic", Verb::Push), ("tls", Verb::Pull)] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 8);
        pair.block_nothing();
        let told = pair.moved(verb, &["--route", route], ["source", "destination"]);
        assert_eq!(told.routes().last(), Some(&route), "{told:?}");
        let expected = format!("{route} 10.77.0.1:");
        let taken = told.decisions().last().cloned().unwrap_or_default();
        assert!(taken.starts_with(&expected) && taken.ends_with("taken"), "{taken}");
    }
}
