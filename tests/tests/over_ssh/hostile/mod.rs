//! A far side that lies: nothing appears outside the destination, the code is right, and memory
//! does not follow what it claims

mod controller;
mod sink;
mod source;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use xfer_tests::oracle::{self, Survey};
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Running, measured, measurement};

use crate::{Pair, arguments, inside, remote};

/// The stub: it is placed and started as the agent is, its digest checked
const STUB: &str = env!("CARGO_BIN_EXE_stub_agent");

/// Memory that a peer's claims may cost
const GROWTH_KIB_MAX: u64 = 64 << 10;

/// A lie, and the codes that it may end with
struct Row {
    script: String,
    codes: &'static [i32],
}

fn row(script: impl Into<String>, codes: &'static [i32]) -> Row {
    Row { script: script.into(), codes }
}

/// What either side may be told; the code of each is its row's in the fault matrix
fn to_either() -> Vec<Row> {
    let out_of_turn = ["early", "request", "unasked", "again"];
    let mut rows: Vec<_> = out_of_turn.map(|script| row(script, &[12])).into();
    // The end of a stream is a lost connection, wherever it comes.
    rows.push(row("end", &[10]));
    // Lengths of header and payload: none, one above the limit, and the largest.
    for (header, payload) in
        [(0, 0), ((1 << 20) + 1, 0), (u32::MAX, 0), (1, (16 << 20) + 1), (1, u32::MAX)]
    {
        let raw = [u32::to_le_bytes(header), u32::to_le_bytes(payload)].concat();
        rows.push(row(format!("raw {}", hex(&raw)), &[15]));
    }
    rows.push(row(format!("raw {}", hex(b"GET / HTTP/1.1\r\n\r\n")), &[15]));
    for count in counts(12) {
        rows.push(row(format!("count {}", hex(&count)), &[12]));
    }
    rows.push(row("flood", &[12]));
    rows
}

/// Encoded counts of 2^n + 1, 2^32 and 2^63 elements, and one that is longer than its number
fn counts(n: u32) -> [Vec<u8>; 4] {
    let above = (1_u32 << n) + 1;
    let low = |shift: u32| u8::try_from(above >> shift & 0x7f).expect("seven bits");
    let above = if n < 14 {
        vec![low(0) | 0x80, low(7)]
    } else {
        vec![low(0) | 0x80, low(7) | 0x80, low(14)]
    };
    let largest = [&[0x80; 9][..], &[1]].concat();
    [above, vec![0x80, 0x80, 0x80, 0x80, 0x10], largest, vec![0x80, 0]]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server whose agent lies, a place outside the destination, and what it holds
struct Lab {
    pair: Pair,
    outside: Survey,
    wrong: RefCell<Vec<String>>,
}

impl Lab {
    fn new() -> Self {
        let pair = Pair::new();
        let outside = pair.path("outside");
        fs::create_dir(&outside).expect("create");
        tree::write(&outside.join("passwd"), b"precious");
        let outside = oracle::survey(&outside);
        Self { pair, outside, wrong: RefCell::default() }
    }

    /// Runs the program against an agent that lies so; how it ended, and its largest memory in KiB
    fn run(&self, verb: &str, script: &str, flags: &[&str], at: &[OsString]) -> (Ended, u64) {
        fs::write(self.pair.server.home().join("row"), script).expect("write");
        let usual = ["--retries", "0", "--stall-timeout", "5s", "--agent-binary", STUB];
        let flags = [&usual[..], flags].concat();
        let plain = self.pair.xfer.command(arguments(verb, &flags, at));
        let memory = self.pair.path("memory");
        let ended = Running::start(measured(&plain, &memory)).wait();
        (ended, measurement(&memory))
    }

    fn pull(&self, script: &str) -> (Ended, u64) {
        self.pull_from(Path::new("/anything/"), script)
    }

    fn pull_from(&self, from: &Path, script: &str) -> (Ended, u64) {
        self.run("pull", script, &[], &[remote(from), inside(self.pair.path("in"))])
    }

    /// Memory in KiB where nothing is a lie, the stub being there already
    fn honest_pull(&self) -> u64 {
        self.pull("honest").0.expect_code(0);
        fs::remove_dir_all(self.pair.path("in")).expect("remove");
        let (ended, memory) = self.pull("honest");
        ended.expect_code(0);
        memory
    }

    fn push(&self, script: &str, flags: &[&str]) -> (Ended, u64) {
        let at = [inside(self.pair.path("source")), inside(remote(Path::new("/anything")))];
        self.run("push", script, flags, &at)
    }

    /// Judges a row: its code, its memory, and that nothing appeared beside what is known
    fn judge(&self, row: &Row, ran: &(Ended, u64), baseline: u64) {
        let (Ended { stdout, stderr, .. }, code) = (&ran.0, ran.0.code());
        let Row { script, codes } = row;
        let script = script.chars().take(60).collect::<String>();
        let growth = ran.1.saturating_sub(baseline);
        println!("{script}: exit {code}, {growth} KiB more than {baseline}");
        if !codes.contains(&code) {
            self.note(format!("{script}: {code}, not {codes:?}\n{stdout}\n{stderr}"));
        }
        if growth > GROWTH_KIB_MAX {
            self.note(format!("{script}: {growth} KiB more than {baseline}"));
        }
        self.judge_places(&script);
    }

    /// Notes what must not be; all of it is told at the end
    fn note(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }

    /// Notes what appeared or changed outside the destination
    fn judge_places(&self, script: &str) {
        let outside = oracle::survey(&self.pair.path("outside"));
        let changes = oracle::differences(&self.outside, &outside).into_iter();
        let known = ["in", "outside", "memory", "source"];
        let beside = fs::read_dir(self.pair.place.path())
            .expect("list")
            .map(|entry| entry.expect("list").file_name())
            .filter(|name| !known.iter().any(|known| name == known))
            .map(|name| format!("{name:?} appeared"));
        changes.chain(beside).for_each(|what| self.note(format!("{script}: {what}")));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let wrong = self.wrong.borrow();
        assert!(std::thread::panicking() || wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
