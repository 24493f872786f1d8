//! By a login from one machine to the other, with a key that is lent for it

use std::fs;
use std::process::{Command, Stdio};

use xfer_tests::net::Weather;
use xfer_tests::sshd::keygen;

use super::{MIB, Trio, route, until};

const OWN: &[u8] = b"# mine\nssh-rsa AAAA somebody";

fn is_lent(trio: &Trio) -> bool {
    fs::read_to_string(trio.keys()).is_ok_and(|text| text.contains("xfer-passage-"))
}

#[test]
fn a_key_is_lent_and_taken_back() {
    let trio = Trio::new();
    fs::write(trio.keys(), OWN).expect("write");
    for cold in [true, false] {
        if !cold {
            fs::remove_dir_all(trio.sink.home().join("copy")).expect("remove");
        }
        let before = trio.passed_here();
        let ended = trio.push(&["--route", "ssh"]).expect_code(0);
        let passed = trio.passed_here() - before;
        trio.assert_arrived();
        let result = ended.result();
        assert_eq!(route(&result), ("ssh", true));
        assert_eq!(fs::read(trio.keys()).expect("keys"), OWN);
        let payload = result["payload_bytes"].as_u64().expect("bytes");
        assert!(cold || passed < payload / 100, "{passed} bytes of {payload} passed here");
    }
}

#[test]
fn a_file_of_keys_that_was_not_there_is_gone_again() {
    let trio = Trio::new();
    trio.push(&["--route", "ssh"]).expect_code(0);
    trio.assert_arrived();
    assert!(!trio.keys().exists());
}

/// The controller is killed while the key stands there: the sink's own agent takes it back.
#[test]
fn a_killed_controller_leaves_no_key() {
    let trio = Trio::new();
    fs::write(trio.keys(), OWN).expect("write");
    trio.across.cut();
    let running = trio.start(&["--route", "ssh"]);
    until("a key is lent", || is_lent(&trio));
    running.signal("KILL");
    until("the key is taken back", || fs::read(trio.keys()).is_ok_and(|keys| keys == OWN));
    drop(running.wait());
}

/// Once the login stands the key is gone, so a kill later on finds nothing to take back; the same
/// command goes on with what has arrived.
#[test]
fn a_controller_that_is_killed_while_files_move_leaves_nothing() {
    let slow = Weather { rate: 16 * MIB, ..Weather::default() };
    let trio = Trio::with(&slow);
    fs::write(trio.keys(), OWN).expect("write");
    let running = trio.start(&["--route", "ssh"]);
    let moved = |event: &serde_json::Value| {
        event["type"] == "progress" && event["payload_bytes"].as_u64() > Some(20 * MIB)
    };
    running.next_event(moved).expect("progress");
    assert_eq!(fs::read(trio.keys()).expect("keys"), OWN);
    running.signal("KILL");
    drop(running.wait());
    until("the sink is free again", || trio.sink.programs().is_empty());
    let result = trio.push(&["--route", "ssh"]).expect_code(0).result();
    trio.assert_arrived();
    let again = result["payload_bytes"].as_u64().expect("bytes");
    assert!(again < 40 * MIB, "{again} bytes were sent anew");
    assert_eq!(fs::read(trio.keys()).expect("keys"), OWN);
}

/// The controller and every agent are killed: whoever comes next takes the key back.
#[test]
fn a_key_that_nobody_took_back_is_gone_with_the_next_contact() {
    let trio = Trio::new();
    fs::write(trio.keys(), OWN).expect("write");
    trio.across.cut();
    let running = trio.start(&["--route", "ssh"]);
    until("a key is lent", || is_lent(&trio));
    for id in trio.sink.programs() {
        let killed = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        assert!(killed.expect("kill").success());
    }
    running.signal("KILL");
    drop(running.wait());
    assert!(is_lent(&trio), "nobody was left to take it back");
    trio.xfer.run(["ls", "sink:"]).expect_code(0);
    until("the key is taken back", || fs::read(trio.keys()).is_ok_and(|keys| keys == OWN));
}

/// The line is what sshd makes of it: one command, from one address, until its time.
#[test]
fn a_lent_key_opens_one_door_for_a_while() {
    let trio = Trio::new();
    trio.across.cut();
    let running = trio.start(&["--route", "ssh"]);
    until("a key is lent", || is_lent(&trio));
    let line = fs::read_to_string(trio.keys()).expect("keys");
    running.signal("KILL");
    drop(running.wait());
    until("the key is taken back", || !trio.keys().exists());
    let key = trio.sink.directory().join("stolen");
    keygen(&key, "ed25519");
    let public = xfer_tests::sshd::public_key(&key.with_extension("pub"));
    let options = line.split(" ssh-ed25519 ").next().expect("options");
    let (before, rest) = options.split_once("expiry-time=\"").expect("a time");
    let (moment, after) = rest.split_once('"').expect("its end");
    assert!(options.starts_with("restrict,command=\"/") && moment.len() == 14, "{line}");
    let from = format!("from=\"{}\"", trio.to_source.far());
    assert!(options.contains(&from), "{line}");
    let here = options.replace(&from, &format!("from=\"{}\"", trio.to_sink.near()));
    let past = format!("{before}expiry-time=\"20200101000000\"{after}");
    let past = past.replace(&from, &format!("from=\"{}\"", trio.to_sink.near()));
    for (options, is_taken) in [(&*here, true), (&*past, false), (options, false)] {
        fs::write(trio.keys(), format!("{options} {public}\n")).expect("write");
        let logged_in = trio.sink.log_count("Accepted publickey");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-i"])
            .arg(&key)
            .args(["-p", &trio.sink.port().to_string()])
            .arg(format!("{}@{}", trio.sink.user(), trio.sink.address()))
            .args(["touch", "stolen"])
            .stdin(Stdio::null());
        let output = trio.controller.within(|| ssh.output()).expect("ssh");
        let count = trio.sink.log_count("Accepted publickey") - logged_in;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(count > 0, is_taken, "{options}\n{said}");
        // No session is there any more, so the one command that it may run fails.
        assert!(!output.status.success(), "{options}");
        assert!(!trio.sink.home().join("stolen").exists());
    }
    fs::remove_file(trio.keys()).expect("remove");
}

/// Where no way leads from one to the other, nothing is sent and nothing is left.
#[test]
fn where_no_way_leads_across_it_says_so() {
    let trio = Trio::new();
    fs::write(trio.keys(), OWN).expect("write");
    trio.across.cut();
    let ended = trio.push(&[]).expect_code(10);
    let result = ended.result();
    assert_eq!(result["reason"], "no-way-between");
    assert!(ended.stderr.contains("--via here"), "{}", ended.stderr);
    assert_eq!(fs::read(trio.keys()).expect("keys"), OWN);
    assert!(!trio.sink.home().join("copy").exists());
}
