//! What a session is asked about entries and bytes.

use bytes::{Bytes, BytesMut};
use globset::GlobBuilder;
use xfer_protocol::digest::{Digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits::{self, SCAN_BATCHES_KEPT};
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{
    Digests, FileAt, FileRead, FilesAt, HashBlocks, HashFiles, Locate, Located, LocatedKind,
    ReadBlock, ReadFile, Scan, ScanBatch, ScanIndex, ScanNext, Subject,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::Profile;
use super::content::Content;
use super::session::{Session, place};
use super::tree::{NodeKind, Tree};
use crate::scan::filter::{Decision, Filter};

/// Items in one batch: few, so that small trees need several.
const BATCH_ITEMS: usize = 16;

/// A path as typed, from the top of the store; `None` if it has none there.
pub(super) fn location(typed: &[u8]) -> Option<RelPath> {
    let mut path = RelPath::root();
    for component in typed.split(|b| *b == b'/') {
        path = match component {
            b"" | b"." | b"~" => path,
            b".." => path.parent().unwrap_or_default(),
            name => path.child(name).ok()?,
        };
    }
    Some(path)
}

pub(super) fn locate(tree: &Tree, locate: &Locate) -> Vec<Located> {
    let pattern = std::str::from_utf8(&locate.path)
        .ok()
        .filter(|typed| locate.expand && typed.contains(['*', '?', '[']));
    let glob = pattern.and_then(|typed| {
        let typed = typed.trim_matches('/');
        GlobBuilder::new(typed).literal_separator(true).build().ok()
    });
    let Some(glob) = glob else {
        return vec![Located { path: locate.path.clone(), kind: kind_at(tree, &locate.path) }];
    };
    let matcher = glob.compile_matcher();
    let absolute = locate.path.starts_with(b"/");
    let mut found: Vec<RelPath> = Vec::new();
    let top = RelPath::root();
    for name in tree.below(&top) {
        let mut path = Some(name.clone());
        // Directories may be no names of their own.
        while let Some(here) = path.filter(|here| !here.is_root()) {
            let text = std::str::from_utf8(here.as_bytes());
            if text.is_ok_and(|text| matcher.is_match(text)) && !found.contains(&here) {
                found.push(here.clone());
            }
            path = here.parent();
        }
    }
    found.sort();
    let row = |path: RelPath| {
        let prefix: &[u8] = if absolute { b"/" } else { b"" };
        let path = [prefix, path.as_bytes()].concat();
        Located { kind: kind_at(tree, &path), path }
    };
    found.into_iter().map(row).collect()
}

fn kind_at(tree: &Tree, typed: &[u8]) -> Option<LocatedKind> {
    let path = location(typed)?;
    let real = tree.resolve(&path);
    let leads_to_directory = real.is_some_and(|real| tree.is_directory(&real));
    let here = match path.parent() {
        Some(parent) => tree.resolve(&parent)?.child(path.name()?).ok()?,
        None => path,
    };
    match tree.kind(&here) {
        Some(NodeKind::Symlink(_)) if leads_to_directory && typed.ends_with(b"/") => {
            Some(LocatedKind::Directory)
        }
        Some(NodeKind::Symlink(_)) if leads_to_directory => Some(LocatedKind::DirectoryLink),
        Some(NodeKind::Directory) => Some(LocatedKind::Directory),
        Some(_) => Some(LocatedKind::Other),
        None => leads_to_directory.then_some(LocatedKind::Directory),
    }
}

impl Session {
    pub(super) fn scan(&mut self, tree: &Tree, scan: Scan) -> Result<ScanIndex, Fault> {
        let base = self.base(scan.root, Operation::List)?;
        let items = list(tree, base, &scan, self.profile)?;
        let batches = items.chunks(BATCH_ITEMS).map(<[ScanItem]>::to_vec).collect();
        self.scans.push(batches);
        Ok(ScanIndex(u32::try_from(self.scans.len() - 1).unwrap_or(u32::MAX)))
    }

    pub(super) fn scan_next(&mut self, next: ScanNext) -> Result<ScanBatch, Fault> {
        let unknown = || Fault::new(FaultKind::Protocol, Operation::List, RelPath::root());
        let at = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let batches = self.scans.get_mut(at(u64::from(next.scan.0))).ok_or_else(unknown)?;
        let sequence = next.sequence;
        // Those who ask have what lies before.
        if let Some(had) = sequence.checked_sub(SCAN_BATCHES_KEPT) {
            batches.iter_mut().take(at(had) + 1).for_each(Vec::clear);
        }
        let items = batches.get(at(sequence)).cloned().unwrap_or_default();
        let last = at(sequence).saturating_add(1) >= batches.len();
        Ok(ScanBatch { sequence, items, last })
    }

    pub(super) fn data_ranges(&self, tree: &Tree, at: &FileAt) -> Result<Vec<ByteRange>, Fault> {
        let content = self.file(tree, at, Operation::Read)?;
        Ok(match self.profile {
            Profile::Disk => content.data(),
            Profile::Parts => ByteRange::whole(content.size()).into_iter().collect(),
        })
    }

    pub(super) fn read_block(
        &self,
        tree: &Tree,
        read: &ReadBlock,
    ) -> Result<(Vec<Digest>, Bytes), Fault> {
        let at = &read.file;
        let protocol = || Fault::new(FaultKind::Protocol, Operation::Read, at.path.clone());
        let content = self.file(tree, at, Operation::Read)?;
        let range = read.range;
        if range.end() > content.size() || range.len() > limits::PAYLOAD_BYTES_MAX as u64 {
            return Err(protocol());
        }
        let bytes = content.read(range);
        let digests = range_digests(range.start(), &bytes, content.size()).ok_or_else(protocol)?;
        Ok((digests, bytes))
    }

    pub(super) fn read_pack(
        &self,
        tree: &Tree,
        files: &FilesAt,
    ) -> Result<(Vec<FileRead>, Bytes), Fault> {
        let limit = || Fault::new(FaultKind::Limit, Operation::Read, RelPath::root());
        let sizes = files.files.iter().map(|(_, stamp)| stamp.size);
        let total = sizes.fold(0, u64::saturating_add);
        if files.files.len() > limits::BATCH_ENTRIES_MAX || total > limits::PAYLOAD_BYTES_MAX as u64
        {
            return Err(limit());
        }
        let mut payload = BytesMut::new();
        let mut reads = Vec::new();
        for (path, stamp) in &files.files {
            let at = FileAt { root: files.root, path: path.clone(), stamp: *stamp };
            reads.push(self.file(tree, &at, Operation::Read).map(|content| {
                if let Some(whole) = ByteRange::whole(content.size()) {
                    payload.extend_from_slice(&content.read(whole));
                }
                ReadFile { size: content.size(), digest: content.digest() }
            }));
        }
        Ok((reads, payload.freeze()))
    }

    pub(super) fn hash_blocks(&mut self, tree: &Tree, hash: &HashBlocks) -> Result<Digests, Fault> {
        let digests = match &hash.subject {
            Subject::File(at) => {
                let content = self.file(tree, at, Operation::Hash)?;
                block_digests(content, hash, &at.path)?
            }
            Subject::Partial(index) => {
                let fault = |kind| Fault::new(kind, Operation::Hash, RelPath::root());
                if self.profile == Profile::Parts {
                    return Err(fault(FaultKind::Unsupported));
                }
                let assembly =
                    self.partials.get_mut(index).ok_or_else(|| fault(FaultKind::Protocol))?;
                let content =
                    tree.partials.get(&assembly.place).ok_or_else(|| fault(FaultKind::Protocol))?;
                let digests = block_digests(content, hash, &assembly.path)?;
                assembly.hashed.insert(hash.range);
                digests
            }
        };
        Ok(Digests { digests, past_cache: true })
    }

    pub(super) fn hash_files(
        &self,
        tree: &Tree,
        hash: &HashFiles,
    ) -> Result<(Vec<Result<Digest, Fault>>, bool), Fault> {
        let base = self.base(hash.files.root, Operation::Hash)?;
        let digest = |(path, stamp): &(RelPath, _)| {
            let place = place(base, path, Operation::Hash)?;
            let content = tree.file(&place, *stamp).map_err(|fault| at(fault, path))?;
            Ok(content.digest())
        };
        Ok((hash.files.files.iter().map(digest).collect(), true))
    }

    fn file<'t>(
        &self,
        tree: &'t Tree,
        file: &FileAt,
        during: Operation,
    ) -> Result<&'t Content, Fault> {
        let place = place(self.base(file.root, during)?, &file.path, during)?;
        tree.file(&place, file.stamp).map_err(|fault| Fault { during, ..at(fault, &file.path) })
    }
}

