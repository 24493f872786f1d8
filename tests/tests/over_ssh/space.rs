//! A destination that is full, or fills up

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use xfer_tests::{oracle, tree};

use crate::{Pair, arguments, inside, number, remote};

const MIB: u64 = 1 << 20;

/// A file system in memory, unmounted when dropped
///
/// Mount it before the server starts, which may not see what is mounted later.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(options: &str) -> Self {
        let place = TempDir::new().expect("temp dir");
        let mut command = Command::new("mount");
        let done = command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place.path()).status();
        assert!(done.expect("run mount").success(), "mounting a tmpfs needs root");
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn too_little_space_is_refused_before_the_first_byte() {
    let full = Tmpfs::mount("size=24m");
    let pair = Pair::new();
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), 32 * MIB, 1);
    let destination = full.path("there");
    let push = arguments("push", &[], &[inside(source), remote(&destination)]);
    let ended = pair.xfer.run(&push).expect_code(8);
    let result = ended.result();
    assert_eq!((&result["reason"], number(&result, "payload_bytes")), (&"no-space".into(), 0));
    for word in ["needed", "free"] {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
    assert!(oracle::allocated(full.0.path()) <= 64 << 10, "{}", oracle::allocated(full.0.path()));
    oracle::assert_nothing_of_xfer(full.0.path());
}

#[test]
fn too_few_inodes_are_refused_before_the_first_byte() {
    let full = Tmpfs::mount("size=64m,nr_inodes=100");
    let pair = Pair::new();
    let source = pair.path("source");
    tree::small_files(&source, 200, 2);
    let push = arguments("push", &[], &[inside(source), remote(&full.path("there"))]);
    let result = pair.xfer.run(&push).expect_code(8).result();
    assert_eq!(number(&result, "payload_bytes"), 0, "{result}");
}

#[test]
fn what_stopped_for_space_goes_on_when_there_is_some() {
    let full = Tmpfs::mount("size=192m");
    let pair = Pair::new();
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    for index in 0..14 {
        tree::big_file(&source.join(format!("part-{index}")), 10 * MIB, index);
    }
    let [destination, filler] = ["there", "filler"].map(|name| full.path(name));
    let locations = [inside(source.clone()), remote(&destination)];
    let push = arguments("push", &[], &locations);
    let running = pair.xfer.start(&push);
    let moving = running.next_event(|event| event["payload_bytes"].as_u64() > Some(8 * MIB));
    moving.expect("bytes move");
    // What is already promised to files stays theirs; all the rest is gone.
    let mut file = File::create(&filler).expect("create");
    while file.write_all(&[1; 1 << 16]).is_ok() {}
    drop(file);
    let first = running.wait().expect_code(8).result();
    assert_eq!(first["reason"], "no-space", "{first}");
    fs::remove_file(&filler).expect("remove");

    let second = pair.xfer.run(&push).expect_code(0).result();
    let (payload, reused) = (number(&second, "payload_bytes"), number(&second, "reused_bytes"));
    assert!(reused >= 4 * MIB, "{second}");
    assert_eq!(payload + reused, 140 * MIB, "{second}");
    oracle::assert_equal(&source, &destination);
    oracle::assert_nothing_of_xfer(&destination);
}

#[test]
fn pulling_needs_no_space_and_no_inode_there() {
    let full = Tmpfs::mount("size=8m,nr_inodes=20");
    let pair = Pair::new();
    let source = full.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), 4 * MIB, 3);
    let mut file = File::create(full.path("filler")).expect("create");
    while file.write_all(&[1; 1 << 12]).is_ok() {}
    for index in 0.. {
        if File::create(full.path(&format!("empty-{index}"))).is_err() {
            break;
        }
    }
    let destination = pair.path("destination");
    let pull = arguments("pull", &[], &[inside(remote(&source)), destination.clone().into()]);
    pair.xfer.run(&pull).expect_code(0);
    oracle::assert_equal(&source, &destination);
}
