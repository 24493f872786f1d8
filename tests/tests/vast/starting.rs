//! A machine that does not run is started, or waited for, where that was asked for

use serde_json::{Value, json};
use xfer_tests::net::{Mapping, Protocol, Weather};
use xfer_tests::tree;
use xfer_tests::vast_api::instance;
use xfer_tests::xfer::Running;

use super::logins::{ID, Rented, THERE};

const RUNNING: &str = r#"PUT 33402296 {"state":"running"}"#;
const STOPPED: &str = r#"PUT 33402296 {"state":"stopped"}"#;

/// As the platform shows it while it runs
fn running(rented: &Rented) -> Value {
    instance(ID, &rented.lab.link.far().to_string(), rented.machine.port())
}

/// One that is stopped, though its sshd is there already for when it is not
fn stopped() -> Rented {
    let rented = Rented::new();
    become_state(&rented, "exited", "stopped");
    rented
}

fn become_state(rented: &Rented, actual: &str, wanted: &str) {
    rented.stand.api.set(ID, "actual_status", json!(actual));
    rented.stand.api.set(ID, "ports", json!(null));
    for field in ["cur_state", "next_state", "intended_status"] {
        rented.stand.api.set(ID, field, json!(wanted));
    }
}

fn start(rented: &Rented, flags: &[&str]) -> Running {
    let source = format!("{}/", rented.tree().display());
    let arguments = ["push", &source, THERE, "--json"];
    rented.stand.xfer.start([&arguments[..], flags].concat())
}

fn wait_for_notice(running: &Running, part: &str) {
    let is_it = |event: &Value| event["notice"].as_str().is_some_and(|text| text.contains(part));
    running.next_event(is_it).unwrap_or_else(|| panic!("no notice: {part}"));
}

#[test]
fn a_stopped_machine_is_told_with_what_helps_and_left_as_it_is() {
    let rented = stopped();
    let arguments = ["pull", "vast:33402296:/workspace/ckpt", "./ckpt"];
    let ended = rented.stand.xfer.run(arguments).expect_code(18);
    let lines: Vec<_> = ended.stderr.lines().collect();
    let expected = [
        "xfer: vast:33402296: it is stopped",
        "  state     exited: success, running pytorch/pytorch/ssh",
        "  costs     $0.0417/h for its disk, until it is destroyed",
        "  do one of 1  repeat with --start: it is started, waited for, and costs its full price \
         from then on",
        "            2  leave it stopped: vastai copy C.33402296:/workspace/ckpt local:./ckpt (its \
         host sends by rsync, where it has an open port; it ends with 0 whatever became of it)",
        "            3  or to a store, by its host too: vastai cloud copy --src /workspace/ckpt \
         --dst /DIRECTORY --instance 33402296 --connection ID --transfer \"Instance To Cloud\" \
         (done when its status says so; it counts no failures)",
        "            4  afterwards, for nothing else proves that copy: xfer verify ./ckpt \
         --against RECEIPT (of an earlier transfer of the same files)",
        "  exit 18 machine-stopped",
    ];
    assert_eq!(lines[lines.len() - expected.len()..], expected);
    assert_eq!(
        rented.push(&["-n", "--start"], 18)["reason"],
        "machine-stopped",
        "a plan does nothing"
    );
    assert!(rented.stand.api.orders().is_empty());
}

#[test]
fn a_stopped_machine_is_started_where_that_was_asked_for() {
    let rented = stopped();
    rented.stand.api.starts_as(ID, 2, running(&rented));
    rented.push(&["--start"], 0);
    rented.assert_arrived();
    assert_eq!(rented.stand.api.orders(), [RUNNING]);
    rented.push(&["--start"], 0);
    assert_eq!(rented.stand.api.orders(), [RUNNING], "one that runs is not started");
}

/// Its sshd takes keys later than its platform says that it runs.
#[test]
fn a_machine_that_was_started_is_given_time_to_wake() {
    let rented = stopped();
    let keys = std::fs::read(rented.machine.authorized_keys()).expect("keys");
    std::fs::write(rented.machine.authorized_keys(), "").expect("write");
    let mut woken = running(&rented);
    woken["ssh_host"] = json!(null);
    rented.stand.api.starts_as(ID, 1, woken);
    let moving = start(&rented, &["--start"]);
    let refused = |event: &Value| {
        let reason = event["retry"]["reason"].as_str();
        reason.is_some_and(|reason| reason.contains("login refused"))
    };
    moving.next_event(refused).expect("another try");
    std::fs::write(rented.machine.authorized_keys(), keys).expect("write");
    moving.wait().expect_code(0);
    rented.assert_arrived();
}

