//! The names in one directory, sorted, in two allocations however many there are.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::disk::list::{self, ListingBuffer};

/// Names in the order of their bytes, each once.
#[derive(Default)]
pub(super) struct Names {
    /// All names, each with its NUL.
    bytes: Vec<u8>,
    sorted: Vec<Place>,
    next: usize,
}

/// Where one name lies; 16 bytes, as there may be millions.
#[derive(Clone, Copy)]
struct Place {
    /// The first eight bytes, big-endian and padded with zeros: decides most comparisons alone.
    prefix: u64,
    offset: u32,
    length: u16,
    kind: FileKind,
}

/// What a directory says of an entry's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Directory,
    Other,
    Symlink,
    Unknown,
}

/// Why the names of a directory could not be listed.
pub(super) enum ListError {
    System(Errno),
    TooMany,
}

impl From<Errno> for ListError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl Names {
    /// Reads all names from a directory that was just opened.
    pub(super) fn list(
        directory: BorrowedFd<'_>,
        buffer: &mut ListingBuffer,
    ) -> Result<Self, ListError> {
        let mut names = Self::default();
        list::for_each_name_once(directory, buffer, |name, kind| {
            names.push(name, kind_of(kind)).ok_or(ListError::TooMany)
        })?;
        names.sort();
        Ok(names)
    }

    /// The next name, and what kind of entry it is said to be.
    pub(super) fn next(&mut self) -> Option<(&CStr, FileKind)> {
        let place = *self.sorted.get(self.next)?;
        self.next += 1;
        Some((c_str(&self.bytes, place), place.kind))
    }

    /// Whether a name is there.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        let prefix = prefix_of(name);
        self.sorted
            .binary_search_by(|p| {
                p.prefix.cmp(&prefix).then_with(|| slice(&self.bytes, *p).cmp(name))
            })
            .is_ok()
    }

    fn push(&mut self, name: &CStr, kind: FileKind) -> Option<()> {
        let place = Place {
            prefix: prefix_of(name.to_bytes()),
            offset: u32::try_from(self.bytes.len()).ok()?,
            length: u16::try_from(name.to_bytes().len()).ok()?,
            kind,
        };
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.sorted.push(place);
        Some(())
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.sorted.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| slice(bytes, *a).cmp(slice(bytes, *b)))
        });
        // A directory that changes while it is listed may name an entry twice.
        self.sorted.dedup_by(|a, b| slice(bytes, *a) == slice(bytes, *b));
    }
}

fn prefix_of(name: &[u8]) -> u64 {
    match name.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut padded = [0; 8];
            padded[..name.len()].copy_from_slice(name);
            u64::from_be_bytes(padded)
        }
    }
}

fn slice(bytes: &[u8], place: Place) -> &[u8] {
    let start = place.offset as usize;
    &bytes[start..start + usize::from(place.length)]
}

fn c_str(bytes: &[u8], place: Place) -> &CStr {
    let start = place.offset as usize;
    CStr::from_bytes_with_nul(&bytes[start..=start + usize::from(place.length)])
        .expect("names are kept with one NUL each, at their end")
}

fn kind_of(kind: FileType) -> FileKind {
    match kind {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Unknown => FileKind::Unknown,
        _ => FileKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::CString;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_come_sorted_by_bytes_and_once(
            names in prop::collection::vec(prop::collection::vec(1u8..=255, 1..20), 0..60),
            letters in 2u8..6,
        ) {
            let mut listed = Names::default();
            for name in &names {
                // Short alphabets make equal prefixes likely.
                let name: Vec<u8> = name.iter().map(|b| b % letters + 1).collect();
                listed.push(&CString::new(name).unwrap(), FileKind::Other).unwrap();
            }
            let expected: BTreeSet<Vec<u8>> = names
                .iter()
                .map(|n| n.iter().map(|b| b % letters + 1).collect())
                .collect();
            listed.sort();
            for name in &expected {
                prop_assert!(listed.contains(name));
            }
            prop_assert!(!listed.contains(b"\xff"));
            let mut found = Vec::new();
            while let Some((name, _)) = listed.next() {
                found.push(name.to_bytes().to_vec());
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
