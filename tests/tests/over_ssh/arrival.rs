//! What is sent arrives whole, in both directions, and is not sent twice

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::Value;
use xfer_tests::xfer::Xfer;
use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, number, remote};

const GIB: u64 = 1 << 30;

/// Pushes a tree out and pulls it back under another name; both must equal the source
fn there_and_back(flags: &[&str], build: impl Fn(&Path)) {
    let pair = Pair::new();
    let [source, there, back] = ["source", "there", "back"].map(|name| pair.path(name));
    build(&source);
    let before = oracle::survey(&source);
    let push = [inside(source.clone()), remote(&there)];
    let pull = [inside(remote(&there)), OsString::from(&back)];
    for (verb, locations, destination) in [("push", &push, &there), ("pull", &pull, &back)] {
        let command = arguments(verb, flags, locations);
        let result = pair.xfer.run(&command).expect_code(0).result();
        oracle::assert_equal(&source, destination);
        oracle::assert_nothing_of_xfer(destination);
        assert_receipt(&pair.path("manifest"), &result, destination);

        let again = pair.xfer.run(&command).expect_code(0).result();
        assert_eq!(number(&again, "payload_bytes"), 0, "{verb} again: {again}");
        assert_eq!(number(&again["entries"], "moved"), 0, "{verb} again: {again}");
        assert_eq!(again["manifest_root"], result["manifest_root"], "{verb} again");
    }
    let changes = oracle::differences(&before, &oracle::survey(&source));
    assert!(changes.is_empty(), "the source was changed: {changes:?}");
}

/// `b3sum -c` accepts the exported receipt, which lists each file that b3sum can name
fn assert_receipt(manifest: &Path, result: &Value, destination: &Path) {
    let path = result["receipt"].as_str().expect("a receipt");
    let output = Xfer::new().command(["receipt", "export", path]).output().expect("run");
    tree::write(manifest, &output.stdout);
    oracle::assert_b3sum(manifest, destination);
    let survey = oracle::survey(destination);
    let files = survey.iter().filter(|(_, facts)| facts.kind == "file");
    let (named, unnamed): (Vec<_>, Vec<_>) = files.partition(|(path, _)| b3sum_can_name(path));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    assert_eq!(lines.count(), named.len(), "lines of the manifest");
    assert_eq!(output.status.success(), unnamed.is_empty(), "{}", output.status);
}

fn b3sum_can_name(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok_and(|name| !name.contains('\u{fffd}') && !name.ends_with('\r'))
}

#[test]
fn a_large_file() {
    there_and_back(&[], |root| {
        fs::create_dir(root).expect("create");
        tree::big_file(&root.join("large"), 2 * GIB, 1);
        tree::big_file(&root.join("odd"), (64 << 20) + 12_345, 2);
    });
}

#[test]
fn small_files() {
    there_and_back(&[], |root| tree::small_files(root, 20_000, 2));
}

/// What was only received has not been synced: a durable run looks at it again, and sends nothing
#[test]
fn what_was_received_is_not_durable_for_having_been_recorded() {
    let pair = Pair::new();
    let [source, there] = ["source", "there"].map(|name| pair.path(name));
    tree::small_files(&source, 50, 3);
    let locations = [inside(source.clone()), remote(&there)];
    let run = |level| {
        let command = arguments("push", &["--verify", level], &locations);
        let ended = pair.xfer.run(&command).expect_code(0);
        let verified = ended.events().iter().filter_map(|e| e["verified_bytes"].as_u64()).max();
        (ended.result(), verified.unwrap_or_default())
    };
    let (first, _) = run("received");
    assert_eq!(first["proof_level"], "received");
    let size = number(&first, "payload_bytes");
    let (second, verified) = run("durable");
    assert_eq!((&second["proof_level"], number(&second, "payload_bytes")), (&"durable".into(), 0));
    assert_eq!(verified, size, "bytes looked at again");
    let (_, verified) = run("durable");
    assert_eq!(verified, 0, "bytes looked at though recorded");
}

/// Rows: B-N1, B-N2, B-N3, B-N5, B-N6.
#[test]
fn everything_awkward() {
    let sparse_length = if xfer_tests::xfer::long() { 1024 * GIB } else { 8 * GIB };
    there_and_back(&[], |root| {
        tree::everything(root, tree::Extent { sparse_length, owners: false });
    });
}

#[test]
fn owners_and_setuid() {
    there_and_back(&["--owner"], |root| {
        tree::modes(root, 0o7777);
        tree::owners(&root.join("owners"));
    });
}
