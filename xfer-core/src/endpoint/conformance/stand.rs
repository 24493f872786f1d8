//! What clauses do again and again: one session on a fixture, with its root open for writing.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::{BlockSize, file_digest, range_digests};
use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::manifest::{Entry, EntryKind, Metadata, ProofLevel, ScanItem, Stamp, Timestamp};
use xfer_protocol::message::{
    Access, Commit, Create, FileAt, NewEntry, NewKind, OpenPartial, OpenRoot, Outcome, PackedFile,
    PartialIndex, Publish, ReadBlock, RootIndex, Scan, ScanNext, ScanOptions, Ticket, WriteBlock,
    WritePack,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::{Capabilities, Fixture};
use crate::endpoint::{EndpointError, EndpointResult, MetadataKinds, Sink, Source};

/// One session.
pub(super) struct Stand<S> {
    pub(super) side: S,
    pub(super) root: RootIndex,
    pub(super) keeps: MetadataKinds,
    next: AtomicU64,
    publishings: AtomicU64,
}

impl<S: Sink + Source> Stand<S> {
    pub(super) async fn new<F: Fixture<Side = S>>(fixture: &F) -> Self {
        let side = fixture.open().await;
        let open = OpenRoot { path: fixture.base(), access: Access::Write };
        let root = side.open_root(open).await.unwrap().index;
        let keeps = side.capabilities().metadata;
        Self { side, root, keeps, next: AtomicU64::new(0), publishings: AtomicU64::new(0) }
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        self.side.capabilities()
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Publishes a small file.
    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> Stamp {
        self.put_at(&path(name), bytes, plain()).await
    }

    pub(super) async fn put_at(&self, path: &RelPath, bytes: &[u8], metadata: Metadata) -> Stamp {
        self.make_parents(path).await;
        let file = self.packed(path, bytes, metadata);
        let pack = WritePack { root: self.root, files: vec![file], publish: true };
        let outcomes = self.side.write_pack(pack, Bytes::copy_from_slice(bytes)).await.unwrap();
        one(outcomes).unwrap().unwrap()
    }

    pub(super) fn packed(&self, path: &RelPath, bytes: &[u8], metadata: Metadata) -> PackedFile {
        PackedFile {
            ticket: self.ticket(),
            path: path.clone(),
            size: bytes.len() as u64,
            digest: file_digest(bytes),
            metadata,
        }
    }

    /// Makes the directories that lead to an entry, where directories are entries.
    pub(super) async fn make_parents(&self, path: &RelPath) {
        let parents: Vec<_> = std::iter::successors(path.parent(), RelPath::parent).collect();
        for parent in parents.into_iter().rev().filter(|parent| !parent.is_root()) {
            if self.keeps.directories {
                self.create(&parent, NewKind::Directory).await.unwrap();
            }
        }
    }

    pub(super) async fn create(&self, path: &RelPath, kind: NewKind) -> Result<Stamp, Fault> {
        self.create_with(path, kind, plain()).await
    }

    pub(super) async fn create_with(
        &self,
        path: &RelPath,
        kind: NewKind,
        metadata: Metadata,
    ) -> Result<Stamp, Fault> {
        let entry = NewEntry { ticket: self.ticket(), path: path.clone(), kind, metadata };
        let create = Create { root: self.root, entries: vec![entry] };
        one(self.side.create(create).await.unwrap()).map(Option::unwrap)
    }

    pub(super) async fn publish(&self) -> Vec<Outcome> {
        self.publish_as(self.publishings.fetch_add(1, Ordering::Relaxed)).await
    }

    pub(super) async fn publish_as(&self, number: u64) -> Vec<Outcome> {
        let durable = self.capabilities().proof_levels.contains(&ProofLevel::Durable);
        self.side.publish(Publish { root: self.root, durable, number }).await.unwrap()
    }

    /// All items of a scan, which are in order.
    pub(super) async fn scan(&self, under: &str, options: ScanOptions) -> Vec<ScanItem> {
        self.try_scan(under, options).await.unwrap()
    }

    pub(super) async fn try_scan(
        &self,
        under: &str,
        options: ScanOptions,
    ) -> EndpointResult<Vec<ScanItem>> {
        let scan = Scan { root: self.root, under: path(under), options };
        let scan = self.side.scan(scan).await?;
        let (mut items, mut end) = (Vec::new(), 0);
        for sequence in 0.. {
            let batch = self.side.scan_next(ScanNext { scan, sequence }).await?;
            assert_eq!(batch.sequence, sequence);
            end = sequence;
            items.extend(batch.items);
            if batch.last {
                break;
            }
        }
        let after = self.side.scan_next(ScanNext { scan, sequence: end + 1 }).await?;
        assert!(after.last && after.items.is_empty());
        assert!(items.iter().map(item_path).is_sorted(), "{items:?} are not in order");
        Ok(items)
    }

    pub(super) async fn entries(&self) -> Vec<Entry> {
        let options = ScanOptions { xattrs: self.keeps.xattrs, ..ScanOptions::default() };
        entries(self.scan("", options).await)
    }

    pub(super) async fn entry(&self, wanted: &RelPath) -> Option<Entry> {
        self.entries().await.into_iter().find(|entry| entry.path == *wanted)
    }

    /// Reads a file as a transfer does, and checks the digests that come with its bytes.
    pub(super) async fn content(&self, path: &RelPath) -> Option<Vec<u8>> {
        let entry = self.entry(path).await?;
        let EntryKind::File { size, .. } = entry.kind else { return None };
        let file = FileAt { root: self.root, path: path.clone(), stamp: entry.stamp() };
        let mut content = Vec::new();
        for range in cut(size, BlockSize::DEFAULT.bytes()) {
            let read = ReadBlock { file: file.clone(), range };
            let (digests, bytes) = self.side.read_block(read).await.unwrap();
            assert_eq!(Some(digests), range_digests(range.start(), &bytes, size));
            content.extend_from_slice(&bytes);
        }
        assert_eq!(content.len() as u64, size);
        Some(content)
    }

    /// A length of parts that this endpoint takes.
    pub(super) fn part(&self) -> u64 {
        let capabilities = self.capabilities();
        capabilities.write_grid.max(capabilities.part_min).max(256 * 1024)
    }

    /// Bytes of three parts and a short one, with no part like another.
    pub(super) fn several_parts(&self) -> Bytes {
        let size = usize::try_from(self.part() * 3 + 1234).unwrap();
        let mut bytes = BytesMut::with_capacity(size + 8);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        while bytes.len() < size {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(size);
        bytes.freeze()
    }

    pub(super) async fn open_partial(&self, index: u64, name: &str, size: u64) -> Vec<ByteRange> {
        let open = self.opening(index, name, size);
        self.side.open_partial(open).await.unwrap().held
    }

    pub(super) fn opening(&self, index: u64, name: &str, size: u64) -> OpenPartial {
        OpenPartial {
            partial: PartialIndex(index),
            root: self.root,
            path: path(name),
            size,
            over: None,
        }
    }

    /// Sends one range of a file.
    pub(super) async fn write(
        &self,
        index: u64,
        range: ByteRange,
        whole: &Bytes,
    ) -> EndpointResult<()> {
        let bytes = slice(whole, range);
        let digests = range_digests(range.start(), &bytes, whole.len() as u64).unwrap();
        let write = WriteBlock { partial: PartialIndex(index), range, digests, hole: false };
        self.side.write_block(write, bytes).await
    }

    pub(super) async fn write_all(&self, index: u64, whole: &Bytes) {
        for range in cut(whole.len() as u64, self.part()) {
            self.write(index, range, whole).await.unwrap();
        }
    }

    pub(super) async fn commit(&self, index: u64, whole: &[u8]) -> EndpointResult<Ticket> {
        let ticket = self.ticket();
        let digest = file_digest(whole);
        let partial = PartialIndex(index);
        let commit = Commit { partial, ticket, digest, metadata: plain() };
        self.side.commit(commit).await.map(|()| ticket)
    }

    /// Ends the session as a lost connection would: nothing is finished.
    pub(super) async fn end(self) {
        self.side.close().await;
    }
}

pub(super) fn path(name: &str) -> RelPath {
    RelPath::new(name).unwrap()
}

/// Metadata that every endpoint which keeps such keeps.
pub(super) fn plain() -> Metadata {
    let modified = Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
    Metadata { mode: 0o644, modified, ..Metadata::default() }
}

pub(super) fn one(mut outcomes: Vec<Outcome>) -> Result<Option<Stamp>, Fault> {
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).result
}

pub(super) fn entries(items: Vec<ScanItem>) -> Vec<Entry> {
    let entry = |item| match item {
        ScanItem::Entry(entry) => entry,
        other => panic!("{other:?} is no entry"),
    };
    items.into_iter().map(entry).collect()
}

pub(super) fn item_path(item: &ScanItem) -> &RelPath {
    match item {
        ScanItem::Entry(entry) => &entry.path,
        ScanItem::Excluded(path) | ScanItem::Partial { path, .. } => path,
        ScanItem::Problem(fault) => &fault.path,
    }
}

pub(super) fn fault_of<T: std::fmt::Debug>(result: EndpointResult<T>) -> FaultKind {
    match result {
        Err(EndpointError::Fault(fault)) => fault.kind,
        // A session may refuse what breaks a rule before it is sent.
        Err(EndpointError::Protocol(_)) => FaultKind::Protocol,
        other => panic!("{other:?} is no fault"),
    }
}

/// Cuts a file into ranges of a length.
pub(super) fn cut(size: u64, length: u64) -> impl DoubleEndedIterator<Item = ByteRange> {
    (0..size.div_ceil(length))
        .map(move |n| ByteRange::new(n * length, size.min((n + 1) * length)).unwrap())
}

pub(super) fn slice(whole: &Bytes, range: ByteRange) -> Bytes {
    whole.slice(usize::try_from(range.start()).unwrap()..usize::try_from(range.end()).unwrap())
}
