//! The ignore files of the directories on the way down.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::FilterRules;
use xfer_protocol::path::RelPath;

use super::filter::{Decision, Patterns};
use super::level::Children;
use super::stat::is_directory;
use crate::disk::confine::LEAF;
use crate::disk::fault::fault;
use crate::disk::stat;

/// Bytes in one ignore file.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes in all ignore files on the way down to one entry: bounds what a hostile tree can cost.
const ACTIVE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Ignore files from the most to the least important kind.
pub(crate) const KINDS: [&CStr; 2] = [c".xferignore", c".gitignore"];

/// What the ignore files of the directories on the way down say.
pub(crate) struct IgnoreFiles {
    honoured: [bool; KINDS.len()],
    directories: Vec<Directory>,
    /// Bytes of text behind `directories`.
    active_bytes: usize,
    /// Problems with ignore files, told when the walk comes to the file or leaves its directory.
    problems: Vec<Fault>,
}

struct Directory {
    path: RelPath,
    patterns: [Option<Patterns>; KINDS.len()],
    bytes: usize,
}

impl IgnoreFiles {
    pub(crate) fn new(rules: &FilterRules) -> Self {
        Self {
            honoured: [rules.xferignore, rules.gitignore],
            directories: Vec::new(),
            active_bytes: 0,
            problems: Vec::new(),
        }
    }

    /// Reads the ignore files of a directory. One that cannot be honoured becomes a problem.
    pub(super) fn enter(&mut self, directory: BorrowedFd<'_>, path: &RelPath, children: &Children) {
        let mut texts = [Ok(None), Ok(None)];
        let mut room = self.room();
        for (text, kind) in texts.iter_mut().zip(KINDS) {
            let absent = matches!(children, Children::All(n) if !n.contains(kind.to_bytes()));
            let Ok(place) = path.child(kind.to_bytes()) else { continue };
            if !self.honours(kind) || absent {
                continue;
            }
            *text = read(directory, kind, &place, room.min(FILE_BYTES_MAX));
            room -= text.as_ref().map_or(0, |text| text.as_ref().map_or(0, Vec::len));
        }
        self.enter_texts(path, texts);
    }

    /// Whether files of a kind are honoured.
    pub(crate) fn honours(&self, kind: &CStr) -> bool {
        KINDS.iter().zip(self.honoured).any(|(known, honoured)| *known == kind && honoured)
    }

    /// Bytes that one more ignore file may have.
    pub(crate) fn file_bytes_max(&self) -> usize {
        self.room().min(FILE_BYTES_MAX)
    }

    fn room(&self) -> usize {
        ACTIVE_BYTES_MAX.saturating_sub(self.active_bytes)
    }

    /// Takes the ignore files of a directory, read elsewhere, in the order of [`KINDS`].
    pub(crate) fn enter_texts(
        &mut self,
        path: &RelPath,
        texts: [Result<Option<Vec<u8>>, Fault>; KINDS.len()],
    ) {
        let mut patterns = [None, None];
        let mut bytes = 0;
        for ((text, kind), patterns) in texts.into_iter().zip(KINDS).zip(&mut patterns) {
            match text {
                Ok(None) => {}
                Ok(Some(text)) => {
                    bytes += text.len();
                    *patterns = Patterns::of_file(&text);
                    if let (None, Ok(place)) = (&patterns, path.child(kind.to_bytes())) {
                        let kind = FaultKind::Unsupported;
                        self.problems.push(Fault::new(kind, Operation::Read, place));
                    }
                }
                Err(fault) => self.problems.push(fault),
            }
        }
        if patterns.iter().any(Option::is_some) {
            self.active_bytes += bytes;
            self.directories.push(Directory { path: path.clone(), patterns, bytes });
        }
    }

    /// Forgets the ignore files of a directory; yields problems that were not told yet.
    pub(crate) fn leave(&mut self, path: &RelPath) -> Vec<Fault> {
        if self.directories.last().is_some_and(|d| d.path == *path)
            && let Some(left) = self.directories.pop()
        {
            self.active_bytes -= left.bytes;
        }
        let in_it = |fault: &mut Fault| fault.path.parent().as_ref() == Some(path);
        let mut due: Vec<_> = self.problems.extract_if(.., in_it).collect();
        due.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        due
    }

    /// The problems with ignore files that come before `path` in the order of the walk, each once.
    pub(crate) fn take_problems(&mut self, path: &RelPath) -> Vec<Fault> {
        if self.problems.is_empty() {
            return Vec::new();
        }
        let mut due: Vec<_> = self.problems.extract_if(.., |fault| fault.path <= *path).collect();
        due.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        due
    }

    /// Whether an entry is left out.
    pub(crate) fn exclude(&self, path: &RelPath, directory: bool) -> bool {
        for kind in 0..KINDS.len() {
            for above in self.directories.iter().rev() {
                let Some(patterns) = &above.patterns[kind] else { continue };
                let skipped = match above.path.as_bytes().len() {
                    0 => 0,
                    length => length + 1,
                };
                match patterns.decide(&path.as_bytes()[skipped..], directory) {
                    Decision::Exclude => return true,
                    Decision::Include => return false,
                    Decision::Open => {}
                }
            }
        }
        false
    }
}

/// Reads an ignore file if there is one. A symbolic link is refused, as git refuses it.
fn read(
    directory: BorrowedFd<'_>,
    name: &CStr,
    place: &RelPath,
    limit: usize,
) -> Result<Option<Vec<u8>>, Fault> {
    let failed = |errno| fault(errno, Operation::Read, place);
    let refused = |kind| Fault::new(kind, Operation::Read, place.clone());
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_regular(&stat) => {}
        // A directory of this name is no ignore file.
        Ok(stat) if is_directory(&stat) => return Ok(None),
        Ok(_) => return Err(refused(FaultKind::Unsafe)),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    }
    let flags = OFlags::RDONLY | LEAF;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(failed)?;
    if !is_regular(&rustix::fs::fstat(&file).map_err(failed)?) {
        return Err(refused(FaultKind::Changed));
    }
    let mut text = Vec::new();
    loop {
        let held = text.len();
        // One byte more than allowed shows that there are too many.
        let wanted = (limit + 1 - held).min(64 * 1024);
        text.resize(held + wanted, 0);
        let read = match rustix::io::read(&file, &mut text[held..]) {
            Ok(read) => read,
            Err(Errno::INTR) => {
                text.truncate(held);
                continue;
            }
            Err(errno) => return Err(failed(errno)),
        };
        text.truncate(held + read);
        if text.len() > limit {
            return Err(refused(FaultKind::Limit));
        }
        if read == 0 {
            return Ok(Some(text));
        }
    }
}

fn is_regular(stat: &rustix::fs::Stat) -> bool {
    stat::file_type(stat) == FileType::RegularFile
}
