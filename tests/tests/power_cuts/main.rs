//! The power of a disk is cut: what was proven outlasts it, and what was not is old or new and
//! never anything else. Needs root: such a disk is a file system in a file.

mod bench;
mod journals;
mod sweeps;

use xfer_tests::oracle;

use bench::{Bench, Side};

/// Cuts the power as soon as a receipt is told
fn cut_behind_the_receipt(side: Side, flags: &[&str]) -> Vec<String> {
    let mut bench = Bench::new(side);
    let running = bench.start(flags);
    let receipt = running.next_event(|event| event["type"] == "receipt");
    assert!(receipt.is_some(), "{}", running.wait().stderr);
    bench.medium.cut();
    drop(running.wait());
    bench.power();
    oracle::rsync_changes(&bench.source(), &bench.there())
}

/// Rows: C3.
#[test]
fn here_what_a_receipt_proves_is_there() {
    assert_eq!(cut_behind_the_receipt(Side::Here, &[]), [""; 0]);
}

/// Rows: C3.
#[test]
fn over_ssh_what_a_receipt_proves_is_there() {
    assert_eq!(cut_behind_the_receipt(Side::Ssh, &[]), [""; 0]);
    assert_eq!(cut_behind_the_receipt(Side::Ssh, &["--verify", "read-back"]), [""; 0]);
}

/// What says that these tests can fail: where nobody asks for a proof, all of it is lost.
#[test]
fn what_nobody_proves_is_lost() {
    assert!(cut_behind_the_receipt(Side::Here, &["--verify", "received"]).len() > 20);
}
