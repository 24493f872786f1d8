//! What is moved, and where it lies

use std::fs;
use std::path::{Path, PathBuf};

use xfer_tests::tree;

use crate::Done;

pub(super) const MIB: u64 = 1 << 20;

const SEED: u64 = 2026;
const FILES_A_DIRECTORY: u64 = 100;

/// So many files of one size
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Case {
    pub(super) fn new(files: u64, bytes: u64) -> Self {
        Self { files, bytes }
    }

    pub(super) fn total(self) -> u64 {
        self.files * self.bytes
    }

    pub(super) fn name(self) -> String {
        let units = [(1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB"), (1, "B")];
        let unit = units.into_iter().find(|(unit, _)| self.bytes.is_multiple_of(*unit));
        let (unit, name) = unit.unwrap_or((1, "B"));
        format!("{} × {} {name}", self.files, self.bytes / unit)
    }

    /// How many times the best peer's speed is wished for
    pub(super) fn wanted(self) -> f64 {
        if self.bytes < MIB { 1.5 } else { 1.2 }
    }

    /// The directory of its files below `room`, made at the first wish
    pub(super) fn made(self, room: &Path) -> Done<PathBuf> {
        let root = room.join(format!("{}x{}", self.files, self.bytes));
        if root.exists() {
            return Ok(root);
        }
        for index in 0..self.files {
            let directory = match self.files > FILES_A_DIRECTORY {
                true => root.join(format!("d{:04}", index / FILES_A_DIRECTORY)),
                false => root.clone(),
            };
            fs::create_dir_all(&directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
            tree::big_file(&directory.join(format!("f{index:06}")), self.bytes, SEED + index);
        }
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_its_files_and_a_name() {
        assert_eq!(Case::new(64, 64 * MIB).name(), "64 × 64 MiB");
        assert_eq!(Case::new(3, 1000).name(), "3 × 1000 B");
        let room = tempfile::tempdir().unwrap();
        let case = Case::new(150, 10);
        let root = case.made(room.path()).unwrap();
        let extent = crate::measure::extent(&root).unwrap();
        assert_eq!((extent.files, extent.bytes), (150, case.total()));
    }
}
