//! What the model does with links of every kind

use std::time::Duration;

use super::super::rate::Rate;
use super::cubic::Cubic;
use super::link::{Driver, Link, PACKET, Sender, World};

const SECOND: Duration = Duration::from_secs(1);

/// A world with one sender whose start is over
fn settled(link: &Link) -> World {
    let mut world = World::new(link.clone(), vec![Driver::model()]);
    world.run(6 * SECOND);
    world
}

#[test]
fn a_link_is_filled_whatever_it_loses_and_its_queue_stays_short() {
    for megabits in [20, 200] {
        for milliseconds in [10, 50, 100, 250] {
            for loss in [0, 1_000, 10_000, 30_000] {
                let link = Link::of(megabits, milliseconds, loss);
                let mut world = settled(&link);
                let dropped = world.wire.dropped;
                let share = world.shares(8 * SECOND)[0];
                let what = format!("{megabits} Mbit/s, {milliseconds} ms, loss {loss}");
                assert!(share >= 95 - loss / 10_000, "{what}: {share} %");
                // A clump of acknowledgements is a long time on a short path.
                let bound = if milliseconds == 10 { 40 } else { 20 };
                let waiting = 100 * world.mean_waiting() / link.product();
                assert!(waiting <= bound, "{what}: {waiting} % of the product waits");
                assert_eq!(world.wire.dropped, dropped, "{what}: the queue ran over");
            }
        }
    }
}

#[test]
fn the_start_is_over_within_a_dozen_round_trips() {
    for (megabits, milliseconds) in [(200, 100), (200, 250), (1000, 50)] {
        let link = Link::of(megabits, milliseconds, 0);
        let mut world = World::new(link.clone(), vec![Driver::model()]);
        world.run(12 * link.round_trip);
        let over = 100 * world.wire.dropped * PACKET / link.product();
        assert!(
            over < 60,
            "{megabits} Mbit/s, {milliseconds} ms: {over} % of the product ran over"
        );
        let share = world.shares(6 * link.round_trip)[0];
        assert!(share >= 90, "{megabits} Mbit/s, {milliseconds} ms: {share} %");
    }
}

#[test]
fn neither_of_a_model_and_a_cubic_sender_starves() {
    for (milliseconds, loss) in [(10, 0), (50, 0), (100, 0)] {
        let link = Link::of(100, milliseconds, loss);
        for drivers in [
            vec![Driver::model(), Driver::Cubic(Cubic::new())],
            vec![Driver::Cubic(Cubic::new()), Driver::model()],
        ] {
            let mut world = World::new(link.clone(), drivers);
            world.run(5 * SECOND);
            let shares = world.shares(40 * SECOND);
            assert!(shares.iter().all(|share| *share >= 20), "{milliseconds} ms: {shares:?}");
            assert!(shares.iter().sum::<u64>() >= 90, "{milliseconds} ms: {shares:?}");
        }
    }
}

#[test]
fn one_who_comes_late_gets_a_share() {
    let link = Link::of(100, 50, 1_000);
    let mut world = settled(&link);
    world.senders.push(Sender::new(Driver::model(), world.now));
    world.run(15 * SECOND);
    let shares = world.shares(30 * SECOND);
    assert!(shares.iter().all(|share| *share >= 25), "{shares:?}");
    assert!(world.mean_waiting() < link.product(), "{} bytes wait", world.mean_waiting());
}

#[test]
fn a_link_that_grows_or_shrinks_is_followed() {
    let link = Link::of(100, 50, 0);
    let mut world = settled(&link);
    world.wire.link.rate = Rate(link.rate.0 / 4);
    world.run(2 * SECOND);
    let share = world.shares(5 * SECOND)[0];
    assert!(share >= 85, "after it shrank: {share} %");
    let waiting = world.mean_waiting();
    assert!(waiting < link.product() / 4, "after it shrank: {waiting} bytes wait");
    world.wire.link.rate = link.rate;
    world.run(5 * SECOND);
    let share = world.shares(5 * SECOND)[0];
    assert!(share >= 90, "after it grew: {share} %");
}

#[test]
fn a_queue_that_never_runs_over_is_not_kept_full() {
    let mut link = Link::of(100, 50, 0);
    link.queue = 8 * link.product();
    let mut world = settled(&link);
    world.wire.link.rate = Rate(link.rate.0 / 2);
    world.run(8 * SECOND);
    let share = world.shares(10 * SECOND)[0];
    assert!(share >= 90, "{share} %");
    let waiting = world.mean_waiting();
    assert!(waiting < link.product() / 8, "{waiting} bytes wait");
}

