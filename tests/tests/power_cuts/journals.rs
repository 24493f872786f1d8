//! Cuts of the disk that holds what the program remembers

use std::fs;

use xfer_tests::changes::Changes;
use xfer_tests::oracle;
use xfer_tests::xfer::long;

use crate::bench::Bench;
use crate::sweeps::wait;

/// Cuts of one kind
fn cuts() -> u64 {
    if long() { 300 } else { 12 }
}

/// Rows: C5.
///
/// What is remembered is opened or done without, so the next run ends well, and never says that
/// something is there that is not.
#[test]
fn what_is_remembered_is_whole_or_made_anew() {
    let bench = Bench::of_state();
    let mut changes = Changes::below(&bench.medium.place());
    let running = bench.start(&[]);
    let all = wait(&mut changes, &running, u64::MAX);
    running.wait().expect_code(0);
    assert!(all > 5, "only {all} changes");
    for number in 0..cuts() {
        let mut bench = Bench::of_state();
        let mut changes = Changes::below(&bench.medium.place());
        let running = bench.start(&[]);
        wait(&mut changes, &running, 1 + all * number / cuts());
        bench.medium.cut();
        let ended = running.wait();
        bench.power();
        let receipts = fs::read_dir(bench.state().join("receipts"));
        let count = receipts.into_iter().flatten().count();
        assert!(ended.code() != 0 || count > 0, "done, and no receipt: {}", ended.stderr);
        // Something that is lost is seen, whatever is remembered of it.
        let _was_there = fs::remove_file(bench.there().join("d0/counter"));
        bench.start(&[]).wait().expect_code(0);
        oracle::assert_equal(&bench.source(), &bench.there());
        oracle::assert_nothing_of_xfer(&bench.there());
    }
}
