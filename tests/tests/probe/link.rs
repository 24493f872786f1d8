//! Rates, delays and losses of an emulated link

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;
use xfer_tests::measured::once_in_three;
use xfer_tests::net::{Direction, Protocol, Selection, Weather};

use crate::{NAMED, PORTS, Stand, Told, assert_within};

/// 100 Mbit/s in bytes a second
const RATE: f64 = 12_500_000.0;

/// The link of most tests
fn link() -> Weather {
    Weather::default().megabits(100).round_trip(Duration::from_millis(20))
}

const KINDS: [&str; 3] = ["ssh", "tls", "quic"];

/// Never more than the link carries, and no way is so slow as to leave most of it.
const CARRIED: RangeInclusive<f64> = RATE * 0.2..=RATE * 1.15;

#[test]
fn every_way_is_found_to_be_as_the_link_is() {
    let stand = Stand::new(&link());
    let directory = stand.server.home();
    let before = std::fs::read_dir(&directory).expect("list").count();
    let target = format!("host:{}/not/there/yet", directory.display());
    let flags = ["--size", "10GB", "--duration", "12s", &target];
    let measure = || {
        let told = stand.probed(&[&NAMED[..], &flags].concat());
        KINDS.iter().for_each(|kind| judge_way(told.way(kind)));
        told
    };
    let told = once_in_three(measure, |told| complaints(told).is_empty());
    assert_eq!(told.result["route"]["kind"], told.probe["taken"]);
    let [push, pull] = told.estimates() else { panic!("{:#}", told.probe) };
    assert_eq!((&push["limit"], &pull["limit"]), (&"link".into(), &"link".into()));
    assert!(push["source"].is_null() && pull["destination"].is_null());
    let disk = &told.probe["disk"];
    assert_eq!(disk["path"], directory.to_str().expect("UTF-8"), "the nearest that is there");
    assert_within(&disk["write_rate"], 1e5..=1e12, "a disk");
    assert_within(&disk["bytes_free"], 1e6..=1e18, "free bytes");
    assert_within(&told.probe["cpu"]["cores"], 1.0..=4096.0, "cores");
    assert_eq!(std::fs::read_dir(&directory).expect("list").count(), before, "something stays");
}

/// What holds of a way however fast it is
fn judge_way(way: &Value) {
    assert_eq!((&way["state"], &way["direct"]), (&"open".into(), &true.into()), "{way}");
    assert_within(&way["path_mtu"], 1300.0..=1500.0, "a path's MTU");
    for direction in ["up", "down"] {
        for streams in ["one_stream", "several_streams"] {
            assert!(way[streams][direction].as_f64() > Some(0.0), "{way}");
        }
    }
    assert!(way["several_streams"]["streams"].as_u64() > Some(1), "{way}");
}

/// What of the measurements is not as the link is
fn complaints(told: &Told) -> Vec<String> {
    let mut all = Vec::new();
    let mut within = |value: &Value, range: RangeInclusive<f64>, what: &str| {
        if !value.as_f64().is_some_and(|number| range.contains(&number)) {
            all.push(format!("{what}: {value}, not in {range:?}"));
        }
    };
    for kind in KINDS {
        let way = told.way(kind);
        within(&way["round_trip_s"], 0.020..=0.150, kind);
        within(&way["jitter_s"], 0.0..=0.150, kind);
        // What a connection that seeks its rate loses to a full queue is loss, too.
        within(&way["loss"], 0.0..=0.4, kind);
        for direction in ["up", "down"] {
            // One of them may be slow, be it by a window or by what its connection did before.
            let of = |streams: &str| way[streams][direction].as_f64().unwrap_or(0.0);
            within(&of("one_stream").max(of("several_streams")).into(), CARRIED, kind);
        }
    }
    let seconds = |rate: f64| 10e9 / rate;
    let range = seconds(*CARRIED.end())..=seconds(*CARRIED.start());
    within(&told.estimates()[0]["eta_s"], range, "a push of 10 GB");
    if told.probe["taken"] != "quic" {
        all.push(format!("{} is taken", told.probe["taken"]));
    }
    println!("{all:#?}");
    all
}

#[test]
fn loss_is_found() {
    let stand = Stand::new(&link().loss(0.03));
    let flags = ["--route", "quic", "--duration", "6s", "host:"];
    let told = stand.probed(&[&NAMED[..], &flags].concat());
    assert_eq!(told.probe["ways"].as_array().map(Vec::len), Some(1));
    let counts = stand.lab.link.counts(Direction::Out);
    // A connection that seeks its rate loses some more to a full queue, and takes what is late on a
    // busy machine for lost.
    let met = (counts.lost + counts.overflowed) as f64 / counts.packets as f64;
    assert_within(&told.way("quic")["loss"], 0.01..=0.05 + 1.5 * met, "what the link lost");
}

