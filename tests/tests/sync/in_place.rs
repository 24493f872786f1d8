//! Files that are written over what they replace: their inodes stay, and what both have in common
//! is neither moved nor written

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xfer_tests::oracle;
use xfer_tests::random::Random;
use xfer_tests::tree;

use super::stand::{Side, Stand, Trees};

const BYTES: usize = (24 << 20) + 333;

/// Smaller files go beside what they replace in any case
const MORE_THAN_A_BLOCK: usize = (64 << 10) + 1;

/// So that there is time to end it in the middle
const SLOWLY: &str = "8MB/s";

fn inode(root: &Path, name: &str) -> u64 {
    fs::symlink_metadata(root.join(name)).expect(name).ino()
}

fn put(root: &Path, name: &str, content: &[u8]) {
    tree::write(&root.join(name), content);
}

/// Result and the receipt's head
fn moved(stand: &Stand, trees: &Trees, flags: &[&str]) -> (Value, Value) {
    let file = trees.there.with_extension("receipt");
    let told = ["--json", "--inplace", "--receipt", file.to_str().expect("UTF-8")];
    let result = stand.sync(trees, &[&told[..], flags].concat()).expect_code(0).result();
    let text = fs::read_to_string(file).expect("a receipt");
    let head = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    (result, head)
}

/// What stands below a root under names that are partials'
fn partials(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).expect("list").map(|entry| entry.expect("an entry").path());
    let is_partial = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(".xfer-") && !name.starts_with(".xfer-receipts")
    };
    entries.filter(is_partial).collect()
}

fn written_over(side: Side) {
    let stand = Stand::new(side);
    let trees = stand.trees(&["new=1"], &[]);
    let old = Random::new(1).bytes(BYTES);
    let mut new = old.clone();
    for at in [5, 9 << 20, BYTES - 1] {
        new[at] ^= 1;
    }
    put(&trees.there, "large", &old);
    put(&trees.source, "large", &new);
    put(&trees.there, "longer", &old);
    put(&trees.source, "longer", &[&old[..], b"more"].concat());
    put(&trees.there, "shorter", &old);
    put(&trees.source, "shorter", &old[..BYTES / 2]);
    put(&trees.there, "small", b"before");
    put(&trees.source, "small", b"behind it");
    put(&trees.there, "emptied", b"before");
    put(&trees.source, "emptied", b"");
    put(&trees.there, "equal", &old);
    put(&trees.source, "equal", &old);
    let names = ["large", "longer", "shorter", "equal"];
    let inodes = names.map(|name| inode(&trees.there, name));
    let small = inode(&trees.there, "small");
    let (result, head) = moved(&stand, &trees, &[]);
    assert_eq!(names.map(|name| inode(&trees.there, name)), inodes);
    assert_ne!(inode(&trees.there, "small"), small);
    oracle::assert_equal(&trees.source, &trees.there);
    assert_eq!(head["in_place"], 3, "{head}");
    let payload = result["payload_bytes"].as_u64().expect("a number");
    assert!(payload < 8 << 16, "{payload} bytes for six that differ");
    assert_eq!(partials(&trees.there), [""; 0].map(PathBuf::from));
    // And nothing that is equal is touched.
    let (result, head) = moved(&stand, &trees, &[]);
    assert_eq!((&result["payload_bytes"], &head["in_place"]), (&0.into(), &Value::Null));
}

#[test]
fn here_files_are_written_over() {
    written_over(Side::Here);
}

#[test]
fn over_ssh_files_are_written_over() {
    written_over(Side::Ssh);
}

#[test]
fn at_a_standing_peer_files_are_written_over() {
    written_over(Side::Peer);
}

/// What has another name, and what is no file, keeps what it holds: a new file takes its place.
#[test]
fn what_others_hold_is_not_written_over() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        let trees = stand.trees(&[], &["link->file"]);
        let (old, new) = (vec![1; MORE_THAN_A_BLOCK], vec![2; MORE_THAN_A_BLOCK]);
        for name in ["file", "link"] {
            put(&trees.source, name, &new);
        }
        put(&trees.there, "elsewhere", &old);
        fs::hard_link(trees.there.join("elsewhere"), trees.there.join("file")).expect("link");
        let (_, head) = moved(&stand, &trees, &["--delete=after", "--exclude", "elsewhere"]);
        assert_eq!(head["in_place"], Value::Null, "{head}");
        assert_eq!(fs::read(trees.there.join("elsewhere")).expect("read"), old);
        for name in ["file", "link"] {
            assert_eq!(fs::read(trees.there.join(name)).expect("read"), new);
        }
        assert!(!trees.there.join("link").is_symlink());
    }
}

