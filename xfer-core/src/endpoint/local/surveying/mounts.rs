//! Other file systems: those within the roots that others may write, and those outside that hold
//! data.

use std::collections::BTreeSet;
use std::ffi::CString;

use tokio_util::sync::CancellationToken;
use xfer_protocol::limits::SURVEY_TREES_MAX;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::survey::Tree;

use super::excepted::Excepted;
use super::mount_table::{Mount, MountTable, Spot};
use super::protected::Protected;
use super::trees::{Entries, Trees};
use crate::disk::walk::{self, Seen, Step};
use crate::disk::{Errno, base};

/// Bytes of all paths of shared mounts.
const SHARED_BYTES_MAX: usize = 128 * 1024;

/// Whether this is a container, whose disks are parts of its host's.
pub(super) fn is_container(table: &MountTable) -> bool {
    let is_there = |path: &[u8]| matches!(base::look(path, false), Ok(Some(_)));
    table.holding(b"/").is_none_or(|root| root.kind == b"overlay")
        || is_there(b"/.dockerenv")
        || is_there(b"/run/.containerenv")
}

/// Mounts at or below a root, or that a root lies on, that others may write.
pub(super) fn shared(table: &MountTable, protected: &Protected) -> Vec<Vec<u8>> {
    let is_container = is_container(table);
    let mut found = BTreeSet::new();
    for root in &protected.paths {
        let below = table.visible().filter(|mount| mount.is_at_or_below(root));
        let concerned = below.chain(table.holding(root)).filter(|mount| !mount.is_kernel_made());
        for mount in concerned.filter(|mount| is_of_others(table, mount, is_container)) {
            found.insert(mount.point.clone());
        }
    }
    let mut bytes = 0;
    let fits = |path: &Vec<u8>| {
        bytes += path.len();
        bytes <= SHARED_BYTES_MAX
    };
    found.into_iter().take(SURVEY_TREES_MAX).take_while(fits).collect()
}

/// A part of a file system that is not this machine's own is its host's, or another container's.
fn is_of_others(table: &MountTable, mount: &Mount, is_container: bool) -> bool {
    let is_own = |mount: &Mount| {
        let root = table.holding(b"/").is_some_and(|root| root.device == mount.device);
        let whole = |other: &Mount| other.device == mount.device && other.root == b"/";
        root || !is_container && table.all().any(whole)
    };
    mount.is_of_others() || mount.root != b"/" && !is_own(mount)
}

/// File systems outside the roots that can be written and hold a file.
pub(super) fn others(
    table: &MountTable,
    protected: &Protected,
    excepted: &Excepted,
    dropped: &CancellationToken,
) -> Vec<Tree> {
    let root = table.holding(b"/").map(Mount::spot);
    let on_root = |spot: &Spot| root.as_ref().is_some_and(|root| spot.is_at_or_below(root));
    let concerned = |mount: &&Mount| {
        let spot = mount.spot();
        !mount.is_kernel_made()
            && !mount.is_read_only()
            && mount.point != b"/"
            && !excepted.holds_mount(&mount.point)
            && !protected.names(&mount.point)
            && !protected.holds(&spot)
            // Another path to what lies on the root file system, which is walked as such.
            && !on_root(&spot)
            && !shows_others(table, mount, |upper| protected.holds(upper) || on_root(upper))
    };
    let mut trees = Trees::default();
    // Systems mount memory below `/dev` over their own.
    let is_known = |mount: &&Mount| table.is_visible(mount) || !mount.is_at_or_below(b"/dev");
    for mount in table.all().filter(concerned).filter(is_known) {
        if dropped.is_cancelled() {
            break;
        }
        let entries = match table.is_visible(mount) {
            true => entries(mount, table, protected, excepted, dropped),
            // What lies below another mount cannot be listed.
            false => Entries::unlisted(),
        };
        if entries.files > 0 || !entries.is_listed {
            trees.put(mount.point.clone(), &entries);
        }
    }
    trees.finish()
}

/// Whether a mount holds nothing of its own: what is stored through an overlay lies in a directory
/// that is looked at itself.
fn shows_others(table: &MountTable, mount: &Mount, holds: impl Fn(&Spot) -> bool) -> bool {
    let upper = if mount.kind == b"overlay" { mount.option(b"upperdir") } else { None };
    // The path may be one of whoever mounted it, and lead nowhere here.
    let upper = upper.filter(|path| matches!(base::look(path, false), Ok(Some(_))));
    upper.and_then(|path| table.spot(&path)).is_some_and(|spot| holds(&spot))
}

fn entries(
    mount: &Mount,
    table: &MountTable,
    protected: &Protected,
    excepted: &Excepted,
    dropped: &CancellationToken,
) -> Entries {
    let mut entries = Entries::default();
    if mount.is_network() {
        // What lies there outlives this machine; that it is mounted is all that is told.
        let line = mount.lasting().join(&b'\n');
        let at = Timestamp::default();
        let seen = Seen { is_file: true, size: 0, modified: at, changed: at, born: None };
        entries.add(&line, &seen);
        return entries;
    }
    match walk::open(&mount.point) {
        Ok(start) => {
            let mut enters = |path: &[u8]| {
                !table.is_point(path) && !protected.is_root(path) && !excepted.is_own(path)
            };
            walk::walk(start, &mount.point, &mut enters, &mut |path, step| {
                match step {
                    Step::Entry(_) if table.is_point(path) || excepted.is_own(path) => {}
                    Step::Entry(seen) => entries.add(path, &seen),
                    Step::Unlistable => entries.is_listed = false,
                }
                !dropped.is_cancelled()
            });
        }
        // A single file.
        Err(Errno::NOTDIR) => match CString::new(mount.point.clone()).map(|p| walk::see_at(&p)) {
            Ok(Ok(Some(seen))) => entries.add(&mount.point, &seen),
            _ => entries.is_listed = false,
        },
        Err(_) => entries.is_listed = false,
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_other_disks_are_of_others_and_whole_ones_are_not() {
        let rows = "20 1 0:50 / / rw - overlay overlay rw\n\
            21 20 8:1 /volumes/a /data rw - ext4 /dev/sda1 rw\n\
            22 20 8:17 / /disk rw - ext4 /dev/sdb1 rw\n\
            23 20 0:60 / /remote rw - nfs4 host:/x rw\n\
            24 20 0:61 / /cloud rw - fuse.s3fs s3fs rw\n\
            25 20 0:62 / /handed rw - virtiofs tag rw\n\
            26 20 8:17 /sub /part rw - ext4 /dev/sdb1 rw\n\
            27 20 0:50 /srv /again rw - overlay overlay rw\n";
        let table = MountTable::of(rows.as_bytes()).unwrap();
        for (point, in_container, on_machine) in [
            ("/", false, false),
            ("/data", true, true),
            ("/disk", false, false),
            ("/remote", true, true),
            ("/cloud", true, true),
            ("/handed", true, true),
            ("/part", true, false),
            ("/again", false, false),
        ] {
            let mount = table.holding(point.as_bytes()).unwrap();
            assert_eq!(is_of_others(&table, mount, true), in_container, "{point}");
            assert_eq!(is_of_others(&table, mount, false), on_machine, "{point}");
        }
    }
}
