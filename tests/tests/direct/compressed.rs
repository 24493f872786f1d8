//! What is compressed crosses a slow link in fewer bytes and arrives as it was

use std::fmt::Write as _;

use xfer_tests::net::Weather;

use crate::{Pair, ROUND_TRIP, TCP, Told, Verb, named};

/// Some seconds at 20 Mbit/s, where all of it crosses as it is
const SOME: u64 = 12 << 20;

/// Much more than is on its way before the link is known
const MUCH: u64 = 64 << 20;

fn slow_link() -> Weather {
    Weather::default().megabits(20).round_trip(ROUND_TRIP)
}

/// A tree of one file, the log of a training of at least so many bytes, and its bytes
fn log(pair: &Pair, name: &str, least: u64) -> u64 {
    let mut text = String::new();
    for step in 0_u64.. {
        let loss = step.wrapping_mul(2_654_435_761) % 10_000;
        writeln!(text, "step {step} loss 0.{loss:04} tokens/s {}", 100_000 + loss / 7).expect("ok");
        if text.len() as u64 >= least {
            break;
        }
    }
    let root = pair.path(name);
    std::fs::create_dir(&root).expect("create");
    std::fs::write(root.join("log"), &text).expect("write");
    text.len() as u64
}

/// What was told of a transfer, and the bytes that crossed the link the way of the payload
fn crossed(pair: &Pair, verb: Verb, flags: &[String], names: [&str; 2]) -> (Told, u64) {
    let before = pair.counts(verb).bytes;
    let told = pair.moved(verb, flags, names);
    (told, pair.counts(verb).bytes - before)
}

#[test]
fn text_crosses_a_slow_link_in_fewer_bytes() {
    for (verb, flags) in [
        (Verb::Push, named(&[TCP])),
        (Verb::Pull, named(&[TCP])),
        (Verb::Push, vec!["--route".to_owned(), "ssh".to_owned()]),
        (Verb::Pull, vec!["--route".to_owned(), "ssh".to_owned()]),
    ] {
        let pair = Pair::new(&slow_link());
        let size = log(&pair, "source", MUCH);
        let (told, bytes) = crossed(&pair, verb, &flags, ["source", "destination"]);
        let shrunk = told.number("shrunk_bytes");
        println!("{verb:?} {flags:?}: {bytes} of {size} crossed, {shrunk} did not have to");
        assert_eq!(told.number("payload_bytes"), size);
        // A window of them is on its way before the link is known.
        assert!(bytes < size * 3 / 4, "{verb:?}: {bytes} of {size}");
        assert!(shrunk > size / 4 && bytes + shrunk > size, "{verb:?}: {shrunk}");
    }
}

#[test]
fn what_is_asked_for_is_done_from_the_first_byte() {
    let pair = Pair::new(&slow_link());
    let size = log(&pair, "source", SOME);
    let flags = |how: &str| [named(&[TCP]), vec!["--compress".into(), how.into()]].concat();
    let (_, always) = crossed(&pair, Verb::Push, &flags("zstd:9"), ["source", "always"]);
    let (told, never) = crossed(&pair, Verb::Push, &flags("none"), ["source", "never"]);
    println!("{always} and {never} of {size} crossed");
    assert!(always < size * 2 / 5, "{always} of {size}");
    assert!(never > size, "{never} of {size}");
    assert_eq!(told.number("shrunk_bytes"), 0);
}

#[test]
fn noise_crosses_as_it_is() {
    let pair = Pair::new(&slow_link());
    pair.tree("source", 8);
    for (verb, name) in [(Verb::Push, "pushed"), (Verb::Pull, "pulled")] {
        let (told, bytes) = crossed(&pair, verb, &named(&[TCP]), ["source", name]);
        assert_eq!(told.number("shrunk_bytes"), 0, "{verb:?}");
        assert!(bytes > told.number("payload_bytes"), "{verb:?}: {bytes}");
    }
}

/// A link that is faster than a processor compresses
#[test]
fn nothing_is_compressed_where_the_link_is_fast() {
    let pair = Pair::new(&Weather::default());
    let size = log(&pair, "source", SOME);
    let (told, bytes) = crossed(&pair, Verb::Push, &named(&[TCP]), ["source", "destination"]);
    assert_eq!(told.number("shrunk_bytes"), 0);
    assert!(bytes > size, "{bytes} of {size}");
}