/// A start that waits for its processors would succeed some day, and cost from then on.
#[test]
fn a_start_that_does_not_come_about_in_time_is_taken_back() {
    let rented = stopped();
    rented.stand.api.stalls(ID, running(&rented));
    let result = rented.push(&["--start", "--wait-machine", "6s"], 18);
    assert_eq!(result["reason"], "machine-stopped");
    assert_eq!(rented.stand.api.orders(), [RUNNING, STOPPED]);
}

#[test]
fn a_start_is_taken_back_by_whoever_stops_waiting() {
    let rented = stopped();
    rented.stand.api.stalls(ID, running(&rented));
    let waiting = start(&rented, &["--start"]);
    wait_for_notice(&waiting, "is being started");
    waiting.signal("INT");
    wait_for_notice(&waiting, "its start was taken back");
    waiting.wait().expect_code(130);
    assert_eq!(rented.stand.api.orders(), [RUNNING, STOPPED]);
}

#[test]
fn a_start_that_the_platform_refuses_is_told_in_its_words() {
    let rented = stopped();
    let refused = r#"{"success":false,"error":"missing_billing","msg":"no credit\u001b[2J"}"#;
    rented.stand.api.answers_orders_with(refused);
    let result = rented.push(&["--start"], 13);
    assert_eq!(result["reason"], "platform-refused");
    assert!(rented.stand.api.orders().is_empty());
}

#[test]
fn a_machine_is_waited_for_until_somebody_starts_it() {
    for (actual, wanted) in [("exited", "stopped"), ("offline", "running"), ("loading", "running")]
    {
        let rented = Rented::new();
        become_state(&rented, actual, wanted);
        let waiting = start(&rented, &["--wait-machine", "5m"]);
        wait_for_notice(&waiting, "and waited for");
        rented.stand.api.put(ID, running(&rented));
        waiting.wait().expect_code(0);
        rented.assert_arrived();
        assert!(rented.stand.api.orders().is_empty(), "{actual}");
    }
}

#[test]
fn what_is_gone_is_not_waited_for() {
    let rented = Rented::new();
    rented.stand.api.remove(ID);
    let result = rented.push(&["--wait-machine", "1h", "--start"], 18);
    assert_eq!(result["reason"], "machine-gone");
}

/// Rows: E11.
#[test]
fn one_that_vanishes_in_the_middle_is_waited_for_found_anew_and_goes_on() {
    let rented = Rented::new();
    tree::big_file(&rented.tree().join("big"), 48 << 20, 9);
    rented.push(&["--exclude", "big"], 0);
    rented.lab.link.change_both(|weather| *weather = Weather::default().megabits(80));
    let moving = start(&rented, &["--wait-machine", "10m", "--stall-timeout", "3s"]);
    let moved = |event: &Value| event["payload_bytes"].as_u64() > Some(8 << 20);
    moving.next_event(|event| event["type"] == "progress" && moved(event)).expect("payload");
    become_state(&rented, "offline", "running");
    rented.lab.link.cut();
    wait_for_notice(&moving, "is host-offline, and waited for");
    // It comes back behind another port, and its old one leads to somebody else.
    let other = rented.other(999);
    let of = |outside, inside| Mapping { protocol: Protocol::Tcp, outside, inside };
    let port = rented.machine.port();
    rented.lab.link.map_ports(&[of(30_600, port), of(port, other.port())]);
    let mut anew = running(&rented);
    anew["ports"] = json!({"22/tcp": [{"HostPort": "30600"}]});
    rented.stand.api.put(ID, anew);
    rented.lab.link.heal();
    let result = moving.wait().expect_code(0).result();
    assert!(result["payload_bytes"].as_u64() < Some(80 << 20), "what arrived is not sent again");
    rented.assert_arrived();
    super::logins::assert_untouched(&other);
}

/// Whoever stops a machine in the middle of a transfer means it.
#[test]
fn one_that_is_stopped_in_the_middle_is_not_started_again() {
    let rented = Rented::new();
    tree::big_file(&rented.tree().join("big"), 48 << 20, 9);
    rented.lab.link.change_both(|weather| *weather = Weather::default().megabits(80));
    let moving = start(&rented, &["--start", "--stall-timeout", "3s"]);
    let moved = |event: &Value| event["payload_bytes"].as_u64() > Some(4 << 20);
    moving.next_event(|event| event["type"] == "progress" && moved(event)).expect("payload");
    become_state(&rented, "exited", "stopped");
    rented.lab.link.cut();
    let result = moving.wait().expect_code(18).result();
    assert_eq!(result["reason"], "machine-stopped");
    assert!(rented.stand.api.orders().is_empty());
}
