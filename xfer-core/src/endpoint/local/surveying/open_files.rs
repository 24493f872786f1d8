//! Files that somebody may still write to, as far as this process may look: it is a first word, and
//! the time of a file's last change is the second.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType};
use xfer_protocol::limits::SETTLING_FILES_MAX;
use xfer_protocol::path::RelPath;

use super::container::TEXT_BYTES_MAX;
use super::mount_table::is_at_or_below;
use super::texts;
use crate::disk::{Errno, confine, proc_files, stat};
use crate::endpoint::local::roots::OpenRoot;

/// Bytes of one process's mappings.
const MAPPINGS_BYTES_MAX: usize = 16 << 20;

/// Device and inode of files that other processes have open for writing, or mapped for it. Of the
/// whole machine those on the root's file system count too, whose names may be others there;
/// `confined` tells of what lies below the root's path alone.
pub(super) fn open_files(root: &OpenRoot, confined: bool) -> Vec<(u64, u64)> {
    let Ok(proc) = proc_files::open() else { return Vec::new() };
    let own = proc_files::link(proc.as_fd(), b"self").unwrap_or_default();
    let Ok(mut processes) = proc_files::numbers(proc.as_fd()) else { return Vec::new() };
    processes.retain(|pid| pid.to_string().as_bytes() != own);
    let device = rustix::fs::fstat(root.place()).map(|found| stat::identity(&found).0).ok();
    let device = device.filter(|_| !confined);
    let mut looker = Looker { root, device, found: BTreeSet::new() };
    for pid in processes {
        // Whoever ended, or does not let itself be looked at, tells nothing.
        let _as_far_as_it_lets = looker.look_at(proc.as_fd(), pid);
        if looker.found.len() >= SETTLING_FILES_MAX {
            break;
        }
    }
    looker.found.into_iter().take(SETTLING_FILES_MAX).collect()
}

struct Looker<'a> {
    root: &'a OpenRoot,
    /// The file system of which all files count.
    device: Option<u64>,
    found: BTreeSet<(u64, u64)>,
}

impl Looker<'_> {
    fn look_at(&mut self, proc: BorrowedFd<'_>, pid: u32) -> Result<(), Errno> {
        let process = proc_files::open_directory(proc, pid.to_string().as_bytes())?;
        let descriptors = proc_files::open_directory(process.as_fd(), b"fd")?;
        for number in proc_files::numbers(descriptors.as_fd())? {
            // It may be closed by now.
            let _as_far_as_it_lets = self.descriptor(process.as_fd(), &descriptors, number);
        }
        let maps = proc_files::read(process.as_fd(), b"maps", MAPPINGS_BYTES_MAX)?;
        let mappings = texts::mappings(&maps).unwrap_or_default();
        for mapping in mappings.into_iter().filter(|mapping| mapping.writes) {
            self.found.extend(self.below(&mapping.path));
        }
        Ok(())
    }

    fn descriptor(
        &mut self,
        process: BorrowedFd<'_>,
        descriptors: &OwnedFd,
        number: u32,
    ) -> Result<(), Errno> {
        let name = number.to_string();
        let path = proc_files::link(descriptors.as_fd(), name.as_bytes())?;
        if !path.starts_with(b"/") {
            return Ok(());
        }
        let told = format!("fdinfo/{name}");
        let told = proc_files::read(process, told.as_bytes(), TEXT_BYTES_MAX)?;
        if !texts::opened(&told).is_some_and(|opened| opened.writes) {
            return Ok(());
        }
        let found = rustix::fs::statat(descriptors, &name, AtFlags::empty())?;
        let identity = stat::identity(&found);
        let counts = self.device == Some(identity.0) || is_at_or_below(&path, self.root.path());
        if stat::file_type(&found) == FileType::RegularFile && counts {
            self.found.insert(identity);
        }
        Ok(())
    }

    /// The file at an absolute path, where that is below the root.
    fn below(&self, path: &[u8]) -> Option<(u64, u64)> {
        let root = self.root.path();
        let below = path.strip_prefix(root.strip_suffix(b"/").unwrap_or(root))?;
        let below = RelPath::new(below.strip_prefix(b"/")?.to_vec()).ok()?;
        let parent = below.parent()?;
        let parent =
            confine::open_directory(self.root.place(), &parent, confine::Confinement::default());
        let name = std::ffi::CString::new(below.name()?).ok()?;
        let found = rustix::fs::statat(parent.ok()?, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (stat::file_type(&found) == FileType::RegularFile).then(|| stat::identity(&found))
    }
}
