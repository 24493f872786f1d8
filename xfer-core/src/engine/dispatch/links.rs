//! Hard links: the second name of a file waits for the first.

use xfer_protocol::fault::{FaultKind, Operation};
use xfer_protocol::manifest::{Entry, EntryKind, Stamp};
use xfer_protocol::message::{NewEntry, NewKind, Ticket};
use xfer_protocol::path::RelPath;

use super::{CREATED, Dispatcher, create};
use crate::engine::batch::batches;
use crate::engine::context::{Stop, fault};
use crate::engine::ledger::{Finished, Side};
use crate::event::EntryAction;
use crate::plan::wanted_metadata;

/// A hard link to make once its first name is there.
pub(super) struct Link {
    ticket: Ticket,
    path: RelPath,
    first: FirstName,
    found_inode: Option<u64>,
    source: Entry,
}

/// The name under which a file with several names is dealt with.
#[derive(Clone)]
pub(super) struct FirstName {
    path: RelPath,
    ticket: Ticket,
    /// What stands there, where it was found equal.
    kept: Option<Finished>,
}

impl Dispatcher {
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
        let key = (source.inode.device, source.inode.number);
        let Some(first) = self.first_names.get(&key).cloned() else { return false };
        let tells_inodes = policy.inodes;
        let wanted = wanted_metadata(source, &policy.preserve);
        let ticket = self.cx.ledger.begin(path, source, wanted);
        let is_there = |kept: Finished| found.is_some_and(|f| f.inode.number == kept.inode);
        if found.is_none() || first.kept.is_some_and(|kept| !is_there(kept)) {
            self.planned(path, EntryAction::Moved, 0);
        }
        self.late.touch_parent(path);
        self.links.push(Link {
            ticket,
            path: path.clone(),
            first,
            found_inode: found.filter(|_| tells_inodes).map(|f| f.inode.number),
            source: source.clone(),
        });
        true
    }

    pub(super) fn note_first_name(
        &mut self,
        source: &Entry,
        ticket: Ticket,
        path: &RelPath,
        kept: Option<Finished>,
    ) {
        if source.inode.links > 1 && matches!(source.kind, EntryKind::File { .. }) {
            let key = (source.inode.device, source.inode.number);
            let first = || FirstName { path: path.clone(), ticket, kept };
            self.first_names.entry(key).or_insert_with(first);
        }
    }

    pub(super) async fn make_links(&mut self) -> Result<(), Stop> {
        let (mut entries, mut sizes) = (Vec::new(), Vec::new());
        for link in std::mem::take(&mut self.links) {
            let there = link.first.kept.or_else(|| self.cx.ledger.finished(link.first.ticket));
            let Some(first) = there else {
                let found = fault(FaultKind::NotFound, Operation::Create, &link.path);
                self.cx.ledger.fail(link.ticket, Side::Destination, &link.path, 0, found);
                continue;
            };
            if let Some(digest) = first.digest {
                self.cx.ledger.digest(link.ticket, digest);
            }
            self.note_proof(link.ticket, first.assumed, first.read_back);
            let metadata = wanted_metadata(&link.source, &self.cx.options.preserve);
            if link.found_inode == Some(first.inode) {
                let stamp = Stamp {
                    size: link.source.kind.size(),
                    modified: metadata.modified,
                    changed: first.changed,
                    inode: first.inode,
                };
                let what = EntryAction::Unchanged;
                self.cx.ledger.done(link.ticket, &link.path, stamp.size, what, stamp);
                continue;
            }
            sizes.push(link.source.kind.size());
            let kind = NewKind::HardLink { of: link.first.path };
            entries.push(NewEntry { ticket: link.ticket, path: link.path, kind, metadata });
        }
        let mut sizes = sizes.into_iter();
        for batch in batches(entries, CREATED) {
            let sizes: Vec<_> = sizes.by_ref().take(batch.len()).collect();
            create(&self.cx, batch, &sizes).await?;
        }
        Ok(())
    }
}
