//! A destination that is full, or fills up

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Running, Xfer};
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

    /// Gives it another size, not below what is used
    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
        assert!(done.expect("run mount").success(), "to {size}");
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

/// What is written over what it replaces takes no room beside it.
#[test]
fn a_file_written_over_needs_no_second_copy() {
    let full = Tmpfs::mount("size=24m");
    let pair = Pair::new();
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), 16 * MIB, 1);
    let there = full.path("there");
    fs::create_dir(&there).expect("create");
    tree::big_file(&there.join("large"), 16 * MIB, 2);
    let locations = [inside(source.clone()), remote(&there)];
    pair.xfer.run(arguments("push", &[], &locations)).expect_code(8);
    pair.xfer.run(arguments("push", &["--inplace"], &locations)).expect_code(0);
    oracle::assert_equal(&source, &there);
}

/// Where it cannot be written over after all, there must be room beside it.
#[test]
fn a_file_that_is_locked_needs_its_room() {
    let full = Tmpfs::mount("size=24m");
    let pair = Pair::new();
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), 16 * MIB, 1);
    tree::big_file(&source.join("small"), MIB, 1);
    let there = full.path("there");
    fs::create_dir(&there).expect("create");
    tree::big_file(&there.join("large"), 16 * MIB, 2);
    let locked = File::open(there.join("large")).expect("open");
    locked.lock().expect("lock");
    let before = fs::read(there.join("large")).expect("read");
    let push = arguments("push", &["--inplace"], &[inside(source.clone()), remote(&there)]);
    let result = pair.xfer.run(&push).expect_code(8).result();
    assert_eq!((number(&result, "payload_bytes"), number(&result["entries"], "failed")), (MIB, 1));
    assert!(fs::read(there.join("large")).expect("read") == before);
    drop(locked);
    pair.xfer.run(&push).expect_code(0);
    oracle::assert_equal(&source, &there);
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

/// Fills the disk under a push that is slow enough to notice, and goes on when there is space
pub(crate) fn goes_on_after_a_full_disk(
    config: &str,
    flags: &[&str],
    assert_equal: impl Fn(&Path, &Path),
) {
    let full = Tmpfs::mount("size=192m");
    let pair = Pair::with(config);
    let source = pair.path("source");
    fs::create_dir(&source).expect("create");
    for index in 0..14 {
        tree::big_file(&source.join(format!("part-{index}")), 10 * MIB, index);
    }
    let [destination, filler] = ["there", "filler"].map(|name| full.path(name));
    let locations = [inside(source.clone()), remote(&destination)];
    let push = arguments("push", flags, &locations);
    // Slow enough that the disk is full long before the last byte.
    let slow = [flags, &["--bwlimit", "32MB/s"]].concat();
    let running = pair.xfer.start(arguments("push", &slow, &locations));
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
    assert_equal(&source, &destination);
    oracle::assert_nothing_of_xfer(&destination);
}

#[test]
fn what_stopped_for_space_goes_on_when_there_is_some() {
    goes_on_after_a_full_disk("", &[], oracle::assert_equal);
}

#[test]
fn a_file_that_stopped_at_nine_tenths_needs_the_last_one() {
    let full = Tmpfs::mount("size=256m");
    let pair = Pair::new();
    let source = pair.path("source");
    tree::big_file(&source, 100 * MIB, 6);
    let destination = full.path("there");
    let locations = [source.clone().into(), remote(&destination)];
    let push = arguments("push", &["--bwlimit", "64MB/s"], &locations);
    let running = pair.xfer.start(&push);
    let moving = running.next_event(|event| event["payload_bytes"].as_u64() > Some(4 * MIB));
    moving.expect("bytes move");
    full.resize("90m");
    let first = running.wait().expect_code(8).result();
    assert_eq!(first["reason"], "no-space", "{first}");
    assert!(!destination.exists(), "it appeared before it was whole");
    full.resize("256m");

    let second = pair.xfer.run(&push).expect_code(0).result();
    let (payload, reused) = (number(&second, "payload_bytes"), number(&second, "reused_bytes"));
    assert_eq!(payload + reused, 100 * MIB, "{second}");
    // A block that did not fit whole, and one that another stream had.
    assert!((9 * MIB..=12 * MIB).contains(&payload), "{payload} bytes in the second run");
    assert!(fs::read(&source).expect("read") == fs::read(&destination).expect("read"));
    oracle::assert_nothing_of_xfer(full.0.path());
}

/// Free bytes and free inodes
fn free(full: &Tmpfs) -> (u64, u64) {
    let found = rustix::fs::statvfs(full.0.path()).expect("statvfs");
    (found.f_bavail * found.f_frsize, found.f_favail)
}

/// Pulls from a machine that has room nowhere, with these interpreters hidden there
fn pull_from_a_full_machine(hidden: &[&str]) -> (Ended, PathBuf, TempDir) {
    let full = Tmpfs::mount("size=8m,nr_inodes=30");
    let source = full.path("source");
    fs::create_dir(&source).expect("create");
    tree::big_file(&source.join("large"), 4 * MIB, 3);
    tree::write(&source.join("small"), b"content");
    let mut file = File::create(full.path("filler")).expect("create");
    while file.write_all(&[1; 1 << 12]).is_ok() {}
    for index in 0.. {
        if File::create(full.path(&format!("empty-{index}"))).is_err() {
            break;
        }
    }
    assert_eq!(free(&full), (0, 0));
    let server = Sshd::start_confined_to(full.0.path(), hidden);
    let xfer = Xfer::new().ssh_config(server.client_config("host"));
    let place = TempDir::new().expect("temp dir");
    let destination = place.path().join("destination");
    let there = inside(remote(Path::new("/tmp/source")));
    let ended = xfer.run(arguments("pull", &[], &[there, destination.clone().into()]));
    assert_eq!(free(&full), (0, 0));
    if ended.code() == 0 {
        oracle::assert_equal(&source, &destination);
    }
    (ended, destination, place)
}

