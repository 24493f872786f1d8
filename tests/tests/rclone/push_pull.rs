//! A tree goes to a remote and comes back

use std::fs;
use std::path::Path;

use xfer_tests::stores::{Moto, S3s};
use xfer_tests::xfer::Xfer;
use xfer_tests::{oracle, tree};

use crate::{BIG, Bench, CANARY, assert_same, seen_of};

/// Small files, empty ones, a large one, links, and names that are not everybody's
fn plant(root: &Path) {
    tree::small_files(root, 30, 7);
    fs::create_dir_all(root.join("ein Verzeichnis/ü")).expect("make a directory");
    for name in ["ein Verzeichnis/ü/a b & c", "-n", "--config=x", "%41", "a%zz", "[b]?*#", "q\"\\"]
    {
        tree::write(&root.join(name), name.as_bytes());
    }
    tree::write(&root.join("empty"), b"");
    fs::create_dir(root.join("nothing in it")).expect("make a directory");
    std::os::unix::fs::symlink("empty", root.join("link")).expect("make a symbolic link");
    tree::big_file(&root.join("big"), BIG, 5);
}

/// Pushes, and pulls it again
fn goes_and_comes(bench: &Bench, remote: &str) {
    let source = bench.path("tree");
    plant(&source);
    bench.push(&source, &format!("{remote}runs/")).expect_code(0);
    let back = bench.path("back");
    fs::create_dir(&back).expect("make a directory");
    bench.pull(&format!("{remote}runs/tree"), &back).expect_code(0);
    oracle::assert_equal(&source, &back.join("tree"));
}

#[test]
fn a_tree_goes_to_a_directory_and_comes_back() {
    let bench = Bench::new();
    goes_and_comes(&bench, "rclone:disk:");
    for name in ["big", "-n", "--config=x", "[b]?*#", "empty"] {
        assert_same(&bench.path("tree").join(name), &bench.there("runs/tree").join(name));
    }
    let time = |path: &Path| fs::metadata(path).expect("stat").modified().expect("a time");
    let of = |root: &Path| time(&root.join("-n"));
    assert_eq!(of(&bench.path("tree")), of(&bench.there("runs/tree")));
    let left = fs::read_dir(bench.there("runs/tree")).expect("list").flatten();
    let left = left.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".xfer-part"));
    assert_eq!(left.count(), 0, "partials are left");
}

#[test]
fn a_tree_goes_to_a_remote_that_encrypts_and_comes_back() {
    let bench = Bench::new();
    goes_and_comes(&bench, "rclone:secret:");
    assert!(!bench.there("hidden/runs").exists(), "it is not encrypted");
}

#[test]
fn a_tree_goes_to_moto_and_comes_back() {
    let store = Moto::start();
    let bench = Bench::new().reaching(store.access());
    goes_and_comes(&bench, "rclone:bucket:bucket/");
}

/// What is there already is left, and what changed alone is sent
#[test]
fn a_second_push_sends_what_changed() {
    let bench = Bench::new();
    let source = bench.path("tree");
    plant(&source);
    bench.push(&source, "rclone:disk:runs/").expect_code(0);
    let again = bench.push(&source, "rclone:disk:runs/").expect_code(0).result();
    assert_eq!(again["bytes"]["moved"], 0, "{again}");
    tree::write(&source.join("empty"), b"not any more");
    let third = bench.push(&source, "rclone:disk:runs/").expect_code(0).result();
    assert_eq!(third["bytes"]["moved"], 12, "{third}");
    assert_eq!(fs::read(bench.there("runs/tree/empty")).expect("read"), b"not any more");
}

