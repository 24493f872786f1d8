//! What only a file system of its own can show: its limits, its flags, its borders
//!
//! A place is mounted for each test and goes with it; that needs root, as all of them do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use xfer_tests::oracle;

use crate::place::{Place, judge_words, shell};

/// Names that a file of ext4 may have
const LINKS_MAX: u64 = 65_000;

/// A place in which `disk` is a file system of its own
struct Disk(Place);

impl Disk {
    /// An ext4, with the flags that it knows and its limit of links
    fn ext4() -> Self {
        let place = Place::new();
        let make = "truncate -s 256M image; mkfs.ext4 -q -F image; mkdir disk; \
                    mount -o loop image disk; rmdir disk/lost+found";
        shell(place.xfer.home(), make);
        Self(place)
    }

    /// One in memory, which bears any number of links and attributes of any size
    fn memory() -> Self {
        let place = Place::new();
        shell(place.xfer.home(), "mkdir disk; mount -t tmpfs -o size=64m tmpfs disk");
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn shell(&self, script: &str) {
        shell(self.0.xfer.home(), script);
    }

    fn push(&self, words: &[&str]) -> xfer_tests::xfer::Ended {
        let mut all = vec!["push"];
        all.extend(words);
        self.0.xfer.run(self.0.words(&all))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let disk = self.path("disk");
        drop(Command::new("chattr").args(["-R", "-i", "-a"]).arg(&disk).output());
        drop(Command::new("umount").arg("-l").arg(disk).status());
    }
}

/// Makes `count` names of one file
fn link(directory: &std::path::Path, count: u64) {
    fs::create_dir(directory).unwrap();
    fs::write(directory.join("0"), "linked").unwrap();
    for name in 1..count {
        fs::hard_link(directory.join("0"), directory.join(name.to_string())).unwrap();
    }
}

#[test]
fn as_many_links_as_a_file_may_have() {
    let disk = Disk::ext4();
    link(&disk.path("disk/t"), LINKS_MAX);
    let ended = disk.push(&["@disk/t", "@disk/copy"]);
    assert_eq!(ended.code(), 0, "B-N7: {}", ended.stderr);
    let first = fs::metadata(disk.path("disk/copy/t/0")).unwrap();
    assert_eq!((first.nlink(), first.size()), (LINKS_MAX, 6), "B-N7");
}

/// Names beyond what the destination bears become files of their own, and are told
#[test]
fn more_links_than_the_destination_bears() {
    let disk = Disk::ext4();
    let memory = Disk::memory();
    link(&memory.path("disk/t"), LINKS_MAX + 3);
    let source = memory.path("disk/t").display().to_string();
    let ended = disk.push(&[&source, "@disk/copy"]);
    assert_eq!(ended.code(), 0, "B-N7: {}", ended.stderr);
    assert!(ended.stderr.contains("3 further names of files could not be hard links"), "B-N7");
    let names = || fs::read_dir(disk.path("disk/copy/t")).unwrap();
    assert_eq!(names().count() as u64, LINKS_MAX + 3, "B-N7");
    let alone = names().filter(|name| name.as_ref().unwrap().metadata().unwrap().nlink() == 1);
    assert_eq!(alone.count(), 3, "B-N7");
}

/// A mount point within the source is part of it, and a loop of mounts ends where the mount does
#[test]
fn mounts_within_the_source() {
    let disk = Disk::memory();
    disk.shell("mkdir -p disk/t/a/b disk/t/inner; echo 1 > disk/t/a/f");
    disk.shell("mount -t tmpfs tmpfs disk/t/inner; echo 2 > disk/t/inner/g");
    let ended = disk.push(&["@disk/t", "@copy"]);
    assert_eq!(ended.code(), 0, "B-N7: {}", ended.stderr);
    oracle::assert_equal(&disk.path("disk/t"), &disk.path("copy/t"));
    disk.shell("umount disk/t/inner; mount --bind disk/t disk/t/a/b");
    let ended = disk.push(&["@disk/t", "@copy/loop"]);
    assert_eq!(ended.code(), 0, "B-N7: {}", ended.stderr);
    assert!(disk.path("copy/loop/t/a/b/a/f").is_file(), "B-N7");
    assert_eq!(fs::read_dir(disk.path("copy/loop/t/a/b/a/b")).unwrap().count(), 0, "B-N7");
    disk.shell("umount disk/t/a/b");
}

/// What lies under a mount point cannot be replaced; it is told, and nobody is said to be busy
#[test]
fn a_mount_point_in_the_way() {
    let disk = Disk::ext4();
    disk.shell("mkdir -p named/a disk/to/named/a; echo new > named/a/f; echo other > named/g");
    disk.shell(
        "echo old > disk/to/named/a/f; echo kept > kept; mount --bind kept disk/to/named/a/f",
    );
    let ended = disk.push(&["@named", "@disk/to"]);
    disk.shell("umount disk/to/named/a/f");
    judge_words("B-N7", &ended, 5, "some-entries-failed");
    assert!(ended.stderr.contains("a/f: cannot "), "B-N7: {}", ended.stderr);
    assert_eq!(fs::read(disk.path("disk/to/named/a/f")).unwrap(), b"old\n");
    assert_eq!(fs::read(disk.path("kept")).unwrap(), b"kept\n");
    assert_eq!(fs::read(disk.path("disk/to/named/g")).unwrap(), b"other\n");
}

/// Not even root changes what has these flags
#[test]
fn immutable_and_append_only() {
    for (row, flag, on, says) in [
        ("B-N8", "+i", "f", "a/f: cannot commit it"),
        ("B-N8", "+a", "f", "a/f: cannot commit it"),
        ("B-N8", "+i", ".", "a/f: cannot write it"),
        ("B-N8", "+a", ".", "a/f: cannot commit it"),
    ] {
        let disk = Disk::ext4();
        disk.shell("mkdir -p named/a disk/to/named/a; echo new > named/a/f; echo other > named/g");
        disk.shell(&format!("echo old > disk/to/named/a/f; chattr {flag} disk/to/named/a/{on}"));
        let ended = disk.push(&["@named", "@disk/to"]);
        judge_words(row, &ended, 5, "some-entries-failed");
        for word in [says, "Operation not permitted"] {
            assert!(
                ended.stderr.contains(word),
                "{row}: {flag} {on}: no {word} in {}",
                ended.stderr
            );
        }
        assert_eq!(fs::read(disk.path("disk/to/named/a/f")).unwrap(), b"old\n", "{row}: {flag}");
        assert_eq!(fs::read(disk.path("disk/to/named/g")).unwrap(), b"other\n", "{row}: {flag}");
        // What hindered it is put right, and the same command ends.
        disk.shell(&format!("chattr {} disk/to/named/a/{on}", flag.replace('+', "-")));
        let ended = disk.push(&["@named", "@disk/to"]);
        assert_eq!(ended.code(), 0, "{row}: {flag} {on}: {}", ended.stderr);
        assert_eq!(fs::read(disk.path("disk/to/named/a/f")).unwrap(), b"new\n", "{row}: {flag}");
        oracle::assert_nothing_of_xfer(&disk.path("disk/to"));
    }
}

/// The flags of a source are no hindrance, and are not carried over
#[test]
fn an_immutable_source() {
    let disk = Disk::ext4();
    disk.shell("mkdir disk/t; echo 1 > disk/t/f; echo 2 > disk/t/g");
    disk.shell("chattr +i disk/t/f; chattr +a disk/t/g");
    let ended = disk.push(&["@disk/t", "@copy"]);
    assert_eq!(ended.code(), 0, "B-N8: {}", ended.stderr);
    oracle::assert_equal(&disk.path("disk/t"), &disk.path("copy/t"));
    disk.shell("rm copy/t/f copy/t/g");
}

/// An attribute that is too large for us, or for the destination, is told
#[test]
fn large_attributes() {
    let memory = Disk::memory();
    for (row, bytes, code) in [("B-N8", 65_536, 15), ("B-N8", 20_000, 5)] {
        let disk = Disk::ext4();
        let source = memory.path(&format!("disk/{bytes}"));
        fs::create_dir(&source).unwrap();
        for name in ["beside", "f"] {
            fs::write(source.join(name), name).unwrap();
        }
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(source.join("f"), "user.x", &vec![b'x'; bytes], flags).unwrap();
        let ended = disk.push(&["--xattrs", source.to_str().unwrap(), "@disk/copy"]);
        assert_eq!(ended.code(), code, "{row}: {bytes}: {}", ended.stderr);
        assert!(ended.stderr.contains("f: cannot "), "{row}: {bytes}: {}", ended.stderr);
        let beside = disk.path(&format!("disk/copy/{bytes}/beside"));
        assert_eq!(fs::read(beside).unwrap(), b"beside", "{row}: {bytes}");
    }
}

/// A destination that may not be written at all
#[test]
fn a_file_system_that_is_read_only() {
    let disk = Disk::ext4();
    disk.shell("mkdir disk/to; echo old > disk/to/f; mount -o remount,ro disk");
    for (row, destination) in [("B-N8", "@disk/to"), ("B-N8", "@disk/new")] {
        let ended = disk.push(&["@s", destination]);
        assert_eq!(ended.code(), 8, "{row}: {}", ended.stderr);
        assert!(ended.stderr.contains("read-only"), "{row}: {}", ended.stderr);
    }
    assert_eq!(fs::read(disk.path("disk/to/f")).unwrap(), b"old\n");
}