#[test]
fn a_blocked_port_is_told_and_the_others_are_measured() {
    let stand = Stand::new(&link());
    stand.block(&Selection::default().protocol(Protocol::Udp));
    let told = stand.probed(&[&NAMED[..], &["--duration", "4s", "host:"]].concat());
    let quic = told.way("quic");
    assert_eq!(quic["state"], "failed", "{quic}");
    let reason = quic["reason"].as_str().expect("a reason");
    assert!(reason.contains("UDP"), "{reason}");
    assert_eq!(quic["place"], "10.77.0.2:30527");
    assert!(quic["one_stream"].is_null() && quic["direct"].is_null());
    assert_eq!(told.way("tls")["state"], "open");
    assert_eq!(told.probe["taken"], "tls");
    // A transfer is not kept from trying it by what a probe found.
    assert!(!stand.xfer.state().join("silent-routes").exists());
}

#[test]
fn a_way_that_is_lost_is_not_measured_by_another() {
    let stand = Stand::new(&link());
    let flags = ["probe", "--json", "--duration", "40s", "--stall-timeout", "2s"];
    let running = stand.xfer.start(flags.iter().chain(&NAMED[..2]).chain(&["host:"]));
    let remapped = |counts: &xfer_tests::net::Counts| counts.remapped > 500;
    assert!(stand.lab.link.wait_for(Direction::Out, remapped, Duration::from_secs(60)));
    stand.block(&Selection::default().ports(&[PORTS[0].2]));
    let told = Told::of(&running.wait().expect_code(0));
    let tls = told.way("tls");
    assert_eq!(tls["state"], "failed", "{tls}");
    assert!(tls["reason"].as_str().is_some_and(|why| why.contains("lost")), "{tls}");
    assert_eq!(told.probe["taken"], "ssh");
}

/// A way that was asked for and does not answer is no way, as for a push.
#[test]
fn a_route_that_is_not_there_is_what_a_push_says() {
    let stand = Stand::new(&link());
    stand.block(&Selection::default().ports(&[PORTS[0].2]));
    let flags = ["--json", "--route", "tls"].iter().chain(&NAMED[..2]).copied();
    let ends = ["/etc/hostname", "host:/tmp/no"];
    let pushed = stand.xfer.run(["push"].into_iter().chain(flags.clone()).chain(ends));
    let probed = stand.xfer.run(["probe"].into_iter().chain(flags).chain([ends[1]]));
    let (pushed, probed) = (pushed.expect_code(10).result(), probed.expect_code(10).result());
    for field in ["reason", "message", "remedies"] {
        assert_eq!(probed[field], pushed[field], "{field}");
    }
}

#[test]
fn a_machine_without_data_ports_has_its_login() {
    let stand = Stand::new(&link());
    let told = stand.probed(&["--duration", "3s", "host:"]);
    assert_eq!((&told.probe["taken"], &told.way("ssh")["state"]), (&"ssh".into(), &"open".into()));
    for kind in ["tls", "quic"] {
        let way = told.way(kind);
        assert_eq!(way["state"], "absent", "{way}");
        assert!(way["reason"].as_str().is_some_and(|why| why.contains("--data-port")), "{way}");
    }
}

#[test]
fn no_more_bytes_cross_than_are_allowed() {
    const ALLOWED: u64 = 2_000_000;
    let stand = Stand::new(&link());
    let crossed = |direction| stand.lab.link.counts(direction).bytes;
    let before = crossed(Direction::Out) + crossed(Direction::In);
    let limit = ALLOWED.to_string();
    let told = stand.probed(&[&NAMED[..], &["--max-bytes", &limit, "host:"]].concat());
    let number = |name: &str| told.probe[name].as_u64().expect("a number");
    let moved = number("sent_bytes") + number("received_bytes");
    assert_eq!(told.result["payload_bytes"], moved);
    assert!((ALLOWED / 2..=ALLOWED).contains(&moved), "{moved}");
    let crossed = crossed(Direction::Out) + crossed(Direction::In) - before;
    // Headers, logins and handshakes beside it.
    assert!(crossed < ALLOWED + 1_500_000, "{crossed}");
}
