//! Connections that break, end and stall at any byte, or trickle

use std::time::{Duration, Instant};

use xfer_tests::net::{Direction, Weather};

use crate::faulty::{Fault, Plan, Relay};
use crate::{Pair, TCP, Verb, named};

/// Within the first packet, the handshake, the greeting, the first requests, a block, and beyond
const OFFSETS: [u64; 7] = [0, 1, 250, 900, 2_000, 300_001, (1 << 20) + 77];

fn short_link() -> Weather {
    Weather::default().round_trip(Duration::from_millis(6))
}

fn sweep(fault: Fault) {
    let mut fired = 0;
    for verb in [Verb::Push, Verb::Pull] {
        for (number, after) in OFFSETS.into_iter().enumerate() {
            let pair = Pair::new(&short_link());
            pair.tree("source", 8);
            let direction = verb.direction();
            // The first of them alone, or all that there are at first.
            let connections = if number % 2 == 0 { 0..1 } else { 0..2 };
            let plan = Plan { direction, after, fault, connections, slice: usize::MAX };
            let relay = Relay::before(&pair, &plan);
            let flags = [&named(&[TCP])[..], &["--streams", "2"].map(str::to_owned)].concat();
            let told = pair.moved(verb, &flags, ["source", "destination"]);
            println!("{verb:?} {fault:?} at {after}: {:?}", told.decisions());
            fired += usize::from(relay.fired() > 0);
        }
    }
    // On a machine that is slow all may have gone over the login before.
    assert!(fired > OFFSETS.len(), "{fired} connections were broken");
}

/// Rows: E1.
#[test]
fn a_connection_that_breaks_at_any_byte_loses_nothing() {
    sweep(Fault::Reset);
}

/// Rows: E2.
#[test]
fn a_connection_that_ends_at_any_byte_is_no_end_of_a_file() {
    sweep(Fault::End);
}

/// Rows: E16.
#[test]
fn what_stalls_on_one_stream_goes_by_the_others() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&short_link());
        pair.tree("source", 32);
        let fault = Fault::Stall;
        let (direction, after) = (verb.direction(), 200_000);
        let plan = Plan { direction, after, fault, connections: 3..4, slice: usize::MAX };
        let relay = Relay::before(&pair, &plan);
        let more = ["--streams", "8", "--stall-timeout", "3s"].map(str::to_owned);
        let flags = [&named(&[TCP])[..], &more].concat();
        let begun = Instant::now();
        let told = pair.moved(verb, &flags, ["source", "destination"]);
        println!("{verb:?}: {:?} after {:?}", told.decisions(), begun.elapsed());
        assert_eq!(relay.fired(), 1);
        assert_eq!(told.decisions().len(), 1, "{:?}", told.decisions());
    }
}

/// Rows: E17.
#[test]
fn bytes_that_arrive_one_by_one_are_put_together() {
    let pair = Pair::new(&short_link());
    pair.tree("source", 0);
    let plan = Plan {
        direction: Direction::In,
        after: u64::MAX,
        fault: Fault::Stall,
        connections: 0..0,
        slice: 1,
    };
    let _relay = Relay::before(&pair, &plan);
    // So slow a link is worth compressing for, and what is left would be few bytes.
    let more = ["--streams", "1", "--compress", "none"].map(str::to_owned);
    let flags = [&named(&[TCP])[..], &more].concat();
    let told = pair.moved(Verb::Pull, &flags, ["source", "destination"]);
    assert_eq!(told.routes().last(), Some(&"tls"));
    let packets = pair.counts(Verb::Pull).remapped;
    // A busy machine puts some of them together; undivided they would be some hundreds.
    assert!(packets > 1_000, "{packets} packets");
}

/// Rows: E17.
#[test]
fn bytes_that_arrive_in_bursts_after_silences_are_put_together() {
    let pair = Pair::new(&short_link());
    pair.tree("source", 16);
    let running = pair.begun(Verb::Push, &named(&[TCP]), ["source", "destination"]);
    pair.lab.link.change_both(|weather| weather.gather = Duration::from_secs(1));
    pair.ended(running.wait(), ["source", "destination"]);
}
