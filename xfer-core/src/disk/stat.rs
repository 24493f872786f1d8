//! What the file system says of an inode, in the protocol's words.

use std::time::Duration;

use rustix::fs::{FileType, RawMode, Stat};
use xfer_protocol::manifest::{Device, Inode, Owner, Stamp, Timestamp};

/// The kind of inode.
#[must_use]
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(raw_mode(stat))
}

/// Permission bits with setuid, setgid and sticky.
#[must_use]
#[expect(clippy::useless_conversion, reason = "the type differs between systems")]
pub fn permissions(stat: &Stat) -> u32 {
    u32::from(raw_mode(stat)) & 0o7777
}

/// Length in bytes.
#[must_use]
pub fn size(stat: &Stat) -> u64 {
    number(stat.st_size)
}

/// Bytes that the file system allocated.
#[must_use]
pub fn allocated(stat: &Stat) -> u64 {
    number(stat.st_blocks).saturating_mul(512)
}

/// Modification time.
#[must_use]
pub fn modified(stat: &Stat) -> Timestamp {
    Timestamp { seconds: stat.st_mtime, nanoseconds: nanoseconds(stat.st_mtime_nsec) }
}

/// The inode, as a scan tells it.
#[must_use]
pub fn inode(stat: &Stat) -> Inode {
    Inode {
        device: number(stat.st_dev),
        number: number(stat.st_ino),
        changed: changed(stat),
        links: u32::try_from(number(stat.st_nlink)).unwrap_or(u32::MAX),
    }
}

/// Device and inode number, which name a file as long as it exists.
#[must_use]
pub fn identity(stat: &Stat) -> (u64, u64) {
    (number(stat.st_dev), number(stat.st_ino))
}

/// The stamp; only regular files have a size in it, as [`xfer_protocol::manifest::Entry::stamp`].
#[must_use]
pub fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        size: if file_type(stat) == FileType::RegularFile { size(stat) } else { 0 },
        modified: modified(stat),
        changed: changed(stat),
        inode: number(stat.st_ino),
    }
}

/// User and group.
#[must_use]
pub fn owner(stat: &Stat) -> Owner {
    Owner { user: stat.st_uid, group: stat.st_gid }
}

/// The device that a device node stands for.
#[must_use]
pub fn device(stat: &Stat) -> Option<Device> {
    let block = match file_type(stat) {
        FileType::BlockDevice => true,
        FileType::CharacterDevice => false,
        _ => return None,
    };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Some(Device { block, major, minor })
}

fn changed(stat: &Stat) -> Timestamp {
    Timestamp { seconds: stat.st_ctime, nanoseconds: nanoseconds(stat.st_ctime_nsec) }
}

#[expect(clippy::useless_conversion, reason = "the type differs between systems")]
fn raw_mode(stat: &Stat) -> RawMode {
    stat.st_mode.into()
}

/// A field whose type differs between systems; none of them is ever negative.
fn number<T: TryInto<u64>>(field: T) -> u64 {
    field.try_into().unwrap_or_default()
}

fn nanoseconds<T: TryInto<u32>>(field: T) -> u32 {
    field.try_into().unwrap_or_default()
}
/// The longest tick of the clock that change times are taken from; since Linux 6.13 it is finer
/// where somebody looks.
const TICK_MAX: i128 = 10_000_000;

/// Waits until a change now would give a file another change time than it has. What is read from
/// here on belongs to its stamp: a later change is seen by it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn outlast_tick(changed: Timestamp) {
    let nanoseconds =
        |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let then = nanoseconds(changed.seconds, i64::from(changed.nanoseconds));
    loop {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let ahead = then - nanoseconds(now.tv_sec, now.tv_nsec);
        // A time of another machine's clock tells nothing.
        if !(0..=TICK_MAX).contains(&ahead) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a change now would give a file another change time than it has.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn outlast_tick(_changed: Timestamp) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[expect(clippy::unwrap_used, reason = "a test that cannot set its stage may panic")]
    fn changed(file: &std::fs::File) -> Timestamp {
        stamp(&rustix::fs::fstat(file).unwrap()).changed
    }

    #[test]
    fn a_change_after_the_tick_has_another_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("file")).unwrap();
        for _ in 0..20 {
            rustix::fs::fchmod(&file, rustix::fs::Mode::RWXU).unwrap();
            let before = changed(&file);
            outlast_tick(before);
            rustix::fs::fchmod(&file, rustix::fs::Mode::RWXU).unwrap();
            assert_ne!(changed(&file), before);
        }
    }

    #[test]
    fn a_time_to_come_is_not_waited_for() {
        outlast_tick(Timestamp { seconds: i64::MAX, nanoseconds: 0 });
    }
}
