//! Trees that change while they are walked. The number of changes is fixed, not their time.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags};

use super::*;

/// Runs `walks` for as long as something changes the tree.
fn while_changing(change: impl FnOnce() + Send, mut walks: impl FnMut()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            change();
            over.store(true, Ordering::Release);
        });
        loop {
            let last = over.load(Ordering::Acquire);
            walks();
            if last {
                break;
            }
        }
    });
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    for i in 0..20 {
        put(outside.path(), &format!("secret {i}"), b"");
    }
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "a/inner/file", b"");
    symlink(outside.path(), tree.path().join("b")).unwrap();
    let (a, b) = (tree.path().join("a"), tree.path().join("b"));
    let swap = || {
        for _ in 0..4000 {
            rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
        }
    };
    for under in ["", "a"] {
        while_changing(swap, || {
            let walk = Walk::new(open(tree.path()), &path(under), ScanOptions::default());
            let Ok(mut walk) = walk else { return };
            let items: Vec<_> = std::iter::from_fn(|| walk.next_batch()).flatten().collect();
            for item in &items {
                assert!(!item_path(item).to_string().contains("secret"), "{item:?}");
            }
        });
    }
}

#[test]
fn stable_entries_of_a_changing_directory_are_found_once() {
    let tree = tempfile::tempdir().unwrap();
    for i in 0..3000 {
        put(tree.path(), &format!("stable {i}"), b"");
    }
    let change = || {
        for i in 0..3_000 {
            let name = tree.path().join(format!("flicker {}", i % 50));
            std::fs::write(&name, b"").unwrap();
            std::fs::remove_file(&name).unwrap();
        }
    };
    while_changing(change, || {
        let items = scan(tree.path(), ScanOptions::default());
        let mut found = names(&items);
        let all = found.len();
        found.dedup();
        assert_eq!(found.len(), all);
        assert_eq!(found.iter().filter(|name| name.starts_with("stable")).count(), 3000);
        for (path, kind) in problems(&items) {
            assert!(path.starts_with("flicker") && kind == FaultKind::NotFound, "{path} {kind}");
        }
    });
}

#[test]
fn a_directory_that_moved_away_far_above_is_a_problem() {
    let tree = tempfile::tempdir().unwrap();
    let mut deep = tree.path().join("top");
    for _ in 0..600 {
        deep.push("d");
    }
    std::fs::create_dir_all(&deep).unwrap();
    put(tree.path(), "top/z", b"");
    put(tree.path(), "z", b"");
    let mut walk = Walk::new(open(tree.path()), &RelPath::root(), ScanOptions::default()).unwrap();
    let mut items = Vec::new();
    while items.len() < 300 {
        items.extend(walk.next_batch().unwrap());
    }
    std::fs::rename(tree.path().join("top"), tree.path().join("moved")).unwrap();
    items.extend(std::iter::from_fn(|| walk.next_batch()).flatten());
    // The root stays reachable, what was closed below it does not.
    assert_eq!(names(&items).last().unwrap(), "z");
    assert!(!problems(&items).is_empty());
    assert!(!names(&items).contains(&"top/z".to_owned()));
}
