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
        let first = steps.first().expect("a step");
        assert!(first.starts_with("from 8 to 16 streams: 8 carry 2."), "{steps:?}");
        // Buffers that fill may look like a gain once; what is no faster is taken back.
        let last = steps.last().expect("a step");
        assert!(last.contains(" back to "), "{steps:?}");
        let streams = told.result()["route"]["streams"].as_u64().expect("streams");
        assert!(last.contains(&format!(" back to {streams} streams")), "{streams}: {steps:?}");
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

#[test]
fn what_was_learnt_is_where_the_next_transfer_begins() {
    let pair = Pair::new(&Weather::default().megabits(20).round_trip(ROUND_TRIP));
    pair.tree("source", MEBIBYTES);
    pair.tree("short", 4);
    pair.moved(Verb::Push, &named(&[TCP]), ["source", "destination"]);
    let files = pair.xfer.state().join("routes").read_dir().expect("what was learnt");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let text = std::fs::read_to_string(file).expect("read");
    println!("{text}");
    let learnt: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let streams = learnt["streams"].as_u64().expect("streams");
    assert!((8..=16).contains(&streams), "{text}");
    assert!(learnt["rate"].as_u64().is_some_and(|rate| rate > 1_500_000), "{text}");
    std::fs::write(file, text.replace(&format!(":{streams},"), ":5,")).expect("write");
    let told = pair.moved(Verb::Push, &named(&[TCP]), ["short", "learnt"]);
    assert_eq!(told.result()["route"]["streams"], 5);
    std::fs::write(file, b"damaged").expect("write");
    let told = pair.moved(Verb::Push, &named(&[TCP]), ["short", "damaged"]);
    assert_eq!(told.result()["route"]["streams"], 8);
}
