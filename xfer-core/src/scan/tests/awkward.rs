//! Names, kinds and depths that break naive walks.

use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use xfer_protocol::limits;
use xfer_protocol::manifest::{EntryKind, Owner};

use super::*;

#[test]
fn names_are_bytes() {
    let tree = tempfile::tempdir().unwrap();
    let long = [b'x'; 255];
    for name in [
        b"-rf".as_slice(),
        b" ",
        b"trailing ",
        b"\n",
        b"\x1b[2J",
        b"\x9b",
        b"\x7f",
        b"\xff\xfe",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"~",
        b"a\\b",
        b"...",
        b"*",
        b"\xc0\xaf",
        &long,
    ] {
        std::fs::File::create_new(tree.path().join(OsStr::from_bytes(name))).unwrap();
    }
    assert_as_naive(tree.path());
}

#[test]
fn every_kind_is_told_and_none_is_opened() {
    let tree = tempfile::tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("../dangling", at("link")).unwrap();
    symlink("/", at("slash")).unwrap();
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    let items = scan(tree.path(), ScanOptions::default());
    let kinds: Vec<_> = entries(&items).into_iter().map(|e| e.kind.clone()).collect();
    let link = |content: &[u8]| EntryKind::Symlink { content: content.to_vec() };
    assert_eq!(
        kinds,
        [
            EntryKind::Directory,
            EntryKind::Directory,
            EntryKind::Fifo,
            link(b"../dangling"),
            link(b"/"),
            EntryKind::Socket,
            EntryKind::File { size: 1 << 40, allocated: 0 },
        ]
    );
}

#[test]
fn devices_carry_their_numbers() {
    let walk = Walk::new(open(Path::new("/dev")), &path("null"), ScanOptions::default());
    let items = walk.unwrap().next_batch().unwrap();
    let device = xfer_protocol::manifest::Device { block: false, major: 1, minor: 3 };
    assert_eq!(entries(&items)[0].kind, EntryKind::Device(device));
}

#[test]
fn partials_are_no_entries_and_their_name_is_reserved() {
    let tree = tempfile::tempdir().unwrap();
    let partial = crate::disk::partial_name(b"file");
    let partial = std::str::from_utf8(&partial).unwrap().to_owned();
    put(tree.path(), &partial, &[1; 5000]);
    put(tree.path(), &format!("{partial}x"), b"");
    std::fs::create_dir_all(tree.path().join("d").join(&partial)).unwrap();
    std::fs::create_dir(tree.path().join("e")).unwrap();
    let link = format!("e/{partial}");
    symlink("nowhere", tree.path().join(&link)).unwrap();
    let items = scan(tree.path(), ScanOptions::default());
    assert_eq!(names(&items), [".", &format!("{partial}x"), "d", "e"].map(str::to_owned));
    assert_eq!(problems(&items), [(format!("d/{partial}"), FaultKind::Unsafe)]);
    let partials = items.iter().filter_map(|item| match item {
        ScanItem::Partial { path, allocated } => Some((path.to_string(), *allocated)),
        _ => None,
    });
    let partials: Vec<_> = partials.collect();
    assert!(partials[0].0 == partial && partials[0].1 >= 4096, "{partials:?}");
    assert_eq!(partials[1..], [(link, 0)]);
}

/// Descriptors of this process that lead below a directory; other tests hold some of their own.
fn descriptors_below(directory: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let leads_there = |open: &std::fs::DirEntry| {
        // A path that is too long to be told is one of ours.
        std::fs::read_link(open.path()).is_ok_and(|path| path.starts_with(directory))
            || std::fs::read_link(open.path())
                .is_err_and(|error| error.kind() == std::io::ErrorKind::InvalidFilename)
    };
    open.flatten().filter(leads_there).count()
}

