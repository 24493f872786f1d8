//! What a plan tells, what it refuses before the first byte, and what is told in the end.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::memory::{MemoryEndpoint, MemoryStore, Method, Profile, Trouble};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError, UsageReason};
use xfer_core::event::{EntryAction, Event, PlanTotals};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::VerifyLevel;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::message::Space;
use xfer_protocol::path::RelPath;

struct Lab {
    directory: tempfile::TempDir,
    store: MemoryStore,
    events: Arc<Mutex<Vec<Event>>>,
    at_plan: Arc<Mutex<Option<Act>>>,
}

/// What somebody else does meanwhile.
type Act = Box<dyn Fn() + Send>;

fn far() -> Machine {
    Machine::Ssh(SshHost { user: None, host: "far".into(), port: None })
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = MemoryStore::new(Profile::Disk);
        Self { directory, store, events: Arc::default(), at_plan: Arc::default() }
    }

    fn write(&self, path: &str, size: usize) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![7; size]).unwrap();
    }

    fn put(&self, path: &str, byte: u8, size: usize) {
        self.store.put(&RelPath::new(path).unwrap(), vec![byte; size]);
    }

    fn leave_free(&self, bytes_free: u64) {
        self.store.set_space(Space { bytes_free, inodes_free: None, volatile: true });
    }

    fn here(&self, name: &str) -> Location {
        let path = format!("{}/{name}", self.directory.path().display()).into_bytes();
        Location { machine: Machine::Local, path }
    }

    /// From sources to `/there`.
    fn transfer(&self, sources: &[&str]) -> Transfer {
        let sources: Vec<_> = sources.iter().map(|name| self.here(name)).collect();
        Transfer::new(sources, Location { machine: far(), path: b"/there/".to_vec() })
    }

    async fn go(&self, transfer: Transfer) -> Result<Summary, TransferError> {
        let store = self.store.clone();
        self.go_over(transfer, move || Arc::new(store.open())).await
    }

    async fn go_over(
        &self,
        transfer: Transfer,
        open: impl Fn() -> Arc<MemoryEndpoint> + Send + Sync + 'static,
    ) -> Result<Summary, TransferError> {
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.directory.path().join("state")))
            .with_stand(&far(), move || Connected::here(open()));
        let (events, at_plan) = (Arc::clone(&self.events), Arc::clone(&self.at_plan));
        let observer = Arc::new(move |event: &Event| {
            if let (Event::Plan(_), Some(act)) = (event, &*at_plan.lock().unwrap()) {
                act();
            }
            events.lock().unwrap().push(event.clone());
        });
        run(transfer, connector, observer, CancellationToken::new()).await
    }

    fn complete_plans(&self) -> Vec<PlanTotals> {
        let events = self.events.lock().unwrap();
        let plans = events.iter().filter_map(|event| match event {
            Event::Plan(totals) if totals.complete => Some(*totals),
            _ => None,
        });
        plans.collect()
    }

    fn holds(&self, path: &str) -> bool {
        self.store.read(&RelPath::new(path).unwrap()).is_some()
    }
}

#[tokio::test]
async fn a_plan_is_that_of_all_sources() {
    let lab = Lab::new();
    lab.write("a/1", 1000);
    lab.write("b/1", 100);
    lab.write("c", 10);
    for plan_only in [true, false] {
        lab.go(Transfer { plan_only, ..lab.transfer(&["a", "b", "c"]) }).await.unwrap();
        let plans = lab.complete_plans();
        let [plan] = plans[..] else { panic!("{plans:?}") };
        assert_eq!((plan.entries, plan.bytes), (5, 1110));
        assert_eq!((plan.entries_to_move, plan.bytes_to_move), (5, 1110));
        let events = std::mem::take(&mut *lab.events.lock().unwrap());
        let done = events.iter().position(|event| matches!(event, Event::Plan(_))).unwrap();
        let mapped = |event: &&Event| matches!(event, Event::Mapped { .. });
        assert_eq!(events[..done].iter().filter(mapped).count(), 3);
    }
    assert!(lab.holds("there/a/1") && lab.holds("there/b/1") && lab.holds("there/c"));
}

