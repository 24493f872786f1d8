//! What stands at a path that a person typed, and what its patterns match.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::message::{Locate, Located, LocatedKind};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::fault::sort;
use super::listing::Names;
use super::roots::typed;
use crate::disk::glob;
use crate::endpoint::EndpointResult;
use crate::transport::sftp::{Attributes, FileKind, Refusal, SftpError};

impl Shared {
    pub(super) async fn locate(&self, locate: &Locate) -> EndpointResult<Vec<Located>> {
        if locate.path.len() > limits::PATH_BYTES_MAX {
            let kind = FaultKind::NameTooLong;
            return Err(Fault::new(kind, Operation::Stat, RelPath::root()).into());
        }
        if !locate.expand || !glob::has_patterns(&locate.path) {
            return self.locate_plainly(locate).await;
        }
        let mut found = Vec::new();
        for path in self.expand(&locate.path).await? {
            // What comes behind a match need not be there.
            let kind = self.located(&path).await?;
            found.extend(kind.map(|kind| Located { path, kind: Some(kind) }));
        }
        if found.is_empty() {
            // As shells do: a name may hold the very characters of a pattern.
            found = self.locate_plainly(locate).await?;
            found.retain(|located| located.kind.is_some());
        }
        Ok(found)
    }

    async fn locate_plainly(&self, locate: &Locate) -> EndpointResult<Vec<Located>> {
        let kind = self.located(&locate.path).await?;
        Ok(vec![Located { path: locate.path.clone(), kind }])
    }

    async fn located(&self, path: &[u8]) -> EndpointResult<Option<LocatedKind>> {
        let Some(found) = self.look(path, path.ends_with(b"/")).await? else { return Ok(None) };
        Ok(Some(match found.kind() {
            Some(FileKind::Directory) => LocatedKind::Directory,
            Some(FileKind::Symlink) => match self.look(path, true).await {
                Ok(Some(behind)) if behind.kind() == Some(FileKind::Directory) => {
                    LocatedKind::DirectoryLink
                }
                Ok(_) | Err(crate::endpoint::EndpointError::Fault(_)) => LocatedKind::Other,
                Err(error) => return Err(error),
            },
            _ => LocatedKind::Other,
        }))
    }

    async fn look(&self, path: &[u8], follow: bool) -> EndpointResult<Option<Attributes>> {
        match self.sftp.attributes(typed(path), follow).await {
            Ok(found) => Ok(Some(found)),
            Err(SftpError::Refused(Refusal::NotFound)) => Ok(None),
            Err(error) => Err(sort(error, Operation::Stat, &RelPath::root())),
        }
    }

    /// The paths that a pattern matches, sorted; one component after the other.
    async fn expand(&self, pattern: &[u8]) -> EndpointResult<Vec<Vec<u8>>> {
        let mut paths = vec![Vec::new()];
        for component in pattern.split_inclusive(|&b| b == b'/') {
            let (name, slash) = match component.split_last() {
                Some((b'/', name)) => (name, true),
                _ => (component, false),
            };
            let mut longer = Vec::new();
            for path in paths {
                if glob::has_patterns(name) {
                    self.matches_in(&path, name, &mut longer).await?;
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

    async fn matches_in(
        &self,
        directory: &[u8],
        pattern: &[u8],
        matches: &mut Vec<Vec<u8>>,
    ) -> EndpointResult<()> {
        let limit = || Fault::new(FaultKind::Limit, Operation::List, RelPath::root());
        let failed = |error| sort(error, Operation::List, &RelPath::root());
        let handle = match self.sftp.open_directory(typed(directory)).await {
            // A match of an earlier component that is no directory, or is closed to us.
            Err(SftpError::Refused(_)) => return Ok(()),
            other => other.map_err(failed)?,
        };
        let mut names = Names::default();
        while let Some(more) = handle.names().await.map_err(failed)? {
            names.take(more, |name| glob::matches(pattern, name)).map_err(|()| limit())?;
        }
        for found in names.sorted() {
            if matches.len() >= limits::BATCH_ENTRIES_MAX {
                return Err(limit().into());
            }
            matches.push([directory, &found.name].concat());
        }
        Ok(())
    }
}
