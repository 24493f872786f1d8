//! What `verify` calls equal, different and not provable

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage may panic")]

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xfer_tests::xfer::{Ended, Xfer};

struct Place {
    xfer: Xfer,
    root: PathBuf,
}

impl Place {
    /// A source with a file, a link and a directory
    fn new() -> Self {
        let xfer = Xfer::new();
        let root = xfer.home().join("place");
        fs::create_dir_all(root.join("source/empty")).unwrap();
        fs::write(root.join("source/file"), "content").unwrap();
        symlink("file", root.join("source/link")).unwrap();
        Self { xfer, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn push(&self, flags: &[&str], destination: &str, code: i32) {
        let mut words: Vec<OsString> = vec!["push".into(), "--receipt".into()];
        words.push(self.path("receipt").into());
        words.extend(flags.iter().map(OsString::from));
        words.extend([self.path("source/").into(), self.path(destination).into()]);
        self.xfer.run(words).expect_code(code);
    }

    /// Compares a place with another, and judges the exit code, the reason and the verdict
    fn verify(&self, place: &Path, against: &str, expected: (i32, &str, &str)) -> Ended {
        let words = ["verify".into(), place.into(), "--against".into(), self.path(against)];
        let words = words.iter().map(|word| word.as_os_str());
        let (code, reason, verdict) = expected;
        let ended = self.xfer.run(words.chain(["--json".as_ref()])).expect_code(code);
        let result = ended.result();
        assert_eq!(result["reason"], reason, "{result}");
        let events = ended.events();
        let told = events.iter().find(|event| event["type"] == "verdict").unwrap();
        assert_eq!(told["verdict"], verdict, "{told}");
        ended
    }
}

const EQUAL: (i32, &str, &str) = (0, "done", "equal");
const DIFFERENT: (i32, &str, &str) = (7, "digest-mismatch", "different");
const UNPROVEN: (i32, &str, &str) = (5, "not-provable", "unproven");

/// What a program says of what it is given; its exit code has to be 0
fn said(program: &str, words: &[&str], given: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(given).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {words:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn a_receipt_is_checked_without_xfer() {
    let place = Place::new();
    place.push(&[], "copy/", 0);
    let text = fs::read_to_string(place.path("receipt")).unwrap();
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    let last: serde_json::Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
    let first = lines.remove(0);
    let head: serde_json::Value = serde_json::from_str(first).unwrap();
    let digest = said("b3sum", &["--no-names"], lines.concat().as_bytes());
    assert_eq!(digest.trim(), head["lines"]);
    // A key of this kind as RFC 8410 has it.
    let mut key = bytes_of("302a300506032b6570032100");
    key.extend(bytes_of(head["key"].as_str().unwrap().strip_prefix("ed25519:").unwrap()));
    let at = |name: &str| place.path(name).into_os_string().into_string().unwrap();
    fs::write(place.path("key"), key).unwrap();
    fs::write(place.path("signature"), bytes_of(last["signature"].as_str().unwrap())).unwrap();
    fs::write(place.path("head"), first).unwrap();
    let (key, signature, head) = (at("key"), at("signature"), at("head"));
    let given = ["-pubin", "-inkey", &key, "-keyform", "DER", "-rawin", "-in", &head];
    let words = [&["pkeyutl", "-verify"], &given[..], &["-sigfile", &signature]].concat();
    assert!(said("openssl", &words, b"").contains("Signature Verified"));
}

#[test]
fn a_lost_link_is_missed() {
    let place = Place::new();
    place.push(&[], "copy", 0);
    let copy = place.path("copy");
    for against in ["receipt", "source"] {
        place.verify(&copy, against, EQUAL);
        fs::remove_file(copy.join("link")).unwrap();
        place.verify(&copy, against, DIFFERENT);
        symlink("elsewhere", copy.join("link")).unwrap();
        place.verify(&copy, against, DIFFERENT);
        fs::remove_file(copy.join("link")).unwrap();
        symlink("file", copy.join("link")).unwrap();
        fs::remove_dir(copy.join("empty")).unwrap();
        place.verify(&copy, against, DIFFERENT);
        fs::create_dir(copy.join("empty")).unwrap();
    }
    // What the receipt does not name is no difference, in another location it is.
    symlink("x", copy.join("more")).unwrap();
    place.verify(&copy, "receipt", EQUAL);
    let ended = place.verify(&copy, "source", (5, "unexpected-entries", "different"));
    let problems = ended.events().into_iter().filter(|event| event["type"] == "problem");
    let paths: Vec<_> = problems.map(|event| event["path"].clone()).collect();
    assert_eq!(paths, ["more"], "{}", ended.stderr);
    assert_eq!(ended.result()["problems"], 1);
    place.verify(&copy.join("file"), "receipt", EQUAL);
    place.verify(&copy.join("more"), "receipt", UNPROVEN);
}

#[test]
fn what_was_assumed_is_not_proven() {
    let place = Place::new();
    let copied =
        Command::new("cp").arg("-a").args([place.path("source"), place.path("copy")]).status();
    assert!(copied.unwrap().success());
    place.push(&["--quick"], "copy", 0);
    let copy = place.path("copy");
    let ended = place.verify(&copy, "receipt", UNPROVEN);
    assert!(ended.stderr.contains("file: no digest of it is known"), "{}", ended.stderr);
    fs::write(copy.join("file"), "Content").unwrap();
    place.verify(&copy, "receipt", UNPROVEN);
    fs::write(copy.join("file"), "more content").unwrap();
    place.verify(&copy, "receipt", DIFFERENT);
}

#[test]
fn a_receipt_with_failures_proves_less() {
    let place = Place::new();
    fs::create_dir_all(place.path("copy/file")).unwrap();
    place.push(&[], "copy", 5);
    let ended = place.verify(&place.path("copy"), "receipt", UNPROVEN);
    assert!(
        ended.stderr.contains("1 entry failed when the receipt was written"),
        "{}",
        ended.stderr
    );
}
