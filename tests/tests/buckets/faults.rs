//! Matrix G where a bucket is written: whatever a store and the road to it do, a run that says it
//! is done has written these bytes, and one that failed has written nothing

use std::fs::{self, OpenOptions};
use std::io::Write;

use xfer_tests::stores::faults::{Action, Fault, Faults, When};
use xfer_tests::stores::{Discard, Message};
use xfer_tests::tree;

use crate::{BIG, Bench, Faulty, SOON, assert_fails, assert_same};

/// What a store says on its way to being asked less
const CODES: [(u16, &str); 4] =
    [(500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (503, "ServiceUnavailable")];

/// What an answer with status 200 says that is an error all the same
const ERRORS: [&str; 5] =
    ["InternalError", "SlowDown", "AccessDenied", "InvalidPart", "EntityTooSmall"];

/// Bytes of a file of which no more than the half is read before the store takes any
const LONG: u64 = 320 << 20;

fn error_within_200(code: &str) -> Message {
    let mut answer = Message::refusal(200, code);
    answer.body.splice(0..0, *b"  \n");
    answer
}

/// A large file and a small one are pushed while this happens, and both arrive
fn arrives(rules: impl FnOnce(&Faults) -> Vec<Fault>) {
    let place = Faulty::new();
    let big = place.bench.file("tree/big", BIG, 1);
    let small = place.bench.file("tree/small", 5000, 2);
    let fired = rules(&place.faults);
    let source = place.bench.path("tree");
    place.bench.push(&source, "to/").expect_code(0);
    fired.iter().for_each(Fault::assert_fired);
    assert_same(&big, &place.object("to/tree/big"));
    assert_same(&small, &place.object("to/tree/small"));
}

/// A large file is pushed while this happens, is refused with one of those codes, and is not there
fn fails(codes: &[i32], when: When, action: Action) {
    let place = Faulty::hasty();
    let big = place.bench.file("big", BIG, 1);
    let fault = place.faults.rule(when, action);
    assert_fails(&place.bench.push(&big, "to/"), codes);
    fault.assert_fired();
    assert!(!place.object("to/big").exists(), "an object that nobody vouches for");
}

/// G1: a store that asks for less, at each verb
#[test]
fn a_store_that_is_slow_for_a_while_is_waited_for() {
    for (number, when) in
        [When::begin, When::part, When::complete, When::put, When::list].into_iter().enumerate()
    {
        let (status, code) = CODES[number % CODES.len()];
        arrives(|faults| vec![faults.rule(when().only(1..=2), Action::refuse(status, code))]);
    }
}

/// G1: and not for ever
#[test]
fn a_store_that_stays_slow_is_given_up() {
    fails(&[10], When::part(), Action::refuse(503, "SlowDown"));
}

/// G2: an error in an answer that says 200, where nothing was done
#[test]
fn an_error_within_200_is_no_success() {
    for code in ERRORS {
        let codes = [1, 5, 7, 8, 10, 11, 13];
        fails(&codes, When::complete(), Action::Answer(error_within_200(code)));
    }
}

/// G2: and where it was done all the same, it is found
#[test]
fn an_error_within_200_of_what_was_done_is_looked_up() {
    let answer = || Action::Instead(error_within_200("InternalError"));
    arrives(|faults| vec![faults.rule(When::complete().once(), answer())]);
}

/// G3: the answer to a completion, or to a part, is lost
#[test]
fn a_lost_answer_is_looked_up() {
    for when in [When::complete, When::part, When::put, When::begin] {
        arrives(|faults| vec![faults.rule(when().once(), Action::Lost)]);
    }
}

/// G4: an older object is not taken for the one that was to be written
#[test]
fn an_older_object_is_not_taken_for_the_new_one() {
    let place = Faulty::hasty();
    let older = place.stored("to/big", BIG, 3);
    let big = place.bench.file("big", BIG, 1);
    let gone = Action::refuse(404, "NoSuchUpload");
    let fault = place.faults.rule(When::complete(), gone);
    assert_fails(&place.bench.push(&big, "to/"), &[1, 8, 10, 13]);
    fault.assert_fired();
    assert_same(&older, &place.object("to/big"));
}

/// G8: bytes that change on their way to the store
#[test]
fn bytes_that_change_on_their_way_are_not_kept() {
    let store = Discard::start();
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port())).hasty();
    let big = bench.file("big", BIG, 1);
    let once = faults.rule(When::part_number(2).once(), Action::flip_sent(1000));
    bench.push(&big, "to/").expect_code(0);
    once.assert_fired();
    assert_eq!(store.objects()["to/big"].size, BIG);
    let refused = store.asked().iter().filter(|asked| asked.status == 400).count();
    assert_eq!(refused, 1, "the part was refused by its checksum");
    faults.forget();
    let other = bench.file("other", BIG, 4);
    let always = faults.rule(When::part_number(2), Action::flip_sent(1000));
    assert_fails(&bench.push(&other, "to/"), &[7, 10]);
    always.assert_fired();
    assert!(!store.objects().contains_key("to/other"));
}

