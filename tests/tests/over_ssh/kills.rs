//! The same command finishes what a kill -9 of any process interrupted

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use xfer_tests::random::Random;
use xfer_tests::relay::{Direction, Relay};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Xfer, long};
use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, number, remote};

const BLOCK: u64 = 1 << 20;
const LENGTH: u64 = 1 << 30;
const SMALL_FILES: usize = 100;

/// Nothing passes so long after the point of a kill before it was done
const HELD_AFTER: u64 = 4 << 20;

/// More than the login, the listing and one block of each stream
const FIRST_KILL: u64 = 8 << 20;

/// What is waited for comes sooner, or never
const WITHIN: Duration = Duration::from_secs(120);

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

/// `XFER_KILLS` sets how many kills, `XFER_KILLS_SEED` their points; 200 take about half an hour
#[test]
fn the_same_command_finishes_after_a_kill() {
    let few = if long() { 200 } else { CASES.len() as u64 };
    let kills = usize::try_from(variable("XFER_KILLS").unwrap_or(few)).expect("few");
    let mut random = Random::new(variable("XFER_KILLS_SEED").unwrap_or(2_026));
    let pair = Pair::new();
    let relay = Relay::to(pair.server.port());
    let config = pair.server.client_config_by_way_of("host", relay.port());
    let xfer = Xfer::new().ssh_config(config);
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), LENGTH, 7);
    tree::small_files(&source.join("small"), SMALL_FILES, 8);
    let files = oracle::survey(&source).into_values().filter(|facts| facts.kind == "file");
    let size = files.map(|facts| facts.size).sum();
    // From here on the agent lies there, and is no part of what passes.
    let nothing = pair.path("nothing");
    tree::write(&nothing, b"");
    let first = arguments("push", &[], &[nothing.into(), remote(&pair.path("placed"))]);
    xfer.run(&first).expect_code(0);
    let mut most_again = 0;
    for (index, (verb, victim)) in (0..kills).zip(CASES.into_iter().cycle()) {
        let killed_at = FIRST_KILL + random.below(size - FIRST_KILL - 2 * HELD_AFTER);
        let destination = pair.path(&format!("destination-{index}"));
        let server = &pair.server;
        let round = Round { server, xfer: &xfer, relay: &relay, verb, victim, killed_at, size };
        most_again = most_again.max(round.play(&source, &destination));
        fs::remove_dir_all(&destination).expect("remove");
    }
    println!("{kills} kills; at most {most_again} of {size} bytes were sent again");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

struct Round<'a> {
    server: &'a Sshd,
    xfer: &'a Xfer,
    relay: &'a Relay,
    verb: &'static str,
    victim: Victim,
    killed_at: u64,
    size: u64,
}

impl Round<'_> {
    /// Kills, goes on with the same command, and tells how many bytes were sent again
    fn play(&self, source: &Path, destination: &Path) -> u64 {
        let what =
            format!("{} of {:?} at {} of {}", self.verb, self.victim, self.killed_at, self.size);
        let command = self.command(source, destination);
        let (sent, first) = self.kill(&command, &what);
        // All that passed, the login too, is less than the payload: its last byte did not pass.
        assert!(sent < self.size, "{what}: {sent} passed");
        // Nothing appears under its name before the last byte came.
        let large = destination.join("large");
        assert!(!large.exists(), "{what}: it was over");
        let held = oracle::allocated(destination);
        assert!(held > 0, "{what}: nothing had arrived");

        let result = self.xfer.run(&command).expect_code(0).result();
        let (payload, reused) = (number(&result, "payload_bytes"), number(&result, "reused_bytes"));
        assert!(reused > 0, "{what}: nothing re-used");
        assert_eq!(payload + reused, self.size, "{what}");
        let again = (sent + payload).saturating_sub(self.size);
        let allowance = streams(&first) * BLOCK + self.size / 100;
        assert!(again <= allowance, "{what}: {again} bytes twice, {allowance} allowed");
        oracle::assert_equal(source, destination);
        oracle::assert_nothing_of_xfer(destination);
        let last = self.xfer.run(&command).expect_code(0).result();
        assert_eq!(number(&last, "payload_bytes"), 0, "{what}");
        println!("{what}: {again} of {allowance} bytes twice, {reused} re-used");
        again
    }

    /// Starts the command and kills while its bytes flow; all that passed in the end, and how it
    /// ended
    fn kill(&self, command: &[OsString], what: &str) -> (u64, Ended) {
        let direction = if self.verb == "push" { Direction::Out } else { Direction::In };
        assert!(self.relay.wait_idle(WITHIN), "{what}: a connection is left from before");
        self.relay.begin(Some(self.killed_at + HELD_AFTER));
        let running = self.xfer.start(command);
        let reached = self.relay.wait_for(direction, self.killed_at, WITHIN);
        assert!(reached, "{what}: it did not come that far");
        match self.victim {
            Victim::Xfer => kill(&[running.id()]),
            Victim::Agent => kill(&session_processes(self.server, is_agent)),
            Victim::Session => kill(&session_processes(self.server, is_server)),
        }
        self.relay.release();
        let ended = running.wait();
        // It may not connect again by itself, so the next run has all the rest to do.
        let code = if matches!(self.victim, Victim::Xfer) { 128 + 9 } else { 10 };
        let ended = ended.expect_code(code);
        assert!(self.relay.wait_idle(WITHIN), "{what}: a connection is left");
        (self.relay.passed(direction), ended)
    }

    fn command(&self, source: &Path, destination: &Path) -> Vec<OsString> {
        let locations = match self.verb {
            "push" => [inside(source), remote(destination)],
            _ => [inside(remote(source)), OsString::from(destination)],
        };
        arguments(self.verb, &["--retries", "0"], &locations)
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
    for process in processes.iter().filter_map(|id| Pid::from_raw(id.cast_signed())) {
        // One that a parent's death took along is gone already.
        let _gone = kill_process(process, Signal::KILL);
    }
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
