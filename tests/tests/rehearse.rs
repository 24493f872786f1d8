//! The story that the program plays on this machine alone, with the gate at its end

use serde_json::Value;
use xfer_tests::xfer::Xfer;

/// What the gate says in turn, of what happened just before, with every reason
const VERDICTS: &[(&str, &[&str])] = &[
    ("release", &[]),
    ("hold", &["changed-after-copy"]),
    ("hold", &["not-copied"]),
    ("hold", &["open-for-write"]),
    ("hold", &["destination-differs"]),
    ("release", &[]),
    ("hold", &["identity-changed"]),
    ("equal", &[]),
];

fn is_verdict(event: &Value) -> bool {
    event["type"] == "verdict"
}

/// The program compares reasons by their types itself; here it is held to having told each.
#[test]
fn a_rehearsal_ends_with_every_verdict() {
    let xfer = Xfer::new();
    let ended = xfer.run(["rehearse", "--json"]).expect_code(0);
    let events = ended.events();
    let mut verdicts = events.iter().filter(|event| is_verdict(event));
    for (expected, reasons) in VERDICTS {
        let verdict = verdicts.next().expect("a verdict");
        assert_eq!(verdict["verdict"], *expected, "{verdict}");
        let told = verdict["reasons"].as_array();
        let mut ids: Vec<_> =
            told.into_iter().flatten().filter_map(|reason| reason["id"].as_str()).collect();
        ids.dedup();
        assert_eq!(ids, *reasons, "{verdict}");
        assert!(verdict["token"].is_null(), "a token was told: {verdict}");
    }
    assert_eq!(verdicts.next(), None);
    let told: Vec<_> = events.iter().filter_map(|event| event["notice"].as_str()).collect();
    for refusal in ["token-expired", "token-other-container"] {
        assert!(told.iter().any(|text| text.contains(refusal)), "{refusal}: {told:?}");
    }
    assert_eq!(ended.result()["reason"], "done");
}

/// A file is named by the directory that is kept, and nothing of the story is left open there.
#[test]
fn a_rehearsal_in_a_named_directory_is_kept() {
    let xfer = Xfer::new();
    let place = xfer.home().join("story");
    let ended = xfer.run(["rehearse", place.to_str().expect("text")]).expect_code(0);
    assert!(ended.stderr.contains("hold    changed-after-copy"), "{}", ended.stderr);
    assert!(place.join("there/data/checkpoint-0.bin").exists());
    let again = xfer.run(["rehearse", place.to_str().expect("text"), "--json"]).expect_code(2);
    assert_eq!(again.result()["reason"], "not-empty");
}
