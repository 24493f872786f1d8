//! Names in a directory.

use std::os::fd::AsFd;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

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
