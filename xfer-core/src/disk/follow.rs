//! Reaching an entry through symbolic links that stay beneath a root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use xfer_protocol::path::RelPath;

use super::confine::{Confinement, open_directory};
use super::stat;

/// Links on the way to one entry: the system's own limit.
const LINKS_MAX: usize = 40;

/// An entry that is no link itself: the directory that holds it, and its name there.
#[derive(Debug)]
pub struct Followed {
    /// The directory, reached without any link.
    pub directory: OwnedFd,
    /// The name.
    pub name: Vec<u8>,
}

/// Finds the entry to which a path leads. Each link is read and walked by its components; `..` is
/// taken off the path that was walked, so the way never leaves the root.
///
/// # Errors
/// `XDEV` where a link leads outside, or is absolute; `LOOP` after too many of them; `ISDIR` where
/// the path ends at the root.
pub fn follow(
    root: BorrowedFd<'_>,
    path: &RelPath,
    confinement: Confinement,
) -> Result<Followed, Errno> {
    let mut real = RelPath::root();
    // What is still to be walked, the next component last.
    let mut ahead: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut here = open_directory(root, &real, confinement)?;
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                real = real.parent().ok_or(Errno::XDEV)?;
                here = open_directory(root, &real, confinement)?;
                continue;
            }
            _ => {}
        }
        let found = rustix::fs::statat(&here, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        let is_last = ahead.iter().all(|rest| matches!(rest.as_slice(), b"" | b"."));
        match stat::file_type(&found) {
            FileType::Symlink => {
                links += 1;
                let content = rustix::fs::readlinkat(&here, name.as_slice(), Vec::new())?;
                let content = content.as_bytes();
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                if content.first() == Some(&b'/') {
                    return Err(Errno::XDEV);
                }
                ahead.extend(content.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
            }
            _ if is_last => return Ok(Followed { directory: here, name }),
            FileType::Directory => {
                let below = RelPath::new(name.clone()).map_err(|_| Errno::INVAL)?;
                here = open_directory(here.as_fd(), &below, confinement)?;
                real = real.child(&name).map_err(|_| Errno::NAMETOOLONG)?;
            }
            _ => return Err(Errno::NOTDIR),
        }
    }
    Err(Errno::ISDIR)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::disk::confine::open_root;

    #[test]
    fn links_are_followed_within_the_root_only() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"").unwrap();
        let inside = tempfile::tempdir_in(outside.path()).unwrap();
        let at = |name: &str| inside.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/file"), b"").unwrap();
        for (content, name) in [
            ("b", "a/short"),
            ("../../a/short/./file", "a/b/around"),
            ("a/b/around", "chain"),
            ("../secret", "out"),
            ("a/../../secret", "out-by-way"),
            ("loop", "loop"),
            ("a/b", "directory"),
        ] {
            symlink(content, at(name)).unwrap();
        }
        symlink(at("a/b/file"), at("absolute")).unwrap();
        let root = open_root(inside.path().as_os_str().as_bytes()).unwrap();
        let follow =
            |path: &str| follow(root.as_fd(), &RelPath::new(path).unwrap(), Confinement::default());
        for path in ["a/b/file", "a/short/file", "a/b/around", "chain", "directory/file"] {
            assert_eq!(follow(path).unwrap().name, b"file", "{path}");
        }
        assert_eq!(follow("directory").unwrap().name, b"b");
        for path in ["out", "out-by-way", "absolute"] {
            assert_eq!(follow(path).unwrap_err(), Errno::XDEV, "{path}");
        }
        assert_eq!(follow("loop").unwrap_err(), Errno::LOOP);
        assert_eq!(follow("a/b/file/x").unwrap_err(), Errno::NOTDIR);
        assert_eq!(follow("a/none").unwrap_err(), Errno::NOENT);
    }
}
