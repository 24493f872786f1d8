//! A login that a machine refuses, told with the keys that the platform lists for it

use std::fs;

use serde_json::json;
use xfer_tests::sshd::{fingerprint, keygen, public_key};
use xfer_tests::vast_api::Answer;

use super::logins::{ID, Rented, THERE};

const KEYS: &str = "/api/v0/instances/33402296/ssh/";

/// One that takes another key than ours
fn refusing() -> Rented {
    let rented = Rented::new();
    fs::write(rented.machine.authorized_keys(), "").expect("write");
    rented.stand.api.set(ID, "ssh_host", json!(null));
    rented
}

/// The end of what is said, in which the test's own places have names
fn said(rented: &Rented) -> Vec<String> {
    let source = format!("{}/", rented.tree().display());
    let ended = rented.stand.xfer.run(["push", &source, THERE]).expect_code(11);
    let place = format!("{}:{}", rented.lab.link.far(), rented.machine.port());
    let key = rented.machine.user_key();
    let ours = fingerprint(&key.with_extension("pub"));
    let text = ended.stderr.replace(&place, "ADDRESS").replace(&ours, "OURS");
    let text = text.replace(&key.display().to_string(), "KEY");
    let lines = text.lines().skip_while(|line| !line.starts_with("xfer: login refused"));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_is_listed_is_told_beside_what_was_offered() {
    let rented = refusing();
    let bobs = rented.tree().join("bob");
    keygen(&bobs, "ed25519");
    let key = public_key(&bobs.with_extension("pub"));
    let key: Vec<_> = key.split_whitespace().take(2).collect();
    let line = format!("{} bob@velocity", key.join(" "));
    rented.stand.api.lists_keys(ID, json!([{"id": 5, "user_id": 1, "public_key": line}]));
    let bob = fingerprint(&bobs.with_extension("pub"));
    let expected = [
        "xfer: login refused: root@ADDRESS (vast:33402296) accepts none of your keys. There is no \
         password.",
        "  offered   OURS  KEY",
        &format!("  listed    {bob}  \"bob@velocity\"   (Vast API)"),
        "  do one of 1  repeat with -i PATH_OF_THE_LISTED_KEY",
        "            2  add yours to this instance: vastai attach ssh 33402296 \"$(cat KEY.pub)\"",
        "               (the whole line; keys added to the account reach new instances only)",
        "  exit 11 key-refused",
    ];
    assert_eq!(said(&rented), expected);
    let asked = rented.stand.api.asked();
    assert_eq!(asked.last(), Some(&format!("GET {KEYS} 200")), "once, at the end: {asked:?}");
}

#[test]
fn nobody_guesses_what_is_listed() {
    let rented = refusing();
    for (answer, line) in [
        (Answer::new(200, r#"{"success":true,"ssh_keys":"[]"}"#), "none   (Vast API)"),
        (Answer::new(500, "<html>"), "unknown   (Vast API: "),
        (Answer::new(200, r#"{"success":true,"ssh_keys":"x"}"#), "unknown   (Vast API: "),
        (Answer::new(401, "{}"), "unknown   (Vast API: "),
    ] {
        rented.stand.api.next(KEYS, answer);
        let said = said(&rented);
        let listed = said.iter().find_map(|said| said.strip_prefix("  listed    "));
        assert!(listed.is_some_and(|listed| listed.starts_with(line)), "{said:?}");
    }
}

#[test]
fn a_listed_key_that_was_refused_has_not_reached_the_machine() {
    let rented = refusing();
    let line = public_key(&rented.machine.user_key().with_extension("pub"));
    rented.stand.api.lists_keys(ID, json!([line.trim()]));
    let said = said(&rented);
    let listed = said.iter().find(|said| said.starts_with("  listed    OURS"));
    let told = listed.is_some_and(|listed| listed.contains("it has not reached the machine"));
    assert!(told, "{said:?}");
}
