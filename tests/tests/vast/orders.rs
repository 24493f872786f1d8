//! Starting, stopping and destroying, as the interface takes and answers them

use std::sync::Arc;
use std::time::Duration;

use xfer_core::clock::SystemClock;
use xfer_core::discover::{MachineState, Ordered, Platform, Shown, Vast, VastSettings};
use xfer_tests::vast_api::{Answer, VastApi, instance};

use super::{KEY, SHOW};

const ID: u64 = 33_402_296;
const NAME: &str = "33402296";

fn stand() -> (VastApi, Vast) {
    let api = VastApi::start(KEY);
    api.put(ID, instance(ID, "203.0.113.37", 30022));
    let settings = VastSettings {
        base: Some(api.base()),
        key: Some(KEY.to_owned()),
        ..VastSettings::default()
    };
    let vast = Vast::new(&settings, SystemClock::shared(), 7).expect("a key");
    (api, vast)
}

fn state(shown: Shown) -> Option<MachineState> {
    match shown {
        Shown::Present(row) => Some(row.state),
        Shown::Gone => None,
    }
}

/// Rows: J11.
#[tokio::test]
async fn what_is_destroyed_goes_later_and_is_gone_by_another_word_than_the_answer() {
    let (api, vast) = stand();
    api.lingers(2);
    assert_eq!(vast.destroy(NAME).await, Ordered::Accepted);
    for _ in 0..2 {
        let shown = vast.show(NAME).await.expect("an answer");
        assert_eq!(state(shown), Some(MachineState::Running), "what is read is late");
    }
    assert_eq!(vast.show(NAME).await.expect("an answer"), Shown::Gone);
    assert_eq!(vast.destroy(NAME).await, Ordered::AlreadyGone);
    assert_eq!(api.orders(), ["DELETE 33402296 {}"]);
    let early = api.asked().iter().filter(|line| line.ends_with(" 429")).count();
    assert_eq!(early, 0, "requests are spaced as the interface asks: {:?}", api.asked());
}

/// Rows: B-A12, J11.
#[tokio::test]
async fn no_answer_to_an_order_is_taken_for_more_than_it_says() {
    for (status, body, is_refused) in [
        (200, r#"{"success":"false"}"#, false),
        (200, r#"{"success":1}"#, false),
        (200, "{}", false),
        (200, "[]", false),
        (200, "", false),
        (200, "<html>OK</html>", false),
        (404, "<html>404</html>", false),
        (500, r#"{"success":true}"#, false),
        (502, "", false),
        (503, "", false),
        (301, "", false),
        (200, r#"{"success":false,"error":"invalid_args"}"#, true),
        (400, r#"{"success":false,"error":"invalid_args"}"#, true),
        (401, "{}", true),
        (403, "<html>", true),
    ] {
        let (api, vast) = stand();
        api.next(SHOW, Answer::new(status, body).header("location: http://127.0.0.1:1/"));
        let ordered = vast.destroy(NAME).await;
        let is_as_expected = match &ordered {
            Ordered::Refused(_) => is_refused,
            Ordered::Unknown(_) => !is_refused,
            Ordered::Accepted | Ordered::AlreadyGone => false,
        };
        assert!(is_as_expected, "{status} {body}: {ordered:?}");
        assert_eq!(api.asked().len(), 1, "{status} {body}: it may have been heard");
        assert!(api.orders().is_empty());
    }
}

/// Rows: J11.
#[tokio::test]
async fn an_order_that_was_put_off_is_given_again_and_one_that_was_cut_off_is_not() {
    let (api, vast) = stand();
    api.next(SHOW, Answer::new(429, "API requests too frequent: endpoint threshold=3.0"));
    assert_eq!(vast.destroy(NAME).await, Ordered::Accepted);
    assert_eq!(api.asked().len(), 2);
    let (api, vast) = stand();
    api.next(SHOW, Answer::new(200, r#"{"success":true}"#).header("content-length: 999"));
    assert!(matches!(vast.destroy(NAME).await, Ordered::Unknown(_)));
    assert_eq!(api.asked().len(), 1);
}

#[tokio::test]
async fn a_start_comes_about_later_or_is_taken_back() {
    let (api, vast) = stand();
    assert_eq!(vast.stop(NAME).await, Ordered::Accepted);
    let look = async || state(vast.show(NAME).await.expect("an answer"));
    assert_eq!(look().await, Some(MachineState::Stopped));
    api.stalls(ID, instance(ID, "203.0.113.37", 30022));
    assert_eq!(vast.start(NAME).await, Ordered::Accepted);
    assert_eq!(look().await, Some(MachineState::Stopped), "its processors are somebody else's");
    assert_eq!(vast.stop(NAME).await, Ordered::Accepted);
    api.starts_as(ID, 2, instance(ID, "203.0.113.38", 30023));
    assert_eq!(vast.start(NAME).await, Ordered::Accepted);
    assert_eq!(look().await, Some(MachineState::Starting));
    assert_eq!(look().await, Some(MachineState::Running));
    assert_eq!(vast.start("1").await, Ordered::AlreadyGone);
    let (running, stopped) = (r#"{"state":"running"}"#, r#"{"state":"stopped"}"#);
    let expected = [stopped, running, stopped, running].map(|state| format!("PUT {ID} {state}"));
    assert_eq!(api.orders(), expected);
    assert!(api.asked().iter().all(|line| !line.ends_with(" 429")), "{:?}", api.asked());
}

/// Keys of sessions expire; an order is given with the next one, for the first was not taken.
#[tokio::test]
async fn the_next_key_is_tried_where_one_is_not_taken() {
    let api = VastApi::start(KEY);
    api.put(ID, instance(ID, "203.0.113.37", 30022));
    let home = tempfile::tempdir().expect("temp dir");
    for (name, key) in [("vast_tfa_key", "expired"), ("vast_api_key", KEY)] {
        let file = home.path().join(name);
        xfer_tests::tree::write(&file, key.as_bytes());
        xfer_tests::tree::set_mode(&file, 0o600);
    }
    let settings = VastSettings {
        base: Some(api.base()),
        directory: Some(home.path().to_owned()),
        ..VastSettings::default()
    };
    let vast = Vast::new(&settings, SystemClock::shared(), 7).expect("keys");
    assert_eq!(vast.stop(NAME).await, Ordered::Accepted);
    assert_eq!(api.asked().len(), 2);
    let missing = VastSettings { key: Some("another".to_owned()), ..settings };
    let vast = Arc::new(Vast::new(&missing, SystemClock::shared(), 7).expect("a key"));
    let refused = tokio::time::timeout(Duration::from_secs(20), vast.destroy(NAME)).await;
    assert!(matches!(refused, Ok(Ordered::Refused(_))));
}
