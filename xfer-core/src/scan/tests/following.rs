//! Links that are followed on request, and those that are not.

use std::os::unix::fs::symlink;

use xfer_protocol::manifest::EntryKind;

use super::*;

fn follow() -> ScanOptions {
    ScanOptions { follow_links: true, ..Default::default() }
}

#[test]
fn links_within_the_root_are_what_they_lead_to() {
    let tree = tempfile::tempdir().unwrap();
    let link = |content: &str, name: &str| symlink(content, tree.path().join(name)).unwrap();
    put(tree.path(), "data/deep/file", b"four");
    std::fs::create_dir(tree.path().join("links")).unwrap();
    link("../data/deep/file", "links/file");
    link("../data/deep", "links/directory");
    link("file", "links/twice");
    link("./../links/.//twice", "links/thrice");
    let items = scan(tree.path(), follow());
    assert_eq!(problems(&items), []);
    assert_eq!(
        names(&items)[4..],
        [
            "links",
            "links/directory",
            "links/directory/file",
            "links/file",
            "links/thrice",
            "links/twice"
        ]
    );
    let found = entries(&items);
    for entry in &found[6..] {
        assert!(matches!(entry.kind, EntryKind::File { size: 4, .. }), "{}", entry.path);
        assert_eq!(entry.inode, found[3].inode);
    }
}

#[test]
fn a_link_below_a_followed_one_starts_where_it_really_is() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "a/b/target", b"near");
    put(tree.path(), "c/target", b"far away");
    std::fs::create_dir_all(tree.path().join("a/b/d")).unwrap();
    symlink("../target", tree.path().join("a/b/d/up")).unwrap();
    symlink("../a/b/d", tree.path().join("c/d")).unwrap();
    let items = scan_under(tree.path(), "c", follow());
    assert_eq!(names(&items), ["c", "c/d", "c/d/up", "c/target"]);
    assert_eq!(entries(&items)[2].kind.size(), 4);
}

#[test]
fn links_that_leave_loop_or_dangle_are_problems() {
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "secret", b"");
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "a/file", b"");
    let link = |content: &str, name: &str| symlink(content, tree.path().join(name)).unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    link(&format!("../../{name}/secret"), "a/beside");
    link(outside.path().to_str().unwrap(), "a/absolute");
    link("..", "a/ancestor");
    link("../..", "a/above");
    link("none", "a/dangling");
    link("file/..", "a/through");
    link("itself", "a/itself");
    link("ping", "a/pong");
    link("pong", "a/ping");
    let items = scan(tree.path(), follow());
    assert_eq!(names(&items), [".", "a", "a/file"]);
    let expected = [
        ("a/above", FaultKind::Unsafe),
        ("a/absolute", FaultKind::Unsafe),
        ("a/ancestor", FaultKind::Unsafe),
        ("a/beside", FaultKind::Unsafe),
        ("a/dangling", FaultKind::Unsupported),
        ("a/itself", FaultKind::Unsafe),
        ("a/ping", FaultKind::Unsafe),
        ("a/pong", FaultKind::Unsafe),
        ("a/through", FaultKind::Conflict),
    ];
    assert_eq!(problems(&items), expected.map(|(p, k)| (p.to_owned(), k)));
    // As links they are plain entries.
    assert_eq!(entries(&scan(tree.path(), ScanOptions::default())).len(), 12);
}
