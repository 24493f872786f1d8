//! Pods of RunPod, from an id to a login that is proven to be on that pod

use serde_json::json;
use xfer_tests::net::{Mapping, Protocol};
use xfer_tests::runpod_api::{RunPodApi, pod};
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use super::{Ground, KEY, result, run};

const ID: &str = "xedezhzb9la3ye";
const THERE: &str = "runpod:xedezhzb9la3ye:data/";
const PLACE: &str = "runpod:xedezhzb9la3ye:/workspace";

/// A pod in the far host
struct Rented {
    ground: Ground,
    api: RunPodApi,
}

impl Rented {
    fn new() -> Self {
        let ground = Ground::new();
        let api = RunPodApi::within(&ground.lab.near, KEY);
        api.state().pods.push(pod(ID, &ground.address(), ground.machine.port()));
        ground.says(&format!("export RUNPOD_POD_ID=\"{ID}\"\n"));
        let variables = [("RUNPOD_GRAPHQL_URL", api.graphql()), ("RUNPOD_API_KEY", KEY.to_owned())];
        Self { ground: ground.env(&variables), api }
    }
}

/// Without a machine behind it
fn stand() -> (RunPodApi, Xfer) {
    let api = RunPodApi::of(KEY);
    api.state().pods.push(pod(ID, "203.0.113.37", 10341));
    let xfer = Xfer::new().env("RUNPOD_GRAPHQL_URL", api.graphql()).env("RUNPOD_API_KEY", KEY);
    (api, xfer)
}

#[test]
fn a_pod_is_proven_pinned_by_its_id_and_reached_again() {
    let Rented { ground, api } = Rented::new();
    let first = ground.push(THERE, &[], 0);
    let fingerprint = ground.machine.host_key_fingerprint();
    let told = format!("host key {fingerprint} pinned");
    assert!(first.stderr.contains(&told), "{}", first.stderr);
    assert!(first.stderr.contains("it says so itself"), "{}", first.stderr);
    ground.assert_arrived();
    ground.assert_secrets_are_nowhere();
    assert_eq!(ground.pins(), format!("runpod-{ID} {}\n", ground.machine.host_key()));
    let again = ground.push(THERE, &["--json"], 0);
    let route = &again.result()["route"];
    assert_eq!((&route["kind"], &route["direct"]), (&json!("ssh"), &json!(true)));
    assert!(!again.stdout.contains("pinned"), "{}", again.stdout);
    assert_eq!(api.asked(), ["POST /graphql 200"; 2]);
}

#[test]
fn nothing_is_sent_to_another_pod_at_the_address() {
    for line in ["export RUNPOD_POD_ID=another\n", "export VAST_CONTAINERLABEL=C.1\n", ""] {
        let Rented { ground, api: _api } = Rented::new();
        ground.says(line);
        let ended = ground.push(THERE, &[], 11);
        assert!(ended.stderr.contains("exit 11 instance-identity"), "{}", ended.stderr);
        ground.assert_untouched();
    }
}

#[test]
fn public_ports_of_a_pod_are_its_data_ports() {
    let Rented { ground, api } = Rented::new();
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 10_342, inside: 8081 };
    ground.lab.link.map_ports(&[mapping]);
    let port = json!({"ip": ground.address(), "isIpPublic": true, "privatePort": 8081,
                      "publicPort": 10342, "type": "tcp"});
    api.state().pods[0]["runtime"]["ports"].as_array_mut().expect("ports").push(port);
    tree::big_file(&ground.tree().join("big"), 8 << 20, 9);
    let ended = ground.push(THERE, &["--json"], 0);
    assert_eq!(ended.result()["route"]["kind"], "tls");
    ground.assert_arrived();
}

#[test]
fn a_probe_tells_of_the_pod() {
    let Rented { ground, api: _api } = Rented::new();
    let probed = run(&ground.xfer, &["probe", &format!("runpod:{ID}:"), "--duration", "1s"], 0);
    for part in ["direct: ", "running: RUNNING", "$0.6900/h"] {
        assert!(probed.stdout.contains(part), "{part}\n{}", probed.stdout);
    }
}