/// Nobody knows what is equal until it is read, so a plan alone does not say that it is.
#[tokio::test]
async fn what_must_be_compared_is_not_planned_as_unchanged() {
    let lab = Lab::new();
    lab.write("a/1", 1000);
    lab.put("there/a/1", 8, 1000);
    lab.go(Transfer { plan_only: true, ..lab.transfer(&["a"]) }).await.unwrap();
    let plan = lab.complete_plans()[0];
    assert_eq!((plan.entries_to_compare, plan.bytes_to_compare, plan.bytes_to_move), (1, 1000, 0));
    let compared = |event: &Event| {
        matches!(event, Event::Entry { action: EntryAction::Compare, size: 1000, .. })
    };
    assert!(lab.events.lock().unwrap().iter().any(compared));
}

#[tokio::test]
async fn all_sources_must_fit_before_the_first_byte() {
    let lab = Lab::new();
    lab.write("a/1", 600_000);
    lab.write("b/1", 600_000);
    lab.leave_free(1_000_000);
    let error = lab.go(lab.transfer(&["a", "b"])).await.unwrap_err();
    assert!(matches!(error, TransferError::Preflight { .. }), "{error}");
    assert!(!lab.holds("there/a/1") && lab.store.partials().is_empty());
    lab.leave_free(1_400_000);
    assert_eq!(lab.go(lab.transfer(&["a", "b"])).await.unwrap().class, ExitClass::Done);
}

/// A file that differs is written beside the old one; what is equal needs no room at all.
#[tokio::test]
async fn room_to_rewrite_is_known_before_the_first_byte() {
    for size in [600_000, 6_000_000] {
        for (byte, fits) in [(8, false), (7, true)] {
            let lab = Lab::new();
            lab.write("a/new", 1000);
            lab.write("a/old", size);
            lab.put("there/a/old", byte, size);
            lab.leave_free(500_000);
            let result = lab.go(lab.transfer(&["a"])).await;
            let refused = matches!(result, Err(TransferError::Preflight { .. }));
            assert_eq!((refused, result.is_ok()), (!fits, fits), "{size}");
            assert_eq!(lab.holds("there/a/new"), fits, "{size}");
        }
    }
}

/// Where there is room, what was compared first is rewritten all the same.
#[tokio::test]
async fn what_was_compared_first_is_moved() {
    let lab = Lab::new();
    for (name, size) in [("small", 600_000), ("equal", 5_000_000), ("large", 5_100_000)] {
        lab.write(&format!("a/{name}"), size);
        lab.put(&format!("there/a/{name}"), if name == "equal" { 7 } else { 8 }, size);
    }
    lab.write("a/new", 3_000_000);
    lab.leave_free(8_050_000);
    lab.go(lab.transfer(&["a"])).await.unwrap_err();
    assert!(!lab.holds("there/a/new"));
    lab.put("there/a/large", 7, 5_100_000);
    let summary = lab.go(lab.transfer(&["a"])).await.unwrap();
    assert_eq!((summary.class, summary.payload_bytes), (ExitClass::Done, 3_600_000));
    let small = lab.store.read(&RelPath::new("there/a/small").unwrap()).unwrap();
    assert!(small.iter().all(|byte| *byte == 7));
}

/// A file that changed while it was copied is no damaged one, however often it may be tried.
#[tokio::test]
async fn a_small_file_that_changed_is_told_as_changed() {
    for (retries, class) in
        [(0, ExitClass::SourceChanged), (1, ExitClass::Done), (5, ExitClass::Done)]
    {
        let lab = Lab::new();
        lab.write("a/1", 1000);
        let file = lab.directory.path().join("a/1");
        let act: Act = Box::new(move || fs::write(&file, "other").unwrap());
        *lab.at_plan.lock().unwrap() = Some(act);
        let mut transfer = lab.transfer(&["a"]);
        transfer.options.retry.retries = retries;
        let summary = lab.go(transfer).await.unwrap();
        assert_eq!(summary.class, class, "{retries}: {:?}", summary.problems);
    }
}

