//! A machine is destroyed where a token allows it, and never else

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use xfer_tests::xfer::Xfer;

use super::doomed::{DELETE, Doomed, NAME};
use super::logins::{ID, Rented};

#[test]
fn a_machine_goes_once_and_the_same_command_says_so_again() {
    let doomed = Doomed::new();
    let token = doomed.token();
    doomed.rented.stand.api.lingers(2);
    let name = token.to_str().expect("text");
    let words = ["destroy", NAME, "--token", name, "--confirm", "33402296"];
    let ended = doomed.rented.stand.xfer.run(words).expect_code(0);
    let expected = format!(
        "{NAME}: destroyed, by this token\n  gone      by its id and by the platform's complete \
         list\n  meter     stopped, at $0.4321/h until then: $10.37 a day\n"
    );
    assert_eq!(ended.stdout, expected);
    assert!(ended.stderr.contains("the token is spent"), "{}", ended.stderr);
    assert_eq!(doomed.orders(), [DELETE]);
    assert!(doomed.is_spent(&token));
    let again = doomed.destroy(&token, 0);
    let verdict = again.events().into_iter().find(|event| event["type"] == "verdict");
    assert_eq!(verdict.expect("a verdict")["verdict"], "release");
    let again = again.result();
    assert_eq!((&again["reason"], &again["machine_state"]), (&json!("destroyed"), &json!("gone")));
    let told = again["message"].as_str().expect("a message").to_owned();
    assert!(told.contains("an earlier run asked for it"), "{told}");
    assert_eq!(doomed.orders(), [DELETE]);
}

/// Rows: J15.
#[test]
fn nothing_is_asked_where_it_is_not_said_what_is_meant() {
    let xfer = Xfer::new();
    let token = xfer.home().join("token");
    fs::write(&token, "x").expect("write");
    let token = token.to_str().expect("text");
    let confirmed = ["--confirm", "33402296"];
    for (words, reason) in [
        (&["vast:33402296", "vast:33402297", "--token", token][..], "extra-operand"),
        (&["vast:33402296:/workspace", "--token", token], "not-destroyed"),
        (&["vast:", "--token", token], "not-destroyed"),
        (&["vast:self", "--token", token], "not-destroyed"),
        (&["vast:-33402296", "--token", token], "bad-machine"),
        (&["vast:*", "--token", token], "bad-machine"),
        (&["vast:33402296,33402297", "--token", token], "bad-machine"),
        (&["-1", "--token", token], "unknown-flag"),
        (&["host:", "--token", token], "not-destroyed"),
        (&["/tmp", "--token", token], "not-destroyed"),
        (&["s3://bucket", "--token", token], "not-destroyed"),
        (&["lambda:a", "--token", token], "not-destroyed"),
        (&["vast:33402296"], "missing-operand"),
        (&["--token", token], "missing-operand"),
        (&["vast:33402296", "--token", token, "--force"], "unknown-flag"),
    ] {
        let words = [&["destroy"], words, &confirmed, &["--json"]].concat();
        let result = xfer.command(&words);
        let ended = xfer_tests::xfer::Running::start(result).wait().expect_code(2);
        assert_eq!(ended.result()["reason"], reason, "{words:?}");
    }
}

/// Nothing but the id itself confirms, and nothing stands for it.
#[test]
fn a_destruction_is_confirmed_by_the_id_alone() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let before = doomed.rented.stand.api.asked().len();
    let name = token.to_str().expect("text");
    for confirmation in [
        &[][..],
        &["--yes"],
        &["--confirm", ""],
        &["--confirm", "33402297"],
        &["--confirm", "033402296"],
        &["--confirm", "vast:33402296"],
        &["--confirm", "33402296 "],
        &["--confirm", "yes", "--yes"],
    ] {
        let words = [&["destroy", NAME, "--token", name], confirmation].concat();
        let xfer = &doomed.rented.stand.xfer;
        let ended = xfer.run(&words).expect_code(2);
        assert!(ended.stderr.contains("not-confirmed"), "{confirmation:?}: {}", ended.stderr);
        let plain = xfer.command(&words);
        let mut twin = plain;
        twin.env("XFER_CONFIRM", "33402296").env("XFER_YES", "1");
        let ended = doomed.rented.lab.near.within(|| xfer_tests::xfer::Running::start(twin));
        ended.wait().expect_code(2);
    }
    assert_eq!(doomed.rented.stand.api.asked().len(), before, "nobody was asked anything");
    assert!(!doomed.is_spent(&token));
}

