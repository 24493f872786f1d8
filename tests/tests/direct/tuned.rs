//! How many streams a route uses is tried while it carries payload

use xfer_tests::net::Weather;

use crate::{Pair, ROUND_TRIP, TCP, Told, Verb, named};

/// Some 10 s at 20 Mbit/s
const MEBIBYTES: u64 = 24;

/// What was told of streams
fn steps(told: &Told) -> Vec<&str> {
    let steps = told.0.iter().filter(|event| event["decision"] == "tuned");
    steps.filter_map(|event| event["reason"].as_str()).collect()
}

#[test]
fn more_streams_are_tried_and_taken_back_where_the_link_is_full() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&Weather::default().megabits(20).round_trip(ROUND_TRIP));
        pair.tree("source", MEBIBYTES);
        let told = pair.moved(verb, &named(&[TCP]), ["source", "destination"]);
        let steps = steps(&told);
        println!("{verb:?}: {steps:?}");
        let begins = |at: usize, with: &str| steps.get(at).is_some_and(|s| s.starts_with(with));
        assert!(begins(0, "from 8 to 16 streams: 8 carry 2."), "{steps:?}");
        assert!(begins(1, "from 16 back to 8 streams: 16 carry 2."), "{steps:?}");
        assert_eq!(told.result()["route"]["streams"], 8);
        assert_eq!(told.number("wasted_bytes"), 0);
    }
}

#[test]
fn as_many_streams_as_are_asked_for_stay() {
    let pair = Pair::new(&Weather::default().megabits(20).round_trip(ROUND_TRIP));
    pair.tree("source", MEBIBYTES);
    let flags = [named(&[TCP]), vec!["--streams".into(), "3".into()]].concat();
    let told = pair.moved(Verb::Push, &flags, ["source", "destination"]);
    assert_eq!(steps(&told), [""; 0]);
    assert_eq!(told.result()["route"]["streams"], 3);
}
