//! What is asked of the far side before anything is known of the destination

use std::fs;
use std::path::Path;

use xfer_tests::xfer::{Ended, Running, elsewhere};

use crate::{Pair, arguments, remote};

/// Pushes as from another machine, where the destination is guessed
fn push(pair: &Pair, flags: &[&str], source: &Path, to: &Path) -> Ended {
    let arguments = arguments("push", flags, &[source.into(), remote(to)]);
    Running::start(elsewhere(&pair.xfer.command(&arguments))).wait()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("list").map(|entry| entry.expect("an entry"));
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn tree(pair: &Pair) -> std::path::PathBuf {
    let tree = pair.path("tree");
    fs::create_dir(&tree).expect("create");
    fs::write(tree.join("file"), b"content").expect("write");
    tree
}

#[test]
fn all_that_may_stand_there_is_met() {
    let pair = Pair::new();
    let tree = tree(&pair);
    let file = tree.join("file");
    for name in ["there", "linked"] {
        fs::create_dir(pair.path(name)).expect("create");
    }
    std::os::unix::fs::symlink("linked", pair.path("link")).expect("link");
    fs::write(pair.path("old"), b"older content").expect("write");
    for (source, to, found) in [
        (&tree, "fresh", "fresh/tree/file"),
        (&tree, "deep/er", "deep/er/tree/file"),
        (&tree, "there", "there/tree/file"),
        (&tree, "link", "linked/tree/file"),
        (&file, "new", "new"),
        (&file, "old", "old"),
        (&file, "linked", "linked/file"),
        (&file, "made/", "made/file"),
    ] {
        push(&pair, &[], source, &pair.path(to)).expect_code(0);
        assert_eq!(fs::read(pair.path(found)).expect(found), b"content", "{to}");
    }
    assert_eq!(
        names(pair.place.path()),
        ["deep", "fresh", "link", "linked", "made", "new", "old", "there", "tree"]
    );
}

#[test]
fn a_refusal_makes_nothing() {
    let pair = Pair::new();
    let tree = tree(&pair);
    fs::write(pair.path("in the way"), b"kept").expect("write");
    let ended = push(&pair, &[], &tree, &pair.path("in the way"));
    ended.expect_code(2);
    assert_eq!(fs::read(pair.path("in the way")).expect("read"), b"kept");
    push(&pair, &["--dry-run"], &tree, &pair.path("planned")).expect_code(0);
    assert_eq!(names(pair.place.path()), ["in the way", "tree"]);
    assert_eq!(names(&tree), ["file"]);
}
