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

/// From how many streams a step went to how many
fn counts(step: &str) -> [u64; 2] {
    let (counts, _) = step.split_once(" streams: ").expect("a step of streams");
    let mut numbers = counts.split(' ').filter_map(|word| word.parse().ok());
    [(); 2].map(|()| numbers.next().unwrap_or_else(|| panic!("{step}")))
}

/// Which steps pay is for the tuner's own tests, where time does not pass by itself: here a busy
/// machine may make more streams faster or slower.
#[test]
fn more_streams_are_tried_while_payload_moves() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&Weather::default().megabits(20).round_trip(ROUND_TRIP));
        pair.tree("source", MEBIBYTES);
        let told = pair.moved(verb, &named(&[TCP]), ["source", "destination"]);
        let steps = steps(&told);
        println!("{verb:?}: {steps:?}");
        assert!(steps.first().is_some_and(|step| step.starts_with("from 8 to 16")), "{steps:?}");
        let all: Vec<_> = steps.iter().map(|step| counts(step)).collect();
        assert!(all.windows(2).all(|two| two[0][1] == two[1][0]), "{steps:?}");
        for (step, [from, to]) in steps.iter().zip(&all) {
            assert_eq!(step.contains(" back to "), to < from, "{step}");
        }
        // The last step may not have come about when all had arrived.
        let streams = told.result()["route"]["streams"].as_u64().expect("streams");
        let [from, to] = all[all.len() - 1];
        assert!((from.min(to)..=from.max(to)).contains(&streams), "{streams}: {steps:?}");
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
    assert!(streams > 0 && learnt["rate"].as_u64() > Some(0), "{text}");
    std::fs::write(file, text.replace(&format!(":{streams},"), ":5,")).expect("write");
    let told = pair.moved(Verb::Push, &named(&[TCP]), ["short", "learnt"]);
    assert_eq!(told.result()["route"]["streams"], 5);
    std::fs::write(file, b"damaged").expect("write");
    let told = pair.moved(Verb::Push, &named(&[TCP]), ["short", "damaged"]);
    assert_eq!(told.result()["route"]["streams"], 8);
}
