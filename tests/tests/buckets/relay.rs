//! Files go by way of a bucket: what arrives, what stays there, and what is sent anew

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xfer_tests::oracle;
use xfer_tests::sshd::Sshd;
use xfer_tests::stores::faults::{Action, Faults, When};
use xfer_tests::stores::{S3s, judges};
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Running};

use crate::{BIG, Bench, SOON, assert_fails};

/// A machine, a bucket, and what can go wrong before it
struct Relayed {
    bench: Bench,
    machine: Sshd,
    faults: Faults,
    store: S3s,
}

impl Relayed {
    fn new() -> Self {
        let (store, machine) = (S3s::start(), Sshd::start(""));
        let faults = Faults::before(store.access().port());
        let mut bench = Bench::before(&store.access().by_way_of(faults.port()));
        bench.xfer = bench.xfer.ssh_config(machine.client_config("machine"));
        Self { bench, machine, faults, store }
    }

    fn start(&self, verb: &str, from: &str, to: &str, more: &[&str]) -> Running {
        let way = self.bench.access.location("tmp");
        let more = [&["--via", &way][..], more].concat();
        self.bench.xfer.start(self.bench.arguments(verb, [from.into(), to.into()], &more))
    }

    fn push(&self, from: &Path, to: &str) -> Ended {
        self.start("push", text(from), to, &[]).wait()
    }

    /// What was put there since, receipts and manifests aside, by its last name
    fn files_put_since(&self, before: usize) -> BTreeSet<String> {
        let puts = self.faults.passed().split_off(before).into_iter();
        let targets = puts.filter(|passed| passed.method == "PUT").map(|passed| passed.target);
        let path = |target: String| target.split('?').next().unwrap_or_default().to_owned();
        let files = targets.map(path).filter(|path| !path.contains(".xfer-receipts/"));
        files.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    /// Panics where anything is left in the bucket
    fn assert_nothing_left(&self) {
        assert_eq!(judges::listed(self.store.access(), ""), Vec::new());
        assert_eq!(self.store.parts(), Vec::<String>::new(), "parts are left");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn plant(root: &Path) {
    tree::small_files(root, 20, 3);
    fs::create_dir(root.join("nothing in it")).expect("make a directory");
    std::os::unix::fs::symlink("nowhere", root.join("link")).expect("make a symbolic link");
    tree::big_file(&root.join("big"), BIG, 5);
}

#[test]
fn a_tree_goes_by_way_of_a_bucket_and_nothing_stays_there() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("tree");
    plant(&source);
    let receipt = relayed.bench.path("receipt");
    let more = ["--receipt", text(&receipt)];
    let pushed = relayed.start("push", text(&source), "machine:data/", &more).wait();
    let result = pushed.expect_code(0).result();
    assert_eq!(result["proof_level"], "read-back");
    assert_eq!(result["entries"]["unchanged"], 0, "{result}");
    oracle::assert_equal(&source, &relayed.machine.home().join("data/tree"));
    relayed.assert_nothing_left();
    // Its ends are those that were asked for.
    let receipt = fs::read_to_string(&receipt).expect("a receipt");
    assert!(receipt.contains("machine:data/") && !receipt.contains("s3://"), "{receipt}");
    let asked = relayed.faults.passed().len();
    let again = relayed.push(&source, "machine:data/").expect_code(0).result();
    assert_eq!((&again["entries"]["moved"], &again["payload_bytes"]), (&0.into(), &0.into()));
    assert_eq!(relayed.faults.passed().len(), asked, "the bucket was asked for nothing");
}

#[test]
fn names_become_what_they_become_without_a_way() {
    let relayed = Relayed::new();
    let there = relayed.machine.home().join("there");
    fs::create_dir_all(&there).expect("make a directory");
    tree::write(&there.join("one.pt"), b"1");
    tree::write(&there.join("two.pt"), b"22");
    let bench = &relayed.bench;
    for (at, (from, to)) in [
        ("machine:there", "new"),
        ("machine:there/", "new"),
        ("machine:there", "old/"),
        ("machine:there/one.pt", "file"),
        ("machine:there/*.pt", "old/"),
    ]
    .into_iter()
    .enumerate()
    {
        let straight = bench.path(&format!("straight-{at}"));
        let relay = bench.path(&format!("relay-{at}"));
        for base in [&straight, &relay] {
            fs::create_dir_all(base.join("old")).expect("make a directory");
        }
        let (one, other) = (straight.join(to), relay.join(to));
        let places = [from.into(), one.into_os_string()];
        bench.xfer.run(bench.arguments("pull", places, &[])).expect_code(0);
        relayed.start("pull", from, text(&other), &[]).wait().expect_code(0);
        // What is made besides has the time at which it was made.
        let is_time = |line: &String| line.starts_with(".d..t......");
        let mut changes = oracle::rsync_changes(&straight, &relay);
        changes.retain(|line| !is_time(line));
        assert_eq!(changes, Vec::<String>::new(), "{from} to {to}");
        relayed.assert_nothing_left();
    }
}

#[test]
fn what_is_killed_on_the_way_on_goes_on_there() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("tree");
    plant(&source);
    let held = relayed.faults.rule(When::get().of("/big").only(3..), Action::Hold);
    let running = relayed.start("push", text(&source), "machine:data/", &[]);
    assert!(held.wait(1, SOON), "nothing is read there");
    running.signal("KILL");
    running.wait();
    held.release();
    relayed.faults.forget();
    assert!(!judges::listed(relayed.store.access(), "").is_empty(), "it is gone too early");
    let before = relayed.faults.passed().len();
    relayed.push(&source, "machine:data/").expect_code(0);
    let files = relayed.files_put_since(before);
    assert!(files.is_empty(), "sent anew: {files:?}");
    oracle::assert_equal(&source, &relayed.machine.home().join("data/tree"));
    relayed.assert_nothing_left();
}

#[test]
fn only_what_is_missing_goes_there() {
    let relayed = Relayed::new();
    let bench = &relayed.bench;
    let source = bench.path("tree");
    plant(&source);
    let straight = [source.clone().into(), "machine:data/".into()];
    bench.xfer.run(bench.arguments("push", straight, &[])).expect_code(0);
    fs::create_dir_all(source.join("new/below")).expect("make directories");
    tree::write(&source.join("new/below/one"), b"1");
    tree::big_file(&source.join("big"), BIG, 6);
    let before = relayed.faults.passed().len();
    let result = relayed.push(&source, "machine:data/").expect_code(0).result();
    let expected = ["big", "one"].map(str::to_owned);
    assert_eq!(relayed.files_put_since(before), BTreeSet::from(expected));
    assert_eq!(result["bytes"]["moved"], BIG + 1, "{result}");
    oracle::assert_equal(&source, &relayed.machine.home().join("data/tree"));
    relayed.assert_nothing_left();
}

#[test]
fn a_request_is_carried_out_by_one_process_at_a_time() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("tree");
    plant(&source);
    let held = relayed.faults.rule(When::part().of("/big"), Action::Hold);
    let running = relayed.start("push", text(&source), "machine:data/", &[]);
    assert!(held.wait(1, SOON), "nothing is sent there");
    let second = relayed.push(&source, "machine:data/").expect_code(9);
    assert_eq!(second.result()["reason"], "busy", "{}", second.stderr);
    held.release();
    running.wait().expect_code(0);
    relayed.assert_nothing_left();
}

