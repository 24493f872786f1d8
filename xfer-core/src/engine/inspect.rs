//! Looking without moving: listing a location, hashing it, and comparing it with what is expected.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{
    Access, FileAt, FilesAt, HashFiles, Locate, LocatedKind, OpenRoot, Reading, Root, Scan,
};
use xfer_protocol::path::RelPath;

use super::batch::{Batch, Most};
use super::ledger::Side;
use super::listing::Listing;
use super::pack::PACK_FILE_MAX;
use super::pieces::root_of;
use super::{Shared, Transfer};
use crate::connect::{Connected, Connector};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::error::{ExitClass, StopSignal, TransferError};
use crate::event::{Event, Progress, SharedObserver};
use crate::location::Location;
use crate::options::TransferOptions;
use crate::plan::mapping::map_sources;
use crate::verify::{Expectation, Expected, Judgement};

/// Files and bytes hashed in one request.
const HASHED: Most = Most { entries: 512, content: 64 << 20 };

/// What a look found out.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Entries that are what they should be.
    pub equal: u64,
    /// Bytes of the files among them.
    pub bytes: u64,
    /// Entries that nobody spoke of.
    pub unexpected: u64,
    /// Entries that differ or are missing.
    pub problems: Vec<Fault>,
    /// Files that are there, and of whose bytes no digest is known.
    pub unproven: Vec<RelPath>,
    /// Entries that failed when the receipt was written; it does not say which.
    pub failed: u64,
    /// Whether nothing was expected here at all, so that nothing is proven.
    pub nothing_expected: bool,
    /// Whether all bytes are known to have come from the medium.
    pub past_cache: bool,
}

impl Verified {
    /// The class of the gravest problem.
    #[must_use]
    pub fn class(&self) -> ExitClass {
        self.problems.iter().map(class_of).fold(ExitClass::Done, ExitClass::gravest)
    }
}

/// What a problem of one entry makes of the whole: one that is missing is not what it should be.
fn class_of(fault: &Fault) -> ExitClass {
    match fault.kind {
        FaultKind::NotFound | FaultKind::Conflict => ExitClass::Integrity,
        _ => ExitClass::of_fault(fault),
    }
}

/// A location that is looked at.
pub struct Inspection {
    shared: Shared,
    end: Connected,
    root: Root,
    under: RelPath,
}

impl Inspection {
    /// Opens a location.
    ///
    /// # Errors
    /// What keeps it from being reached.
    pub async fn open(
        location: &Location,
        options: TransferOptions,
        connector: Connector,
        observer: SharedObserver,
        cancel: CancellationToken,
    ) -> Result<Self, TransferError> {
        let transfer = Transfer {
            sources: vec![location.clone()],
            destination: location.clone(),
            options,
            plan_only: true,
        };
        let shared = Shared::new(transfer, connector, observer, cancel);
        let machine = &location.machine;
        let end = shared.connector.connect(machine, &shared.transfer.options).await?;
        if let Some(route) = end.route_now() {
            shared.observer.observe(&Event::Route(route));
        }
        let (root, under) = shared.locate_one(&end, location).await?;
        Ok(Self { shared, end, root, under })
    }

    /// Hands on every entry, in the order of paths.
    ///
    /// # Errors
    /// What ended the listing; one entry's own problem goes to `problem`.
    pub async fn list(
        &self,
        mut entry: impl FnMut(Entry),
        mut problem: impl FnMut(Fault),
    ) -> Result<(), TransferError> {
        let mut listing = self.listing().await?;
        while let Some(item) = listing.next().await.map_err(|e| self.error(e))? {
            self.check_cancelled()?;
            match item {
                ScanItem::Entry(found) => entry(found),
                ScanItem::Problem(fault) => problem(fault),
                ScanItem::Excluded(_) | ScanItem::Partial { .. } => {}
            }
        }
        Ok(())
    }

