//! From bucket to bucket by the store's own copy: what passes the proxy shows whose bytes went
//! where

use std::fs;
use std::path::PathBuf;

use xfer_tests::stores::faults::{Action, Fault, Faults, Passed, When};
use xfer_tests::stores::{Message, Moto, S3s, judges};
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Running};

use crate::{BIG, Bench, SOON, assert_fails, assert_same};

/// What a store tells of a whole object, whatever it is: that of both ends is compared, and no byte
const SUM: &str = "AAAAAAAAAAA=";

/// A bucket with objects and another one, of one store behind the proxy
struct Two {
    bench: Bench,
    faults: Faults,
    store: S3s,
}

impl Two {
    fn new() -> Self {
        let store = S3s::start();
        fs::create_dir(store.records().join("other")).expect("make another bucket");
        let faults = Faults::before(store.access().port());
        let bench = Bench::before(&store.access().by_way_of(faults.port()));
        Self { bench, faults, store }
    }

    /// The same with a file of each size at `from/tree`, and nothing counted of how it came there
    fn with_files(files: &[(&str, u64)]) -> Self {
        let two = Self::new();
        for (nth, (name, length)) in (1..).zip(files) {
            two.bench.file(&format!("tree/{name}"), *length, nth);
        }
        two.bench.push(&two.bench.path("tree"), "from/").expect_code(0);
        two
    }

    fn copying(&self, more: &[&str]) -> Running {
        let (from, to) = (self.bench.access.location("from/tree"), "s3://other/to/");
        self.bench.xfer.start(self.bench.arguments("push", [from.into(), to.into()], more))
    }

    fn copy(&self, more: &[&str]) -> (Ended, Vec<Passed>) {
        let before = self.faults.passed().len();
        let ended = self.copying(more).wait();
        (ended, self.faults.passed().split_off(before))
    }

    /// Where a copy lies
    fn object(&self, name: &str) -> PathBuf {
        self.store.records().join("other/to/tree").join(name)
    }

    fn assert_there(&self, name: &str) {
        assert_same(&self.bench.path("tree").join(name), &self.object(name));
    }

    /// Has the store tell one sum of all objects with that name, at either end
    fn telling(&self, name: &str) -> Fault {
        let told = Action::field("x-amz-checksum-crc64nvme", SUM);
        self.faults.rule(When::head().of(name), told)
    }

    /// Answers copies, and nothing else, so
    fn answering(&self, when: When, answer: Message) -> Fault {
        let change = move |request: &Message, told: &mut Message| {
            if is_copy(request.target()) {
                *told = answer.clone();
            }
        };
        self.faults.rule(when, Action::answered(change))
    }
}

fn is_copy(target: &str) -> bool {
    target.contains("x-amz-copy-source")
}

fn is_payload(passed: &Passed) -> bool {
    !passed.target.contains(".xfer-receipts")
}

fn copies(passed: &[Passed]) -> usize {
    passed.iter().filter(|one| one.method == "PUT" && is_copy(&one.target)).count()
}

/// Bytes of files that were sent to the store
fn sent(passed: &[Passed]) -> u64 {
    passed.iter().filter(|one| one.method == "PUT" && is_payload(one)).map(|one| one.sent).sum()
}

/// Paths of files whose bytes were asked for, each once
fn read(passed: &[Passed]) -> Vec<String> {
    let is_read = |one: &&Passed| {
        let is_list = ["list-type", "uploads", "uploadId"].iter().any(|q| one.target.contains(q));
        one.method == "GET" && !is_list && is_payload(one)
    };
    let path = |one: &Passed| one.target.split('?').next().unwrap_or_default().to_owned();
    let mut paths: Vec<_> = passed.iter().filter(is_read).map(path).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The rows of files in the receipt that lies with them
fn receipt(two: &Two) -> Vec<serde_json::Value> {
    let records = two.store.records().join("other/to/.xfer-receipts");
    let list = fs::read_dir(records).expect("the receipts");
    let paths = list.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "ndjson")).collect();
    found.sort_unstable();
    let text = fs::read_to_string(found.last().expect("a receipt")).expect("read");
    let rows = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    rows.filter(|row: &serde_json::Value| row["size"].is_u64()).collect()
}