/// A failure at a place in the store, told as one below a root.
pub(super) fn at(fault: Fault, path: &RelPath) -> Fault {
    Fault { path: path.clone(), ..fault }
}

fn block_digests(
    content: &Content,
    hash: &HashBlocks,
    path: &RelPath,
) -> Result<Vec<Digest>, Fault> {
    let (range, block) = (hash.range, hash.block.bytes());
    let on_grid = range.start().is_multiple_of(block)
        && (range.end().is_multiple_of(block) || range.end() == content.size());
    let count = range.len().div_ceil(block);
    if !on_grid || range.end() > content.size() || count > limits::DIGESTS_MAX as u64 {
        return Err(Fault::new(FaultKind::Protocol, Operation::Hash, path.clone()));
    }
    let mut digests = Vec::new();
    let mut start = range.start();
    while let Ok(span) = ByteRange::new(start, range.end().min(start + block)) {
        digests.push(content.span_digest(span));
        start = span.end();
    }
    Ok(digests)
}

/// All items of a scan, in order.
fn list(
    tree: &Tree,
    base: &RelPath,
    scan: &Scan,
    profile: Profile,
) -> Result<Vec<ScanItem>, Fault> {
    let fault = |kind, path: &RelPath| Fault::new(kind, Operation::List, path.clone());
    let filter =
        Filter::new(&scan.options.filter).map_err(|_| fault(FaultKind::Limit, &scan.under))?;
    let top = place(base, &scan.under, Operation::List)?;
    let mut items = Vec::new();
    let mut skipped: Option<RelPath> = None;
    for name in tree.below(&top) {
        let path = name.strip_prefix(base).unwrap_or_default();
        if skipped.as_ref().is_some_and(|skipped| path.starts_with(skipped)) || !wanted(scan, &path)
        {
            continue;
        }
        if let Some(excluded) = excluded_at(tree, base, &filter, &scan.under, &path) {
            skipped = Some(excluded.clone());
            items.push(ScanItem::Excluded(excluded));
            continue;
        }
        let Some(entry) = tree.entry(name) else { continue };
        items.push(if filter.admits(&entry.kind, entry.metadata.modified) {
            ScanItem::Entry(as_asked(Entry { path, ..entry }, scan))
        } else {
            ScanItem::Excluded(path)
        });
    }
    let empty = items.is_empty();
    if empty && (profile == Profile::Disk || !scan.under.is_root()) {
        return Err(fault(FaultKind::NotFound, &scan.under));
    }
    for (target, content) in &tree.partials {
        let Some(path) = target.strip_prefix(base).filter(|p| p.starts_with(&scan.under)) else {
            continue;
        };
        let own = crate::disk::partial_name(path.name().unwrap_or_default());
        let own = path.parent().unwrap_or_default().child(&own);
        if let (Ok(path), Profile::Disk) = (own, profile) {
            items.push(ScanItem::Partial { path, allocated: content.allocated() });
        }
    }
    for path in scan.options.only.iter().flatten().filter(|p| p.starts_with(&scan.under)) {
        let there = place(base, path, Operation::Stat)?;
        if tree.below(&there).next().is_none() {
            items.push(ScanItem::Problem(fault(FaultKind::NotFound, path)));
        }
    }
    items.sort_by(|a, b| item_path(a).cmp(item_path(b)));
    Ok(items)
}

