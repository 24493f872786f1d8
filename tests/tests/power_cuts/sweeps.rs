//! Cuts at every stage of a transfer, at moments that the changes of its destination choose

use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use xfer_tests::changes::Changes;
use xfer_tests::oracle;
use xfer_tests::xfer::{Running, long};

use crate::bench::{Bench, RENAMED, Side, content};

/// Cuts of one kind of transfer
fn cuts() -> u64 {
    if long() { 400 } else { 10 }
}

/// Waits for so many changes; how many came
pub(crate) fn wait(changes: &mut Changes, running: &Running, count: u64) -> u64 {
    let pid = Pid::from_raw(running.id().cast_signed()).expect("a process");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("a process that nobody waited for");
    let _is_reached = changes.wait(count, &process);
    changes.seen()
}

fn sweep(bench: fn(Side) -> Bench, side: Side, flags: &[&str]) {
    let whole = bench(side);
    let mut changes = Changes::below(&whole.there());
    let running = whole.start(flags);
    let all = wait(&mut changes, &running, u64::MAX);
    running.wait().expect_code(0);
    for number in 0..cuts() {
        let mut bench = bench(side);
        let old = content(&bench.there());
        let after = 1 + all * number / cuts();
        cut(&mut bench, flags, after);
        let (new, found) = (content(&bench.source()), content(&bench.there()));
        for (path, bytes) in &found {
            let is_known = [new.get(path), old.get(path)].contains(&Some(bytes));
            assert!(is_known, "{path:?} after {after} of {all} changes: {} bytes", bytes.len());
        }
        let is_lost = |path: &&PathBuf| !found.contains_key(*path) && !is_begun(&bench, path);
        let lost: Vec<_> = old.keys().filter(is_lost).collect();
        assert!(lost.is_empty(), "after {after} of {all} changes: {lost:?}");
        bench.assert_receipts_hold();
        bench.start(flags).wait().expect_code(0);
        oracle::assert_equal(&bench.source(), &bench.there());
        oracle::assert_nothing_of_xfer(&bench.there());
    }
}

/// Whether a file is being written over, under a name that says so
fn is_begun(bench: &Bench, path: &Path) -> bool {
    let name = path.file_name().expect("a name").to_string_lossy();
    bench.there().join(path.with_file_name(format!(".xfer-in-place-{name}"))).exists()
}

/// Cuts the power in the midst of a transfer; one that says that it is done must be
fn cut(bench: &mut Bench, flags: &[&str], after: u64) {
    let mut changes = Changes::below(&bench.there());
    let running = bench.start(flags);
    wait(&mut changes, &running, after);
    bench.medium.cut();
    let ended = running.wait();
    bench.power();
    if ended.code() == 0 {
        oracle::assert_equal(&bench.source(), &bench.there());
    }
}

/// Rows: C1.
#[test]
fn here_new_names_are_whole_or_not_there() {
    sweep(Bench::new, Side::Here, &[]);
}

/// Rows: C1.
#[test]
fn over_ssh_new_names_are_whole_or_not_there() {
    sweep(Bench::new, Side::Ssh, &[]);
}

/// Rows: C2.
#[test]
fn here_old_names_hold_the_old_or_the_new() {
    sweep(Bench::with_old, Side::Here, &[]);
}

/// Rows: C2.
#[test]
fn over_ssh_old_names_hold_the_old_or_the_new() {
    sweep(Bench::with_old, Side::Ssh, &[]);
}

/// Rows: C2. What is written over in place has another name meanwhile.
#[test]
fn in_place_no_name_holds_a_mixture() {
    sweep(Bench::with_old, Side::Here, &["--inplace"]);
}

/// Rows: C1. What gets another name has the old one or the new one.
fn renamed(side: Side) {
    let flags = ["--delete", "--max-delete", "1000"];
    let whole = Bench::with_renamed(side);
    let mut changes = Changes::below(&whole.there());
    let running = whole.start(&flags);
    let all = wait(&mut changes, &running, u64::MAX);
    running.wait().expect_code(0);
    assert!(all > 2 * RENAMED.unsigned_abs(), "only {all} changes");
    for number in 0..cuts() {
        let mut bench = Bench::with_renamed(side);
        let after = 1 + all * number / cuts();
        cut(&mut bench, &flags, after);
        let found = content(&bench.there());
        for number in 0..RENAMED {
            let wanted = format!("content {number}");
            let names = ["old", "new"].map(|name| PathBuf::from(format!("{name}/{number}")));
            let held = names.iter().filter_map(|name| found.get(name)).next();
            let is_there = held.is_some_and(|held| *held == wanted.as_bytes());
            assert!(is_there, "{number} after {after} of {all} changes: {held:?}");
        }
        bench.start(&flags).wait().expect_code(0);
        oracle::assert_equal(&bench.source(), &bench.there());
        oracle::assert_nothing_of_xfer(&bench.there());
    }
}

#[test]
fn here_what_is_renamed_has_a_name() {
    renamed(Side::Here);
}

#[test]
fn over_ssh_what_is_renamed_has_a_name() {
    renamed(Side::Ssh);
}
