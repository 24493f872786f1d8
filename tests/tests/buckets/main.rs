//! Buckets end to end: the program, and stores that others wrote; judged by b3sum, by AWS's own
//! program and by rclone, and by what crossed the proxy between them

mod answers;
mod bad_input;
mod copying;
mod faults;
mod push_pull;
mod reading;
mod relay;
mod resume;
mod scale;
mod store;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use xfer_tests::stores::faults::Faults;
use xfer_tests::stores::{Access, S3s};
use xfer_tests::tree;
use xfer_tests::xfer::{Ended, Running, Xfer};

/// Far beyond what anything here takes
const SOON: Duration = Duration::from_secs(120);

/// Bytes of a file that goes in several parts, the last of which is small
const BIG: u64 = (40 << 20) + 12_345;

/// The program, before a store
struct Bench {
    xfer: Xfer,
    directory: TempDir,
    access: Access,
    retries: &'static str,
}

impl Bench {
    fn before(access: &Access) -> Self {
        let environment = access.environment().into_iter();
        let xfer = environment.fold(Xfer::new(), |xfer, (name, value)| xfer.env(name, value));
        let directory = tempfile::tempdir().expect("temp dir");
        Self { xfer, directory, access: access.clone(), retries: "4" }
    }

    /// With no more patience than it takes to be patient at all
    fn hasty(self) -> Self {
        Self { retries: "1", ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of so many bytes that nothing can compress
    fn file(&self, name: &str, length: u64, seed: u64) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        tree::big_file(&path, length, seed);
        path
    }

    fn arguments(&self, verb: &str, places: [OsString; 2], more: &[&str]) -> Vec<OsString> {
        let [from, to] = places;
        let fixed = ["--endpoint-url", &self.access.endpoint, "--json", "--retries", self.retries];
        let flags = fixed.iter().chain(more).map(OsString::from);
        [OsString::from(verb), from, to].into_iter().chain(flags).collect()
    }

    fn pushing(&self, source: &Path, to: &str, more: &[&str]) -> Running {
        let places = [source.into(), self.access.location(to).into()];
        self.xfer.start(self.arguments("push", places, more))
    }

    fn push(&self, source: &Path, to: &str) -> Ended {
        self.pushing(source, to, &[]).wait()
    }

    fn pull(&self, from: &str, destination: &Path) -> Ended {
        let places = [self.access.location(from).into(), destination.into()];
        self.xfer.run(self.arguments("pull", places, &[]))
    }
}

/// The program, the proxy and s3s-fs, one behind the other
struct Faulty {
    bench: Bench,
    faults: Faults,
    store: S3s,
}

impl Faulty {
    fn new() -> Self {
        let store = S3s::start();
        let faults = Faults::before(store.access().port());
        let bench = Bench::before(&store.access().by_way_of(faults.port()));
        Self { bench, faults, store }
    }

    /// Before somebody who soon gives up
    fn hasty() -> Self {
        let Self { bench, faults, store } = Self::new();
        Self { bench: bench.hasty(), faults, store }
    }

    /// Where an object lies
    fn object(&self, key: &str) -> PathBuf {
        self.store.objects().join(key)
    }

    /// Has an object that somebody else wrote
    fn stored(&self, key: &str, length: u64, seed: u64) -> PathBuf {
        let from = self.bench.file(&format!("of-others-{seed}"), length, seed);
        xfer_tests::stores::judges::said(
            &mut xfer_tests::stores::judges::s5cmd(self.store.access()),
            [OsString::from("cp"), from.clone().into(), self.store.access().location(key).into()],
        );
        from
    }
}

/// What b3sum says of a file
fn b3sum(path: &Path) -> String {
    let output = Command::new("b3sum").arg("--no-names").arg(path).output();
    let output = output.expect("b3sum is missing: apt-get install b3sum");
    assert!(output.status.success(), "b3sum {path:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Panics unless two files have the same bytes
fn assert_same(one: &Path, other: &Path) {
    assert_eq!(b3sum(one), b3sum(other), "{one:?} and {other:?}");
}

/// Panics where the run says that all is well, or is not what was to be said
fn assert_fails(ended: &Ended, codes: &[i32]) {
    let code = ended.code();
    assert!(codes.contains(&code), "exit {code}, not one of {codes:?}: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