/// Killed in the middle, nothing has the name of the file, and the same bytes are gone on with.
#[test]
fn what_is_unfinished_has_no_name_and_is_gone_on_with() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        let trees = stand.trees(&[], &[]);
        put(&trees.there, "file", &Random::new(2).bytes(BYTES));
        put(&trees.source, "file", &Random::new(3).bytes(BYTES));
        tree::set_mode(&trees.there.join("file"), 0o4755);
        let before = inode(&trees.there, "file");
        let running = stand.start(&trees, &["--inplace", "--json", "--bwlimit", SLOWLY]);
        let is_moving = |event: &Value| event["payload_bytes"].as_u64() > Some(12 << 20);
        assert!(running.next_event(is_moving).is_some(), "it ended before");
        running.signal("KILL");
        running.wait();
        assert!(!trees.there.join("file").exists());
        let left = partials(&trees.there);
        let [partial] = &left[..] else { panic!("{left:?}") };
        let facts = fs::metadata(partial).expect("it");
        assert_eq!((facts.ino(), facts.mode() & 0o7777), (before, 0o600));
        // Without the flag, too: what is there is a partial like any other.
        let result = stand.sync(&trees, &["--json"]).expect_code(0).result();
        assert!(result["reused_bytes"].as_u64() > Some(0), "{result}");
        assert_eq!(inode(&trees.there, "file"), before);
        assert_eq!(partials(&trees.there), [""; 0].map(PathBuf::from));
        oracle::assert_equal(&trees.source, &trees.there);
    }
}

/// A transfer that has nothing to do with what is unfinished leaves it.
#[test]
fn what_is_unfinished_stays_until_its_name_is_taken() {
    let stand = Stand::new(Side::Ssh);
    let trees = stand.trees(&["other=1"], &[]);
    put(&trees.there, "file", &Random::new(2).bytes(BYTES));
    put(&trees.source, "file", &Random::new(3).bytes(BYTES));
    let running = stand.start(&trees, &["--inplace", "--json", "--bwlimit", SLOWLY]);
    let is_moving = |event: &Value| event["payload_bytes"].as_u64() > Some(12 << 20);
    assert!(running.next_event(is_moving).is_some(), "it ended before");
    running.signal("KILL");
    running.wait();
    let unfinished = [trees.there.join(".xfer-in-place-file")];
    for route in ["ssh", "sftp"] {
        stand.sync(&trees, &["--exclude", "file", "--route", route]).expect_code(0);
        assert_eq!(partials(&trees.there), unfinished, "{route}");
    }
    fs::rename(trees.source.join("file"), trees.source.join("later")).expect("rename");
    stand.sync(&trees, &[]).expect_code(0);
    assert_eq!(partials(&trees.there), unfinished);
    fs::rename(trees.source.join("later"), trees.source.join("file")).expect("rename");
    let moved = inode(&trees.there, "later");
    stand.sync(&trees, &["--delete"]).expect_code(0);
    assert_eq!(inode(&trees.there, "file"), moved);
    stand.sync(&trees, &[]).expect_code(0);
    assert_eq!(partials(&trees.there), [""; 0].map(PathBuf::from));
    oracle::assert_equal(&trees.source, &trees.there);
}

/// A lock says that somebody counts on it.
#[test]
fn what_is_locked_is_not_written_over() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        let trees = stand.trees(&[], &[]);
        put(&trees.source, "file", &[1; MORE_THAN_A_BLOCK]);
        put(&trees.there, "file", &[2; MORE_THAN_A_BLOCK]);
        let held = fs::File::open(trees.there.join("file")).expect("open");
        held.lock().expect("lock");
        let before = inode(&trees.there, "file");
        let (_, head) = moved(&stand, &trees, &[]);
        assert_eq!(head["in_place"], Value::Null, "{head}");
        assert_ne!(inode(&trees.there, "file"), before);
        oracle::assert_equal(&trees.source, &trees.there);
    }
}

/// Nothing that was said of the old bytes is said of the new ones.
#[test]
fn what_was_said_of_the_old_bytes_goes() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&[], &[]);
    put(&trees.source, "file", &[1; MORE_THAN_A_BLOCK]);
    put(&trees.there, "file", &[2; MORE_THAN_A_BLOCK]);
    let there = trees.there.join("file");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&there, "user.sha256", b"of old", flags).expect("set");
    let before = inode(&trees.there, "file");
    moved(&stand, &trees, &[]);
    assert_eq!(inode(&trees.there, "file"), before);
    let left = rustix::fs::getxattr(&there, "user.sha256", &mut [0; 16][..]);
    assert_eq!(left, Err(rustix::io::Errno::NODATA));
}

#[test]
fn where_it_cannot_be_it_is_refused() {
    let stand = Stand::new(Side::Ssh);
    let trees = stand.trees(&["file=new"], &["file=old"]);
    let before = oracle::survey(&trees.there);
    for (flags, reason) in [
        (&["--inplace", "--route", "sftp"][..], "cannot-write-in-place"),
        (&["--inplace", "--backup-dir", "old"], "flags-conflict"),
    ] {
        let ended = stand.sync(&trees, flags).expect_code(2);
        assert!(ended.stderr.contains(&format!("exit 2 {reason}")), "{}", ended.stderr);
        assert_eq!(oracle::survey(&trees.there), before);
    }
}
