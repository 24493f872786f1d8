//! The contract of endpoints over a session: the suite that disks and stores pass, put to a far
//! endpoint over streams in memory, of which one may be cut at any byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use xfer_core::agent::serve::Served;
use xfer_core::clock::SystemClock;
use xfer_core::endpoint::Endpoint;
use xfer_core::endpoint::conformance::{self, Fixture};
use xfer_core::endpoint::local::{LocalEndpoint, LocalOptions};
use xfer_core::endpoint::memory::{MemoryEndpoint, MemoryStore, Profile};
use xfer_core::endpoint::remote::{RemoteEndpoint, SessionOptions, Tier};
use xfer_core::options::Compression;
use xfer_protocol::message::{Access, OpenRoot};

use crate::line::{Line, stream};

/// Sessions over memory with the endpoints of another fixture behind them.
struct Far<F> {
    behind: F,
    streams: u16,
    /// Decides which stream of a session is cut, and where.
    cuts: Option<AtomicU64>,
    sessions: Mutex<Vec<Session>>,
}

/// A session as its far side knows it.
struct Session {
    /// Shared with the near side's halves of all streams.
    near: Arc<()>,
    served: JoinHandle<()>,
}

impl<F> Far<F> {
    fn new(behind: F, streams: u16, cuts: Option<u64>) -> Self {
        Self { behind, streams, cuts: cuts.map(AtomicU64::new), sessions: Mutex::default() }
    }

    /// Waits for the far sides of sessions that nobody has any more.
    async fn settle(&self) {
        // A task that was aborted drops its stream when it is next run.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let gone: Vec<_> = {
            let mut sessions = self.sessions.lock().unwrap();
            sessions.extract_if(.., |session| Arc::strong_count(&session.near) == 1).collect()
        };
        for session in gone {
            session.served.await.unwrap();
        }
    }

    /// Where to cut a session: the stream, and the bytes in either direction before it.
    fn cut(&self) -> Option<(u16, u64)> {
        let state = self.cuts.as_ref()?;
        let mixed = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let [stream, shift] = [mixed >> 61, mixed >> 58 & 7];
        // Greetings take some 90 bytes; few sessions of the suite carry more than 64 KiB.
        let bytes = 120 + (mixed >> 32) % (64 << shift);
        Some((u16::try_from(stream).unwrap() % self.streams, bytes))
    }
}

#[async_trait]
impl<F: Fixture> Fixture for Far<F>
where
    F::Side: 'static,
{
    type Side = RemoteEndpoint;

    async fn open(&self) -> RemoteEndpoint {
        self.settle().await;
        let endpoint = Arc::new(self.behind.open().await);
        let capabilities = endpoint.capabilities().clone();
        let (served, _) = Served::new(endpoint, SystemClock::shared());
        let near = Arc::new(());
        let cut = self.cut();
        let mut ends = Vec::new();
        let mut streams = (0..self.streams).map(|index| {
            let (here, there) = tokio::io::duplex(16 << 10);
            let served = served.clone();
            ends.push(tokio::spawn(async move {
                // What a stream that was cut says is not what is tested.
                let _ended = served.stream(stream(Line::new(there))).await;
            }));
            let left = cut.and_then(|(at, bytes)| (at == index).then_some(bytes));
            stream(Line::new(here).cut_after(left).holding(&near))
        });
        let options = SessionOptions {
            stall: Duration::from_secs(30),
            random: [7; 16],
            compression: Compression::Auto,
        };
        let first = streams.next().unwrap();
        let clock = SystemClock::shared();
        let remote = RemoteEndpoint::open(first, capabilities, options, clock).await.unwrap();
        for (index, stream) in (1..).zip(streams) {
            remote.add_stream(stream, index, Tier::Beside).await.unwrap();
        }
        let served = tokio::spawn(async move {
            for end in ends {
                end.await.unwrap();
            }
        });
        self.sessions.lock().unwrap().push(Session { near, served });
        remote
    }

    fn base(&self) -> Vec<u8> {
        self.behind.base()
    }
}

struct Directory(tempfile::TempDir);

#[async_trait]
impl Fixture for Directory {
    type Side = LocalEndpoint;

    async fn open(&self) -> LocalEndpoint {
        LocalEndpoint::new(LocalOptions::default())
    }

    fn base(&self) -> Vec<u8> {
        self.0.path().as_os_str().as_encoded_bytes().to_vec()
    }
}

fn directory() -> Directory {
    Directory(tempfile::tempdir().unwrap())
}

/// A store in memory; a session makes the directory that stands for its base.
struct Store(MemoryStore);

#[async_trait]
impl Fixture for Store {
    type Side = MemoryEndpoint;

    async fn open(&self) -> MemoryEndpoint {
        self.0.open()
    }

    fn base(&self) -> Vec<u8> {
        b"/some/where".to_vec()
    }
}

async fn store(profile: Profile) -> Store {
    let store = MemoryStore::new(profile);
    let access = Access::WriteCreate;
    let open = OpenRoot { path: b"/some/where".to_vec(), access };
    store.open().open_root(open).await.unwrap();
    Store(store)
}

#[tokio::test]
async fn a_disk_behind_one_stream_keeps_the_contract() {
    conformance::all(async || Far::new(directory(), 1, None)).await;
}

#[tokio::test]
async fn a_disk_behind_three_streams_keeps_the_contract() {
    conformance::all(async || Far::new(directory(), 3, None)).await;
}

#[tokio::test]
async fn a_store_behind_sessions_keeps_the_contract() {
    for profile in [Profile::Disk, Profile::Parts] {
        for streams in [1, 3] {
            conformance::all(async || Far::new(store(profile).await, streams, None)).await;
        }
    }
}

#[tokio::test]
async fn a_disk_keeps_the_contract_when_a_stream_is_cut() {
    let seed = AtomicU64::new(1);
    for _ in 0..3 {
        let next = || seed.fetch_add(1, Ordering::Relaxed);
        conformance::all(async || Far::new(directory(), 3, Some(next()))).await;
    }
}

#[tokio::test]
async fn a_store_keeps_the_contract_when_a_stream_is_cut() {
    let seed = AtomicU64::new(1000);
    for profile in [Profile::Disk, Profile::Parts] {
        for _ in 0..3 {
            let next = || seed.fetch_add(1, Ordering::Relaxed);
            conformance::all(async || Far::new(store(profile).await, 3, Some(next()))).await;
        }
    }
}
