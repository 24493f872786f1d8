//! Files that only got another name get it at the destination too, once what goes may go

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use xfer_tests::oracle;
use xfer_tests::random::Random;
use xfer_tests::tree;

use super::stand::{Side, Stand, Trees, changes};

const BYTES: usize = (9 << 20) + 77;

fn put(root: &Path, name: &str, content: &[u8], second: i64) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("create");
    tree::write(&path, content);
    tree::set_modified(&path, second, 0);
}

fn inode(root: &Path, name: &str) -> u64 {
    fs::symlink_metadata(root.join(name)).expect(name).ino()
}

/// Several files, so that less than half of what stands there goes
fn trees(stand: &Stand) -> Trees {
    let kept = ["k1=1", "k2=2", "k3=3", "k4=4", "k5=5"];
    stand.trees(&kept, &kept)
}

/// What was sent, and entries that were moved and deleted
fn result(stand: &Stand, trees: &Trees, flags: &[&str]) -> (u64, u64, u64) {
    let flags = [&["--json", "--delete"], flags].concat();
    let told = stand.sync(trees, &flags).expect_code(0).result();
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    (number(&told["payload_bytes"]), number(&told["entries"]["moved"]), number(&told["deleted"]))
}

fn files_get_other_names(stand: &Stand) {
    let trees = trees(stand);
    let [one, two] = [1, 2].map(|seed| Random::new(seed).bytes(BYTES));
    // Two of one size; one of them under a time of its own, in a directory that was not there.
    put(&trees.there, "old/one", &one, 5);
    put(&trees.there, "two", &two, 6);
    put(&trees.source, "new/one", &one, 7);
    put(&trees.source, "one/two", &two, 6);
    let inodes = [inode(&trees.there, "old/one"), inode(&trees.there, "two")];
    // Both files and their directories; and what they were, with one directory.
    assert_eq!(result(stand, &trees, &[]), (0, 4, 3));
    assert_eq!([inode(&trees.there, "new/one"), inode(&trees.there, "one/two")], inodes);
    oracle::assert_equal(&trees.source, &trees.there);
    assert_eq!(result(stand, &trees, &[]), (0, 0, 0));
}

#[test]
fn here_files_get_other_names() {
    files_get_other_names(&Stand::new(Side::Here));
}

#[test]
fn over_ssh_files_get_other_names() {
    files_get_other_names(&Stand::new(Side::Ssh));
}

#[test]
fn at_a_standing_peer_files_get_other_names() {
    files_get_other_names(&Stand::new(Side::Peer));
}

/// Of small files what has its time gets its name, however many there are; the rest is sent.
fn small_files_get_other_names(stand: &Stand) {
    let kept: Vec<_> = (0..700).map(|number| format!("kept-{number}={number}")).collect();
    let kept: Vec<_> = kept.iter().map(String::as_str).collect();
    let trees = stand.trees(&kept, &kept);
    let name = |number: usize| format!("d{}/{number}", number % 7);
    for number in 0..300 {
        let (content, second) = (format!("content {number:03}"), 1000 + number as i64);
        put(&trees.there, &format!("old/{}", name(number)), content.as_bytes(), second);
        put(&trees.source, &format!("new/{}", name(number)), content.as_bytes(), second);
    }
    // All of one size and time, of which the first is gone: as many are looked at as there are new
    // ones, so the last is not found.
    for number in 0..60 {
        put(&trees.there, &format!("old/{number:02}/one"), format!("{number:04}").as_bytes(), 900);
        if number > 0 {
            let content = format!("{number:04}");
            put(&trees.source, &format!("new/{number:02}/one"), content.as_bytes(), 900);
        }
    }
    // Other content of the same size and time, the same content of another time, nothing at all.
    put(&trees.there, "old/gone", b"content old", 999);
    put(&trees.source, "new/came", b"content new", 999);
    put(&trees.there, "old/touched", b"touched", 5);
    put(&trees.source, "new/touched", b"touched", 6);
    put(&trees.there, "old/empty", b"", 5);
    put(&trees.source, "new/empty", b"", 5);
    let inodes = |root: &Path, top: &str| -> Vec<u64> {
        (0..300).map(|number| inode(root, &format!("{top}/{}", name(number)))).collect()
    };
    let before = inodes(&trees.there, "old");
    let (payload, ..) = result(stand, &trees, &[]);
    assert_eq!(payload, ["content new", "touched", "0059"].concat().len() as u64);
    assert_eq!(inodes(&trees.there, "new"), before);
    oracle::assert_equal(&trees.source, &trees.there);
    assert_eq!(result(stand, &trees, &[]), (0, 0, 0));
}

