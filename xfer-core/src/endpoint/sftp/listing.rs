//! The names in one directory, judged before they are believed.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::path::RelPath;

use super::fault::{own, sort};
use super::roots::OpenRoot;
use super::{AT_ONCE, Shared, at_once};
use crate::endpoint::EndpointResult;
use crate::transport::sftp::{Attributes, FileKind, Name, OpenHandle, Refusal, SftpError};

/// Requests for more names that are under way at a time, once a directory turned out large.
const ASKED_MAX: usize = 16;

/// Bytes that the names of one directory may take: some hundred thousand.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// What one name takes beside its bytes.
const NAME_COST: usize = 96;

/// Names as they arrive.
#[derive(Default)]
pub(super) struct Names {
    found: Vec<Found>,
    /// Names that cannot be one entry's: the server would lead us elsewhere.
    hostile: bool,
    too_long: bool,
    bytes: usize,
}

/// One name of a directory.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: Box<[u8]>,
    pub(super) attributes: Attributes,
    /// What a symbolic link holds, or why that is not known.
    pub(super) content: Option<Result<Bytes, Fault>>,
}

impl Names {
    /// Takes names that are wanted; an error when they are too many.
    pub(super) fn take(
        &mut self,
        names: Vec<Name>,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), ()> {
        for Name { name, attributes } in names {
            match &*name {
                // The directory itself and the one above, which servers do list.
                b"." | b".." => continue,
                bytes if bytes.is_empty() || bytes.contains(&b'/') || bytes.contains(&0) => {
                    self.hostile = true;
                    continue;
                }
                bytes if bytes.len() > limits::NAME_BYTES_MAX => {
                    self.too_long = true;
                    continue;
                }
                bytes if !wanted(bytes) => continue,
                _ => {}
            }
            self.bytes += NAME_COST + name.len();
            if self.bytes > NAMES_BYTES_MAX {
                return Err(());
            }
            self.found.push(Found { name: name[..].into(), attributes, content: None });
        }
        Ok(())
    }

    /// All names in the order of their bytes, each once.
    pub(super) fn sorted(mut self) -> VecDeque<Found> {
        self.found.sort_by(|a, b| a.name.cmp(&b.name));
        self.found.dedup_by(|later, earlier| later.name == earlier.name);
        self.found.into()
    }
}

/// A listed directory.
pub(super) struct Listing {
    pub(super) found: VecDeque<Found>,
    /// What is wrong with it as a whole.
    pub(super) problems: Vec<Fault>,
}

impl Shared {
    /// Lists a directory that was seen to be one.
    pub(super) async fn list(&self, root: &OpenRoot, path: &RelPath) -> EndpointResult<Listing> {
        let failed = |error| sort(error, Operation::List, path);
        let _place = self.handles.acquire().await;
        let handle = self.sftp.open_directory(&root.at(path)).await.map_err(failed)?;
        let mut names = Names::default();
        self.read_names(&handle, &mut names, path).await?;
        drop(handle);
        let mut problems = Vec::new();
        for (wrong, kind) in
            [(names.hostile, FaultKind::Unsafe), (names.too_long, FaultKind::NameTooLong)]
        {
            if wrong {
                problems.push(Fault::new(kind, Operation::List, path.clone()));
            }
        }
        let mut found = names.sorted();
        self.look_closer(root, path, &mut found).await?;
        Ok(Listing { found, problems })
    }

    /// Asks for more names before the last have come: a large directory is thousands of answers.
    async fn read_names(
        &self,
        handle: &OpenHandle,
        names: &mut Names,
        path: &RelPath,
    ) -> EndpointResult<()> {
        let mut asked = FuturesOrdered::new();
        let mut wanted = 2;
        let mut ended = false;
        loop {
            while !ended && asked.len() < wanted {
                asked.push_back(handle.names());
            }
            let Some(answer) = asked.next().await else { return Ok(()) };
            match answer.map_err(|error| sort(error, Operation::List, path))? {
                Some(more) => {
                    wanted = (wanted * 2).min(ASKED_MAX);
                    let limit = |()| Fault::new(FaultKind::Limit, Operation::List, path.clone());
                    names.take(more, |_| true).map_err(limit)?;
                }
                None => ended = true,
            }
        }
    }

    /// Asks for what a listing does not tell: the content of links, and kinds where they are left
    /// out.
    async fn look_closer(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        found: &mut VecDeque<Found>,
    ) -> EndpointResult<()> {
        let open = |f: &Found| matches!(f.attributes.kind(), None | Some(FileKind::Symlink));
        let each = found.iter_mut().filter(|f| open(f));
        let each = each.map(|found| self.look_at_found(root, path, found).boxed()).collect();
        at_once(AT_ONCE, each).await.map(drop)
    }

    async fn look_at_found(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        found: &mut Found,
    ) -> EndpointResult<()> {
        // The name was judged when it was taken.
        let Ok(below) = path.child(&found.name) else { return Ok(()) };
        match own(self.look_at(root, &below, found.attributes).await)? {
            Ok((attributes, content)) => {
                (found.attributes, found.content) = (attributes, content.map(Ok));
            }
            Err(fault) => found.content = Some(Err(fault)),
        }
        Ok(())
    }

    /// What an entry is, and the content of a link.
    async fn look_at(
        &self,
        root: &OpenRoot,
        path: &RelPath,
        known: Attributes,
    ) -> EndpointResult<(Attributes, Option<Bytes>)> {
        let at = root.at(path);
        let failed = |error| sort(error, Operation::Stat, path);
        let attributes = match known.kind() {
            Some(_) => known,
            None => self.sftp.attributes(&at, false).await.map_err(failed)?,
        };
        let content = match attributes.kind() {
            Some(FileKind::Symlink) => {
                let read = self.sftp.link_content(&at).await;
                Some(read.map_err(|error| sort(error, Operation::Read, path))?)
            }
            _ => None,
        };
        Ok((attributes, content))
    }

    /// One entry by its name, as a listing would have told it; `None` where there is none.
    pub(super) async fn find(
        &self,
        root: &OpenRoot,
        path: &RelPath,
    ) -> EndpointResult<Option<Found>> {
        let name = path.name().unwrap_or_default().into();
        match self.sftp.attributes(&root.at(path), false).await {
            Err(SftpError::Refused(Refusal::NotFound)) => Ok(None),
            Err(error) => Err(sort(error, Operation::Stat, path)),
            Ok(found) => {
                let (attributes, content) = self.look_at(root, path, found).await?;
                Ok(Some(Found { name, attributes, content: content.map(Ok) }))
            }
        }
    }
}
