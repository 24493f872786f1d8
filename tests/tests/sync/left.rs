//! What `--update`, `--ignore-existing` and `--size-only` say of what they did not look at

use std::fs;

use serde_json::Value;

use crate::stand::{self, Side, Stand, Trees};

/// What a receipt says, by the paths of its lines
fn receipt(stand: &Stand, trees: &Trees, flags: &[&str]) -> (Value, Vec<Value>, Value) {
    let file = trees.there.with_extension("receipt");
    let flags = [flags, &["--json", "--receipt", file.to_str().expect("UTF-8")]].concat();
    let result = stand.sync(trees, &flags).expect_code(0).result();
    let text = fs::read_to_string(file).expect("a receipt");
    let mut lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let head = lines.next().expect("a head");
    (head, lines.filter(|line: &Value| !line["path"].is_null()).collect(), result)
}

fn paths(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["path"].as_str().expect("a path")).collect()
}

/// What was left alone is skipped, and no receipt names it.
#[test]
fn no_receipt_names_what_was_left_alone() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        for (flag, second) in [("--update", "9"), ("--ignore-existing", "1")] {
            let there = format!("a@{second}=old");
            let trees = stand.trees(&["a@5=newer", "b@5=1"], &[&there]);
            let (head, lines, result) = receipt(&stand, &trees, &[flag]);
            assert_eq!(paths(&lines), ["", "b"], "{flag}");
            assert_eq!(head["proof_level"], "durable", "{flag}");
            assert_eq!(result["entries"]["skipped"], 1, "{flag}");
            assert_eq!(result["bytes"]["skipped"], 5, "{flag}");
            assert_eq!(result["bytes"]["moved"], 1, "{flag}");
            // What this moved is known, though it exists now.
            let (_, lines, result) = receipt(&stand, &trees, &[flag]);
            assert_eq!(paths(&lines), ["", "b"], "{flag}");
            assert_eq!(
                (&result["entries"]["skipped"], &result["bytes"]["moved"]),
                (&Value::from(1), &Value::from(0))
            );
        }
    }
}

/// A size that was believed proves nothing, and the time is set all the same.
#[test]
fn what_is_taken_for_equal_by_its_size_is_assumed() {
    let stand = Stand::new(Side::Here);
    let lines = (&["a@5=new", "b@5=1"][..], &["a@9=old"][..]);
    let trees = stand.trees(lines.0, lines.1);
    let (head, lines_told, _) = receipt(&stand, &trees, &["--size-only"]);
    assert_eq!(head["proof_level"], "assumed");
    let a = lines_told.iter().find(|line| line["path"] == "a").expect("a line");
    assert!(a["blake3"].is_null(), "{a}");
    assert_eq!(fs::read(trees.there.join("a")).expect("read"), b"old");
    let twin = stand.trees(lines.0, lines.1);
    stand::rsync(&["-aH", "--size-only"], &twin.source, &twin.there);
    let changes = stand::rsync(&["-nrlptHc", "--itemize-changes"], &twin.there, &trees.there);
    assert!(changes.iter().all(|line| line.ends_with("./")), "{changes:?}");
}
