//! What lies outside the roots and is nobody's work: the system itself, caches that are made anew,
//! and xfer's own files. `ARCHITECTURE.md` shows the same table.

use super::mount_table::is_at_or_below;
use crate::disk::base::Base;

/// Trees of the system and its packages.
const TREES: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/lost+found",
    "/proc",
    "/run",
    "/sbin",
    "/snap",
    "/sys",
    "/usr",
    "/var/backups",
    "/var/cache",
    "/var/crash",
    "/var/lib/NetworkManager",
    "/var/lib/app-info",
    "/var/lib/apt",
    "/var/lib/cloud",
    "/var/lib/dbus",
    "/var/lib/dhcp",
    "/var/lib/dpkg",
    "/var/lib/initramfs-tools",
    "/var/lib/logrotate",
    "/var/lib/man-db",
    "/var/lib/pam",
    "/var/lib/polkit-1",
    "/var/lib/python",
    "/var/lib/rpm",
    "/var/lib/sgml-base",
    "/var/lib/snapd",
    "/var/lib/swcatalog",
    "/var/lib/systemd",
    "/var/lib/ubuntu-advantage",
    "/var/lib/ucf",
    "/var/lib/update-notifier",
    "/var/lib/xfer",
    "/var/lib/xml-core",
    "/var/lock",
    "/var/log",
    "/var/run",
];

/// Trees within those that people store in all the same.
const KEPT: &[&str] = &["/dev/shm", "/usr/local"];

/// Single files that platforms and systems make.
const FILES: &[&str] = &["/.dockerenv", "/swap.img", "/swapfile"];

/// Names of directories, anywhere, that a package manager or an interpreter fills.
const NAMES: &[&str] = &["__pycache__", "dist-packages", "site-packages"];

/// Places below a home directory.
const IN_HOMES: &[&str] = &[".cache", ".local/state/xfer", ".ssh", ".xfer"];

/// Where the agent and the marker lie for want of a better place, and how their names begin.
const OWN_PLACES: &[&str] = &["/dev/shm", "/tmp", "/var/tmp"];

/// Files that a container's runtime mounts one by one.
const MOUNTED_FILES: &[&str] = &["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// The table, with the home directory of this user.
#[derive(Debug)]
pub(super) struct Excepted {
    home: Vec<u8>,
}

impl Excepted {
    pub(super) fn new() -> Self {
        Self { home: Base::Home.resolve(b"") }
    }

    /// Whether a path, or anything above it, is excepted.
    pub(super) fn holds(&self, path: &[u8]) -> bool {
        let within =
            |trees: &[&str]| trees.iter().any(|tree| is_at_or_below(path, tree.as_bytes()));
        let is_one_of = |files: &[&str]| files.iter().any(|file| file.as_bytes() == path);
        within(TREES) && !within(KEPT)
            || is_one_of(FILES)
            || path.split(|&b| b == b'/').any(|part| NAMES.iter().any(|n| n.as_bytes() == part))
            || self.is_in_home(path)
            || is_own(path)
    }

    /// Whether a directory need not be entered: nothing in it is kept.
    pub(super) fn holds_all(&self, directory: &[u8]) -> bool {
        let leads = |kept: &&str| is_at_or_below(kept.as_bytes(), directory);
        self.holds(directory) && !KEPT.iter().any(leads)
    }

    /// Whether something is the agent's, or the marker.
    pub(super) fn is_own(&self, path: &[u8]) -> bool {
        is_own(path)
    }

    /// Whether a mount is the system's or the container runtime's.
    pub(super) fn holds_mount(&self, point: &[u8]) -> bool {
        let is_etc = is_at_or_below(point, b"/etc") || is_at_or_below(point, b"/usr");
        match is_etc {
            true => MOUNTED_FILES.iter().any(|file| file.as_bytes() == point),
            false => {
                ["/boot", "/dev", "/efi", "/proc", "/run", "/snap", "/sys"].iter().any(|tree| {
                    is_at_or_below(point, tree.as_bytes()) && !is_at_or_below(point, b"/dev/shm")
                })
            }
        }
    }

    fn is_in_home(&self, path: &[u8]) -> bool {
        let below = |home: &[u8]| -> bool {
            let home = home.strip_suffix(b"/").unwrap_or(home);
            let rest = path.strip_prefix(home).and_then(|rest| rest.strip_prefix(b"/"));
            let within =
                |rest: &[u8]| IN_HOMES.iter().any(|at| is_at_or_below(rest, at.as_bytes()));
            rest.is_some_and(within)
        };
        let others = path.strip_prefix(b"/home/").and_then(|rest| {
            let name = rest.iter().position(|&byte| byte == b'/')?;
            path.get(..b"/home/".len() + name)
        });
        below(b"/root") || others.is_some_and(below) || self.home != b"/" && below(&self.home)
    }
}

/// Whether something is the agent's, or the marker.
fn is_own(path: &[u8]) -> bool {
    OWN_PLACES.iter().any(|place| {
        let rest = path.strip_prefix(place.as_bytes()).and_then(|r| r.strip_prefix(b"/xfer-"));
        rest.is_some_and(|rest| {
            let name = rest.split(|&byte| byte == b'/').next().unwrap_or_default();
            name.starts_with(b"beside-")
                || name == b"machine"
                || !name.is_empty() && name.iter().all(u8::is_ascii_digit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_excepted_and_work_is_not() {
        let excepted = Excepted { home: b"/data/me".to_vec() };
        for (path, holds) in [
            ("/usr/lib/x", true),
            ("/usr", true),
            ("/usr/local", false),
            ("/usr/local/model", false),
            ("/usr/local/lib/python3.12/dist-packages/x", true),
            ("/usrx", false),
            ("/etc/passwd", true),
            ("/tmp/work", false),
            ("/tmp/xfer-0/agent", true),
            ("/tmp/xfer-machine", true),
            ("/tmp/xfer-machines", false),
            ("/tmp/xfer-results", false),
            ("/tmp/xfer-", false),
            ("/dev/shm/batch", false),
            ("/dev/shm/xfer-1000", true),
            ("/dev/null", true),
            (concat!("/root", "/.cache/x"), true),
            (concat!("/root", "/.cached"), false),
            (concat!("/root", "/.ssh/id"), true),
            ("/home/ann/.cache/pip", true),
            ("/home/.cache", false),
            ("/home/ann/data/.cache", false),
            ("/data/me/.ssh", true),
            ("/data/other/.ssh", false),
            ("/opt/conda/lib/python3.12/site-packages/a", true),
            ("/opt/site-packages-mine", false),
            ("/var/lib/mysql", false),
            ("/var/lib/man-db/auto-update", true),
            ("/var/lib/docker/volumes", false),
            ("/var/lib/xfer/machine", true),
            ("/var/log/syslog", true),
            ("/.dockerenv", true),
            ("/srv", false),
        ] {
            assert_eq!(excepted.holds(path.as_bytes()), holds, "{path}");
        }
        assert!(!excepted.holds_all(b"/usr") && !excepted.holds_all(b"/dev"));
        assert!(excepted.holds_all(b"/usr/lib") && !excepted.holds_all(b"/usr/local/x"));
        for (point, holds) in [
            ("/run", true),
            ("/run/user/0", true),
            ("/dev", true),
            ("/boot/efi", true),
            ("/dev/shm", false),
            ("/etc/hosts", true),
            ("/etc/mine", false),
            ("/usr/share/data", false),
            ("/mnt", false),
        ] {
            assert_eq!(excepted.holds_mount(point.as_bytes()), holds, "{point}");
        }
    }
}
