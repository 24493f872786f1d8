//! Nothing but the roots of a token is there, and nothing leads out of them

use std::os::unix::fs::symlink;

use xfer_tests::oracle;
use xfer_tests::tree;

use crate::{Stand, words};

#[test]
fn nothing_leads_out_of_a_root() {
    let stand = Stand::new(&[]);
    let (served, outside) = (stand.path("served"), stand.path("outside"));
    for directory in [&outside, &served.join("sub")] {
        std::fs::create_dir(directory).expect("create");
    }
    tree::write(&outside.join("secret"), b"secret");
    tree::write(&served.join("file"), b"file");
    symlink("../outside", served.join("out")).expect("link");
    symlink(outside.join("secret"), served.join("leak")).expect("link");
    let (before, source) = (oracle::survey(&outside), stand.path("new"));
    tree::write(&source, b"new");
    let absolute = format!("/{}", outside.display());
    for (path, code) in [
        ("/data/../outside", 16),
        ("/data/sub/../../outside", 16),
        ("/../data", 16),
        ("/data/out/", 16),
        ("/data/out/secret", 16),
        ("/data/leak/", 16),
        ("/outside", 4),
        ("/served", 4),
        ("/etc", 4),
        (absolute.as_str(), 4),
        ("/data/none", 4),
    ] {
        let there = stand.at(path);
        let listed = stand.client.run(words(&["ls"], [&there])).expect_code(code);
        assert!(!listed.stdout.contains("secret"), "{path}: {}", listed.stdout);
        let into = stand.path("pulled");
        let pull = words(&["pull"], [&there, &into.clone().into()]);
        stand.client.run(pull).expect_code(code);
        assert!(!into.exists(), "{path}");
        if path != "/data/none" {
            let push = words(&["push"], [&source.clone().into(), &stand.at(&format!("{path}/x/"))]);
            assert_ne!(stand.client.run(push).code(), 0, "{path}");
        }
    }
    // A link is copied as a link, and what it leads to stays where it is.
    let pull = words(&["pull"], [&stand.at("/data/"), &stand.path("all").into()]);
    stand.client.run(pull).expect_code(0);
    assert!(stand.path("all/leak").is_symlink());
    let pull = words(&["pull", "-L"], [&stand.at("/data/"), &stand.path("followed").into()]);
    assert_ne!(stand.client.run(pull).code(), 0);
    assert!(!stand.path("followed/leak").exists() && !stand.path("followed/out").exists());
    assert_eq!(oracle::differences(&before, &oracle::survey(&outside)), [""; 0]);
}

#[test]
fn a_token_reads_what_it_may_and_writes_nothing() {
    let stand = Stand::new(&["--read-only"]);
    tree::write(&stand.path("served/file"), b"file");
    let before = oracle::survey(&stand.path("served"));
    let pull = words(&["pull"], [&stand.at("/data/"), &stand.path("back").into()]);
    stand.client.run(pull).expect_code(0);
    oracle::assert_equal(&stand.path("served"), &stand.path("back"));
    tree::write(&stand.path("new"), b"new");
    for there in ["/data", "/data/file", "/data/made/below/"] {
        let push = words(&["push", "--json"], [&stand.path("new").into(), &stand.at(there)]);
        let result = stand.client.run(push).expect_code(5).result();
        assert_eq!(result["reason"], "permission-denied", "{result}");
    }
    assert_eq!(oracle::differences(&before, &oracle::survey(&stand.path("served"))), [""; 0]);
}

#[test]
fn a_token_reaches_its_roots_alone() {
    let stand = Stand::new(&[]);
    tree::write(&stand.path("served/file"), b"file");
    stand.hold(&stand.new_token(&["--token-root", "other"]));
    let listed = stand.client.run(words(&["ls"], [&stand.at("/data")])).expect_code(4);
    assert!(listed.stdout.is_empty(), "{}", listed.stdout);
    stand.hold(&stand.new_token(&["--token-root", "data"]));
    stand.client.run(words(&["ls"], [&stand.at("/data")])).expect_code(0);
}

/// What lets people in is no file for those who are in.
#[test]
fn the_peers_own_files_are_not_served() {
    let stand = Stand::new(&[]);
    let tokens = stand.path("tokens");
    for place in [stand.place.path(), stand.host.home()] {
        let root = format!("all={}", place.display());
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--root", &root, "--token-file"];
        let arguments = words(&arguments, [&tokens.clone().into()]);
        stand.host.run(arguments).expect_code(3);
    }
}
