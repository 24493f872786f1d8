//! Text that names no place

use crate::place::{Case, Place, judge};

/// A row, what is typed, the reason of its refusal
const REFUSED: &[(&str, &str, &str)] = &[
    ("B-C6", "", "location-empty"),
    ("B-C6", "-", "location-dash"),
    ("B-C6", "h:~root/x", "other-home"),
    ("B-U1", "s3://", "bucket-missing"),
    ("B-U1", "s3:///k", "bucket-missing"),
    ("B-U1", "s3://b//k", "bad-bucket"),
    ("B-U1", "s3://bucket//k", "bad-key"),
    ("B-U1", "s3://B_UPPER/k", "bad-bucket"),
    ("B-U1", "s3://b/../c", "bad-bucket"),
    ("B-U1", "s3://bucket/../c", "bad-key"),
    ("B-U1", "s3://b/k?x", "bad-bucket"),
    ("B-U1", "s3://bucket/k?sig=sesame", "bad-key"),
    ("B-U1", "s3://b/k#frag", "bad-bucket"),
    ("B-U1", "s3://bucket/k#frag", "bad-key"),
    ("B-U1", "s3://bucket/\u{1b}[2J/../k", "bad-key"),
    ("B-U1", "https://h/?sig=sesame", "bad-file-address"),
    ("B-U1", "http://h.invalid/x?sig=sesame", "not-encrypted"),
    ("B-U2", "ssh://h:0/", "bad-port"),
    ("B-U2", "ssh://h:70000/", "bad-port"),
    ("B-U2", "ssh://h:-1/", "bad-port"),
    ("B-U2", "ssh://h:65536/", "bad-port"),
    ("B-U2", "ssh://h:22x/", "bad-port"),
    ("B-U2", "ssh://h:/", "bad-port"),
    ("B-U3", "ssh://[::1", "bad-address"),
    ("B-U3", "ssh://::1/x", "bad-port"),
    ("B-U3", "[::1", "bad-address"),
    ("B-U3", "[::1]/x", "bad-address"),
    ("B-U3", "::1:/x", "double-colon"),
    ("B-U3", "fe80::1:x", "double-colon"),
    ("B-U4", "-oProxyCommand=id:p", "bad-host"),
    ("B-U4", "-l@h:p", "bad-user"),
    ("B-U4", "h$(id):p", "bad-host"),
    ("B-U4", "h`id`:p", "bad-host"),
    ("B-U4", "h x:p", "bad-host"),
    ("B-U4", "h\nx:p", "bad-host"),
    ("B-U4", "h\u{1b}[2J:p", "bad-host"),
    ("B-U4", "h%0a:p", "bad-host"),
    ("B-U4", "ssh://-oProxyCommand=id/x", "bad-host"),
    ("B-U4", "ssh://-l@h/x", "bad-user"),
    ("B-U4", "ssh://h%0a/x", "bad-host"),
    ("B-U5", "u:sesame@h:p", "password-in-location"),
    ("B-U5", "ssh://u:sesame@h/x", "password-in-location"),
    ("B-U5", "ssh://u:se/sesame@h/x", "password-in-location"),
    ("B-U5", "s3://key:sesame@bucket/k", "password-in-location"),
    ("B-U5", "https://sesame@h.invalid/x", "password-in-location"),
    ("B-U7", ":p", "host-missing"),
    ("B-U7", "ssh://", "host-missing"),
    ("B-U7", "h::module", "double-colon"),
    ("B-U7", "33402296:/p", "bad-host"),
    ("B-U7", "ftp://h/x", "unknown-scheme"),
    ("B-U7", "file://remote/x", "file-on-another-machine"),
    ("B-U7", "xfer://h/r", "bad-port"),
    ("B-U7", "gs://b/p", "bad-bucket"),
    ("B-U7", "az://my_container/p", "bad-bucket"),
    ("B-U7", "b2://b/p", "bad-bucket"),
    ("B-U7", "rclone:r/p", "bad-remote"),
    ("B-U7", "hf://o", "bad-repository"),
    ("B-U8", "vast://", "bad-machine"),
    ("B-U8", "vast://abc", "bad-machine"),
    ("B-U8", "vast://0", "bad-machine"),
    ("B-U8", "vast://-1", "bad-machine"),
    ("B-U8", "vast://1,2", "bad-machine"),
    ("B-U8", "vast:1/x", "bad-machine"),
    ("B-U8", "vast:", "machine-missing"),
    ("B-U8", "sky://", "bad-machine"),
    ("B-U8", "sky:-c:/x", "bad-machine"),
    ("B-U8", "sky:", "machine-missing"),
    ("B-U8", "runpod:I:/x", "bad-machine"),
    ("B-U8", "lambda:i:/x", "bad-machine"),
    ("B-U9", "ssh://h/%00", "location-nul"),
    ("B-U9", "ssh://h/..%2fx", "bad-encoding"),
    ("B-U9", "ssh://h/%2e%2e/x", "bad-encoding"),
    ("B-U9", "ssh://h/%zz", "bad-encoding"),
    ("B-U9", "file:///..%2f", "bad-encoding"),
];

