//! Rounds of a watch

use std::fs;
use std::io::Write;

use xfer_tests::oracle;

use crate::stand::{Stand, place, round, stop};

/// With a time to settle that no test outlasts, what is renamed into place goes all the same.
#[test]
fn what_is_renamed_into_place_goes_at_once() {
    let stand = Stand::here();
    fs::write(stand.source("old"), b"too new").expect("write");
    let watch = stand.watch("push", &["--settle", "1h"]);
    let first = round(&watch, |_| true);
    assert_eq!((&first["rounds"], &first["waiting"]), (&1.into(), &1.into()), "{first}");
    place(&stand.source("step-1.pt"), b"whole");
    round(&watch, |round| round["moved"] == 1);
    assert_eq!(fs::read(stand.there("step-1.pt")).expect("read"), b"whole");
    // So does a directory with all that lies in it.
    fs::create_dir(stand.source("../aside")).expect("create");
    fs::write(stand.source("../aside/model.bin"), b"model").expect("write");
    fs::rename(stand.source("../aside"), stand.source("step-2")).expect("rename");
    round(&watch, |round| round["moved"] == 2);
    assert_eq!(fs::read(stand.there("step-2/model.bin")).expect("read"), b"model");
    place(&stand.source("step-2/more.bin"), b"more");
    round(&watch, |round| round["moved"] == 1);
    // The same name anew is another file.
    place(&stand.source("step-1.pt"), b"another");
    let last = round(&watch, |round| round["moved"] == 1);
    assert!(last["waiting"] == 1 && last["cadence_s"].is_number(), "{last}");
    assert_eq!(fs::read(stand.there("step-1.pt")).expect("read"), b"another");
    assert!(!stand.there("old").exists());
    stop(watch, "INT", 130);
}

#[test]
fn what_is_written_in_place_goes_once_it_is_closed_and_has_settled() {
    let stand = Stand::over_ssh();
    let watch = stand.watch("push", &["--settle", "1s"]);
    round(&watch, |_| true);
    let mut open = fs::File::create(stand.source("in-place")).expect("create");
    open.write_all(b"half").expect("write");
    place(&stand.source("other"), b"other");
    // A round while it is open, and older than it has to be.
    round(&watch, |round| round["moved"] == 1 && round["waiting"] == 1);
    fs::write(stand.source("third"), b"third").expect("write");
    let third = round(&watch, |round| round["moved"] == 1);
    assert_eq!(third["waiting"], 1, "{third}");
    assert!(!stand.there("in-place").exists());
    open.write_all(b" and half").expect("write");
    drop(open);
    round(&watch, |round| round["moved"] == 1);
    assert_eq!(fs::read(stand.there("in-place")).expect("read"), b"half and half");
    let ended = stop(watch, "TERM", 143);
    let receipts = ended.events().iter().filter(|event| event["type"] == "receipt").count();
    assert!(receipts >= 4, "{receipts} receipts");
}

#[test]
fn what_goes_at_the_source_goes_at_the_destination() {
    let stand = Stand::here();
    for name in ["a", "b", "c"] {
        fs::write(stand.source(name), name).expect("write");
    }
    let watch = stand.watch("sync", &["--delete", "--settle", "0"]);
    round(&watch, |round| round["moved"] == 3);
    fs::remove_file(stand.source("b")).expect("remove");
    round(&watch, |round| round["deleted"] == 1);
    oracle::assert_equal(&stand.source(""), &stand.there(""));
    // An emptied source is refused as ever.
    fs::remove_file(stand.source("a")).expect("remove");
    fs::rename(stand.source("c"), stand.source("../c")).expect("rename");
    let ended = watch.wait().expect_code(17);
    assert_eq!(ended.result()["reason"], "source-empty");
    assert!(stand.there("c").exists());
}

/// Nobody watches a source far away for us: it is looked at.
#[test]
fn a_far_source_is_looked_at() {
    let stand = Stand::over_ssh();
    fs::write(stand.source("a"), b"a").expect("write");
    let watch = stand.watch("pull", &["--settle", "1s"]);
    round(&watch, |_| stand.there("a").exists());
    fs::write(stand.source("b"), b"b").expect("write");
    round(&watch, |round| round["moved"] == 1);
    oracle::assert_equal(&stand.source(""), &stand.there(""));
    stop(watch, "TERM", 143);
}

/// A link that is lost costs a round, and nothing else.
#[test]
fn a_lost_link_is_outlasted() {
    let stand = Stand::over_ssh();
    let server = stand.server.as_ref().expect("a server");
    let watch = stand.watch("push", &["--settle", "0"]);
    round(&watch, |_| true);
    for number in 0..3 {
        server.kill_sessions();
        let name = format!("step-{number}");
        place(&stand.source(&name), name.as_bytes());
        round(&watch, |_| stand.there(&name).exists());
    }
    stop(watch, "TERM", 143);
    oracle::assert_equal(&stand.source(""), &stand.there(""));
}

/// A source that is not there from the beginning is a mistake, and so is a name that nobody knows.
#[test]
fn a_mistake_ends_it() {
    let stand = Stand::here();
    fs::remove_dir(stand.source("")).expect("remove");
    stand.run("push", &["--watch"]).expect_code(4);
}
