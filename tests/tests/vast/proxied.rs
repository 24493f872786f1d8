//! How much may cross a gateway, and what counts

use std::fs::File;

use rustix::fs::FallocateFlags;
use serde_json::{Value, json};
use xfer_tests::net::{Mapping, Protocol, Selection};
use xfer_tests::tree;

use super::logins::{ID, Rented};

/// Payload beyond what the gateway may carry in most tests
const LIMIT: &str = "4MB";

/// One that only the gateway leads to
fn behind_gateway() -> Rented {
    let rented = Rented::new();
    let (host, port) = (rented.lab.link.far().to_string(), rented.machine.port());
    rented.stand.api.set(ID, "ports", json!({}));
    rented.stand.api.set(ID, "ssh_host", json!(host));
    rented.stand.api.set(ID, "ssh_port", json!(port));
    rented
}

fn allocate(rented: &Rented, name: &str, length: u64) {
    let file = File::create(rented.tree().join(name)).expect("create");
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length).expect("room for a file");
}

#[test]
fn more_than_a_gigabyte_is_refused_before_its_first_byte() {
    let rented = behind_gateway();
    allocate(&rented, "large", 1_200_000_000);
    let before = rented.lab.link.counts(xfer_tests::net::Direction::Out).bytes;
    let source = format!("{}/", rented.tree().display());
    let ended = rented.stand.xfer.run(["push", &source, "vast:33402296:data/"]).expect_code(17);
    let after = rented.lab.link.counts(xfer_tests::net::Direction::Out).bytes;
    let first =
        ended.stderr.lines().find(|line| line.starts_with("xfer: refused")).expect("an error");
    let place = format!("{}:{}", rented.lab.link.far(), rented.machine.port());
    let expected = format!(
        "xfer: refused, nothing sent: 1.2 GB would cross Vast's SSH proxy ({place}); limit 1 GB"
    );
    assert_eq!(first, expected);
    for line in [
        "  why       no direct port: no port is mapped to 22/tcp",
        "  by proxy  about 5 min (4 MB/s, estimated)",
        "            3  send it anyway: repeat with --proxy-limit 2GB",
        "  exit 17 proxied-over-limit",
    ] {
        assert!(ended.stderr.lines().any(|said| said == line), "{line}\n{}", ended.stderr);
    }
    assert!(after - before < 60 << 20, "{} bytes, an agent of 25 MB among them", after - before);
    assert!(!rented.machine.home().join("data/large").exists());
    let told = rented.push(&[], 17);
    assert_eq!(told["payload_bytes"], 0);
    assert_eq!(told["remedies"].as_array().map(Vec::len), Some(4));
    let first = told["remedies"][0].to_string();
    assert!(first.contains("--via s3://BUCKET/tmp"), "{first}");
    assert_eq!(rented.push(&["-n"], 17)["reason"], "proxied-over-limit");
    rented.push(&["--proxy-limit", "5GB"], 0);
    rented.assert_arrived();
}

#[test]
fn less_than_a_gigabyte_passes() {
    let rented = behind_gateway();
    allocate(&rented, "large", 900_000_000);
    let result = rented.push(&[], 0);
    assert_eq!(result["route"]["direct"], json!(false));
    rented.assert_arrived();
}

#[test]
fn only_what_is_left_to_move_counts() {
    let rented = behind_gateway();
    tree::big_file(&rented.tree().join("a"), 3 << 20, 1);
    rented.push(&["--proxy-limit", LIMIT], 0);
    tree::big_file(&rented.tree().join("b"), 3 << 20, 2);
    rented.push(&["--proxy-limit", LIMIT], 0);
    rented.assert_arrived();
    // Without a record content decides, which crosses as digests.
    std::fs::remove_dir_all(rented.stand.xfer.state().join("records")).expect("records");
    tree::big_file(&rented.tree().join("c"), 1 << 20, 3);
    rented.push(&["--proxy-limit", LIMIT], 0);
    rented.assert_arrived();
    std::fs::remove_dir_all(rented.stand.xfer.state().join("records")).expect("records");
    for name in ["a", "b"] {
        tree::flip_byte(&rented.tree().join(name), 1000);
    }
    assert_eq!(rented.push(&["--proxy-limit", LIMIT], 17)["payload_bytes"], 0);
}

#[test]
fn payload_on_a_data_port_does_not_count() {
    let rented = behind_gateway();
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 30_526, inside: 8081 };
    rented.lab.link.map_ports(&[mapping]);
    rented.stand.api.set(ID, "ports", json!({"8081/tcp": [{"HostPort": "30526"}]}));
    tree::big_file(&rented.tree().join("big"), 16 << 20, 9);
    let result = rented.push(&["--proxy-limit", LIMIT], 0);
    assert_eq!(
        (&result["route"]["kind"], &result["route"]["direct"]),
        (&json!("tls"), &json!(true))
    );
    rented.assert_arrived();
}

#[test]
fn what_falls_back_on_the_gateway_is_cut_at_the_limit() {
    let rented = behind_gateway();
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 30_526, inside: 8081 };
    rented.lab.link.map_ports(&[mapping]);
    rented.stand.api.set(ID, "ports", json!({"8081/tcp": [{"HostPort": "30526"}]}));
    tree::big_file(&rented.tree().join("big"), 96 << 20, 9);
    rented.push(&["-n"], 0);
    rented.lab.link.change_both(|weather| *weather = weather.clone().megabits(80));
    let source = format!("{}/", rented.tree().display());
    let arguments = ["push", &source, "vast:33402296:data/", "--proxy-limit", LIMIT, "--json"];
    let running = rented.stand.xfer.start(arguments);
    let moved =
        |event: &Value| event["payload_bytes"].as_u64().is_some_and(|bytes| bytes > 4 << 20);
    running.next_event(|event| event["type"] == "progress" && moved(event)).expect("payload");
    let port = Selection::default().ports(&[30_526]);
    rented.lab.link.change_both(|weather| weather.drops.push(port.clone()));
    let result = running.wait().expect_code(17).result();
    assert_eq!(result["reason"], "proxied-over-limit");
    rented.lab.link.change_both(|weather| weather.drops.clear());
    let rest = rented.push(&["--proxy-limit", LIMIT, "--route", "tls"], 0);
    let sent = rest["payload_bytes"].as_u64().expect("a count");
    assert!(sent < 92 << 20, "{rest}");
    rented.assert_arrived();
}