#[tokio::test]
async fn the_source_that_fails_is_named() {
    let lab = Lab::new();
    lab.write("first/1", 1000);
    let second = "second".repeat(60);
    let error = lab.go(lab.transfer(&["first", &second])).await.unwrap_err().to_string();
    assert!(error.contains(&second) && !error.contains("first"), "{error}");
}

/// Every entry and every byte is in one count, and entries are told as they are counted.
#[tokio::test]
async fn counts_add_up() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.write("a/b/1", 1000);
    lab.write("a/large", 5_000_000);
    let [large, twin] = ["a/large", "a/twin"].map(|name| lab.directory.path().join(name));
    fs::hard_link(&large, twin).unwrap();
    std::os::unix::fs::symlink("nowhere", lab.directory.path().join("a/link")).unwrap();
    let first = lab.go(lab.transfer(&["a"])).await.unwrap();
    assert_eq!((first.entries.selected, first.entries.moved), (6, 6), "{:?}", first.entries);
    assert_eq!((first.bytes.selected, first.bytes.moved), (10_001_000, 10_001_000));
    let events = std::mem::take(&mut *lab.events.lock().unwrap());
    let moved = |event: &&Event| matches!(event, Event::Entry { action: EntryAction::Moved, .. });
    assert_eq!(events.iter().filter(moved).count(), 6);
    for path in ["a/b", "a/b/1"] {
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(lab.directory.path().join(path), mode).unwrap();
    }
    let second = lab.go(lab.transfer(&["a"])).await.unwrap();
    assert_eq!((second.entries.moved, second.entries.unchanged), (0, 6), "{:?}", second.entries);
    assert_eq!((second.bytes.moved, second.bytes.unchanged), (0, 10_001_000));
}

/// What a session moved that was lost is not told as found there.
#[tokio::test]
async fn what_a_lost_session_moved_was_moved() {
    let lab = Lab::new();
    for n in 0..4 {
        lab.write(&format!("a/{n}"), 700_000);
    }
    let first = Arc::new(lab.store.open());
    first.order(Method::WritePack, 2, u64::MAX, Trouble::LoseRequest);
    let (store, next) = (lab.store.clone(), Mutex::new(Some(first)));
    let mut transfer = lab.transfer(&["a"]);
    transfer.options.verify.level = VerifyLevel::Received;
    let open = move || next.lock().unwrap().take().unwrap_or_else(|| Arc::new(store.open()));
    let summary = lab.go_over(transfer, open).await.unwrap();
    assert!(lab.events.lock().unwrap().iter().any(|event| matches!(event, Event::Retry { .. })));
    assert_eq!((summary.bytes.moved, summary.bytes.unchanged), (2_800_000, 0));
}

/// What no frame holds is the caller's, and known before anything is made.
#[tokio::test]
async fn lists_that_a_far_source_cannot_take_are_refused() {
    let lab = Lab::new();
    lab.put("there/1", 7, 1000);
    for (rows, bytes, fits) in [(70_000, 5, false), (6000, 200, false), (6000, 20, true)] {
        let from = Location { machine: far(), path: b"/there/".to_vec() };
        let mut transfer = Transfer::new([from], lab.here("new"));
        let row = |n: usize| RelPath::new(format!("{n:0bytes$}").into_bytes()).unwrap();
        transfer.options.selection.only = Some((0..rows).map(row).collect());
        let result = lab.go(transfer).await;
        let refused = |error: &TransferError| {
            matches!(error, TransferError::Usage(UsageReason::ListTooLong(_)))
        };
        assert_eq!(result.as_ref().is_err_and(refused), !fits, "{result:?}");
        assert_eq!(lab.directory.path().join("new").exists(), fits);
    }
}

