//! Ports that a cluster opened carry payload, and where one is needed and none is there, how the
//! next cluster has one is told

use serde_json::json;
use xfer_tests::net::{Mapping, Protocol, Selection};
use xfer_tests::tree;

use super::sky::{Cluster, with};

const THERE: &str = "sky:train:data/";

#[test]
fn a_port_that_its_program_tells_carries_payload() {
    let Cluster { ground, sky } = Cluster::new();
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 30_526, inside: 8081 };
    ground.lab.link.map_ports(&[mapping]);
    sky.opens("train", &format!("8081: {}:30526\n", ground.address()));
    tree::big_file(&ground.tree().join("big"), 8 << 20, 9);
    let ended = ground.push(THERE, &["--json"], 0);
    assert_eq!(ended.result()["route"]["kind"], "tls");
    ground.assert_arrived();
}

#[test]
fn a_range_of_its_record_carries_payload() {
    let Cluster { ground, sky } = Cluster::new();
    sky.put("train", &with(&[("resources", json!({"ports": ["18081-18082"]}))]));
    tree::big_file(&ground.tree().join("big"), 8 << 20, 9);
    let ended = ground.push(THERE, &["--json"], 0);
    assert_eq!(ended.result()["route"]["kind"], "tls");
    ground.assert_arrived();
}

#[test]
fn where_none_is_open_the_line_that_opens_one_is_told() {
    let Cluster { ground, sky: _sky } = Cluster::new();
    // The far side cannot dial this one either.
    let others = Selection::default().all_ports_but(&[ground.machine.port()]);
    ground.lab.link.change_both(|weather| weather.drops.push(others.clone()));
    let told = ground.push(THERE, &["--route", "tls"], 10);
    assert!(told.stderr.contains("resources: {ports: [8081]}"), "{}", told.stderr);
    assert!(told.stderr.contains("exit 10 no-data-port"), "{}", told.stderr);
    let probed = super::run(&ground.xfer, &["probe", "sky:train:", "--route", "tls"], 10);
    assert!(probed.stderr.contains("resources: {ports: [8081]}"), "{}", probed.stderr);
}
