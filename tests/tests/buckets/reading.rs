//! Matrix G where a bucket is read: what arrives are the bytes of one state of the object, or none

use std::fs;
use std::path::{Path, PathBuf};

use xfer_tests::stores::faults::{Action, Cut, Fault, When};
use xfer_tests::stores::{Message, judges};

use crate::{BIG, Faulty, SOON, assert_fails, assert_same, store};

const CUTS: [Cut; 5] = [Cut::Reset, Cut::Closed, Cut::Length, Cut::Chunks, Cut::Unframed];

/// An object is pulled while this happens, and arrives as it is
fn arrives(when: When, action: Action) {
    let place = Faulty::new();
    let object = place.stored("from/big", BIG, 1);
    let fault = place.faults.rule(when, action);
    let here = place.bench.path("here");
    place.bench.pull("from/big", &here).expect_code(0);
    fault.assert_fired();
    assert_same(&object, &here);
}

/// The same, but it fails with one of those codes, or arrives as it is all the same
fn is_not_deceived(codes: &[i32], when: When, action: Action) {
    let place = Faulty::hasty();
    let object = place.stored("from/big", BIG, 1);
    let fault = place.faults.rule(when, action);
    let here = place.bench.path("here");
    let ended = place.bench.pull("from/big", &here);
    fault.assert_fired();
    if ended.code() == 0 {
        assert_same(&object, &here);
    } else {
        assert_fails(&ended, codes);
        assert!(!here.exists(), "a file that nobody vouches for");
    }
}

fn of_big() -> When {
    When::get().of("from/big")
}

/// G1: a store that asks for less
#[test]
fn a_store_that_is_slow_for_a_while_is_waited_for() {
    arrives(of_big().only(1..=2), Action::refuse(503, "SlowDown"));
    arrives(When::head().of("from/big").only(1..=2), Action::Answer(Message::answer(503, "")));
}

/// G5: a body that ends early, in each way, once
#[test]
fn a_body_that_ends_early_is_asked_for_again() {
    for how in CUTS {
        arrives(of_big().once(), Action::Cut(1000, how));
    }
}

/// G5: and each time
#[test]
fn bodies_that_always_end_early_are_given_up() {
    for how in CUTS {
        let place = Faulty::hasty();
        place.stored("from/big", BIG, 1);
        let fault = place.faults.rule(of_big(), Action::Cut(1000, how));
        let here = place.bench.path("here");
        assert_fails(&place.bench.pull("from/big", &here), &[7, 10, 12, 13]);
        fault.assert_fired();
        assert!(!here.exists(), "a file that nobody vouches for");
    }
}

/// G6: a store that sends all where a range was asked for
#[test]
fn a_range_that_is_ignored_deceives_nobody() {
    let place = Faulty::hasty();
    let object = place.stored("from/big", BIG, 1);
    let whole = fs::read(&object).expect("read");
    let ignores = Action::answered(move |_, answer| {
        let honest = std::mem::replace(answer, Message::answer(200, whole.clone()));
        for (name, value) in honest.fields {
            if !["content-range", "content-length"].contains(&name.to_ascii_lowercase().as_str()) {
                answer.set(&name, value);
            }
        }
    });
    let fault = place.faults.rule(of_big(), ignores);
    let here = place.bench.path("here");
    let ended = place.bench.pull("from/big", &here);
    fault.assert_fired();
    if ended.code() == 0 {
        assert_same(&object, &here);
    } else {
        assert_fails(&ended, &[7, 10, 12, 13]);
        assert!(!here.exists());
    }
}

/// G6: another range than was asked for, and one that is said wrong
#[test]
fn another_range_deceives_nobody() {
    let codes = [7, 10, 12, 13];
    let range = format!("bytes 1-{}/{BIG}", 8 << 20);
    let other = move |_: &Message, answer: &mut Message| answer.set("content-range", range.clone());
    is_not_deceived(&codes, of_big(), Action::answered(other));
    is_not_deceived(&codes, of_big(), Action::without_field("content-range"));
}

/// G7: an object that is replaced while it is read
#[test]
fn an_object_that_is_replaced_is_never_mixed() {
    let place = Faulty::new();
    place.stored("from/big", BIG, 1);
    let newer = place.bench.file("newer", BIG, 2);
    let held = place.faults.rule(of_big().only(2..), Action::Hold);
    let here = place.bench.path("here");
    let places = [place.bench.access.location("from/big").into(), here.clone().into()];
    let running = place.bench.xfer.start(place.bench.arguments("pull", places, &[]));
    assert!(held.wait(1, SOON), "one request was enough");
    let to = place.store.access().location("from/big");
    judges::said(
        &mut judges::s5cmd(place.store.access()),
        ["cp", newer.to_str().expect("UTF-8"), &to],
    );
    held.release();
    let ended = running.wait();
    if ended.code() == 0 {
        assert_same(&newer, &here);
    } else {
        assert_fails(&ended, &[6]);
        assert!(!here.exists(), "a file of two states");
    }
}

