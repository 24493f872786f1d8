//! What the platform answers to a destruction, and what is known after it

use xfer_core::error::{DestroyReason, TransferError};
use xfer_tests::vast_api::Answer;

use super::doomed::{DELETE, Doomed};

fn reason(error: &TransferError) -> DestroyReason {
    match error {
        TransferError::Destroy(failure) => failure.reason,
        error => panic!("{error:?}"),
    }
}

/// Rows: J11.
#[test]
fn an_answer_that_means_nothing_is_held_against_a_later_look() {
    known_later(&[(200, "<html>OK</html>"), (200, ""), (200, "{}")]);
}

/// Rows: J11.
#[test]
fn a_machine_that_is_said_to_be_absent_is_held_against_a_later_look() {
    known_later(&[
        (404, "<html>404</html>"),
        (404, r#"{"success":false,"error":"no_such_instance"}"#),
    ]);
}

/// Rows: J11.
#[test]
fn an_error_of_the_platform_is_held_against_a_later_look() {
    known_later(&[(500, r#"{"success":true}"#), (502, ""), (503, "")]);
}

/// Rows: J11.
#[test]
fn a_refusal_is_told_and_held_against_a_later_look() {
    known_later(&[(200, r#"{"success":false,"error":"busy"}"#)]);
}

/// Each answer to a request that was heard, and to one that was not
fn known_later(answers: &[(u16, &str)]) {
    // They wait most of the time, each in a room of its own.
    std::thread::scope(|at_once| {
        for (status, body) in answers.iter().copied() {
            for heard in [true, false] {
                at_once.spawn(move || known_later_of(status, body, heard));
            }
        }
    });
}

fn known_later_of(status: u16, body: &str, heard: bool) {
    let is_refusal = body.contains("busy");
    let doomed = Doomed::new();
    let token = doomed.token();
    let api = &doomed.rented.stand.api;
    api.answers_the_order_with(Answer::new(status, body), heard);
    let ended = doomed.destroy_soon(&token);
    let case = format!("{status} {body}, heard: {heard}");
    match (&ended, heard) {
        (Ok(destroyed), true) => assert!(destroyed.asked, "{case}"),
        (Err(error), false) if is_refusal => {
            assert_eq!(reason(error), DestroyReason::Refused, "{case}");
            assert_eq!(error.exit_class().code(), 13, "{case}");
        }
        (Err(error), false) => {
            assert_eq!(reason(error), DestroyReason::Unknown, "{case}");
            assert_eq!(error.exit_class().code(), 22, "{case}");
        }
        // A refusal is taken at its word; the next run sees what is true.
        (Err(error), true) if is_refusal => {
            assert_eq!(reason(error), DestroyReason::Refused, "{case}");
        }
        _ => panic!("{case}: {ended:?}"),
    }
    assert!(doomed.is_spent(&token), "{case}");
    assert_eq!(doomed.orders().len(), usize::from(heard), "{case}");
    let again = doomed.destroy_soon(&token).expect(&case);
    assert_eq!(doomed.orders(), [DELETE], "{case}: once, and not if it is gone");
    assert_eq!(again.asked, !heard, "{case}");
}

/// Rows: J11, J17.
#[test]
fn an_answer_that_is_cut_off_is_not_taken_for_none() {
    for heard in [true, false] {
        let doomed = Doomed::new();
        let token = doomed.token();
        let cut = Answer::new(200, r#"{"success":true}"#).header("content-length: 999");
        doomed.rented.stand.api.answers_the_order_with(cut, heard);
        let ended = doomed.destroy_soon(&token);
        assert_eq!(ended.is_ok(), heard, "{ended:?}");
        assert_eq!(doomed.orders().len(), usize::from(heard));
        doomed.destroy_soon(&token).expect("destroyed");
        assert_eq!(doomed.orders(), [DELETE]);
    }
}

/// Rows: J11.
#[test]
fn what_the_platform_takes_and_shows_for_long_is_not_yet_destroyed() {
    let doomed = Doomed::new();
    let token = doomed.token();
    doomed.rented.stand.api.lingers(1_000);
    let error = doomed.destroy_soon(&token).expect_err("it is shown");
    assert_eq!(reason(&error), DestroyReason::Unconfirmed);
    assert_eq!(error.exit_class().code(), 22);
    let details: Vec<_> = error.details().iter().map(|detail| detail.label).collect();
    assert_eq!(details, ["token", "meter"]);
    assert!(doomed.is_spent(&token));
    assert_eq!(doomed.orders(), [DELETE]);
}

/// Put off, it was surely not heard, and is asked again.
#[test]
fn a_request_that_was_put_off_is_sent_again() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let early = Answer::new(429, "API requests too frequent: endpoint threshold=3.0");
    doomed.rented.stand.api.answers_the_order_with(early, false);
    assert!(doomed.destroy_soon(&token).expect("destroyed").asked);
    assert_eq!(doomed.orders(), [DELETE]);
}

/// Spent by an earlier run for what is not there any more, it destroys nothing else.
#[test]
fn a_spent_token_does_not_destroy_what_it_is_not_for() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let refusal = Answer::new(200, r#"{"success":false,"error":"busy"}"#);
    doomed.rented.stand.api.answers_the_order_with(refusal, false);
    doomed.destroy_soon(&token).expect_err("refused");
    std::fs::write(doomed.root.join("new"), "new").expect("write");
    let error = doomed.destroy_soon(&token).expect_err("it changed");
    assert_eq!((error.reason(), error.exit_class().code()), ("token-spent", 21));
    assert!(doomed.orders().is_empty());
}

/// Rows: J10.
#[test]
fn a_platform_that_says_nothing_leaves_it_unknown_and_an_unspent_token_unspent() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let api = &doomed.rented.stand.api;
    api.next(super::SHOW, Answer::new(200, "<html>"));
    let error = doomed.destroy_soon(&token).expect_err("nobody knows");
    assert_eq!(error.reason(), "platform-answer");
    assert!(!doomed.is_spent(&token));
    // The list must be complete for anything to be gone.
    doomed.rented.stand.api.claims_more(1);
    let error = doomed.destroy_soon(&token).expect_err("nobody knows");
    assert_eq!(reason(&error), DestroyReason::Unconfirmed);
    assert_eq!(doomed.orders(), [DELETE]);
}
