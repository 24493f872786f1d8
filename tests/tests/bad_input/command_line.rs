//! Verbs, flags and their values

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use xfer_tests::xfer::Running;

use crate::place::{Case, Place, assert_shown_safely, judge, mounted};

#[test]
fn verbs_and_flags() {
    judge(&[
        ("B-C1", &[], 2, "no-verb"),
        ("B-C1", &["frobnicate"], 2, "unknown-verb"),
        ("B-C1", &["push"], 2, "missing-operand"),
        ("B-C1", &["push", "@s"], 2, "missing-operand"),
        ("B-C1", &["pull", "@s"], 2, "missing-operand"),
        ("B-C1", &["verify", "@s"], 2, "missing-operand"),
        ("B-C1", &["receipt"], 2, "no-verb"),
        ("B-C1", &["receipt", "burn", "@s"], 2, "unknown-verb"),
        ("B-C1", &["config"], 2, "no-verb"),
        ("B-C1", &["push", "--frobnicate", "@s", "@d"], 2, "unknown-flag"),
        ("B-C1", &["push", "-Q", "@s", "@d"], 2, "unknown-flag"),
        ("B-C1", &["push", "--json", "--json", "@s", "@d"], 2, "flags-conflict"),
        ("B-C1", &["push", "-j", "2", "--streams", "2", "@s", "@d"], 2, "flags-conflict"),
        ("B-C1", &["push", "--checksum", "--quick", "@s", "@d"], 2, "flags-conflict"),
        ("B-C1", &["push", "--quiet", "--verbose", "@s", "@d"], 2, "flags-conflict"),
        (
            "B-C1",
            &["push", "--files-from", "@s", "--files-from0", "@s", "@s", "@d"],
            2,
            "flags-conflict",
        ),
        ("B-C1", &["push", "--no-streams", "@s", "@d"], 2, "unknown-flag"),
        ("B-C1", &["push", "--xattrs=1", "@s", "@d"], 2, "bad-value"),
        ("B-C1", &["evacuate", "@s", "@d"], 2, "not-a-machine"),
        ("B-C1", &["destroy", "vast:1"], 2, "missing-operand"),
        ("B-C1", &["push", "--inplace", "--backup-dir", "b", "@s", "@d"], 2, "flags-conflict"),
        ("B-C1", &["push", "--read-back-from", "s3://bucket", "@s", "@d"], 2, "read-by-itself"),
        ("B-C1", &["push", "--allow-keys-on-agent", "@s", "@d"], 2, "not-in-this-version"),
        ("B-C1", &["push", "--compress", "gzip", "@s", "@d"], 2, "bad-value"),
        ("B-C1", &["push", "--compress", "zstd:0", "@s", "@d"], 2, "bad-value"),
        ("B-C1", &["push", "--compress", "zstd:20", "@s", "@d"], 2, "bad-value"),
        ("B-C1", &["completions", "tcsh"], 2, "bad-value"),
        ("B-C1", &["pull", "@s", "h:d"], 2, "pull-elsewhere"),
        ("B-C1", &["rehearse", "@d"], 2, "not-empty"),
        ("B-C1", &["agent"], 2, "bad-value"),
        ("B-C1", &["agent", "--session", "xyz"], 2, "bad-value"),
        ("B-C7", &["push", "--api-key", "sesame", "@s", "@d"], 2, "secret-in-arguments"),
        ("B-C7", &["push", "--api-key=sesame", "@s", "@d"], 2, "secret-in-arguments"),
        ("B-C10", &["push", "--gate", "--dry-run", "@s", "@d"], 2, "unknown-flag"),
        ("B-C10", &["push", "--gate", "--ignore-errors", "@s", "@d"], 2, "unknown-flag"),
        ("B-C10", &["push", "--gate", "--size-only", "@s", "@d"], 2, "unknown-flag"),
        ("B-C10", &["gate", "@s"], 2, "not-a-machine"),
        ("B-C10", &["gate", "vast:"], 2, "not-a-machine"),
    ]);
}

#[test]
fn values() {
    let bad: &[(&str, &str, &[&str])] = &[
        ("B-C2", "--streams", &["0", "-1", "99999999", "1e9", "٣", "", "0x4", " 4", "NaN"]),
        (
            "B-C3",
            "--bwlimit",
            &["10XB", "-5M", "NaN", "18446744073709551616", "100", "0MB/s", "inf", ""],
        ),
        ("B-C3", "--bwlimit", &["1.5GB", "10MB", "100/s", "1e3MB/s", "18446744073709551616MB/s"]),
        ("B-C3", "--min-size", &["-1", "NaN", "٣", "18446744073709551616", "1 GB", "10XB", ""]),
        ("B-C3", "--max-size", &["1,5GB", "1.5.5GB", "99999999999GiB", "GB", "1.5"]),
        ("B-C3", "--max-age", &["-1s", "NaN", "1y", "2026-02-30T00:00:00Z", ""]),
        ("B-C3", "--max-age", &["99999999999999999h", "yesterday"]),
        ("B-C3", "--stall-timeout", &["0s", "-1s", "2026-01-01T00:00:00Z", "30"]),
        ("B-C3", "--retries", &["-1", "1e3", "99999999999", ""]),
        ("B-C3", "--reserve", &["-1", "1XB"]),
        ("B-C1", "--verify", &["", "full", "DURABLE", "\u{1b}[2J"]),
        ("B-C1", "--route", &["", "lan", "carrier-pigeon"]),
        ("B-C1", "--port", &["0", "70000", "-1", "22x", "٣"]),
        ("B-C1", "--color", &["sometimes"]),
        ("B-C1", "--jump", &["", "a\nb"]),
    ];
    for (row, flag, values) in bad {
        for value in *values {
            let place = Place::new();
            let words = ["push", flag, value, "@s", "@d"];
            let told = place.refuses(row, || place.command(&words), 2, "bad-value");
            assert!(told.lines().next().unwrap().contains(flag), "{row}: {told}");
        }
    }
}

