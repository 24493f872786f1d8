//! A destination as it is now: every entry of a receipt looked for, read back and opened.

use std::sync::Arc;

use xfer_protocol::manifest::{Entry, EntryKind, ManifestEntry, ScanItem};
use xfer_protocol::message::{Access, OpenRoot, Reading, Root, Scan, ScanOptions};
use xfer_protocol::path::RelPath;

use super::Collecting;
use super::lines::LineFile;
use super::loads::Opening;
use super::receipts::HeldReceipt;
use super::roots::RootStop;
use crate::connect::Connected;
use crate::engine::batch::{Batch, Carried};
use crate::engine::hashing::{HASHED, hash_batch};
use crate::engine::listing::Listing;
use crate::engine::provenance::{Distance, distance, medium};
use crate::gate::coverage::{Found, FoundLine, ReceiptLine};
use crate::gate::evidence::{
    DestinationEvidence, Durability, Loads, ReceiptEvidence, ScanFailure, Signature, Statement,
    Witness,
};
use crate::location::{Location, Machine};
use crate::receipt::{PathText, ReceiptReader, bytes_of};

/// What one mapping of a receipt says, and what was found of it.
pub(super) struct SaidOf {
    /// The entry of the machine that was copied, by its absolute path.
    pub(super) source: Vec<u8>,
    pub(super) lines: LineFile<ReceiptLine>,
    pub(super) found: LineFile<FoundLine>,
    pub(super) evidence: ReceiptEvidence,
}

/// The machine that would be destroyed, to tell how far others are from it.
pub(super) struct Near<'a> {
    pub(super) root: &'a Root,
    pub(super) boot: Option<[u8; 16]>,
}

/// One entry of a receipt on its way to being proven.
struct Sought {
    line: ManifestEntry,
    /// What stands there, where its bytes decide.
    there: Option<Entry>,
    found: Found,
}

impl Carried for Sought {
    fn header_bytes(&self) -> usize {
        self.there.as_ref().map_or(0, Carried::header_bytes)
    }

    fn content_bytes(&self) -> u64 {
        self.there.as_ref().map_or(0, Carried::content_bytes)
    }
}

impl Collecting {
    /// Reads back what a receipt names, mapping by mapping. A destination that cannot be reached
    /// proves nothing, and that is told.
    pub(super) async fn read_back(
        &self,
        receipt: &HeldReceipt,
        near: &Near<'_>,
    ) -> Result<Vec<SaidOf>, RootStop> {
        let provenance = receipt.head.provenance.clone().unwrap_or_default();
        let opened = match self.open_destination(receipt).await {
            Ok(opened) => Some(opened),
            Err(RootStop::Ended(error)) => return Err(RootStop::Ended(error)),
            Err(RootStop::Failed(why)) => {
                self.notice(unseen(receipt, &why));
                None
            }
        };
        let mut said = Vec::new();
        for mapped in &provenance.mapped {
            let Some((source, entry)) = mapped.paths() else { continue };
            let mut one = self.said_of(receipt, source, &entry)?;
            if let Some((machine, end, root)) = &opened {
                let far = Distance { machine, sink: &*end.sink, to: root };
                let durability = distance(&far, near.root, near.boot).await;
                let destination = &mut one.evidence.destination;
                // Nothing of the machine itself is sure to outlive it.
                let is_itself = root.machine == near.root.machine;
                let nowhere = is_itself.then_some(Durability::D0);
                destination.durability = nowhere.or(durability);
                destination.medium_now = bytes_of::<16>(&medium(root)).map(Vec::from);
                match self.look_at(&mut one, end, root, &entry, near).await {
                    // Without a statement, nothing of it counts as read back.
                    Err(RootStop::Failed(why)) => self.notice(unseen(receipt, &why)),
                    other => other?,
                }
            }
            said.push(one);
        }
        if let Some((_, end, _)) = opened {
            end.source.close().await;
        }
        Ok(said)
    }

    async fn open_destination(
        &self,
        receipt: &HeldReceipt,
    ) -> Result<(Machine, Connected, Root), RootStop> {
        let head = &receipt.head;
        let unusable =
            || RootStop::Failed(ScanFailure::Unreachable("it names no place".to_owned()));
        let machine = Location::parse(head.destination.as_bytes()).map_err(|_| unusable())?.machine;
        let root = head.provenance.as_ref().and_then(|provenance| provenance.root.as_ref());
        let path = root.and_then(PathText::bytes).ok_or_else(unusable)?;
        let connecting = self.connector.connect(&machine, &self.options);
        let end = tokio::select! {
            end = connecting => end,
            () = self.cancel.cancelled() => return Err(RootStop::Ended(Self::stopped())),
        };
        let unreached = |error: crate::error::TransferError| {
            RootStop::Failed(ScanFailure::Unreachable(error.to_string()))
        };
        let end = end.map_err(unreached)?;
        let root = end.source.open_root(OpenRoot { path, access: Access::Read }).await?;
        Ok((machine, end, root))
    }

