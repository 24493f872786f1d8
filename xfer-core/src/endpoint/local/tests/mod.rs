//! The local endpoint on real directories, on a disk and in memory.

#![expect(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "tests look at the files themselves, and make bytes of numbers"
)]

mod attributes;
mod durability;
mod faults;
mod hostile;
mod in_place;
mod locks;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use xfer_protocol::digest::{BlockSize, file_digest, range_digests};
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Metadata, ScanItem, Stamp, Timestamp};
use xfer_protocol::message::{
    Access, NewEntry, NewKind, PackedFile, ReadFile, Reading, ScanOptions, Subject, Ticket,
};
use xfer_protocol::path::RelPath;

use super::*;

pub(super) const MIB: u64 = 1 << 20;

pub(super) fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

pub(super) fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// Bytes that differ from block to block.
pub(super) fn pattern(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

pub(super) fn metadata() -> Metadata {
    let modified = Timestamp { seconds: 1_000_000_000, nanoseconds: 123_456_789 };
    Metadata { mode: 0o640, modified, ..Metadata::default() }
}

pub(super) async fn open(endpoint: &LocalEndpoint, path: &Path, access: Access) -> Root {
    let path = path.as_os_str().as_bytes().to_vec();
    endpoint.open_root(OpenRoot { path, access }).await.unwrap()
}

/// A sink on a fresh directory.
pub(super) struct Lab {
    pub(super) endpoint: LocalEndpoint,
    pub(super) directory: tempfile::TempDir,
    pub(super) root: RootIndex,
    publishings: AtomicU64,
}

impl Lab {
    pub(super) async fn on(parent: impl AsRef<Path>) -> Self {
        Self::with(parent, LocalOptions::default()).await
    }

    pub(super) async fn with(parent: impl AsRef<Path>, options: LocalOptions) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        let endpoint = LocalEndpoint::new(options);
        let root = open(&endpoint, directory.path(), Access::Write).await.index;
        Self { endpoint, directory, root, publishings: AtomicU64::new(0) }
    }

    /// A later session on the same directory.
    pub(super) async fn later(self) -> Self {
        self.endpoint.close().await;
        let endpoint = LocalEndpoint::new(LocalOptions::default());
        let root = open(&endpoint, self.directory.path(), Access::Write).await.index;
        Self { endpoint, root, ..self }
    }

    pub(super) async fn pack(&self, files: Vec<PackedFile>, bytes: &[u8]) -> Vec<Outcome> {
        let pack = WritePack { root: self.root, files, publish: false };
        self.endpoint.write_pack(pack, Bytes::copy_from_slice(bytes)).await.unwrap()
    }

    pub(super) fn at(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub(super) async fn open_partial(&self, index: u64, path: &str, size: u64) -> Partial {
        let partial = PartialIndex(index);
        let open = OpenPartial { partial, root: self.root, path: rel(path), size, over: None };
        self.endpoint.open_partial(open).await.unwrap()
    }

    pub(super) async fn write(
        &self,
        index: u64,
        whole: &[u8],
        range: ByteRange,
    ) -> EndpointResult<()> {
        let bytes = &whole[range.start() as usize..range.end() as usize];
        let digests = range_digests(range.start(), bytes, whole.len() as u64).unwrap();
        let write = WriteBlock { partial: PartialIndex(index), range, digests, hole: false };
        self.endpoint.write_block(write, Bytes::copy_from_slice(bytes)).await
    }

    pub(super) async fn commit(&self, index: u64, whole: &[u8]) -> EndpointResult<()> {
        let commit = Commit {
            partial: PartialIndex(index),
            ticket: Ticket(index),
            digest: file_digest(whole),
            metadata: metadata(),
        };
        self.endpoint.commit(commit).await
    }

    pub(super) async fn publish(&self, durable: bool) -> Vec<Outcome> {
        let number = self.publishings.fetch_add(1, Ordering::Relaxed);
        self.endpoint.publish(Publish { root: self.root, durable, number }).await.unwrap()
    }

    pub(super) async fn finish(&self) {
        let finish = Finish { root: self.root, durable: true };
        self.endpoint.finish(finish).await.unwrap();
    }

    pub(super) async fn scan(&self) -> Vec<ScanItem> {
        let options = ScanOptions::default();
        let scan = Scan { root: self.root, under: RelPath::root(), options };
        let scan = self.endpoint.scan(scan).await.unwrap();
        let mut items = Vec::new();
        for sequence in 0.. {
            let batch = self.endpoint.scan_next(ScanNext { scan, sequence }).await.unwrap();
            items.extend(batch.items);
            if batch.last {
                break;
            }
        }
        items
    }

    pub(super) fn stamp(&self, name: &str) -> Stamp {
        let file = std::fs::File::open(self.at(name)).unwrap();
        crate::disk::stat::stamp(&rustix::fs::fstat(file).unwrap())
    }

    pub(super) fn file_at(&self, name: &str) -> FileAt {
        FileAt { root: self.root, path: rel(name), stamp: self.stamp(name) }
    }
}

pub(super) fn packed(ticket: u64, path: &str, bytes: &[u8]) -> PackedFile {
    PackedFile {
        ticket: Ticket(ticket),
        path: rel(path),
        size: bytes.len() as u64,
        digest: file_digest(bytes),
        metadata: metadata(),
    }
}

pub(super) fn kind(error: EndpointError) -> FaultKind {
    match error {
        EndpointError::Fault(fault) => fault.kind,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_large_file_arrives_in_any_order() {
    for parent in ["/tmp", "/dev/shm"] {
        let lab = Lab::on(parent).await;
        let whole = pattern(3 * MIB + 77);
        assert_eq!(lab.open_partial(1, "file", whole.len() as u64).await.held, []);
        for block in [range(2 * MIB, 3 * MIB), range(3 * MIB, 3 * MIB + 77), range(0, MIB)] {
            lab.write(1, &whole, block).await.unwrap();
            lab.write(1, &whole, block).await.unwrap();
        }
        assert_eq!(kind(lab.commit(1, &whole).await.unwrap_err()), FaultKind::Mismatch);
        lab.write(1, &whole, range(0, 2 * MIB)).await.unwrap();
        lab.commit(1, &whole).await.unwrap();
        assert!(!lab.at("file").exists());
        let outcomes = lab.publish(true).await;
        assert!(lab.publish(true).await.is_empty());
        let stamp = outcomes[0].result.clone().unwrap().unwrap();
        assert_eq!(stamp, lab.stamp("file"));
        assert_eq!(stamp.modified, metadata().modified);
        assert_eq!(std::fs::read(lab.at("file")).unwrap(), whole);
        lab.commit(1, &whole).await.unwrap();
        lab.finish().await;
        assert_eq!(lab.names(), ["file"]);
    }
}

#[tokio::test]
async fn a_later_session_keeps_what_it_hashed() {
    for parent in ["/tmp", "/dev/shm"] {
        let lab = Lab::on(parent).await;
        let whole = pattern(4 * MIB);
        lab.open_partial(1, "file", 4 * MIB).await;
        lab.write(1, &whole, range(MIB, 3 * MIB)).await.unwrap();
        let lab = lab.later().await;
        let held = lab.open_partial(9, "file", 4 * MIB).await.held;
        assert_eq!(held, [range(MIB, 3 * MIB)], "{parent}");
        let keep = Keep { partial: PartialIndex(9), ranges: held.clone() };
        let early = lab.endpoint.keep(keep.clone()).await.unwrap_err();
        assert_eq!(kind(early), FaultKind::Protocol);
        let hash = HashBlocks {
            subject: Subject::Partial(PartialIndex(9)),
            range: held[0],
            block: BlockSize::DEFAULT,
            reading: Reading::PastCache,
        };
        let hashed = lab.endpoint.hash_blocks(hash).await.unwrap();
        assert_eq!(hashed.past_cache, parent == "/tmp");
        let expected = [range(MIB, 2 * MIB), range(2 * MIB, 3 * MIB)].map(|block| {
            let bytes = &whole[block.start() as usize..block.end() as usize];
            range_digests(block.start(), bytes, 4 * MIB).unwrap()[0]
        });
        assert_eq!(hashed.digests, expected);
        lab.endpoint.keep(keep).await.unwrap();
        lab.write(9, &whole, range(0, MIB)).await.unwrap();
        lab.write(9, &whole, range(3 * MIB, 4 * MIB)).await.unwrap();
        lab.commit(9, &whole).await.unwrap();
        lab.publish(true).await;
        assert_eq!(std::fs::read(lab.at("file")).unwrap(), whole);
    }
}

#[tokio::test]
async fn packs_arrive_and_are_read() {
    let lab = Lab::on("/tmp").await;
    std::fs::create_dir(lab.at("d")).unwrap();
    let contents: [&[u8]; 3] = [b"first", b"", &[7; 100_000]];
    let names = ["a", "d/b", "d/c"];
    for publish in [true, false] {
        let files = names.iter().zip(contents).zip(1..).map(|((n, c), t)| packed(t, n, c));
        let pack = WritePack { root: lab.root, files: files.collect(), publish };
        let outcomes = lab.endpoint.write_pack(pack, contents.concat().into()).await.unwrap();
        assert!(outcomes.iter().all(|o| o.result.clone().unwrap().is_some() == publish));
        let outcomes = if publish { outcomes } else { lab.publish(true).await };
        for (outcome, name) in outcomes.iter().zip(names) {
            assert_eq!(outcome.result.clone().unwrap().unwrap(), lab.stamp(name));
        }
    }
    let files = names.iter().map(|name| (rel(name), lab.stamp(name))).collect();
    let (reads, payload) = lab.endpoint.read_pack(FilesAt { root: lab.root, files }).await.unwrap();
    assert_eq!(payload, contents.concat());
    for (read, bytes) in reads.iter().zip(contents) {
        let ReadFile { size, digest } = *read.as_ref().unwrap();
        assert_eq!((size, digest), (bytes.len() as u64, file_digest(bytes)));
    }
    assert_eq!(lab.names(), ["a", "d"]);
    let (block, bytes) = lab
        .endpoint
        .read_block(ReadBlock { file: lab.file_at("d/c"), range: range(0, 65_536) })
        .await
        .unwrap();
    assert_eq!(block, range_digests(0, &bytes, 100_000).unwrap());
}

#[tokio::test]
async fn entries_without_bytes_are_made_and_scanned() {
    let lab = Lab::on("/tmp").await;
    let make = |ticket, path: &str, kind| NewEntry {
        ticket: Ticket(ticket),
        path: rel(path),
        kind,
        metadata: metadata(),
    };
    std::fs::write(lab.at("file"), b"x").unwrap();
    let entries = vec![
        make(1, "d", NewKind::Directory),
        make(2, "d/link", NewKind::Symlink { content: b"\xff/../nowhere".to_vec() }),
        make(3, "d/fifo", NewKind::Fifo),
        make(4, "d/socket", NewKind::Socket),
        make(5, "d/hard", NewKind::HardLink { of: rel("file") }),
    ];
    for _ in 0..2 {
        let create = Create { root: lab.root, entries: entries.clone() };
        let outcomes = lab.endpoint.create(create).await.unwrap();
        assert!(outcomes.iter().all(|o| o.result.is_ok()), "{outcomes:?}");
    }
    let set = SetMetadata { root: lab.root, entries: vec![(Ticket(6), rel("d"), metadata())] };
    lab.endpoint.set_metadata(set).await.unwrap();
    lab.finish().await;
    let items = lab.scan().await;
    let mut seen = Vec::new();
    for item in items {
        let ScanItem::Entry(entry) = item else { panic!("{item:?}") };
        let path = entry.path.to_string();
        if path.starts_with("d") && path != "d/hard" {
            assert_eq!(entry.metadata.modified, metadata().modified, "{path}");
        }
        if ["d", "d/fifo", "d/socket"].contains(&path.as_str()) {
            assert_eq!(entry.metadata.mode, 0o640, "{path}");
        }
        seen.push(path);
    }
    assert_eq!(seen, [".", "d", "d/fifo", "d/hard", "d/link", "d/socket", "file"]);
}
