//! Every way in which the interface says no

use xfer_tests::vast_api::{Answer, instance};

use super::{LIST, SHOW, Stand};

/// Rows: B-A10, B-A11.
#[test]
fn a_status_decides_the_exit_code() {
    for (status, body, code, reason) in [
        (401, "{}", 11, "platform-key-refused"),
        (403, "<html>", 11, "platform-key-refused"),
        (404, "Session expired. Please log in again.", 11, "platform-key-refused"),
        (404, "{}", 4, "platform-not-found"),
        (409, "{}", 13, "platform-refused"),
        (410, r#"{"error":"deprecated_endpoint"}"#, 13, "platform-refused"),
        (301, "", 13, "platform-unreached"),
        (307, "", 13, "platform-unreached"),
        (500, "", 13, "platform-refused"),
    ] {
        let stand = Stand::new();
        let answer = Answer::new(status, body).header("location: http://127.0.0.1:1/");
        stand.api.next(LIST, answer);
        let result = stand.run(&["ls", "vast:"], code);
        assert_eq!(result["reason"], reason, "{status}");
        assert_eq!(stand.api.asked().len(), 1, "{status}");
    }
}

/// Rows: B-A10.
#[test]
fn one_that_is_too_busy_is_asked_again() {
    for after in ["-1", "Wed", "Thu, 01 Jan 1970 00:00:00 GMT", "1"] {
        let stand = Stand::new();
        stand.api.put(1, instance(1, "203.0.113.37", 30022));
        let busy = Answer::new(429, "API requests too frequent: endpoint threshold=1.0");
        stand.api.next(LIST, busy.header(&format!("retry-after: {after}")));
        stand.run(&["ls", "vast:"], 0);
        assert_eq!(stand.api.asked().len(), 2, "{after}");
    }
    let stand = Stand::new();
    stand.api.next(LIST, Answer::new(429, "").header("retry-after: 99999999"));
    assert_eq!(stand.run(&["ls", "vast:"], 13)["reason"], "platform-busy");
}

/// Rows: B-A11.
#[test]
fn an_answer_that_is_coded_or_shorter_than_it_says_is_none() {
    for answer in [
        Answer::new(200, vec![0x1f; 64]).header("content-encoding: gzip"),
        Answer::new(200, "{\"success\":true,\"instances\":[]}").header("content-length: 31x"),
    ] {
        let stand = Stand::new();
        stand.api.next(LIST, answer);
        let result = stand.run(&["ls", "vast:"], 13);
        assert_eq!(result["reason"], "platform-unreached", "{result}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_no_empty_list() {
    let stand = Stand::new();
    let nobody = stand.xfer.env("VAST_URL", "http://127.0.0.1:1");
    let result = nobody.run(["ls", "vast:", "--json"]).expect_code(13).result();
    assert_eq!(result["reason"], "platform-unreached");
}

/// An answer about another machine must not lead there.
#[test]
fn an_answer_about_another_machine_is_refused() {
    let stand = Stand::new();
    let other = serde_json::json!({"instances": instance(2, "203.0.113.37", 30022)});
    stand.api.next(SHOW, Answer::new(200, other.to_string()));
    let result = stand.run(&["ls", "vast:1:/x"], 13);
    assert_eq!(result["reason"], "platform-answer");
}