/// What the source does not have goes, with the directories that rclone has, and what is excluded
/// stays
#[test]
fn what_the_source_does_not_have_is_deleted() {
    let bench = Bench::new();
    let (source, there) = (bench.path("tree"), bench.there("copy"));
    for (root, name) in [(&source, "a"), (&source, "d/b"), (&there, "a"), (&there, "d/b")] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        tree::write(&path, name.as_bytes());
    }
    fs::create_dir_all(there.join("old/deep/er")).expect("make a directory");
    fs::create_dir_all(there.join("kept")).expect("make a directory");
    for name in ["old/file", "old/deep/file", "d/old", "kept/x.log", "a b"] {
        tree::write(&there.join(name), b"old");
    }
    let from = format!("{}/", source.display());
    let flags = ["--delete", "--max-delete", "100", "--exclude", "*.log"];
    let sync = || bench.start("sync", &from, "rclone:disk:copy/", &flags).wait();
    let result = sync().expect_code(0).result();
    assert_eq!(result["deleted"], 7, "{result}");
    assert!(there.join("kept/x.log").exists() && !there.join("old").exists());
    fs::remove_dir_all(there.join("kept")).expect("remove");
    let _ours = fs::remove_dir_all(there.join(".xfer-receipts"));
    let differences = oracle::rsync_changes(&source, &there);
    let differences: Vec<_> = differences.iter().filter(|line| !line.starts_with('.')).collect();
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(sync().expect_code(0).result()["deleted"], 0);
}

/// Files that others wrote are files like any, with their times
#[test]
fn what_others_wrote_comes() {
    let bench = Bench::new();
    let theirs = bench.there("others");
    tree::small_files(&theirs, 120, 3);
    tree::big_file(&theirs.join("big"), BIG, 9);
    tree::set_modified(&theirs.join("big"), 1_500_000_000, 123_456_789);
    fs::create_dir(theirs.join("nothing in it")).expect("make a directory");
    let here = bench.path("here");
    bench.pull("rclone:disk:others/", &here).expect_code(0);
    assert_same(&theirs.join("big"), &here.join("big"));
    let time = |root: &Path| fs::metadata(root.join("big")).expect("stat").modified().ok();
    assert_eq!(time(&theirs), time(&here));
    assert!(here.join("nothing in it").is_dir());
    let absolute = format!("rclone::local:{}", theirs.join("big").display());
    let one = bench.path("one");
    bench.pull(&absolute, &one).expect_code(0);
    assert_same(&theirs.join("big"), &one);
    let listed = bench.xfer.run(["ls", "rclone:disk:others/"]).expect_code(0);
    assert!(listed.stdout.contains("big"), "{}", listed.stdout);
}

/// No key stands where others can read it, nor in anything that is said
#[test]
fn no_key_is_seen() {
    let store = S3s::start();
    let access = xfer_tests::stores::Access { secret: CANARY.to_owned(), ..store.access().clone() };
    let bench = Bench::new().reaching(&access);
    let big = bench.file("big", BIG, 3);
    let running = bench.start("push", &big.to_string_lossy(), "rclone:secret:", &["-v"]);
    running.next_event(|event| event["type"] == "route");
    let seen = seen_of(running.id());
    assert!(seen.iter().any(|(line, _)| line.contains(" rcd ")), "no rclone in {seen:?}");
    assert!(seen.iter().all(|(line, _)| !line.contains(CANARY)), "{seen:?}");
    running.wait().expect_code(0);
    let refused = bench.start("push", &big.to_string_lossy(), "rclone:bucket:bucket/", &["-v"]);
    let refused = refused.wait().expect_code(11);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(!said.contains(CANARY), "{said}");
    let given = "rclone::s3,secret_access_key=canary-0c3b7e5d:bucket/";
    let refused = bench.push(&big, given).expect_code(2);
    assert!(!refused.stderr.contains(CANARY), "{}", refused.stderr);
}

/// Nothing of this machine's configuration is needed where there is none
#[test]
fn rclone_is_found_by_its_name() {
    let program = xfer_tests::stores::judges::rclone_program();
    let directory = program.parent().expect("a directory").to_owned();
    let there = tempfile::tempdir().expect("temp dir");
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let file = there.path().join("file");
    tree::write(&file, b"bytes");
    let to = format!("rclone::local:{}/to", there.path().display());
    let xfer = Xfer::new().env("PATH", path).env("RCLONE_CONFIG", "/dev/null");
    xfer.run(["push".as_ref(), file.as_os_str(), to.as_ref()]).expect_code(0);
    assert_same(&file, &there.path().join("to"));
}
