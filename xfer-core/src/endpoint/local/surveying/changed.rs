//! What changed on the root file system since the container began.

use std::os::fd::BorrowedFd;

use tokio_util::sync::CancellationToken;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::survey::Tree;

use super::container::{TABLE_BYTES_MAX, first_process};
use super::excepted::Excepted;
use super::mount_table::MountTable;
use super::mounts::is_container;
use super::protected::Protected;
use super::trees::Trees;
use crate::disk::{proc_files, walk};

/// Seconds by which the start of a process may seem earlier than it was: the kernel tells the time
/// of boot in whole ones.
const SLACK: i64 = 2;

/// What the first boot of a machine leaves; of several, the eldest tells.
const FIRST_BOOT: [&std::ffi::CStr; 6] = [
    c"/etc/machine-id",
    c"/etc/ssh/ssh_host_ecdsa_key",
    c"/etc/ssh/ssh_host_ed25519_key",
    c"/etc/ssh/ssh_host_rsa_key",
    c"/var/lib/cloud/data",
    c"/var/lib/cloud/instances",
];

/// Lists what changed, in trees; nothing where nobody can tell when the container began, or where
/// its root cannot be listed.
pub(super) fn changed(
    proc: BorrowedFd<'_>,
    table: &MountTable,
    protected: &Protected,
    excepted: &Excepted,
    dropped: &CancellationToken,
) -> Option<Vec<Tree>> {
    let began = beginning(proc, is_container(table))?;
    let start = walk::open(b"/").ok()?;
    let mut trees = Trees::default();
    let mut enters = |path: &[u8]| {
        !table.is_point(path) && !protected.is_root(path) && !excepted.holds_all(path)
    };
    walk::walk(start, b"/", &mut enters, &mut |path, step| {
        match step {
            _ if table.is_point(path) || excepted.holds(path) => {}
            walk::Step::Unlistable => trees.is_unlistable(path),
            walk::Step::Entry(seen) => {
                if seen.changed >= began || seen.born.is_some_and(|born| born >= began) {
                    trees.add(path, &seen);
                }
            }
        }
        !dropped.is_cancelled()
    });
    Some(trees.finish())
}

/// When the container began: the earliest of all that tells. A container that was stopped keeps its
/// files and gets another first process, so that alone would be too late.
fn beginning(proc: BorrowedFd<'_>, is_container: bool) -> Option<Timestamp> {
    let told = match is_container {
        true => [c"/", c"/.dockerenv"].as_slice(),
        false => &FIRST_BOOT,
    };
    let times = told.iter().filter_map(|path| {
        let (born, changed) = walk::times(path)?;
        // A directory changes with everything that comes into it.
        born.or_else(|| (*path == c"/.dockerenv").then_some(changed))
    });
    let lasting = times.min()?;
    let early = |started: &Timestamp| started.seconds.saturating_add(SLACK) < lasting.seconds;
    Some(started(proc).filter(early).unwrap_or(lasting))
}

/// When process 1 started, by the time of day.
fn started(proc: BorrowedFd<'_>) -> Option<Timestamp> {
    let text = proc_files::read(proc, b"stat", TABLE_BYTES_MAX).ok()?;
    let text = String::from_utf8_lossy(&text);
    let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot: i64 = boot.trim().parse().ok()?;
    let since = first_process(proc)?.checked_div(proc_files::ticks_per_second())?;
    let seconds = boot.checked_add(i64::try_from(since).ok()?)?;
    Some(Timestamp { seconds, nanoseconds: 0 })
}
