//! Clusters of SkyPilot on Vast.ai, whose machines are found again by their labels

use serde_json::json;
use xfer_tests::sky::write_ssh_file;
use xfer_tests::sshd::Sshd;
use xfer_tests::vast_api::{VastApi, instance};
use xfer_tests::xfer::Xfer;

use super::sky::{Cluster, with};
use super::{KEY, result};

const ID: u64 = 33_402_296;
const THERE: &str = "sky:train:data/";
const GATEWAY: &str = "  HostName ssh5.vast.ai\n  Port 17417\n  User root";

/// A cluster whose head is an instance in the far host
fn rented() -> (Cluster, VastApi) {
    let Cluster { ground, sky } = Cluster::new();
    let api = VastApi::start_within(&ground.lab.near, KEY);
    api.is_unhurried();
    api.put(ID, instance(ID, &ground.address(), ground.machine.port()));
    api.set(ID, "label", json!("train-1a2b-head"));
    api.set(ID, "ssh_host", json!(null));
    ground.says(&format!("export VAST_CONTAINERLABEL=\"C.{ID}\"\n"));
    sky.put("train", &with(&[("cloud", json!("Vast"))]));
    let ground = ground.env(&[("VAST_URL", api.base()), ("VAST_API_KEY", KEY.to_owned())]);
    let cluster = Cluster { ground, sky };
    cluster.write_file(&[("train", GATEWAY)]);
    (cluster, api)
}

#[test]
fn a_gateway_in_its_file_is_not_dialled_where_there_is_a_direct_port() {
    let (Cluster { ground, sky: _sky }, api) = rented();
    // The key is the cluster's, whatever the user configured.
    let ground = super::Ground { xfer: ground.xfer.ssh_config("/dev/null".into()), ..ground };
    let first = ground.push(THERE, &["--json"], 0);
    assert_eq!(first.result()["route"]["direct"], json!(true));
    assert!(first.stdout.contains("it says so itself"), "{}", first.stdout);
    ground.assert_arrived();
    assert_eq!(ground.pins(), format!("sky-train {}\n", ground.machine.host_key()));
    assert!(api.asked().iter().all(|line| line.starts_with("GET /api/v1/instances/?")));
}

#[test]
fn another_instance_at_the_address_is_another_machine() {
    let (Cluster { ground, sky: _sky }, _api) = rented();
    ground.says("export VAST_CONTAINERLABEL=\"C.999\"\n");
    let told = ground.push(THERE, &["--json"], 11).result();
    assert_eq!(told["reason"], "instance-identity");
    ground.assert_untouched();
}

#[test]
fn an_instance_is_known_by_the_label_of_its_cluster() {
    let (Cluster { ground, sky }, api) = rented();
    let pull = |code| result(&ground.xfer, &["ls", "sky:train:"], code)["reason"].clone();
    api.set(ID, "label", json!("train-1a2b"));
    assert_eq!(pull(4), "platform-not-found");
    api.set(ID, "label", json!("train-1a2b-head"));
    api.set(ID, "actual_status", json!("exited"));
    for field in ["cur_state", "next_state", "intended_status"] {
        api.set(ID, field, json!("stopped"));
    }
    assert_eq!(pull(18), "machine-stopped", "the cloud knows better");
    sky.put("train", &with(&[("cloud", json!("Vast")), ("status", json!("STOPPED"))]));
    assert_eq!(pull(18), "machine-stopped");
}

/// All machines but the head bear one label.
#[test]
fn workers_are_told_apart_by_their_addresses() {
    let (Cluster { ground, sky }, api) = rented();
    sky.put("train", &with(&[("cloud", json!("Vast")), ("nodes", json!(3))]));
    let second = Sshd::start_within(&ground.lab.far, ground.lab.link.far(), "");
    std::fs::copy(ground.machine.authorized_keys(), second.authorized_keys()).expect("copy");
    std::fs::write(second.home().join(".bashrc"), "export VAST_CONTAINERLABEL=C.8\n")
        .expect("write");
    for (id, port) in [(7, 1), (8, second.port())] {
        api.put(id, instance(id, &ground.address(), port));
        api.set(id, "label", json!("train-1a2b-worker"));
        api.set(id, "ssh_host", json!(null));
    }
    let address = ground.address();
    let at = |port: u16| format!("  HostName {address}\n  Port {port}\n  User root");
    let (first, other) = (at(1), at(second.port()));
    let entries =
        [("train", GATEWAY), ("train-worker1", first.as_str()), ("train-worker2", other.as_str())];
    let key = ground.machine.user_key();
    write_ssh_file(&ground.xfer, "train", &key, &entries);
    ground.push("sky:train-worker2:data/", &[], 0);
    xfer_tests::oracle::assert_equal(&ground.tree(), &second.home().join("data"));
    assert!(ground.pins().starts_with("sky-train-worker2 "), "{}", ground.pins());
    let entries = [("train", GATEWAY), ("train-worker2", GATEWAY)];
    write_ssh_file(&ground.xfer, "train", &key, &entries);
    let told = ground.push("sky:train-worker2:data/", &["--json"], 13).result();
    assert_eq!(told["reason"], "platform-answer");
}

#[test]
fn without_a_key_of_vast_nobody_guesses() {
    let (Cluster { ground, sky: _sky }, _api) = rented();
    let xfer: Xfer = ground.xfer.env("VAST_API_KEY", "");
    assert_eq!(result(&xfer, &["ls", "sky:train:"], 3)["reason"], "platform-key-missing");
}