fn as_asked(mut entry: Entry, scan: &Scan) -> Entry {
    if !scan.options.owner {
        entry.metadata.owner = None;
    }
    if !scan.options.xattrs {
        entry.metadata.xattrs.clear();
    }
    entry
}

fn wanted(scan: &Scan, path: &RelPath) -> bool {
    let leads = |only: &RelPath| path.starts_with(only) || only.starts_with(path);
    scan.options.only.as_ref().is_none_or(|only| only.iter().any(leads))
}

/// The highest entry on the way to a path that patterns leave out.
fn excluded_at(
    tree: &Tree,
    base: &RelPath,
    filter: &Filter,
    under: &RelPath,
    path: &RelPath,
) -> Option<RelPath> {
    let below = path.strip_prefix(under)?;
    let mut here = RelPath::root();
    for component in below.components() {
        here = here.child(component).ok()?;
        let full = under.join(&here).ok()?;
        let directory = tree.is_directory(&base.join(&full).ok()?);
        if filter.decide(here.as_bytes(), directory) == Decision::Exclude {
            return Some(full);
        }
    }
    let named = below.is_root().then(|| under.name()).flatten()?;
    let directory = matches!(tree.entry(&base.join(path).ok()?)?.kind, EntryKind::Directory);
    (filter.decide(named, directory) == Decision::Exclude).then(|| path.clone())
}

pub(super) fn item_path(item: &ScanItem) -> &RelPath {
    match item {
        ScanItem::Entry(entry) => &entry.path,
        ScanItem::Excluded(path) | ScanItem::Partial { path, .. } => path,
        ScanItem::Problem(fault) => &fault.path,
    }
}
