//! Builders of trees; what a seed decides is the same on every machine
//!
//! Each builder fills a directory that it makes. [`everything`] puts all of them in one tree, which
//! needs root: for entries with mode 0000 and for owners.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags};

use crate::awkward;
use crate::random::Random;

const MIB: usize = 1 << 20;

/// What of [`everything`] is optional
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Apparent bytes of the sparse file
    pub sparse_length: u64,
    /// Setuid, setgid and foreign owners, which travel only with `--owner`
    pub owners: bool,
}

/// One tree with every awkward thing but size
pub fn everything(root: &Path, extent: Extent) {
    make(root);
    names(&root.join("names"));
    links(&root.join("links"));
    empty(&root.join("empty"));
    modes(&root.join("modes"), if extent.owners { 0o7777 } else { 0o1777 });
    special(&root.join("special"));
    make(&root.join("sparse"));
    sparse_file(&root.join("sparse/holes"), extent.sparse_length, 5);
    if extent.owners {
        owners(&root.join("owners"));
    }
    times(&root.join("times"));
}

/// A file and a directory for each of [`awkward::names`], a deep path, and the naughty strings
pub fn names(root: &Path) {
    make(root);
    for (place, text) in [
        ("files", awkward::names()),
        ("naughty", awkward::naughty_names()),
        ("directories", awkward::names()),
    ] {
        let parent = root.join(place);
        make(&parent);
        for name in text {
            let path = parent.join(OsStr::from_bytes(&name));
            if place == "directories" {
                make(&path);
                write(&path.join("inside"), b"inside\n");
            } else {
                write(&path, &name);
            }
        }
    }
    let mut deep = root.to_path_buf();
    for level in 0..24 {
        deep.push(format!("{level:0>100}"));
        make(&deep);
    }
    write(&deep.join("bottom"), b"bottom\n");
}

/// Symbolic links of each sort, and hard links within and across directories
pub fn links(root: &Path) {
    for place in ["", "near", "far"] {
        make(&root.join(place));
    }
    write(&root.join("near/file"), b"linked\n");
    for (name, target) in [
        ("to-file", &b"near/file"[..]),
        ("to-directory", b"near"),
        ("dangling", b"nowhere/at all"),
        ("absolute", b"/etc/passwd"),
        ("outside", b"../../../../etc"),
        ("itself", b"itself"),
        ("loop-a", b"loop-b"),
        ("loop-b", b"loop-a"),
        ("up", b".."),
        ("invalid-utf8", b"\xff\xfe/\xc3"),
        ("newline", b"two\nlines"),
        ("long", &[b'l'; 4000]),
    ] {
        symlink(OsStr::from_bytes(target), root.join(name)).expect("make a symbolic link");
    }
    for (first, others) in [
        ("near/one", &["near/two", "far/three"][..]),
        ("far/empty-one", &["near/empty-two"]),
        ("near/-rf", &["far/ blank "]),
    ] {
        let content = if first.contains("empty") { "" } else { first };
        write(&root.join(first), content.as_bytes());
        for other in others {
            fs::hard_link(root.join(first), root.join(other)).expect("make a hard link");
        }
    }
}

/// Empty files and directories, one in another
pub fn empty(root: &Path) {
    make(root);
    make(&root.join("directory"));
    make(&root.join("nested"));
    make(&root.join("nested/directory"));
    write(&root.join("file"), b"");
    write(&root.join("nested/file"), b"");
}

/// A file and a directory for every mode from 0 to `last`
pub fn modes(root: &Path, last: u32) {
    make(root);
    for mode in 0..=last {
        let file = root.join(format!("f{mode:04o}"));
        write(&file, format!("{mode:o}").as_bytes());
        let directory = root.join(format!("d{mode:04o}"));
        make(&directory);
        for path in [file, directory] {
            set_mode(&path, mode);
        }
    }
}

/// A FIFO and a socket, which nobody may open
pub fn special(root: &Path) {
    make(root);
    let mode = Mode::from_raw_mode(0o640);
    for name in ["fifo", "fi\nfo"] {
        rustix::fs::mkfifoat(CWD, root.join(name), mode).expect("make a FIFO");
    }
    // A socket's address has 107 bytes at most, so it is bound near the root of the file system.
    let near = tempfile::Builder::new().prefix("s").tempdir_in("/tmp").expect("temp dir");
    drop(UnixListener::bind(near.path().join("s")).expect("bind a socket"));
    let placed = root.join("socket");
    if fs::rename(near.path().join("s"), &placed).is_err() {
        let mode = Mode::from_raw_mode(0o750);
        rustix::fs::mknodat(CWD, &placed, rustix::fs::FileType::Socket, mode, 0)
            .expect("make a socket");
    }
}

/// Files of foreign owners, some with setuid or setgid
pub fn owners(root: &Path) {
    make(root);
    for (name, user, group, mode) in [
        ("user", 12_345, 0, 0o644),
        ("group", 0, 54_321, 0o640),
        ("both", 12_345, 54_321, 0o600),
        ("setuid", 12_345, 54_321, 0o4755),
        ("setgid", 0, 54_321, 0o2755),
        ("all", 0, 0, 0o7777),
    ] {
        let path = root.join(name);
        write(&path, name.as_bytes());
        chown(&path, Some(user), Some(group)).expect("changing an owner needs root");
        set_mode(&path, mode);
    }
    symlink("user", root.join("link")).expect("make a symbolic link");
    std::os::unix::fs::lchown(root.join("link"), Some(12_345), Some(54_321)).expect("lchown");
}