#[test]
fn a_path_that_stopped_delivering_is_found_out_anew() {
    let mut world = settled(&Link::of(100, 50, 0));
    let Driver::Model(model) = &mut world.senders[0].driver else { panic!("it is the model") };
    assert!(model.window() > 4 * model.initial_window());
    model.lost(10 * PACKET, true);
    assert_eq!(model.window(), model.initial_window());
    assert_eq!(model.rate(), Rate::default());
}

#[test]
fn a_longer_way_is_measured_anew() {
    let mut world = settled(&Link::of(100, 20, 0));
    world.wire.link.round_trip = Duration::from_millis(80);
    world.run(15 * SECOND);
    let share = world.shares(5 * SECOND)[0];
    assert!(share >= 90, "{share} %");
}

/// On one machine most of a round trip is what threads wait for, which says nothing of the way.
#[test]
fn a_busy_far_side_nearby_is_no_longer_way() {
    let mut link = Link::of(1000, 0, 0);
    link.round_trip = Duration::from_micros(100);
    link.queue = 4 << 20;
    let mut world = settled(&link);
    for _ in 0..10 {
        world.run(SECOND / 20);
        world.wire.link.round_trip = Duration::from_millis(6);
        let share = world.shares(SECOND / 2)[0];
        assert!(share >= 80, "{share} %");
        world.wire.link.round_trip = link.round_trip;
    }
}

#[test]
fn a_sender_that_waited_for_its_application_is_at_once_as_fast_again() {
    let link = Link::of(100, 50, 0);
    let mut world = settled(&link);
    let sender = &mut world.senders[0];
    sender.limit(Some(link.rate.percent(5)), world.now);
    world.run(20 * SECOND);
    world.senders[0].limit(None, world.now);
    world.run(2 * link.round_trip);
    let share = world.shares(SECOND)[0];
    assert!(share >= 90, "{share} %");
}

/// A packet now and then leaves the path idle in between, which says nothing of its rate.
#[test]
fn a_sender_that_hardly_sent_is_at_once_as_fast_again() {
    for milliseconds in [20, 50] {
        for trickle in [5_000, 10_000, 20_000, 50_000, 200_000] {
            let link = Link::of(100, milliseconds, 0);
            let mut world = settled(&link);
            world.senders[0].limit(Some(Rate(trickle)), world.now);
            world.run(3 * SECOND);
            world.senders[0].limit(None, world.now);
            world.run(2 * link.round_trip);
            let share = world.shares(SECOND / 2)[0];
            assert!(share >= 90, "{milliseconds} ms, {trickle} bytes/s: {share} %");
        }
    }
}

#[test]
fn a_queue_too_short_for_a_probe_costs_little() {
    let mut link = Link::of(100, 50, 0);
    link.queue = link.product() / 20;
    let mut world = settled(&link);
    let lost = world.senders[0].lost;
    let share = world.shares(10 * SECOND)[0];
    let lost = world.senders[0].lost - lost;
    assert!(share >= 85, "{share} %");
    assert!(lost < link.rate.within(10 * SECOND) / 15, "{lost} bytes lost");
}

#[test]
fn a_far_side_that_loses_a_fifth_is_sent_less() {
    let link = Link::of(100, 50, 200_000);
    let mut world = settled(&link);
    world.shares(10 * SECOND);
    let Driver::Model(model) = &world.senders[0].driver else { panic!("it is the model") };
    assert!(model.rate() < link.rate.percent(60), "{:?} of {:?}", model.rate(), link.rate);
}

#[test]
fn a_cut_is_survived() {
    let link = Link::of(100, 50, 1_000);
    let mut world = settled(&link);
    world.wire.link.loss = 1_000_000;
    world.run(3 * SECOND);
    world.wire.link.loss = 1_000;
    world.run(3 * SECOND);
    let share = world.shares(3 * SECOND)[0];
    assert!(share >= 90, "{share} %");
}

#[test]
fn a_network_shorter_than_a_clump_is_filled() {
    let mut link = Link::of(1000, 1, 0);
    link.round_trip = Duration::from_micros(300);
    link.clump = Duration::from_millis(2);
    let mut world = settled(&link);
    let share = world.shares(SECOND)[0];
    assert!(share >= 80, "{share} %");
}
