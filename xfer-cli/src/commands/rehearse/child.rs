//! A process of the story: this program, seen through its events.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running process.
pub(super) struct Child {
    process: std::process::Child,
    events: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the program with nothing of the user's own settings.
    pub(super) fn start(
        program: &OsStr,
        words: &[OsString],
        stage: &Path,
        loud: bool,
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
        let mut process = command.spawn()?;
        let events = process.stdout.take().map(BufReader::new);
        let events = events.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(Self { process, events })
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
        self.process.wait().map(drop)
    }

    /// Waits for its end.
    pub(super) fn wait(mut self) -> io::Result<()> {
        self.process.wait().map(drop)
    }
}

/// A number of an event, zero where it is none.
pub(super) fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or(0)
}
