//! What people mistype, lack and misconfigure about rclone

use std::fs;
use std::path::Path;

use crate::{Bench, CANARY};

#[test]
fn without_rclone_it_is_told_what_to_install() {
    for program in ["/no/such/rclone", "no-such-rclone"] {
        let bench = Bench::with(Path::new(program));
        let file = bench.file("file", 100, 1);
        let ended = bench.push(&file, "rclone:disk:to/").expect_code(3);
        assert_eq!(ended.result()["reason"], "rclone-missing", "{}", ended.stdout);
        assert!(ended.stderr.contains("rclone.org/install"), "{}", ended.stderr);
    }
}

#[test]
fn an_rclone_that_cannot_be_used_is_told() {
    let old = "echo 'Error: unknown flag: --rc-serve' >&2; exit 2";
    for (script, told) in [(old, "unknown flag"), ("exit 3", "exit status: 3")] {
        let (_kept, program) = Bench::script(script);
        let bench = Bench::with(&program);
        let file = bench.file("file", 100, 1);
        let ended = bench.push(&file, "rclone:disk:to/").expect_code(3);
        assert_eq!(ended.result()["reason"], "rclone-missing", "{}", ended.stdout);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

#[test]
fn a_remote_that_is_not_there_is_told_by_name() {
    let bench = Bench::new();
    let file = bench.file("file", 100, 1);
    let ended = bench.push(&file, "rclone:dsik:to/").expect_code(3);
    assert_eq!(ended.result()["reason"], "rclone-remote-unusable", "{}", ended.stdout);
    assert!(ended.stderr.contains("rclone:dsik:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("rclone listremotes"), "{}", ended.stderr);
    let ended = bench.push(&file, "rclone::nosuchbackend:to/").expect_code(3);
    assert_eq!(ended.result()["reason"], "rclone-remote-unusable", "{}", ended.stdout);
}

#[test]
fn a_source_that_is_not_there_is_told() {
    let bench = Bench::new();
    let here = bench.path("here");
    bench.pull("rclone:disk:nothing/there", &here).expect_code(4);
    assert!(!here.exists());
}

/// A configuration that is encrypted asks nobody
#[test]
fn a_configuration_that_cannot_be_read_is_told() {
    let bench = Bench::new();
    let file = bench.file("file", 100, 1);
    let sealed = format!("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\n{CANARY}\n");
    fs::write(bench.path("rclone.conf"), sealed).expect("write");
    let ended = bench.push(&file, "rclone:disk:to/").expect_code(3);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(CANARY), "{}", ended.stderr);
}

/// Settings for other uses of rclone hide nothing and skip nothing
#[test]
fn what_is_set_for_other_uses_changes_nothing() {
    let mut bench = Bench::new();
    for (name, value) in [
        ("RCLONE_EXCLUDE", "*"),
        ("RCLONE_MAX_SIZE", "1"),
        ("RCLONE_DRY_RUN", "true"),
        ("RCLONE_IGNORE_EXISTING", "true"),
        ("RCLONE_RC_USER", "somebody"),
        ("RCLONE_RC_PASS", "something"),
        ("RCLONE_RC_ADDR", "127.0.0.1:1"),
    ] {
        bench.xfer = bench.xfer.env(name, value);
    }
    let file = bench.file("file", 100, 1);
    for (length, seed) in [(100, 1), (200, 2)] {
        bench.file("file", length, seed);
        bench.push(&file, "rclone:disk:to/").expect_code(0);
        crate::assert_same(&file, &bench.there("to/file"));
    }
}