/// What stands in the way of a directory is nobody's to touch, and proves nothing.
#[tokio::test]
async fn a_file_in_the_way_of_a_directory_stays_as_it_is() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let lab = Lab::new();
    lab.write("a/top/sub/1", 1000);
    lab.write("a/2", 10);
    lab.write("there/a/top", 9);
    let way = lab.directory.path().join("there/a/top");
    fs::set_permissions(&way, fs::Permissions::from_mode(0o600)).unwrap();
    let facts = |found: &fs::Metadata| (found.mode(), found.mtime(), found.mtime_nsec());
    let before = facts(&fs::metadata(&way).unwrap());
    let summary = lab.go(Transfer::new([lab.here("a")], lab.here("there/"))).await.unwrap();
    assert_eq!(facts(&fs::metadata(&way).unwrap()), before);
    let counts = summary.entries;
    assert_eq!(summary.class, ExitClass::Partial, "{:?}", summary.problems);
    // The directory that was there is found equal.
    assert_eq!((counts.moved, counts.unchanged, counts.failed), (1, 1, 3), "{counts:?}");
    assert_eq!(counts.selected, 5, "{counts:?}");
    assert_eq!((summary.bytes.failed, summary.bytes.unchanged), (1000, 0), "{:?}", summary.bytes);
    let receipt = fs::read_to_string(summary.receipt.unwrap()).unwrap();
    assert!(receipt.contains("a/2") && !receipt.contains("a/top"), "{receipt}");
}

/// What is refused has made nothing, least of all in its source.
#[tokio::test]
async fn a_destination_in_its_source_is_refused_before_it_is_made() {
    let lab = Lab::new();
    lab.write("a/1", 10);
    for (to, plan_only) in [("a/new", false), ("a/new/deep/", false), ("a/new/", true)] {
        let transfer = Transfer::new([lab.here("a/")], lab.here(to));
        let error = lab.go(Transfer { plan_only, ..transfer }).await.unwrap_err();
        let nested = matches!(error, TransferError::Usage(UsageReason::DestinationInSource(_)));
        assert!(nested, "{to}: {error}");
        assert!(!lab.directory.path().join("a/new").exists(), "{to}");
    }
}

/// A plan leaves everything for later, and says how much.
#[tokio::test]
async fn a_plan_defers_what_it_does_not_do() {
    let lab = Lab::new();
    lab.write("a/1", 1000);
    let plan = Transfer { plan_only: true, ..lab.transfer(&["a"]) };
    let counts = lab.go(plan).await.unwrap();
    assert_eq!((counts.entries.selected, counts.entries.deferred), (2, 2));
    assert_eq!((counts.bytes.selected, counts.bytes.deferred), (1000, 1000));
}

/// What need not be sent is not waited for: payload reaches what is expected of it.
#[tokio::test]
async fn payload_ends_where_it_is_expected_to_end() {
    let lab = Lab::new();
    fs::create_dir(lab.directory.path().join("a")).unwrap();
    let sparse = fs::File::create(lab.directory.path().join("a/sparse")).unwrap();
    sparse.set_len(300_000_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 5_000_000], 100_000_000).unwrap();
    lab.write("a/differs", 6_000_000);
    lab.put("there/a/differs", 8, 6_000_000);
    lab.write("a/small", 1000);
    lab.put("there/a/small", 8, 1000);
    lab.write("a/equal", 6_000_000);
    lab.put("there/a/equal", 7, 6_000_000);
    let summary = lab.go(lab.transfer(&["a"])).await.unwrap();
    let plan = lab.complete_plans()[0];
    let events = lab.events.lock().unwrap();
    let progress = events.iter().rev().find_map(|event| match event {
        Event::Progress(progress) => Some(*progress),
        _ => None,
    });
    let progress = progress.unwrap();
    assert!(summary.payload_bytes < 20_000_000, "{}", summary.payload_bytes);
    assert_eq!(plan.payload_expected(&progress), summary.payload_bytes, "{plan:?} {progress:?}");
}
