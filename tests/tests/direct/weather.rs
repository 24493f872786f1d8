//! Links that lose, repeat, bend, swallow, slow down and change under a transfer

use std::process::Command;
use std::time::Duration;

use xfer_tests::net::{Protocol, Selection, Weather};
use xfer_tests::tree;
use xfer_tests::xfer::Running;

use crate::{Pair, Port, SOON, TCP, Told, UDP, Verb, decided, long_link, named};

/// Faults of payload alone: the login has TCP's own answer to them
fn data_port(port: Port) -> Selection {
    Selection::default().ports(&[port.outside])
}

/// Moves a tree of so many MiB over one data port while its packets have this fate
fn moved_under(port: Port, mebibytes: u64, weather: &Weather) -> (Pair, Told) {
    let mut weather = weather.clone().round_trip(Duration::from_millis(20));
    weather.only = data_port(port);
    let pair = Pair::new(&weather);
    pair.tree("source", mebibytes);
    let told = pair.moved(Verb::Push, &named(&[port]), ["source", "destination"]);
    (pair, told)
}

/// Rows: E5.
#[test]
fn loss_slows_a_transfer_and_does_no_harm() {
    for (port, mebibytes, loss, burst) in [
        (UDP, 16, 0.01, 1.0),
        (UDP, 16, 0.05, 1.0),
        (UDP, 3, 0.3, 1.0),
        (UDP, 16, 0.02, 20.0),
        (TCP, 8, 0.01, 1.0),
        (TCP, 2, 0.05, 1.0),
    ] {
        let weather = Weather { loss, burst, ..Weather::default() };
        let (pair, told) = moved_under(port, mebibytes, &weather);
        let seconds = told.result()["elapsed_s"].as_f64().expect("seconds");
        println!("{loss} in {burst}, {port:?}: {mebibytes} MiB in {seconds:.1} s");
        assert_eq!(told.decisions(), [decided(port, "taken")], "{loss} in {burst}");
        assert!(pair.counts(Verb::Push).lost > 0);
    }
}

/// Rows: E6.
#[test]
fn packets_out_of_order_and_repeated_do_no_harm() {
    let after = Duration::from_millis(5);
    for port in [UDP, TCP] {
        let weather = Weather {
            reorder: 0.05,
            reorder_by: after,
            duplicate: 0.05,
            duplicate_after: after,
            ..Weather::default()
        };
        let (pair, told) = moved_under(port, 8, &weather);
        assert_eq!(told.decisions(), [decided(port, "taken")]);
        let counts = pair.counts(Verb::Push);
        assert!(counts.reordered > 100 && counts.duplicated > 100, "{counts:?}");
    }
}

/// Rows: E4.
#[test]
fn a_turned_bit_is_found() {
    for (port, verb) in [(UDP, Verb::Push), (TCP, Verb::Push), (TCP, Verb::Pull)] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 32);
        let running = pair.begun(verb, &named(&[port]), ["source", "destination"]);
        let only = data_port(port);
        pair.lab.link.change(verb.direction(), |weather| {
            *weather = Weather { forge: 0.0005, only: only.clone(), ..weather.clone() };
        });
        let told = pair.ended(running.wait(), ["source", "destination"]);
        println!("{verb:?} {port:?}: {:?}", told.decisions());
        assert_eq!(told.decisions()[0], decided(port, "taken"));
        assert!(pair.counts(verb).forged > 0, "nothing was turned");
    }
}

/// Rows: E7.
#[test]
fn a_black_hole_for_large_packets_takes_none_of_a_transfer() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 32);
        let running = pair.begun(verb, &named(&[UDP]), ["source", "destination"]);
        // TCP knows the size that passes; what is larger comes of QUIC's own search for it.
        pair.block(&data_port(UDP).above(1300));
        pair.wait(verb, |counts| counts.dropped > 0);
        let told = pair.ended(running.wait(), ["source", "destination"]);
        println!("{verb:?}: {:?}", told.decisions());
        assert_eq!(told.decisions()[0], decided(UDP, "taken"));
    }
}