#[test]
fn a_pod_that_cannot_be_reached_is_told_by_its_state() {
    let (api, xfer) = stand();
    let ports = json!({"ports": [{"ip": "100.65.0.119", "isIpPublic": false, "privatePort": 22,
                                  "publicPort": 60141, "type": "tcp"}]});
    for (wanted, runtime, code, reason) in [
        ("RUNNING", json!(null), 18, "machine-starting"),
        ("CREATED", json!(null), 18, "machine-starting"),
        ("EXITED", json!(null), 18, "machine-stopped"),
        ("TERMINATED", json!(null), 18, "machine-state-unknown"),
        ("RUNNING", ports, 13, "no-login-route"),
    ] {
        api.set("desiredStatus", json!(wanted));
        api.set("runtime", runtime);
        let told = result(&xfer, &["pull", PLACE, "./x"], code);
        assert_eq!(told["reason"], reason, "{wanted}");
    }
    let ended = run(&xfer, &["pull", PLACE, "./x"], 13);
    assert!(ended.stderr.contains("ssh.runpod.io"), "{}", ended.stderr);
    api.state().pods.clear();
    assert_eq!(result(&xfer, &["pull", PLACE, "./x"], 18)["reason"], "machine-gone");
    assert_eq!(result(&xfer, &["pull", "runpod:", "./x"], 2)["reason"], "machine-missing");
}

#[test]
fn an_answer_that_says_nothing_is_no_list() {
    let page = |pods: &str| format!(r#"{{"data":{{"myself":{{"pods":{pods}}}}}}}"#);
    for (status, body, code, reason) in [
        (401, "{}".to_owned(), 11, "platform-key-refused"),
        (403, "<html>".to_owned(), 11, "platform-key-refused"),
        (404, "<html>".to_owned(), 4, "platform-not-found"),
        (400, r#"{"errors":[{"message":"Cannot query"}]}"#.to_owned(), 13, "platform-refused"),
        (200, r#"{"errors":[{"message":"oops"}],"data":null}"#.to_owned(), 13, "platform-refused"),
        (200, String::new(), 13, "platform-answer"),
        (200, "{}".to_owned(), 13, "platform-answer"),
        (200, r#"{"data":{"myself":null}}"#.to_owned(), 13, "platform-answer"),
        (200, page("null"), 13, "platform-answer"),
        (200, page("{}"), 13, "platform-answer"),
        (200, page("[{}]"), 13, "platform-answer"),
        (200, page(r#"[{"id":"../x"}]"#), 13, "platform-answer"),
        (200, page(r#"[{"id":"a"},{"id":"a"}]"#), 13, "platform-answer"),
    ] {
        let (api, xfer) = stand();
        api.state().scripted.push((status, body.clone()));
        assert_eq!(result(&xfer, &["ls", "runpod:"], code)["reason"], reason, "{status} {body}");
        assert_eq!(api.asked().len(), 1);
    }
    let (api, xfer) = stand();
    api.state().scripted.push((429, String::new()));
    result(&xfer, &["ls", "runpod:"], 0);
    assert_eq!(api.asked(), ["POST /graphql 429", "POST /graphql 200"]);
}

#[test]
fn a_person_reads_one_line_a_pod() {
    let (api, xfer) = stand();
    let mut second = pod("b1", "203.0.113.38", 1);
    second["runtime"] = json!({"ports": []});
    second["name"] = json!("\u{1b}]52;c;AAAA\u{7} evil");
    second["podType"] = json!("INTERRUPTABLE");
    second["costPerHr"] = json!(null);
    let mut third = pod("c1", "203.0.113.39", 1);
    third["desiredStatus"] = json!("EXITED");
    api.state().pods.extend([second, third]);
    let ended = run(&xfer, &["ls", "runpod:"], 0);
    let expected = [
        "runpod:xedezhzb9la3ye running       direct 203.0.113.37:10341  $0.6900/h out ?/GB in \
         ?/GB  train",
        "runpod:b1          running       no way in: no direct port: no public port leads to \
         22/tcp inside; ssh.runpod.io is a terminal that carries no files, and is not used  ?/h \
         out ?/GB in ?/GB  may be stopped by a higher bid  \\x1b]52;c;AAAA\\x07 evil",
        "runpod:c1          stopped       ?/h out ?/GB in ?/GB  its disk is paid for until it is \
         destroyed  train",
    ];
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(result(&xfer, &["ls", "runpod:"], 0)["entries"]["selected"], 3);
}
