//! What is broken off leaves nothing half, and is done by the next run

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use xfer_tests::relay::{Direction, Relay};
use xfer_tests::stores::{Access, Moto, judges};
use xfer_tests::tree;

use crate::{BIG, Bench, seen_of};

const SOON: Duration = Duration::from_secs(120);

/// Waits until a process has ended, whether or not anybody has asked how
fn gone(process: &str) {
    let ends_by = Instant::now() + SOON;
    let status = || fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    while status().lines().any(|line| line.starts_with("State:") && !line.contains('Z')) {
        assert!(Instant::now() < ends_by, "process {process} still runs");
        std::thread::yield_now();
    }
}

/// Killed in the middle of a file: no file, no rclone that runs on, and the next run brings it all
#[test]
fn a_push_that_is_killed_leaves_no_rclone_and_is_repeated() {
    let store = Moto::start();
    let relay = Relay::to(store.access().port());
    let bench = Bench::new().reaching(&store.access().by_way_of(relay.port()));
    let source = bench.path("tree");
    tree::small_files(&source, 20, 3);
    tree::big_file(&source.join("big"), BIG, 4);
    relay.begin(Some(20 << 20));
    let running = bench.start("push", &source.to_string_lossy(), "rclone:bucket:bucket/", &[]);
    assert!(relay.wait_for(Direction::Out, 10 << 20, SOON), "nothing is sent");
    let beside: Vec<_> =
        seen_of(running.id()).into_iter().filter(|(line, _)| line.contains(" rcd ")).collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    running.signal("KILL");
    assert_eq!(running.wait().code(), 137);
    gone(&beside[0].1);
    relay.release();
    assert!(relay.wait_idle(SOON), "a connection is left");
    assert!(!there(store.access()).contains("tree/big\n"), "a file too early");
    relay.begin(None);
    bench.push(&source, "rclone:bucket:bucket/").expect_code(0);
    judges::check(store.access(), &source, "tree");
    assert!(!there(store.access()).contains(".xfer-partial-"), "a partial is left");
}

/// An rclone that dies on the way is started again, and what it had not finished is sent again
#[test]
fn an_rclone_that_is_killed_is_started_again() {
    let store = Moto::start();
    let relay = Relay::to(store.access().port());
    let bench = Bench::new().reaching(&store.access().by_way_of(relay.port()));
    let big = bench.file("tree/big", BIG, 4);
    let source = bench.path("tree");
    relay.begin(Some(20 << 20));
    let from = source.to_string_lossy();
    let running = bench.start("push", &from, "rclone:bucket:bucket/", &["--retries", "5"]);
    assert!(relay.wait_for(Direction::Out, 10 << 20, SOON), "nothing is sent");
    let beside = seen_of(running.id()).into_iter().find(|(line, _)| line.contains(" rcd "));
    let (_, process) = beside.expect("no rclone");
    let killed = Command::new("kill").args(["-s", "KILL", &process]).status();
    assert!(killed.is_ok_and(|status| status.success()), "no process {process}");
    relay.release();
    relay.begin(None);
    running.wait().expect_code(0);
    assert!(big.exists());
    judges::check(store.access(), &source, "tree");
}

/// A remote that nobody answers for is a network that failed
#[test]
fn a_remote_that_does_not_answer_is_told() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr();
    let store = Moto::start();
    let access = store.access().by_way_of(port.expect("an address").port());
    let bench = Bench::new().reaching(&access);
    let small = bench.file("small", 100, 4);
    let ended = bench.push(&small, "rclone:bucket:bucket/").expect_code(10);
    assert_eq!(ended.result()["reason"], "store-unreachable", "{}", ended.stdout);
}

/// The names of all that a store has, one a line
fn there(access: &Access) -> String {
    let place = format!(":s3:{}", access.bucket);
    judges::said(&mut judges::rclone(access), ["lsf", "-R", &place])
}
