//! What moving bytes costs is told first, and refused where it is too much or not known

use serde_json::{Value, json};
use xfer_tests::schema::assert_valid;
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use super::logins::{ID, Rented};

/// $1,000 a GB
const DEAR: u64 = 1_000_000;

fn rented_with(bytes: u64) -> Rented {
    let rented = Rented::new();
    tree::big_file(&rented.tree().join("big"), bytes, 5);
    rented
}

#[test]
fn the_cost_is_told_before_bytes_move() {
    let rented = rented_with(2_000_000);
    let source = format!("{}/big", rented.tree().display());
    let arguments = ["push", &source, "vast:33402296:"];
    let told = |line: &str| line.contains("$0.00 for 2 MB, into vast:33402296 at $0.0020/GB");
    let planned = rented.stand.xfer.run([&arguments[..], &["-n"]].concat()).expect_code(0);
    assert!(planned.stdout.lines().any(|line| line.starts_with("cost ") && told(line)));
    let ended = rented.stand.xfer.run(arguments).expect_code(0);
    assert!(ended.stderr.lines().any(told), "{}", ended.stderr);
    let back = format!("{}/back", rented.tree().display());
    let arguments = ["pull", "vast:33402296:big", &back, "--json"];
    let ended = rented.stand.xfer.run(arguments).expect_code(0);
    let events = ended.events();
    let text = std::fs::read_to_string("../xfer-cli/schema/event.schema.json").expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    events.iter().for_each(|event| assert_valid(&schema, event));
    let cost = events.iter().find(|event| event["type"] == "cost").expect("a cost");
    assert_eq!((&cost["bytes"], &cost["usd_per_hour"]), (&json!(2_000_000), &json!(0.4321)));
    assert_eq!(cost["parts"][0]["direction"], "out");
    let (usd, by_hand) = (cost["usd"].as_f64().expect("known"), 0.002 * 0.004);
    assert!((usd - by_hand).abs() < 1e-12, "{usd}");
}

#[test]
fn more_than_the_cap_is_refused_before_its_first_byte() {
    let rented = rented_with(8_000_000);
    rented.stand.api.set(ID, "internet_down_cost_per_tb", json!(DEAR));
    let result = rented.push(&["--max-cost", "1"], 17);
    assert_eq!((&result["reason"], &result["payload_bytes"]), (&json!("cost-over-cap"), &json!(0)));
    assert!(!rented.machine.home().join("data/big").exists());
    rented.push(&["--max-cost", "9"], 0);
    rented.assert_arrived();
    rented.push(&["--max-cost", "0"], 0);
}

#[test]
fn what_content_decides_is_compared_before_it_is_billed() {
    let rented = rented_with(8_000_000);
    rented.push(&[], 0);
    std::fs::remove_dir_all(rented.stand.xfer.state().join("records")).expect("records");
    rented.stand.api.set(ID, "internet_down_cost_per_tb", json!(DEAR));
    rented.push(&["--max-cost", "0.01"], 0);
    std::fs::remove_dir_all(rented.stand.xfer.state().join("records")).expect("records");
    tree::flip_byte(&rented.tree().join("big"), 1000);
    assert_eq!(rented.push(&["--max-cost", "0.01"], 17)["reason"], "cost-over-cap");
}

#[test]
fn what_is_not_known_passes_no_cap() {
    for price in [json!(null), json!("NaN"), json!(-1)] {
        let rented = rented_with(1_000_000);
        rented.stand.api.set(ID, "internet_down_cost_per_tb", price.clone());
        rented.stand.api.set(ID, "inet_down_cost", price);
        assert_eq!(rented.push(&["--max-cost", "1000000"], 17)["reason"], "cost-over-cap");
        rented.push(&[], 0);
    }
}

#[test]
fn what_nobody_bills_passes_every_cap() {
    let xfer = Xfer::new();
    let file = xfer.home().join("file");
    tree::write(&file, b"content");
    let [from, to] =
        [file.clone(), xfer.home().join("copy")].map(|path| path.display().to_string());
    xfer.run(["push", &from, &to, "--max-cost", "0"]).expect_code(0);
    for wrong in ["-1", "1e3", "NaN", "inf", "$1", "1 USD", ""] {
        xfer.run(["push", &from, &to, &format!("--max-cost={wrong}")]).expect_code(2);
    }
}
