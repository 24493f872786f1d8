//! Matrix G where a store's answers are hostile: bounded, refused, and nothing leaves its place

use std::fs;

use xfer_tests::stores::faults::{Action, When};
use xfer_tests::stores::{Message, Moto};
use xfer_tests::xfer::{Running, measured, measurement};

use crate::{Bench, Faulty, assert_fails};

/// What no answer may cost, in KiB
const KIB_MAX: u64 = 256 << 10;

fn xml(body: impl Into<Vec<u8>>) -> Message {
    Message::answer(200, body).with("content-type", "application/xml")
}

fn list_of(rows: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>\
         <IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
    )
}

fn row(key: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
         <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size></Contents>"
    )
}

/// Pulls what the store lists so, and returns how it ended and what lies where it was to arrive
fn pulled(list: Message) -> (xfer_tests::xfer::Ended, Vec<String>) {
    let place = Faulty::new();
    let fault = place.faults.rule(When::list(), Action::Answer(list));
    let here = place.bench.path("outer/here");
    fs::create_dir_all(&here).expect("make a directory");
    let cost = place.bench.path("cost");
    let places = [place.bench.access.location("from/").into(), here.into()];
    let plain = place.bench.xfer.command(place.bench.arguments("pull", places, &[]));
    let ended = Running::start(measured(&plain, &cost)).wait();
    fault.assert_fired();
    let kib = measurement(&cost);
    assert!(kib < KIB_MAX, "{kib} KiB");
    let found = std::process::Command::new("find").arg(place.bench.path("outer")).output();
    let found = String::from_utf8_lossy(&found.expect("run find").stdout).into_owned();
    (ended, found.lines().map(str::to_owned).collect())
}

/// G17: answers that are to cost more than they are worth
#[test]
fn answers_that_are_too_much_are_refused() {
    let attributes: String = (0..100_000).map(|number| format!(" a{number}=\"\"")).collect();
    let names: String = (0..1_000_000).map(|number| format!(" xmlns:n{number}=\"x\"")).collect();
    let deep = "<a>".repeat(1_000_000);
    let entities = "<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    let long = list_of(&row(&"k".repeat(100 << 20)));
    let invalid = [b"<ListBucketResult><Contents><Key>\xff\xfe</Key>".as_slice(), b"</Contents>"];
    for body in [
        format!("<ListBucketResult{attributes}></ListBucketResult>").into_bytes(),
        format!("<ListBucketResult{names}></ListBucketResult>").into_bytes(),
        list_of(&deep).into_bytes(),
        format!("{entities}{}", list_of(&row("&b;"))).into_bytes(),
        long.into_bytes(),
        invalid.concat(),
        b"<html><body>Welcome to the hotel</body></html>".to_vec(),
        b"\0".repeat(1000),
        Vec::new(),
    ] {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (ended, found) = pulled(xml(body));
        assert!([5, 10, 13, 15, 16].contains(&ended.code()), "{start}: exit {}", ended.code());
        assert_fails(&ended, &[ended.code()]);
        assert!(found.len() <= 2, "{start}: {found:?}");
    }
}

/// G18: keys that are no paths, or two paths that cannot both be
#[test]
fn keys_that_are_no_paths_are_refused() {
    for keys in [
        &["from/../../escaped"][..],
        &["from/./here"],
        &["from//twice"],
        &["from/a", "from/a/b"],
        &["from/%2e%2e/escaped", "from/.."],
    ] {
        let rows: String = keys.iter().map(|key| row(key)).collect();
        let (ended, found) = pulled(xml(list_of(&rows)));
        assert!([4, 5, 13, 16].contains(&ended.code()), "{keys:?}: exit {}", ended.code());
        assert!(found.iter().all(|path| !path.contains("escaped")), "{keys:?}: {found:?}");
    }
}

/// G18: pages that lead in a circle
#[test]
fn pages_in_a_circle_come_to_an_end() {
    let circle = list_of(&row("from/a")).replace(
        "<IsTruncated>false</IsTruncated>",
        "<IsTruncated>true</IsTruncated>\
                  <NextContinuationToken>again</NextContinuationToken>",
    );
    let (ended, _) = pulled(xml(circle));
    assert_fails(&ended, &[12, 13]);
}

/// G19: a certificate that nobody believes
#[test]
fn a_certificate_that_nobody_believes_is_told() {
    let store = Moto::start_unbelieved();
    let bench = Bench::before(store.access());
    let file = bench.file("file", 1000, 1);
    let ended = bench.push(&file, "to/");
    assert_fails(&ended, &[11]);
    assert!(ended.stderr.contains("certificate"), "{}", ended.stderr);
}
