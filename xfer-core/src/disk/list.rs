//! Names in a directory.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Dir, FileType, RawDir};
use rustix::io::Errno;

/// Bytes for one call that lists names: few calls even for a large directory.
const LISTING_BYTES: usize = 256 * 1024;

/// A buffer that is used again for each directory; 256 KiB.
pub struct ListingBuffer(Box<[MaybeUninit<u8>]>);

impl Default for ListingBuffer {
    fn default() -> Self {
        Self(Box::new_uninit_slice(LISTING_BYTES))
    }
}

/// As [`for_each_name`], but through a buffer and from where the descriptor stands: once for each
/// descriptor, and faster.
pub fn for_each_name_once<E: From<Errno>>(
    directory: BorrowedFd<'_>,
    buffer: &mut ListingBuffer,
    mut each: impl FnMut(&CStr, FileType) -> Result<(), E>,
) -> Result<(), E> {
    let mut listing = RawDir::new(directory, &mut buffer.0);
    while let Some(entry) = listing.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b".." | b"") {
            each(name, entry.file_type())?;
        }
    }
    Ok(())
}

/// Calls `each` with the name and, where the file system tells it, the kind of every entry but `.`
/// and `..`, in no order. Stops at the first error of either side.
pub fn for_each_name<E: From<Errno>>(
    directory: impl AsFd,
    mut each: impl FnMut(&[u8], FileType) -> Result<(), E>,
) -> Result<(), E> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => each(name, entry.file_type())?,
        }
    }
    Ok(())
}