/// Files, directories and symbolic links whose times run from 1901 to 2106
pub fn times(root: &Path) {
    make(root);
    for (name, seconds, nanoseconds) in [
        ("1901", -2_147_483_648, 0),
        ("1901-ns", -2_147_483_647, 1),
        ("before-1970", -1, 999_999_999),
        ("1970", 0, 0),
        ("1970-ns", 0, 1),
        ("2001", 1_000_000_000, 123_456_789),
        ("2038", 2_147_483_647, 999_999_999),
        ("after-2038", 2_147_483_648, 0),
        ("2106", 4_294_967_295, 999_999_999),
    ] {
        let file = root.join(format!("file-{name}"));
        write(&file, name.as_bytes());
        let directory = root.join(format!("directory-{name}"));
        make(&directory);
        let link = root.join(format!("link-{name}"));
        symlink("anything", &link).expect("make a symbolic link");
        for path in [file, directory, link] {
            set_modified(&path, seconds, nanoseconds);
        }
    }
}

/// Extended attributes of the user, which travel only with `--xattrs`
pub fn xattrs(root: &Path) {
    make(root);
    write(&root.join("file"), b"attributes\n");
    make(&root.join("directory"));
    for (path, value) in [("file", &b"\x00\xff binary"[..]), ("directory", b""), ("", b"root")] {
        let path = root.join(path);
        rustix::fs::setxattr(&path, "user.xfer.test", value, XattrFlags::empty())
            .expect("set an extended attribute; is the file system ext4, xfs or a new tmpfs?");
    }
}

/// Three runs of 1 MiB in a file of `length` bytes that is a hole elsewhere
///
/// The runs are placed off any large grid; the file begins and ends with a hole.
pub fn sparse_file(path: &Path, length: u64, seed: u64) {
    assert!(length >= 16 << 20, "three runs need room");
    let file = File::create_new(path).expect("create a sparse file");
    file.set_len(length).expect("set a sparse length");
    let mut random = Random::new(seed);
    for quarter in 1..4 {
        let offset = length / 4 * quarter / 4096 * 4096 + 4096;
        file.write_all_at(&random.bytes(MIB), offset).expect("write between holes");
    }
}

/// `count` files of 0 to 15,600 bytes in directories of a hundred: 20,000 of them hold 156 MB
pub fn small_files(root: &Path, count: usize, seed: u64) {
    make(root);
    let mut random = Random::new(seed);
    for index in 0..count {
        let directory = root.join(format!("d{:04}", index / 100));
        if index % 100 == 0 {
            make(&directory);
        }
        let length = usize::try_from(random.below(15_601)).expect("small");
        write(&directory.join(format!("f{index:06}")), &random.bytes(length));
    }
}

/// A file of `length` bytes that nothing can compress
pub fn big_file(path: &Path, length: u64, seed: u64) {
    let mut random = Random::new(seed);
    let file = File::create(path).expect("create a file");
    let mut file = BufWriter::with_capacity(MIB, file);
    let mut left = length;
    let mut buffer = vec![0; MIB];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(MIB).min(MIB);
        random.fill(&mut buffer[..now]);
        file.write_all(&buffer[..now]).expect("write a file");
        left -= now as u64;
    }
    file.flush().expect("write a file");
}

/// Changes the byte at `offset` of a file and nothing of its metadata
pub fn flip_byte(path: &Path, offset: u64) {
    let before = fs::metadata(path).expect("stat");
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read the byte");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("write the byte");
    file.set_modified(before.modified().expect("mtime")).expect("restore mtime");
}

/// Sets the modification time of a path itself, a symbolic link included
pub fn set_modified(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set a time");
}

/// Sets the mode of a file or directory
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set a mode");
}

/// Writes a file whose directory exists
pub fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap_or_else(|error| panic!("write {path:?}: {error}"));
}

fn make(path: &Path) {
    let made: PathBuf = path.components().collect();
    fs::create_dir_all(&made).unwrap_or_else(|error| panic!("make {path:?}: {error}"));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn everything_is_there_and_sparse() {
        let directory = tempfile::tempdir().expect("temp dir");
        let root = directory.path().join("tree");
        everything(&root, Extent { sparse_length: 1 << 30, owners: true });
        let holes = fs::metadata(root.join("sparse/holes")).expect("stat");
        assert_eq!(holes.len(), 1 << 30);
        assert!(holes.blocks() * 512 < 4 << 20, "{} blocks", holes.blocks());
        let late = fs::metadata(root.join("times/file-2106")).expect("stat");
        assert_eq!((late.mtime(), late.mtime_nsec()), (4_294_967_295, 999_999_999));
        assert_eq!(fs::metadata(root.join("owners/all")).expect("stat").mode() & 0o7777, 0o7777);
        assert_eq!(fs::metadata(root.join("links/near/one")).expect("stat").nlink(), 3);
        assert_eq!(fs::read_dir(root.join("modes")).expect("list").count(), 2 * 0o10000);
        set_mode(&root, 0o755);
    }

    #[test]
    fn small_files_have_the_measured_size() {
        let directory = tempfile::tempdir().expect("temp dir");
        small_files(&directory.path().join("t"), 1000, 3);
        let list = fs::read_dir(directory.path().join("t/d0003")).expect("list");
        let bytes: u64 = list.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!((500_000..1_100_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_flipped_byte_keeps_the_time() {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path().join("f");
        big_file(&path, 100_001, 1);
        set_modified(&path, 5, 6);
        let before = fs::read(&path).expect("read");
        flip_byte(&path, 100_000);
        let after = fs::metadata(&path).expect("stat");
        assert_eq!((after.mtime(), after.mtime_nsec(), after.len()), (5, 6, 100_001));
        assert_ne!(fs::read(&path).expect("read"), before);
    }
}
