//! Logins over links that lose packets, where what the far side sends is bound by each loss

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use xfer_tests::net::{Lab, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Xfer};
use xfer_tests::{oracle, tree};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// What sshd says as it lets somebody in
const LET_IN: &str = "Accepted publickey";

/// Pulls so many bytes by the login alone, and tells how many logins that took
fn pull(weather: &Weather, bytes: u64, flags: &[&str]) -> (Ended, usize) {
    let lab = Lab::new(weather);
    let server = Sshd::start_within(&lab.far, lab.link.far(), "");
    let name = lab.link.far().to_string();
    let xfer = Xfer::new().ssh_config(server.client_config(&name)).within(&lab.near);
    let place = TempDir::new().expect("temp dir");
    let path = |name: &str| place.path().join(name);
    std::fs::create_dir(path("source")).expect("create");
    tree::big_file(&path("source/large"), bytes, 7);
    let inside = |path: &Path| format!("{name}:{}/", path.display());
    let [from, to] = [inside(&path("source")), path("near").display().to_string()];
    let words = [&["pull", "--json", "--route", "ssh"], flags, &[&from, &to]].concat();
    let ended = xfer.run(words).expect_code(0);
    oracle::assert_equal(&path("source"), &path("near"));
    (ended, server.log_count(LET_IN))
}

/// What it was told of steps from some logins to others
fn steps(ended: &Ended) -> Vec<String> {
    let events = ended.events();
    let tuned = events.iter().filter(|event| event["decision"] == "tuned");
    tuned.filter_map(|event| Some(event["reason"].as_str()?.to_owned())).collect()
}

#[test]
fn a_link_that_loses_packets_gets_as_many_logins_as_make_it_faster() {
    let lossy = Weather::default().megabits(200).round_trip(ROUND_TRIP).loss(0.01);
    let (ended, logins) = pull(&lossy, 40 << 20, &[]);
    let steps = steps(&ended);
    assert!(steps.iter().any(|step| step.contains("to 16 logins")), "{logins}: {steps:?}");
    assert!((16..=64).contains(&logins), "{logins}: {steps:?}");
}

/// A full link loses packets too, and their senders wait in its queue
#[test]
fn a_slow_link_gets_no_more_logins_than_a_fast_one() {
    let slow = Weather::default().megabits(16).round_trip(ROUND_TRIP);
    let (ended, logins) = pull(&slow, 24 << 20, &[]);
    assert_eq!((steps(&ended), logins), (Vec::new(), 4));
}

/// No link binds what something else holds back
#[test]
fn a_link_that_loses_nothing_gets_no_more_logins_than_a_fast_one() {
    let clean = Weather::default().megabits(200).round_trip(ROUND_TRIP);
    let (ended, logins) = pull(&clean, 20 << 20, &["--bwlimit", "2MB/s"]);
    assert_eq!((steps(&ended), logins), (Vec::new(), 4));
}