/// Rows: J1.
#[test]
fn a_token_with_another_bit_is_refused() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let before = doomed.rented.stand.api.asked().len();
    let whole = fs::read(&token).expect("read");
    let bytes = STANDARD.decode(whole.trim_ascii_end()).expect("base64");
    let other = doomed.rented.stand.xfer.home().join("other");
    for at in [0, 8, 40, 72, 104, 136, 168, 200, 232, 240, 256, 265, 274, 280, bytes.len() - 1] {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        fs::write(&other, STANDARD.encode(bent) + "\n").expect("write");
        let result = doomed.destroy(&other, 21).result();
        let reason = result["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.starts_with("token-"), "byte {at}: {reason}");
    }
    let huge = [whole.clone(), vec![b'A'; 1 << 20]].concat();
    for damaged in [&whole[..whole.len() - 1], &whole[..80], b"\n", b"", &huge] {
        fs::write(&other, damaged).expect("write");
        let result = doomed.destroy(&other, 21).result();
        assert_eq!(result["reason"], "token-malformed");
    }
    assert_eq!(doomed.rented.stand.api.asked().len(), before, "nobody was asked anything");
    assert!(!doomed.is_spent(&token));
}

/// Rows: J2, J3, J4.
#[test]
fn a_token_that_is_not_good_here_and_now_is_refused() {
    let doomed = Doomed::new();
    let old = doomed.bent_token(|_, token| token.issued.here.day -= 901);
    let early = doomed.bent_token(|_, token| token.issued.here.day += 60);
    let slept = doomed.bent_token(|_, token| {
        let (boot, since) = token.issued.here.boot.expect("a boot");
        token.issued.here.boot = Some((boot, since - 900_001));
    });
    let rebooted = doomed.bent_token(|_, token| {
        let (boot, since) = token.issued.here.boot.expect("a boot");
        token.issued.here.boot = Some((boot.map(|byte| byte ^ 1), since));
    });
    let other = doomed.bent_token(|_, token| token.machine = "vast:33402297".to_owned());
    for (token, reason) in [
        (&old, "token-expired"),
        (&early, "token-not-yet-valid"),
        (&slept, "token-expired"),
        (&rebooted, "token-clock-uncertain"),
        (&other, "token-other-machine"),
    ] {
        let result = doomed.destroy(token, 21).result();
        assert_eq!(result["reason"], reason);
        assert!(!doomed.is_spent(token), "{reason}");
    }
    let good = doomed.token();
    let elsewhere = Xfer::new();
    let words = ["destroy", NAME, "--token", good.to_str().expect("text")];
    let words = [&words[..], &["--confirm", "33402296", "--json"]].concat();
    let ended = xfer_tests::xfer::Running::start(elsewhere.command(&words)).wait().expect_code(21);
    assert_eq!(ended.result()["reason"], "token-other-state");
    let name = good.file_name().expect("a name").to_string_lossy().into_owned();
    let record = doomed.rented.stand.xfer.state().join(format!("tokens/{name}.unspent"));
    fs::rename(&record, record.with_extension("away")).expect("rename");
    assert_eq!(doomed.destroy(&good, 21).result()["reason"], "token-not-issued");
    assert!(doomed.orders().is_empty());
}

/// Rows: J3, J8.
#[test]
fn another_container_under_the_same_id_is_left_alone() {
    let doomed = Doomed::new();
    type Bend = fn(&mut xfer_core::gate::evidence::Identity);
    let bends: [Bend; 7] = [
        |identity| identity.id = Some("33402297".to_owned()),
        |identity| identity.label = Some("C.9".to_owned()),
        |identity| identity.marker = Some([9; 16]),
        |identity| identity.first_process = identity.first_process.map(|ticks| ticks + 1),
        |identity| identity.root_device = identity.root_device.map(|device| device + 1),
        |identity| identity.mounts = None,
        |identity| identity.boot = Some([9; 16]),
    ];
    for bend in bends {
        let token = doomed.bent_token(|seen, _| bend(&mut seen.identity));
        assert_eq!(doomed.refused_soon(&token), "token-other-container");
        assert!(!doomed.is_spent(&token));
    }
    let token = doomed.bent_token(|seen, _| seen.identity.boot = Some([9; 16]));
    let ended = doomed.destroy(&token, 21);
    let events = ended.events();
    let verdict = events.iter().find(|event| event["type"] == "verdict").expect("a verdict");
    assert_eq!(
        (&verdict["verdict"], &verdict["reasons"][0]["id"]),
        (&json!("hold"), &json!("token-other-container"))
    );
    let result = ended.result();
    let argv = result["remedies"][0]["argv"].as_array().expect("a command");
    assert_eq!(argv[..3], [json!("xfer"), json!("gate"), json!(NAME)], "{argv:?}");
    assert!(doomed.orders().is_empty());
}

