//! Transfers that go on by themselves: started, listed, followed, stopped, and killed

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use xfer_tests::xfer::{Ended, Xfer};

/// A file, where it goes, and a program that is slow enough to be caught at it
struct Slow {
    xfer: Xfer,
    source: PathBuf,
    copy: PathBuf,
}

impl Slow {
    fn new() -> Self {
        let xfer = Xfer::new();
        let (source, copy) = (xfer.home().join("source"), xfer.home().join("copy"));
        let bytes: Vec<u8> =
            (0..24u32 << 20).map(|at| (at ^ (at >> 11)).to_le_bytes()[0]).collect();
        fs::write(&source, bytes).expect("write");
        Self { xfer, source, copy }
    }

    fn push(&self, flags: &[&str]) -> Ended {
        let places = [self.source.to_str().expect("text"), self.copy.to_str().expect("text")];
        self.xfer.run([&["push"], flags, &places].concat())
    }

    /// Starts it, and returns its name
    fn detach(&self, rate: &str) -> String {
        let ended = self.push(&["--detach", "--bwlimit", rate]).expect_code(0);
        let id = ended.stdout.trim_end().to_owned();
        assert!(id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        id
    }

    fn listed(&self) -> Value {
        let listed = self.xfer.run(["transfers", "--json"]).expect_code(0);
        let transfer = listed.events().into_iter().find(|event| event["type"] == "transfer");
        transfer.expect("one is listed")
    }

    fn is_copied(&self) -> bool {
        fs::read(&self.copy).expect("a copy") == fs::read(&self.source).expect("a source")
    }
}

#[test]
fn a_detached_transfer_is_followed_to_its_end() {
    let slow = Slow::new();
    let id = slow.detach("8MB/s");
    let listed = slow.listed();
    assert_eq!((&listed["id"], &listed["state"]), (&id[..].into(), &"running".into()), "{listed}");
    assert_eq!(listed["verb"], "push");
    let followed = slow.xfer.run(["attach", "--json", &id[..3]]).expect_code(0);
    assert_eq!(followed.events()[0]["type"], "run");
    assert_eq!(followed.result()["status"], "done");
    assert!(slow.is_copied());
    let listed = slow.listed();
    assert_eq!((&listed["state"], &listed["exit_code"]), (&"done".into(), &0.into()), "{listed}");
    // Whoever comes later is told the same, in words.
    let words = slow.xfer.run(["attach", &id]).expect_code(0);
    let words = words.stderr;
    assert!(words.contains("1 entry moved"), "{words}");
}

#[test]
fn a_cancelled_one_goes_on_from_what_arrived() {
    let slow = Slow::new();
    let id = slow.detach("2MB/s");
    // Until something has arrived, there is nothing to go on from.
    let looking = slow.xfer.start(["attach", "--json", &id]);
    let sent = |event: &Value| event["payload_bytes"].as_u64() > Some(1 << 20);
    looking.next_event(sent).expect("payload flows");
    looking.signal("INT");
    looking.wait().expect_code(130);
    let cancelled = slow.xfer.run(["cancel", "--json", &id]).expect_code(0).result();
    assert!(cancelled["message"].as_str().unwrap().contains("stopped"), "{cancelled}");
    assert!(!slow.copy.exists(), "a file appeared before it was whole");
    let listed = slow.listed();
    assert_eq!((&listed["state"], &listed["exit_code"]), (&"failed".into(), &143.into()));
    slow.xfer.run(["attach", &id]).expect_code(143);
    let again = slow.xfer.run(["cancel", "--json", &id]).expect_code(0).result();
    assert!(again["message"].as_str().unwrap().contains("had ended before"), "{again}");
    let result = slow.push(&["--json"]).expect_code(0).result();
    assert!(result["reused_bytes"].as_u64() > Some(0), "{result}");
    assert!(slow.is_copied());
}

#[test]
fn one_that_is_killed_has_no_known_outcome() {
    let slow = Slow::new();
    let id = slow.detach("1MB/s");
    let number = fs::read_to_string(slow.xfer.state().join(format!("detached/{id}.pid"))).unwrap();
    let looking = slow.xfer.start(["attach", "--json", &id]);
    looking.next_event(|event| event["type"] == "plan").expect("it has a plan");
    assert!(Command::new("kill").args(["-KILL", number.trim()]).status().unwrap().success());
    assert_eq!(looking.wait().expect_code(1).result()["reason"], "transfer-died");
    assert_eq!(slow.listed()["state"], "died");
    let cancelled = slow.xfer.run(["cancel", "--json", &id]).expect_code(1);
    assert_eq!(cancelled.result()["reason"], "transfer-died");
}

/// What is refused at once is told by the command that was typed
#[test]
fn a_refusal_comes_before_it_is_left_alone() {
    let slow = Slow::new();
    fs::remove_file(&slow.source).unwrap();
    let events = slow.xfer.home().join("events");
    let flags = ["--detach", "--json", "--events", events.to_str().unwrap()];
    let refused = slow.push(&flags).expect_code(4);
    assert_eq!(refused.result()["exit_code"], 4);
    // The file is the transfer's own.
    let kept = fs::read_to_string(&events).unwrap();
    assert_eq!(kept.matches("\"type\":\"result\"").count(), 1, "{kept}");
    slow.push(&["--detach", "--dry-run"]).expect_code(2);
    slow.push(&["--detach", "--print-onstart"]).expect_code(2);
    slow.xfer.run(["attach", "ffffffff"]).expect_code(4);
}
