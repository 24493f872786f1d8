//! A machine that may be destroyed, and tokens for it

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xfer_core::clock::SystemClock;
use xfer_core::connect::Connector;
use xfer_core::discover::VastSettings;
use xfer_core::disk::state::StateDirectory;
use xfer_core::engine::release::{self, Destroyed, Destruction};
use xfer_core::error::TransferError;
use xfer_core::event::Event;
use xfer_core::gate::token::{Seen, Times, Token};
use xfer_core::journal::tokens::TokenRecords;
use xfer_core::location::{Machine, PlatformKind, PlatformMachine};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_core::trust::kept_in;
use xfer_protocol::digest::Digest;
use xfer_tests::xfer::{Ended, Running, binary};

use super::KEY;
use super::logins::{ID, Rented};

pub(super) const DELETE: &str = "DELETE 33402296 {}";
pub(super) const NAME: &str = "vast:33402296";

/// Names every token
static ISSUED: AtomicU64 = AtomicU64::new(0);

/// Follows for as long as it takes to see that nothing comes
const SOON: Duration = Duration::from_secs(1);

/// A machine with a tree on it, whose host key is pinned
pub(super) struct Doomed {
    pub(super) rented: Rented,
    /// The root that its tokens are for
    pub(super) root: PathBuf,
}

impl Doomed {
    pub(super) fn new() -> Self {
        let rented = Rented::apart();
        rented.push(&[], 0);
        let root = rented.machine.home().join("data");
        Self { rented, root }
    }

    fn state(&self) -> StateDirectory {
        StateDirectory::open(&self.rented.stand.xfer.state()).expect("a state directory")
    }

    /// Runs what the library does in the near host
    fn here<T: Send>(&self, act: impl AsyncFnOnce(Connector, TransferOptions) -> T + Send) -> T {
        let settings = VastSettings {
            base: Some(self.rented.stand.api.base()),
            key: Some(KEY.to_owned()),
            unhurried: true,
            ..VastSettings::default()
        };
        let mut ssh = SshOptions::new(Arc::new(NoPrompt), 7);
        ssh.config_file = Some(self.rented.config());
        let connector = Connector::new(ssh, Some(self.rented.stand.xfer.state()));
        let connector = connector.with_vast(settings);
        let mut options = TransferOptions::default();
        options.network.agent_binary = Some(binary().to_owned());
        self.rented.lab.near.within(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(act(connector, options))
        })
    }

    /// What the machine is now
    pub(super) fn seen(&self) -> Seen {
        let roots = [self.root.as_os_str().as_encoded_bytes().to_vec()];
        let seen = self.here(async |connector, options| {
            let (observer, cancel) = (Arc::new(|_: &Event| {}), CancellationToken::new());
            release::look(&machine(), &roots, options, connector, observer, cancel).await
        });
        seen.expect("a look")
    }

    /// A token for what the machine is now, bent as asked; issued here, and in a file
    pub(super) fn bent_token(&self, bend: impl FnOnce(&mut Seen, &mut Token)) -> PathBuf {
        let mut seen = self.seen();
        let state = self.state();
        let key = kept_in(&state, 1).expect("a key");
        let count = ISSUED.fetch_add(1, Ordering::Relaxed);
        let unique = *blake3::hash(format!("{count} {}", std::process::id()).as_bytes()).as_bytes();
        let here = release::moment(&*SystemClock::shared());
        let mut token = Token {
            key: key.public(),
            name: unique,
            machine: seen.machine.clone(),
            container: seen.identity.digest(),
            manifest: Digest::from_bytes([1; 32]),
            stamps: seen.stamps,
            destination: Digest::from_bytes([2; 32]),
            policy: Digest::from_bytes([3; 32]),
            issued: Times { here, platform: None },
            life: 900,
        };
        bend(&mut seen, &mut token);
        if seen.identity.digest() != token.container {
            token.container = seen.identity.digest();
        }
        let text = token.sign(&key);
        let roots = [self.root.as_os_str().as_encoded_bytes().to_vec()];
        let records = TokenRecords::of(&state).expect("a directory");
        records.issue(&token.name, &text, &roots, count).expect("issued");
        let digits: String = unique.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = self.rented.stand.xfer.home().join(digits);
        fs::write(&file, text).expect("write");
        file
    }

    /// A token for what the machine is now
    pub(super) fn token(&self) -> PathBuf {
        self.bent_token(|_, _| {})
    }

    /// Starts the command
    pub(super) fn start(&self, token: &Path) -> Running {
        let token = token.to_str().expect("text");
        let words = ["destroy", NAME, "--token", token, "--confirm", "33402296", "--json"];
        self.rented.stand.xfer.start(words)
    }

    /// Runs the command to the end
    pub(super) fn destroy(&self, token: &Path, code: i32) -> Ended {
        let ended = self.start(token).wait().expect_code(code);
        assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY));
        ended
    }

    /// What the command does, followed for a short time
    pub(super) fn destroy_soon(&self, token: &Path) -> Result<Destroyed, TransferError> {
        let token = fs::read(token).expect("read");
        self.here(async |connector, options| {
            let Machine::Platform(machine) = machine() else { panic!("a machine of a platform") };
            let asked =
                Destruction { machine, token, options, followed: SOON, follows_only: false };
            let (observer, cancel) = (Arc::new(|_: &Event| {}), CancellationToken::new());
            release::destroy(asked, connector, observer, cancel).await
        })
    }

    /// Why it is refused as the command refuses it, with 21
    pub(super) fn refused_soon(&self, token: &Path) -> &'static str {
        let error = self.destroy_soon(token).expect_err("it is refused");
        assert_eq!(error.exit_class().code(), 21, "{error}");
        error.reason()
    }

    /// Whether the token was spent, and nothing else of it is left to be spent
    pub(super) fn is_spent(&self, token: &Path) -> bool {
        let name = token.file_name().expect("a name").to_string_lossy().into_owned();
        let tokens = self.rented.stand.xfer.state().join("tokens");
        let is_there = |state: &str| tokens.join(format!("{name}.{state}")).exists();
        assert!(is_there("spent") != is_there("unspent"), "a token is spent or not");
        is_there("spent")
    }

    /// What was asked of the platform to change anything
    pub(super) fn orders(&self) -> Vec<String> {
        self.rented.stand.api.orders()
    }
}

fn machine() -> Machine {
    Machine::Platform(PlatformMachine::named(PlatformKind::Vast, ID.to_string()))
}
