//! The same command finishes what a kill -9 of any process interrupted

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xfer_tests::random::Random;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Running, long};
use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, number, remote};

const BLOCK: u64 = 1 << 20;
const SMALL_FILES: usize = 100;

/// Whom to kill
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The program that the user started
    Xfer,
    /// What it runs on the other machine
    Agent,
    /// The server's processes for this session, and not the agent
    Session,
}

const CASES: [(&str, Victim); 6] = [
    ("push", Victim::Xfer),
    ("push", Victim::Agent),
    ("push", Victim::Session),
    ("pull", Victim::Xfer),
    ("pull", Victim::Agent),
    ("pull", Victim::Session),
];

/// `XFER_KILLS` sets how many kills; 200 take about half an hour
#[test]
fn the_same_command_finishes_after_a_kill() {
    let kills = std::env::var("XFER_KILLS").map_or(CASES.len(), |text| text.parse().unwrap());
    let pair = Pair::new();
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    let length = if long() { 1 << 30 } else { 128 << 20 };
    tree::big_file(&source.join("large"), length, 7);
    tree::small_files(&source.join("small"), SMALL_FILES, 8);
    let files = oracle::survey(&source).into_values().filter(|facts| facts.kind == "file");
    let size = files.map(|facts| facts.size).sum();
    let mut random = Random::new(2_026);
    for (index, (verb, victim)) in (0..kills).zip(CASES.into_iter().cycle()) {
        // Far enough from the end that a kill comes before it, though progress is told rarely.
        let killed_at = size / 100 * (5 + random.below(35));
        let destination = pair.path(&format!("destination-{index}"));
        let round = Round { pair: &pair, verb, victim, killed_at, size, source: &source };
        round.play(&destination);
        fs::remove_dir_all(&destination).expect("remove");
    }
}

struct Round<'a> {
    pair: &'a Pair,
    verb: &'static str,
    victim: Victim,
    killed_at: u64,
    size: u64,
    source: &'a PathBuf,
}

impl Round<'_> {
    fn play(&self, destination: &Path) {
        let what =
            format!("{} of {:?} at {} of {}", self.verb, self.victim, self.killed_at, self.size);
        let command = self.command(destination);
        let running = self.pair.xfer.start(&command);
        let event = running.next_event(|event| {
            event["type"] == "progress" && number(event, "payload_bytes") >= self.killed_at
        });
        let event = event.unwrap_or_else(|| panic!("{what}: over before the kill"));
        self.kill(&running);
        let first = running.wait();
        let sent = last_payload(&first).max(number(&event, "payload_bytes"));
        let allowance = streams(&first) * BLOCK + self.size / 100;
        if first.code() == 0 {
            // Who was not killed itself may connect again and finish.
            assert!(!matches!(self.victim, Victim::Xfer), "{what}: it was not killed");
            assert!(number(&first.result(), "payload_bytes") <= self.size + allowance, "{what}");
        } else {
            assert!(0 < sent && sent < self.size, "{what}: killed at {sent}");
            let result = self.pair.xfer.run(&command).expect_code(0).result();
            let (payload, reused) =
                (number(&result, "payload_bytes"), number(&result, "reused_bytes"));
            assert!(reused > 0, "{what}: nothing re-used");
            assert_eq!(payload + reused, self.size, "{what}");
            let again = (sent + payload).saturating_sub(self.size);
            assert!(again <= allowance, "{what}: {again} bytes twice, {allowance} allowed");
        }
        oracle::assert_equal(self.source, destination);
        oracle::assert_nothing_of_xfer(destination);
        let last = self.pair.xfer.run(&command).expect_code(0).result();
        assert_eq!(number(&last, "payload_bytes"), 0, "{what}");
    }

    fn command(&self, destination: &Path) -> Vec<OsString> {
        let locations = match self.verb {
            "push" => [inside(self.source), remote(destination)],
            _ => [inside(remote(self.source)), OsString::from(destination)],
        };
        arguments(self.verb, &[], &locations)
    }

    fn kill(&self, running: &Running) {
        match self.victim {
            Victim::Xfer => running.signal("KILL"),
            Victim::Agent => kill(&session_processes(&self.pair.server, is_agent)),
            Victim::Session => kill(&session_processes(&self.pair.server, is_server)),
        }
    }
}

/// The processes of all sessions whose program's file name is wanted
pub(crate) fn session_processes(server: &Sshd, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let program = |process: &u32| {
        let path = fs::read_link(format!("/proc/{process}/exe")).ok()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    };
    let processes = server.session_processes().into_iter();
    let found: Vec<_> =
        processes.filter(|process| program(process).is_some_and(|name| wanted(&name))).collect();
    assert!(!found.is_empty(), "no such process in a session");
    found
}

/// Whether a program's file name is neither the server's nor a shell's
pub(crate) fn is_agent(name: &str) -> bool {
    !is_server(name) && !matches!(name, "sh" | "dash" | "bash")
}

fn is_server(name: &str) -> bool {
    name.starts_with("sshd")
}

pub(crate) fn kill(processes: &[u32]) {
    let processes = processes.iter().map(u32::to_string);
    // One that a parent's death took along is gone already.
    Command::new("kill").arg("-KILL").args(processes).status().expect("run kill");
}

/// The payload that the last whole line tells of; a kill may cut a line
fn last_payload(ended: &Ended) -> u64 {
    let events = ended.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut told = events.filter_map(|event| event["payload_bytes"].as_u64());
    told.next_back().expect("progress was told")
}

fn streams(ended: &Ended) -> u64 {
    let events = ended.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let routes = events.filter(|event| event["type"] == "route");
    routes.filter_map(|event| event["streams"].as_u64()).next_back().unwrap_or(16)
}

/// The records of finished files survive the kill, so the next run compares little
#[test]
fn what_a_killed_push_had_finished_is_not_hashed_again() {
    let pair = Pair::new();
    let (source, destination) = (pair.path("source"), pair.path("destination"));
    tree::small_files(&source, 16_000, 9);
    let locations = [inside(&source), remote(&destination)];
    let running = pair.xfer.start(arguments("push", &["--bwlimit", "40MB/s"], &locations));
    let half = |event: &Value| event["files_done"].as_u64() >= Some(8_000);
    running.next_event(half).expect("half of it arrives");
    running.signal("KILL");
    running.wait().expect_code(137);

    let ended = pair.xfer.run(arguments("push", &[], &locations)).expect_code(0);
    let result = ended.result();
    let size = number(&result["bytes"], "selected");
    let told = |event: &Value| event["type"] == "progress";
    let last = ended.events().into_iter().rfind(told).expect("progress is told");
    let (verified, reused) = (number(&last, "verified_bytes"), number(&last, "reused_bytes"));
    assert!(reused >= size * 9 / 20, "{reused} of {size} bytes were there: {result}");
    assert!(verified <= size * 3 / 10, "{verified} of {size} bytes were hashed again");
    oracle::assert_equal(&source, &destination);
    let last = pair.xfer.run(arguments("push", &[], &locations)).expect_code(0).result();
    assert_eq!(number(&last["entries"], "unchanged"), number(&last["entries"], "selected"));
}
