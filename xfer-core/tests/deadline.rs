//! Transfers whose time is over, by a clock that is turned by hand.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xfer_core::clock::{Clock, SystemClock};
use xfer_core::connect::Connector;
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::event::{Event, Phase};
use xfer_core::location::{Location, Machine};
use xfer_core::options::{Deadline, TransferOptions};
use xfer_core::receipt::ReceiptReader;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::manifest::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// The system's clock, until a day has passed at once.
struct Turned {
    clock: Arc<dyn Clock>,
    is_over: AtomicBool,
}

impl Turned {
    fn day(&self) -> Duration {
        let is_over = self.is_over.load(Ordering::SeqCst);
        if is_over { Duration::from_secs(86_400) } else { Duration::ZERO }
    }
}

impl Clock for Turned {
    fn elapsed(&self) -> Duration {
        self.clock.elapsed() + self.day()
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp { seconds: now.seconds + i64::try_from(self.day().as_secs()).unwrap(), ..now }
    }
}

struct Lab(tempfile::TempDir);

impl Lab {
    /// Small files, and a large one that takes half a minute at a megabyte a second.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir_all(source.join("d")).unwrap();
        for n in 0..8_u8 {
            fs::write(source.join(format!("d/small{n}")), [n; 100]).unwrap();
            fs::write(
                source.join(format!("large{n}")),
                vec![n + 1; if n == 0 { 30_000_000 } else { 50 }],
            )
            .unwrap();
        }
        Self(directory)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Copies; the clock is turned at the first event that is `when`.
    async fn copy(
        &self,
        deadline: Option<Deadline>,
        when: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Result<Summary, TransferError> {
        let is_over = AtomicBool::new(false);
        let clock = Arc::new(Turned { clock: SystemClock::shared(), is_over });
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.at("state")));
        let connector = connector.timed_by(Arc::clone(&clock) as Arc<dyn Clock>);
        let place = |name: &str, slash: &str| Location {
            machine: Machine::Local,
            path: format!("{}{slash}", self.at(name).display()).into_bytes(),
        };
        let mut transfer = Transfer::new([place("source", "/")], place("there", ""));
        transfer.options = TransferOptions::default();
        transfer.options.retry.deadline = deadline;
        transfer.options.network.bandwidth_limit = deadline.map(|_| 1_000_000);
        let observer = Arc::new(move |event: &Event| {
            if when(event) {
                clock.is_over.store(true, Ordering::SeqCst);
            }
        });
        run(transfer, connector, observer, CancellationToken::new()).await
    }
}

/// Whether a tenth of the large file is there.
fn is_under_way(event: &Event) -> bool {
    matches!(event, Event::Progress(progress) if progress.payload_bytes >= 3_000_000)
}

fn is_scan(event: &Event) -> bool {
    matches!(event, Event::Phase(Phase::Scan))
}

fn soon() -> Deadline {
    let now = SystemClock::shared().now();
    Deadline::At(Timestamp { seconds: now.seconds + 3600, ..now })
}

/// Paths that a receipt names, and how many it says failed.
fn receipt(path: &Path) -> (Vec<String>, u64) {
    let text = fs::read(path).unwrap();
    let mut paths = Vec::new();
    let reader = ReceiptReader::new(&text[..]).unwrap();
    let head = reader.check(|_, entry| paths.push(entry.path.to_string())).unwrap();
    (paths, head.failed)
}

async fn what_arrived_is_kept(deadline: Deadline) {
    let lab = Lab::new();
    let cut = lab.copy(Some(deadline), is_under_way).await.unwrap();
    assert_eq!(cut.class, ExitClass::Partial);
    let unfinished = cut.unfinished.clone().unwrap();
    assert!(unfinished.entries > 0 && unfinished.bytes > 0, "{unfinished:?}");
    assert_eq!(cut.entries.failed, unfinished.entries);
    let Counts { selected, moved, unchanged, failed } = counts(&cut);
    assert_eq!(selected, moved + unchanged + failed);
    // What the receipt names is there, whole.
    let (paths, failed) = receipt(cut.receipt.as_deref().unwrap());
    assert_eq!(failed, unfinished.entries);
    for path in paths.iter().filter(|path| !["", ".", "d"].contains(&path.as_str())) {
        let read = |root: &str| fs::read(lab.at(root).join(path)).unwrap();
        assert!(read("source") == read("there"), "{path}");
        assert!(!unfinished.examples.iter().any(|left| left.to_string() == *path), "{path}");
    }
    // And no other name has anything under it.
    for n in 0..8 {
        let there = lab.at("there").join(format!("large{n}"));
        assert_eq!(there.exists(), paths.contains(&format!("large{n}")), "large{n}");
    }
    let rest = lab.copy(None, |_| false).await.unwrap();
    assert_eq!((rest.class, rest.unfinished), (ExitClass::Done, None));
    assert_eq!(rest.entries.selected, 18);
    for n in 0..8 {
        for name in [format!("large{n}"), format!("d/small{n}")] {
            let read = |root: &str| fs::read(lab.at(root).join(&name)).unwrap();
            assert!(read("source") == read("there"), "{name}");
        }
    }
}

struct Counts {
    selected: u64,
    moved: u64,
    unchanged: u64,
    failed: u64,
}

fn counts(summary: &Summary) -> Counts {
    let xfer_core::engine::Counts { selected, moved, unchanged, failed, .. } = summary.entries;
    Counts { selected, moved, unchanged, failed }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrived_within_a_span_is_kept() {
    what_arrived_is_kept(Deadline::In(HOUR)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrived_until_a_moment_is_kept() {
    what_arrived_is_kept(soon()).await;
}

/// Before anything has moved it is a refusal, and nothing is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_byte_it_refuses() {
    let lab = Lab::new();
    for deadline in [Deadline::In(HOUR), soon()] {
        let error = lab.copy(Some(deadline), is_scan).await.unwrap_err();
        assert_eq!((error.exit_class(), error.reason()), (ExitClass::Policy, "deadline"));
    }
    for deadline in [Deadline::In(Duration::ZERO), Deadline::At(Timestamp::default())] {
        let error = lab.copy(Some(deadline), |_| false).await.unwrap_err();
        assert_eq!((error.exit_class(), error.reason()), (ExitClass::Policy, "deadline"));
    }
    let there = fs::read_dir(lab.at("there")).map_or(0, Iterator::count);
    assert_eq!(there, 0);
}

/// One that has not come changes nothing, and where no platform tells a time there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_has_not_come_changes_nothing() {
    let lab = Lab::new();
    for n in 0..8 {
        fs::write(lab.at("source").join(format!("large{n}")), [n; 9]).unwrap();
    }
    for deadline in [Deadline::In(HOUR), Deadline::Auto] {
        let summary = lab.copy(Some(deadline), |_| false).await.unwrap();
        assert_eq!((summary.class, summary.unfinished), (ExitClass::Done, None));
    }
}
