use super::*;

fn judged(status: u16, body: &str) -> Tried {
    judge(Answer { status, retry_after: None, body: body.as_bytes().to_vec() })
}

fn failed(status: u16, body: &str) -> ApiProblem {
    match judged(status, body) {
        Tried::Failed(problem) => problem,
        Tried::Answered(json) => panic!("{status} {body}: answered {json:?}"),
        Tried::Later(_, problem) => panic!("{status} {body}: later, {problem}"),
    }
}

#[test]
fn an_answer_counts_where_it_does_not_say_that_it_failed() {
    for body in [r#"{"success":true,"instances":[]}"#, r#"{"instances":null}"#, "{}"] {
        assert!(matches!(judged(200, body), Tried::Answered(_)), "{body}");
    }
}

/// Rows: B-A1, B-A12, J11.
#[test]
fn a_status_of_200_is_no_success_by_itself() {
    for body in [
        r#"{"success":false,"error":"deprecated_endpoint","msg":"use v1"}"#,
        r#"{"success":"true"}"#,
        r#"{"success":"false"}"#,
        r#"{"success":1}"#,
        r#"{"success":null}"#,
        r#"{"success":false}"#,
        "[]",
        "null",
        "3",
    ] {
        assert!(matches!(failed(200, body), ApiProblem::Refused { .. }), "{body}");
    }
    for body in ["", "<html>OK</html>", "{\"success\":true", "{} {}", "{\"a\":1,\"a\":2}"] {
        assert!(matches!(failed(200, body), ApiProblem::Answer(_)), "{body}");
    }
    let gone = failed(200, r#"{"success":false,"error":"no_such_instance"}"#);
    assert!(matches!(gone, ApiProblem::NotFound(_)), "{gone}");
}

#[test]
fn errors_beside_an_answer_are_a_refusal() {
    for body in [r#"{"data":{},"errors":[]}"#, r#"{"data":{},"errors":null}"#] {
        assert!(matches!(judged(200, body), Tried::Answered(_)), "{body}");
    }
    for body in [
        r#"{"data":{"myself":null},"errors":[{"message":"no"}]}"#,
        r#"{"errors":[{}]}"#,
        r#"{"errors":[3]}"#,
        r#"{"errors":{}}"#,
        r#"{"errors":"no"}"#,
    ] {
        assert!(matches!(failed(200, body), ApiProblem::Refused { .. }), "{body}");
    }
    let body = r#"{"errors":[{"message":"m","extensions":{"code":"UNAUTHENTICATED"}}]}"#;
    assert!(matches!(failed(200, body), ApiProblem::KeyRefused { .. }));
}

#[test]
fn its_words_are_found_where_platforms_put_them() {
    for (body, words) in [
        (r#"{"success":false,"error":"a","msg":"b"}"#, "a: b"),
        (r#"{"error":{"code":"global/x","message":"y","token":"hidden"}}"#, "global/x: y"),
        (r#"{"errors":[{"message":"m","path":["hidden"]}]}"#, "m"),
        (r#"{"errors":[3],"msg":"b"}"#, "without a reason"),
        (r#"{"token":"hidden"}"#, "without a reason"),
        ("plain\n", "plain"),
    ] {
        assert_eq!(said(&Json::parse(body.as_bytes()), body.as_bytes()), words, "{body}");
    }
}

/// Rows: B-A10.
#[test]
fn every_status_means_one_thing() {
    for status in [401, 403] {
        for body in
            ["", "<html>", r#"{"success":false,"error":"auth_error","msg":"Invalid user key"}"#]
        {
            let problem = failed(status, body);
            assert!(matches!(problem, ApiProblem::KeyRefused { .. }), "{status} {body}: {problem}");
        }
    }
    let expired = failed(404, "Session expired. Please log in again.");
    assert!(matches!(expired, ApiProblem::KeyRefused { .. }), "{expired}");
    assert!(matches!(failed(404, "<html>not here</html>"), ApiProblem::NotFound(_)));
    for status in [400, 409, 410, 418, 422, 483, 500, 501] {
        assert!(matches!(failed(status, "{}"), ApiProblem::Refused { .. }), "{status}");
    }
    for status in [429, 502, 503, 504] {
        assert!(
            matches!(judged(status, "API requests too frequent"), Tried::Later(..)),
            "{status}"
        );
    }
    let long =
        Answer { status: 429, retry_after: Some(Duration::from_secs(99_999_999)), body: vec![] };
    assert!(matches!(judge(long), Tried::Later(wait, _) if wait == WITHIN));
}

#[test]
fn its_words_are_short_and_hold_no_control_byte_when_shown() {
    let body = format!(r#"{{"error":"x\u001b]52;c;AA\u0007","msg":"{}"}}"#, "y".repeat(9000));
    let shown = failed(400, &body).to_string();
    assert!(shown.len() < 400 && !shown.contains(char::is_control), "{shown:?}");
}
