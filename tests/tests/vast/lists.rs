//! `xfer ls vast:` tells every machine, or fails

use serde_json::json;
use xfer_tests::schema::assert_valid;
use xfer_tests::tree;
use xfer_tests::vast_api::{Answer, instance};

use super::{KEY, LIST, Stand};

fn ids(stand: &Stand) -> Vec<String> {
    let ended = stand.xfer.run(["ls", "vast:", "--json"]).expect_code(0);
    let events = ended.events();
    let machines = events.iter().filter(|event| event["type"] == "machine");
    machines.map(|event| event["location"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn every_page_is_walked() {
    let stand = Stand::new();
    stand.api.is_unhurried();
    let expected: Vec<_> = (1..=60).map(|id| format!("vast:{id}")).collect();
    (1..=60).for_each(|id| stand.api.put(id, instance(id, "203.0.113.37", 30022)));
    assert_eq!(ids(&stand), expected);
    let asked = stand.api.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|line| line.starts_with("GET /api/v1/instances/?")), "{asked:?}");
}

#[test]
fn requests_are_spaced_as_the_interface_asks() {
    let stand = Stand::new();
    stand.api.pages_of(2);
    (1..=5).for_each(|id| stand.api.put(id, instance(id, "203.0.113.37", 30022)));
    assert_eq!(ids(&stand).len(), 5);
    let asked = stand.api.asked();
    assert!(asked.iter().all(|line| line.ends_with(" 200")), "{asked:?}");
}

/// Rows: B-A9.
#[test]
fn a_person_reads_one_line_a_machine() {
    let stand = Stand::new();
    stand.api.put(33_402_296, instance(33_402_296, "203.0.113.37", 30022));
    stand.api.put(2, instance(2, "203.0.113.38", 30022));
    stand.api.set(2, "ports", json!({}));
    stand.api.set(2, "label", json!("\u{1b}]52;c;AAAA\u{7} evil"));
    stand.api.set(2, "dph_total", json!(null));
    stand.api.put(3, instance(3, "203.0.113.39", 30022));
    stand.api.set(3, "actual_status", json!("exited"));
    stand.api.set(3, "end_date", json!(null));
    let ended = stand.xfer.run(["ls", "vast:"]).expect_code(0);
    let expected = [
        "vast:2             running       proxied ssh3.vast.ai:12296  ?/h out $0.0040/GB in \
         $0.0020/GB  ends 2026-12-30T03:06:40.000Z  \\x1b]52;c;AAAA\\x07 evil",
        "vast:3             stopped       $0.0417/h out $0.0040/GB in $0.0020/GB  its disk is \
         paid for until it is destroyed  train-3",
        "vast:33402296      running       direct 203.0.113.37:30022  $0.4321/h out $0.0040/GB in \
         $0.0020/GB  ends 2026-12-30T03:06:40.000Z  train-33402296",
    ];
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn its_events_are_as_the_schema_says() {
    let text = std::fs::read_to_string("../xfer-cli/schema/event.schema.json").expect("the schema");
    let schema = serde_json::from_str(&text).expect("JSON");
    let stand = Stand::new();
    stand.api.put(1, instance(1, "203.0.113.37", 30022));
    stand.api.put(2, json!({"id": 2}));
    let ended = stand.xfer.run(["ls", "vast:", "--json"]).expect_code(0);
    ended.events().iter().for_each(|event| assert_valid(&schema, event));
    assert_eq!(ended.result()["entries"]["selected"], 2);
}

/// Rows: B-A1, B-A6, B-A8.
#[test]
fn a_list_that_is_not_known_to_be_whole_is_an_error() {
    let page = |rows: &str| format!(r#"{{"success":true,"total_instances":1,"instances":{rows}}}"#);
    for body in [
        String::new(),
        "<html>502</html>".to_owned(),
        r#"{"success":true,"instances":[{"id":1}"#.to_owned(),
        format!("\u{feff}{}", page("[]")),
        format!("{} x", page("[{\"id\":1}]")),
        "[".repeat(100_000),
        r#"{"success":false,"error":"deprecated_endpoint"}"#.to_owned(),
        r#"{"success":true}"#.to_owned(),
        page("null"),
        page("{}"),
        page("[null]"),
        page("[{}]"),
        page(r#"[{"id":"x"}]"#),
        page(r#"[{"id":1.5}]"#),
        page(r#"[{"id":18446744073709551616}]"#),
        page(r#"[{"id":-1}]"#),
        page(r#"[{"id":1,"id":2}]"#),
        page(r#"[{"id":1},{"id":1}]"#),
        page(r#"[{"id":NaN}]"#),
        page(r#"[{"id":1,"label":"\ud800"}]"#),
        r#"{"success":true,"total_instances":1,"instances":[{"id":1}],"next_token":7}"#.to_owned(),
    ] {
        let stand = Stand::new();
        stand.api.is_unhurried();
        stand.api.next(LIST, Answer::new(200, body.clone()));
        let result = stand.run(&["ls", "vast:"], 13);
        let shown: String = body.chars().take(60).collect();
        assert!(
            ["platform-answer", "platform-refused"].contains(&result["reason"].as_str().unwrap()),
            "{shown}: {result}"
        );
    }
}

#[test]
fn a_list_that_says_there_are_more_is_walked_again_and_refused() {
    let stand = Stand::new();
    stand.api.is_unhurried();
    stand.api.put(1, instance(1, "203.0.113.37", 30022));
    stand.api.claims_more(1);
    assert_eq!(stand.run(&["ls", "vast:"], 13)["reason"], "platform-answer");
    assert_eq!(stand.api.asked().len(), 3, "a machine may come while the list is walked");
}

#[test]
fn keys_are_tried_in_their_order() {
    let stand = Stand::new();
    let session = stand.xfer.home().join("config/vastai");
    std::fs::create_dir_all(&session).expect("create");
    for (name, key) in [("vast_tfa_key", "expired\n"), ("vast_api_key", KEY)] {
        tree::write(&session.join(name), key.as_bytes());
        tree::set_mode(&session.join(name), 0o600);
    }
    let xfer = stand.xfer.env("VAST_API_KEY", "");
    xfer.run(["ls", "vast:"]).expect_code(0);
    std::fs::remove_dir_all(session).expect("remove");
    let missing = xfer.run(["ls", "vast:", "--json"]).expect_code(3).result();
    assert_eq!(missing["reason"], "platform-key-missing");
    let other = xfer.env("VAST_API_KEY", "another");
    let refused = other.run(["ls", "vast:", "--json"]).expect_code(11).result();
    assert_eq!(refused["reason"], "platform-key-refused");
}

#[test]
fn a_key_leaves_this_machine_encrypted_or_not_at_all() {
    let stand = Stand::new();
    for base in ["http://203.0.113.1", "http://example.com/", "gopher://127.0.0.1", "console"] {
        let xfer = xfer_tests::xfer::Xfer::new().env("VAST_URL", base).env("VAST_API_KEY", KEY);
        let result = xfer.run(["ls", "vast:", "--json"]).expect_code(3).result();
        assert_eq!(result["reason"], "platform-key-unusable", "{base}");
    }
    assert_eq!(stand.api.asked().len(), 0);
}
