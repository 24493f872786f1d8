//! Receipts that are left at the destination where that is asked for

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::stand::{Side, Stand, Trees};

fn receipts(trees: &Trees) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(trees.there.join(".xfer-receipts")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn is_left(stand: &Stand) {
    let trees = stand.trees(&["d/f=1", "g=2", "h=3"], &["old=1", "g=2", "h=3"]);
    stand.sync(&trees, &["--delete"]).expect_code(0);
    assert_eq!(receipts(&trees), Vec::<PathBuf>::new());
    let flags = ["--delete", "--remote-receipt", "--json"];
    for round in 1..=2 {
        let told = stand.sync(&trees, &flags).expect_code(0).result();
        let kept = told["receipt"].as_str().expect("a path");
        let left = receipts(&trees);
        assert_eq!(left.len(), round, "{left:?}");
        let is_same = |path: &PathBuf| path.file_name() == PathBuf::from(kept).file_name();
        let own = left.iter().find(|path| is_same(path)).expect("one of that name");
        assert_eq!(fs::read(own).expect("read"), fs::read(kept).expect("read"));
        assert_eq!(fs::metadata(own).expect("it").permissions().mode() & 0o7777, 0o600);
    }
    let before = fs::read_dir(&trees.there).expect("list").count();
    stand.sync(&trees, &["--delete", "--remote-receipt", "-n"]).expect_code(0);
    assert_eq!((receipts(&trees).len(), before), (2, 4));
}

#[test]
fn here_it_is_left() {
    is_left(&Stand::new(Side::Here));
}

#[test]
fn over_ssh_it_is_left() {
    is_left(&Stand::new(Side::Ssh));
}

#[test]
fn at_a_standing_peer_it_is_left() {
    is_left(&Stand::new(Side::Peer));
}

/// All has arrived, and what was asked for has not: that is no success.
#[test]
fn where_it_cannot_be_left_it_is_no_success() {
    let stand = Stand::new(Side::Ssh);
    let trees = stand.trees(&["f=1"], &[".xfer-receipts=in the way"]);
    let ended = stand.sync(&trees, &["--remote-receipt"]).expect_code(1);
    assert!(ended.stderr.contains("exit 1 output-lost"), "{}", ended.stderr);
    assert!(ended.stderr.contains("all has arrived"), "{}", ended.stderr);
    assert_eq!(fs::read(trees.there.join("f")).expect("read"), b"1");
}
