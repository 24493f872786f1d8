//! What went wrong, as a value that crosses the wire: a kind, a place and the system's number.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::path::RelPath;

/// One failure at an endpoint, about one entry or about the whole root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Fault {
    /// What kind of failure; decides retry and exit code.
    pub kind: FaultKind,
    /// The entry concerned, below its root; the root itself when it concerns all of it.
    pub path: RelPath,
    /// What was being done.
    pub during: Operation,
    /// The system's error number, where it gave one.
    pub errno: Option<i32>,
}

impl Fault {
    /// A failure of `kind` at `path`.
    #[must_use]
    pub fn new(kind: FaultKind, during: Operation, path: RelPath) -> Self {
        Self { kind, path, during, errno: None }
    }

    /// What happened, without the path.
    pub fn story(&self) -> impl fmt::Display {
        Story(self)
    }

    /// The same with the system's error number.
    #[must_use]
    pub fn with_errno(self, errno: i32) -> Self {
        Self { errno: Some(errno), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.story())
    }
}

/// What happened, for a reader who knows to which entry.
struct Story<'a>(&'a Fault);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.0.during, self.0.kind)?;
        match self.0.errno {
            Some(errno) => write!(f, ": {}", std::io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

/// Kinds of failure, by what they mean for the transfer.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
pub enum FaultKind {
    /// Another transfer holds the entry.
    #[error("another transfer holds it")]
    Busy,
    /// The source changed while it was read.
    #[error("it changed while it was read")]
    Changed,
    /// An entry of another kind is in the way.
    #[error("an entry of another kind is in the way")]
    Conflict,
    /// A device, which needs `--devices` as root.
    #[error("it is a device; --devices copies those, as root")]
    Device,
    /// The file would exceed a size limit of the system.
    #[error("the file would be too large for its file system")]
    FileTooLarge,
    /// The system failed to read or write.
    #[error("the system reports an input or output error")]
    Io,
    /// Something exceeded a limit of ours.
    #[error("a limit of ours was exceeded")]
    Limit,
    /// Bytes do not have the digest that they should.
    #[error("its bytes do not have the digest that they should have")]
    Mismatch,
    /// A name or path that the file system does not take.
    #[error("its name is too long for the file system")]
    NameTooLong,
    /// No free inode.
    #[error("no free inode is left")]
    NoInodes,
    /// No free byte.
    #[error("no space is left")]
    NoSpace,
    /// There is no such entry.
    #[error("there is no such entry")]
    NotFound,
    /// The system refused access.
    #[error("permission denied")]
    Permission,
    /// The peer broke the protocol's rules.
    #[error("the request breaks the protocol's rules")]
    Protocol,
    /// A quota is used up.
    #[error("the disk quota is used up")]
    Quota,
    /// The file system is read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The partial is no longer usable: a sync or close failed under it. It must be sent again.
    #[error("an earlier sync failed, so what was written cannot be trusted")]
    Tainted,
    /// The entry would leave the root, or its name is reserved or collides.
    #[error("it is unsafe: it would leave the root, collide, or use a reserved name")]
    Unsafe,
    /// This endpoint cannot do that.
    #[error("that cannot be done here")]
    Unsupported,
    /// The file holds bytes and says that its size is 0, as those of `/proc` do.
    #[error("it tells no size, as in /proc; copy what it holds to a file first")]
    Unmeasured,
    /// It has the bytes that it should have, and the user's command says that they do not load.
    #[error("--load-check does not accept what arrived")]
    NotLoaded,
}

/// What an endpoint was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Renaming a partial into place.
    Commit,
    /// Making a directory, link or special file.
    Create,
    /// Hashing what is there.
    Hash,
    /// Listing a directory.
    List,
    /// Taking the lock of a destination entry.
    Lock,
    /// Opening an entry or a root.
    Open,
    /// Reading bytes.
    Read,
    /// Removing an entry.
    Remove,
    /// Setting mode, times, owner or attributes.
    SetMetadata,
    /// Reading an entry's metadata.
    Stat,
    /// Making bytes durable.
    Sync,
    /// Writing bytes.
    Write,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit it",
            Self::Create => "create it",
            Self::Hash => "hash it",
            Self::List => "list it",
            Self::Lock => "lock it",
            Self::Open => "open it",
            Self::Read => "read it",
            Self::Remove => "remove it",
            Self::SetMetadata => "set its metadata",
            Self::Stat => "look at it",
            Self::Sync => "make it durable",
            Self::Write => "write it",
        })
    }
}
