//! What people mistype and misconfigure about buckets

use xfer_tests::stores::S3s;
use xfer_tests::xfer::{Ended, Xfer};

use crate::{Bench, assert_fails};

fn push_to(bench: &Bench, location: &str, more: &[&str]) -> Ended {
    let file = bench.file("file", 100, 1);
    let places = [file.into(), location.into()];
    bench.xfer.run(bench.arguments("push", places, more))
}

#[test]
fn locations_that_name_no_bucket_are_refused() {
    let store = S3s::start();
    let bench = Bench::before(store.access());
    for location in ["s3://", "s3:///key", "s3://a", "s3://Bucket_With/x", "s3://bucket/../x"] {
        assert_fails(&push_to(&bench, location, &[]), &[2, 4, 13, 16]);
    }
}

#[test]
fn a_bucket_that_is_not_there_is_told_by_name() {
    let store = S3s::start();
    let bench = Bench::before(store.access());
    let ended = push_to(&bench, "s3://no-such-bucket/to/", &[]);
    assert_fails(&ended, &[8]);
    assert!(ended.stderr.contains("no-such-bucket"), "{}", ended.stderr);
    let here = bench.path("here");
    let ended = bench.pull("nothing/there", &here);
    assert_fails(&ended, &[4]);
    assert!(!here.exists());
}

/// A key that is missing, wrong or half there, told without the secret
#[test]
fn credentials_that_are_not_right_are_told_without_them() {
    let store = S3s::start();
    let access = store.access();
    for (changed, codes) in [
        (("AWS_SECRET_ACCESS_KEY", "another-secret-0815"), &[11][..]),
        (("AWS_ACCESS_KEY_ID", "AKIAANOTHER"), &[11]),
        (("AWS_SECRET_ACCESS_KEY", ""), &[3, 11]),
        (("AWS_ACCESS_KEY_ID", ""), &[3, 11]),
    ] {
        let mut bench = Bench::before(access);
        bench.xfer = bench.xfer.env(changed.0, changed.1);
        let ended = push_to(&bench, &access.location("to/"), &["-v"]);
        assert_fails(&ended, codes);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        for secret in [access.secret.as_str(), "another-secret-0815"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
    let mut bench = Bench::before(access);
    bench.xfer = Xfer::new().env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "x");
    assert_fails(&push_to(&bench, &access.location("to/"), &[]), &[3, 11]);
}

#[test]
fn endpoints_that_are_none_are_told() {
    let store = S3s::start();
    for endpoint in ["", "nonsense", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:1"] {
        let mut bench = Bench::before(store.access());
        bench.access.endpoint = String::from(endpoint);
        assert_fails(&push_to(&bench, "s3://bucket/to/", &[]), &[2, 3, 10]);
    }
}

/// A key longer than any store takes
#[test]
fn a_name_that_makes_too_long_a_key_is_refused() {
    let store = S3s::start();
    let bench = Bench::before(store.access());
    let mut deep = bench.path("tree");
    for _ in 0..6 {
        deep.push("d".repeat(200));
    }
    std::fs::create_dir_all(&deep).expect("make directories");
    xfer_tests::tree::write(&deep.join("file"), b"deep");
    assert_fails(&bench.push(&bench.path("tree"), "to/"), &[5, 16]);
}
