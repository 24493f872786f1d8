//! Over ports of either machine

use xfer_tests::net::{Mapping, Protocol, Weather};

use super::{MIB, Trio, route};

/// Files that the controller's machine cannot even hold pass between the two.
#[test]
fn payload_goes_from_one_machine_to_the_other() {
    let trio = Trio::new();
    // The program is placed on both machines once.
    trio.xfer.run(["ls", "source:tree"]).expect_code(0);
    trio.xfer.run(["ls", "sink:"]).expect_code(0);
    let before = trio.passed_here();
    let ended = trio.push(&["--verify", "read-back"]).expect_code(0);
    let passed = trio.passed_here() - before;
    trio.assert_arrived();
    let result = ended.result();
    assert!(matches!(route(&result), ("tls" | "quic", true)), "{result}");
    assert_eq!(result["proof_level"], "read-back");
    let payload = result["payload_bytes"].as_u64().expect("bytes");
    assert!(payload > 48 * MIB, "{payload} bytes");
    assert!(passed < payload / 100, "{passed} bytes of {payload} passed here");
    // Nothing is moved again, and a receipt says what is there.
    let again = trio.push(&[]).expect_code(0).result();
    assert_eq!(again["payload_bytes"], 0);
    let receipt = result["receipt"].as_str().expect("a receipt");
    trio.xfer.run(["verify", "sink:copy", "--against", receipt]).expect_code(0);
}

#[test]
fn what_is_far_goes_by_quic_where_that_is_open() {
    let far = Weather { delay: std::time::Duration::from_millis(40), ..Weather::default() };
    let trio = Trio::with(&far);
    let ended = trio.push(&[]).expect_code(0);
    trio.assert_arrived();
    assert_eq!(route(&ended.result()), ("quic", true));
}

#[test]
fn a_route_that_is_asked_for_is_taken() {
    let trio = Trio::new();
    for kind in ["quic", "tls"] {
        let copy = trio.sink.home().join("copy");
        if copy.exists() {
            std::fs::remove_dir_all(&copy).expect("remove");
        }
        let ended = trio.push(&["--route", kind, "-j", "3"]).expect_code(0);
        trio.assert_arrived();
        let result = ended.result();
        assert_eq!(route(&result), (kind, true));
        assert_eq!(result["route"]["streams"], 3);
    }
}

#[test]
fn the_destination_dials_where_it_cannot_be_dialled() {
    let trio = Trio::behind_a_translator();
    let ended = trio.push(&[]).expect_code(0);
    trio.assert_arrived();
    assert_eq!(route(&ended.result()), ("tls", true));
    assert!(ended.stdout.contains("is dialled by"), "{}", ended.stdout);
}

/// A mapped port of the sink is found by its number outside.
#[test]
fn a_mapped_port_is_dialled_where_it_is_named() {
    let trio = Trio::new();
    let (sshd, data) = (trio.sink.port(), 8081);
    let mappings = [(sshd, sshd), (data, 30_526)].map(|(inside, outside)| Mapping {
        protocol: Protocol::Tcp,
        outside,
        inside,
    });
    trio.across.map_ports(&mappings);
    let ended = trio.push(&["--data-port", "8081:30526/tcp"]).expect_code(0);
    trio.assert_arrived();
    assert_eq!(route(&ended.result()), ("tls", true));
    assert!(ended.stdout.contains(" dials "), "{}", ended.stdout);
}

/// A passage that is lost is opened again, and what had arrived is not sent again.
#[test]
fn a_lost_passage_is_opened_again() {
    let slow = Weather { rate: 16 * MIB, ..Weather::default() };
    let trio = Trio::with(&slow);
    let running = trio.start(&["--route", "tls", "--stall-timeout", "4s"]);
    let moved = |event: &serde_json::Value| {
        event["type"] == "progress" && event["payload_bytes"].as_u64() > Some(12 * MIB)
    };
    running.next_event(moved).expect("progress");
    trio.across.cut();
    running.next_event(|event| event["retry"].is_object()).expect("another attempt");
    trio.across.heal();
    let ended = running.wait().expect_code(0);
    trio.assert_arrived();
    let wasted = ended.result()["wasted_bytes"].as_u64().expect("bytes");
    assert!(wasted < 48 * MIB, "{wasted} bytes were sent twice");
}

/// One machine is both ends.
#[test]
fn within_one_machine_nothing_leaves_it() {
    let trio = Trio::new();
    trio.xfer.run(["ls", "source:tree"]).expect_code(0);
    let before = trio.passed_here();
    trio.xfer.run(["push", "source:tree/", "source:copy/"]).expect_code(0);
    let passed = trio.passed_here() - before;
    let home = trio.source.home();
    xfer_tests::oracle::assert_equal(&home.join("tree"), &home.join("copy"));
    assert!(passed < MIB, "{passed} bytes passed here");
}

#[test]
fn a_plan_opens_no_way() {
    let trio = Trio::new();
    for route in ["auto", "ssh"] {
        let ended = trio.push(&["-n", "--route", route]).expect_code(0);
        assert!(ended.stdout.contains("from machine to machine"), "{}", ended.stdout);
    }
    assert_eq!(trio.across.counts(xfer_tests::net::Direction::Out).packets, 0);
    assert!(!trio.keys().exists() && !trio.sink.home().join("copy").exists());
}