#[test]
fn here_small_files_get_other_names() {
    small_files_get_other_names(&Stand::new(Side::Here));
}

#[test]
fn over_ssh_small_files_get_other_names() {
    small_files_get_other_names(&Stand::new(Side::Ssh));
}

/// One file is one other file, and what has two names or is kept stays what it is
#[test]
fn what_is_wanted_twice_or_kept_is_copied() {
    let stand = Stand::new(Side::Here);
    let content = Random::new(3).bytes(BYTES);
    let twice = trees(&stand);
    put(&twice.there, "old", &content, 5);
    put(&twice.source, "new", &content, 5);
    put(&twice.source, "too", &content, 5);
    let old = inode(&twice.there, "old");
    result(&stand, &twice, &[]);
    let found = [inode(&twice.there, "new"), inode(&twice.there, "too")];
    assert!(found.contains(&old) && found[0] != found[1], "{old} {found:?}");
    oracle::assert_equal(&twice.source, &twice.there);

    let linked = trees(&stand);
    put(&linked.source, "new", &content, 5);
    fs::hard_link(linked.source.join("new"), linked.source.join("more")).expect("link");
    put(&linked.there, "old", &content, 5);
    result(&stand, &linked, &[]);
    oracle::assert_equal(&linked.source, &linked.there);

    let kept = trees(&stand);
    put(&kept.there, "old", &content, 5);
    put(&kept.source, "new", &content, 5);
    let old = inode(&kept.there, "old");
    result(&stand, &kept, &["--backup-dir", "kept"]);
    assert_eq!(inode(&kept.there, "kept/old"), old);
    assert_ne!(inode(&kept.there, "new"), old);
}

/// What looks alike and is not is left for what it is
#[test]
fn another_content_of_the_same_size_and_time_is_copied() {
    let stand = Stand::new(Side::Here);
    let trees = trees(&stand);
    let mut content = Random::new(4).bytes(BYTES);
    put(&trees.there, "old", &content, 5);
    *content.last_mut().expect("a byte") ^= 1;
    put(&trees.source, "new", &content, 5);
    let (_, moved, deleted) = result(&stand, &trees, &[]);
    assert_eq!((moved, deleted), (1, 1));
    oracle::assert_equal(&trees.source, &trees.there);
}

/// Where something keeps the old name from going, both stand there: it is known before anything is
/// moved, or found only then.
#[test]
fn nothing_loses_its_name_where_anything_fails() {
    let stand = Stand::new(Side::Here);
    let content = Random::new(5).bytes(BYTES);
    for (known_before, code) in [(true, 5), (false, 8)] {
        let trees = trees(&stand);
        put(&trees.there, "old", &content, 5);
        put(&trees.source, "new", &content, 5);
        if known_before {
            // A directory where a file is to be, and something in it that stays.
            put(&trees.source, "in-the-way", b"file", 5);
            put(&trees.there, "in-the-way/kept.log", b"kept", 5);
        } else {
            put(&trees.source, "too-large", &Random::new(6).bytes(2 * BYTES), 5);
        }
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--fsize={}", 3 * BYTES / 2));
        let own = stand.command(&trees, &["--delete", "--exclude", "*.log"]);
        limited.arg(own.get_program()).args(own.get_args()).env_clear();
        limited.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = limited.output().expect("run prlimit");
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{errors}");
        let left: Vec<_> = changes(&trees.source, &trees.there);
        assert!(left.iter().any(|line| line == "*deleting   old"), "{left:?}");
        assert!(left.iter().all(|line| !line.ends_with(" new")), "{left:?}");
        assert_eq!(fs::read(trees.there.join("old")).expect("read"), content);
    }
}
