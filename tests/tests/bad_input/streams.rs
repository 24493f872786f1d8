//! Bytes on an agent's stream that no controller of ours sends
//!
//! The agent is the real one, on pipes. Whatever comes, it ends by itself, says nothing to who did
//! not greet, and leaves the tree beside it as it was.

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use xfer_protocol::hello::{Hello, MAGIC, Role, SessionId, VERSION_MAX};
use xfer_tests::random::Random;
use xfer_tests::stub::{Controller, from_hex};

use crate::place::Place;

const SESSION: [u8; 16] = [7; 16];
const MARK: [u8; 32] = [0xab; 32];

/// Who does not greet is gone by then
const GREETS_WITHIN: Duration = Duration::from_secs(5);

/// What a busy machine may add
const MARGIN: Duration = Duration::from_secs(15);

/// Silence after which the agents of this test give up, in seconds
const SILENCE: &str = "2";

/// What a protocol that was broken ends with
const BROKEN: i32 = 12;

/// What a name that leads out ends with
const UNSAFE: i32 = 16;

/// What must be refused as a frame, by name, reason and bytes
const REFUSED: &str = include_str!("../../../protocol/vectors/refused.txt");

fn agent(place: &Place) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let session = "07".repeat(16);
    let mark = "ab".repeat(32);
    let words = ["agent", "--sentinel", &mark, "--session", &session, "--silence", SILENCE];
    let mut command = place.command(&words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let input = process.stdin.take().unwrap();
    (process, input, output)
}

/// Sends bytes before any hello, and returns what the agent says behind its mark and its exit code;
/// the stream stays open, so that only the agent can end it
fn greet_with(place: &Place, bytes: &[u8]) -> (Vec<u8>, Option<i32>, Duration) {
    let (mut process, mut input, mut output) = agent(place);
    let mut mark = [0; MARK.len()];
    output.read_exact(&mut mark).unwrap();
    assert_eq!(mark, MARK);
    let began = Instant::now();
    // It may have hung up before the last of them.
    let _sent = input.write_all(bytes).and_then(|()| input.flush());
    let mut said = Vec::new();
    output.read_to_end(&mut said).unwrap();
    let code = process.wait().unwrap().code();
    (said, code, began.elapsed())
}

fn hello(change: impl Fn(&mut Hello)) -> Vec<u8> {
    let mut hello = Hello::new(Role::Controller, SessionId(SESSION), 0);
    change(&mut hello);
    hello.encode()
}

fn with_length(length: u16, body: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &length.to_le_bytes(), body].concat()
}

