//! What a writer on the machine can make of the gate's looks: never a release of what is lost.
//!
//! The machine is a directory in memory, the destination another one. A trial copies, asks the
//! gate, and holds the token against a last look, as a destruction does; the writer comes just
//! before one call of all this, the last look not included: what is written behind that is lost, as
//! is told. Where the token still fits, the machine would be destroyed: then every file there has
//! to be at the destination, byte for byte. That is compared by what the test reads itself.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "a test prepares files and looks at them")]

mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connected, Connector};
use xfer_core::endpoint::local::{LocalEndpoint, LocalOptions};
use xfer_core::endpoint::rehearsed::{Rehearsal, Rehearsed};
use xfer_core::engine::release::{self, GateRequest, Judged};
use xfer_core::engine::{self, Transfer};
use xfer_core::event::{Event, SharedObserver};
use xfer_core::gate::evidence::Durability;
use xfer_core::gate::policy::Policy;
use xfer_core::gate::reason::Reason;
use xfer_core::gate::token::{Times, Token};
use xfer_core::gate::verdict::Verdict;
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_core::trust::found_in;
use xfer_protocol::manifest::ProofLevel;

use machine::{Moment, Watched, When};

/// More calls than a copy and a verdict are: those beyond come between verdict and last look
const CALLS_MAX: u64 = 48;

struct Trial {
    directory: tempfile::TempDir,
    connector: Connector,
    moment: Moment,
}

fn host(name: &str) -> Machine {
    Machine::Ssh(SshHost { user: None, host: name.to_owned(), port: None })
}

fn deaf() -> SharedObserver {
    Arc::new(|_: &Event| {})
}

impl Trial {
    fn new() -> Self {
        // In memory: hundreds of these would wait for a disk otherwise.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        let moment = Moment::default();
        let here = directory.path().to_owned();
        for name in ["rented/data/deep", "safe"] {
            fs::create_dir_all(here.join(name)).expect("create");
        }
        for (name, content) in [("one", "one"), ("deep/two", "two"), ("deep/three", "three")] {
            fs::write(here.join("rented/data").join(name), content).expect("write");
        }
        let ssh = SshOptions::new(Arc::new(NoPrompt), 7);
        let connector = Connector::new(ssh, Some(here.join("state")));
        let (rented, rehearsal) = (here.join("rented"), Rehearsal::default());
        let (happens, local) = (moment.clone(), || LocalEndpoint::new(LocalOptions::default()));
        let connector = connector
            .with_stand(&host("rented"), move || {
                let inner = Rehearsed::new(&rented, &rehearsal);
                let moment = happens.clone();
                Connected::of(Arc::new(Watched { inner, moment }), Arc::new(local()))
            })
            .with_stand(&host("safe"), move || Connected::here(Arc::new(local())));
        Self { directory, connector, moment }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("rented/data")
    }

    fn at(&self, machine: &str, place: &str) -> Location {
        let path = self.directory.path().join(place).as_os_str().as_bytes().to_vec();
        Location { machine: host(machine), path }
    }

    async fn push(&self) {
        let safe = self.at("safe", "safe");
        let transfer = Transfer::new([self.at("rented", "rented/data")], safe);
        let cancel = CancellationToken::new();
        // What changes meanwhile is told by it, and judged by the gate.
        drop(engine::run(transfer, self.connector.clone(), deaf(), cancel).await);
    }

    async fn judged(&self) -> Judged {
        let policy = Policy {
            durability: Durability::D0,
            proof: ProofLevel::ReadBackCached,
            ..Policy::default()
        };
        let request = GateRequest {
            machine: self.at("rented", "rented/data"),
            roots: Vec::new(),
            receipts: Vec::new(),
            policy,
            load_command: None,
            acknowledged: [].into(),
            options: TransferOptions::default(),
        };
        let cancel = CancellationToken::new();
        let judged = release::gate(request, self.connector.clone(), deaf(), cancel).await;
        judged.expect("a verdict")
    }

    /// Whether the machine would be destroyed: the token fits what is seen in that breath
    async fn fits(&self, judged: &Judged) -> bool {
        let Some(text) = &judged.token else { return false };
        let state = self.connector.state_directory().expect("state");
        let key = found_in(&state.path_of("")).expect("a key").expect("it is there");
        let token = Token::read(text.as_bytes(), &key).expect("a token");
        let (machine, roots) = (host("rented"), [self.at("rented", "rented/data").path]);
        let (connector, cancel) = (self.connector.clone(), CancellationToken::new());
        let options = TransferOptions::default();
        let seen = release::look(&machine, &roots, options, connector, deaf(), cancel).await;
        let here = release::moment(&*self.connector.clock());
        seen.is_ok_and(|seen| token.check(&seen, &Times { here, platform: None }).is_ok())
    }

