//! What stands at a path that a person typed, and what its patterns match.

use rustix::fs::FileType;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{Locate, Located, LocatedKind};
use xfer_protocol::path::RelPath;

use super::Shared;
use crate::disk::fault::fault;
use crate::disk::{Errno, glob, list, stat};

impl Shared {
    pub(super) fn locate(&self, locate: &Locate) -> Result<Vec<Located>, Fault> {
        let failed = |errno| fault(errno, Operation::Stat, &RelPath::root());
        if locate.path.len() > limits::PATH_BYTES_MAX {
            return Err(failed(Errno::NAMETOOLONG));
        }
        let plain = || {
            let kind = self.kind_of(&locate.path).map_err(failed)?;
            Ok(vec![Located { path: locate.path.clone(), kind }])
        };
        if !locate.expand || !glob::has_patterns(&locate.path) {
            return plain();
        }
        let mut found = Vec::new();
        for path in self.expand(&locate.path)? {
            let kind = self.kind_of(&path).map_err(failed)?;
            // What comes behind a match need not be there.
            found.extend(kind.map(|kind| Located { path, kind: Some(kind) }));
        }
        if found.is_empty() {
            // As shells do: a name may hold the very characters of a pattern.
            found = plain()?.into_iter().filter(|located| located.kind.is_some()).collect();
        }
        Ok(found)
    }

    fn kind_of(&self, path: &[u8]) -> Result<Option<LocatedKind>, Errno> {
        let follow = path.ends_with(b"/");
        let Some(found) = self.look(path, follow)? else { return Ok(None) };
        Ok(Some(match stat::file_type(&found) {
            FileType::Directory => LocatedKind::Directory,
            FileType::Symlink => match self.look(path, true) {
                Ok(Some(behind)) if stat::file_type(&behind) == FileType::Directory => {
                    LocatedKind::DirectoryLink
                }
                _ => LocatedKind::Other,
            },
            _ => LocatedKind::Other,
        }))
    }

    /// The paths that a pattern matches, sorted; one component after the other.
    fn expand(&self, pattern: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        let mut paths = vec![Vec::new()];
        for component in pattern.split_inclusive(|&b| b == b'/') {
            let (name, slash) = match component.split_last() {
                Some((b'/', name)) => (name, true),
                _ => (component, false),
            };
            let mut longer = Vec::new();
            for path in paths {
                if glob::has_patterns(name) {
                    self.matches_in(&path, name, &mut longer)?;
                } else {
                    longer.push([&path, &*glob::literal(name)].concat());
                }
            }
            if slash {
                longer.iter_mut().for_each(|path| path.push(b'/'));
            }
            paths = longer;
        }
        Ok(paths)
    }

    fn matches_in(
        &self,
        directory: &[u8],
        pattern: &[u8],
        matches: &mut Vec<Vec<u8>>,
    ) -> Result<(), Fault> {
        let failed = |errno| fault(errno, Operation::List, &RelPath::root());
        let listed = match self.open_listing(directory) {
            // A match of an earlier component that is no directory, or is closed to us.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => return Ok(()),
            other => other.map_err(failed)?,
        };
        let mut names = Vec::new();
        let mut too_many = false;
        list::for_each_name(&listed, |name, _| {
            if glob::matches(pattern, name) {
                too_many = matches.len() + names.len() >= limits::BATCH_ENTRIES_MAX;
                names.push(name.to_vec());
            }
            if too_many { Err(Errno::TOOBIG) } else { Ok::<_, Errno>(()) }
        })
        .or_else(|errno| if too_many { Ok(()) } else { Err(failed(errno)) })?;
        if too_many {
            return Err(Fault::new(FaultKind::Limit, Operation::List, RelPath::root()));
        }
        names.sort_unstable();
        matches.extend(names.into_iter().map(|name| [directory, &*name].concat()));
        Ok(())
    }
}
