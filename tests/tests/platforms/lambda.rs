//! Instances of Lambda Cloud, which tell nobody inside what they are called

use serde_json::json;
use xfer_tests::lambda_api::{LambdaApi, instance};
use xfer_tests::net::{Mapping, Protocol};
use xfer_tests::xfer::Xfer;

use super::{Ground, KEY, result, run};

const ID: &str = "0920582c7ff041399e34823a0be62549";
const THERE: &str = "lambda:0920582c7ff041399e34823a0be62549:data/";
const PLACE: &str = "lambda:0920582c7ff041399e34823a0be62549:/workspace";

/// An instance in the far host, whose sshd is at port 22 from outside
struct Rented {
    ground: Ground,
    api: LambdaApi,
}

impl Rented {
    fn new() -> Self {
        let ground = Ground::of("ubuntu");
        let inside = ground.machine.port();
        let mapping = Mapping { protocol: Protocol::Tcp, outside: 22, inside };
        ground.lab.link.map_ports(&[mapping]);
        let api = LambdaApi::within(&ground.lab.near, KEY);
        api.state().instances.push(instance(ID, &ground.address()));
        let variables = [("LAMBDA_API_URL", api.v1()), ("LAMBDA_API_KEY", KEY.to_owned())];
        Self { ground: ground.env(&variables), api }
    }
}

/// Without a machine behind it
fn stand() -> (LambdaApi, Xfer) {
    let api = LambdaApi::of(KEY);
    api.state().instances.push(instance(ID, "203.0.113.37"));
    let xfer = Xfer::new().env("LAMBDA_API_URL", api.v1()).env("LAMBDA_API_KEY", KEY);
    (api, xfer)
}

#[test]
fn an_instance_is_pinned_where_its_platform_says_that_it_is() {
    let Rented { ground, api } = Rented::new();
    let first = ground.push(THERE, &[], 0);
    let fingerprint = ground.machine.host_key_fingerprint();
    let told = format!("host key {fingerprint} pinned");
    assert!(first.stderr.contains(&told), "{}", first.stderr);
    assert!(first.stderr.contains("nothing there says which machine it is"), "{}", first.stderr);
    ground.assert_arrived();
    ground.assert_secrets_are_nowhere();
    assert_eq!(ground.pins(), format!("lambda-{ID} {}\n", ground.machine.host_key()));
    assert!(ground.machine.log().contains("for ubuntu from"), "{}", ground.machine.log());
    let again = ground.push(THERE, &["--json"], 0);
    let route = &again.result()["route"];
    assert_eq!((&route["kind"], &route["direct"]), (&json!("ssh"), &json!(true)));
    assert!(!again.stdout.contains("pinned"), "{}", again.stdout);
    let asked = api.asked();
    assert!(asked.iter().all(|line| line.starts_with("GET /api/v1/instances ")), "{asked:?}");
}

/// What was pinned is believed alone, and what was not is pinned by no option of ssh.
#[test]
fn another_key_at_the_address_is_another_machine() {
    let Rented { ground, api: _api } = Rented::new();
    let strict = ["-o", "StrictHostKeyChecking=yes", "--json"];
    assert_eq!(ground.push(THERE, &strict, 11).result()["reason"], "host-key-unknown");
    ground.assert_untouched();
    let pins = ground.xfer.state().join("known_hosts");
    std::fs::create_dir_all(ground.xfer.state()).expect("create");
    let other = Ground::new().machine.host_key();
    std::fs::write(&pins, format!("lambda-{ID} {other}\n")).expect("write");
    for flags in [&["--json"][..], &["-o", "StrictHostKeyChecking=no", "--json"]] {
        let told = ground.push(THERE, flags, 11).result();
        assert_eq!(told["reason"], "host-key-changed");
        let argv = &told["remedies"][0]["argv"];
        assert_eq!(*argv, json!(["xfer", "hosts", "forget", format!("lambda:{ID}")]));
    }
    assert!(!ground.machine.home().join("data").exists());
}

#[test]
fn a_probe_tells_of_the_instance() {
    let Rented { ground, api: _api } = Rented::new();
    let probed = run(&ground.xfer, &["probe", &format!("lambda:{ID}:"), "--duration", "1s"], 0);
    for part in ["direct: ", "running: active", "$1.1000/h"] {
        assert!(probed.stdout.contains(part), "{part}\n{}", probed.stdout);
    }
}

#[test]
fn an_instance_that_cannot_be_reached_is_told_by_its_state() {
    for (field, value, code, reason) in [
        ("status", json!("booting"), 18, "machine-starting"),
        ("status", json!("unhealthy"), 18, "machine-host-offline"),
        ("status", json!("terminated"), 18, "machine-state-unknown"),
        ("status", json!(null), 18, "machine-state-unknown"),
        ("ip", json!(null), 13, "no-login-route"),
        ("ip", json!("169.254.169.254"), 13, "no-login-route"),
        ("id", json!("abc"), 18, "machine-gone"),
    ] {
        let (api, xfer) = stand();
        api.set(field, value.clone());
        let told = result(&xfer, &["pull", PLACE, "./x"], code);
        assert_eq!(told["reason"], reason, "{field} {value}");
    }
}

#[test]
fn an_answer_that_says_nothing_is_no_list() {
    for (status, body, code, reason) in [
        (401, r#"{"error":{"code":"global/invalid-api-key"}}"#, 11, "platform-key-refused"),
        (403, "<html>", 11, "platform-key-refused"),
        (404, r#"{"error":{"code":"global/object-does-not-exist"}}"#, 4, "platform-not-found"),
        (400, r#"{"error":{"code":"global/invalid-parameters"}}"#, 13, "platform-refused"),
        (200, "", 13, "platform-answer"),
        (200, "{}", 13, "platform-answer"),
        (200, "[]", 13, "platform-refused"),
        (200, r#"{"data":{}}"#, 13, "platform-answer"),
        (200, r#"{"data":[{}]}"#, 13, "platform-answer"),
        (200, r#"{"data":[{"id":"g"}]}"#, 13, "platform-answer"),
        (200, r#"{"data":[{"id":"a"},{"id":"a"}]}"#, 13, "platform-answer"),
    ] {
        let (api, xfer) = stand();
        api.state().scripted.push((status, body.to_owned()));
        assert_eq!(result(&xfer, &["ls", "lambda:"], code)["reason"], reason, "{status} {body}");
    }
    let (api, xfer) = stand();
    let busy = r#"{"error":{"code":"global/rate-limited","message":"slow down"}}"#;
    api.state().scripted.push((429, busy.to_owned()));
    result(&xfer, &["ls", "lambda:"], 0);
    assert_eq!(api.asked(), ["GET /api/v1/instances 429", "GET /api/v1/instances 200"]);
}

#[test]
fn a_person_reads_one_line_an_instance() {
    let (api, xfer) = stand();
    let mut second = instance("ab", "203.0.113.38");
    second["status"] = json!("terminating");
    second["instance_type"] = json!(null);
    api.state().instances.push(second);
    let ended = run(&xfer, &["ls", "lambda:"], 0);
    let expected = [
        format!(
            "lambda:{ID} running       direct 203.0.113.37:22  $1.1000/h out ?/GB in ?/GB  train"
        ),
        "lambda:ab          stopping      direct 203.0.113.38:22  ?/h out ?/GB in ?/GB  train"
            .to_owned(),
    ];
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), expected);
}
