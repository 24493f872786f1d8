//! Hard links: the second name of a file waits for the first.

use std::collections::VecDeque;
use std::collections::hash_map::Entry as Place;

use xfer_protocol::manifest::{Entry, EntryKind, Stamp};
use xfer_protocol::message::{NewEntry, NewKind, Ticket};
use xfer_protocol::path::RelPath;

use super::{CREATED, Dispatcher};
use crate::engine::batch::batches;
use crate::engine::context::Stop;
use crate::engine::create::create;
use crate::engine::ledger::Finished;
use crate::engine::pack::FileWork;
use crate::engine::removal::note_replaced;
use crate::event::{EntryAction, Event};
use crate::plan::{metadata_equal, wanted_metadata};

/// A hard link to make once its first name is there.
pub(super) struct Link {
    ticket: Ticket,
    path: RelPath,
    first: FirstName,
    /// Its inode, where it was a name of the first one's file already.
    found_inode: Option<u64>,
    /// The same file as one of its own, for a destination that cannot link it.
    copy: FileWork,
}

/// The name under which a file with several names is dealt with.
#[derive(Clone)]
pub(super) struct FirstName {
    path: RelPath,
    ticket: Ticket,
    /// Device and inode of what stood there.
    found: Option<(u64, u64)>,
    /// What stands there, where it was found equal.
    kept: Option<Finished>,
}

/// The file of the source that stands at the first of several names of one at the destination.
pub(super) struct Holder {
    /// Device and inode, where it has several names itself.
    file: Option<(u64, u64)>,
    /// Whether it leaves the metadata of that file as they are.
    leaves: bool,
}

impl Link {
    /// The ticket of the first name.
    pub(super) fn first_ticket(&self) -> Ticket {
        self.first.ticket
    }
}

impl Dispatcher {
    /// Whether what stands there is another file of the source under a further name, which cannot
    /// be both: it has to be a file of its own here. Two that agree in their metadata stay one.
    pub(super) fn is_held_by_another(&mut self, source: &Entry, found: Option<&Entry>) -> bool {
        let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
        let shared = found.filter(|f| is_file(f) && is_file(source) && f.inode.links > 1);
        let Some(found) = shared else { return false };
        let file = (source.inode.links > 1).then(|| identity(source));
        let leaves = metadata_equal(source, found, &self.cx.policy);
        match self.holders.entry(identity(found)) {
            Place::Vacant(place) => {
                place.insert(Holder { file, leaves });
                false
            }
            Place::Occupied(place) => {
                let holder = place.get();
                let is_same = file.is_some() && file == holder.file;
                !(is_same || leaves && holder.leaves)
            }
        }
    }

    /// A second name of a file that is already dealt with becomes a link to the first.
    pub(super) fn link_to_first(
        &mut self,
        source: &Entry,
        path: &RelPath,
        found: Option<&Entry>,
    ) -> bool {
        let policy = &self.cx.policy;
        let is_file = matches!(source.kind, EntryKind::File { .. });
        if !is_file
            || source.inode.links < 2
            || !policy.preserve.hard_links
            || !policy.keeps.hard_links
            || found.is_some_and(|f| f.kind == EntryKind::Directory)
        {
            return false;
        }
        let Some(first) = self.first_names.get(&identity(source)).cloned() else { return false };
        let wanted = wanted_metadata(source, &policy.preserve);
        let same_size = found.filter(|f| {
            matches!(f.kind, EntryKind::File { .. }) && f.kind.size() == source.kind.size()
        });
        let copy = self.work(source, path.clone(), same_size, wanted);
        note_replaced(&self.cx, copy.ticket, found);
        let one_file = found.map(identity) == first.found;
        let found_inode = found.filter(|_| one_file && policy.inodes).map(|f| f.inode.number);
        if found.is_none() || first.kept.is_some() && !one_file {
            self.planned(path, EntryAction::Moved, 0);
        }
        self.late.touch_parent(path);
        self.links.push(Link { ticket: copy.ticket, path: path.clone(), first, found_inode, copy });
        true
    }

    pub(super) fn note_first_name(
        &mut self,
        source: &Entry,
        ticket: Ticket,
        path: &RelPath,
        found: Option<&Entry>,
        kept: Option<Finished>,
    ) {
        if source.inode.links > 1 && matches!(source.kind, EntryKind::File { .. }) {
            let found = found.map(identity);
            let first = || FirstName { path: path.clone(), ticket, found, kept };
            self.first_names.entry(identity(source)).or_insert_with(first);
        }
    }

    pub(super) async fn make_links(&mut self) -> Result<(), Stop> {
        let (mut entries, mut copies, mut alone) = (Vec::new(), VecDeque::new(), Vec::new());
        for link in std::mem::take(&mut self.links) {
            let there = link.first.kept.or_else(|| self.cx.ledger.finished(link.first.ticket));
            let Some(first) = there else {
                // The first name failed; this one fares as it does by itself.
                alone.push(link.copy);
                continue;
            };
            if let Some(digest) = first.digest {
                self.cx.ledger.digest(link.ticket, digest);
            }
            let metadata = link.copy.wanted.clone();
            if link.found_inode == Some(first.inode) {
                self.note_proof(link.ticket, first.assumed, first.read_back);
                let stamp = Stamp {
                    size: link.copy.size,
                    modified: metadata.modified,
                    changed: first.changed,
                    inode: first.inode,
                };
                let what = EntryAction::Unchanged;
                self.cx.ledger.done(link.ticket, &link.path, stamp.size, what, stamp);
                continue;
            }
            copies.push_back((link.copy, first));
            let kind = NewKind::HardLink { of: link.first.path };
            entries.push(NewEntry { ticket: link.ticket, path: link.path, kind, metadata });
        }
        let (mut copied, mut parted) = (!alone.is_empty(), 0_u64);
        for copy in alone {
            match copy.found {
                Some(_) => self.compare(copy).await?,
                None => self.send(copy).await?,
            }
        }
        for batch in batches(entries, CREATED) {
            let copies: Vec<_> = copies.drain(..batch.len()).collect();
            let sizes: Vec<_> = copies.iter().map(|(copy, _)| copy.size).collect();
            let unlinkable = create(&self.cx, batch, &sizes).await?;
            for (copy, first) in copies {
                if !unlinkable.contains(&copy.ticket) {
                    self.note_proof(copy.ticket, first.assumed, first.read_back);
                    continue;
                }
                copied = true;
                parted += 1;
                // Equal already, where an earlier transfer could not link it either.
                if copy.found.is_some() {
                    self.compare(copy).await?;
                } else {
                    self.send(copy).await?;
                }
            }
        }
        if parted > 0 {
            let text = format!(
                "{parted} further names of files could not be hard links: each is a file of its own"
            );
            self.cx.observe(&Event::Notice(text));
        }
        if !copied {
            return Ok(());
        }
        self.flush_small().await?;
        self.wait().await?;
        self.publish_all().await
    }
}

/// Which file it is, on which file system.
fn identity(entry: &Entry) -> (u64, u64) {
    (entry.inode.device, entry.inode.number)
}
