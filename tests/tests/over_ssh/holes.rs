//! Files that are mostly holes: no hole is read, sent or filled

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, number, remote};

const GIB: u64 = 1 << 30;

/// Data of the file, each of three runs of 1 MiB beginning and ending within a span of 64 KiB
const DATA_MAX: u64 = 3 * ((1 << 20) + (64 << 10));

/// Bytes that a process may read beside a file: programs, what it is sent, the state of the disk
const READ_MAX: u64 = 256 << 20;

/// Bytes that a process has read until now by any call; 0 when it is gone
fn read_by(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// A tebibyte takes minutes, all of them spent on hashing zeros in memory at both ends
#[test]
fn a_sparse_file_stays_sparse() {
    let length = if xfer_tests::xfer::long() { 1024 * GIB } else { 8 * GIB };
    let pair = Pair::new();
    let [source, there, back] = ["source", "there", "back"].map(|name| pair.path(name));
    fs::create_dir(&source).expect("create");
    tree::sparse_file(&source.join("holes"), length, 5);
    let push = [inside(&source), remote(&there)];
    let pull = [inside(remote(&there)), OsString::from(&back)];
    for (verb, locations, destination) in [("push", &push, &there), ("pull", &pull, &back)] {
        let running = pair.xfer.start(arguments(verb, &[], locations));
        let mut read = 0;
        while running.next_event(|event| event["type"] == "progress").is_some() {
            let agents = pair.server.session_processes();
            let most = agents.into_iter().chain([running.id()]).map(read_by).max();
            read = read.max(most.unwrap_or_default());
        }
        let result = running.wait().expect_code(0).result();
        println!("{verb}: {} s, {} bytes", result["elapsed_s"], result["payload_bytes"]);
        assert!(number(&result, "payload_bytes") <= DATA_MAX, "{verb}: {result}");
        assert!(read > 0 && read <= READ_MAX, "{verb}: one process read {read} bytes");
        assert_same_data(&source, destination);
    }
}

fn assert_same_data(source: &Path, destination: &Path) {
    let changes = oracle::differences(&oracle::survey(source), &oracle::survey(destination));
    assert!(changes.is_empty(), "{changes:?}");
    let allocated = oracle::allocated(destination);
    let directory = 64 << 10;
    assert!(allocated <= DATA_MAX + directory, "{allocated} bytes");
    let [ours, theirs] = [source, destination].map(|place| oracle::data(&place.join("holes")));
    let bytes = |data: &[(u64, Vec<u8>)]| data.iter().map(|(_, run)| run.len() as u64).sum::<u64>();
    assert!(bytes(&ours) >= 3 << 20);
    // What lies beside the other's data is zeros on both sides.
    assert!(oracle::without_zeros(ours) == oracle::without_zeros(theirs), "the data differ");
}
