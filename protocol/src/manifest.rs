//! Entries: what a scan lists, a plan compares and a receipt names.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::digest::Digest;
use crate::limits;
use crate::path::RelPath;

/// A moment as file systems record it: seconds since 1970, negative before, and nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// One entry of a tree, as found by a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is below its root; the root's own entry has the empty path.
    pub path: RelPath,
    /// What it is.
    pub kind: EntryKind,
    /// What is preserved beside its bytes.
    pub metadata: Metadata,
    /// What the file system says of this very inode.
    pub inode: Inode,
}

/// Kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A character or block device.
    Device(Device),
    /// A directory.
    Directory,
    /// A named pipe; never opened.
    Fifo,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Bytes that the file system allocated; fewer than `size` where the file has holes.
        allocated: u64,
    },
    /// A socket's name; never opened.
    Socket,
    /// A symbolic link, never followed.
    Symlink {
        /// The bytes that it holds.
        content: Vec<u8>,
    },
}

impl EntryKind {
    /// The length of a regular file, zero for everything else.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            _ => 0,
        }
    }
}

/// A device's class and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Block device if set, character device otherwise.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What a transfer preserves of an entry beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Modification time.
    pub modified: Timestamp,
    /// User and group, where owners are preserved.
    pub owner: Option<Owner>,
    /// Extended attributes, where they are preserved: sorted by name.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::XATTRS_MAX }>")]
    pub xattrs: Vec<Xattr>,
}

/// Numeric user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    /// Full name with its namespace, such as `user.note`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Whether an extended attribute is an access control list of POSIX: of an entry, or for what is
/// made in a directory.
#[must_use]
pub fn is_access_list(name: &[u8]) -> bool {
    matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// What a file system says of one inode at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// The file system's device number.
    pub device: u64,
    /// The inode's number.
    pub number: u64,
    /// Change time: cannot be set by a program.
    pub changed: Timestamp,
    /// Hard links to it.
    pub links: u32,
}

/// What must be equal for an entry to count as not changed since: stat alone, so a cheap first word
/// and never a proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Change time.
    pub changed: Timestamp,
    /// Inode number.
    pub inode: u64,
}

impl Entry {
    /// The stamp of this entry at the time of the scan.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp {
            size: self.kind.size(),
            modified: self.metadata.modified,
            changed: self.inode.changed,
            inode: self.inode.number,
        }
    }
}

/// What one scan step yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanItem {
    /// An entry, in the order of [`RelPath`].
    Entry(Entry),
    /// An entry that a filter left out; an excluded directory stands for all below it.
    Excluded(RelPath),
    /// A partial of an unfinished transfer, which is no entry.
    Partial {
        /// Its own name in its directory.
        path: RelPath,
        /// Bytes that it occupies.
        allocated: u64,
    },
    /// An entry that could not be listed; the scan goes on.
    Problem(crate::fault::Fault),
}

/// How well an entry's bytes at the destination are proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProofLevel {
    /// Size and time were believed (`--quick`); nothing was proven.
    Assumed,
    /// Digests were checked on arrival.
    Received,
    /// Synced, renamed, directory synced.
    Durable,
    /// Durable, then read again, but perhaps from the cache.
    ReadBackCached,
    /// Durable, then read again past the cache.
    ReadBack,
}

impl ProofLevel {
    /// As the command line, receipts and events name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Assumed => "assumed",
            Self::Received => "received",
            Self::Durable => "durable",
            Self::ReadBackCached => "read-back-cached",
            Self::ReadBack => "read-back",
        }
    }
}

/// One line of a manifest: an entry with the digest that proves its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Where it is below the root.
    pub path: RelPath,
    /// What it is.
    pub kind: EntryKind,
    /// Mode and times.
    pub metadata: Metadata,
    /// The BLAKE3 root of a regular file.
    pub digest: Option<Digest>,
}
