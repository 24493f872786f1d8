//! How much may cross a proxy, in the sizes of the contract itself: gigabytes, and so not among
//! what every change must pass
//!
//! `cargo test --release -p xfer-tests --test vast -- --ignored --nocapture sizes`

use serde_json::{Value, json};
use xfer_tests::net::{Direction, Mapping, Protocol, Selection};
use xfer_tests::sshd::Sshd;
use xfer_tests::tree::big_file;

use super::logins::{ID, Rented};

const GB: u64 = 1_000_000_000;

/// What an agent and its talk may take where nothing else crosses
const TALK: u64 = 60 << 20;

/// One that only the gateway leads to
fn behind_gateway() -> Rented {
    let rented = Rented::new();
    let (host, port) = (rented.lab.link.far().to_string(), rented.machine.port());
    rented.stand.api.set(ID, "ports", json!({}));
    rented.stand.api.set(ID, "ssh_host", json!(host));
    rented.stand.api.set(ID, "ssh_port", json!(port));
    rented
}

fn crossed(rented: &Rented, act: impl FnOnce() -> Value) -> (u64, Value) {
    let bytes = || rented.lab.link.counts(Direction::Out).bytes;
    let before = bytes();
    let result = act();
    (bytes() - before, result)
}

fn holds(machine: &Sshd, name: &str) -> bool {
    machine.home().join("data").join(name).exists()
}

#[test]
#[ignore = "gigabytes: some minutes"]
fn sizes_without_a_data_port() {
    let rented = behind_gateway();
    big_file(&rented.tree().join("first"), 1_200_000_000, 1);
    let (bytes, refused) = crossed(&rented, || rented.push(&[], 17));
    assert_eq!(refused["reason"], "proxied-over-limit", "1.2 GB");
    assert_eq!(refused["payload_bytes"], 0);
    assert!(bytes < TALK && !holds(&rented.machine, "first"), "{bytes} bytes crossed");
    big_file(&rented.tree().join("first"), 900_000_000, 1);
    let passed = rented.push(&[], 0);
    assert_eq!(passed["route"]["direct"], json!(false), "0.9 GB");
    rented.assert_arrived();
    // Of 1.2 GB 0.5 GB are there.
    let rented = behind_gateway();
    big_file(&rented.tree().join("half"), GB / 2, 2);
    rented.push(&[], 0);
    big_file(&rented.tree().join("rest"), 7 * GB / 10, 3);
    rented.push(&[], 0);
    rented.assert_arrived();
    let rented = behind_gateway();
    big_file(&rented.tree().join("all"), 1_200_000_000, 4);
    rented.push(&[], 17);
    rented.push(&["--proxy-limit", "5GB"], 0);
    rented.assert_arrived();
}

#[test]
#[ignore = "gigabytes: some minutes"]
fn sizes_with_a_data_port() {
    let rented = behind_gateway();
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 30_526, inside: 8081 };
    rented.lab.link.map_ports(&[mapping]);
    rented.stand.api.set(ID, "ports", json!({"8081/tcp": [{"HostPort": "30526"}]}));
    big_file(&rented.tree().join("large"), 5 * GB, 5);
    let result = rented.push(&["--compress", "none"], 0);
    assert_eq!(result["route"]["kind"], "tls", "5 GB");
    rented.assert_arrived();
    // A way that is known to be the machine's own is lost, and what is left does not fit.
    big_file(&rented.tree().join("more"), 5 * GB / 2, 6);
    let source = format!("{}/", rented.tree().display());
    let arguments = ["push", &source, "vast:33402296:data/", "--compress", "none", "--json"];
    let running = rented.stand.xfer.start(arguments);
    let moved = |event: &Value| event["payload_bytes"].as_u64() > Some(GB / 10);
    running.next_event(|event| event["type"] == "progress" && moved(event)).expect("payload");
    let port = Selection::default().ports(&[30_526]);
    rented.lab.link.change_both(|weather| weather.drops.push(port.clone()));
    let cut = running.wait().expect_code(17).result();
    assert_eq!(cut["reason"], "proxied-over-limit", "cut at the limit");
    assert!(cut["payload_bytes"].as_u64() < Some(5 * GB / 2), "{cut}");
    rented.lab.link.change_both(|weather| weather.drops.clear());
    let rest = rented.push(&["--compress", "none", "--route", "tls"], 0);
    assert!(rest["payload_bytes"].as_u64() < Some(5 * GB / 2), "what arrived is kept: {rest}");
    rented.assert_arrived();
}
