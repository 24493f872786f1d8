//! What a session changes in its store.

use bytes::Bytes;
use xfer_protocol::digest::{file_digest, range_digests, zero_range_digests};
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::limits;
use xfer_protocol::manifest::{Metadata, Stamp};
use xfer_protocol::message::removal::{Removal, Remove, Rename, Renaming};
use xfer_protocol::message::{
    Commit, Create, Keep, NewKind, OpenPartial, Outcome, Partial, PartialIndex, Paths, Publish,
    SetMetadata, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::RangeSet;

use super::content::{Content, length};
use super::reading::at;
use super::session::{Assembly, Session, Staged, StagedBytes, place};
use super::tree::{NodeKind, Tree};
use super::{Method, Profile};

impl Session {
    pub(super) fn create(
        &mut self,
        tree: &mut Tree,
        create: Create,
    ) -> Result<Vec<Outcome>, Fault> {
        let base = self.writable(create.root, Operation::Create)?;
        let make = |entry: xfer_protocol::message::NewEntry| {
            let made = self.make(tree, base, &entry.path, entry.kind, entry.metadata);
            let result = made.map(Some).map_err(|fault| at(fault, &entry.path));
            Outcome { ticket: entry.ticket, result }
        };
        Ok(create.entries.into_iter().map(make).collect())
    }

    fn make(
        &self,
        tree: &mut Tree,
        base: &RelPath,
        path: &RelPath,
        kind: NewKind,
        metadata: Metadata,
    ) -> Result<Stamp, Fault> {
        let fault = |kind| Fault::new(kind, Operation::Create, path.clone());
        if self.profile == Profile::Parts {
            return Err(fault(FaultKind::Unsupported));
        }
        let place_of = |path| place(base, path, Operation::Create);
        let here = place_of(path)?;
        if kind == NewKind::Directory && tree.is_directory(&here) {
            return tree.stamp(&here).ok_or_else(|| fault(FaultKind::NotFound));
        }
        tree.prepare_place(&here, Operation::Create)?;
        match kind {
            NewKind::HardLink { of } => {
                let of = place_of(&of)?;
                match tree.kind(&of) {
                    Some(NodeKind::Directory) => Err(fault(FaultKind::Conflict)),
                    Some(_) => tree.link(&of, &here).ok_or_else(|| fault(FaultKind::NotFound)),
                    None => Err(fault(FaultKind::NotFound)),
                }
            }
            NewKind::Directory if tree.kind(&here).is_some() => Err(fault(FaultKind::Conflict)),
            // It gets its metadata last.
            NewKind::Directory => {
                tree.make_directories(&here);
                tree.stamp(&here).ok_or_else(|| fault(FaultKind::NotFound))
            }
            kind => {
                let kind = NodeKind::from(kind);
                if tree.kind(&here) == Some(&kind) {
                    return tree
                        .set_metadata(&here, metadata)
                        .ok_or_else(|| fault(FaultKind::NotFound));
                }
                Ok(tree.insert(&here, kind, metadata))
            }
        }
    }

    pub(super) fn open_partial(
        &mut self,
        tree: &mut Tree,
        open: &OpenPartial,
    ) -> Result<Partial, Fault> {
        let fault = |kind| Fault::new(kind, Operation::Open, open.path.clone());
        let base = self.writable(open.root, Operation::Open)?;
        let place = place(base, &open.path, Operation::Open)?;
        if open.size > limits::FILE_BYTES_MAX {
            return Err(fault(FaultKind::FileTooLarge));
        }
        match tree.prepare_place(&place, Operation::Open) {
            // What is in the way may be gone when it is published.
            Ok(()) => {}
            Err(found) if found.kind == FaultKind::Conflict && open.path.name().is_some() => {}
            Err(found) => return Err(at(found, &open.path)),
        }
        if let Some(known) = self.partials.get(&open.partial) {
            if known.path != open.path || known.root != open.root {
                return Err(fault(FaultKind::Protocol));
            }
            if !known.staged && known.size == open.size {
                return Ok(Partial { held: self.held(tree, &known.place), in_place: false });
            }
        }
        self.partials.retain(|_, known| known.place != place);
        self.staged.remove(&(open.root, open.path.clone()));
        let content = tree.partials.entry(place.clone()).or_default();
        if self.profile == Profile::Parts {
            *content = Content::default();
        }
        content.set_size(open.size);
        let held = self.held(tree, &place);
        let assembly = Assembly {
            root: open.root,
            path: open.path.clone(),
            place,
            size: open.size,
            present: RangeSet::new(),
            hashed: RangeSet::new(),
            staged: false,
        };
        self.done.remove(&open.partial);
        self.partials.insert(open.partial, assembly);
        Ok(Partial { held, in_place: false })
    }

    fn held(&self, tree: &Tree, place: &RelPath) -> Vec<xfer_protocol::range::ByteRange> {
        match self.profile {
            Profile::Disk => tree.partials.get(place).map(Content::data).unwrap_or_default(),
            Profile::Parts => Vec::new(),
        }
    }

    /// An open partial, `None` for one that is done.
    fn assembly(
        &mut self,
        index: PartialIndex,
        during: Operation,
    ) -> Result<Option<&mut Assembly>, Fault> {
        match self.partials.get_mut(&index) {
            Some(assembly) => Ok(Some(assembly)),
            None if self.done.contains(&index) => Ok(None),
            None => Err(Fault::new(FaultKind::Protocol, during, RelPath::root())),
        }
    }

    pub(super) fn keep(&mut self, keep: &Keep) -> Result<(), Fault> {
        let Some(assembly) = self.assembly(keep.partial, Operation::Hash)? else { return Ok(()) };
        for range in &keep.ranges {
            if !assembly.hashed.contains(*range) && !assembly.present.contains(*range) {
                let path = assembly.path.clone();
                return Err(Fault::new(FaultKind::Protocol, Operation::Hash, path));
            }
            assembly.present.insert(*range);
        }
        Ok(())
    }

    pub(super) fn write_block(
        &mut self,
        tree: &mut Tree,
        write: &WriteBlock,
        payload: Bytes,
    ) -> Result<(), Fault> {
        let profile = self.profile;
        let Some(assembly) = self.assembly(write.partial, Operation::Write)? else {
            return Ok(());
        };
        let fault = |kind| Fault::new(kind, Operation::Write, assembly.path.clone());
        let (range, size) = (write.range, assembly.size);
        let expected = if write.hole { 0 } else { range.len() };
        if range.end() > size || length(&payload) != expected {
            return Err(fault(FaultKind::Protocol));
        }
        let rules = profile.capabilities();
        let short = range.len() < rules.part_min && range.end() != size;
        let too_long = range.len() > rules.part_max && !write.hole;
        if !range.start().is_multiple_of(rules.write_grid) || short || too_long {
            return Err(fault(FaultKind::Protocol));
        }
        let digests = match write.hole {
            true => zero_range_digests(range, size),
            false => range_digests(range.start(), &payload, size),
        };
        match digests {
            None => return Err(fault(FaultKind::Protocol)),
            Some(found) if found.len() != write.digests.len() => {
                return Err(fault(FaultKind::Protocol));
            }
            Some(found) if found != write.digests => return Err(fault(FaultKind::Mismatch)),
            Some(_) => {}
        }
        if assembly.present.contains(range) {
            return Ok(());
        }
        if assembly.staged {
            return Err(fault(FaultKind::Protocol));
        }
        let content =
            tree.partials.get_mut(&assembly.place).ok_or_else(|| fault(FaultKind::NotFound))?;
        match write.hole {
            true => content.punch(range),
            false => content.write(range.start(), payload),
        }
        assembly.present.insert(range);
        assembly.hashed.remove(range);
        Ok(())
    }

    pub(super) fn commit(&mut self, tree: &mut Tree, commit: Commit) -> Result<(), Fault> {
        let Some(assembly) = self.assembly(commit.partial, Operation::Commit)? else {
            return Ok(());
        };
        if assembly.staged {
            return Ok(());
        }
        let complete = assembly.present.bytes() == assembly.size;
        let right = |c: &Content| complete && c.digest() == commit.digest;
        if !tree.partials.get(&assembly.place).is_some_and(right) {
            let path = assembly.path.clone();
            return Err(Fault::new(FaultKind::Mismatch, Operation::Commit, path));
        }
        assembly.staged = true;
        let key = (assembly.root, assembly.path.clone());
        let bytes = StagedBytes::Partial(commit.partial);
        self.staged.insert(key, Staged { ticket: commit.ticket, metadata: commit.metadata, bytes });
        Ok(())
    }

    pub(super) fn discard(&mut self, tree: &mut Tree, index: PartialIndex) {
        if let Some(assembly) = self.partials.remove(&index) {
            self.staged.remove(&(assembly.root, assembly.path));
            tree.partials.remove(&assembly.place);
            self.done.insert(index);
        }
    }

    pub(super) fn write_pack(
        &mut self,
        tree: &mut Tree,
        pack: WritePack,
        payload: &Bytes,
    ) -> Result<Vec<Outcome>, Fault> {
        let base = self.writable(pack.root, Operation::Write)?.clone();
        let total = pack.files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        if total != length(payload) || pack.files.len() > limits::BATCH_ENTRIES_MAX {
            return Err(Fault::new(FaultKind::Protocol, Operation::Write, RelPath::root()));
        }
        let mut rest = payload.clone();
        let mut outcomes = Vec::new();
        for file in pack.files {
            // Their sum is the payload's length.
            let bytes = rest.split_to(usize::try_from(file.size).unwrap_or(usize::MAX));
            let fault = |kind| Fault::new(kind, Operation::Write, file.path.clone());
            let here = place(&base, &file.path, Operation::Write)?;
            let checked = tree.prepare_place(&here, Operation::Write);
            let result = match checked {
                Err(found) => Err(at(found, &file.path)),
                Ok(()) if file_digest(&bytes) != file.digest => Err(fault(FaultKind::Mismatch)),
                Ok(()) if pack.publish => {
                    let kind = NodeKind::File(Content::of(bytes));
                    Ok(Some(tree.insert(&here, kind, file.metadata)))
                }
                Ok(()) => {
                    let (ticket, metadata) = (file.ticket, file.metadata);
                    let bytes = StagedBytes::Pack(bytes);
                    let staged = Staged { ticket, metadata, bytes };
                    self.staged.insert((pack.root, file.path.clone()), staged);
                    Ok(None)
                }
            };
            outcomes.push(Outcome { ticket: file.ticket, result });
        }
        Ok(outcomes)
    }

    pub(super) fn publish(
        &mut self,
        tree: &mut Tree,
        publish: Publish,
    ) -> Result<Vec<Outcome>, Fault> {
        let base = self.writable(publish.root, Operation::Commit)?.clone();
        match self.published.get(&publish.root) {
            Some((last, outcomes)) if *last == publish.number => return Ok(outcomes.clone()),
            Some((last, _)) if *last > publish.number => return Ok(Vec::new()),
            _ => {}
        }
        let keys: Vec<_> =
            self.staged.keys().filter(|(root, _)| *root == publish.root).cloned().collect();
        let mut outcomes = Vec::new();
        for key in keys {
            let Some(staged) = self.staged.remove(&key) else { continue };
            let ticket = staged.ticket;
            let path = key.1;
            let result = place(&base, &path, Operation::Commit).and_then(|here| {
                tree.prepare_place(&here, Operation::Commit)?;
                self.appear(tree, &here, staged)
            });
            let result = result.map(Some).map_err(|fault| at(fault, &path));
            outcomes.push(Outcome { ticket, result });
        }
        self.published.insert(publish.root, (publish.number, outcomes.clone()));
        Ok(outcomes)
    }

    fn appear(&mut self, tree: &mut Tree, here: &RelPath, staged: Staged) -> Result<Stamp, Fault> {
        let content = match staged.bytes {
            StagedBytes::Pack(bytes) => Content::of(bytes),
            StagedBytes::Partial(index) => {
                self.partials.remove(&index);
                self.done.insert(index);
                let gone = || Fault::new(FaultKind::NotFound, Operation::Commit, here.clone());
                tree.partials.remove(here).ok_or_else(gone)?
            }
        };
        Ok(tree.insert(here, NodeKind::File(content), staged.metadata))
    }

    pub(super) fn set_metadata(
        &mut self,
        tree: &mut Tree,
        set: SetMetadata,
    ) -> Result<Vec<Outcome>, Fault> {
        let base = self.writable(set.root, Operation::SetMetadata)?;
        let one = |(ticket, path, metadata): (_, RelPath, Metadata)| {
            let fault = |kind| Fault::new(kind, Operation::SetMetadata, path.clone());
            let result = place(base, &path, Operation::SetMetadata).and_then(|here| {
                if self.profile == Profile::Parts {
                    return Err(fault(FaultKind::Unsupported));
                }
                let set = tree.set_metadata(&here, metadata);
                set.map(Some).ok_or_else(|| fault(tree.absence(&here)))
            });
            Outcome { ticket, result }
        };
        Ok(set.entries.into_iter().map(one).collect())
    }

    pub(super) fn remove(
        &mut self,
        tree: &mut Tree,
        remove: &Remove,
    ) -> Result<Vec<Outcome>, Fault> {
        let base = self.writable(remove.root, Operation::Remove)?;
        let kept = remove.backup.as_ref();
        let one = |entry: &Removal| {
            let result = place(base, &entry.path, Operation::Remove).and_then(|here| {
                let to = kept.map(|kept| kept.join(&entry.path));
                let to = to.and_then(Result::ok).map(|to| place(base, &to, Operation::Remove));
                tree.remove(&here, entry, to.transpose()?, remove.stays)
            });
            let result = result.map(|()| None).map_err(|fault| at(fault, &entry.path));
            Outcome { ticket: entry.ticket, result }
        };
        Ok(remove.entries.iter().map(one).collect())
    }

    pub(super) fn rename(
        &mut self,
        tree: &mut Tree,
        rename: &Rename,
    ) -> Result<Vec<Outcome>, Fault> {
        let base = self.writable(rename.root, Operation::Commit)?;
        let one = |entry: &Renaming| {
            let result = place(base, &entry.from, Operation::Commit).and_then(|from| {
                tree.rename(&from, entry, &place(base, &entry.to, Operation::Commit)?)
            });
            let result = result.map(Some).map_err(|fault| at(fault, &entry.to));
            Outcome { ticket: entry.ticket, result }
        };
        Ok(rename.entries.iter().map(one).collect())
    }

    pub(super) fn remove_partials(
        &mut self,
        tree: &mut Tree,
        partials: &Paths,
    ) -> Result<(), Fault> {
        let base = self.writable(partials.root, Operation::Remove)?;
        for path in &partials.paths {
            let own = path.name().unwrap_or_default();
            if !crate::disk::is_partial_name(own) {
                return Err(Fault::new(FaultKind::Protocol, Operation::Remove, path.clone()));
            }
            let parent = place(base, &path.parent().unwrap_or_default(), Operation::Remove)?;
            tree.partials.retain(|target, _| {
                let name = target.name().unwrap_or_default();
                target.parent().as_ref() != Some(&parent) || crate::disk::partial_name(name) != own
            });
        }
        Ok(())
    }
}

impl Method {
    /// What an ordered failure of this method was doing.
    pub(super) fn operation(self) -> Operation {
        match self {
            Self::Commit | Self::Publish | Self::Rename => Operation::Commit,
            Self::Create => Operation::Create,
            Self::DataRanges | Self::ReadBlock | Self::ReadPack => Operation::Read,
            Self::Discard | Self::Remove | Self::RemovePartials => Operation::Remove,
            Self::Finish => Operation::Sync,
            Self::HashBlocks | Self::HashFiles | Self::Keep => Operation::Hash,
            Self::Locate | Self::Space => Operation::Stat,
            Self::Lock => Operation::Lock,
            Self::OpenPartial | Self::OpenRoot => Operation::Open,
            Self::Scan | Self::ScanNext => Operation::List,
            Self::SetMetadata => Operation::SetMetadata,
            Self::WriteBlock | Self::WritePack => Operation::Write,
        }
    }
}
