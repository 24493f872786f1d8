//! Whether a machine may be destroyed, asked on the command line. Needs root: machines are
//! namespaces.

mod changed;
mod elsewhere;
mod power;
mod room;

use std::fs;

use serde_json::json;

use room::{Kept, ROOT, verdict};

#[test]
fn what_is_proven_elsewhere_is_released_with_a_token() {
    let kept = Kept::new();
    let verdict = kept.assert_released(&[]);
    assert_eq!(verdict["verdict"], "release");
    assert_eq!(verdict["destinations"], json!([kept.store.access().location("run7/")]));
    assert_eq!(verdict["entries"], 4);
    let file = kept.xfer.home().join("token");
    let ended = kept.ask(&["--token", file.to_str().expect("text")], 0);
    let line = fs::read_to_string(&file).expect("a token");
    assert!(line.len() > 300 && line.ends_with('\n'));
    assert!(!ended.stdout.contains(line.trim_end()) && !ended.stderr.contains(line.trim_end()));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("it").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_a_receipt_nothing_is_proven() {
    let kept = Kept::uncopied();
    let reasons = kept.assert_held(&[], &["not-copied", "no-receipt", "identity-unknown"]);
    assert_eq!(reasons[0]["entries"], 4);
    assert_eq!(reasons[0]["paths"][1], format!("{ROOT}/one"));
}

/// A receipt may lie where nobody has a state directory; who lost theirs finds it there.
#[test]
fn a_receipt_is_believed_wherever_it_lies() {
    let kept = Kept::new();
    let beside = kept.store.objects().join("run7/.xfer-receipts");
    let names = fs::read_dir(&beside).expect("list").map(|entry| entry.expect("an entry"));
    let mut names = names.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    let name = names.find(|name| name.ends_with(".ndjson")).expect("a receipt");
    fs::remove_dir_all(kept.xfer.state().join("receipts")).expect("remove");
    kept.assert_held(&[], &["not-copied", "no-receipt"]);
    let place = |name: &str| kept.store.access().location(&format!("run7/{name}"));
    kept.assert_released(&["--receipt", &place(&format!(".xfer-receipts/{name}"))]);
    // Where what is new keeps nothing.
    let copy = format!("box:/var/cache/{name}");
    let from = beside.join(&name).into_os_string().into_string().expect("UTF-8");
    kept.xfer.run(["push", &from, &copy]).expect_code(0);
    kept.assert_released(&["--receipt", &copy]);
    for (other, code, reason) in
        [("one", 14, "receipt"), ("none", 4, "not-found"), ("sub/", 14, "receipt")]
    {
        let ended = kept.ask(&["--receipt", &place(other)], code);
        let told = ended.result()["reason"].as_str().expect("text").to_owned();
        assert!(told.starts_with(reason), "{other}: {told}");
    }
}

/// Rows: J15.
#[test]
fn a_gate_is_asked_of_one_machine() {
    let xfer = xfer_tests::xfer::Xfer::new();
    for (machine, reason) in [
        ("vast:", "not-a-machine"),
        ("/data", "not-a-machine"),
        ("s3://bucket", "not-a-machine"),
        ("vast:-1", "bad-machine"),
        ("vast:*", "bad-machine"),
    ] {
        let ended = xfer.run(["gate", machine, "--json"]).expect_code(2);
        assert_eq!(ended.result()["reason"], reason, "{machine}");
    }
    xfer.run(["gate", "vast:1", "vast:2"]).expect_code(2);
    let ended = xfer.run(["gate", "box:", "--ack", "7f3a", "--json"]).expect_code(2);
    assert_eq!(ended.result()["reason"], "bad-digest");
}

#[test]
fn a_policy_is_read_strictly() {
    let kept = Kept::new();
    let config = kept.xfer.home().join("config/xfer");
    fs::create_dir_all(&config).expect("create");
    let policy = |text: &str| fs::write(config.join("gate.toml"), text).expect("write");
    policy("durability = 'D9'\n");
    let ended = kept.ask(&[], 3);
    assert_eq!(ended.result()["reason"], "policy-malformed");
    assert!(ended.stderr.contains("write \"D2\" or \"D1\""), "{}", ended.stderr);
    policy("host-key-channels = ['platform-pinned']\n");
    kept.assert_held(&[], &["channel-unproven"]);
    policy("roots = ['/data', '/srv']\n");
    kept.assert_held(&[], &["root-not-scanned"]);
    policy("token-life = '1h'\n");
    assert_eq!(kept.assert_released(&[])["life_s"], 3600);
}

/// Rows: J10.
#[test]
fn a_machine_that_does_not_answer_holds() {
    let kept = Kept::new();
    let config = kept.xfer.home().join("keys/config");
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, text.replace("/usr/sbin/sshd", "/usr/sbin/no-sshd")).expect("write");
    let ended = kept.ask(&[], 20);
    let reasons = verdict(&ended)["reasons"].to_string();
    assert!(reasons.contains("scan-incomplete") && reasons.contains("could not be scanned"));
}
