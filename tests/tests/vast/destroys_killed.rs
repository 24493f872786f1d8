//! A destruction that is killed at any step, run again, and run twice at once

use serde_json::Value;
use xfer_tests::xfer::Running;

use super::doomed::{DELETE, Doomed};

/// Kills it, and runs the same command again
fn kill_and_go_on(doomed: &Doomed, token: &std::path::Path, running: Running) -> Value {
    running.signal("KILL");
    drop(running.wait());
    doomed.destroy(token, 0).result()
}

/// Rows: J17.
#[test]
fn a_kill_at_any_look_at_the_platform_is_followed_by_the_same_command() {
    std::thread::scope(|at_once| {
        for look in 0..6 {
            at_once.spawn(move || killed_at(look));
        }
    });
}

/// Two looks come before the token is spent, one of them to log in, two before the request is sent
fn killed_at(look: usize) {
    let doomed = Doomed::new();
    let token = doomed.token();
    doomed.rented.stand.api.lingers(3);
    let came = doomed.rented.stand.api.holds("GET", look, true);
    let running = doomed.start(&token);
    came.recv().expect("a look");
    assert_eq!(doomed.is_spent(&token), look > 1, "look {look}");
    assert_eq!(doomed.orders().len(), usize::from(look > 3), "look {look}");
    let result = kill_and_go_on(&doomed, &token, running);
    assert_eq!(result["machine_state"], "gone", "look {look}");
    assert!(doomed.is_spent(&token));
    let deletes = doomed.orders();
    assert!(deletes.iter().all(|order| order == DELETE), "{deletes:?}");
    assert_eq!(deletes.len(), 1, "look {look}");
}

/// Rows: J17.
#[test]
fn a_kill_between_the_request_and_its_answer_is_followed() {
    std::thread::scope(|at_once| {
        for heard in [true, false] {
            at_once.spawn(move || killed_before_the_answer(heard));
        }
    });
}

fn killed_before_the_answer(heard: bool) {
    let doomed = Doomed::new();
    let token = doomed.token();
    let came = doomed.rented.stand.api.holds("DELETE", 0, heard);
    let running = doomed.start(&token);
    came.recv().expect("a request");
    assert!(doomed.is_spent(&token), "it is spent before anything is asked");
    let result = kill_and_go_on(&doomed, &token, running);
    assert_eq!(result["reason"], "destroyed");
    assert_eq!(doomed.orders(), [DELETE], "heard: {heard}");
}

/// What is not answered at all may have been heard.
#[test]
fn a_request_without_an_answer_is_followed_in_the_same_run() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let came = doomed.rented.stand.api.holds("DELETE", 0, true);
    let running = doomed.start(&token);
    came.recv().expect("a request");
    let result = running.wait().expect_code(0).result();
    assert_eq!(result["reason"], "destroyed");
    assert_eq!(doomed.orders(), [DELETE]);
}

#[test]
fn a_stop_that_was_asked_for_is_followed_by_the_same_command() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let came = doomed.rented.stand.api.holds("GET", 2, true);
    let running = doomed.start(&token);
    came.recv().expect("a look");
    running.signal("INT");
    let result = running.wait().expect_code(130).result();
    let argv = result["remedies"][0]["argv"].as_array().expect("a command").clone();
    let words: Vec<_> = argv.iter().filter_map(Value::as_str).collect();
    assert_eq!(words[..3], ["xfer", "destroy", "vast:33402296"]);
    assert!(doomed.is_spent(&token) && doomed.orders().is_empty());
    assert_eq!(doomed.destroy(&token, 0).result()["reason"], "destroyed");
    assert_eq!(doomed.orders(), [DELETE]);
}

/// Rows: J2.
#[test]
fn of_two_at_once_one_destroys() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let came = doomed.rented.stand.api.holds("DELETE", 0, true);
    let first = doomed.start(&token);
    came.recv().expect("a request");
    let second = doomed.start(&token).wait().expect_code(9).result();
    assert_eq!(second["reason"], "token-busy");
    drop(second);
    assert_eq!(first.wait().expect_code(0).result()["reason"], "destroyed");
    assert_eq!(doomed.orders(), [DELETE]);
}

/// Rows: J2.
#[test]
fn two_that_race_send_one_request() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let both = [doomed.start(&token), doomed.start(&token)];
    let codes = both.map(|running| running.wait().code());
    assert!(codes.contains(&0) && codes.iter().all(|code| [0, 9].contains(code)), "{codes:?}");
    assert_eq!(doomed.orders(), [DELETE]);
    assert!(doomed.is_spent(&token));
}
