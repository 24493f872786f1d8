//! The table of mounts: which file system a path is on, and where on it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::texts::{device_of, unescape};

/// Mounts beyond which a table is not looked through.
const MOUNTS_MAX: usize = 16 * 1024;

/// Kinds that the kernel makes itself, which hold nothing that anybody stored.
const KERNEL_MADE: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

/// Kinds whose bytes lie on other machines.
const NETWORK: &[&str] = &[
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "wekafs",
];

/// Kinds through which a host, or any program, hands files in.
const HANDED_IN: &[&str] = &["9p", "virtiofs", "vboxsf", "fuse", "fuseblk"];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) id: u32,
    parent: u32,
    /// Major and minor number of its file system.
    pub(super) device: (u32, u32),
    /// The directory of the file system that is mounted, from that file system's root on.
    pub(super) root: Vec<u8>,
    /// Where it is mounted.
    pub(super) point: Vec<u8>,
    options: Vec<u8>,
    pub(super) kind: Vec<u8>,
    source: Vec<u8>,
    super_options: Vec<u8>,
}

/// A place on a file system, whatever path leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) device: (u32, u32),
    pub(super) path: Vec<u8>,
}

/// All mounts of one namespace, as one of its processes sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MountTable {
    mounts: Vec<Mount>,
    /// Those that others were mounted over.
    hidden: BTreeSet<u32>,
    points: HashSet<Vec<u8>>,
}

impl Mount {
    fn of(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut next = || fields.next();
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
        let (id, parent) = (number(next()?)?, number(next()?)?);
        let device = device_of(next()?, 10)?;
        let (root, point, options) = (unescape(next()?), unescape(next()?), next()?.to_vec());
        while next()? != b"-" {}
        let (kind, source) = (unescape(next()?), unescape(next()?));
        let super_options = fields.collect::<Vec<_>>().join(&b' ');
        let is_placed = root.starts_with(b"/") && point.starts_with(b"/");
        // A kind like `mnt:` of namespaces has no path, and no file that anybody stored.
        if !is_placed && kind != b"nsfs" {
            return None;
        }
        Some(Self { id, parent, device, root, point, options, kind, source, super_options })
    }

    pub(super) fn is_kernel_made(&self) -> bool {
        self.is_of(KERNEL_MADE)
    }

    /// Whether its bytes lie on other machines.
    pub(super) fn is_network(&self) -> bool {
        self.is_of(NETWORK)
    }

    /// Whether it is of a kind that others may write by its nature.
    pub(super) fn is_of_others(&self) -> bool {
        self.is_network() || self.is_of(HANDED_IN) || self.kind.starts_with(b"fuse.")
    }

    fn is_of(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| kind.as_bytes() == self.kind)
    }

    /// Whether nothing can be written through it.
    pub(super) fn is_read_only(&self) -> bool {
        has(&self.options, b"ro") || has(&self.super_options, b"ro")
    }

    pub(super) fn is_at_or_below(&self, path: &[u8]) -> bool {
        is_at_or_below(&self.point, path)
    }

    /// Where its root lies.
    pub(super) fn spot(&self) -> Spot {
        Spot { device: self.device, path: self.root.clone() }
    }

    /// The place of a path that lies on it, where its point is below `above`.
    pub(super) fn spot_of(&self, path: &[u8], above: &[u8]) -> Option<Spot> {
        let point = joined(above, &self.point);
        let rest = rest_below(path, &point)?;
        Some(Spot { device: self.device, path: joined(&self.root, rest) })
    }

    /// Whether it has an option of its file system.
    pub(super) fn has_option(&self, name: &[u8]) -> bool {
        has(&self.super_options, name)
    }

    /// The value of such an option.
    pub(super) fn option(&self, name: &[u8]) -> Option<Vec<u8>> {
        let mut options = self.super_options.split(|&byte| byte == b',');
        let value = options.find_map(|option| option.strip_prefix(name)?.strip_prefix(b"="))?;
        Some(unescape(value))
    }

    /// All that stays the same for as long as it is mounted.
    pub(super) fn lasting(&self) -> [&[u8]; 6] {
        let Self { root, point, options, kind, source, super_options, .. } = self;
        [point, root, kind, source, options, super_options]
    }
}

