//! What is dropped for what it is

use std::io::{Read, Write};

use xfer_tests::net::{Direction, Lab, Protocol, Selection, Weather};

use super::{
    SILENCE, SOON, connection, dial, exchange, listen, receive, settle, udp_on, udp_pair, waiting,
};

fn dropping(selection: Selection) -> Lab {
    Lab::new(&Weather { drops: vec![selection], ..Weather::default() })
}

#[test]
fn datagrams_are_dropped_and_streams_are_not() {
    let lab = dropping(Selection::default().protocol(Protocol::Udp));
    assert_eq!(exchange(&lab, &udp_pair(&lab), 10, 32).len(), 0);
    assert_eq!(lab.link.counts(Direction::Out).dropped, 10);
    drop(connection(&lab));
    assert_eq!(lab.link.counts(Direction::Out).dropped, 10);
}

#[test]
fn streams_are_dropped_and_datagrams_are_not() {
    let lab = dropping(Selection::default().protocol(Protocol::Tcp));
    let listener = listen(&lab.far, lab.link.far(), 700);
    assert!(dial(&lab, 700, SILENCE).is_err());
    assert!(lab.link.counts(Direction::Out).dropped > 0);
    assert_eq!(exchange(&lab, &udp_pair(&lab), 10, 32).len(), 10);
    lab.link.change_both(|weather| weather.drops.clear());
    drop(dial(&lab, 700, SOON).expect("connect"));
    drop(listener);
}

#[test]
fn ports_are_dropped_by_number() {
    let lab = dropping(Selection::default().ports(&[701]));
    let _listeners = [701, 702].map(|port| listen(&lab.far, lab.link.far(), port));
    assert!(dial(&lab, 701, SILENCE).is_err());
    drop(dial(&lab, 702, SOON).expect("connect"));
}

#[test]
fn all_ports_but_some_are_dropped() {
    let lab = dropping(Selection::default().all_ports_but(&[22, 443]));
    let _listeners = [22, 443, 8081].map(|port| listen(&lab.far, lab.link.far(), port));
    drop(dial(&lab, 22, SOON).expect("connect"));
    drop(dial(&lab, 443, SOON).expect("connect"));
    assert!(dial(&lab, 8081, SILENCE).is_err());
    assert_eq!(exchange(&lab, &udp_pair(&lab), 10, 32).len(), 0);
}

#[test]
fn an_answer_can_be_dropped_alone() {
    let lab = Lab::new(&Weather::default());
    let [near, far] = udp_pair(&lab);
    let drops = vec![Selection::default().protocol(Protocol::Udp)];
    lab.link.change(Direction::In, |weather| weather.drops = drops);
    near.send(&[0; 4]).expect("send");
    let (_, from) = receive(&far, &mut [0; 8]);
    far.send_to(&[0; 4], from).expect("send");
    settle(&lab, Direction::In, 1);
    assert_eq!(lab.link.counts(Direction::In).dropped, 1);
    assert_eq!(waiting(&near), [0_u32; 0]);
}

#[test]
fn a_black_hole_takes_datagrams_above_its_size() {
    let hole = Selection::default().protocol(Protocol::Udp).above(1300);
    let lab = dropping(hole);
    let pair = udp_pair(&lab);
    // 28 bytes are headers.
    assert_eq!(exchange(&lab, &pair, 10, 1272).len(), 10);
    assert_eq!(exchange(&lab, &pair, 10, 1273).len(), 0);
    assert_eq!(lab.link.counts(Direction::Out).dropped, 10);
}

#[test]
fn a_black_hole_can_open_under_a_stream() {
    let lab = Lab::new(&Weather::default());
    let [mut near, mut far] = connection(&lab);
    let drops = vec![Selection::default().above(1300)];
    lab.link.change_both(|weather| weather.drops.clone_from(&drops));
    near.write_all(&[7; 1000]).expect("write");
    far.read_exact(&mut [0; 1000]).expect("read");
    near.write_all(&[7; 1400]).expect("write");
    assert!(lab.link.wait_for(Direction::Out, |counts| counts.dropped > 0, SOON));
    lab.link.change_both(|weather| weather.drops.clear());
    far.read_exact(&mut [0; 1400]).expect("read");
}

#[test]
fn a_device_that_is_down_refuses_packets() {
    let lab = Lab::new(&Weather::default());
    let far = udp_on(&lab.far, lab.link.far(), 703);
    let near = super::udp(&lab.near, lab.link.near());
    let send = || near.send_to(&[0; 4], (lab.link.far(), 703)).expect("send");
    lab.far.ip(&["link", "set", &lab.link.device(), "down"]);
    send();
    assert!(lab.link.wait_for(Direction::Out, |counts| counts.refused == 1, SOON));
    lab.far.ip(&["link", "set", &lab.link.device(), "up"]);
    send();
    assert_eq!(receive(&far, &mut [0; 8]).0, 4);
}
