//! Entries and metadata, as far as version 3 tells and sets them.

use xfer_protocol::fault::FaultKind;
use xfer_protocol::limits;
use xfer_protocol::manifest::{Entry, EntryKind, Inode, Metadata, Owner, Stamp, Timestamp};
use xfer_protocol::path::RelPath;

use super::SftpOptions;
use crate::endpoint::TimeGrain;
use crate::transport::sftp::{Attributes, FileKind};

/// An entry from its attributes; `content` is that of a symbolic link.
pub(super) fn entry(
    path: RelPath,
    attributes: &Attributes,
    content: Vec<u8>,
    owner: bool,
) -> Result<Entry, FaultKind> {
    let kind = match attributes.kind().ok_or(FaultKind::Unsupported)? {
        // The number of a device is not told.
        FileKind::Device => return Err(FaultKind::Unsupported),
        FileKind::Directory => EntryKind::Directory,
        FileKind::Fifo => EntryKind::Fifo,
        FileKind::Regular => {
            let size = attributes.size.ok_or(FaultKind::Unsupported)?;
            if size > limits::FILE_BYTES_MAX {
                return Err(FaultKind::FileTooLarge);
            }
            EntryKind::File { size, allocated: size }
        }
        FileKind::Socket => EntryKind::Socket,
        FileKind::Symlink if content.len() > limits::SYMLINK_BYTES_MAX => {
            return Err(FaultKind::Limit);
        }
        FileKind::Symlink => EntryKind::Symlink { content },
    };
    let metadata = Metadata {
        mode: attributes.permissions.unwrap_or_default() & limits::MODE_MAX,
        modified: modified(attributes),
        owner: attributes.owner.filter(|_| owner).map(|(user, group)| Owner { user, group }),
        xattrs: Vec::new(),
    };
    Ok(Entry { path, kind, metadata, inode: Inode { links: 1, ..Inode::default() } })
}

/// The stamp of what stands there.
pub(super) fn stamp(attributes: &Attributes) -> Stamp {
    let size = match attributes.kind() {
        Some(FileKind::Regular) => attributes.size.unwrap_or_default(),
        _ => 0,
    };
    Stamp { size, modified: modified(attributes), ..Stamp::default() }
}

/// Whether a regular file is what its stamp says, as far as can be told.
pub(super) fn is_still(attributes: &Attributes, stamp: &Stamp) -> bool {
    attributes.kind() == Some(FileKind::Regular)
        && attributes.size == Some(stamp.size)
        && TimeGrain::Seconds.same(modified(attributes), stamp.modified)
}

/// What is to be set of an entry: the owner apart, for changing it clears bits of the mode.
pub(super) fn wanted(
    metadata: &Metadata,
    options: &SftpOptions,
) -> (Option<Attributes>, Attributes) {
    let owner = metadata.owner.filter(|_| options.owner).map(|owner| Attributes {
        owner: Some((owner.user, owner.group)),
        ..Attributes::default()
    });
    let seconds = TimeGrain::Seconds.kept(metadata.modified).seconds;
    let modified = u32::try_from(seconds).unwrap_or_default();
    let rest = Attributes {
        permissions: Some(metadata.mode & limits::MODE_MAX),
        times: options.times.then_some((modified, modified)),
        ..Attributes::default()
    };
    (owner, rest)
}

fn modified(attributes: &Attributes) -> Timestamp {
    let seconds = attributes.times.map_or(0, |(_, modified)| i64::from(modified));
    Timestamp { seconds, nanoseconds: 0 }
}
