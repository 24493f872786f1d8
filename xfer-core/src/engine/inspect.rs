//! Looking without moving: listing a location, hashing it, and comparing it with what is expected.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem};
use xfer_protocol::message::{
    Access, FileAt, Locate, LocatedKind, OpenRoot, ReadBlock, Reading, Request, Root, Scan,
};
use xfer_protocol::path::RelPath;

use super::batch::Batch;
use super::hashing::{HASHED, Hashed, hash_batch};
use super::ledger::Side;
use super::listing::Listing;
use super::pieces::pieces;
use super::{Shared, Transfer};
use crate::connect::{Connected, Connector};
use crate::endpoint::{EndpointError, EndpointResult};
use crate::error::{ExitClass, StopSignal, TransferError, UsageReason};
use crate::event::{Event, Progress, Route, SharedObserver};
use crate::location::{Location, Machine};
use crate::options::TransferOptions;
use crate::plan::mapping::{MappingError, above, begin_of};
use crate::verify::{Expectation, Expected, Judgement};

/// Bytes of a file that are fetched at a time.
const FETCHED: u64 = 4 << 20;

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

/// Takes what is found, one after the other.
type Each<'a, T> = Box<dyn FnMut(T) + Send + 'a>;

/// A location that is looked at.
pub struct Inspection {
    shared: Shared,
    end: Connected,
    /// Each entry that the location names, and the root below which it lies.
    places: Vec<(Root, RelPath)>,
}

impl Inspection {
    /// Opens a location.
    ///
    /// # Errors
    /// What keeps it from being reached.
    pub fn open<'a>(
        location: &'a Location,
        options: TransferOptions,
        connector: Connector,
        observer: SharedObserver,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Self, TransferError>> {
        Box::pin(async move {
            let transfer = Transfer {
                sources: vec![location.clone()],
                destination: location.clone(),
                options,
                plan_only: true,
            };
            let shared = Shared::new(transfer, connector, observer, cancel);
            let machine = &location.machine;
            let stopped = || TransferError::Stopped { signal: StopSignal::Interrupt };
            // A bucket is asked first about what is named; elsewhere nothing is gained by it.
            let locate = || Request::Locate(Locate { path: location.path.clone(), expand: true });
            let asks = matches!(machine, Machine::Store(_) | Machine::Rclone(_));
            let ahead: Vec<_> = asks.then(locate).into_iter().collect();
            let options = &shared.transfer.options;
            let end = tokio::select! {
                end = shared.connector.connect_ahead(machine, options, &ahead) => end?,
                () = shared.cancel.cancelled() => return Err(stopped()),
            };
            let is_store = matches!(machine, Machine::Store(_) | Machine::Rclone(_));
            if is_store || matches!(machine, Machine::Web(_) | Machine::Hub(_)) {
                let tell = |text: &String| shared.observer.observe(&Event::Notice(text.clone()));
                end.notices.iter().for_each(tell);
            }
            let route = end.route_now().unwrap_or_else(Route::local);
            shared.observer.observe(&Event::Route(route));
            let places = tokio::select! {
                places = shared.locate_all(&end, location) => places?,
                () = shared.cancel.cancelled() => return Err(stopped()),
            };
            Ok(Self { shared, end, places })
        })
    }

