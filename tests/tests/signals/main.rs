//! Signals: the first stops cleanly, the second at once, and the same command finishes

mod detached;

use std::fs;

use xfer_tests::xfer::{Running, Xfer};

#[test]
fn a_signal_stops_cleanly_and_the_same_command_finishes() {
    for (signal, code, reason) in [("INT", 130, "interrupted"), ("TERM", 143, "terminated")] {
        let xfer = Xfer::new();
        let (source, copy) = (xfer.home().join("source"), xfer.home().join("copy"));
        let bytes: Vec<u8> =
            (0..160u32 << 20).map(|at| (at ^ (at >> 11)).to_le_bytes()[0]).collect();
        fs::write(&source, &bytes).unwrap();
        let words = |rate| {
            let places = [source.as_os_str().to_owned(), copy.as_os_str().to_owned()];
            let flags = ["push", "--json", "--bwlimit", rate].map(Into::into);
            flags.into_iter().chain(places).collect::<Vec<std::ffi::OsString>>()
        };
        let running = xfer.start(words("32MB/s"));
        wait_for_payload(&running);
        running.signal(signal);
        let ended = running.wait().expect_code(code);
        let result = ended.result();
        assert_eq!((&result["exit_code"], &result["reason"]), (&code.into(), &reason.into()));
        assert_eq!(result["retry"], "same-command");
        let counts = &result["entries"];
        assert_eq!((&counts["selected"], &counts["deferred"]), (&1.into(), &1.into()));
        assert!(!copy.exists(), "a file appeared before it was whole");
        let result = xfer.run(words("1GB/s")).expect_code(0).result();
        assert!(result["reused_bytes"].as_u64() > Some(0), "{result}");
        assert!(fs::read(&copy).unwrap() == bytes);
    }
}

#[test]
fn ten_signals_end_it_too() {
    let xfer = Xfer::new();
    let (source, copy) = (xfer.home().join("source"), xfer.home().join("copy"));
    fs::write(&source, vec![3; 160 << 20]).unwrap();
    let words = ["push", "--json", "--bwlimit", "16MB/s"].map(std::ffi::OsString::from);
    let running =
        xfer.start(words.iter().map(AsRef::as_ref).chain([source.as_os_str(), copy.as_ref()]));
    wait_for_payload(&running);
    let script =
        format!("for i in 1 2 3 4 5 6 7 8 9 10; do kill -INT {} || exit 0; done", running.id());
    drop(std::process::Command::new("sh").args(["-c", &script]).output());
    running.wait().expect_code(130);
    assert!(!copy.exists());
}

/// What only reads, and what plays, end as cleanly, and leave nothing
#[test]
fn a_signal_stops_verify_and_rehearse() {
    for (signal, code, reason) in [("INT", 130, "interrupted"), ("TERM", 143, "terminated")] {
        let xfer = Xfer::new();
        let temporary = xfer.home().join("temporary");
        fs::create_dir(&temporary).unwrap();
        let xfer = xfer.env("TMPDIR", &temporary);
        let endless = xfer.home().join("endless");
        fs::File::create(&endless).unwrap().set_len(1 << 40).unwrap();
        let against = format!("file://{}", endless.display());
        let verify = ["verify", "--json", "--against", &against, endless.to_str().unwrap()];
        let named = xfer.home().join("named");
        let rehearse = ["rehearse", "--json"];
        let rehearse_there = ["rehearse", "--json", named.to_str().unwrap()];
        for (words, begun) in [
            (&verify[..], "\"route\""),
            (&rehearse[..], "2  push"),
            (&rehearse_there[..], "2  push"),
        ] {
            let running = xfer.start(words);
            running.next_line(|line| line.contains(begun)).expect("it begins");
            running.signal(signal);
            let result = running.wait().expect_code(code).result();
            assert_eq!((&result["reason"], &result["exit_code"]), (&reason.into(), &code.into()));
            assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "something is left");
        }
        assert_eq!(fs::read_dir(&named).unwrap().count(), 0, "something is left");
    }
}

fn wait_for_payload(running: &Running) {
    let sent = running.next_event(|event| event["payload_bytes"].as_u64() > Some(0));
    assert_eq!(sent.expect("some payload")["type"], "progress");
}
