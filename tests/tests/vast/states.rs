//! A machine that does not run is exit 18 with its state, and gone only if it is

use serde_json::json;
use xfer_tests::vast_api::instance;

use super::{SHOW, Stand};

const ID: u64 = 33_402_296;
const PLACE: &str = "vast:33402296:/workspace";

/// Rows: B-A7.
#[test]
fn a_machine_that_does_not_run_is_told_by_its_state() {
    for (actual, current, bid, reason, state) in [
        (json!("exited"), "stopped", false, "machine-stopped", "stopped"),
        (json!("exited"), "stopped", true, "machine-outbid", "outbid"),
        (json!(null), "running", false, "machine-starting", "starting"),
        (json!("loading"), "running", false, "machine-starting", "starting"),
        (json!("offline"), "running", false, "machine-host-offline", "host-offline"),
        (json!("unknown"), "running", false, "machine-host-offline", "host-offline"),
        (json!("teleporting"), "running", false, "machine-state-unknown", "unknown"),
    ] {
        let stand = Stand::new();
        stand.api.put(ID, instance(ID, "203.0.113.37", 30022));
        stand.api.set(ID, "actual_status", actual.clone());
        stand.api.set(ID, "is_bid", json!(bid));
        for field in ["cur_state", "next_state", "intended_status"] {
            stand.api.set(ID, field, json!(current));
        }
        let result = stand.run(&["pull", PLACE, "./x"], 18);
        assert_eq!(result["reason"], reason, "{actual}");
        assert_eq!(result["machine_state"], state, "{actual}");
    }
}

#[test]
fn a_machine_is_gone_where_the_whole_list_does_not_have_it() {
    for by_status in [false, true] {
        let stand = Stand::new();
        stand.api.put(1, instance(1, "203.0.113.37", 30022));
        if by_status {
            stand.api.says_gone_by_status();
        }
        let result = stand.run(&["pull", PLACE, "./x"], 18);
        assert_eq!(result["reason"], "machine-gone");
        assert_eq!(result["machine_state"], "gone");
        assert_eq!(stand.api.asked().len(), 2);
    }
}

/// What one request does not show may be late; what the list has is there.
#[test]
fn a_machine_that_the_list_has_is_not_gone() {
    let stand = Stand::new();
    stand.api.put(ID, instance(ID, "203.0.113.37", 30022));
    stand.api.set(ID, "actual_status", json!("offline"));
    stand.api.hide(ID);
    assert_eq!(stand.run(&["pull", PLACE, "./x"], 18)["reason"], "machine-host-offline");
}

#[test]
fn without_the_list_nobody_says_that_it_is_gone() {
    let stand = Stand::new();
    stand.api.claims_more(1);
    assert_eq!(stand.run(&["pull", PLACE, "./x"], 13)["reason"], "platform-answer");
}

/// Rows: B-A2, B-A3.
#[test]
fn a_machine_without_a_way_in_names_the_fields() {
    let stand = Stand::new();
    stand.api.put(ID, instance(ID, "203.0.113.37", 30022));
    stand.api.set(ID, "ports", json!({"22/tcp": [{"HostPort": "-1"}]}));
    stand.api.set(ID, "ssh_host", json!(null));
    let ended = stand.xfer.run(["pull", PLACE, "./x"]).expect_code(13);
    for field in ["ports[\"22/tcp\"][0].HostPort is \"-1\"", "ssh_host or ssh_port is not there"] {
        assert!(ended.stderr.contains(field), "{}", ended.stderr);
    }
    assert_eq!(stand.api.asked().len(), 1, "{SHOW}");
}

#[test]
fn one_machine_must_be_named() {
    let stand = Stand::new();
    assert_eq!(stand.run(&["pull", "vast:", "./x"], 2)["reason"], "machine-missing");
    assert_eq!(stand.run(&["pull", "vast:self:/x", "./x"], 2)["reason"], "not-on-machine");
    assert_eq!(stand.api.asked().len(), 0);
}
