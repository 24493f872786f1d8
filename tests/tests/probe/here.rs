//! This machine alone, and machines that only store

use std::fs;

use tempfile::TempDir;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::Xfer;

use crate::{assert_within, probed};

#[test]
fn a_disk_of_this_machine_needs_no_far_side() {
    let place = TempDir::new().expect("temp dir");
    fs::write(place.path().join("file"), "kept").expect("write");
    let path = place.path().to_str().expect("UTF-8");
    let told = probed(&Xfer::new(), &["--duration", "2s", path]);
    assert_eq!(told.probe["ways"].as_array().map(Vec::len), Some(0));
    assert!(told.estimates().is_empty());
    assert_within(&told.probe["disk"]["write_rate"], 1e5..=1e12, "written");
    assert_within(&told.probe["disk"]["read_rate"], 1e5..=1e12, "read");
    assert_eq!(told.result["payload_bytes"], 0);
    let names: Vec<_> = fs::read_dir(place.path()).expect("list").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn two_locations_are_a_transfer_from_the_first_to_the_second() {
    let places = [TempDir::new(), TempDir::new()].map(|place| place.expect("temp dir"));
    let [source, destination] = places.each_ref().map(|p| p.path().to_str().expect("UTF-8"));
    let told = probed(&Xfer::new(), &["--size", "1TB", "--duration", "2s", source, destination]);
    let [estimate] = told.estimates() else { panic!("{:#}", told.probe) };
    assert_eq!(
        (&estimate["source"], &estimate["destination"]),
        (&source.into(), &destination.into())
    );
    let limit = estimate["limit"].as_str().expect("a limit");
    let least = estimate["rates"].as_object().expect("rates").values().filter_map(|r| r.as_u64());
    assert_eq!(estimate["rates"][limit].as_u64(), least.min(), "{estimate}");
    assert!(estimate["rates"]["link"].is_null(), "{estimate}");
    let rate = estimate["rate"].as_f64().expect("a rate");
    assert_within(&estimate["eta_s"], 1e12 / rate - 1.0..=1e12 / rate + 1.0, "a terabyte");
}

#[test]
fn a_directory_that_may_not_be_written_is_looked_at_all_the_same() {
    let told = probed(&Xfer::new(), &["--duration", "1s", "/proc"]);
    let disk = &told.probe["disk"];
    assert!(disk["write_rate"].is_null() && disk["refused"].is_string(), "{disk}");
}

#[test]
fn a_machine_that_only_stores_has_a_delay_and_free_bytes() {
    let server = Sshd::start("ForceCommand internal-sftp");
    let xfer = Xfer::new().ssh_config(server.client_config("host"));
    let told = probed(&xfer, &["--duration", "2s", "host:/tmp"]);
    let way = told.way("sftp");
    assert_within(&way["round_trip_s"], 0.0..=1.0, "a request");
    assert!(way["one_stream"].is_null(), "{way}");
    assert_within(&told.probe["disk"]["bytes_free"], 1.0..=1e18, "free bytes");
    assert!(told.probe["disk"]["refused"].is_string() && told.probe["cpu"].is_null());
    assert_eq!(told.result["route"]["kind"], "sftp");
}

#[test]
fn a_person_gets_a_short_table() {
    let server = Sshd::start("");
    let xfer = Xfer::new().ssh_config(server.client_config("host"));
    let ended =
        xfer.run(["probe", "--size", "1GB", "--duration", "2s", "host:/tmp"]).expect_code(0);
    let starts = |line: &str| ended.stdout.lines().any(|l| l.trim_start().starts_with(line));
    for line in ["host:/tmp", "way ", "ssh ", "takes ", "cpu ", "disk ", "push ", "pull ", "moved "]
    {
        assert!(starts(line), "no {line:?} in\n{}", ended.stdout);
    }
    assert!(ended.stdout.contains("1.0 GB in about"), "{}", ended.stdout);
}
