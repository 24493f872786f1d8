//! Delays, and what is cut

use std::time::Duration;

use xfer_tests::net::{Direction, Host, Lab, Weather};

use super::{SILENCE, SOON, connection, receive, timed, udp_pair, waiting};

/// What a loaded machine may add
const SLACK: Duration = Duration::from_millis(500);

#[test]
fn a_round_trip_takes_both_delays() {
    let lab = Lab::new(&Weather::default().round_trip(Duration::from_millis(60)));
    let pair = udp_pair(&lab);
    let echo = || {
        timed(|| {
            pair[0].send(&[7; 4]).expect("send");
            let (length, from) = receive(&pair[1], &mut [0; 8]);
            pair[1].send_to(&[7; 4], from).expect("send");
            assert_eq!((length, receive(&pair[0], &mut [0; 8]).0), (4, 4));
        })
    };
    let within = |time: Duration, least: u64| {
        let least = Duration::from_millis(least);
        assert!((least..least + SLACK).contains(&time), "{time:?} instead of {least:?}");
    };
    within(echo(), 60);
    lab.link.change(Direction::Out, |weather| weather.delay = Duration::from_millis(150));
    within(echo(), 180);
    lab.link.change_both(|weather| weather.delay = Duration::ZERO);
    assert!(echo() < SLACK);
}

#[test]
fn a_handshake_takes_a_round_trip() {
    let lab = Lab::new(&Weather::default().round_trip(Duration::from_millis(80)));
    let time = timed(|| drop(connection(&lab)));
    assert!(time >= Duration::from_millis(80) && time < SLACK, "{time:?}");
}

#[test]
fn a_cut_link_passes_nothing_until_it_is_healed() {
    let lab = Lab::new(&Weather::default());
    let pair = udp_pair(&lab);
    lab.link.cut();
    pair[0].send(&[0, 0, 0, 1]).expect("send");
    assert!(lab.link.wait_for(Direction::Out, |counts| counts.cut == 1, SOON));
    std::thread::park_timeout(SILENCE);
    assert_eq!(waiting(&pair[1]), [0_u32; 0]);
    lab.link.heal();
    pair[0].send(&[0, 0, 0, 2]).expect("send");
    let mut datagram = [0; 8];
    assert_eq!(receive(&pair[1], &mut datagram).0, 4);
    assert_eq!(datagram[3], 2);
    assert!(lab.link.wait_for(Direction::Out, |counts| counts.delivered == 1, SOON));
}

#[test]
fn a_link_can_be_cut_one_way() {
    let lab = Lab::new(&Weather::default());
    let pair = udp_pair(&lab);
    lab.link.change(Direction::In, |weather| weather.cut = true);
    pair[0].send(&[0, 0, 0, 1]).expect("send");
    let (_, from) = receive(&pair[1], &mut [0; 8]);
    pair[1].send_to(&[0, 0, 0, 2], from).expect("send");
    assert!(lab.link.wait_for(Direction::In, |counts| counts.cut == 1, SOON));
    assert_eq!(waiting(&pair[0]), [0_u32; 0]);
}

#[test]
fn a_host_and_its_devices_are_gone_when_they_are_dropped() {
    let lab = Lab::new(&Weather::default());
    let paths = [&lab.near, &lab.far].map(|host| format!("/run/netns/{}", host.name()));
    assert!(paths.iter().all(|path| std::fs::exists(path).expect("a path")));
    drop(lab);
    assert!(!paths.iter().any(|path| std::fs::exists(path).expect("a path")));
}

#[test]
fn hosts_without_a_link_hear_nothing_of_each_other() {
    let hosts = [Host::new(), Host::new()];
    assert_ne!(hosts[0].name(), hosts[1].name());
    let unreachable = hosts[0].within(|| std::net::TcpStream::connect(("10.77.0.2", 1)));
    assert!(unreachable.is_err());
}
