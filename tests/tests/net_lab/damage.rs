//! What arrives in another order, twice, or changed

use std::io::{Read, Write};
use std::time::Duration;

use xfer_tests::net::{Counts, Direction, Lab, Protocol, Selection, Weather};

use super::{SILENCE, connection, exchange, receive, settle, timed, udp_pair, waiting};

const COUNT: u32 = 1000;

#[test]
fn packets_are_overtaken() {
    let reorder_by = Duration::from_millis(5);
    let lab = Lab::new(&Weather { reorder: 0.1, reorder_by, ..Weather::default() });
    let mut arrived = exchange(&lab, &udp_pair(&lab), COUNT, 32);
    let reordered = lab.link.counts(Direction::Out).reordered;
    assert!((50..=150).contains(&reordered), "{reordered}");
    assert!(!arrived.is_sorted());
    arrived.sort();
    assert!(arrived.into_iter().eq(0..COUNT));
}

#[test]
fn packets_arrive_twice() {
    let duplicate_after = Duration::from_millis(5);
    let lab = Lab::new(&Weather { duplicate: 0.1, duplicate_after, ..Weather::default() });
    let mut arrived = exchange(&lab, &udp_pair(&lab), COUNT, 32);
    let duplicated = lab.link.counts(Direction::Out).duplicated;
    assert!((50..=150).contains(&duplicated), "{duplicated}");
    assert_eq!(arrived.len() as u64, u64::from(COUNT) + duplicated);
    arrived.sort();
    arrived.dedup();
    assert!(arrived.into_iter().eq(0..COUNT));
}

#[test]
fn the_system_drops_what_is_corrupt() {
    let lab = Lab::new(&Weather { corrupt: 0.1, ..Weather::default() });
    let arrived = exchange(&lab, &udp_pair(&lab), COUNT, 32);
    let Counts { corrupted, delivered, .. } = lab.link.counts(Direction::Out);
    assert!((50..=150).contains(&corrupted), "{corrupted}");
    assert_eq!((delivered, arrived.len() as u64), (1000, 1000 - corrupted));
}

#[test]
fn a_program_receives_what_is_forged() {
    let lab = Lab::new(&Weather::default());
    let pair = udp_pair(&lab);
    lab.link.change(Direction::Out, |weather| weather.forge = 1.0);
    // Odd and even lengths, for a checksum goes by words.
    for length in 1..20 {
        pair[0].send(&vec![0; length]).expect("send");
        let mut datagram = [0; 32];
        assert_eq!(receive(&pair[1], &mut datagram).0, length);
        assert_eq!(datagram.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    }
    assert_eq!(lab.link.counts(Direction::Out).forged, 19);
}

#[test]
fn a_stream_is_forged_once_and_goes_on() {
    let lab = Lab::new(&Weather::default());
    let [mut near, mut far] = connection(&lab);
    let mut turned = |forge: f64| {
        lab.link.change(Direction::Out, |weather| weather.forge = forge);
        near.write_all(&[0; 999]).expect("write");
        let mut read = [0; 999];
        far.read_exact(&mut read).expect("read");
        read.iter().map(|byte| byte.count_ones()).sum::<u32>()
    };
    assert_eq!([turned(0.0), turned(1.0), turned(0.0)], [0, 1, 0]);
}

#[test]
fn shares_apply_to_what_is_selected_only() {
    let only = Selection::default().protocol(Protocol::Tcp);
    let lab = Lab::new(&Weather { loss: 1.0, only, ..Weather::default() });
    assert_eq!(exchange(&lab, &udp_pair(&lab), 100, 32).len(), 100);
    assert!(super::dial(&lab, 9, SILENCE).is_err());
    assert!(lab.link.counts(Direction::Out).lost > 0);
}

#[test]
fn packets_gather_between_silences() {
    let gather = Duration::from_millis(200);
    let lab = Lab::new(&Weather { gather, ..Weather::default() });
    let pair = udp_pair(&lab);
    let time = timed(|| {
        // One silence may be nearly over.
        for number in 1..=3 {
            pair[0].send(&[0; 4]).expect("send");
            settle(&lab, Direction::Out, number);
        }
    });
    assert!(time >= gather * 2, "{time:?}");
    assert_eq!(waiting(&pair[1]).len(), 3);
}