#[test]
fn links_that_are_followed_arrive_as_files() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("tree");
    fs::create_dir(&source).expect("make a directory");
    tree::write(&source.join("file"), b"1");
    std::os::unix::fs::symlink("file", source.join("link")).expect("make a symbolic link");
    relayed.start("push", text(&source), "machine:data/", &["-L"]).wait().expect_code(0);
    let there = relayed.machine.home().join("data/tree/link");
    assert!(fs::symlink_metadata(&there).expect("it is there").is_file());
    relayed.assert_nothing_left();
}

#[test]
fn what_was_begun_there_and_is_no_longer_asked_for_is_not_left() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("tree");
    plant(&source);
    let held = relayed.faults.rule(When::part().of("/big").only(1..), Action::Hold);
    let running = relayed.start("push", text(&source), "machine:data/", &[]);
    assert!(held.wait(1, SOON), "nothing is sent there");
    running.signal("KILL");
    running.wait();
    // What is held stays so: it would come to the store after its upload was aborted.
    relayed.faults.forget();
    fs::remove_file(source.join("big")).expect("remove a file");
    relayed.push(&source, "machine:data/").expect_code(0);
    oracle::assert_equal(&source, &relayed.machine.home().join("data/tree"));
    relayed.assert_nothing_left();
}

#[test]
fn what_an_earlier_run_carried_is_proven_before_it_goes() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("tree");
    plant(&source);
    let kept = relayed.faults.rule(When::method("DELETE"), Action::refuse(403, "AccessDenied"));
    let first = relayed.push(&source, "machine:data/").expect_code(0);
    kept.assert_fired();
    assert!(first.stderr.contains("could not be removed"), "{}", first.stderr);
    relayed.faults.forget();
    let more = ["--quick", "--verify", "received"];
    let again = relayed.start("push", text(&source), "machine:data/", &more).wait();
    assert_eq!(again.expect_code(0).result()["proof_level"], "read-back");
    relayed.assert_nothing_left();
}

#[test]
fn what_cannot_be_read_is_told_and_not_missed_in_the_bucket() {
    let relayed = Relayed::new();
    let source = relayed.bench.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&source).status();
    assert!(made.expect("mkfifo").success());
    let ended = relayed.push(&source, "machine:data/");
    assert_fails(&ended, &[5]);
    assert!(ended.stderr.contains("pipe"), "{}", ended.stderr);
}

#[test]
fn what_is_no_way_is_refused() {
    let relayed = Relayed::new();
    let file = relayed.bench.file("file", 5, 1);
    let store = relayed.bench.access.location("to");
    for (way, to, reason) in [
        ("machine:way", "machine:data", "bad-way"),
        ("/tmp", "machine:data", "bad-way"),
        ("", "machine:data", "bad-value"),
        ("ftp://x/y", "machine:data", "unknown-scheme"),
        (&relayed.bench.access.location("tmp"), &store, "store-by-store"),
    ] {
        let places = [file.clone().into(), to.into()];
        let arguments = relayed.bench.arguments("push", places, &["--via", way]);
        let ended = relayed.bench.xfer.run(arguments).expect_code(2);
        assert_eq!(ended.result()["reason"], reason, "{way} {to}: {}", ended.stderr);
    }
    assert_eq!(relayed.faults.passed().len(), 0, "the bucket was asked");
}
