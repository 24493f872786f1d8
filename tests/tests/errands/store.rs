//! To a store and back

use super::{Bench, Direction, Ended, MIB, Weather, assert_passed, assert_same, fs, oracle, tree};

#[test]
fn payload_goes_to_the_store_and_back_by_the_machines_own_link() {
    let bench = Bench::new(&Weather::default());
    let files = bench.trio.files();
    tree::small_files(&files, 20, 7);
    tree::big_file(&files.join("big"), 96 * MIB + 12_345, 8);
    tree::big_file(&files.join("middle"), 6 * MIB, 9);
    tree::write(&files.join("empty"), b"");
    let before = bench.trio.passed_here();
    let ended = bench.push("machine:tree/", "s3://bucket/to/").expect_code(0);
    let (passed, result) = (bench.trio.passed_here() - before, ended.result());
    let payload = assert_passed(passed, &result);
    assert!(payload > 102 * MIB, "{payload} bytes");
    assert_eq!(result["route"]["kind"], "store");
    assert!(ended.stdout.contains("by its own link"), "{}", ended.stdout);
    for name in ["big", "middle", "empty"] {
        assert_same(&files.join(name), &bench.store.objects().join("to").join(name));
    }
    assert_eq!(bench.store.parts(), Vec::<String>::new(), "an upload is left");
    // Nothing is moved again, and nothing of it is read here.
    let again = bench.push("machine:tree/", "s3://bucket/to/").expect_code(0).result();
    assert_eq!(again["payload_bytes"], 0);
    let before = bench.trio.passed_here();
    let ended = bench.push("s3://bucket/to/", "machine:back/").expect_code(0);
    let (passed, result) = (bench.trio.passed_here() - before, ended.result());
    assert_eq!(assert_passed(passed, &result), payload);
    oracle::assert_equal(&files, &bench.trio.machine.home().join("back"));
}

/// What is compared, and what is read back, is read where the payload went.
#[test]
fn what_is_compared_does_not_pass_here_either() {
    let bench = Bench::new(&Weather::default());
    let files = bench.trio.files();
    tree::big_file(&files.join("big"), 40 * MIB, 8);
    let flags = ["--verify", "read-back"];
    let before = bench.trio.passed_here();
    let ended = bench.start("machine:tree/", "s3://bucket/to/", &flags).wait().expect_code(0);
    assert_passed(bench.trio.passed_here() - before, &ended.result());
    assert_eq!(ended.result()["proof_level"], "read-back");
    tree::set_modified(&files.join("big"), 1_000_000, 0);
    let before = bench.trio.passed_here();
    let ended = bench.start("machine:tree/", "s3://bucket/to/", &["--checksum"]).wait();
    let result = ended.expect_code(0).result();
    let passed = bench.trio.passed_here() - before;
    assert_eq!(result["payload_bytes"], 0);
    assert!(passed < MIB, "{passed} bytes passed here");
}

/// What was sent by one is read by another, where that is asked for.
#[test]
fn what_is_read_back_is_read_by_whom_the_user_names() {
    let bench = Bench::new(&Weather::default());
    let files = bench.trio.files();
    tree::big_file(&files.join("big"), 40 * MIB, 8);
    let proven = |ended: &Ended| assert_eq!(ended.result()["proof_level"], "read-back");
    let before = bench.trio.passed_here();
    let flags = ["--verify", "read-back", "--read-back-from", "here"];
    let ended = bench.start("machine:tree/", "s3://bucket/to/", &flags).wait().expect_code(0);
    let passed = bench.trio.passed_here() - before;
    assert!((40 * MIB..100 * MIB).contains(&passed), "{passed} bytes passed here");
    proven(&ended);
    let here = bench.trio.xfer.home().join("here");
    fs::create_dir_all(&here).expect("create a directory");
    tree::big_file(&here.join("big"), 30 * MIB, 9);
    let here = here.join("").into_os_string().into_string().expect("UTF-8");
    let before = bench.trio.passed_there(Direction::In);
    let flags = ["--verify", "read-back", "--read-back-from", "machine:"];
    let ended = bench.start(&here, "s3://bucket/other/", &flags).wait().expect_code(0);
    let passed = bench.trio.passed_there(Direction::In) - before;
    assert!((30 * MIB..80 * MIB).contains(&passed), "{passed} bytes passed there");
    proven(&ended);
    for (place, name, id) in [
        ("s3://bucket/other/", "s3://bucket", "bad-reader"),
        ("s3://bucket/other/", "/tmp", "bad-reader"),
        ("machine:other/", "here", "read-by-itself"),
    ] {
        let flags = ["--read-back-from", name];
        let ended = bench.start(&here, place, &flags).wait().expect_code(2);
        assert_eq!(ended.result()["reason"], id, "{place} {name}");
    }
}

