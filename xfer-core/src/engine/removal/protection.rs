//! What stays though the source does not have it: what its filters leave out, and what is ours.

use std::collections::VecDeque;

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem, Stamp};
use xfer_protocol::message::{FilesAt, FilterRules, Scan, ScanOptions};
use xfer_protocol::path::RelPath;

use crate::endpoint::EndpointError;
use crate::engine::beside::RECEIPTS;
use crate::engine::context::{Context, Stop};
use crate::engine::ledger::Side;
use crate::engine::pack::first_of;
use crate::scan::filter::{Decision, Filter};
use crate::scan::ignored::{IgnoreFiles, KINDS};

/// What is known of an entry that the source does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It stays, with all below it.
    Protected,
    /// It may go.
    Foreign,
    /// It may go unless an ignore file of the source leaves it out.
    Unless,
}

/// Asked in the order of paths. Paths are those of the destination.
pub(super) struct Protection {
    filter: Filter,
    rules: FilterRules,
    backup: Option<RelPath>,
    /// What the source's scan has left out, as far as nothing behind it was asked for.
    excluded: VecDeque<RelPath>,
    /// What is protected with all below it, that was come to last.
    whole: Option<RelPath>,
    /// Ignore files of the source that are no more than paths yet, and those with a stamp.
    unseen: Vec<RelPath>,
    seen: Vec<(RelPath, Stamp)>,
}

impl Protection {
    pub(super) fn new(cx: &Context) -> Result<Self, Stop> {
        let rules = cx.options.selection.filter.clone();
        let limit = |_| Fault::new(FaultKind::Limit, Operation::List, RelPath::root());
        let filter = Filter::new(&rules).map_err(|e| Stop::Fault(Side::Source, limit(e)))?;
        Ok(Self {
            filter,
            rules,
            backup: cx.options.removal.backup.clone(),
            excluded: VecDeque::new(),
            whole: None,
            unseen: Vec::new(),
            seen: Vec::new(),
        })
    }

    /// Notes an entry of the source: an ignore file speaks of names at the destination too.
    pub(super) fn selected(&mut self, source: &Entry) {
        let is_file = matches!(source.kind, EntryKind::File { .. });
        if is_file && self.is_ignore_file(&source.path) {
            self.seen.push((source.path.clone(), source.stamp()));
        }
    }

    /// Notes an entry of the source that was left out, and where it would go.
    pub(super) fn excluded(&mut self, source: &RelPath, path: RelPath) {
        if self.is_ignore_file(source) {
            self.unseen.push(source.clone());
        }
        self.excluded.push_back(path);
    }

    /// Notes a file of the source that is left for later.
    pub(super) fn deferred(&mut self, source: &Entry, path: RelPath) {
        self.selected(source);
        self.excluded.push_back(path);
    }

    fn is_ignore_file(&self, path: &RelPath) -> bool {
        let honoured = [self.rules.xferignore, self.rules.gitignore];
        let named = |kind: &std::ffi::CStr| path.name() == Some(kind.to_bytes());
        KINDS.iter().zip(honoured).any(|(kind, honoured)| honoured && named(kind))
    }

    /// What is known of an entry whose path below the mapped one is `below`.
    pub(super) fn standing(&mut self, entry: &Entry, below: &RelPath) -> Standing {
        let path = &entry.path;
        if self.whole.as_ref().is_some_and(|whole| path.starts_with(whole)) {
            return Standing::Protected;
        }
        while self.excluded.front().is_some_and(|left_out| left_out <= path) {
            self.whole = self.excluded.pop_front();
        }
        if self.whole.as_ref().is_some_and(|whole| path.starts_with(whole)) {
            return Standing::Protected;
        }
        let is_directory = entry.kind == EntryKind::Directory;
        let kept = self.backup.as_ref().is_some_and(|backup| path.starts_with(backup));
        let is_ours = kept || is_directory && path.name() == Some(RECEIPTS);
        let decision = self.filter.decide(below.as_bytes(), is_directory);
        let admitted = self.filter.admits(&entry.kind, entry.metadata.modified);
        match decision {
            _ if is_ours || !admitted => {}
            Decision::Exclude => {}
            Decision::Include => return Standing::Foreign,
            Decision::Open => return Standing::Unless,
        }
        self.whole = Some(path.clone());
        Standing::Protected
    }

    /// Whether the backup directory leads to an entry, or is it.
    pub(super) fn holds_backup(&self, path: &RelPath) -> bool {
        self.backup.as_ref().is_some_and(|backup| backup.starts_with(path))
    }

    /// The ignore files of the source, in the order of their directories.
    pub(super) async fn ignore_files(self, cx: &Context) -> Result<Ignored, EndpointError> {
        let mut files = self.seen;
        for path in self.unseen {
            let scan = Scan {
                root: cx.source_root,
                under: path.clone(),
                options: ScanOptions { follow_links: false, ..ScanOptions::default() },
            };
            if let Some(ScanItem::Entry(entry)) = first_of(cx, scan).await?
                && matches!(entry.kind, EntryKind::File { .. })
            {
                files.push((path, entry.stamp()));
            }
        }
        files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut texts = Vec::with_capacity(files.len());
        for (path, stamp) in files {
            let asked = vec![(path.clone(), stamp)];
            let request = FilesAt { root: cx.source_root, files: asked };
            let (mut read, bytes) = cx.source.read_pack(request).await?;
            read.pop().unwrap_or_else(|| {
                Err(Fault::new(FaultKind::Protocol, Operation::Read, path.clone()))
            })?;
            texts.push((path, bytes.to_vec()));
        }
        texts.reverse();
        Ok(Ignored { files: IgnoreFiles::new(&self.rules), texts, entered: Vec::new() })
    }
}

/// What the ignore files of the source say, asked in the order of paths.
pub(super) struct Ignored {
    files: IgnoreFiles,
    /// Those whose directories were not come to, the next one last.
    texts: Vec<(RelPath, Vec<u8>)>,
    entered: Vec<RelPath>,
}

impl Ignored {
    /// Whether an entry would be left out if the source had it, at a path there.
    pub(super) fn leaves_out(&mut self, path: &RelPath, is_directory: bool) -> bool {
        while let Some(directory) = self.entered.last().filter(|d| !path.starts_with(d)) {
            drop(self.files.leave(directory));
            self.entered.pop();
        }
        while let Some(directory) = self.texts.last().map(|(file, _)| file.parent()) {
            let directory = directory.unwrap_or_default();
            if directory > *path {
                break;
            }
            self.enter(&directory, path.starts_with(&directory));
        }
        self.files.exclude(path, is_directory)
    }

    /// Takes the files of a directory, and heeds them where it leads to what is asked for.
    fn enter(&mut self, directory: &RelPath, heeded: bool) {
        let mut texts = [Ok(None), Ok(None)];
        while self.texts.last().is_some_and(|(f, _)| f.parent().as_ref() == Some(directory)) {
            let Some((file, text)) = self.texts.pop() else { break };
            let kind = KINDS.iter().position(|kind| file.name() == Some(kind.to_bytes()));
            if let Some(kind) = kind {
                texts[kind] = Ok(Some(text));
            }
        }
        if heeded {
            self.files.enter_texts(directory, texts);
            self.entered.push(directory.clone());
        }
    }
}
