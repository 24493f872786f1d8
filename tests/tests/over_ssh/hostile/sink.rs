//! A sink that lies to `push`

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use xfer_tests::{oracle, tree};

use super::{Lab, Row, counts, hex, row, to_either};
use crate::{inside, number, remote};

const SMALL: usize = 3;
const MANY: usize = 257;
const LARGE: u64 = (5 << 20) + 1;

fn lab() -> Lab {
    let lab = Lab::new();
    let source = lab.pair.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), LARGE, 3);
    tree::small_files(&source.join("small"), SMALL, 4);
    symlink("large", source.join("link")).expect("link");
    lab
}

/// Payload and memory where nothing is a lie, the stub being there already
fn honest(lab: &Lab) -> (u64, u64) {
    lab.push("honest", &[]).0.expect_code(0);
    let (ended, memory) = lab.push("honest", &[]);
    (number(&ended.expect_code(0).result(), "payload_bytes"), memory)
}

fn rows() -> Vec<Row> {
    let mut rows = to_either();
    // Outcomes that are missing, of nobody, or of what is not there (H3, H11).
    let outcomes = ["no-outcomes", "other-tickets", "few-outcomes", "not-made", "not-set"];
    rows.extend(outcomes.map(|script| row(script, &[12])));
    rows.push(row("other-sizes", &[7]));
    // Other lists than were asked for, and one that does not begin at its beginning.
    rows.extend(["few-lists", "late-list"].map(|script| row(script, &[12])));
    // Ranges that cannot be, and more than a partial may hold (H10).
    let ranges = ["held-overlap", "held-reversed", "more-digests"];
    rows.extend(ranges.map(|script| row(script, &[12])));
    rows.extend(counts(14).map(|count| row(format!("held-count {}", hex(&count)), &[12])));
    let kinds = [
        "Locate",
        "Begin",
        "Create",
        "OpenPartial",
        "WriteBlock",
        "Commit",
        "WritePack",
        "Publish",
        "SetMetadata",
        "Finish",
    ];
    rows.extend(kinds.map(|kind| row(format!("wrong-kind {kind}"), &[12])));
    rows
}

#[test]
fn nothing_changes_here_and_little_memory_goes() {
    let lab = lab();
    let source = oracle::survey(&lab.pair.path("source"));
    let (_, baseline) = honest(&lab);
    for row in rows() {
        let ran = lab.push(&row.script, &[]);
        lab.judge(&row, &ran, baseline);
        let changes = oracle::differences(&source, &oracle::survey(&lab.pair.path("source")));
        assert!(changes.is_empty(), "{}: {changes:?}", row.script);
    }
}

/// More sources than are begun by one request
#[test]
fn what_is_asked_one_by_one_is_answered_in_kind() {
    let lab = Lab::new();
    let source = lab.pair.path("source");
    fs::create_dir(&source).expect("create");
    let files = (0..MANY).map(|n| source.join(n.to_string()));
    let mut at: Vec<_> = files.clone().map(OsString::from).collect();
    files.for_each(|file| tree::write(&file, b"small"));
    at.push(inside(remote(Path::new("/anything"))));
    let push = |script: &str| lab.run("push", script, &[], &at);
    let (ended, baseline) = push("honest");
    ended.expect_code(0);
    for kind in ["OpenRoot", "Lock", "Scan", "ScanNext"] {
        let row = row(format!("wrong-kind {kind}"), &[12]);
        lab.judge(&row, &push(&row.script), baseline);
    }
}

/// H10: what a sink claims to hold is asked for by digest, and sent where that is another
#[test]
fn what_it_claims_to_hold_is_not_believed() {
    let lab = lab();
    let (all, baseline) = honest(&lab);
    for script in ["held-all", "held-beyond", "held-tiny"] {
        let row = row(script, &[0]);
        let ran = lab.push(script, &[]);
        lab.judge(&row, &ran, baseline);
        assert_eq!(number(&ran.0.result(), "payload_bytes"), all, "{script}");
    }
}

/// H3: what it says to have verified is compared with what was sent
#[test]
fn a_false_read_back_is_7() {
    let lab = lab();
    let (_, baseline) = honest(&lab);
    let ran = lab.push("honest", &["--verify", "read-back"]);
    lab.judge(&row("honest", &[7]), &ran, baseline);
}
