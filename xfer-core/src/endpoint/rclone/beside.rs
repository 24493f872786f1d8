//! The rclone that runs beside this process.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::RcloneOptions;
use super::problem::{OpenProblem, shown, sorted_open};
use super::rows::{Features, Info};
use crate::clock::Clock;
use crate::disk::private_directory::PrivateDirectory;
use crate::transport::companion::Companion;
use crate::transport::web::Web;

/// The oldest that does what is needed, as major and minor number.
const OLDEST: (u64, u64) = (1, 65);

/// Time in which it must answer.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Pauses between two looks whether it does.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(200);

/// How long it may be silent over one request: it has patience of its own with its remote, and a
/// copy on the remote's side takes what it takes.
const SILENCE_MAX: Duration = Duration::from_secs(3600);

/// Requests under way at a time.
const CALLS_AT_ONCE: usize = 48;

/// What it is told beside its own configuration: how it is asked, and that nothing which somebody
/// set for other uses of it hides a file, skips one, or asks a person. Where each time that a
/// writer gave costs a request, lists tell the remote's own, which also names a state better.
const FLAGS: &[&str] = &[
    "--rc-no-auth",
    "--rc-serve",
    "--ask-password=false",
    "--use-server-modtime",
    "--ignore-times",
    "--inplace=false",
    "--dry-run=false",
    "--interactive=false",
    "--immutable=false",
    "--log-format=",
    "--stats=0",
    "--buffer-size=0",
];

/// Beginnings of variables that would do so.
const UNSET: &[&str] = &[
    "RCLONE_RC",
    "RCLONE_FILTER",
    "RCLONE_INCLUDE",
    "RCLONE_EXCLUDE",
    "RCLONE_FILES_FROM",
    "RCLONE_MIN_",
    "RCLONE_MAX_",
    "RCLONE_IGNORE_",
    "RCLONE_LOG_",
    "RCLONE_SYSLOG",
    "RCLONE_SIZE_ONLY",
    "RCLONE_COMPARE_DEST",
    "RCLONE_COPY_DEST",
    "RCLONE_BACKUP_DIR",
    "RCLONE_SUFFIX",
    "RCLONE_UPDATE",
    "RCLONE_METADATA",
    "RCLONE_HASH_FILTER",
    "RCLONE_NAME_TRANSFORM",
    "RCLONE_DUMP",
    "RCLONE_VERBOSE",
];

/// The program, its socket, and the directory that it copies from.
pub(super) struct Beside {
    pub(super) web: Web,
    pub(super) calls: Semaphore,
    pub(super) stage: Arc<PrivateDirectory>,
    pub(super) companion: Companion,
    staged: AtomicU64,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    decomposed: Vec<u64>,
}

impl Beside {
    /// Starts it, and waits until it answers.
    pub(super) async fn start(
        options: &RcloneOptions,
        clock: &dyn Clock,
    ) -> Result<Self, OpenProblem> {
        let unusable = |error: io::Error| OpenProblem::Unusable(error.to_string());
        let stage = Arc::new(PrivateDirectory::make(options.seed).map_err(unusable)?);
        let socket = stage.path().join("socket");
        let mut command = Command::new(&options.program);
        let mut address = OsString::from("--rc-addr=unix://");
        address.push(&socket);
        command.arg("rcd").arg(address).args(FLAGS).env("TZ", "UTC");
        for (name, _) in std::env::vars_os() {
            if UNSET.iter().any(|unset| name.as_encoded_bytes().starts_with(unset.as_bytes())) {
                command.env_remove(name);
            }
        }
        let companion = Companion::start(command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                OpenProblem::Absent(shown(&options.program.display().to_string()))
            }
            _ => unusable(error),
        })?;
        let web = Web::over_socket(&socket, SILENCE_MAX);
        let web = web.map_err(|error| OpenProblem::Unusable(error.to_string()))?;
        let (calls, staged) = (Semaphore::new(CALLS_AT_ONCE), AtomicU64::new(0));
        let beside = Self { web, calls, stage, companion, staged };
        beside.wait(clock).await?;
        Ok(beside)
    }

    async fn wait(&self, clock: &dyn Clock) -> Result<(), OpenProblem> {
        let began = clock.elapsed();
        let mut pause = LOOK_FIRST;
        let version: Version = loop {
            if let Some(ended) = self.companion.ended() {
                let said = self.companion.last_words();
                let said = if said.is_empty() { ended.to_string() } else { shown(&said) };
                return Err(OpenProblem::Unusable(format!(
                    "it does not start: {said}; {} or newer is needed",
                    oldest()
                )));
            }
            match self.call("core/version", &json!({})).await {
                Ok(version) => break version,
                Err(_) if clock.elapsed() - began < STARTS_WITHIN => {}
                Err(error) => return Err(OpenProblem::Unusable(error.to_string())),
            }
            clock.pause(pause).await;
            pause = (pause * 2).min(LOOK_LAST);
        };
        let number = |at: usize| version.decomposed.get(at).copied().unwrap_or_default();
        if (number(0), number(1)) < OLDEST {
            let found = shown(&version.version);
            return Err(OpenProblem::Unusable(format!("it is {found}; {} is needed", oldest())));
        }
        Ok(())
    }

    /// What a remote can do; opening it on the way.
    pub(super) async fn features(&self, file_system: &str) -> Result<Features, OpenProblem> {
        let asked = self.ask("operations/fsinfo", &json!({ "fs": file_system })).await;
        let (status, body) = asked.map_err(OpenProblem::Remote)?;
        if status != 200 {
            return Err(sorted_open(&super::calls::complaint(&body)));
        }
        let info: Info = serde_json::from_slice(&body)
            .map_err(|_| OpenProblem::Unusable("it does not tell what the remote can".into()))?;
        Ok(Features::of(&info))
    }

    /// A name for a file that it is to copy.
    pub(super) fn next_name(&self) -> String {
        self.staged.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

fn oldest() -> String {
    format!("rclone {}.{}", OLDEST.0, OLDEST.1)
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.companion.kill();
    }
}
