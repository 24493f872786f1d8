//! Variables, streams and descriptors as a careless caller leaves them

use std::fs;

use xfer_tests::xfer::Running;

use crate::place::{Place, by_shell};

#[test]
fn variables() {
    let cases: &[(&str, &[(&str, Option<&str>)], i32, &str)] = &[
        ("B-E1", &[("HOME", None), ("XDG_STATE_HOME", None)], 3, "no-directory"),
        ("B-E1", &[("HOME", Some("relative")), ("XDG_STATE_HOME", None)], 3, "no-directory"),
        ("B-E1", &[("HOME", Some("/nonexistent")), ("XDG_STATE_HOME", None)], 3, "no-directory"),
        ("B-E1", &[("HOME", Some("")), ("XDG_STATE_HOME", Some("relative"))], 3, "no-directory"),
        ("B-E1", &[("HOME", Some("/proc")), ("XDG_STATE_HOME", None)], 14, "state-unwritable"),
        ("B-E1", &[("XFER_STREAMS", Some("0"))], 2, "bad-value"),
        ("B-E1", &[("XFER_JSON", Some("maybe"))], 2, "bad-value"),
        ("B-E1", &[("XFER_VERIFY", Some("\u{1b}]0;x\u{7}"))], 2, "bad-value"),
        (
            "B-E1",
            &[("XFER_EXCLUDE", Some("[")), ("TMPDIR", Some("/nonexistent"))],
            2,
            "bad-pattern",
        ),
        ("B-E1", &[("XFER_CONFIG", Some("/nonexistent"))], 3, "config-missing"),
        ("B-E1", &[("XFER_CONFIG", Some("/"))], 3, "config-unreadable"),
    ];
    for (row, variables, code, reason) in cases {
        let place = Place::new();
        let make = || {
            let mut command = place.command(&["push", "@s", "@d"]);
            for (name, value) in *variables {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command
        };
        place.refuses(row, make, *code, reason);
    }
}

/// What is meant for trees leaves nothing out of an installation
#[test]
fn the_program_is_installed_whatever_is_left_out_of_trees() {
    for (name, value) in [
        ("XFER_MAX_SIZE", "1MB"),
        ("XFER_EXCLUDE", "*"),
        ("XFER_MIN_AGE", "3650d"),
        ("XFER_DRY_RUN", "1"),
    ] {
        let place = Place::new();
        let mut command = place.command(&["install", "@named/"]);
        command.env(name, value);
        let ended = Running::start(command).wait();
        assert_eq!(ended.code(), 0, "{name}: {}", ended.stderr);
        assert!(place.path("named/xfer").exists(), "{name}: nothing was installed");
    }
}

/// What others put into the environment for themselves neither harms nor comes to light
#[test]
fn variables_of_others() {
    for (row, name, value) in [
        ("B-E1", "TMPDIR", "/nonexistent"),
        ("B-E1", "RUST_LOG", "trace,sesame=debug"),
        ("B-E1", "HTTPS_PROXY", "http://user:sesame@proxy.invalid:3128"),
        ("B-E1", "ALL_PROXY", "socks5://user:sesame@proxy.invalid"),
        ("B-E1", "VAST_API_KEY", "sesame"),
        ("B-E1", "AWS_SECRET_ACCESS_KEY", "sesame"),
        ("B-E1", "SSH_AUTH_SOCK", "/nonexistent/sesame"),
    ] {
        let place = Place::new();
        let mut command = place.command(&["push", "-v", "-v", "--events", "@e", "@s", "@d/"]);
        command.env(name, value);
        let ended = Running::start(command).wait();
        assert_eq!(ended.code(), 0, "{row}: {name}: {}", ended.stderr);
        let events = fs::read_to_string(place.path("e")).unwrap();
        for text in [&ended.stderr, &ended.stdout, &events] {
            assert!(!text.contains("sesame"), "{row}: {name}: {text}");
        }
        let kept = std::process::Command::new("grep")
            .args(["-r", "sesame"])
            .arg(place.xfer.state())
            .output()
            .unwrap();
        assert!(kept.stdout.is_empty(), "{row}: {name} is in the state directory");
    }
}

#[test]
fn projects_cannot_name_commands() {
    for (row, text, reason) in [
        ("B-E1", "agent-binary = '/bin/sh'", "config-forbidden-key"),
        ("B-E1", "ssh-option = ['ProxyCommand=touch mark']", "config-forbidden-key"),
        ("B-E1", "identity = ['/etc/shadow']", "config-forbidden-key"),
        ("B-E1", "command = 'id'", "config-unknown-key"),
        ("B-E1", "streams = 0", "bad-value"),
        ("B-E1", "streams = ", "config-malformed"),
    ] {
        let mut place = Place::new();
        fs::write(place.path("s/.xfer.toml"), text).unwrap();
        place.set();
        let make = || {
            let mut command = place.command(&["push", "@s", "@d"]);
            command.current_dir(place.path("s"));
            command
        };
        place.refuses(row, make, 3, reason);
    }
}

#[test]
fn surroundings_that_work_all_the_same() {
    for (row, script) in [
        ("B-E2", "exec \"$@\" <&-"),
        ("B-E2", "exec \"$@\" >&-"),
        ("B-E2", "exec \"$@\" 2>&-"),
        ("B-E2", "exec \"$@\" <&- >&- 2>&-"),
        ("B-E2", "umask 0777; exec \"$@\""),
        ("B-E2", "mkdir gone; cd gone; rmdir ../gone; exec \"$@\""),
        ("B-E2", "unset TERM; exec \"$@\""),
        ("B-E2", "TERM= COLUMNS=0 LC_ALL=C exec \"$@\""),
        (
            "B-E2",
            "ulimit -n 4096; for i in $(seq 3 1000); do eval \"exec $i</dev/null\"; done; \
             exec \"$@\"",
        ),
        ("B-E2", "trap '' PIPE HUP CHLD; exec \"$@\""),
    ] {
        let place = Place::new();
        let ended = Running::start(by_shell(&place, script, &["push", "@s", "@d/"])).wait();
        assert_eq!(ended.code(), 0, "{row}: {script}: {}", ended.stderr);
        assert_eq!(fs::read(place.path("d/s/file")).unwrap(), b"file", "{row}: {script}");
        assert_eq!(fs::read(place.path("d/kept")).unwrap(), b"as it was", "{row}: {script}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_success() {
    let place = Place::new();
    for (row, words) in
        [("B-E2", &["man"][..]), ("B-E2", &["push", "@s", "@d", "--json"]), ("B-E2", &["ls", "@s"])]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(words);
        let status = command.stdout(writer).stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1), "{row}: {words:?}");
    }
    for words in [&["man"][..], &["push", "@s", "@d", "--json"], &["ls", "@s"]] {
        let ended = Running::start(by_shell(&place, "exec \"$@\" >&-", words)).wait();
        assert_eq!(ended.code(), 1, "B-E2: {words:?}: {}", ended.stderr);
    }
    let mut command = place.command(&["man"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stdout(full).status().unwrap().code(), Some(1));
}
