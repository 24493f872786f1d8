//! Access control lists, judged by rsync

use std::path::Path;
use std::process::Command;

use super::stand::{Side, Stand, Trees, rsync};

fn setfacl(arguments: &[&str], path: &Path) {
    let status = Command::new("setfacl").args(arguments).arg(path).status().expect("run setfacl");
    assert!(status.success(), "setfacl {arguments:?} {}", path.display());
}

/// Lists of files and of what is made in a directory, there one too many, one too few and another
fn trees(stand: &Stand) -> Trees {
    let trees = stand.trees(&["a=1", "b=2", "c=3", "d/e=4"], &["a=1", "b=2", "c=3", "d/e=4"]);
    setfacl(&["-m", "u:65534:r,g:12:rw,m:rw"], &trees.source.join("a"));
    setfacl(&["-m", "u:12:-"], &trees.source.join("c"));
    setfacl(&["-d", "-m", "u:65534:rwx"], &trees.source.join("d"));
    setfacl(&["-m", "u:13:rw"], &trees.there.join("b"));
    setfacl(&["-m", "u:12:r"], &trees.there.join("c"));
    trees
}

/// What rsync finds apart, lists and other attributes included
fn differences(trees: &Trees) -> Vec<String> {
    let flags = ["-nrlpHcAX", "--delete", "--itemize-changes"];
    rsync(&flags, &trees.source, &trees.there)
}

fn lists(root: &Path) -> String {
    let output = Command::new("getfacl").args(["-Rn", "."]).current_dir(root).output();
    let output = output.expect("run getfacl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn become_as_the_source(stand: &Stand) {
    let trees = trees(stand);
    stand.sync(&trees, &["--acls"]).expect_code(0);
    assert_eq!(differences(&trees), Vec::<String>::new());
    let again = stand.sync(&trees, &["--acls", "--json"]).expect_code(0).result();
    assert_eq!(again["entries"]["moved"], 0, "{again}");
}

#[test]
fn here_they_become_those_of_the_source() {
    become_as_the_source(&Stand::new(Side::Here));
}

#[test]
fn over_ssh_they_become_those_of_the_source() {
    become_as_the_source(&Stand::new(Side::Ssh));
}

#[test]
fn at_a_standing_peer_they_become_those_of_the_source() {
    become_as_the_source(&Stand::new(Side::Peer));
}

/// Those of which a list says something, whatever a mode lets them have of it
fn named(lists: &str) -> Vec<&str> {
    let is_named = |line: &&str| line.starts_with("user:") && !line.starts_with("user::");
    lists.lines().filter(is_named).filter_map(|line| line.split('\t').next()).collect()
}

/// Other attributes are left alone, and lists are where nobody asked for them, but for the mode
/// that bounds them
#[test]
fn each_goes_when_it_is_asked_for() {
    let stand = Stand::new(Side::Here);
    let trees = trees(&stand);
    let user = |path: &Path, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(path, "user.note", value, flags).expect("set an attribute");
    };
    user(&trees.source.join("a"), b"1");
    user(&trees.there.join("b"), b"2");
    let before = lists(&trees.there);
    stand.sync(&trees, &[]).expect_code(0);
    assert_eq!(named(&lists(&trees.there)), named(&before));
    stand.sync(&trees, &["--acls"]).expect_code(0);
    assert_eq!(lists(&trees.there), lists(&trees.source));
    let mut value = [0; 8];
    let kept = rustix::fs::getxattr(trees.there.join("b"), "user.note", &mut value[..]);
    assert_eq!(kept, Ok(1));
    assert!(rustix::fs::getxattr(trees.there.join("a"), "user.note", &mut value[..]).is_err());
    stand.sync(&trees, &["--xattrs"]).expect_code(0);
    assert_eq!(differences(&trees), Vec::<String>::new());
}
