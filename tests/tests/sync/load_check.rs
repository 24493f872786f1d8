//! A command of the user's says whether copies load: one that does not is there, has failed, and no
//! receipt covers it

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::stand::{Side, Stand, Trees};

/// Takes what is as long as it should be and not empty of sense
const TAKES: &str = r#"test "$(wc -c)" = "$XFER_SIZE" && case $XFER_PATH in *broken) exit 3; esac"#;

/// Result, problems by path and reason, and the paths that the receipt covers
type Told = (Value, BTreeSet<String>, BTreeSet<String>);

fn told(stand: &Stand, trees: &Trees, flags: &[&str], code: i32) -> Told {
    let file = trees.there.with_extension("receipt");
    let _old = fs::remove_file(&file);
    let own = ["--json", "--receipt", file.to_str().expect("UTF-8")];
    let ended = stand.sync(trees, &[&own[..], flags].concat()).expect_code(code);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let problems = ended.events().into_iter().filter(|event| event["type"] == "problem");
    let problems = problems.map(|event| text(&event["path"]) + " " + &text(&event["reason"]));
    let problems = problems.collect();
    let receipt = fs::read_to_string(&file).expect("a receipt");
    let lines = receipt.lines().skip(1).map(|line| serde_json::from_str(line).expect("JSON"));
    let files = lines.filter(|line: &Value| line["kind"] == "file");
    (ended.result(), problems, files.map(|line| text(&line["path"])).collect())
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn what_does_not_load_has_failed(side: Side) {
    let stand = Stand::new(side);
    let large = "large=".to_owned() + &"0123456789abcdef".repeat(1 << 19);
    let trees = stand.trees(&["one=1", "d/broken=2", &large, "empty="], &["there=3"]);
    let flags = ["--load-check", TAKES];
    let (result, problems, covered) = told(&stand, &trees, &flags, 7);
    assert_eq!(problems, set(&["d/broken not-loaded"]));
    assert_eq!(covered, set(&["one", "large", "empty"]));
    assert_eq!(result["entries"]["failed"], 1);
    assert_eq!(fs::read_to_string(trees.there.join("d/broken")).expect("there"), "2");
    // What stood there before was asked about by nobody, and is asked about now.
    let (result, problems, covered) = told(&stand, &trees, &flags, 7);
    assert_eq!((result["payload_bytes"].as_u64(), problems.len(), covered.len()), (Some(0), 1, 3));
    let (_, problems, covered) = told(&stand, &trees, &["--load-check", "cat"], 0);
    assert_eq!((problems.len(), covered.len()), (0, 4));
    assert_eq!(told(&stand, &trees, &["--load-check", "kill -9 $$"], 7).1.len(), 4);
    assert_eq!(told(&stand, &trees, &[], 0).2.len(), 4);
}

#[test]
fn here_what_does_not_load_has_failed() {
    what_does_not_load_has_failed(Side::Here);
}

#[test]
fn over_ssh_what_does_not_load_has_failed() {
    what_does_not_load_has_failed(Side::Ssh);
}

#[test]
fn the_environment_says_it_too() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&["one=1"], &[]);
    let xfer = stand.xfer_with("XFER_LOAD_CHECK", "false");
    xfer.run(stand.arguments(&trees, &[])).expect_code(7);
}

/// What was not asked about when the time was over is in no receipt; two names are one file
#[test]
fn what_was_not_asked_about_is_not_covered() {
    let stand = Stand::new(Side::Here);
    let more_than_a_pipe = "one=".to_owned() + &"1".repeat(1 << 20);
    let trees = stand.trees(&[&more_than_a_pipe, "two=2"], &[]);
    let slow = ["--load-check", "sleep 1000 | cat", "--deadline", "2s"];
    assert_eq!(told(&stand, &trees, &slow, 5).2, set(&[]));
    // What it leaves behind keeps nothing waiting.
    let leaves = ["--load-check", "exec 3<&0; sleep 1000 <&3 >&- 2>&- & true"];
    assert_eq!(told(&stand, &trees, &leaves, 0).2.len(), 2);
    let linked = stand.trees(&["a=1", "b==a"], &[]);
    let refused = ["--load-check", "false"];
    assert_eq!(told(&stand, &linked, &refused, 7).1.len(), 2);
    let (again, problems, _) = told(&stand, &linked, &refused, 7);
    assert_eq!((again["payload_bytes"].as_u64(), problems.len()), (Some(0), 2));
}