#[test]
fn a_tree_of_the_greatest_depth_is_walked_with_few_descriptors() {
    let tree = tempfile::tempdir().unwrap();
    let mut here = open(tree.path());
    let depth = limits::PATH_DEPTH_MAX + 1;
    for level in 0..depth {
        // A sibling after the way down makes the walk come back to every level.
        rustix::fs::mkdirat(&here, "down", Mode::RWXU).unwrap();
        if level % 7 == 0 {
            rustix::fs::mkdirat(&here, "z", Mode::RWXU).unwrap();
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        here = rustix::fs::openat(&here, "down", flags, Mode::empty()).unwrap();
    }
    let mut walk = Walk::new(open(tree.path()), &RelPath::root(), ScanOptions::default()).unwrap();
    let (mut items, mut descriptors) = (Vec::new(), 0);
    while let Some(batch) = walk.next_batch() {
        items.extend(batch);
        descriptors = descriptors.max(descriptors_below(tree.path()));
    }
    assert!(items.iter().map(item_path).is_sorted());
    // The deepest directory has no path: it would be deeper than any may be.
    assert_eq!(problems(&items).len(), 1);
    assert_eq!(problems(&items)[0].1, FaultKind::NameTooLong);
    let siblings = entries(&items).iter().filter(|e| e.path.name() == Some(b"z")).count();
    assert_eq!(siblings, depth.div_ceil(7));
    assert!(descriptors < 700, "{descriptors} descriptors");
}

#[test]
fn owner_and_attributes_are_told_when_asked_for() {
    let tree = tempfile::tempdir().unwrap();
    let file = put(tree.path(), "file", b"");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&file, "user.b", b"2\0\xff", flags).unwrap();
    rustix::fs::setxattr(&file, "user.a", b"", flags).unwrap();
    let options = ScanOptions { owner: true, xattrs: true, ..Default::default() };
    let items = scan(tree.path(), options);
    let metadata = &entries(&items)[1].metadata;
    let found = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.owner, Some(Owner { user: found.uid(), group: found.gid() }));
    let attributes: Vec<_> =
        metadata.xattrs.iter().map(|x| (x.name.as_slice(), x.value.as_slice())).collect();
    assert_eq!(attributes, [(b"user.a".as_slice(), b"".as_slice()), (b"user.b", b"2\0\xff")]);
    let plain = scan(tree.path(), ScanOptions::default());
    assert_eq!(entries(&plain)[1].metadata.owner, None);
    assert!(entries(&plain)[1].metadata.xattrs.is_empty());
}

#[test]
fn only_wanted_entries_are_listed() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["a/1/x", "a/1/y", "a/2", "a-b", "b/c/d", "b/c/e", "file"] {
        put(tree.path(), name, b"");
    }
    let only = |paths: &[&str]| ScanOptions {
        only: Some(paths.iter().map(|p| path(*p)).collect()),
        ..Default::default()
    };
    let wanted = ["b/c/d", "a/1", "a/1/x", "none", "a/none/x", "file/x", "a/1/none", "b/c/d"];
    let items = scan(tree.path(), only(&wanted));
    // What lies below a wanted entry is not looked for by name.
    assert_eq!(names(&items), [".", "a", "a/1", "a/1/x", "a/1/y", "b", "b/c", "b/c/d", "file"]);
    let missing = ["a/none/x", "file/x", "none"].map(|p| (p.to_owned(), FaultKind::NotFound));
    assert_eq!(problems(&items), missing);
    let items = scan_under(tree.path(), "a", only(&wanted));
    assert_eq!(names(&items), ["a", "a/1", "a/1/x", "a/1/y"]);
    let items = scan_under(tree.path(), "a/1", only(&wanted));
    assert_eq!(names(&items), ["a/1", "a/1/x", "a/1/y"]);
    assert_eq!(names(&scan(tree.path(), only(&[""]))).len(), 12);
}

/// Permissions mean nothing to root, so the walk runs as somebody else there.
#[test]
fn what_may_not_be_read_is_a_problem_and_the_walk_goes_on() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "closed/file", b"");
    put(tree.path(), "names only/file", b"");
    put(tree.path(), "passage/file", b"");
    put(tree.path(), "z", b"");
    let set = |name: &str, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(tree.path().join(name), mode).unwrap();
    };
    set("", 0o755);
    set("closed", 0);
    set("names only", 0o444);
    set("passage", 0o111);
    let as_nobody = |options: ScanOptions| {
        let root = open(tree.path());
        std::thread::spawn(move || {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            let mut walk = Walk::new(root, &RelPath::root(), options).unwrap();
            std::iter::from_fn(move || walk.next_batch()).flatten().collect::<Vec<_>>()
        })
        .join()
        .unwrap()
    };
    let items = as_nobody(ScanOptions::default());
    assert_eq!(names(&items), [".", "closed", "names only", "passage", "z"]);
    let denied = ["closed", "names only/file", "passage"];
    assert_eq!(problems(&items), denied.map(|p| (p.to_owned(), FaultKind::Permission)));
    // A directory that may only be passed is no obstacle to what is wanted by name.
    let only = Some(vec![path("passage/file")]);
    let items = as_nobody(ScanOptions { only, ..Default::default() });
    assert_eq!(names(&items), [".", "passage", "passage/file"]);
    set("closed", 0o755);
    set("names only", 0o755);
    set("passage", 0o755);
}