/// Killed in the middle, it goes on with what the store has.
#[test]
fn a_controller_that_is_killed_goes_on() {
    let slow = Weather { rate: 16 * MIB, ..Weather::default() };
    let bench = Bench::new(&slow);
    let files = bench.trio.files();
    let (size, streams) = (160 * MIB, 4);
    tree::big_file(&files.join("big"), size, 8);
    let flags = ["--streams", "4"];
    let running = bench.start("machine:tree/", "s3://bucket/to/", &flags);
    let moved = |event: &serde_json::Value| {
        event["type"] == "progress" && event["payload_bytes"].as_u64() > Some(64 * MIB)
    };
    running.next_event(moved).expect("progress");
    running.signal("KILL");
    assert_eq!(running.wait().code(), 137);
    let before = bench.trio.passed_here();
    let ended = bench.start("machine:tree/", "s3://bucket/to/", &flags).wait().expect_code(0);
    assert_same(&files.join("big"), &bench.store.objects().join("to/big"));
    let result = ended.result();
    let payload = assert_passed(bench.trio.passed_here() - before, &result);
    assert!(payload <= size - 64 * MIB, "{payload} bytes were sent by the second run");
    // Whatever crossed the link is what was needed, and at most a part for each stream.
    let sent = bench.trio.passed_there(Direction::Out);
    let most = size + (streams + 1) * 8 * MIB;
    assert!(sent < most + most / 16, "{sent} bytes crossed the link, {most} may");
    assert_eq!(bench.store.parts(), Vec::<String>::new(), "an upload is left");
}

/// What only this machine reaches passes here, and that is told.
#[test]
fn what_the_machine_does_not_reach_passes_here() {
    let bench = Bench::new(&Weather::default());
    let files = bench.trio.files();
    tree::big_file(&files.join("big"), 9 * MIB, 8);
    bench.trio.across.cut();
    let flags = ["--stall-timeout", "4s"];
    let ended = bench.start("machine:tree/", "s3://bucket/to/", &flags).wait().expect_code(0);
    assert!(ended.stdout.contains("files pass through this machine"), "{}", ended.stdout);
    assert_same(&files.join("big"), &bench.store.objects().join("to/big"));
    assert!(bench.trio.passed_here() > 18 * MIB);
}

#[test]
fn files_pass_here_where_that_is_asked_for() {
    let bench = Bench::new(&Weather::default());
    let files = bench.trio.files();
    tree::big_file(&files.join("big"), 9 * MIB, 8);
    let (before, flags) = (bench.trio.passed_there(Direction::Out), ["--via", "here"]);
    bench.start("machine:tree/", "s3://bucket/to/", &flags).wait().expect_code(0);
    assert_eq!(bench.trio.passed_there(Direction::Out), before, "the machine asked the store");
    assert_same(&files.join("big"), &bench.store.objects().join("to/big"));
}

#[test]
fn a_plan_has_nobody_ask() {
    let bench = Bench::new(&Weather::default());
    tree::big_file(&bench.trio.files().join("big"), 9 * MIB, 8);
    let ended = bench.start("machine:tree/", "s3://bucket/to/", &["-n"]).wait().expect_code(0);
    assert!(ended.stdout.contains("own link"), "{}", ended.stdout);
    assert_eq!(bench.trio.passed_there(Direction::Out), 0);
}