impl MountTable {
    /// Reads `mountinfo`; `None` where a line is none that the kernel writes.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mounts: Vec<_> = lines.take(MOUNTS_MAX + 1).map(Mount::of).collect::<Option<_>>()?;
        if mounts.is_empty() || mounts.len() > MOUNTS_MAX {
            return None;
        }
        let hidden = hidden(&mounts);
        let points = mounts.iter().map(|mount| mount.point.clone()).collect();
        Some(Self { mounts, hidden, points })
    }

    /// Those that paths lead to.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(|mount| !self.hidden.contains(&mount.id))
    }

    /// Those too that others were mounted over.
    pub(super) fn all(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// Whether paths lead to it.
    pub(super) fn is_visible(&self, mount: &Mount) -> bool {
        !self.hidden.contains(&mount.id)
    }

    /// Whether something is mounted right there.
    pub(super) fn is_point(&self, path: &[u8]) -> bool {
        self.points.contains(path)
    }

    pub(super) fn by_id(&self, id: u32) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.id == id)
    }

    /// The one that a path is on.
    pub(super) fn holding(&self, path: &[u8]) -> Option<&Mount> {
        let on = self.visible().filter(|mount| is_at_or_below(path, &mount.point));
        on.max_by_key(|mount| mount.point.len())
    }

    /// Which place a path leads to, no link followed.
    pub(super) fn spot(&self, path: &[u8]) -> Option<Spot> {
        self.holding(path)?.spot_of(path, b"/")
    }
}

impl Spot {
    pub(super) fn is_at_or_below(&self, other: &Self) -> bool {
        self.device == other.device && is_at_or_below(&self.path, &other.path)
    }
}

/// Mounts over which, or over a directory above which, another was mounted.
fn hidden(mounts: &[Mount]) -> BTreeSet<u32> {
    let mut children: HashMap<u32, Vec<&Mount>> = HashMap::new();
    for mount in mounts.iter().filter(|mount| mount.id != mount.parent) {
        children.entry(mount.parent).or_default().push(mount);
    }
    let of = |id: u32| children.get(&id).map(Vec::as_slice).unwrap_or_default();
    let is_below = |mount: &Mount| {
        let beside = of(mount.parent).iter().filter(|other| other.id != mount.id);
        beside
            .into_iter()
            .any(|other| mount.point != other.point && is_at_or_below(&mount.point, &other.point))
    };
    let mut hidden = BTreeSet::new();
    let mut pending = Vec::new();
    for mount in mounts {
        if of(mount.id).iter().any(|over| over.point == mount.point) {
            hidden.insert(mount.id);
        }
        if is_below(mount) {
            pending.push(mount.id);
        }
    }
    // What stands on a hidden one is hidden too, unless it is what hides it.
    while let Some(id) = pending.pop() {
        if hidden.insert(id) || !of(id).is_empty() {
            pending.extend(of(id).iter().filter(|m| !hidden.contains(&m.id)).map(|m| m.id));
        }
    }
    hidden
}

/// Whether a path is another or lies below it.
pub(super) fn is_at_or_below(path: &[u8], other: &[u8]) -> bool {
    rest_below(path, other).is_some()
}

/// What is left of a path below another.
fn rest_below<'a>(path: &'a [u8], other: &[u8]) -> Option<&'a [u8]> {
    let other = other.strip_suffix(b"/").unwrap_or(other);
    match path.strip_prefix(other)? {
        b"" => Some(b""),
        rest => rest.strip_prefix(b"/"),
    }
}

/// A path within another.
pub(super) fn joined(above: &[u8], rest: &[u8]) -> Vec<u8> {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    match (above, rest) {
        (b"", rest) => [b"/", rest].concat(),
        (above, b"") => above.to_vec(),
        (above, rest) => [above, b"/", rest].concat(),
    }
}

