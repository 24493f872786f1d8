//! What becomes of the work on a lane that stops moving, or is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use xfer_core::agent::serve::Served;
use xfer_core::clock::{Clock, SystemClock};
use xfer_core::endpoint::memory::{MemoryEndpoint, MemoryStore, Method, Profile};
use xfer_core::endpoint::remote::{RemoteEndpoint, SessionOptions, Tier};
use xfer_core::endpoint::{Endpoint, EndpointError, Sink};
use xfer_core::options::Compression;
use xfer_protocol::digest::{file_digest, range_digests};
use xfer_protocol::manifest::{Metadata, Timestamp};
use xfer_protocol::message::{
    Access, Commit, OpenPartial, OpenRoot, PartialIndex, Publish, RootIndex, Ticket, WriteBlock,
};
use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use crate::line::{Gate, Line, stream};

/// Silence after which a lane is given up. Only the hand that turns the clock makes it pass.
const STALL: Duration = Duration::from_secs(60);

const BLOCK: usize = 256 << 10;
const BLOCKS: usize = 96;

/// A clock that stands still until it is turned.
struct HandClock(AtomicU64);

impl HandClock {
    fn turn(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// A session of which one lane brings no answer any more.
struct Lab {
    store: MemoryStore,
    far: Arc<MemoryEndpoint>,
    near: RemoteEndpoint,
    gate: Arc<Gate>,
    clock: Arc<HandClock>,
    whole: Bytes,
}

impl Lab {
    /// Three lanes, the middle one of which will be silent.
    async fn new() -> Self {
        Self::with_lanes(3, 1).await
    }

    async fn with_lanes(count: u16, silent: u16) -> Self {
        let store = MemoryStore::new(Profile::Disk);
        let far = Arc::new(store.open());
        let (served, _) = Served::new(Arc::clone(&far), SystemClock::shared());
        let gate = Arc::new(Gate::default());
        let mut streams = (0..count).map(|index| {
            let (here, there) = tokio::io::duplex(16 << 10);
            let served = served.clone();
            tokio::spawn(async move {
                // How the lost lane ended is not what is tested.
                let _ended = served.stream(stream(Line::new(there))).await;
            });
            let line = Line::new(here);
            stream(if index == silent { line.behind(&gate) } else { line })
        });
        let clock = Arc::new(HandClock(AtomicU64::new(0)));
        let options =
            SessionOptions { stall: STALL, random: [7; 16], compression: Compression::Auto };
        let capabilities = far.capabilities().clone();
        let turned = Arc::clone(&clock) as Arc<dyn Clock>;
        let first = streams.next().unwrap();
        let near = RemoteEndpoint::open(first, capabilities, options, turned).await.unwrap();
        for (index, stream) in (1..).zip(streams) {
            near.add_stream(stream, index, Tier::Beside).await.unwrap();
        }
        let whole = (0..BLOCKS * BLOCK).map(|n| (n / 7).to_le_bytes()[0]).collect();
        Self { store, far, near, gate, clock, whole }
    }

    /// Lanes that are alive.
    fn streams(&self) -> usize {
        self.near.streams(Tier::First) + self.near.streams(Tier::Beside)
    }

    fn write(&self, index: usize) -> WriteBlock {
        let (start, length) = ((index * BLOCK) as u64, BLOCK as u64);
        let range = ByteRange::at(start, length).unwrap();
        let bytes = &self.whole[index * BLOCK..][..BLOCK];
        let digests = range_digests(start, bytes, self.whole.len() as u64).unwrap();
        WriteBlock { partial: PartialIndex(1), range, digests, hole: false }
    }

    /// Writes all blocks, `then` acting once no more come, and tells how many had come by then.
    async fn write_all(&self, then: impl AsyncFnOnce()) -> usize {
        let payload = |index| self.whole.slice(index * BLOCK..(index + 1) * BLOCK);
        let ask = async |index| self.near.write_block(self.write(index), payload(index)).await;
        let mut calls: FuturesUnordered<_> = (0..BLOCKS).map(ask).collect();
        let mut done = 0;
        loop {
            let next = tokio::select! {
                biased;
                next = calls.next() => next,
                () = until_nothing_moves() => break,
            };
            next.expect("the lane without answers holds some").unwrap();
            done += 1;
        }
        tokio::join!(then(), async {
            while let Some(written) = calls.next().await {
                written.unwrap();
            }
        });
        done
    }

    /// Begins the file.
    async fn open(&self) -> RootIndex {
        let open = OpenRoot { path: b"/there".to_vec(), access: Access::WriteCreate };
        let root = self.near.open_root(open).await.unwrap().index;
        let (partial, path) = (PartialIndex(1), RelPath::new("file").unwrap());
        let size = self.whole.len() as u64;
        self.near
            .open_partial(OpenPartial { partial, root, path, size, over: None })
            .await
            .unwrap();
        root
    }

    /// Begins a file, writes it as above, and finds every byte of it at the far side.
    async fn run(&self, then: impl AsyncFnOnce()) -> usize {
        let root = self.open().await;
        self.gate.freeze();
        let done = self.write_all(then).await;
        let (partial, ticket) = (PartialIndex(1), Ticket(0));
        let digest = file_digest(&self.whole);
        let metadata = Metadata { mode: 0o644, ..Metadata::default() };
        self.near.commit(Commit { partial, ticket, digest, metadata }).await.unwrap();
        let publish = Publish { root, durable: true, number: 0 };
        assert_eq!(self.near.publish(publish).await.unwrap().len(), 1);
        let path = RelPath::new("there/file").unwrap();
        assert!(self.store.read(&path).unwrap() == self.whole);
        done
    }

    /// Turns the clock by a third of the stall time, and waits until lanes that live have shown it.
    async fn turn(&self) {
        let before = self.near.overhead_bytes();
        self.clock.turn(STALL / 3 + Duration::from_millis(1));
        while self.near.overhead_bytes() == before {
            tokio::task::yield_now().await;
        }
        until_nothing_moves().await;
    }

    /// Every block went out once, and those whose answers never came once more.
    fn assert_little_was_sent_again(&self, done: usize) {
        let held = BLOCKS - done;
        assert!((1..BLOCKS / 2).contains(&held), "{held} blocks were on the lost lane");
        let served = usize::try_from(self.far.calls(Method::WriteBlock)).unwrap();
        assert_eq!(served, BLOCKS + held);
    }
}

/// All tasks run on this thread, so when none of them did anything for a while, none will.
async fn until_nothing_moves() {
    for _ in 0..5000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lane_that_stops_moving_is_given_up_and_its_work_moves_on() {
    let lab = Lab::new().await;
    let done = lab
        .run(async || {
            assert_eq!(lab.streams(), 3);
            // Short of the stall time nothing is given up.
            lab.turn().await;
            lab.turn().await;
            assert_eq!(lab.streams(), 3);
            while lab.streams() == 3 {
                lab.turn().await;
            }
            assert!(lab.clock.elapsed() < STALL * 3, "given up after {:?}", lab.clock.elapsed());
        })
        .await;
    assert_eq!(lab.streams(), 2, "only the lane that stood still was given up");
    lab.assert_little_was_sent_again(done);
}

#[tokio::test]
async fn a_lost_lane_costs_what_was_in_flight_on_it_alone() {
    let lab = Lab::new().await;
    let done = lab.run(async || lab.gate.cut()).await;
    assert_eq!((lab.streams(), lab.clock.elapsed()), (2, Duration::ZERO));
    lab.assert_little_was_sent_again(done);
}

/// However many calls wait when the last lane is lost, and whatever they wait for, none waits on;
/// nor does one that comes later.
#[tokio::test]
async fn without_a_lane_every_call_is_lost() {
    for calls in [1, 2, BLOCKS] {
        let lab = Lab::with_lanes(1, 0).await;
        lab.open().await;
        lab.gate.freeze();
        let payload = |index| lab.whole.slice(index * BLOCK..(index + 1) * BLOCK);
        let ask = async |index| lab.near.write_block(lab.write(index), payload(index)).await;
        let mut waiting: FuturesUnordered<_> = (0..calls).map(ask).collect();
        tokio::select! {
            biased;
            ended = waiting.next() => panic!("{ended:?} without an answer"),
            () = until_nothing_moves() => lab.gate.cut(),
        }
        for index in 0..calls {
            let ended = tokio::select! {
                biased;
                ended = waiting.next() => ended.unwrap(),
                () = until_nothing_moves() => panic!("call {index} of {calls} waits on"),
            };
            assert!(matches!(ended, Err(EndpointError::Lost(_))), "{ended:?}");
        }
        let later = tokio::select! {
            biased;
            ended = ask(0) => ended,
            () = until_nothing_moves() => panic!("a later call waits"),
        };
        assert!(matches!(later, Err(EndpointError::Lost(_))), "{later:?}");
    }
}
