//! A program of others that runs beside this process, for as long as it is needed and no longer.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use xfer_protocol::path::Escaped;

use super::ssh::without_keys;
use crate::disk::process::end_with_us;

/// Bytes of a line of its complaints that are kept.
const LINE_BYTES_MAX: u64 = 1024;

/// The program; killed when this is dropped, and when this process ends.
pub(crate) struct Companion {
    child: Mutex<Child>,
    last_words: Arc<Mutex<String>>,
}

impl Companion {
    /// Starts it, without input and output. Its complaints are read, and the last one is kept.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(command: Command) -> io::Result<Self> {
        let mut command = without_keys(command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        end_with_us(&mut command);
        let mut child = command.spawn()?;
        let last_words = Arc::new(Mutex::new(String::new()));
        if let Some(complaints) = child.stderr.take() {
            tokio::spawn(listen(complaints, Arc::clone(&last_words)));
        }
        Ok(Self { child: Mutex::new(child), last_words })
    }

    /// The last that it said, escaped; nothing where it said nothing.
    pub(crate) fn last_words(&self) -> String {
        guard(&self.last_words).clone()
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        guard(&self.child).try_wait().ok().flatten()
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        drop(guard(&self.child).start_kill());
    }
}

fn guard<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads all, or it would wait to be read; no line costs more than its beginning.
async fn listen(complaints: ChildStderr, last_words: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(complaints);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            *guard(&last_words) = Escaped(text).to_string();
        }
    }
}