#[test]
fn who_does_not_greet_is_told_nothing_and_gone_in_time() {
    let random = Random::new(9).bytes(4096);
    let quic = [&[0xc3, 0, 0, 0, 1, 8][..], &[0x5a; 1194]].concat();
    let long = with_length(1024, &[b'x'; 1 << 20]);
    for (row, name, bytes) in [
        ("B-W9", "random", random),
        ("B-W9", "http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("B-W9", "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("B-W9", "ssh", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        ("B-W9", "quic", quic),
        ("B-W9", "silence", Vec::new()),
        ("B-W8", "length 0", with_length(0, b"")),
        ("B-W8", "length 65535", with_length(u16::MAX, b"")),
        ("B-W8", "1 MiB", long),
        ("B-W8", "version 0", hello(|h| (h.version_min, h.version_max) = (0, 0))),
        ("B-W8", "versions reversed", hello(|h| (h.version_min, h.version_max) = (u32::MAX, 0))),
        ("B-W8", "reflected", hello(|h| h.role = Role::Agent)),
        ("B-W8", "cut", hello(|_| ())[..20].to_vec()),
        ("B-W2", "before the hello", from_hex("0300000000000000000100")),
    ] {
        let place = Place::new();
        let (said, code, took) = greet_with(&place, &bytes);
        assert!(said.is_empty(), "{row}: {name}: answered with {} bytes", said.len());
        assert_eq!(code, Some(BROKEN), "{row}: {name}");
        let bound = GREETS_WITHIN + MARGIN;
        assert!(took < bound, "{row}: {name}: {took:?}");
        place.is_untouched(row);
    }
}

/// A controller of another time is told the versions that there are, so that it can say why
#[test]
fn a_later_version_is_told_why() {
    let place = Place::new();
    for min in [VERSION_MAX + 1, u32::MAX] {
        let bytes = hello(|h| (h.version_min, h.version_max) = (min, u32::MAX));
        let (said, code, _) = greet_with(&place, &bytes);
        assert!(said.starts_with(&MAGIC) && said.len() < 200, "B-W8: {said:?}");
        assert_eq!(code, Some(BROKEN), "B-W8: {min}");
    }
}

/// The row that a vector belongs to
fn row_of(name: &str, reason: &str) -> &'static str {
    match (name, reason) {
        (_, "HeaderLength" | "PayloadLength") => "B-W1",
        (name, _) if name.starts_with("encoded") || name.starts_with("accepting") => "B-W7",
        ("text-not-utf8" | "cut-short", _) => "B-W3",
        (name, _) if name.contains("integer") || name.contains("variant") => "B-W3",
        (_, "Range" | "RangeOrder" | "DigestCount" | "FileSize") => "B-W4",
        (name, _) if name.starts_with("range") || name.starts_with("write") => "B-W4",
        _ => "B-W2",
    }
}

/// Sends bytes behind a good greeting, then nothing; the stream is ended or left open
fn send_after_greeting(place: &Place, bytes: &[u8], ends: bool) -> (bool, Option<i32>, Duration) {
    let (mut process, input, output) = agent(place);
    let mut controller = Controller::greet(output, input, MARK.len(), SESSION).unwrap();
    let began = Instant::now();
    let _sent = controller.send_raw(bytes);
    let answered = if ends { false } else { controller.answer().is_ok() };
    drop(controller);
    let code = process.wait().unwrap().code();
    (answered, code, began.elapsed())
}

#[test]
fn frames_that_must_be_refused_end_the_session() {
    let vectors: Vec<_> = REFUSED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.splitn(3, ' ').collect::<Vec<_>>())
        .collect();
    assert!(vectors.len() > 50, "{}", vectors.len());
    let place = Place::new();
    for vector in &vectors {
        let [name, reason, hex] = vector[..] else { panic!("{vector:?}") };
        let row = row_of(name, reason);
        let (answered, code, took) = send_after_greeting(&place, &from_hex(hex), false);
        assert!(!answered, "{row}: {name}: answered");
        let expected = if reason == "UnsafeName" { UNSAFE } else { BROKEN };
        assert_eq!(code, Some(expected), "{row}: {name}");
        assert!(took < MARGIN, "{row}: {name}: {took:?}");
        place.is_untouched(row);
    }
}

#[test]
fn frames_that_end_or_stall_half_way() {
    let place = Place::new();
    for (row, name, bytes, ends) in [
        ("B-W1", "a head without its header, then the end", &[9, 0, 0, 0, 0, 0, 0, 0][..], true),
        ("B-W1", "half a head, then the end", &[9, 0, 0], true),
        ("B-W1", "a head without its header, then silence", &[9, 0, 0, 0, 0, 0, 0, 0], false),
        ("B-W1", "a payload that never comes", &[3, 0, 0, 0, 9, 0, 0, 0, 0, 1, 0], false),
        ("B-W7", "a frame of zstd", b"\x28\xb5\x2f\xfd\x04\x58\x09\x00\x00ab\x00\x00\x00", false),
        ("B-W7", "a frame of gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04", false),
    ] {
        let (answered, code, took) = send_after_greeting(&place, bytes, ends);
        assert!(!answered, "{row}: {name}: answered");
        // A stream that ends is one that was lost, which is no breach.
        assert!(ends || code == Some(BROKEN), "{row}: {name}: {code:?}");
        assert!(took < MARGIN, "{row}: {name}: {took:?}");
        place.is_untouched(row);
    }
}
