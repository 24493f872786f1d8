//! Transfers at the same time, and readers of what is replaced

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use xfer_tests::xfer::Running;
use xfer_tests::{oracle, tree};

use crate::kills::{is_agent, session_processes};
use crate::{Pair, arguments, inside, remote};

/// A source directory with a file of `length` bytes
fn source(pair: &Pair, name: &str, length: u64, seed: u64) -> PathBuf {
    let source = pair.path(name);
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), length, seed);
    source
}

/// Starts a push and waits until bytes move
fn started(pair: &Pair, flags: &[&str], source: &Path, destination: &Path) -> Running {
    let locations = [inside(source), remote(destination)];
    let running = pair.xfer.start(arguments("push", flags, &locations));
    let moving = running.next_event(|event| event["payload_bytes"].as_u64() > Some(0));
    moving.expect("bytes move");
    running
}

#[test]
fn a_second_transfer_into_one_entry_is_9_and_the_first_goes_on() {
    let pair = Pair::new();
    let source = source(&pair, "source", 96 << 20, 2);
    let destination = pair.path("destination");
    // So slow that it has not ended before its agent is looked for.
    let first = started(&pair, &["--bwlimit", "32MB/s"], &source, &destination);
    let agents = session_processes(&pair.server, is_agent);
    signal("STOP", &agents);
    let locations = [inside(source.clone()), remote(&destination)];
    let begun = Instant::now();
    let running = pair.xfer.start(arguments("push", &[], &locations));
    let connected = running.next_event(|event| event["type"] == "route").expect("it connects");
    let since_connected = Instant::now();
    let second = running.wait();
    let (whole, elapsed) = (begun.elapsed(), since_connected.elapsed());
    signal("CONT", &agents);
    assert_eq!(second.expect_code(9).result()["reason"], "busy");
    assert!(elapsed < Duration::from_secs(15), "{elapsed:?} of {whole:?} since {connected}");
    first.wait().expect_code(0);
    oracle::assert_equal(&source, &destination);
}

#[test]
fn two_entries_of_one_directory_both_arrive() {
    let pair = Pair::new();
    let sources = [source(&pair, "one", 16 << 20, 3), source(&pair, "two", 16 << 20, 4)];
    let there = pair.path("there");
    fs::create_dir(&there).expect("create");
    let both =
        [0, 1].map(|index| started(&pair, &[], &sources[index], &there.join(index.to_string())));
    for (index, running) in both.into_iter().enumerate() {
        running.wait().expect_code(0);
        oracle::assert_equal(&sources[index], &there.join(index.to_string()));
    }
}

#[test]
fn a_reader_sees_the_old_file_or_the_new_one() {
    let pair = Pair::new();
    let source = source(&pair, "source", 16 << 20, 5);
    let destination = pair.path("destination");
    fs::create_dir(&destination).expect("create");
    let large = destination.join("large");
    tree::big_file(&large, 12 << 20, 6);
    let [old, new] = [&large, &source.join("large")].map(|path| fs::read(path).expect("read"));
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0_usize; 2];
            // Once more after the end, when only the new one may be there.
            loop {
                let last = over.load(Ordering::Acquire);
                let content = fs::read(&large).expect("it is there at any time");
                seen[usize::from(content == new)] += 1;
                assert!(content == new || content == old && !last, "{} bytes", content.len());
                if last {
                    return seen;
                }
            }
        });
        let running = started(&pair, &[], &source, &destination);
        let ended = running.wait();
        over.store(true, Ordering::Release);
        ended.expect_code(0);
        reader.join().expect("the reader")
    });
    assert!(seen[0] > 1 && seen[1] > 0, "{seen:?}");
    oracle::assert_equal(&source, &destination);
}

fn signal(name: &str, processes: &[u32]) {
    let sent =
        Command::new("kill").args(["-s", name]).args(processes.iter().map(u32::to_string)).status();
    assert!(sent.expect("run kill").success());
}