    /// Hands on every entry, in the order of paths.
    ///
    /// # Errors
    /// What ended the listing; one entry's own problem goes to `problem`.
    pub fn list<'a>(
        &'a self,
        entry: impl FnMut(Entry) + Send + 'a,
        problem: impl FnMut(Fault) + Send + 'a,
    ) -> BoxFuture<'a, Result<(), TransferError>> {
        self.listed(Box::new(entry), Box::new(problem))
    }

    fn listed<'a>(
        &'a self,
        mut entry: Each<'a, Entry>,
        mut problem: Each<'a, Fault>,
    ) -> BoxFuture<'a, Result<(), TransferError>> {
        Box::pin(async move {
            for place in &self.places {
                let mut listing = self.listing(place).await?;
                while let Some(item) = self.unless_stopped(listing.next()).await? {
                    match item {
                        ScanItem::Entry(found) => entry(found),
                        ScanItem::Problem(fault) => problem(fault),
                        ScanItem::Excluded(_) | ScanItem::Partial { .. } => {}
                    }
                }
            }
            Ok(())
        })
    }

    /// Hashes every file and hands it on with its digest; other entries come without one.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn hash<'a>(
        &'a self,
        reading: Reading,
        mut each: impl FnMut(Entry, Option<Digest>) + Send + 'a,
        problem: impl FnMut(Fault) + Send + 'a,
    ) -> BoxFuture<'a, Result<bool, TransferError>> {
        let each = move |(entry, digest)| each(entry, digest);
        self.hashed(reading, Box::new(each), Box::new(problem))
    }

    fn hashed<'a>(
        &'a self,
        reading: Reading,
        mut each: Each<'a, (Entry, Option<Digest>)>,
        mut problem: Each<'a, Fault>,
    ) -> BoxFuture<'a, Result<bool, TransferError>> {
        Box::pin(async move {
            let mut past_cache = true;
            for place in &self.places {
                past_cache &= self.hash_place(place, reading, &mut each, &mut problem).await?;
            }
            Ok(past_cache)
        })
    }

    async fn hash_place(
        &self,
        place: &(Root, RelPath),
        reading: Reading,
        each: &mut Each<'_, (Entry, Option<Digest>)>,
        problem: &mut Each<'_, Fault>,
    ) -> Result<bool, TransferError> {
        let mut listing = self.listing(place).await?;
        let mut past_cache = true;
        let mut batch = Batch::new(HASHED);
        loop {
            let item = self.unless_stopped(listing.next()).await?;
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
                let hashed = self.hash_batch(&place.0, full, reading);
                let (rows, batch_past_cache) = self.unless_stopped(hashed).await?;
                past_cache &= batch_past_cache;
                for (entry, digest) in rows {
                    match digest {
                        Ok(digest) => each((entry, digest)),
                        Err(fault) => problem(fault),
                    }
                }
            }
            if ended {
                return Ok(past_cache);
            }
        }
    }

    /// What an endpoint answers, unless a stop is asked for meanwhile.
    async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = EndpointResult<T>>,
    ) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            () = self.shared.cancel.cancelled() => {
                Err(TransferError::Stopped { signal: StopSignal::Interrupt })
            }
            done = work => done.map_err(|e| self.error(e)),
        }
    }

    /// Re-reads the location and compares it; hands on what nobody spoke of.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn verify<'a>(
        &'a self,
        expected: Expected,
        unexpected: impl FnMut(RelPath) + Send + 'a,
    ) -> BoxFuture<'a, Result<Verified, TransferError>> {
        self.verified(expected, Box::new(unexpected))
    }

    fn verified<'a>(
        &'a self,
        expected: Expected,
        mut unexpected: Each<'a, RelPath>,
    ) -> BoxFuture<'a, Result<Verified, TransferError>> {
        Box::pin(async move {
            let Some((root, under)) = self.places.first() else { return Ok(Verified::default()) };
            self.check_one_directory()?;
            // Of several places the first stands for all: they lie in one directory.
            let under = if self.places.len() == 1 { under.clone() } else { RelPath::root() };
            let mut expected = expected.seen_from(&root.path, &under);
            expected.retain(|path| self.is_named(path));
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
                        let path = entry.path;
                        match expected.judge(&path, &entry.kind, digest) {
                            Judgement::Equal => {
                                verified.equal += 1;
                                verified.bytes = verified.bytes.saturating_add(entry.kind.size());
                            }
                            Judgement::Beside => {}
                            Judgement::Unexpected => {
                                verified.unexpected += 1;
                                unexpected(path);
                            }
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
        })
    }

    fn observe(&self, fault: Fault) {
        let class = class_of(&fault);
        self.shared.observer.observe(&Event::Problem { fault, class });
    }

    /// All entries with the digests of files: what another location is compared with.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn expectations<'a>(&'a self) -> BoxFuture<'a, Result<Expected, TransferError>> {
        Box::pin(async move {
            self.check_one_directory()?;
            let mut entries = BTreeMap::new();
            self.hash(
                Reading::Cached,
                |entry, digest| {
                    entries.insert(entry.path, Expectation::of(&entry.kind, digest));
                },
                |fault| self.observe(fault),
            )
            .await?;
            Ok(Expected::of_entries(entries))
        })
    }

    /// The bytes of the one file that is named, of so many at most; `None` where it is no such.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn file_of<'a>(
        &'a self,
        most: u64,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, TransferError>> {
        Box::pin(async move {
            let [place] = &self.places[..] else { return Ok(None) };
            let mut listing = self.listing(place).await?;
            let found = match self.unless_stopped(listing.next()).await? {
                Some(ScanItem::Entry(found)) if found.path == place.1 => found,
                _ => return Ok(None),
            };
            let (root, stamp) = (place.0.index, found.stamp());
            let EntryKind::File { size, .. } = found.kind else { return Ok(None) };
            if size > most {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            for range in pieces(size, FETCHED) {
                let file = FileAt { root, path: found.path.clone(), stamp };
                let read = self.end.source.read_block(ReadBlock { file, range });
                bytes.extend_from_slice(&self.unless_stopped(read).await?.1);
            }
            Ok(Some(bytes))
        })
    }

    /// One name below several directories would stand for several entries.
    fn check_one_directory(&self) -> Result<(), TransferError> {
        let apart = self.places.windows(2).any(|pair| pair[0].0.path != pair[1].0.path);
        match self.shared.transfer.sources.first() {
            Some(location) if apart => {
                Err(UsageReason::SeveralDirectories(location.clone()).into())
            }
            _ => Ok(()),
        }
    }

    /// Lets go of the location.
    pub fn close(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.end.source.close().await;
        })
    }

    /// A single file is known by its own name, everything else by its path below the root.
    fn is_named(&self, path: &RelPath) -> bool {
        self.places.iter().any(|(_, under)| path.starts_with(under))
    }

    async fn listing(&self, (root, under): &(Root, RelPath)) -> Result<Listing, TransferError> {
        let options = self.shared.transfer.options.source_scan();
        let scan = Scan { root: root.index, under: under.clone(), options };
        let source = Arc::clone(&self.end.source);
        self.unless_stopped(Listing::begin(source, scan)).await
    }

    async fn hash_batch(
        &self,
        root: &Root,
        entries: Vec<Entry>,
        reading: Reading,
    ) -> EndpointResult<(Vec<Hashed>, bool)> {
        let go_on = || !self.shared.cancel.is_cancelled();
        let hashed = hash_batch(&*self.end.source, root.index, entries, reading, go_on).await?;
        hashed.0.iter().for_each(|(entry, _)| self.shared.meter.verified(entry.kind.size()));
        let progress: Progress = self.shared.meter.progress();
        self.shared.observer.observe(&Event::Progress(progress));
        Ok(hashed)
    }

    fn check_cancelled(&self) -> Result<(), TransferError> {
        if self.shared.cancel.is_cancelled() {
            return Err(TransferError::Stopped { signal: StopSignal::Interrupt });
        }
        Ok(())
    }

    fn error(&self, error: EndpointError) -> TransferError {
        if let Err(stopped) = self.check_cancelled() {
            return stopped;
        }
        self.shared.error_of(super::context::Context::stop(Side::Source, error))
    }
}