fn has(options: &[u8], name: &[u8]) -> bool {
    options.split(|&byte| byte == b',').any(|option| option == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"20 1 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/l,\
upperdir=/u\\040v,workdir=/w\n\
21 20 0:51 / /proc rw,nosuid - proc proc rw\n\
22 20 8:1 /volumes/a\\040b /data rw shared:3 propagate_from:1 - ext4 /dev/sda1 rw\n\
23 22 0:52 / /data/in\\012ner rw - tmpfs  rw,size=4k\n\
24 20 8:17 / /disk ro - xfs /dev/sdb1 rw\n\
25 20 0:60 / /net rw - fuse.rclone remote: rw\n";

    #[test]
    fn a_path_is_on_the_mount_nearest_to_it() {
        let table = MountTable::of(TABLE).unwrap();
        let on = |path: &str| table.holding(path.as_bytes()).map(|mount| mount.id);
        for (path, id) in [
            ("/", 20),
            ("/database", 20),
            ("/data", 22),
            ("/data/x", 22),
            ("/data/in\nner", 23),
            ("/data/in\nner/x", 23),
            ("/disk/a", 24),
        ] {
            assert_eq!(on(path), Some(id), "{path}");
        }
        let spot = table.spot(b"/data/x/y").unwrap();
        assert_eq!((spot.device, spot.path.as_slice()), ((8, 1), b"/volumes/a b/x/y".as_slice()));
        assert!(spot.is_at_or_below(&table.spot(b"/data").unwrap()));
        assert!(!table.spot(b"/").unwrap().is_at_or_below(&spot));
        let [root, disk, net] = [20, 24, 25].map(|id| table.by_id(id).unwrap());
        assert_eq!(root.option(b"upperdir"), Some(b"/u v".to_vec()));
        assert!(disk.is_read_only() && !root.is_read_only());
        assert!(net.is_of_others() && !net.is_network() && !disk.is_of_others());
        assert!(table.by_id(21).unwrap().is_kernel_made());
        let beside = disk.spot_of(b"/jail/disk/a", b"/jail").unwrap();
        assert_eq!(beside.path, b"/a");
        assert_eq!(disk.spot_of(b"/disk/a", b"/jail"), None);
    }

    #[test]
    fn what_others_were_mounted_over_is_hidden() {
        let line = |id: u32, parent: u32, point: &str| {
            format!("{id} {parent} 0:{id} / {point} rw - tmpfs tmpfs rw\n")
        };
        // 4 lies over 3; 6 lies over /b, and so over 5 at /b/c; 7 stands on 6; 8 on 5.
        let rows = [
            line(1, 0, "/"),
            line(3, 1, "/a"),
            line(4, 3, "/a"),
            line(5, 1, "/b/c"),
            line(6, 1, "/b"),
            line(7, 6, "/b/c"),
            line(8, 5, "/b/c/d"),
        ];
        let table = MountTable::of(rows.concat().as_bytes()).unwrap();
        let seen: Vec<_> = table.visible().map(|mount| mount.id).collect();
        assert_eq!(seen, [1, 4, 6, 7]);
        assert_eq!(table.holding(b"/b/c/d").unwrap().id, 7);
    }

    #[test]
    fn a_table_that_cannot_be_is_none() {
        for text in [
            "",
            "1\n",
            "1 0 8:1 / / rw\n",
            "1 0 8:1 / / rw - ext4\n",
            "x 0 8:1 / / rw - ext4 a rw\n",
            "1 0 8 / / rw - ext4 a rw\n",
            "1 0 8:1 / relative rw - ext4 a rw\n",
        ] {
            assert_eq!(MountTable::of(text.as_bytes()), None, "{text:?}");
        }
        assert!(MountTable::of(b"1 0 8:1 / / rw - ext4  rw\n").is_some(), "a nameless device");
        assert!(MountTable::of(b"1 0 0:4 mnt:[1] /run/a rw - nsfs nsfs rw\n").is_some());
    }

    #[test]
    fn paths_are_joined_and_told_apart() {
        for (path, other, below) in [
            ("/a", "/a", true),
            ("/a/b", "/a", true),
            ("/ab", "/a", false),
            ("/", "/", true),
            ("/a", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(is_at_or_below(path.as_bytes(), other.as_bytes()), below, "{path} {other}");
        }
        for (above, rest, whole) in
            [("/", "", "/"), ("/", "a", "/a"), ("/a", "", "/a"), ("/a", "/b", "/a/b")]
        {
            assert_eq!(joined(above.as_bytes(), rest.as_bytes()), whole.as_bytes());
        }
    }
}