#[test]
fn pulling_needs_no_space_and_no_inode_there() {
    // Memory without a name takes the agent, made by either interpreter.
    for hidden in [&["python3"][..], &["perl"]] {
        let (ended, _, _place) = pull_from_a_full_machine(hidden);
        assert_eq!(ended.expect_code(0).result()["route"]["kind"], "ssh", "without {hidden:?}");
    }
}

/// The only file that a pull made in the cache there
fn only_agent(home: &Path) -> PathBuf {
    let cache = fs::read_dir(home.join(".cache/xfer")).expect("it was placed");
    let mut agents = cache.map(|entry| entry.expect("an entry").path());
    let agent = agents.next().expect("it was placed");
    assert!(agents.next().is_none());
    agent
}

/// Where no tool tells a digest, what is there is read over the link before it is started
#[test]
fn an_agent_is_checked_without_a_tool() {
    let home = TempDir::new_in("/srv").expect("temp dir");
    let source = home.path().join("source");
    fs::create_dir(&source).expect("create");
    tree::write(&source.join("small"), b"content");
    let tools = ["sha256sum", "openssl", "busybox", "shasum", "perl", "python3"];
    let server = Sshd::start_confined_to(home.path(), &tools);
    let xfer = Xfer::new().ssh_config(server.client_config("host"));
    let place = TempDir::new().expect("temp dir");
    let there = inside(remote(Path::new("/tmp/source")));
    let pull = |run: &str| {
        let destination = place.path().join(run);
        let locations = [there.clone(), destination.clone().into()];
        let ended = xfer.run(arguments("pull", &["-j", "2"], &locations)).expect_code(0);
        let route = ended.result()["route"].clone();
        assert_eq!(route["kind"], "ssh", "{run}: {}", ended.stderr);
        oracle::assert_equal(&source, &destination);
    };
    pull("placed");
    let agent = only_agent(home.path());
    let written = fs::metadata(&agent).expect("stat").modified().expect("time");
    pull("there already");
    assert_eq!(fs::metadata(&agent).expect("stat").modified().expect("time"), written);
    let whole = fs::read(&agent).expect("read");
    let mark = home.path().join("started");
    let trap = "#!/bin/sh\necho > /tmp/started\n";
    fs::remove_file(&agent).expect("remove");
    fs::write(&agent, trap).expect("write");
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o700)).expect("chmod");
    pull("another");
    assert!(!mark.exists(), "it was started");
    assert!(fs::read(&agent).expect("read") == whole);
}

/// Begins a push or pull of a large file and stops it when some of it has arrived
fn begin(pair: &Pair, verb: &str, locations: &[OsString; 2]) {
    let slow = arguments(verb, &["--bwlimit", "64MB/s"], locations);
    let running = pair.xfer.start(&slow);
    let moving = running.next_event(|event| event["payload_bytes"].as_u64() > Some(8 * MIB));
    moving.expect("bytes move");
    running.signal("TERM");
    running.wait().expect_code(143);
}

/// A run under a limit says so, keeps what is there, and the same command without it goes on
fn refused_then_finished(pair: &Pair, limited: Ended, whole: &[OsString], from: &Path, to: &Path) {
    let result = limited.expect_code(8).result();
    assert_eq!(result["reason"], "destination-io", "{result}");
    assert!(!to.exists(), "a file appeared before it was whole");
    let result = pair.xfer.run(whole).expect_code(0).result();
    assert!(number(&result, "reused_bytes") >= 4 * MIB, "{result}");
    assert!(fs::read(from).expect("read") == fs::read(to).expect("read"));
}

#[test]
fn a_limit_on_the_size_of_files_keeps_what_has_arrived_here() {
    let pair = Pair::new();
    let (source, destination) = (pair.path("source"), pair.path("copy"));
    tree::big_file(&source, 192 * MIB, 4);
    let locations = [remote(&source), destination.clone().into()];
    begin(&pair, "pull", &locations);
    let pull = arguments("pull", &[], &locations);
    let plain = pair.xfer.command(&pull);
    let mut limited = Command::new("prlimit");
    limited.arg("--fsize=67108864").arg(plain.get_program()).args(plain.get_args()).env_clear();
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Running::start(limited).wait();
    refused_then_finished(&pair, ended, &pull, &source, &destination);
}

#[test]
fn a_limit_on_the_size_of_files_keeps_what_has_arrived_there() {
    let mut pair = Pair::new();
    let (source, destination) = (pair.path("source"), pair.path("copy"));
    tree::big_file(&source, 192 * MIB, 5);
    let locations = [source.clone().into(), remote(&destination)];
    begin(&pair, "push", &locations);
    let limit = "ForceCommand prlimit --fsize=67108864 sh -c \"$SSH_ORIGINAL_COMMAND\"";
    pair.server = pair.server.restart(limit);
    let push = arguments("push", &[], &locations);
    let ended = pair.xfer.run(&push);
    pair.server = pair.server.restart("");
    refused_then_finished(&pair, ended, &push, &source, &destination);
}
