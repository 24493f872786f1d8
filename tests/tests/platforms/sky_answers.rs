//! What SkyPilot's program says is believed as far as it can be read, and no further

use serde_json::json;
use xfer_tests::sky::write_ssh_file;
use xfer_tests::xfer::Xfer;

use super::sky::{record, stand, with};
use super::{result, run};

/// Rows: B-A13.
#[test]
fn what_is_no_answer_is_refused() {
    for record in [
        with(&[("name", json!("train\nHost *"))]),
        with(&[("name", json!("../train"))]),
        with(&[("name", json!(null))]),
        with(&[("handle", json!("gASVKAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg=="))]),
        with(&[("resources", json!({"ports": ["10020-10019"]}))]),
        with(&[("resources", json!({"ports": ["0-65536"]}))]),
        with(&[("resources", json!({"ports": "abc"}))]),
        with(&[("ports", json!([8081, "abc"]))]),
    ] {
        let (sky, xfer) = stand();
        sky.put("train", &record);
        for arguments in [&["ls", "sky:"][..], &["pull", "sky:train:/w", "./x"]] {
            let told = result(&xfer, arguments, 13);
            assert_eq!(told["reason"], "platform-answer", "{record}");
        }
    }
    for line in ["abc: 203.0.113.7:80", "0-65536: 203.0.113.7:80", "10020-10019: 203.0.113.7:80"] {
        let (sky, xfer) = stand();
        sky.opens("train", line);
        let told = result(&xfer, &["pull", "sky:train:/w", "./x"], 13);
        assert_eq!(told["reason"], "platform-answer", "{line}");
    }
    for name in ["train\nx", "-x", "../x", "a b", "a;id"] {
        let (sky, xfer) = stand();
        let told = result(&xfer, &["ls", &format!("sky:{name}:/w")], 2);
        assert_eq!(told["reason"], "bad-machine", "{name:?}");
        assert!(sky.asked().is_empty(), "nothing is run for {name:?}");
    }
}

#[test]
fn a_program_that_fails_says_nothing_of_any_cluster() {
    for (said, code, reason) in [
        (&b""[..], 0, "platform-answer"),
        (b"Clusters\nNAME   INFRA\n", 0, "platform-answer"),
        (b"[{\"name\":\"train\"", 0, "platform-answer"),
        (b"[]", 1, "platform-unreached"),
        (b"", 139, "platform-unreached"),
        (&[b'['; 100_000], 0, "platform-answer"),
    ] {
        let (sky, xfer) = stand();
        sky.says(said, code);
        let told = result(&xfer, &["pull", "sky:train:/w", "./x"], 13);
        assert_eq!(told["reason"], reason, "{} {code}", String::from_utf8_lossy(said).len());
    }
    let (sky, xfer) = stand();
    sky.says(&vec![b' '; 9 << 20], 0);
    let told = run(&xfer, &["ls", "sky:"], 13);
    assert!(told.stderr.contains("more than 8388608 bytes"), "{}", told.stderr);
    sky.says(b"\x1b]52;c;AAAA\x07", 0);
    let told = run(&xfer, &["ls", "sky:"], 13);
    assert!(!told.stderr.contains('\x1b'), "{}", told.stderr);
}

#[test]
fn where_there_is_no_program_that_is_said() {
    let xfer = Xfer::new();
    let lines = "  HostName 203.0.113.37\n  User root";
    write_ssh_file(&xfer, "train", &xfer.home().join("key"), &[("train", lines)]);
    let told = run(&xfer, &["ls", "sky:train:/w"], 13);
    for part in ["there is no such program here", "HOST:path", "exit 13 platform-unreached"] {
        assert!(told.stderr.contains(part), "{part}\n{}", told.stderr);
    }
}

/// The real program tells of a cluster that it does not know beside its answer.
#[test]
fn noise_beside_the_answer_is_none_of_it() {
    let (sky, xfer) = stand();
    assert_eq!(result(&xfer, &["ls", "sky:other:/w"], 18)["reason"], "machine-gone");
    sky.put("other-worker1", &record("other-worker1"));
    let told = result(&xfer, &["ls", "sky:other-worker1:/w"], 4);
    assert_eq!(told["reason"], "platform-not-found", "there is one of that name, without a file");
}
