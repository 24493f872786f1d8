//! Rates, queues and sizes

use std::io::{Read, Write};
use std::time::Duration;

use xfer_tests::net::{Direction, Lab, Weather};

use super::{SOON, connection, exchange, settle, timed, udp_pair, waiting};

/// The header of IP and that of UDP
const HEADERS: u64 = 28;

#[test]
fn bytes_take_the_time_of_the_rate() {
    // Forty datagrams of 972 bytes are 40 kB, which take 400 ms at 100 kB/s.
    let lab = Lab::new(&Weather { rate: 100_000, ..Weather::default() });
    let pair = udp_pair(&lab);
    let time = timed(|| assert_eq!(exchange(&lab, &pair, 40, 972).len(), 40));
    assert!(time >= Duration::from_millis(390), "{time:?}");
    assert_eq!(lab.link.counts(Direction::Out).bytes, 40 * (972 + HEADERS));
}

#[test]
fn what_waits_goes_on_at_the_new_rate() {
    // At 1 kB/s they would take 20 s.
    let lab = Lab::new(&Weather { rate: 1000, ..Weather::default() });
    let pair = udp_pair(&lab);
    for _ in 0..20 {
        pair[0].send(&[0; 972]).expect("send");
    }
    assert!(lab.link.wait_for(Direction::Out, |counts| counts.packets == 20, SOON));
    lab.link.change_both(|weather| weather.rate = 1_000_000);
    let arrived = |time| lab.link.wait_for(Direction::Out, |counts| counts.delivered == 20, time);
    assert!(arrived(Duration::from_secs(5)), "{:?}", lab.link.counts(Direction::Out));
}

#[test]
fn a_full_queue_drops_its_tail() {
    let weather = Weather { rate: 100_000, queue: Some(10_000), ..Weather::default() };
    let lab = Lab::new(&weather);
    let pair = udp_pair(&lab);
    for number in 0..50_u32 {
        let mut datagram = [0; 972];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        pair[0].send(&datagram).expect("send");
    }
    settle(&lab, Direction::Out, 50);
    let arrived = waiting(&pair[1]);
    let overflowed = lab.link.counts(Direction::Out).overflowed;
    assert_eq!(arrived.len() as u64 + overflowed, 50);
    assert!((25..=40).contains(&overflowed), "{overflowed}");
    assert_eq!(arrived[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_stream_arrives_whole() {
    let lab = Lab::new(&Weather::default().megabits(200).loss(0.005));
    let sent = xfer_tests::random::Random::new(5).bytes(4 << 20);
    let [mut near, mut far] = connection(&lab);
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope
            .spawn(|| near.write_all(&sent).and_then(|()| near.shutdown(std::net::Shutdown::Both)));
        far.read_to_end(&mut received).expect("read");
    });
    assert!(received == sent, "{} bytes", received.len());
    assert!(lab.link.counts(Direction::Out).lost > 0);
}

/// What the laboratory itself carries: `--ignored --nocapture ceiling`
#[test]
#[ignore = "a measurement"]
fn ceiling() {
    for (megabits, milliseconds) in [(1000, 0), (1000, 10), (0, 0)] {
        let weather = Weather::default().megabits(megabits);
        let lab = Lab::new(&weather.round_trip(Duration::from_millis(milliseconds)));
        let [mut near, mut far] = connection(&lab);
        let bytes = 1_u64 << 30;
        let time = timed(|| {
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let piece = vec![0; 1 << 20];
                    (0..bytes >> 20).try_for_each(|_| near.write_all(&piece)).expect("write");
                });
                let mut buffer = vec![0; 1 << 20];
                while far.read(&mut buffer).expect("read") > 0 {}
            });
        });
        let rate = bytes as f64 / time.as_secs_f64() / 1e6;
        println!("{megabits} Mbit/s, {milliseconds} ms: {rate:.1} MB/s");
        println!("  {:?}", lab.link.counts(Direction::Out));
    }
}
