//! What is told of files, and what complaints mean

use serde_json::json;

use super::calls::encoded;
use super::problem::{OpenProblem, shown, sorted, sorted_open};
use super::rows::{Features, Info, Row};
use crate::endpoint::object::store::{Checksum, StoreError};

fn features(told: serde_json::Value) -> Features {
    Features::of(&serde_json::from_value::<Info>(told).unwrap())
}

fn row(told: serde_json::Value) -> Row {
    serde_json::from_value(told).unwrap()
}

#[test]
fn a_tag_follows_from_all_that_is_told() {
    let local = features(json!({
        "Features": { "Move": true, "SlowHash": true }, "Hashes": ["md5"], "Precision": 1
    }));
    let drive = features(json!({
        "Features": { "Move": true }, "Hashes": ["md5", "sha1"], "Precision": 1_000_000
    }));
    let plain = features(json!({ "Precision": 3_153_600_000_000_000_000_i64 }));
    assert_eq!((local.sum, drive.sum, plain.sum), (None, Some("sha1"), None));
    assert!(!local.proves_states() && drive.proves_states() && !plain.proves_states());
    assert!(local.renames && !plain.renames);
    let told = |size: i64, time: &str, sum: &str, id: &str| {
        row(json!({
            "Name": "a", "Size": size, "ModTime": time, "IsDir": false, "ID": id,
            "Hashes": { "sha1": sum }
        }))
    };
    let first = told(7, "2020-01-02T03:04:05.5Z", "aa", "1");
    for other in [
        told(8, "2020-01-02T03:04:05.5Z", "aa", "1"),
        told(7, "2020-01-02T03:04:05.6Z", "aa", "1"),
        told(7, "2020-01-02T03:04:05.5Z", "ab", "1"),
        told(7, "2020-01-02T03:04:05.5Z", "aa", "2"),
    ] {
        assert_ne!(drive.tag(&first), drive.tag(&other));
    }
    let later = told(7, "2020-01-02T03:04:06Z", "aa", "1");
    assert_eq!(plain.tag(&first), plain.tag(&later));
    let (tag, at) = (drive.tag(&first), first.modified());
    assert!(drive.is_state(&tag, 7, Some(at)) && drive.is_state(&tag, 7, None));
    assert!(!drive.is_state(&tag, 8, Some(at)) && !drive.is_state(&tag, 7, Some(later.modified())));
    assert!(plain.is_state(&plain.tag(&first), 7, Some(later.modified())));
}

#[test]
fn the_time_that_a_writer_gave_is_told_and_that_of_the_remote_names_the_state() {
    let server = features(json!({ "Features": { "SlowModTime": true } }));
    assert!(server.of_server && server.proves_states());
    let told = json!({
        "Name": "a", "Size": 1, "ModTime": "2026-01-01T00:00:00Z", "IsDir": false,
        "Metadata": { "mtime": "2001-02-03T04:05:06.000000007Z", "tier": "STANDARD" }
    });
    let mut plain = told.clone();
    plain["Metadata"] = serde_json::Value::Null;
    let (told, plain) = (row(told), row(plain));
    assert_eq!(server.tag(&told), server.tag(&plain));
    let modified = server.object(&told).modified;
    assert_eq!((modified.seconds, modified.nanoseconds), (981_173_106, 7));
    assert_eq!(server.object(&plain).modified, plain.modified());
}

#[test]
fn a_directory_of_keys_alone_is_not_there_while_it_is_empty() {
    let told = |root: &str, overlay: bool| {
        features(json!({ "Features": { "BucketBased": true, "Overlay": overlay }, "Root": root }))
    };
    let (top, alias, wrapped) = (told("", false), told("bucket", false), told("", true));
    assert!(top.is_bucket("a") && !top.is_bucket("a/b"));
    assert!(top.holds_empty("a") && !top.holds_empty("a/b"));
    for within in [alias, wrapped] {
        assert!(!within.is_bucket("a") && !within.holds_empty("a") && within.holds_empty(""));
    }
    assert!(features(json!({})).holds_empty("a/b"));
}

#[test]
fn what_no_file_tells_is_no_panic() {
    let plain = features(json!({}));
    let odd = row(json!({ "Name": "a", "Size": -1, "ModTime": "soon", "IsDir": false }));
    assert_eq!((odd.bytes(), plain.object(&odd).size), (None, u64::MAX));
    let sums = row(json!({
        "Name": "a", "Size": 0, "IsDir": false,
        "Hashes": { "md5": "d41d8cd98f00b204e9800998ecf8427e" }
    }));
    assert!(matches!(plain.object(&sums).checksums[..], [Checksum::Md5([0xd4, ..])]));
    let wrong = row(json!({
        "Name": "a", "Size": 0, "IsDir": false,
        "Hashes": { "md5": "+41d8cd98f00b204e9800998ecf8427e" }
    }));
    assert!(plain.object(&wrong).checksums.is_empty());
}

#[test]
fn complaints_are_sorted() {
    for (complaint, expected) in [
        ("error in ListJSON: directory not found", "Missing"),
        ("open /a/403: permission denied", "Denied"),
        ("operation error S3: PutObject, StatusCode: 403, api error AccessDenied", "Denied"),
        ("api error InvalidAccessKeyId: no such key, StatusCode: 403", "Refused"),
        ("oauth2: \"invalid_grant\" \"Token has been expired\"", "Refused"),
        ("api error NoSuchBucket: the bucket", "NoBucket"),
        ("googleapi: Error 429: Too many requests", "Slow"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "Again"),
        ("lookup a.invalid: no such host", "Again"),
        ("write /a: no space left on device", "Failed"),
    ] {
        let told = format!("{:?}", sorted(complaint));
        assert!(told.starts_with(expected), "{complaint}: {told}");
    }
    let missing = "didn't find section in config file (\"x\")";
    assert_eq!(sorted_open(missing), OpenProblem::NoRemote);
    let locked = "unable to decrypt configuration and not allowed to ask for password";
    assert!(matches!(sorted_open(locked), OpenProblem::Configuration(_)));
    let away = sorted_open("directory not found");
    assert_eq!(away, OpenProblem::Remote(StoreError::Missing));
}

#[test]
fn what_is_shown_is_short_escaped_and_without_queries() {
    let text = "Put \"https://a.example/c/b?sig=SECRET&x=1\": \x1b[31mdenied\nwhy";
    let told = shown(text);
    assert!(!told.contains("SECRET") && !told.contains('\x1b') && !told.contains('\n'), "{told}");
    assert!(told.contains("a.example/c/b?***\"") && told.ends_with("why"), "{told}");
    let long = format!("begins {} ends", "x".repeat(5000));
    let told = shown(&long);
    assert!(told.len() < 400 && told.starts_with("begins") && told.ends_with("ends"), "{told}");
}

#[test]
fn an_address_holds_any_name() {
    assert_eq!(encoded("a b/ü%[x]?#"), "a%20b/%C3%BC%25%5Bx%5D%3F%23");
}