#[test]
fn locations() {
    let long = format!("{}:p", "a".repeat(300));
    let endless = ("B-U6", long.as_str(), "bad-host");
    let cases = REFUSED.iter().chain([&endless]);
    for (row, text, reason) in cases {
        let cases: [Case<'_>; 2] = [
            (row, &["push", "--", text, "@d"], 2, reason),
            (row, &["push", "--", "@s", text], 2, reason),
        ];
        judge(&cases);
    }
    judge(&[
        ("B-U5", &["ls", "u:sesame@h:p"], 2, "password-in-location"),
        ("B-U7", &["push", "@s", "https://h.invalid/x?sig=sesame"], 2, "source-only"),
        ("B-U7", &["push", "-n", "@s", "hf://datasets/o/n"], 2, "source-only"),
        ("B-C6", &["ls", "--endpoint-url", "https://k:sesame@h", "@s"], 2, "bad-value"),
    ]);
}

/// What was typed is in the message, so that it can be found in a long command
#[test]
fn a_refused_location_is_repeated() {
    for (row, text) in [
        ("B-U2", "ssh://h:70000/x"),
        ("B-U3", "[::1"),
        ("B-U7", "ftp://h/x"),
        ("B-U7", "h::module"),
        ("B-U9", "ssh://h/%zz"),
    ] {
        let place = Place::new();
        let ended = place.xfer.run(place.words(&["push", "@s", text])).expect_code(2);
        assert!(ended.stderr.lines().next().unwrap().contains(text), "{row}: {}", ended.stderr);
    }
}

/// What looks bad and has a meaning: it is looked up as it was typed
#[test]
fn hosts_are_taken_as_typed() {
    for (row, text) in [
        ("B-U3", "ssh://[fe80::1%eth0]/x"),
        ("B-U3", "[::ffff:1.2.3.4]:x"),
        ("B-U6", "host.invalid.:x"),
        ("B-U6", "ssh://b\u{fc}cher.invalid/x"),
        ("B-U6", "p\u{430}ypal.invalid:x"),
        ("B-U6", "xn--zzzzzzz99.invalid:x"),
        ("B-U9", "ssh://h/%252e%252e"),
        ("B-U9", "h:..%2f"),
    ] {
        let place = Place::new();
        let ended = place.xfer.run(place.words(&["push", "@s", text]));
        // The ssh of this place says nothing, which is no host to go on with.
        assert_ne!(ended.code(), 2, "{row}: {text}: {}", ended.stderr);
        assert!(place.path("mark").exists(), "{row}: {text} was not asked for: {}", ended.stderr);
    }
    for (row, text, name) in [("B-U7", "./host:path", "host:path"), ("B-U7", "C\\x", "C\\x")] {
        let place = Place::new();
        let mut command = place.command(&["push", "@file", text]);
        command.current_dir(place.path("named"));
        assert_eq!(command.status().unwrap().code(), Some(0), "{row}");
        assert!(place.path("named").join(name).is_file(), "{row}: {text}");
    }
}