/// Rows: J5.
#[test]
fn whatever_changed_below_a_root_keeps_the_machine() {
    let doomed = Doomed::new();
    let root = doomed.root.clone();
    let file =
        root.join(fs::read_dir(&root).expect("list").next().expect("one").expect("it").path());
    let deep = root.join("deep");
    let changes: [(&str, &dyn Fn()); 5] = [
        ("a file is written", &|| fs::write(&deep, "new").expect("write")),
        ("it is written again", &|| fs::write(&deep, "neu").expect("write")),
        ("it may be run", &|| {
            fs::set_permissions(&deep, fs::Permissions::from_mode(0o700)).expect("mode");
        }),
        ("it is gone", &|| fs::remove_file(&deep).expect("remove")),
        ("the root is gone", &|| fs::rename(&root, root.with_extension("away")).expect("rename")),
    ];
    assert!(file.exists());
    for (what, change) in changes {
        let token = doomed.token();
        change();
        assert_eq!(doomed.refused_soon(&token), "token-other-manifest", "{what}");
        assert!(!doomed.is_spent(&token), "{what}");
    }
    assert!(doomed.orders().is_empty());
}

/// Rows: J10.
#[test]
fn a_machine_that_cannot_be_looked_at_is_not_destroyed() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let api = &doomed.rented.stand.api;
    let keys = fs::read(doomed.rented.machine.authorized_keys()).expect("keys");
    fs::write(doomed.rented.machine.authorized_keys(), "").expect("write");
    assert_eq!(doomed.destroy(&token, 11).result()["reason"], "key-refused");
    fs::write(doomed.rented.machine.authorized_keys(), keys).expect("write");
    let pins = fs::read(doomed.rented.pins()).expect("pins");
    fs::remove_file(doomed.rented.pins()).expect("remove");
    assert_eq!(doomed.destroy(&token, 11).result()["reason"], "host-key-unknown");
    fs::write(doomed.rented.pins(), pins).expect("write");
    api.set(ID, "actual_status", json!("exited"));
    for field in ["cur_state", "next_state", "intended_status"] {
        api.set(ID, field, json!("stopped"));
    }
    let result = doomed.destroy(&token, 18).result();
    assert_eq!(result["machine_state"], "stopped");
    assert!(!doomed.is_spent(&token));
    assert!(doomed.orders().is_empty());
}

/// What somebody else destroyed was not destroyed by this token.
#[test]
fn a_machine_that_is_gone_otherwise_is_told_and_nothing_is_spent() {
    let doomed = Doomed::new();
    let token = doomed.token();
    doomed.rented.stand.api.remove(ID);
    let result = doomed.destroy(&token, 18).result();
    assert_eq!(
        (&result["reason"], &result["machine_state"]),
        (&json!("gone-otherwise"), &json!("gone"))
    );
    assert!(!doomed.is_spent(&token));
    assert!(doomed.orders().is_empty());
}

/// The account's key is a secret, and so is what the platform tells beside the state.
#[test]
fn a_refused_key_of_the_account_spends_nothing() {
    let doomed = Doomed::new();
    let token = doomed.token();
    let name = token.to_str().expect("text");
    let words = ["destroy", NAME, "--token", name, "--confirm", "33402296", "--json"];
    let Rented { stand, lab, .. } = &doomed.rented;
    let mut command = stand.xfer.command(words);
    command.env("VAST_API_KEY", "another-key");
    let ended = lab.near.within(|| xfer_tests::xfer::Running::start(command));
    let ended = ended.wait().expect_code(11);
    assert_eq!(ended.result()["reason"], "platform-key-refused");
    assert!(!ended.stdout.contains("another-key") && !ended.stderr.contains("another-key"));
    assert!(!doomed.is_spent(&token));
}
