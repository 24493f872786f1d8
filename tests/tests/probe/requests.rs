//! Buckets and public files: what their requests carry, and nothing that stays

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::stores::faults::{Action, Faults, When};
use xfer_tests::stores::{Access, Discard, S3s};
use xfer_tests::xfer::Xfer;

use crate::{Told, assert_within, probed};

const MB: u64 = 1_000_000;

/// The program, with what that store is spoken to with
fn before(access: &Access) -> Xfer {
    access.environment().into_iter().fold(Xfer::new(), |xfer, (name, value)| xfer.env(name, value))
}

/// What is told of a place in a bucket
fn of_bucket(access: &Access, path: &str, more: &[&str]) -> Told {
    let location = access.location(path);
    let fixed = ["--endpoint-url", &access.endpoint, &location];
    probed(&before(access), &[&fixed[..], more].concat())
}

/// What could not be measured
fn unmeasured(told: &Told) -> Vec<&str> {
    told.probe["unmeasured"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

/// The one estimate that ends there, or begins there
fn estimate<'a>(told: &'a Told, end: &str) -> Option<&'a Value> {
    told.estimates().iter().find(|estimate| !estimate[end].is_null())
}

#[test]
fn a_bucket_is_measured_both_ways_and_nothing_stays() {
    let store = Discard::start();
    store.invent("run/small", 10);
    store.invent("run/large", 64 << 20);
    store.invent("other/larger", 1 << 30);
    let told = of_bucket(store.access(), "run", &["--duration", "2s", "--size", "1GB"]);
    let way = told.way("store");
    assert_eq!(told.probe["taken"], "store");
    assert_eq!(way["place"], store.access().endpoint.as_str());
    assert_within(&way["round_trip_s"], 0.0..=1.0, "a request");
    let rates = &way["several_streams"];
    assert_within(&rates["up"], 1e5..=1e12, "sent");
    assert_within(&rates["down"], 1e5..=1e12, "received");
    for (end, direction) in [("destination", "up"), ("source", "down")] {
        let estimate = estimate(&told, end).expect("an estimate");
        assert_eq!(estimate["rates"]["link"], rates[direction], "{estimate}");
        assert_eq!(estimate["exceeds_space"], false, "{estimate}");
    }
    let disk = &told.probe["disk"];
    assert!(disk["bytes_free"].is_null() && disk["refused"].is_string(), "{disk}");
    assert_eq!(unmeasured(&told), ["free space: a bucket has no end that it would tell"]);
    assert_eq!(told.result["route"]["transport"], "http");
    assert_eq!(store.uploads(), 0);
    assert_eq!(store.objects().len(), 3);
    assert_eq!(store.count("PutObject") + store.count("CompleteMultipartUpload"), 0);
    assert!(store.asked().iter().all(|asked| !asked.key.starts_with("other/")), "read elsewhere");
}

#[test]
fn no_more_is_moved_than_may_be() {
    let store = Discard::start();
    store.invent("large", 64 << 20);
    let told = of_bucket(store.access(), "", &["--max-bytes", "4MB", "--duration", "2s"]);
    let moved = told.result["payload_bytes"].as_u64().expect("a number");
    assert!((1..=4 * MB).contains(&moved), "{moved}");
    assert!((1..=2 * MB).contains(&store.received()), "{}", store.received());
    let begun = store.count("CreateMultipartUpload");
    let told = of_bucket(store.access(), "", &["--max-bytes", "0"]);
    assert_eq!(told.result["payload_bytes"], 0);
    assert_eq!(store.count("CreateMultipartUpload"), begun, "an upload was begun");
    assert_eq!(
        unmeasured(&told)[..2],
        ["upload: no bytes may be moved", "download: no bytes may be moved"]
    );
    assert!(told.estimates().is_empty(), "{:#}", told.probe);
}

#[test]
fn what_is_refused_or_absent_is_told_and_bounds_nothing() {
    let store = S3s::start();
    let faults = Faults::before(store.access().port());
    faults.rule(When::begin(), Action::refuse(403, "AccessDenied"));
    let access = store.access().by_way_of(faults.port());
    let told = of_bucket(&access, "empty", &["--duration", "1s"]);
    let [up, down, _] = unmeasured(&told)[..] else { panic!("{:#}", told.probe) };
    assert!(up.starts_with("upload: access denied"), "{up}");
    assert_eq!(down, "download: no object is there to be read");
    let way = told.way("store");
    assert!(way["several_streams"].is_null() && way["round_trip_s"].is_number(), "{way}");
    assert!(told.estimates().is_empty(), "{:#}", told.probe);
}

