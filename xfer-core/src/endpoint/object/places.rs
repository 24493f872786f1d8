//! What stands where something is to be written: a store would not mind a file in the place of a
//! directory, so it is looked at here, with one list for each directory that is there already.

use std::collections::HashSet;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use super::fault::sort;
use super::keys::path_of;
use super::manifest::DescribedKind;
use super::roots::OpenRoot;
use super::store::{Key, List, Listed, StoreResult};
use super::{RECORDS, Shared, guard};
use crate::disk::is_partial_name;
use crate::endpoint::EndpointResult;

/// Directories whose names are known; forgotten all at once beyond that.
const KNOWN_MAX: usize = 1 << 15;

/// Files that are known of one directory; beyond that, each is looked for.
const FILES_MAX: usize = 1 << 16;

/// Names that one list tells.
const NAMES_LISTED: u16 = 1000;

/// The names of one directory.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Whether there are no others.
    complete: bool,
    files: HashSet<Box<[u8]>>,
    directories: HashSet<Box<[u8]>>,
}

/// What is known of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Nothing,
    File,
    Link,
    Directory,
}

impl Names {
    fn none() -> Self {
        Self { complete: true, files: HashSet::new(), directories: HashSet::new() }
    }

    /// What has a name; `None` where that is not known.
    fn find(&self, name: &[u8]) -> Option<Standing> {
        if self.directories.contains(name) {
            Some(Standing::Directory)
        } else if self.files.contains(name) {
            Some(Standing::File)
        } else {
            self.complete.then_some(Standing::Nothing)
        }
    }
}

impl OpenRoot {
    fn knows(&self, directory: &RelPath) -> bool {
        guard(&self.names).contains_key(directory)
    }

    fn learned(&self, directory: &RelPath, names: Names) {
        let mut known = guard(&self.names);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.entry(directory.clone()).or_insert(names);
    }

    fn known(&self, path: &RelPath) -> Option<Standing> {
        let names = guard(&self.names);
        names.get(&path.parent().unwrap_or_default())?.find(path.name()?)
    }

    /// Notes that nothing stands somewhere any more.
    pub(super) fn note_gone(&self, path: &RelPath) {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return };
        let mut names = guard(&self.names);
        names.remove(path);
        if let Some(known) = names.get_mut(&parent) {
            known.files.remove(name);
            known.directories.remove(name);
        }
    }

    /// Notes what stands somewhere now.
    pub(super) fn note(&self, path: &RelPath, standing: Standing) {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return };
        let mut names = guard(&self.names);
        let Some(known) = names.get_mut(&parent) else { return };
        known.files.remove(name);
        match standing {
            Standing::Directory => drop(known.directories.insert(name.into())),
            Standing::File if known.files.len() < FILES_MAX => {
                known.files.insert(name.into());
            }
            Standing::File => {
                known.files.clear();
                known.complete = false;
            }
            Standing::Link | Standing::Nothing => {}
        }
    }
}

impl Shared {
    /// Finds out which names a directory has, where nothing is known of it.
    async fn learn(&self, root: &OpenRoot, directory: &RelPath) -> EndpointResult<()> {
        if root.knows(directory) {
            return Ok(());
        }
        let prefix = root.prefix_of(directory, Operation::List)?;
        let list = List { prefix: &prefix, folded: true, page: None, most: NAMES_LISTED };
        let page = self.store.list(list).await;
        let page = page.map_err(|error| sort(error, Operation::List, directory))?;
        let name = |key: &str| path_of(&prefix, key)?.name().map(Box::from);
        let files = page.objects.iter().filter_map(|object| name(&object.key)).collect();
        let directories = page.prefixes.iter().filter_map(|key| name(key.strip_suffix('/')?));
        let directories = directories.collect();
        root.learned(directory, Names { complete: page.next.is_none(), files, directories });
        Ok(())
    }

    /// Looks at what leads to an entry: none of it may be a link, nor a file.
    pub(super) async fn reach(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
        makes: bool,
    ) -> EndpointResult<()> {
        let fault = |kind| Fault::new(kind, during, path.clone());
        let above = std::iter::successors(path.parent(), RelPath::parent);
        let mut above: Vec<_> = above.collect();
        above.reverse();
        for directory in &above {
            if !directory.is_root() {
                match self.standing(root, directory).await? {
                    Standing::Link => return Err(fault(FaultKind::Unsafe).into()),
                    Standing::File => return Err(fault(FaultKind::Conflict).into()),
                    Standing::Directory => {}
                    Standing::Nothing => {
                        // Nothing lies below what is not there.
                        root.learned(directory, Names::none());
                        if makes {
                            root.note(directory, Standing::Directory);
                        }
                    }
                }
            }
            self.learn(root, directory).await?;
        }
        Ok(())
    }

    /// What stands at a path whose directory is known.
    pub(super) async fn standing(
        &self,
        root: &OpenRoot,
        path: &RelPath,
    ) -> EndpointResult<Standing> {
        if root.new_link(path).is_some() {
            return Ok(Standing::Link);
        }
        let found = match root.known(path) {
            Some(found) => found,
            None => self.look(root, path).await?,
        };
        if found != Standing::Nothing {
            return Ok(found);
        }
        Ok(match root.described(path).map(|described| described.kind) {
            Some(DescribedKind::Directory) => Standing::Directory,
            Some(DescribedKind::Symlink { .. }) => Standing::Link,
            // The object is gone.
            Some(DescribedKind::File { .. }) | None => Standing::Nothing,
        })
    }

    async fn look(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<Standing> {
        let key = root.key(path, Operation::Stat)?;
        let prefix = format!("{}/", key.as_str());
        let list = List { prefix: &prefix, folded: false, page: None, most: 1 };
        let (object, below) = tokio::join!(self.listed(&key), self.store.list(list));
        let failed = |error| sort(error, Operation::Stat, path);
        let (object, below) = (object.map_err(failed)?, below.map_err(failed)?);
        Ok(match object {
            _ if !below.objects.is_empty() => Standing::Directory,
            Some(_) => Standing::File,
            None => Standing::Nothing,
        })
    }

    /// The object of exactly this key, as a list tells it: stores whose keys are names of files
    /// fail where they are asked for what is a directory there.
    pub(super) async fn listed(&self, key: &Key) -> StoreResult<Option<Listed>> {
        let list = List { prefix: key.as_str(), folded: false, page: None, most: 1 };
        let first = self.store.list(list).await?.objects.into_iter().next();
        Ok(first.filter(|object| object.key == key.as_str()))
    }

    /// The same for an entry that is to be written, whose name is checked; what stands there comes
    /// back.
    pub(super) async fn reach_new(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        during: Operation,
    ) -> EndpointResult<Standing> {
        let fault = |kind| Fault::new(kind, during, path.clone());
        let is_ours = |name: &[u8]| is_partial_name(name) || name == RECORDS.as_bytes();
        if path.is_root() {
            return Err(fault(FaultKind::Conflict).into());
        }
        root.key(path, during)?;
        if path.components().any(is_ours) {
            return Err(fault(FaultKind::Unsafe).into());
        }
        self.reach(root, path, during, true).await?;
        self.standing(root, path).await
    }
}
