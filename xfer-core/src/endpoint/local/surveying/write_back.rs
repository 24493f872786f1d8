//! Writing back what lies in memory, so that every later store leaves a stamp.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::container::own_mounts;
use super::mount_table::{Mount, MountTable};
use crate::disk::{Errno, confine, proc_files, sync};

/// Kinds that set the times of a file as its first page gets dirty, and see to it that a page which
/// was written back gets dirty anew. Of others that is not known, or known not to be so: those in
/// memory never write back.
const STAMPING: &[&str] = &["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs"];

/// Kinds that nobody can write.
const FIXED: &[&str] = &["cramfs", "erofs", "iso9660", "squashfs"];

/// Writes back the file system of an open root, and all that are mounted below it.
///
/// # Errors
/// `OPNOTSUPP` where one of them keeps no stamps of stores through mappings, or where that cannot
/// be told.
pub(super) fn write_back(place: BorrowedFd<'_>, path: &[u8]) -> Result<(), Errno> {
    let proc = proc_files::open().map_err(|_| Errno::OPNOTSUPP)?;
    let table = own_mounts(proc.as_fd()).ok_or(Errno::OPNOTSUPP)?;
    check(table.holding(path).ok_or(Errno::OPNOTSUPP)?)?;
    let below = mounted_below(&table, path);
    below.iter().try_for_each(|mount| check(mount))?;
    sync::sync_whole(confine::open_for_reading(place)?)?;
    let mut written = BTreeSet::new();
    for mount in below.into_iter().filter(|mount| written.insert(mount.device)) {
        sync::sync_whole(open(&mount.point)?)?;
    }
    Ok(())
}

/// Mounts below a root that hold what somebody stored.
fn mounted_below<'a>(table: &'a MountTable, path: &[u8]) -> Vec<&'a Mount> {
    let below = |mount: &&Mount| mount.is_at_or_below(path) && mount.point != path;
    table.visible().filter(below).filter(|mount| !mount.is_kernel_made()).collect()
}

fn check(mount: &Mount) -> Result<(), Errno> {
    let is_of = |kinds: &[&str]| kinds.iter().any(|kind| kind.as_bytes() == mount.kind);
    // A volatile overlay passes no sync on.
    let stamps = is_of(STAMPING) && !mount.has_option(b"volatile") || is_of(FIXED);
    if stamps { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

fn open(point: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::open(point, OFlags::RDONLY | confine::LEAF, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_that_stamp_are_written_back() {
        let table = |kind: &str, options: &str| {
            let text = format!("1 0 8:1 / / rw - {kind} x rw,{options}\n");
            MountTable::of(text.as_bytes()).unwrap()
        };
        for (kind, options, stamps) in [
            ("ext4", "discard", true),
            ("xfs", "", true),
            ("overlay", "upperdir=/u", true),
            ("overlay", "upperdir=/u,volatile", false),
            ("squashfs", "", true),
            ("tmpfs", "", false),
            ("ramfs", "", false),
            ("hugetlbfs", "", false),
            ("nfs4", "", false),
            ("fuse.rclone", "", false),
            ("unheard-of", "", false),
        ] {
            let table = table(kind, options);
            assert_eq!(check(table.holding(b"/").unwrap()).is_ok(), stamps, "{kind} {options}");
        }
    }
}
