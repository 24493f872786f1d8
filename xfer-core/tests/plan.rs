//! What a plan tells, and what it refuses before the first byte.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::memory::{MemoryStore, Profile};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::event::{EntryAction, Event, PlanTotals};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::message::Space;
use xfer_protocol::path::RelPath;

struct Lab {
    directory: tempfile::TempDir,
    store: MemoryStore,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = MemoryStore::new(Profile::Disk);
        Self { directory, store, events: Arc::default() }
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

    /// Moves or plans sources to `/there`.
    async fn go(&self, sources: &[&str], plan_only: bool) -> Result<Summary, TransferError> {
        let far = Machine::Ssh(SshHost { user: None, host: "far".into(), port: None });
        let store = self.store.clone();
        let ssh = SshOptions::new(Arc::new(NoPrompt), 42);
        let connector = Connector::new(ssh, Some(self.directory.path().join("state")))
            .with_stand(&far, move || Connected::here(Arc::new(store.open())));
        let here = |name: &&str| Location {
            machine: Machine::Local,
            path: format!("{}/{name}", self.directory.path().display()).into_bytes(),
        };
        let sources: Vec<_> = sources.iter().map(here).collect();
        let to = Location { machine: far, path: b"/there/".to_vec() };
        let transfer = Transfer { plan_only, ..Transfer::new(sources, to) };
        let events = Arc::clone(&self.events);
        let observer = Arc::new(move |event: &Event| events.lock().unwrap().push(event.clone()));
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
        lab.go(&["a", "b", "c"], plan_only).await.unwrap();
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
    lab.go(&["a"], true).await.unwrap();
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
    let error = lab.go(&["a", "b"], false).await.unwrap_err();
    assert!(matches!(error, TransferError::Preflight { .. }), "{error}");
    assert!(!lab.holds("there/a/1") && lab.store.partials().is_empty());
    lab.leave_free(1_400_000);
    assert_eq!(lab.go(&["a", "b"], false).await.unwrap().class, ExitClass::Done);
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
            let result = lab.go(&["a"], false).await;
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
    lab.go(&["a"], false).await.unwrap_err();
    assert!(!lab.holds("there/a/new"));
    lab.put("there/a/large", 7, 5_100_000);
    let summary = lab.go(&["a"], false).await.unwrap();
    assert_eq!((summary.class, summary.payload_bytes), (ExitClass::Done, 3_600_000));
    let small = lab.store.read(&RelPath::new("there/a/small").unwrap()).unwrap();
    assert!(small.iter().all(|byte| *byte == 7));
}
