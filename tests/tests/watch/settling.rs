//! Files that are left for later, and those that go first

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use xfer_tests::oracle;
use xfer_tests::tree;

use crate::stand::Stand;

fn deferred(result: &Value) -> (u64, u64) {
    let count = |of: &Value| of["deferred"].as_u64().expect("a number");
    (count(&result["entries"]), count(&result["bytes"]))
}

/// What a receipt has lines of
fn lines_of(result: &Value) -> String {
    let path = result["receipt"].as_str().expect("a receipt");
    let text = fs::read_to_string(Path::new(path)).expect("read");
    // The head names both ends.
    text.lines().skip(1).collect::<Vec<_>>().join("\n")
}

fn stands() -> [Stand; 2] {
    [Stand::here(), Stand::over_ssh()]
}

#[test]
fn what_changed_lately_is_left_for_later_and_stays_where_it_stands() {
    for (stand, verb) in stands().iter().zip(["sync", "pull"]) {
        fs::write(stand.source("new"), b"half of i").expect("write");
        fs::create_dir(stand.source("d")).expect("create");
        fs::write(stand.source("d/x"), b"1234").expect("write");
        fs::write(stand.there("new"), b"as it was").expect("write");
        fs::create_dir(stand.there("d")).expect("create");
        // A directory stands where a file is to be.
        fs::create_dir(stand.there("d/x")).expect("create");
        fs::write(stand.there("d/x/kept"), b"kept").expect("write");
        fs::write(stand.there("old"), b"old").expect("write");
        let flags = ["--settle", "1h", "--delete", "--json"];
        let ended = stand.run(verb, &flags).expect_code(0);
        let result = ended.result();
        assert_eq!(deferred(&result), (2, 13), "{verb}: {}", ended.stderr);
        assert_eq!(result["deleted"], 1);
        let actions: Vec<_> =
            ended.events().iter().filter(|e| e["action"] == "deferred").cloned().collect();
        assert_eq!(actions.len(), 2, "{actions:?}");
        let lines = lines_of(&result);
        assert!(!lines.contains("new") && !lines.contains("d/x"), "{lines}");
        assert_eq!(fs::read(stand.there("new")).expect("read"), b"as it was");
        assert!(stand.there("d/x/kept").exists() && !stand.there("old").exists());
        fs::remove_dir_all(stand.there("d/x")).expect("remove");
        let result = stand.run(verb, &["--settle=0", "--json"]).expect_code(0).result();
        assert_eq!(deferred(&result), (0, 0));
        assert!(lines_of(&result).contains("d/x"));
        oracle::assert_equal(&stand.source(""), &stand.there(""));
    }
}

/// A file that has settled goes, unless somebody has it open.
#[test]
fn what_is_open_for_writing_waits_however_old_it_is() {
    for (stand, verb) in stands().iter().zip(["push", "pull"]) {
        fs::write(stand.source("done"), b"done").expect("write");
        let mut open = fs::File::create(stand.source("open")).expect("create");
        open.write_all(b"half").expect("write");
        // Whoever reads keeps nothing.
        let _reader = fs::File::open(stand.source("done")).expect("open");
        let settle = ["--settle", "1s", "--json"];
        let all_but = |left: (u64, u64)| loop {
            let result = stand.run(verb, &settle).expect_code(0).result();
            if deferred(&result) == left {
                break;
            }
        };
        all_but((1, 4));
        // By now it is as old as the other one, which has gone.
        all_but((1, 4));
        assert!(stand.there("done").exists() && !stand.there("open").exists(), "{verb}");
        drop(open);
        all_but((0, 0));
        oracle::assert_equal(&stand.source(""), &stand.there(""));
    }
}

/// Of several sources too, what goes first is there before anything else is.
#[test]
fn what_goes_first_is_there_before_all_other() {
    let stand = Stand::here();
    for top in ["a", "b"] {
        fs::create_dir_all(stand.source(top).join("run/deep")).expect("create");
        for number in 0..4 {
            let large = stand.source(top).join(format!("run/large-{number}"));
            tree::big_file(&large, 5 << 20, number);
            fs::write(stand.source(top).join(format!("run/{number}.log")), b"log").expect("write");
        }
        tree::big_file(&stand.source(top).join("run/deep/best.pt"), 6 << 20, 9);
        fs::write(stand.source(top).join("run/deep/best.json"), b"{}").expect("write");
    }
    let words: Vec<_> =
        ["push", "--json", "--first", "best.*", "--first=run/3.l*", "--order=newest"]
            .iter()
            .map(std::ffi::OsString::from)
            .chain([stand.source("a"), stand.source("b"), stand.there("")].map(Into::into))
            .collect();
    let ended = stand.xfer.run(&words).expect_code(0);
    let is_file = |event: &&Value| event["action"] == "moved" && event["size"] != 0;
    let events = ended.events();
    let moved: Vec<_> = events.iter().filter(is_file).filter_map(|e| e["path"].as_str()).collect();
    assert_eq!(moved.len(), 20, "{moved:?}");
    let is_first = |path: &&str| path.contains("best") || path.ends_with("3.log");
    assert!(moved[..6].iter().all(is_first), "{moved:?}");
    for top in ["a", "b"] {
        oracle::assert_equal(&stand.source(top), &stand.there(top));
    }
    // The receipt is in the order of paths all the same.
    let receipt = lines_of(&ended.result());
    let at = |name: &str| receipt.find(name).unwrap_or_else(|| panic!("{name}: {receipt}"));
    assert!(
        at("a/run/0.log") < at("a/run/deep/best.pt") && at("a/run/large-3") < at("b/run/0.log")
    );
}

#[test]
fn every_order_moves_everything() {
    for order in ["newest", "smallest", "name"] {
        let stand = Stand::over_ssh();
        tree::small_files(&stand.source("many"), 700, 3);
        tree::big_file(&stand.source("large"), 6 << 20, 1);
        fs::hard_link(stand.source("large"), stand.source("many/large")).expect("link");
        stand.run("push", &["--order", order]).expect_code(0);
        oracle::assert_equal(&stand.source(""), &stand.there(""));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let stand = Stand::here();
    for flags in [
        &["--settle", "soon"][..],
        &["--settle", "-1s"],
        &["--order", "oldest"],
        &["--first", "[a"],
        &["--first", ""],
        &["--watch", "--dry-run"],
        &["--print-onstart", "--dry-run"],
    ] {
        let ended = stand.run("push", flags).expect_code(2);
        assert!(!ended.stderr.is_empty(), "{flags:?}");
    }
    for source in ["s3://bucket/x", "https://127.0.0.1:1/x", "rclone:remote:x"] {
        for flag in ["--watch", "--print-onstart"] {
            let ended = stand.xfer.run(["push", flag, source, "there"]).expect_code(2);
            assert!(ended.stderr.contains("not-watched"), "{source}: {}", ended.stderr);
        }
    }
    let ended = stand.xfer.run(["evacuate", "--watch", "vast:1", "there"]).expect_code(2);
    assert!(ended.stderr.contains("--watch"), "{}", ended.stderr);
}