/// G8: a store that says it holds other bytes
#[test]
fn a_checksum_that_is_another_is_a_failure() {
    let store = Discard::start();
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port())).hasty();
    let big = bench.file("big", BIG, 1);
    let lies = |_: &Message, answer: &mut Message| {
        answer.set("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if let Some((head, rest)) = text.split_once("<ChecksumCRC64NVME>") {
            let rest = rest.split_once('<').map_or("", |(_, rest)| rest);
            let text = format!("{head}<ChecksumCRC64NVME>AAAAAAAAAAA=<{rest}");
            answer.body = text.into_bytes();
        }
    };
    let told = faults.rule(When::complete(), Action::answered(lies));
    let looked = faults.rule(When::head().of("to/big"), Action::answered(lies));
    assert_fails(&bench.push(&big, "to/"), &[7]);
    assert!(told.fired() + looked.fired() > 0, "nobody was told another checksum");
}

/// G9: a part that fails once
#[test]
fn a_part_that_fails_once_is_sent_again() {
    arrives(|faults| {
        let action = || Action::refuse(500, "InternalError");
        [1, 3, 5].map(|number| faults.rule(When::part_number(number).once(), action())).to_vec()
    });
}

/// G9: a part that the store never got, though its answer says so
#[test]
fn a_part_that_never_arrived_is_missed() {
    let store = Discard::start();
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port()));
    let big = bench.file("big", BIG, 1);
    let answer = Message::answer(200, "").with("etag", "\"0123456789abcdef0123456789abcdef\"");
    let fault = faults.rule(When::part_number(3).once(), Action::Answer(answer));
    let ended = bench.push(&big, "to/");
    fault.assert_fired();
    match store.objects().get("to/big") {
        Some(object) => assert_eq!((ended.code(), object.size), (0, BIG)),
        None => assert_fails(&ended, &[1, 7, 8, 10, 13]),
    }
}

/// G10: a source that grows or shrinks while it is sent
#[test]
fn a_source_of_another_length_makes_no_object() {
    for grows in [true, false] {
        let place = Faulty::new();
        let big = place.bench.file("big", LONG, 1);
        let held = place.faults.rule(When::part(), Action::Hold);
        let running = place.bench.pushing(&big, "to/", &[]);
        assert!(held.wait(1, SOON), "no part was sent");
        let mut file = OpenOptions::new().append(true).open(&big).expect("open");
        if grows {
            file.write_all(b"more").expect("write");
        } else {
            file.set_len(LONG - 5000).expect("set a length");
        }
        held.release();
        let ended = running.wait();
        if ended.code() == 0 {
            // It was begun anew.
            assert_same(&big, &place.object("to/big"));
        } else {
            assert_fails(&ended, &[5, 6]);
            assert!(!place.object("to/big").exists(), "an object of two states");
        }
    }
}

/// G11: what was written is not seen for a while
#[test]
fn an_object_that_is_not_seen_at_once_is_waited_for() {
    arrives(|faults| {
        let rule = |name| {
            let missing = Message::answer(404, "");
            faults.rule(When::head().of(name).only(1..=3), Action::Answer(missing))
        };
        vec![rule("to/tree/big")]
    });
}

/// G11: a list that is old decides nothing
#[test]
fn a_list_that_is_old_decides_nothing() {
    let place = Faulty::new();
    let stale = place.faults.rule(When::list().only(2..), Action::Again(1));
    let source = place.bench.path("tree");
    tree::small_files(&source, 3, 1);
    place.bench.push(&source, "to/").expect_code(0);
    tree::write(&source.join("d0000/f000001"), b"changed");
    place.bench.push(&source, "to/").expect_code(0);
    stale.assert_fired();
    let object = fs::read(place.object("to/tree/d0000/f000001")).expect("read");
    assert_eq!(object, b"changed");
}

/// G12: credentials that are over, and clocks that differ
#[test]
fn credentials_that_are_over_are_told() {
    for (status, code) in [
        (400, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
    ] {
        fails(&[11], When::part(), Action::refuse(status, code));
    }
}

/// G13: nobody is led elsewhere
#[test]
fn nobody_is_led_to_another_host() {
    let elsewhere = Discard::start();
    for (status, when) in [
        (301, When::list as fn() -> When),
        (307, When::begin),
        (308, When::part),
        (302, When::head),
    ] {
        let place = Faulty::hasty();
        let big = place.bench.file("big", BIG, 1);
        let to = format!("{}/bucket/to/big", elsewhere.access().endpoint);
        let fault = place.faults.rule(when(), Action::redirect(status, &to));
        let ended = place.bench.push(&big, "to/");
        assert_fails(&ended, &[13]);
        let remedies = ended.result()["remedies"].to_string();
        assert!(remedies.contains("--endpoint-url"), "{remedies}");
        fault.assert_fired();
    }
    assert_eq!(elsewhere.asked(), [], "somebody followed");
}

/// G14: somebody else writes the same object
#[test]
fn another_writer_is_told() {
    for (status, code) in [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")] {
        fails(&[9], When::complete(), Action::refuse(status, code));
    }
}

/// G19: a bucket that is somebody else's
#[test]
fn a_bucket_of_somebody_else_is_told() {
    fails(&[11], When::method(""), Action::refuse(403, "AccessDenied"));
    let place = Faulty::hasty();
    let big = place.bench.file("big", 1000, 1);
    let gone = place.faults.rule(When::method(""), Action::refuse(404, "NoSuchBucket"));
    assert_fails(&place.bench.push(&big, "to/"), &[4, 8, 13]);
    gone.assert_fired();
}
