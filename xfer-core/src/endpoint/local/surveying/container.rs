//! Which container this is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use xfer_protocol::digest::Digest;
use xfer_protocol::survey::Container;

use super::mount_table::{MountTable, is_at_or_below};
use super::texts;
use crate::disk::{base, marker, proc_files, stat};

/// Bytes of an environment that are read at most.
const ENVIRONMENT_BYTES_MAX: usize = 1 << 20;

/// Bytes of one small file of the kernel's.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a table of mounts.
pub(super) const TABLE_BYTES_MAX: usize = 16 << 20;

/// What comes and goes by itself: logins, other containers, packages that are mounted.
const PASSING: &[&str] =
    &["/dev", "/proc", "/run", "/snap", "/sys", "/var/lib/containerd", "/var/lib/docker"];

/// All that is known; `fresh` bytes leave a marker where there is none.
pub(super) fn container(fresh: Option<[u8; marker::BYTES]>) -> Container {
    let root = base::look(b"/", false).ok().flatten();
    let proc = proc_files::open().ok();
    let proc = proc.as_ref().map(AsFd::as_fd);
    Container {
        label: proc.and_then(label),
        marker: marker::marker(fresh),
        first_process: proc.and_then(first_process),
        root_device: root.map(|root| stat::identity(&root).0),
        mounts: proc.and_then(own_mounts).map(|table| digest(&table)),
        boot: proc.and_then(boot),
    }
}

fn first(proc: BorrowedFd<'_>) -> Option<OwnedFd> {
    proc_files::open_directory(proc, b"1").ok()
}

fn label(proc: BorrowedFd<'_>) -> Option<String> {
    let environment = proc_files::read(first(proc)?.as_fd(), b"environ", ENVIRONMENT_BYTES_MAX);
    texts::label(&environment.ok()?)
}

/// When process 1 started, in ticks since boot.
pub(super) fn first_process(proc: BorrowedFd<'_>) -> Option<u64> {
    let text = proc_files::read(first(proc)?.as_fd(), b"stat", TEXT_BYTES_MAX).ok()?;
    texts::status(&text).map(|status| status.started)
}

/// The table of mounts as this process sees it.
pub(super) fn own_mounts(proc: BorrowedFd<'_>) -> Option<MountTable> {
    let own = proc_files::link(proc, b"self").ok()?;
    let own = proc_files::open_directory(proc, &own).ok()?;
    MountTable::of(&proc_files::read(own.as_fd(), b"mountinfo", TABLE_BYTES_MAX).ok()?)
}

fn boot(proc: BorrowedFd<'_>) -> Option<[u8; 16]> {
    texts::uuid(&proc_files::read(proc, b"sys/kernel/random/boot_id", TEXT_BYTES_MAX).ok()?)
}

/// A digest over what stays while nobody mounts or unmounts anything that lasts.
fn digest(table: &MountTable) -> Digest {
    let lasts = |point: &[u8]| !PASSING.iter().any(|at| is_at_or_below(point, at.as_bytes()));
    let mut lines: Vec<_> = table
        .visible()
        .filter(|mount| !mount.is_kernel_made() && lasts(&mount.point))
        .map(|mount| (mount.lasting(), mount.device))
        .collect();
    lines.sort_unstable();
    let mut hasher = blake3::Hasher::new_derive_key("xfer table of mounts 1");
    for (fields, (major, minor)) in lines {
        for field in fields {
            hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
        }
        hasher.update(&major.to_le_bytes()).update(&minor.to_le_bytes());
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Digest {
        digest(&MountTable::of(text.as_bytes()).unwrap())
    }

    #[test]
    fn only_what_lasts_tells_tables_of_mounts_apart() {
        let root = "20 1 0:50 / / rw master:1 - overlay overlay rw,upperdir=/u\n";
        let data = "22 20 8:1 /a /data rw shared:3 - ext4 /dev/sda1 rw\n";
        let plain = of(&[root, data].concat());
        let renumbered = "120 1 0:50 / / rw master:7 - overlay overlay rw,upperdir=/u\n\
            122 120 8:1 /a /data rw - ext4 /dev/sda1 rw\n";
        assert_eq!(of(renumbered), plain, "numbers of mounts and peers");
        for passing in [
            "30 20 0:70 / /run/user/0 rw - tmpfs tmpfs rw\n",
            "30 20 0:71 / /sys/fs/bpf rw - bpf bpf rw\n",
            "30 20 0:72 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n",
        ] {
            assert_eq!(of(&[root, data, passing].concat()), plain, "{passing}");
        }
        for other in [
            "22 20 8:1 /b /data rw - ext4 /dev/sda1 rw\n",
            "22 20 8:2 /a /data rw - ext4 /dev/sda1 rw\n",
            "22 20 8:1 /a /data ro - ext4 /dev/sda1 rw\n",
            "22 20 8:1 /a /dat rw - ext4 /dev/sda1 rw\n",
            "22 20 8:1 /a /data rw - ext3 /dev/sda1 rw\n",
            "22 20 8:1 /a /data rw - ext4 /dev/sda1 ro\n",
            "",
        ] {
            assert_ne!(of(&[root, other].concat()), plain, "{other}");
        }
        let more = "31 20 0:73 / /mnt rw - tmpfs tmpfs rw\n";
        assert_ne!(of(&[root, data, more].concat()), plain);
    }

    #[test]
    fn a_container_is_the_same_as_long_as_nothing_happens() {
        let (once, again) = (container(None), container(None));
        assert_eq!(once, again);
        assert!(once.first_process.is_some() && once.root_device.is_some());
        assert!(once.mounts.is_some() && once.boot.is_some());
    }
}