    /// What a receipt says, before anybody looked.
    fn said_of(
        &self,
        receipt: &HeldReceipt,
        source: Vec<u8>,
        entry: &RelPath,
    ) -> Result<SaidOf, RootStop> {
        let mut lines = LineFile::new(&self.state, &self.connector)?;
        let level = receipt.level();
        each_line(receipt, entry, |line| lines.add(&ReceiptLine { entry: line, level }))?;
        let medium_then = receipt.head.provenance.as_ref().and_then(|p| p.medium.clone());
        let evidence = ReceiptEvidence {
            id: receipt.head.id.clone(),
            signature: receipt.signature,
            intact: receipt.intact,
            failed: receipt.head.failed,
            source: receipt.source(),
            ended: receipt.ended(),
            seen: receipt.seen,
            destination: DestinationEvidence {
                name: receipt.head.destination.clone(),
                durability: None,
                medium_then: medium_then.and_then(|text| bytes_of::<16>(&text)).map(Vec::from),
                medium_now: None,
                statement: None,
                loads: None,
            },
        };
        let found = LineFile::new(&self.state, &self.connector)?;
        Ok(SaidOf { source, lines, found, evidence })
    }

    /// Looks for every entry, reads back the files, and opens those of kinds that are known.
    async fn look_at(
        &self,
        said: &mut SaidOf,
        end: &Connected,
        root: &Root,
        entry: &RelPath,
        near: &Near<'_>,
    ) -> Result<(), RootStop> {
        let began = self.moment();
        let options = ScanOptions::default();
        let scan = Scan { root: root.index, under: entry.clone(), options };
        let listing = self.unless_stopped(Listing::begin(Arc::clone(&end.source), scan)).await;
        let mut standing = match listing {
            Ok(listing) => Standing { listing: Some(listing), next: None },
            // Nothing is there any more.
            Err(RootStop::Failed(ScanFailure::Missing)) => Standing { listing: None, next: None },
            Err(stop) => return Err(stop),
        };
        let opens = self.policy.load_check || self.load_command.is_some();
        let mut opening = opens.then(Opening::default);
        let mut batch = Batch::new(HASHED);
        for line in said.lines.read()? {
            let line = line.map_err(broken)?.entry;
            let path = entry.join(&line.path).map_err(broken)?;
            let there = self.unless_stopped(standing.find(&path)).await;
            let there = match there {
                Err(RootStop::Failed(ScanFailure::Missing)) => None,
                other => other?,
            };
            if let Some(full) = batch.push(sought(line, there)) {
                self.prove(full, end, root, &mut said.found, opening.as_mut()).await?;
            }
        }
        self.prove(batch.take(), end, root, &mut said.found, opening.as_mut()).await?;
        let is_source = root.machine == near.root.machine;
        let witness = match &end.route {
            _ if is_source => Witness::Source,
            Some(route) if !matches!(route.kind, "store" | "web" | "sftp") => Witness::Agent,
            _ => Witness::Controller,
        };
        let destination = &mut said.evidence.destination;
        let signature = Signature::Good(self.key.public());
        destination.statement = Some(Statement { began, witness, nonce: self.nonce, signature });
        destination.loads = opening.map(|opening| {
            opening.unchecked_told(self, &destination.name);
            Loads { failed: opening.failed, untried: opening.untried }
        });
        Ok(())
    }

    async fn prove(
        &self,
        batch: Vec<Sought>,
        end: &Connected,
        root: &Root,
        found: &mut LineFile<FoundLine>,
        mut opening: Option<&mut Opening>,
    ) -> Result<(), RootStop> {
        let files: Vec<_> = batch.iter().filter_map(|sought| sought.there.clone()).collect();
        let go_on = || !self.cancel.is_cancelled();
        let hashing = hash_batch(&*end.source, root.index, files, Reading::PastCache, go_on);
        let (rows, past_cache) = self.unless_stopped(hashing).await?;
        let read = if past_cache { Found::Read } else { Found::Cached };
        let (mut rows, mut equal) = (rows.into_iter(), Vec::new());
        for Sought { line, there, found: known } in batch {
            let outcome = match there.and_then(|_| rows.next()) {
                None => known,
                Some((entry, Ok(digest))) if digest == line.digest => {
                    equal.push(entry);
                    read
                }
                Some(_) => Found::Different,
            };
            found.add(&FoundLine { path: line.path, found: outcome })?;
        }
        match &mut opening {
            Some(opening) => self.open_files(equal, end, root, opening).await,
            None => Ok(()),
        }
    }
}

