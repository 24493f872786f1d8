//! A process of the story: this program, seen through its events.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use xfer_core::error::StopSignal;

/// Ends the story early.
#[derive(Default)]
pub(super) struct Stop {
    /// Who asked.
    pub(super) asked: OnceLock<StopSignal>,
    running: Mutex<Option<Pid>>,
    /// Ends what runs in this process.
    pub(super) cancel: CancellationToken,
}

impl Stop {
    /// Ends the process that runs, where one does.
    pub(super) fn kill(&self) {
        self.cancel.cancel();
        if let Some(process) = *self.lock() {
            // It may have ended by itself; until it is waited for, its number is its own.
            let _gone = rustix::process::kill_process(process, Signal::KILL);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running process.
pub(super) struct Child {
    process: std::process::Child,
    events: BufReader<ChildStdout>,
    stop: Arc<Stop>,
}

impl Child {
    /// Starts the program with nothing of the user's own settings.
    pub(super) fn start(
        program: &OsStr,
        words: &[OsString],
        stage: &Path,
        loud: bool,
        stop: &Arc<Stop>,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(words).current_dir(stage).stdin(Stdio::null()).stdout(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"XFER_") {
                command.env_remove(name);
            }
        }
        for (name, place) in
            [("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "config"), ("HOME", "home")]
        {
            command.env(name, stage.join(place));
        }
        if !loud {
            command.stderr(Stdio::null());
        }
        let mut running = stop.lock();
        let mut process = command.spawn()?;
        *running = Pid::from_raw(i32::try_from(process.id()).unwrap_or_default());
        drop(running);
        if stop.asked.get().is_some() {
            stop.kill();
        }
        let events = process.stdout.take().map(BufReader::new);
        let events = events.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(Self { process, events, stop: Arc::clone(stop) })
    }

    /// The next event; `None` at the end.
    pub(super) fn next_event(&mut self) -> Option<Value> {
        let mut line = Vec::new();
        match self.events.read_until(b'\n', &mut line) {
            Ok(count) if count > 0 => serde_json::from_slice(&line).ok(),
            _ => None,
        }
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill(mut self) -> io::Result<()> {
        self.process.kill()?;
        self.end()
    }

    /// Waits for its end.
    pub(super) fn wait(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        *self.stop.lock() = None;
        self.process.wait().map(drop)
    }
}

/// A process that has a file open for writing, and waits until this is dropped.
pub(super) struct Writer(std::process::Child);

impl Writer {
    /// Starts it, an agent that is asked nothing, with the file as its log.
    pub(super) fn start(program: &OsStr, file: impl Into<Stdio>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["agent", "--session", &"07".repeat(16), "--silence", "60"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        command.spawn().map(Self)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A number of an event, zero where it is none.
pub(super) fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or(0)
}