#[test]
fn one_end_inside_the_other() {
    judge(&[
        ("B-C4", &["push", "@s", "@s"], 2, "destination-in-source"),
        ("B-C4", &["push", "@s", "@s/deep"], 2, "destination-in-source"),
        ("B-C4", &["push", "@s/", "@s/deep/"], 2, "destination-in-source"),
        ("B-C4", &["push", "@s", "@link-to-source/deep/"], 2, "destination-in-source"),
        ("B-C4", &["push", "@s/", "@s"], 2, "same-entry"),
        ("B-C4", &["push", "@s/", "@link-to-source/"], 2, "same-entry"),
        ("B-C4", &["push", "@s/file", "@s/file"], 2, "same-entry"),
        ("B-C4", &["push", "@s/file", "@s/"], 2, "same-entry"),
        ("B-C4", &["push", "@s/deep/file", "@s/deep"], 2, "same-entry"),
        ("B-C4", &["push", "@d/kept", "@d/kept"], 2, "same-entry"),
        ("B-C4", &["push", "@s/file", "@copy/file", "@d/"], 2, "same-last-name"),
        ("B-C4", &["push", "@s", "@file", "@file"], 2, "not-a-directory"),
        ("B-C4", &["push", "@s", "@file/"], 2, "not-a-directory"),
        ("B-C4", &["push", "@s/file", "@d/kept/below"], 2, "not-a-directory"),
        ("B-C4", &["push", "@missing", "@d"], 4, "not-found"),
        ("B-C4", &["push", "@s", "@missing", "@d"], 4, "not-found"),
        ("B-C4", &["push", "@file/below", "@d"], 4, "not-found"),
        ("B-C4", &["ls", "@missing"], 4, "not-found"),
    ]);
}

/// A bind mount gives a directory two names, and neither lies below the other
#[test]
fn one_end_inside_the_other_by_a_mount() {
    for (row, source, destination, reason) in [
        ("B-C4", "@s", "@copy/deep", "destination-in-source"),
        ("B-C4", "@s/", "@copy/deep/", "destination-in-source"),
        ("B-C4", "@s/", "@copy/", "same-entry"),
    ] {
        let place = Place::new();
        let script = "mount --bind s copy && exec \"$@\"";
        let make = || mounted(&place, script, &["push", source, destination]);
        place.refuses(row, make, 2, reason);
    }
}

#[test]
fn odd_names_are_names() {
    let place = Place::new();
    for (row, name) in [
        ("B-C5", &b"\xff\xfe"[..]),
        ("B-C5", b"\xed\xa0\x80"),
        ("B-C5", b"a\nb"),
        ("B-C5", b" "),
        ("B-C6", b"-rf"),
        ("B-C6", b"~user"),
        ("B-C6", b"*?[x]"),
        ("B-C6", b"--"),
    ] {
        let name = OsStr::from_bytes(name);
        fs::write(place.path("named").join(name), "x").unwrap();
        let destination = place.path("d");
        let words: [&OsStr; 4] = ["push".as_ref(), "--".as_ref(), name, destination.as_os_str()];
        let mut command = place.xfer.command(words);
        command.current_dir(place.path("named"));
        let ended = Running::start(command).wait().expect_code(0);
        assert_shown_safely(row, &ended);
        assert_eq!(fs::read(place.path("d").join(name)).unwrap(), b"x", "{row}: {name:?}");
    }
}

/// The system passes no argument of more than 128 KiB, and none that holds a NUL
#[test]
fn endless_words() {
    let long = "a".repeat(120 * 1024);
    let deep = "a/".repeat(60 * 1024);
    let cases: &[Case<'_>] = &[
        ("B-C5", &["push", &long, "@d"], 2, "location-too-long"),
        ("B-C5", &["push", "@s", &long], 2, "location-too-long"),
        ("B-C5", &["push", "@s", &deep], 2, "location-too-long"),
        ("B-C5", &["push", &format!("--{long}"), "@s", "@d"], 2, "unknown-flag"),
        ("B-C5", &[&long], 2, "unknown-verb"),
        ("B-C5", &["push", "@s/file", &format!("@d/{}", "n".repeat(256))], 2, "name-too-long"),
    ];
    judge(cases);
}