    /// What of the machine is not at the destination as it is there
    fn lost(&self) -> Vec<PathBuf> {
        let [there, safe] = [self.data(), self.directory.path().join("safe/data")].map(content);
        let is_lost = |(path, bytes): &(PathBuf, Vec<u8>)| safe.get(path) != Some(bytes);
        there.into_iter().filter(is_lost).map(|(path, _)| path).collect()
    }
}

/// All files below a directory
fn content(top: PathBuf) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut rest) = (BTreeMap::new(), vec![top.clone()]);
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                rest.push(path);
            } else {
                let name = path.strip_prefix(&top).expect("below").to_owned();
                files.insert(name, fs::read(&path).expect("read"));
            }
        }
    }
    files
}

/// What a writer does, by a number
fn write(data: &Path, kind: u64) {
    match kind % 6 {
        0 => fs::write(data.join("one"), "0ne").expect("write"),
        1 => fs::write(data.join("deep/new"), "new").expect("write"),
        2 => {
            fs::write(data.join("deep/.two"), "tw0").expect("write");
            fs::rename(data.join("deep/.two"), data.join("deep/two")).expect("rename");
        }
        3 => {
            // As `touch -r` hides it.
            let times = fs::metadata(data.join("one")).expect("metadata").modified().expect("time");
            fs::write(data.join("one"), "on3").expect("write");
            let file = fs::File::options().append(true).open(data.join("one")).expect("open");
            file.set_modified(times).expect("set");
        }
        4 => {
            use std::io::Write as _;
            let file = fs::File::options().append(true).open(data.join("deep/three"));
            file.expect("open").write_all(b"!").expect("write");
        }
        _ => fs::rename(data.join("one"), data.join("deep/0ne")).expect("rename"),
    }
}

/// A number that a seed leads to (splitmix64)
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Copies, asks and looks while a writer comes at that moment; gives whether it would be destroyed
async fn tried(when: When, kind: u64) -> bool {
    let trial = Trial::new();
    let data = trial.data();
    trial.moment.set(when, move || write(&data, kind));
    trial.push().await;
    let judged = trial.judged().await;
    trial.moment.is_now();
    let fits = trial.fits(&judged).await;
    if fits {
        let lost = trial.lost();
        assert!(lost.is_empty(), "{when:?}, writer {kind}: lost {lost:?}");
    }
    fits
}

fn trials(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let destroyed = block_on(async {
        let mut destroyed = 0;
        for seed in seeds {
            let random = mixed(seed);
            let when = When::Call(random % CALLS_MAX);
            destroyed += u64::from(tried(when, random >> 32).await);
        }
        destroyed
    });
    // Where the writer came early it was copied, and where nothing was called any more it was not.
    assert!(destroyed * 20 > count, "only {destroyed} of {count} would be destroyed");
    assert!(destroyed < count, "no writer was noticed");
}

#[test]
fn no_file_is_lost_to_a_writer_at_a_random_moment() {
    trials(0..200);
}

#[test]
#[ignore = "some minutes"]
fn no_file_is_lost_to_a_writer_at_any_of_thousands_of_moments() {
    trials(0..5_000);
}

/// Before every call of a collection, so that no two looks can change places unnoticed.
#[test]
fn no_file_is_lost_to_a_writer_before_any_look_of_the_gate() {
    block_on(async {
        for at in 0.. {
            let trial = Trial::new();
            trial.push().await;
            let data = trial.data();
            trial.moment.set(When::Call(at), move || write(&data, 3));
            let judged = trial.judged().await;
            if trial.moment.calls() <= at {
                trial.moment.is_over();
                assert!(at > 12, "{at} calls are no collection");
                assert!(trial.fits(&judged).await, "nothing happened, and it holds");
                break;
            }
            assert!(!trial.fits(&judged).await, "call {at}: {:?} is lost", trial.lost());
        }
    });
}

/// Every stamp is looked at once more after processes and what lies outside.
#[test]
fn a_write_between_hashing_and_the_last_look_is_told_as_what_it_is() {
    block_on(async {
        for kind in 0..6 {
            let trial = Trial::new();
            trial.push().await;
            assert!(matches!(trial.judged().await.verdict, Verdict::Release(_)));
            let data = trial.data();
            trial.moment.set(When::LastLooks, move || write(&data, kind));
            match trial.judged().await.verdict {
                Verdict::Hold(reasons) => assert!(
                    reasons.iter().all(|reason| matches!(reason, Reason::SourceChanging(_))),
                    "writer {kind}: {reasons:?}"
                ),
                Verdict::Release(_) => panic!("writer {kind}: it releases"),
            }
        }
    });
}
