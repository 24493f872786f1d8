//! What ends before the first byte, and with which code

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use xfer_tests::sshd::{Sshd, keygen};
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Xfer};

use crate::{Pair, arguments, remote};

/// No refusal takes longer
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// Pushes a small file with the configuration that `change` makes of the usual one
fn push_with(pair: &Pair, flags: &[&str], change: impl Fn(&str) -> String) -> Ended {
    let config = pair.path("ssh_config");
    let text = change(&pair.server.client_config_text("host"));
    tree::write(&config, text.as_bytes());
    let source = pair.path("source");
    tree::write(&source, b"content");
    let destination = pair.path("destination");
    let xfer = Xfer::new().ssh_config(config);
    let begun = Instant::now();
    let command = arguments("push", flags, &[source.into(), remote(&destination)]);
    let ended = xfer.run(&command);
    assert!(begun.elapsed() < REFUSED_WITHIN, "{:?}", begun.elapsed());
    assert_eq!(destination.exists(), ended.code() == 0, "{}", ended.stderr);
    ended
}

fn without_known_hosts(pair: &Pair, text: &str) -> String {
    let listed = format!("UserKnownHostsFile {}", pair.server.known_hosts().display());
    let empty = format!("UserKnownHostsFile {}", pair.path("known_hosts").display());
    assert!(text.contains(&listed));
    text.replace(&listed, &empty).replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask")
}

/// What `pull` would take of a pattern is what is listed and compared
#[test]
fn patterns_are_expanded_there() {
    let pair = Pair::new();
    fs::create_dir_all(pair.path("tree/deep")).unwrap();
    for name in ["tree/ab", "tree/ac", "tree/deep/ad", "tree/b"] {
        tree::write(&pair.path(name), name.as_bytes());
    }
    for (pattern, listed) in [("tree/a?", &["ab", "ac"][..]), ("tr*", &["", "ab", "ac", "b"])] {
        let ended = pair.xfer.run(arguments("ls", &[], &[remote(&pair.path(pattern))]));
        let ended = ended.expect_code(0);
        let events = ended.events().into_iter().filter(|event| event["type"] == "entry");
        let paths: Vec<_> = events.map(|event| event["path"].clone()).collect();
        assert!(listed.iter().all(|path| paths.contains(&(*path).into())), "{pattern}: {paths:?}");
    }
    let against = format!("file://{}", pair.path("tree").display());
    let verify = arguments("verify", &["--against", &against], &[remote(&pair.path("tree/a?"))]);
    let result = pair.xfer.run(verify).expect_code(0).result();
    assert_eq!(result["entries"]["unchanged"], 2, "{result}");
    // One name in two directories would stand for two entries.
    fs::create_dir(pair.path("other")).unwrap();
    tree::write(&pair.path("other/ab"), b"ab");
    let apart = [remote(&pair.path("*/ab"))];
    let verify = arguments("verify", &["--against", &against], &apart);
    let result = pair.xfer.run(verify).expect_code(2).result();
    assert_eq!(result["reason"], "several-directories", "{result}");
    let none = arguments("ls", &[], &[remote(&pair.path("tree/x*"))]);
    assert_eq!(pair.xfer.run(none).expect_code(4).result()["reason"], "not-found");
}

#[test]
fn a_missing_source_is_4_on_either_side() {
    let pair = Pair::new();
    let [missing, destination] = ["missing", "destination"].map(|name| pair.path(name));
    let push = arguments("push", &[], &[missing.clone().into(), remote(&destination)]);
    let pull = arguments("pull", &[], &[remote(&missing), destination.clone().into()]);
    for command in [push, pull] {
        let ended = pair.xfer.run(&command).expect_code(4);
        assert!(ended.stderr.contains("missing"), "{}", ended.stderr);
        assert!(!destination.exists());
    }
}

#[test]
fn a_port_where_nobody_listens_is_10() {
    let pair = Pair::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let result = push_with(&pair, &["--port", &port.to_string()], str::to_owned);
    assert_eq!(result.expect_code(10).result()["retry"], "same-command");
}

#[test]
fn an_unknown_host_key_is_11_unless_accepting_new_ones_is_asked_for() {
    let pair = Pair::new();
    let change = |text: &str| without_known_hosts(&pair, text);
    let ended = push_with(&pair, &[], change).expect_code(11);
    assert_eq!(ended.result()["reason"], "host-key-unknown");
    assert!(ended.stderr.contains(&pair.server.host_key_fingerprint()), "{}", ended.stderr);
    push_with(&pair, &["-o", "StrictHostKeyChecking=accept-new"], change).expect_code(0);
    let known = fs::read_to_string(pair.path("known_hosts")).expect("it was written");
    assert!(known.contains(&pair.server.host_key()), "{known}");
}

#[test]
fn a_changed_host_key_is_11_unless_no_check_is_asked_for() {
    let pair = Pair::new();
    let other = Sshd::start("");
    let known = format!("[127.0.0.1]:{} {}\n", pair.server.port(), other.host_key());
    tree::write(&pair.path("known_hosts"), known.as_bytes());
    let change = |text: &str| without_known_hosts(&pair, text);
    for flags in [&[][..], &["-o", "StrictHostKeyChecking=accept-new"]] {
        let ended = push_with(&pair, flags, change).expect_code(11);
        assert_eq!(ended.result()["reason"], "host-key-changed");
    }
    for (listed, told) in [(true, "is not the one that is listed"), (false, "is not listed")] {
        if !listed {
            fs::remove_file(pair.path("known_hosts")).expect("it was written");
        }
        let ended = push_with(&pair, &["-o", "StrictHostKeyChecking=no"], change).expect_code(0);
        let events = ended.events();
        let notices: Vec<_> = events.iter().filter_map(|event| event["notice"].as_str()).collect();
        assert!(notices.len() == 1 && notices[0].contains(told), "{notices:?}");
        assert!(notices[0].contains(&pair.server.port().to_string()), "{notices:?}");
    }
}

/// It may be listed, and its fingerprint right
#[test]
fn a_host_key_that_cannot_be_used_is_not_called_unknown() {
    let pair = Pair::new();
    let authority =
        format!("@cert-authority [127.0.0.1]:{} {}\n", pair.server.port(), pair.server.host_key());
    tree::write(&pair.path("known_hosts"), authority.as_bytes());
    let ended = push_with(&pair, &[], |text| without_known_hosts(&pair, text)).expect_code(11);
    assert_eq!(ended.result()["reason"], "host-key-unusable");
    assert!(ended.stderr.contains("list the key itself"), "{}", ended.stderr);
}

#[test]
fn a_host_that_takes_too_long_is_said_to() {
    let pair = Pair::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = silent.local_addr().expect("address").port().to_string();
    let flags = ["--port", &port, "-o", "ConnectTimeout=1"];
    let ended = push_with(&pair, &flags, str::to_owned).expect_code(10);
    assert_eq!(ended.result()["reason"], "connect-timeout");
}

#[test]
fn a_refused_key_is_11_and_is_named() {
    let pair = Pair::new();
    let other = pair.path("other");
    keygen(&other, "ed25519");
    let ended = push_with(&pair, &[], |text| {
        let right = pair.server.user_key().display().to_string();
        text.replace(&right, &other.display().to_string())
    });
    let ended = ended.expect_code(11);
    assert_eq!(ended.result()["reason"], "key-refused");
    assert!(ended.stderr.contains("accepts none of your keys"), "{}", ended.stderr);
}