#[test]
fn objects_are_copied_by_the_store_where_it_tells_what_they_are() {
    let two = Two::with_files(&[("small", 5000), ("big", 2 * BIG), ("empty", 0)]);
    let told = two.telling("tree/big");
    let (ended, passed) = two.copy(&[]);
    let ended = ended.expect_code(0);
    told.assert_fired();
    ["small", "big", "empty"].iter().for_each(|name| two.assert_there(name));
    assert_eq!((sent(&passed), read(&passed)), (0, vec![]), "{}", ended.stderr);
    assert_eq!(copies(&passed), 6, "two objects whole, and one in four parts");
    assert!(ended.stdout.contains("the store copies the files by itself"), "{}", ended.stdout);
    assert_eq!(ended.result()["proof_level"], "durable", "{}", ended.result());
    // Nobody here has seen a byte, so nobody tells a digest.
    let rows = receipt(&two);
    assert!(rows.iter().all(|row| row["blake3"].is_null()), "{rows:?}");
    // What is there is found by what the store tells.
    let (again, passed) = two.copy(&[]);
    again.expect_code(0);
    assert_eq!((copies(&passed), sent(&passed), read(&passed)), (0, 0, vec![]));
    // And what it is can be read back, which tells it.
    let (read_back, passed) = two.copy(&["--verify", "read-back"]);
    read_back.expect_code(0);
    assert_eq!((copies(&passed), sent(&passed)), (0, 0));
}

#[test]
fn a_copy_of_which_nothing_is_told_is_read_back_once() {
    let two = Two::with_files(&[("small", 5000), ("big", BIG)]);
    let (ended, passed) = two.copy(&[]);
    let ended = ended.expect_code(0);
    ["small", "big"].iter().for_each(|name| two.assert_there(name));
    assert_eq!(sent(&passed), 0);
    assert_eq!(read(&passed), ["/other/to/tree/big"], "{}", ended.stderr);
    let rows = receipt(&two);
    let digests = rows.iter().filter(|row| row["blake3"].is_string()).count();
    assert_eq!(digests, 1, "{rows:?}");
}

#[test]
fn a_copy_that_is_to_be_read_back_is() {
    let two = Two::with_files(&[("small", 5000)]);
    let (ended, passed) = two.copy(&["--verify", "read-back"]);
    let ended = ended.expect_code(0);
    assert_eq!((copies(&passed), sent(&passed)), (1, 0));
    assert_eq!(read(&passed), ["/other/to/tree/small"]);
    assert_eq!(ended.result()["proof_level"], "read-back", "{}", ended.result());
    assert!(receipt(&two).iter().all(|row| row["blake3"].is_string()), "{:?}", receipt(&two));
}

#[test]
fn what_nothing_would_prove_passes_here() {
    let two = Two::new();
    let from = two.store.objects().join("from/tree");
    fs::create_dir_all(&from).expect("make a directory");
    tree::big_file(&from.join("plain"), 5000, 1);
    let (ended, passed) = two.copy(&[]);
    let ended = ended.expect_code(0);
    assert_same(&from.join("plain"), &two.object("plain"));
    assert_eq!((copies(&passed), sent(&passed)), (0, 5000));
    assert!(ended.stdout.contains("nothing would prove a copy"), "{}", ended.stdout);
    let (ended, _) = two.copy(&["--via", "here"]);
    let ended = ended.expect_code(0);
    assert!(ended.stdout.contains("as --via here asks"), "{}", ended.stdout);
}

#[test]
fn moto_copies_as_well() {
    let store = Moto::start();
    judges::said(&mut judges::aws(store.access()), ["s3api", "create-bucket", "--bucket", "other"]);
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port()));
    let big = bench.file("tree/big", BIG, 1);
    let small = bench.file("tree/small", 5000, 2);
    bench.push(&bench.path("tree"), "from/").expect_code(0);
    let before = faults.passed().len();
    let places = [bench.access.location("from/tree").into(), "s3://other/to/".into()];
    let ended = bench.xfer.run(bench.arguments("push", places, &[])).expect_code(0);
    let passed = faults.passed().split_off(before);
    assert_eq!((copies(&passed), sent(&passed)), (3, 0), "{}", ended.stdout);
    assert!(read(&passed).iter().all(|path| path.starts_with("/other/")), "{:?}", read(&passed));
    let here = bench.path("here");
    let places = ["s3://other/to/tree/".into(), here.clone().into()];
    bench.xfer.run(bench.arguments("pull", places, &[])).expect_code(0);
    assert_same(&big, &here.join("big"));
    assert_same(&small, &here.join("small"));
}

