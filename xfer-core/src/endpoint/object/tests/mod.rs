//! The contract over a bucket in memory, and what the contract does not see.

mod copies;
mod knowing;
mod resuming;
mod stored;
mod walking;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use xfer_protocol::digest::{file_digest, range_digests};
use xfer_protocol::manifest::{Entry, Metadata, ScanItem, Timestamp};
use xfer_protocol::message::{
    Access, PackedFile, Scan, ScanNext, ScanOptions, Ticket, WriteBlock, WritePack,
};
use xfer_protocol::path::RelPath;

use super::store::memory::MemoryBucket;
use super::*;
use crate::endpoint::conformance::{self, Fixture};

struct Place {
    bucket: MemoryBucket,
    state: tempfile::TempDir,
}

impl Place {
    fn new(bucket: MemoryBucket) -> Self {
        bucket.put_as_is("some/where/", Bytes::new(), &[]);
        Self { bucket, state: tempfile::tempdir().unwrap() }
    }

    fn session(&self) -> ObjectEndpoint {
        session(&self.bucket, Some(&self.state))
    }
}

fn session(bucket: &MemoryBucket, state: Option<&tempfile::TempDir>) -> ObjectEndpoint {
    let child = |name: &str| state.map(|s| StateDirectory::open(&s.path().join(name)).unwrap());
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let nth = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let seed = u128::from(nth).to_le_bytes();
    let options = ObjectOptions {
        seed,
        records: child("uploads"),
        locks: child("locks"),
        ..ObjectOptions::default()
    };
    ObjectEndpoint::new(Arc::new(bucket.clone()), options)
}

#[async_trait]
impl Fixture for Place {
    type Side = ObjectEndpoint;

    async fn open(&self) -> ObjectEndpoint {
        self.session()
    }

    fn base(&self) -> Vec<u8> {
        b"/some/where".to_vec()
    }
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    conformance::all(async || Place::new(MemoryBucket::new("b"))).await;
}

#[tokio::test]
async fn a_slow_bucket_keeps_the_contract() {
    conformance::all(async || Place::new(MemoryBucket::new("b").slowed(20))).await;
}

#[tokio::test]
async fn a_bucket_that_tells_no_checksums_and_no_parts_keeps_the_contract() {
    let bucket = || MemoryBucket::new("b").without_checksums().without_parts();
    conformance::all(async || Place::new(bucket())).await;
}

/// One session, with a root open.
struct Stand {
    side: ObjectEndpoint,
    root: RootIndex,
}

impl Stand {
    async fn new(bucket: &MemoryBucket, state: Option<&tempfile::TempDir>, at: &str) -> Self {
        let side = session(bucket, state);
        let open = OpenRoot { path: at.as_bytes().to_vec(), access: Access::WriteCreate };
        let root = side.open_root(open).await.unwrap().index;
        Self { side, root }
    }

    async fn scan(&self) -> Vec<ScanItem> {
        let (under, options) = (RelPath::root(), ScanOptions::default());
        let scan = self.side.scan(Scan { root: self.root, under, options }).await.unwrap();
        let mut items = Vec::new();
        for sequence in 0.. {
            let batch = self.side.scan_next(ScanNext { scan, sequence }).await.unwrap();
            items.extend(batch.items);
            if batch.last {
                break;
            }
        }
        items
    }

    async fn entries(&self) -> Vec<Entry> {
        let entry = |item| match item {
            ScanItem::Entry(entry) => Some(entry),
            _ => None,
        };
        self.scan().await.into_iter().filter_map(entry).collect()
    }

    async fn pack(&self, name: &str, bytes: &[u8], publish: bool) -> EndpointResult<Vec<Outcome>> {
        let file = PackedFile {
            ticket: Ticket(0),
            path: path(name),
            size: bytes.len() as u64,
            digest: file_digest(bytes),
            metadata: metadata(0o640),
        };
        let pack = WritePack { root: self.root, files: vec![file], publish };
        self.side.write_pack(pack, Bytes::copy_from_slice(bytes)).await
    }

    async fn open_partial(&self, index: u64, size: u64) -> Vec<ByteRange> {
        let (partial, path) = (PartialIndex(index), path("file"));
        let open = OpenPartial { partial, root: self.root, path, size, over: None };
        self.side.open_partial(open).await.unwrap().held
    }

    async fn write(&self, index: u64, range: ByteRange, whole: &Bytes) -> EndpointResult<()> {
        let at = |offset| usize::try_from(offset).unwrap();
        let bytes = whole.slice(at(range.start())..at(range.end()));
        let digests = range_digests(range.start(), &bytes, whole.len() as u64).unwrap();
        let write = WriteBlock { partial: PartialIndex(index), range, digests, hole: false };
        self.side.write_block(write, bytes).await
    }

    async fn commit(&self, index: u64, whole: &[u8]) -> EndpointResult<()> {
        let (partial, digest) = (PartialIndex(index), file_digest(whole));
        let metadata = metadata(0o600);
        self.side.commit(Commit { partial, ticket: Ticket(9), digest, metadata }).await
    }

    async fn publish(&self, number: u64) -> EndpointResult<Vec<Outcome>> {
        self.side.publish(Publish { root: self.root, durable: true, number }).await
    }

    async fn finish(&self) {
        self.side.finish(Finish { root: self.root, durable: true }).await.unwrap();
    }
}

fn path(name: &str) -> RelPath {
    RelPath::new(name).unwrap()
}

fn metadata(mode: u32) -> Metadata {
    let modified = Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
    Metadata { mode, modified, ..Metadata::default() }
}

/// Bytes of so many whole parts and a short one.
fn parts(count: u64) -> (Bytes, Vec<ByteRange>) {
    let size = usize::try_from(GRID * count + 1234).unwrap();
    let mut bytes = BytesMut::with_capacity(size + 8);
    let mut state = 1_u64;
    while bytes.len() < size {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    let whole = ByteRange::whole(size as u64).unwrap();
    (bytes.freeze(), hash::pieces(whole, GRID).collect())
}