    /// Hashes every file and hands it on with its digest; other entries come without one.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn hash(
        &self,
        reading: Reading,
        mut each: impl FnMut(Entry, Option<Digest>),
        mut problem: impl FnMut(Fault),
    ) -> Result<bool, TransferError> {
        let mut listing = self.listing().await?;
        let mut past_cache = true;
        let mut batch = Batch::new(HASHED);
        loop {
            self.check_cancelled()?;
            let item = listing.next().await.map_err(|e| self.error(e))?;
            let ended = item.is_none();
            let full = match item {
                Some(ScanItem::Entry(found)) => batch.push(found),
                Some(ScanItem::Problem(fault)) => {
                    problem(fault);
                    None
                }
                Some(_) => None,
                None => Some(batch.take()),
            };
            if let Some(full) = full {
                let hashed = self.hash_batch(full, reading).await;
                let (rows, batch_past_cache) = hashed.map_err(|e| self.error(e))?;
                past_cache &= batch_past_cache;
                for (entry, digest) in rows {
                    match digest {
                        Ok(digest) => each(entry, digest),
                        Err(fault) => problem(fault),
                    }
                }
            }
            if ended {
                return Ok(past_cache);
            }
        }
    }

    /// Re-reads the location and compares it.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn verify(&self, expected: Expected) -> Result<Verified, TransferError> {
        let mut expected = expected.seen_from(&self.root.path, &self.under);
        let mut verified = Verified {
            failed: expected.failed(),
            nothing_expected: expected.is_empty(),
            ..Verified::default()
        };
        let mut problems = Vec::new();
        let past_cache = self
            .hash(
                Reading::PastCache,
                |entry, digest| {
                    let Some(path) = self.relative(&entry.path) else { return };
                    match expected.judge(&path, &entry.kind, digest) {
                        Judgement::Equal => {
                            verified.equal += 1;
                            verified.bytes += entry.kind.size();
                        }
                        Judgement::Beside => {}
                        Judgement::Unexpected => verified.unexpected += 1,
                        Judgement::Unproven => verified.unproven.push(path),
                        Judgement::Different(fault) => problems.push(fault),
                    }
                },
                |fault| self.observe(fault),
            )
            .await?;
        verified.past_cache = past_cache;
        problems.extend(expected.missing());
        for fault in &problems {
            self.observe(fault.clone());
        }
        verified.problems = problems;
        Ok(verified)
    }

    fn observe(&self, fault: Fault) {
        let class = class_of(&fault);
        self.shared.observer.observe(&Event::Problem { fault, class });
    }

    /// All entries with the digests of files: what another location is compared with.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn expectations(&self) -> Result<Expected, TransferError> {
        let mut entries = BTreeMap::new();
        self.hash(
            Reading::Cached,
            |entry, digest| {
                if let Some(path) = self.relative(&entry.path) {
                    entries.insert(path, Expectation::of(&entry.kind, digest));
                }
            },
            |fault| self.observe(fault),
        )
        .await?;
        Ok(Expected::of_entries(entries))
    }

    /// Lets go of the location.
    pub async fn close(self) {
        self.end.source.close().await;
    }

    /// A single file is known by its own name, everything else by its path below the root.
    fn relative(&self, path: &RelPath) -> Option<RelPath> {
        path.starts_with(&self.under).then(|| path.clone())
    }

    async fn listing(&self) -> Result<Listing, TransferError> {
        let options = self.shared.transfer.options.source_scan();
        let scan = Scan { root: self.root.index, under: self.under.clone(), options };
        let source = Arc::clone(&self.end.source);
        Listing::begin(source, scan).await.map_err(|e| self.error(e))
    }

    async fn hash_batch(
        &self,
        entries: Vec<Entry>,
        reading: Reading,
    ) -> EndpointResult<(Vec<(Entry, Result<Option<Digest>, Fault>)>, bool)> {
        let is_small =
            |e: &Entry| matches!(e.kind, EntryKind::File { .. }) && e.kind.size() <= PACK_FILE_MAX;
        let small: Vec<_> = entries.iter().filter(|e| is_small(e)).collect();
        let listed = small.iter().map(|e| (e.path.clone(), e.stamp())).collect();
        let files = FilesAt { root: self.root.index, files: listed };
        let (mut digests, mut past_cache) = (Vec::new().into_iter(), true);
        if !small.is_empty() {
            let (found, all) = self.end.source.hash_files(HashFiles { files, reading }).await?;
            (digests, past_cache) = (found.into_iter(), all);
        }
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let digest = if is_small(&entry) {
                digests.next().transpose()
            } else if matches!(entry.kind, EntryKind::File { .. }) {
                match self.hash_large(&entry, reading).await {
                    Ok((digest, all)) => {
                        past_cache &= all;
                        Ok(Some(digest))
                    }
                    Err(EndpointError::Fault(fault)) => Err(fault),
                    Err(error) => return Err(error),
                }
            } else {
                Ok(None)
            };
            self.shared.meter.verified(entry.kind.size());
            rows.push((entry, digest));
        }
        let progress: Progress = self.shared.meter.progress();
        self.shared.observer.observe(&Event::Progress(progress));
        Ok((rows, past_cache))
    }

    async fn hash_large(&self, entry: &Entry, reading: Reading) -> EndpointResult<(Digest, bool)> {
        let size = entry.kind.size();
        let file = FileAt { root: self.root.index, path: entry.path.clone(), stamp: entry.stamp() };
        let go_on = |_| !self.shared.cancel.is_cancelled();
        root_of(&*self.end.source, file, size, reading, HASHED.content, go_on).await
    }

    fn check_cancelled(&self) -> Result<(), TransferError> {
        if self.shared.cancel.is_cancelled() {
            return Err(TransferError::Stopped { signal: StopSignal::Interrupt });
        }
        Ok(())
    }

    fn error(&self, error: EndpointError) -> TransferError {
        self.shared.error_of(super::context::Context::stop(Side::Source, error))
    }
}

impl Shared {
    /// Opens the directory that a location names, or the one that holds the file which it names.
    async fn locate_one(
        &self,
        end: &Connected,
        location: &Location,
    ) -> Result<(Root, RelPath), TransferError> {
        let stop = |e| self.error_of(super::context::Context::stop(Side::Source, e));
        let locate = Locate { path: location.path.clone(), expand: false };
        let rows = end.source.locate(locate).await.map_err(stop)?;
        let rows: Vec<_> = rows.into_iter().map(|row| (0, row)).collect();
        let Some((_, row)) = rows.first().cloned() else {
            return Err(self.error_of(super::context::Stop::Mapping(
                crate::plan::mapping::MappingError::SourceMissing(0),
            )));
        };
        let (path, under) = if row.kind == Some(LocatedKind::DirectoryLink) {
            (row.path, RelPath::root())
        } else {
            let mappings = map_sources(&rows, &row)
                .map_err(|e| self.error_of(super::context::Stop::Mapping(e)))?;
            mappings.into_iter().next().map(|m| (m.source_root, m.under)).unwrap_or_default()
        };
        let open = OpenRoot { path, access: Access::Read };
        let root = end.source.open_root(open).await.map_err(stop)?;
        Ok((root, under))
    }
}