fn unseen(receipt: &HeldReceipt, why: &ScanFailure) -> String {
    let place = &receipt.head.destination;
    match why {
        ScanFailure::Missing => format!("{place}: nothing is there any more"),
        ScanFailure::NoDirectory => format!("{place}: it is no directory any more"),
        ScanFailure::Unreachable(why) | ScanFailure::Broken(why) => {
            format!("{place}: it cannot be looked at: {why}")
        }
    }
}

/// What is known of an entry by its name and kind alone.
fn sought(line: ManifestEntry, there: Option<Entry>) -> Sought {
    let Some(entry) = there else { return Sought { line, there: None, found: Found::Missing } };
    let (found, there) = match (&line.kind, &entry.kind) {
        (EntryKind::File { size: was, .. }, EntryKind::File { size: is, .. }) => {
            match (was == is, line.digest) {
                (false, _) => (Found::Different, None),
                (true, None) => (Found::NotLooked, None),
                (true, Some(_)) => (Found::NotLooked, Some(entry)),
            }
        }
        (was, is) if was == is => (Found::Read, None),
        _ => (Found::Different, None),
    };
    Sought { line, there, found }
}

/// What stands at the destination, found in the order of paths.
struct Standing {
    listing: Option<Listing>,
    next: Option<Entry>,
}

impl Standing {
    async fn find(&mut self, path: &RelPath) -> crate::endpoint::EndpointResult<Option<Entry>> {
        loop {
            match &self.next {
                Some(next) if next.path > *path => return Ok(None),
                Some(next) if next.path == *path => return Ok(self.next.take()),
                _ => {}
            }
            let Some(listing) = &mut self.listing else { return Ok(None) };
            match listing.next().await? {
                Some(ScanItem::Entry(entry)) => self.next = Some(entry),
                // What cannot be listed is not found.
                Some(_) => {}
                None => {
                    (self.listing, self.next) = (None, None);
                    return Ok(None);
                }
            }
        }
    }
}

/// Hands on what a receipt says of an entry and of all below it, under paths that begin there.
fn each_line(
    receipt: &HeldReceipt,
    entry: &RelPath,
    mut each: impl FnMut(ManifestEntry) -> Result<(), crate::disk::state::StateError>,
) -> Result<(), RootStop> {
    let mut reader: ReceiptReader<_> = receipt.reader().map_err(broken)?;
    while let Some(line) = reader.next_entry().map_err(broken)? {
        let Some(mut line) = line.to_manifest() else {
            return Err(broken("a line of the receipt is none"));
        };
        if let Some(below) = line.path.strip_prefix(entry) {
            line.path = below;
            each(line)?;
        }
    }
    Ok(())
}

fn broken(why: impl ToString) -> RootStop {
    RootStop::Failed(ScanFailure::Broken(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only files of the same size are read; what has no bytes is proven by being there.
    #[test]
    fn an_entry_is_known_by_its_kind_before_its_bytes() {
        let file = |size| EntryKind::File { size, allocated: size };
        let link = |content: &[u8]| EntryKind::Symlink { content: content.to_vec() };
        let digest = Some(xfer_protocol::digest::file_digest(b"x"));
        for (was, digest, is, found, reads) in [
            (file(1), digest, Some(file(1)), Found::NotLooked, true),
            (file(1), None, Some(file(1)), Found::NotLooked, false),
            (file(1), digest, Some(file(2)), Found::Different, false),
            (file(1), digest, Some(EntryKind::Directory), Found::Different, false),
            (file(1), digest, None, Found::Missing, false),
            (EntryKind::Directory, None, Some(EntryKind::Directory), Found::Read, false),
            (link(b"a"), None, Some(link(b"a")), Found::Read, false),
            (link(b"a"), None, Some(link(b"b")), Found::Different, false),
        ] {
            let path = RelPath::new("a").unwrap();
            let metadata = xfer_protocol::manifest::Metadata::default();
            let line =
                ManifestEntry { path: path.clone(), kind: was, metadata: metadata.clone(), digest };
            let inode = xfer_protocol::manifest::Inode::default();
            let there = is.map(|kind| Entry { path, kind, metadata, inode });
            let judged = sought(line, there);
            assert_eq!((judged.found, judged.there.is_some()), (found, reads));
        }
    }
}