impl Shared {
    /// Opens the directory that a location names, or the one that holds the entry which it names;
    /// of a pattern that several entries match, the ones that hold them.
    async fn locate_all(
        &self,
        end: &Connected,
        location: &Location,
    ) -> Result<Vec<(Root, RelPath)>, TransferError> {
        let stop = |e| self.error_of(super::context::Context::stop(Side::Source, e));
        let mapping = |e| self.error_of(super::context::Stop::Mapping(e));
        let expand = location.machine != Machine::Local;
        let locate = Locate { path: location.path.clone(), expand };
        let mut rows = end.source.locate(locate).await.map_err(stop)?;
        rows.retain(|row| row.kind.is_some());
        let several = rows.len() > 1;
        let mut places = Vec::with_capacity(rows.len());
        let mut opened: Vec<(Vec<u8>, Root)> = Vec::new();
        for row in rows {
            let (path, under) = if several {
                above(&row.path).map_err(mapping)?
            } else if row.kind == Some(LocatedKind::DirectoryLink) {
                (row.path, RelPath::root())
            } else {
                begin_of(&row).map_err(mapping)?
            };
            if let Some((_, root)) = opened.iter().find(|(known, _)| *known == path) {
                places.push((root.clone(), under));
                continue;
            }
            let open = OpenRoot { path: path.clone(), access: Access::Read };
            let root = end.source.open_root(open).await.map_err(stop)?;
            opened.push((path, root.clone()));
            places.push((root, under));
        }
        if places.is_empty() {
            return Err(mapping(MappingError::SourceMissing(0)));
        }
        Ok(places)
    }
}