/// G8: bytes that change on their way from the store
#[test]
fn bytes_that_change_on_their_way_are_noticed() {
    let place = Faulty::new();
    let big = place.bench.file("big", BIG, 1);
    place.bench.push(&big, "from/").expect_code(0);
    let fault = place.faults.rule(of_big(), Action::flip(1000));
    let here = place.bench.path("here");
    let ended = place.bench.pull("from/big", &here);
    assert_fails(&ended, &[7]);
    fault.assert_fired();
    assert!(!here.exists(), "a file with another byte");
    let words = "from/big: what was read of it does not have the BLAKE3 digest";
    assert!(ended.stdout.contains(words), "{}", ended.stdout);
}

/// G8: and what changed once is read again
#[test]
fn a_byte_that_changed_once_is_read_again() {
    let place = Faulty::new();
    let big = place.bench.file("big", BIG, 1);
    place.bench.push(&big, "from/").expect_code(0);
    let fault = place.faults.rule(of_big().once(), Action::flip(1000));
    let here = place.bench.path("here");
    place.bench.pull("from/big", &here).expect_code(0);
    fault.assert_fired();
    assert_same(&big, &here);
}

/// G8: the same of a file that goes in a pack
#[test]
fn a_small_file_that_changes_on_its_way_is_noticed() {
    for (when, code) in [(of_small().once(), 0), (of_small(), 7)] {
        let place = Faulty::new();
        let small = place.bench.file("small", 100_000, 1);
        place.bench.push(&small, "from/").expect_code(0);
        let fault = place.faults.rule(when, Action::flip(1000));
        let here = place.bench.path("here");
        assert_eq!(place.bench.pull("from/small", &here).code(), code);
        fault.assert_fired();
        assert_eq!(here.exists(), code == 0);
        if code == 0 {
            assert_same(&small, &here);
        }
    }
}

fn of_small() -> When {
    When::get().of("from/small")
}

/// An object that another program wrote, with a checksum that the store keeps
fn of_another(place: &Faulty, length: u64) -> PathBuf {
    let big = place.bench.file("big", length, 1);
    let body = fs::read(&big).expect("read");
    let store = store::opened(place.store.access());
    store::run(async { drop(store::put(&store, "from/big", &body).await.expect("put")) });
    big
}

/// G8: objects of which the store alone knows anything
#[test]
fn what_another_wrote_is_held_to_the_checksum_of_the_store() {
    for length in [9 << 20, 100_000] {
        let arrives = |rule: Option<(When, Action)>, code| {
            let place = Faulty::new();
            let big = of_another(&place, length);
            let fault = rule.map(|(when, action)| place.faults.rule(when, action));
            let here = place.bench.path("here");
            let ended = place.bench.pull("from/big", &here);
            assert_eq!(ended.code(), code, "{length}: {ended:?}");
            fault.iter().for_each(|fault| fault.assert_fired());
            assert_eq!(here.exists(), code == 0);
            if code == 0 {
                assert_same(&big, &here);
            } else {
                assert!(ended.stdout.contains("the CRC-64/NVME"), "{}", ended.stdout);
            }
        };
        arrives(None, 0);
        arrives(Some((of_big().once(), Action::flip(1000))), 0);
        arrives(Some((of_big(), Action::flip(1000))), 7);
        let other = Action::field("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=");
        arrives(Some((When::head().of("from/big"), other)), 7);
    }
}

/// G16: a body that is coded on its way
#[test]
fn a_coded_body_is_refused() {
    let place = Faulty::new();
    place.stored("from/big", BIG, 1);
    let coded: Vec<Fault> = [When::get, When::head]
        .map(|when| {
            let when = when().of("from/big");
            place.faults.rule(when, Action::field("content-encoding", "gzip"))
        })
        .to_vec();
    let here = place.bench.path("here");
    assert_fails(&place.bench.pull("from/big", &here), &[5, 7, 13, 16]);
    assert!(coded.iter().any(|fault| fault.fired() > 0), "nothing was coded");
    assert!(!here.exists());
}

/// G21: the answer of an earlier request
#[test]
fn the_answer_of_another_request_is_noticed() {
    let place = Faulty::new();
    let files = ["one", "two"].map(|name| {
        let seed = u64::try_from(name.len()).expect("small") + u64::from(name.as_bytes()[0]);
        place.bench.file(&format!("tree/{name}"), 300_000, seed)
    });
    place.bench.push(&place.bench.path("tree"), "from/").expect_code(0);
    let mixed = When::get().with_range().only(2..);
    let fault = place.faults.rule(mixed, Action::Again(1));
    let here = place.bench.path("here");
    fs::create_dir(&here).expect("make a directory");
    let ended = place.bench.pull("from/tree", &here);
    fault.assert_fired();
    let arrived = |name: &str| here.join("tree").join(name);
    for (name, file) in ["one", "two"].into_iter().zip(&files) {
        let path: &Path = &arrived(name);
        assert!(ended.code() != 0 || path.exists(), "{name} is missing");
        if path.exists() {
            assert_same(file, path);
        }
    }
    if ended.code() != 0 {
        assert_fails(&ended, &[5, 7, 10, 12, 13]);
    }
}
