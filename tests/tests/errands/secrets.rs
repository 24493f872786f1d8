//! What is to be found on the machine while it runs errands

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, MIB, SECRET, Weather, tree};

/// Processes in the machine's host
fn processes(bench: &Bench) -> Vec<PathBuf> {
    let output = Command::new("ip").args(["netns", "pids", bench.trio.host.name()]).output();
    let output = String::from_utf8(output.expect("ip").stdout).expect("text");
    output.lines().map(|id| Path::new("/proc").join(id)).collect()
}

/// What a process has in memory, as far as it can be read
fn memory(process: &Path) -> Vec<u8> {
    let Ok(maps) = fs::read_to_string(process.join("maps")) else { return Vec::new() };
    let Ok(memory) = File::open(process.join("mem")) else { return Vec::new() };
    let mut all = Vec::new();
    for map in maps.lines().filter(|map| map.contains(" rw") && !map.contains("[v")) {
        let (range, _) = map.split_once(' ').expect("a range");
        let (first, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (first, end) = (number(first), number(end));
        let mut bytes = vec![0; usize::try_from(end - first).expect("a length")];
        if memory.read_exact_at(&mut bytes, first).is_ok() {
            all.extend_from_slice(&bytes);
        }
    }
    all
}

fn count(bytes: &[u8], text: &str) -> usize {
    let text = text.as_bytes();
    let first = text[0];
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.filter(|(at, _)| bytes[*at..].starts_with(text)).count()
}

fn files(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), all),
            Ok(kind) if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
}

/// The secret key is nowhere there, in memory, arguments, environment or files; what is there is
/// good for a quarter of an hour at most.
#[test]
fn no_key_is_on_the_machine() {
    let slow = Weather { rate: 8 * MIB, ..Weather::default() };
    let bench = Bench::new(&slow);
    tree::big_file(&bench.trio.files().join("big"), 96 * MIB, 8);
    let running = bench.start("machine:tree/", "s3://bucket/to/", &[]);
    let moved = |event: &serde_json::Value| {
        event["type"] == "progress" && event["payload_bytes"].as_u64() > Some(16 * MIB)
    };
    running.next_event(moved).expect("progress");
    let (mut signatures, mut lives) = (0, Vec::new());
    for process in processes(&bench) {
        for name in ["environ", "cmdline"] {
            let text = fs::read(process.join(name)).unwrap_or_default();
            let shown = String::from_utf8_lossy(&text).into_owned();
            for never in [SECRET, "X-Amz-Signature"] {
                assert_eq!(count(&text, never), 0, "{process:?}/{name}: {shown}");
            }
        }
        let memory = memory(&process);
        assert_eq!(count(&memory, SECRET), 0, "the secret key is in the memory of {process:?}");
        signatures += count(&memory, "X-Amz-Signature=");
        let text = String::from_utf8_lossy(&memory);
        lives.extend(text.split("X-Amz-Expires=").skip(1).map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap_or_default()
        }));
    }
    // Otherwise nothing was looked at.
    assert!(signatures > 0, "no signed request was seen in memory");
    assert!(lives.iter().all(|life| *life <= 900), "{lives:?}");
    let mut all = Vec::new();
    files(&bench.trio.machine.home(), &mut all);
    for path in all.iter().filter(|path| !path.ends_with("tree/big")) {
        let bytes = fs::read(path).unwrap_or_default();
        for never in [SECRET, "X-Amz-Signature="] {
            // The program has that name in it, and nothing that was signed.
            let is_program = never != SECRET && bytes.starts_with(b"\x7fELF");
            assert!(is_program || count(&bytes, never) == 0, "{never} is in {path:?}");
        }
    }
    running.wait().expect_code(0);
}
