//! The program in one host, sshd in another

use std::time::Duration;

use tempfile::TempDir;
use xfer_tests::net::{Direction, Lab, Weather};
use xfer_tests::random::Random;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::Xfer;

const SIZE: u64 = 5 << 20;

#[test]
fn a_file_crosses_the_link() {
    let round_trip = Duration::from_millis(40);
    let lab = Lab::new(&Weather::default().megabits(1000).round_trip(round_trip));
    let server = Sshd::start_within(&lab.far, lab.link.far(), "");
    let name = lab.link.far().to_string();
    let xfer = Xfer::new().ssh_config(server.client_config(&name)).within(&lab.near);
    let place = TempDir::new().expect("temp dir");
    let [source, destination] = ["f", "g"].map(|name| place.path().join(name));
    let content = Random::new(40).bytes(usize::try_from(SIZE).expect("a small file"));
    std::fs::write(&source, &content).expect("write");

    let before = lab.link.counts(Direction::Out);
    let remote = format!("{name}:{}", destination.display());
    let arguments = ["push".as_ref(), "--json".as_ref(), source.as_os_str(), remote.as_ref()];
    xfer.run(arguments).expect_code(0);
    assert!(std::fs::read(&destination).expect("read") == content);
    let crossed = lab.link.counts(Direction::Out).bytes - before.bytes;
    assert!(crossed > SIZE, "{crossed} bytes crossed the link");
}

#[test]
fn a_server_in_a_host_is_reached_over_the_link_alone() {
    let lab = Lab::new(&Weather::default());
    let server = Sshd::start_within(&lab.far, lab.link.far(), "");
    let xfer = Xfer::new().ssh_config(server.client_config("host"));
    let place = TempDir::new().expect("temp dir");
    let arguments = ["pull", "host:/etc/hostname", place.path().to_str().expect("UTF-8")];
    assert_ne!(xfer.run(arguments).code(), 0);
    assert_eq!(xfer.within(&lab.near).run(arguments).expect_code(0).code(), 0);
}