#[test]
fn who_stops_it_leaves_no_upload_behind() {
    let store = S3s::start();
    let faults = Faults::before(store.access().port());
    let held = faults.rule(When::part().only(1..), Action::Hold);
    let access = store.access().by_way_of(faults.port());
    let location = access.location("run");
    let arguments = ["probe", "--json", "--endpoint-url", &access.endpoint, &location];
    let running = before(&access).start(arguments);
    assert!(held.wait(1, Duration::from_secs(60)), "no part came");
    running.signal("INT");
    running.wait().expect_code(130);
    let aborted = faults.passed().into_iter().any(|passed| passed.method == "DELETE");
    assert!(aborted, "{:?}", faults.passed());
    held.release();
    assert_eq!(store.parts(), Vec::<String>::new(), "parts are left");
}

#[test]
fn between_a_bucket_and_a_disk_the_narrower_bounds() {
    let store = Discard::start();
    store.invent("large", 64 << 20);
    let place = TempDir::new().expect("temp dir");
    let path = place.path().to_str().expect("UTF-8");
    let told = of_bucket(store.access(), "", &["--duration", "2s", path]);
    let [estimate] = told.estimates() else { panic!("{:#}", told.probe) };
    assert!(estimate["rates"]["destination-disk"].is_number(), "{estimate}");
    let limit = estimate["limit"].as_str().expect("a limit");
    let least = estimate["rates"].as_object().expect("rates").values().filter_map(|r| r.as_u64());
    assert_eq!(estimate["rates"][limit].as_u64(), least.min(), "{estimate}");
}

#[test]
fn a_person_is_told_of_no_disk() {
    let store = Discard::start();
    let (xfer, location) = (before(store.access()), store.access().location("run"));
    let endpoint = &store.access().endpoint;
    let fixed = ["probe", "--duration", "1s", "--endpoint-url", endpoint, &location];
    let ended = xfer.run(fixed).expect_code(0);
    for line in ["store ", "takes ", "unknown ", "push ", "moved "] {
        let is_there = ended.stdout.lines().any(|l| l.trim_start().starts_with(line));
        assert!(is_there, "no {line:?} in\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("disk") && !ended.stdout.contains("pull"), "{}", ended.stdout);
}

/// Answers ranges of a file of so many bytes that are all the same
fn public_file(size: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, size));
        }
    });
    port
}

fn answer(mut stream: TcpStream, size: usize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut range, mut is_head, mut line) = (None, false, String::new());
        while reader.read_line(&mut line)? > 2 {
            is_head |= line.starts_with("HEAD ");
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let bounds = bytes.trim().split_once('-').unwrap_or_default();
                range = bounds.0.parse::<usize>().ok().zip(bounds.1.parse::<usize>().ok());
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let (first, last) =
            range.map_or((0, size - 1), |(first, last)| (first, last.min(size - 1)));
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let length = last + 1 - first;
        write!(
            stream,
            "HTTP/1.1 {status}\r\netag: \"one\"\r\naccept-ranges: bytes\r\n\
             content-range: bytes {first}-{last}/{size}\r\ncontent-length: {length}\r\n\r\n"
        )?;
        if !is_head {
            stream.write_all(&vec![7; length])?;
        }
    }
}

#[test]
fn a_public_file_is_measured_one_way() {
    let port = public_file(32 << 20);
    let location = format!("http://127.0.0.1:{port}/some/file");
    let told = probed(&Xfer::new(), &["--duration", "2s", &location]);
    let way = told.way("web");
    assert_eq!(way["place"], format!("http://127.0.0.1:{port}"));
    assert_within(&way["round_trip_s"], 0.0..=1.0, "a request");
    assert_within(&way["several_streams"]["down"], 1e5..=1e12, "received");
    assert!(way["several_streams"]["up"].is_null(), "{way}");
    assert_eq!(unmeasured(&told), ["upload: nothing can be written there"]);
    let [pull] = told.estimates() else { panic!("{:#}", told.probe) };
    assert!(pull["destination"].is_null(), "{pull}");
    assert_eq!(pull["rates"]["link"], way["several_streams"]["down"]);
}
