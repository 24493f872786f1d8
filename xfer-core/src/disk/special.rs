//! Entries that hold no bytes: links, FIFOs, sockets and devices.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use xfer_protocol::message::NewKind;

use super::{partial, stat};

/// Whether the very entry that is to be made already stands at a name, its metadata aside.
pub fn stands(directory: BorrowedFd<'_>, name: &[u8], kind: &NewKind) -> Result<bool, Errno> {
    let found = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    Ok(match (kind, stat::file_type(&found)) {
        (_, FileType::Directory) => return Err(Errno::ISDIR),
        (NewKind::Fifo, FileType::Fifo) | (NewKind::Socket, FileType::Socket) => true,
        (NewKind::Device(device), _) => stat::device(&found) == Some(*device),
        (NewKind::Symlink { content }, FileType::Symlink) => {
            rustix::fs::readlinkat(directory, name, Vec::new())?.as_bytes() == content
        }
        _ => false,
    })
}

/// Makes a link, FIFO, socket or device under a name that is free.
pub fn make(directory: BorrowedFd<'_>, name: &[u8], kind: &NewKind) -> Result<(), Errno> {
    match kind {
        NewKind::Symlink { content } => rustix::fs::symlinkat(content.as_slice(), directory, name),
        NewKind::Fifo | NewKind::Socket | NewKind::Device(_) => make_node(directory, name, kind),
        NewKind::Directory | NewKind::HardLink { .. } => Err(Errno::INVAL),
    }
}

/// Gives a regular file one more name, at one instant, over whatever is there but a directory.
///
/// # Errors
/// `OPNOTSUPP` where the file can have no such name, and what is there was left alone: another file
/// system, one without hard links, as many names as it may have, a file that is not ours to link.
pub fn link(
    of_directory: BorrowedFd<'_>,
    of: &[u8],
    directory: BorrowedFd<'_>,
    name: &[u8],
    partial: &[u8],
) -> Result<(), Errno> {
    let file = rustix::fs::statat(of_directory, of, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat::file_type(&file) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if stat::identity(&found) == stat::identity(&file) => return Ok(()),
        Ok(found) if stat::file_type(&found) == FileType::Directory => return Err(Errno::ISDIR),
        Ok(_) => {}
        Err(Errno::NOENT) => match give_name(of_directory, of, directory, name) {
            Err(Errno::EXIST) => {}
            other => return other,
        },
        Err(errno) => return Err(errno),
    }
    partial::remove_any(directory, partial)?;
    give_name(of_directory, of, directory, partial)?;
    let renamed = partial::rename(directory, partial, name);
    if renamed.is_err() {
        let _ = partial::remove_any(directory, partial);
    }
    renamed
}

fn give_name(
    of_directory: BorrowedFd<'_>,
    of: &[u8],
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> Result<(), Errno> {
    let linked = rustix::fs::linkat(of_directory, of, directory, name, AtFlags::empty());
    linked.map_err(|errno| match errno {
        Errno::XDEV | Errno::MLINK | Errno::PERM => Errno::OPNOTSUPP,
        other => other,
    })
}

#[cfg(not(target_vendor = "apple"))]
fn make_node(directory: BorrowedFd<'_>, name: &[u8], kind: &NewKind) -> Result<(), Errno> {
    use rustix::fs::{Mode, makedev, mknodat};
    let (file_type, device) = match kind {
        NewKind::Fifo => (FileType::Fifo, 0),
        NewKind::Socket => (FileType::Socket, 0),
        NewKind::Device(device) => {
            let kind = if device.block { FileType::BlockDevice } else { FileType::CharacterDevice };
            (kind, makedev(device.major, device.minor))
        }
        _ => return Err(Errno::INVAL),
    };
    mknodat(directory, name, file_type, Mode::RUSR | Mode::WUSR, device)
}

#[cfg(target_vendor = "apple")]
fn make_node(_directory: BorrowedFd<'_>, _name: &[u8], _kind: &NewKind) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}
