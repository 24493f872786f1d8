//! What does not arrive

use xfer_tests::net::{Direction, Lab, Weather};

use super::{exchange, udp_pair};

const COUNT: u32 = 4000;

#[test]
fn packets_are_lost_as_often_as_asked() {
    let lab = Lab::new(&Weather::default().loss(0.1));
    let arrived = exchange(&lab, &udp_pair(&lab), COUNT, 32);
    let counts = lab.link.counts(Direction::Out);
    assert_eq!(arrived.len() as u64 + counts.lost, u64::from(COUNT));
    // Five standard deviations.
    assert!((305..=495).contains(&counts.lost), "{counts:?}");
    assert!(arrived.is_sorted());
}

#[test]
fn one_seed_loses_the_same_packets() {
    let arrived = || {
        let lab = Lab::new(&Weather::default().loss(0.1));
        exchange(&lab, &udp_pair(&lab), 500, 32)
    };
    assert_eq!(arrived(), arrived());
}

#[test]
fn losses_come_in_bursts() {
    let lab = Lab::new(&Weather { loss: 0.1, burst: 10.0, ..Weather::default() });
    let arrived = exchange(&lab, &udp_pair(&lab), COUNT, 32);
    let lost = u64::from(COUNT) - arrived.len() as u64;
    assert_eq!(lab.link.counts(Direction::Out).lost, lost);
    assert!((150..=700).contains(&lost), "{lost}");
    let bursts = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as u64;
    assert!(lost / bursts >= 5, "{lost} in {bursts} bursts");
}