#[test]
fn a_copy_that_is_killed_goes_on() {
    let two = Two::with_files(&[("big", 3 * BIG)]);
    let told = two.telling("tree/big");
    let held = two.faults.rule(When::part().only(3..), Action::Hold);
    let running = two.copying(&["--streams", "1"]);
    assert!(held.wait(1, SOON), "no third part");
    running.signal("KILL");
    assert_eq!(running.wait().code(), 137);
    held.release();
    assert!(!two.object("big").exists(), "an object too early");
    let (ended, passed) = two.copy(&[]);
    ended.expect_code(0);
    told.assert_fired();
    two.assert_there("big");
    let again: Vec<_> = passed.iter().filter(|one| one.target.contains("partNumber=")).collect();
    let is_first = |one: &&&Passed| {
        ["=1&", "=2&"].iter().any(|n| one.target.contains(&format!("partNumber{n}")))
    };
    assert_eq!(again.iter().filter(is_first).count(), 0, "parts were copied twice: {again:?}");
    assert!(!again.is_empty() && sent(&passed) == 0);
    assert_eq!(two.store.parts(), Vec::<String>::new(), "parts are left");
}

/// G2: an error in an answer that says 200
#[test]
fn an_error_within_200_is_no_copy() {
    let error = |code: &str| {
        let mut answer = Message::refusal(200, code);
        answer.body.splice(0..0, *b"  \n");
        answer
    };
    for (name, when) in [("small", When::put as fn() -> When), ("big", When::part)] {
        let files = [(name, if name == "big" { BIG } else { 5000 })];
        // Once, it is asked again.
        let two = Two::with_files(&files);
        let fault = two.faults.rule(when().once(), Action::Answer(error("InternalError")));
        let (ended, passed) = two.copy(&[]);
        ended.expect_code(0);
        fault.assert_fired();
        two.assert_there(name);
        assert_eq!(sent(&passed), 0);
        // For ever, it is a failure.
        let two = Two::with_files(&files);
        let two = Two { bench: two.bench.hasty(), ..two };
        let fault = two.faults.rule(when(), Action::Answer(error("InternalError")));
        assert_fails(&two.copy(&[]).0, &[10]);
        fault.assert_fired();
        assert!(!two.object(name).exists(), "an object that nobody vouches for");
    }
}

#[test]
fn a_store_that_refuses_to_copy_is_asked_once() {
    for (status, code) in [(403, "AccessDenied"), (501, "NotImplemented"), (200, "AccessDenied")] {
        let two = Two::with_files(&[("small", 5000), ("big", BIG)]);
        let fault = two.answering(When::method("PUT"), Message::refusal(status, code));
        let (ended, passed) = two.copy(&[]);
        let ended = ended.expect_code(0);
        fault.assert_fired();
        ["small", "big"].iter().for_each(|name| two.assert_there(name));
        assert_eq!(sent(&passed), BIG + 5000);
        let notice = "as the store does not copy them";
        assert_eq!(ended.stdout.matches(notice).count(), 1, "{}", ended.stdout);
        assert_eq!(two.store.parts(), Vec::<String>::new(), "parts are left");
    }
}

#[test]
fn a_source_that_changed_is_copied_as_it_is_or_not_at_all() {
    let two = Two::with_files(&[("small", 5000)]);
    let held = two.faults.rule(When::put().once(), Action::Hold);
    let running = two.copying(&[]);
    assert!(held.wait(1, SOON), "nothing is copied");
    let other = two.bench.file("other", 6000, 9);
    let arguments =
        ["cp".into(), other.clone().into(), two.store.access().location("from/tree/small").into()];
    let _: String = judges::said(
        &mut judges::s5cmd(two.store.access()),
        arguments.map(|a: std::ffi::OsString| a),
    );
    held.release();
    let ended = running.wait();
    if ended.code() == 0 {
        assert_same(&other, &two.object("small"));
    } else {
        assert_fails(&ended, &[6]);
        assert!(!two.object("small").exists());
    }
    for name in ["small", "big"] {
        let two = Two::with_files(&[(name, if name == "big" { BIG } else { 5000 })]);
        let changed = Message::refusal(412, "PreconditionFailed");
        let fault = two.faults.rule(When::method("PUT").of(name), Action::Answer(changed));
        assert_fails(&two.copy(&[]).0, &[6]);
        fault.assert_fired();
        assert!(!two.object(name).exists(), "a copy of what was not seen");
    }
}

/// A store that does not look at the state of what it copies, and tells another sum of the copy
#[test]
fn a_copy_that_is_another_does_not_stay() {
    let two = Two::with_files(&[("small", 5000)]);
    let lies = two.faults.rule(
        When::head().of("/other/to/tree/small").once(),
        Action::field("x-amz-checksum-crc64nvme", SUM),
    );
    let (ended, passed) = two.copy(&[]);
    lies.assert_fired();
    assert!(ended.stdout.contains("is another"), "{}", ended.stdout);
    ended.expect_code(0);
    assert_eq!(sent(&passed), 5000);
    two.assert_there("small");
}
