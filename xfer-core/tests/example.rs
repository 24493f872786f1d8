//! The example of the library pushes a tree, and stops at a signal

#![expect(clippy::disallowed_methods, reason = "a test prepares files and looks at them")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// cargo builds the examples of a package before it runs its tests
fn example() -> Command {
    let own = std::env::current_exe().expect("own path");
    let built = own.ancestors().nth(2).expect("tests lie in PROFILE/deps");
    Command::new(built.join("examples/push_tree"))
}

#[test]
fn it_pushes_a_tree() {
    let place = tempfile::tempdir().expect("temp dir");
    let (source, destination) = (place.path().join("a"), place.path().join("b"));
    fs::create_dir_all(source.join("deep")).expect("make a directory");
    fs::write(source.join("deep/file"), vec![7; 3_000_000]).expect("write");
    let mut inside = PathBuf::from(&source).into_os_string();
    inside.push("/");
    let ended = example().arg(inside).arg(&destination).output().expect("run the example");
    let (told, events) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{told}{events}");
    assert_eq!(told.trim_end(), "3 entries, Done");
    assert!(events.contains("Progress("), "{events}");
    assert_eq!(fs::read(destination.join("deep/file")).expect("read"), vec![7; 3_000_000]);
}

#[test]
fn it_says_how_it_is_used() {
    let ended = example().output().expect("run the example");
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("usage: push_tree"));
}

#[test]
fn it_is_short() {
    let lines = include_str!("../examples/push_tree.rs").lines().count();
    assert!(lines < 30, "{lines} lines");
}