/// Rows: E9.
#[test]
fn a_link_that_becomes_slow_for_a_while_is_waited_for() {
    for port in [UDP, TCP] {
        let pair = Pair::new(&Weather::default().megabits(1000).round_trip(crate::ROUND_TRIP));
        pair.tree("source", 64);
        let running = pair.begun(Verb::Push, &named(&[port]), ["source", "destination"]);
        pair.lab.link.change_both(|weather| weather.rate = 25_000);
        // Four seconds of the slow link.
        pair.wait_delivered(Verb::Push, 70);
        pair.lab.link.change_both(|weather| weather.rate = 125_000_000);
        let told = pair.ended(running.wait(), ["source", "destination"]);
        println!("{port:?}: {:?}, wasted {}", told.decisions(), told.number("wasted_bytes"));
        assert_eq!(told.decisions()[0], decided(port, "taken"));
    }
}

/// Rows: E10.
#[test]
fn a_connection_outlives_the_port_that_a_translator_gave_it() {
    for verb in [Verb::Push, Verb::Pull] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 32);
        let running = pair.begun(verb, &named(&[UDP]), ["source", "destination"]);
        for _ in 0..2 {
            pair.lab.link.rebind(Protocol::Udp);
            pair.wait_delivered(verb, 3000);
        }
        let told = pair.ended(running.wait(), ["source", "destination"]);
        println!("{verb:?}: {:?}", told.decisions());
        assert_eq!(told.decisions(), [decided(UDP, "taken")], "{verb:?}");
    }
}

/// Rows: E12.
#[test]
fn an_address_of_a_name_that_is_dead_costs_little() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    let hosts = pair.path("hosts");
    tree::write(&hosts, b"127.0.0.1 localhost\n10.77.0.9 gpu\n10.77.0.2 gpu\n");
    let ports = ["--data-port", "gpu:8081:30526/tcp", "--data-port", "nowhere.invalid:8082:1/udp"];
    let plain = pair.xfer.command(pair.arguments(Verb::Push, &ports, ["source", "destination"]));
    // Names are the machine's; these are of one process alone.
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(&hosts);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = pair.lab.near.within(|| Running::start(command)).wait();
    let told = pair.ended(ended, ["source", "destination"]);
    assert!(told.decisions().contains(&decided(TCP, "taken")), "{told:?}");
    assert!(told.decisions().contains(&"quic nowhere.invalid failed".to_owned()), "{told:?}");
}

/// Rows: E18.
#[test]
fn an_interface_that_goes_away_comes_back() {
    for (port, verb) in [(UDP, Verb::Push), (TCP, Verb::Pull)] {
        let pair = Pair::new(&long_link());
        pair.tree("source", 32);
        let running = pair.begun(verb, &named(&[port]), ["source", "destination"]);
        let device = pair.lab.link.device();
        pair.lab.near.ip(&["link", "set", &device, "down"]);
        let refused = |counts: &xfer_tests::net::Counts| counts.refused > 20;
        assert!(pair.lab.link.wait_for(xfer_tests::net::Direction::In, refused, SOON));
        pair.lab.near.ip(&["link", "set", &device, "up"]);
        let told = pair.ended(running.wait(), ["source", "destination"]);
        println!("{verb:?} {port:?}: {:?}", told.decisions());
        assert_eq!(told.decisions()[0], decided(port, "taken"));
    }
}

/// Rows: E3, E18.
#[test]
fn a_transfer_whose_link_is_cut_ends_in_time_and_goes_on_later() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 64);
    let stall = ["--stall-timeout", "3s"].map(str::to_owned);
    let flags = [&named(&[TCP, UDP])[..], &stall].concat();
    let once = [&flags[..], &["--retries", "0"].map(str::to_owned)].concat();
    let before = pair.counts(Verb::Push).bytes;
    let running = pair.begun(Verb::Push, &once, ["source", "destination"]);
    pair.wait(Verb::Push, |counts| counts.bytes >= before + (24 << 20));
    let begun = std::time::Instant::now();
    pair.lab.link.cut();
    let ended = running.wait().expect_code(10);
    println!("given up after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(ended.result()["retry"], "same-command");
    // Another address, as after a change of networks.
    let device = pair.lab.link.device();
    pair.lab.near.ip(&["address", "delete", "10.77.0.1/24", "dev", &device]);
    pair.lab.near.add_address([10, 77, 0, 4].into(), &device);
    pair.lab.link.heal();
    // The far side lets go once it has heard nothing for as long.
    std::fs::File::open(pair.path("destination")).and_then(|held| held.lock()).expect("a lock");
    let told = pair.moved(Verb::Push, &flags, ["source", "destination"]);
    assert!(told.number("reused_bytes") > 0);
}
