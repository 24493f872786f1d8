//! A push that is killed goes on where it was

use xfer_tests::random::Random;
use xfer_tests::relay::{Direction, Relay};
use xfer_tests::schema::assert_valid;
use xfer_tests::stores::faults::{Action, Faults, When};
use xfer_tests::stores::{Discard, Moto, S3s, judges};

use crate::{BIG, Bench, SOON, assert_same};

/// Bytes of a part, and requests under way at a time, at most
const PART_MAX: u64 = 16 << 20;
const STREAMS: u64 = 4;

/// Kills at so many places of a push of so many bytes, each within the payload, and lets the last
/// run come to its end
fn killed_and_resumed(length: u64, kills: u64, seed: u64) {
    let store = S3s::start();
    let relay = Relay::to(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(relay.port()));
    let big = bench.file("big", length, seed);
    let mut random = Random::new(seed);
    let streams = ["--streams", "4"];
    let mut sent = 0;
    for kill in 0..kills {
        // Runs share what is to be sent, so that each is killed between its first and last byte.
        let share = length / kills;
        let at = 1 + share / 4 + random.below(share / 2);
        relay.begin(Some(at));
        let running = bench.pushing(&big, "to/", &streams);
        assert!(relay.wait_for(Direction::Out, at / 2, SOON), "kill {kill}: nothing is sent");
        running.signal("KILL");
        assert_eq!(running.wait().code(), 137, "kill {kill}");
        relay.release();
        assert!(relay.wait_idle(SOON), "kill {kill}: a connection is left");
        sent += relay.passed(Direction::Out);
        assert!(!store.objects().join("to/big").exists(), "kill {kill}: an object too early");
    }
    relay.begin(None);
    bench.pushing(&big, "to/", &streams).wait().expect_code(0);
    sent += relay.passed(Direction::Out);
    assert_same(&big, &store.objects().join("to/big"));
    assert_eq!(store.parts(), Vec::<String>::new(), "parts are left");
    let again = sent.saturating_sub(length);
    let most = (kills + 1) * STREAMS * PART_MAX;
    assert!(again <= most, "{again} bytes were sent again, {most} may be");
}

#[test]
fn a_push_that_is_killed_goes_on() {
    killed_and_resumed(256 << 20, 4, 20_261_122);
}

#[test]
#[ignore = "8 GiB and fifty kills: many minutes"]
fn a_large_push_that_is_killed_fifty_times_goes_on() {
    killed_and_resumed(8 << 30, 50, 5);
}

/// What the store lists is enough: this machine's records are gone
#[test]
fn a_push_goes_on_without_records_where_the_store_lists_parts() {
    let store = Discard::start();
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port()));
    let big = bench.file("big", 8 * BIG, 1);
    let held = faults.rule(When::part().only(12..), Action::Hold);
    let running = bench.pushing(&big, "to/", &["--streams", "2"]);
    assert!(held.wait(1, SOON), "no twelfth part");
    running.signal("KILL");
    running.wait();
    held.release();
    faults.forget();
    std::fs::remove_dir_all(bench.xfer.state()).expect("remove the records");
    let before = store.received();
    bench.push(&big, "to/").expect_code(0);
    let sent = store.received() - before;
    assert!(sent < 8 * BIG - BIG, "{sent} bytes were sent of {}", 8 * BIG);
    assert_eq!(store.objects()["to/big"].size, 8 * BIG);
    assert_eq!(store.uploads(), 0, "an upload is left");
}

/// G15: what is left of ours is listed and aborted, and never what is another's
#[test]
fn uploads_of_ours_are_aborted_and_no_others() {
    let store = Moto::start();
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port()));
    let begin = ["s3api", "create-multipart-upload", "--bucket", "bucket", "--key", "to/theirs"];
    judges::said(&mut judges::aws(store.access()), begin);
    let big = bench.file("big", BIG, 1);
    let held = faults.rule(When::part().only(3..), Action::Hold);
    let running = bench.pushing(&big, "to/", &["--streams", "1"]);
    assert!(held.wait(1, SOON), "no third part");
    let place = store.access().location("to/");
    let endpoint = bench.access.endpoint.as_str();
    let list = |more: &[&str]| {
        let words = ["ls", &place, "--uploads", "--endpoint-url", endpoint];
        bench.xfer.run(words.iter().chain(more)).expect_code(0)
    };
    let at_work = list(&["--abort-stale=0s"]);
    assert!(at_work.stdout.contains("a transfer works on it"), "{at_work:?}");
    running.signal("KILL");
    running.wait();
    held.release();
    faults.forget();
    assert_eq!(judges::uploads(store.access()), 2);
    let listed = list(&[]);
    assert!(listed.stdout.contains("to/big") && !listed.stdout.contains("theirs"), "{listed:?}");
    assert!(listed.stdout.contains(" parts "), "{listed:?}");
    assert!(listed.stderr.contains("1 further upload is not this machine's"), "{listed:?}");
    // The day is not over for it.
    let kept = list(&["--abort-stale"]);
    assert!(kept.stdout.contains("kept: worked on within"), "{kept:?}");
    assert_eq!(judges::uploads(store.access()), 2);
    let schema = include_str!("../../../xfer-cli/schema/event.schema.json");
    let schema = serde_json::from_str(schema).expect("a schema");
    let aborted = list(&["--abort-stale=0s", "--json"]).events();
    aborted.iter().for_each(|event| assert_valid(&schema, event));
    let told: Vec<_> = aborted.iter().filter(|event| event["type"] == "upload").collect();
    assert_eq!(told.len(), 1);
    assert!(told[0]["key"] == "to/big" && told[0]["state"] == "aborted", "{told:?}");
    assert_eq!(judges::uploads(store.access()), 1, "theirs stays");
    assert_eq!(list(&[]).stdout, "");
    // A push begins anew, and leaves theirs alone too.
    bench.push(&big, "to/").expect_code(0);
    assert_eq!(judges::uploads(store.access()), 1, "theirs stays");
}

/// Whose an upload is nobody can tell without this machine's records
#[test]
fn without_its_record_no_upload_is_aborted() {
    let store = Moto::start();
    let faults = Faults::before(store.access().port());
    let bench = Bench::before(&store.access().by_way_of(faults.port()));
    let big = bench.file("big", BIG, 1);
    let held = faults.rule(When::part().only(3..), Action::Hold);
    let running = bench.pushing(&big, "to/", &["--streams", "1"]);
    assert!(held.wait(1, SOON), "no third part");
    running.signal("KILL");
    running.wait();
    held.release();
    faults.forget();
    std::fs::remove_dir_all(bench.xfer.state()).expect("remove the records");
    let place = store.access().location("to");
    let endpoint = bench.access.endpoint.as_str();
    let words = ["ls", &place, "--uploads", "--abort-stale=0s", "--endpoint-url", endpoint];
    let ended = bench.xfer.run(words).expect_code(0);
    assert_eq!(ended.stdout, "");
    assert_eq!(judges::uploads(store.access()), 1);
}
