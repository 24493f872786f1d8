//! What keeps anything from being removed, and what goes on where it ended

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use xfer_tests::oracle;
use xfer_tests::tree;
use xfer_tests::xfer::{Running, binary};

use crate::stand::{Side, Stand, changes};

/// A source of which a part cannot be told removes nothing: neither what it does not have, nor
/// what that part may have.
#[test]
fn a_scan_with_a_problem_removes_nothing() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        for when in ["--delete=after", "--delete=before"] {
            let trees = stand.trees(&["a=1", "new=1"], &["a=1", "b=1", "d/c=1", "e=1"]);
            // No pattern, so what it would leave out is not known.
            fs::write(trees.source.join(".xferignore"), b"\xff\n").expect("write");
            let ended = stand.sync(&trees, &[when, "--json"]).expect_code(5);
            assert_eq!(ended.result()["deleted"], 0);
            let told = |text: &str| ended.stdout.contains(text) || ended.stderr.contains(text);
            assert!(told("nothing was deleted"), "{}", ended.stdout);
            for name in ["b", "d/c", "e", "new"] {
                assert!(trees.there.join(name).exists(), "{name} is gone");
            }
            fs::remove_file(trees.source.join(".xferignore")).expect("remove");
            fs::remove_file(trees.there.join(".xferignore")).expect("remove");
            stand.sync(&trees, &[when, "--max-delete=9"]).expect_code(0);
            assert!(changes(&trees.source, &trees.there).is_empty());
        }
    }
}

/// A directory that may not be listed could hold anything.
#[test]
fn a_directory_that_cannot_be_listed_removes_nothing() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&["a=1", "d/c=1"], &["a=1", "d/c=1", "d/old=1", "e=1", "f=1"]);
    let program = TempDir::new().expect("temp dir");
    let copy = program.path().join("xfer");
    fs::copy(binary(), &copy).expect("copy the program");
    let home = program.path().join("home");
    fs::create_dir(&home).expect("create");
    for place in [program.path(), trees.source.parent().expect("a parent")] {
        everybody(place);
    }
    open_above(&trees.source);
    tree::set_mode(&trees.source.join("d"), 0);
    let run = |flags: &[&str]| {
        let plain = stand.command(&trees, flags);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command.args(plain.get_args()).env_clear().env("HOME", &home).env("LANG", "C.UTF-8");
        Running::start(command).wait()
    };
    run(&["--delete", "--max-delete=9"]).expect_code(5);
    for name in ["d/c", "d/old", "e", "f"] {
        assert!(trees.there.join(name).exists(), "{name} is gone");
    }
    // Its mode went along, as of any directory.
    for root in [&trees.source, &trees.there] {
        tree::set_mode(&root.join("d"), 0o755);
    }
    run(&["--delete", "--max-delete=9"]).expect_code(0);
    assert!(changes(&trees.source, &trees.there).is_empty());
}

fn everybody(place: &Path) {
    let status = Command::new("chown").args(["-R", "65534:65534"]).arg(place).status();
    assert!(status.expect("run chown").success());
}

fn open_above(path: &Path) {
    for above in path.ancestors().skip(2).take_while(|above| *above != Path::new("/tmp")) {
        if above.parent().is_some() && above.starts_with("/tmp") {
            tree::set_mode(above, 0o755);
        }
    }
}

/// Killed while it removes, the same command removes the rest.
#[test]
fn a_killed_sync_goes_on() {
    for side in [Side::Here, Side::Ssh] {
        let stand = Stand::new(side);
        let trees = stand.trees(&["keep=1", "d/="], &["keep=1"]);
        for number in 0..6000 {
            let name = format!("old/{}/{number}", number % 7);
            let at = trees.there.join(name);
            fs::create_dir_all(at.parent().expect("a parent")).expect("create");
            fs::write(at, b"x").expect("write");
        }
        let flags = ["--delete", "--max-delete=10000", "--json"];
        let running = stand.start(&trees, &flags);
        let first = running.next_event(|event| event["action"] == "deleted");
        running.signal("KILL");
        running.wait();
        assert!(first.is_some(), "nothing was deleted before it ended");
        // The far side may still be at what it was asked for.
        let ended = stand.sync(&trees, &flags).expect_code(0);
        let deleted = ended.result()["deleted"].as_u64().expect("a count");
        assert!((1..6000).contains(&deleted), "{deleted} deleted then");
        oracle::assert_equal(&trees.source, &trees.there);
        stand.sync(&trees, &flags).expect_code(0);
    }
}

/// A source that is gone is no empty one.
#[test]
fn a_source_that_is_gone_removes_nothing() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&[], &["a=1", "b=1"]);
    let before = oracle::survey(&trees.there);
    fs::remove_dir(&trees.source).expect("remove");
    stand.sync(&trees, &["--delete", "--max-delete=9"]).expect_code(4);
    assert_eq!(oracle::survey(&trees.there), before);
}

/// Without a slash the source itself is mapped, and nothing beside it is touched; a root of another
/// kind than the source is never replaced.
#[test]
fn only_the_mapped_entry_is_touched() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&["a=1"], &["beside=1", "source/a=1", "source/b=1"]);
    let words = |flags: &[&str]| -> Vec<OsString> {
        let mut words: Vec<_> = ["sync", "--delete"].iter().chain(flags).map(Into::into).collect();
        words.extend([trees.source.clone().into(), trees.there.clone().into()]);
        words
    };
    stand.run(&words(&[])).expect_code(0);
    assert!(trees.there.join("beside").exists() && !trees.there.join("source/b").exists());
    fs::remove_dir_all(trees.there.join("source")).expect("remove");
    fs::write(trees.there.join("source"), b"x").expect("write");
    let ended = stand.run(&words(&["--max-delete=9"])).expect_code(17);
    assert!(ended.stderr.contains("root-type-changed"), "{}", ended.stderr);
    let push: Vec<OsString> = [trees.source.join("a"), trees.source.join("a"), trees.there.clone()]
        .map(Into::into)
        .into();
    let sync: Vec<OsString> = std::iter::once("sync".into()).chain(push).collect();
    stand.run(&sync).expect_code(2);
}

/// What asks for a list of its own says nothing of the rest.
#[test]
fn a_list_of_paths_deletes_nothing() {
    let stand = Stand::new(Side::Here);
    let trees = stand.trees(&["a=1"], &["a=1", "b=1"]);
    let list = stand.home().join("list");
    fs::write(&list, "a\n").expect("write");
    let list = list.to_str().expect("UTF-8");
    let ended = stand.sync(&trees, &["--delete", "--files-from", list]).expect_code(2);
    assert!(ended.stderr.contains("delete-with"), "{}", ended.stderr);
    stand.sync(&trees, &["--files-from", list]).expect_code(0);
    assert!(trees.there.join("b").exists());
}
