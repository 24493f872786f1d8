//! A command of the user's that says whether a file loads.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use xfer_protocol::message::{FileAt, ReadBlock};
use xfer_protocol::range::ByteRange;

use super::pieces::pieces;
use crate::disk::process::end_with_us;
use crate::endpoint::{EndpointError, Source};

/// Bytes that are fetched at a time.
const FETCHED: u64 = 4 << 20;

/// A file that lies elsewhere.
pub(super) struct Far {
    pub(super) source: Arc<dyn Source>,
    pub(super) file: FileAt,
    pub(super) size: u64,
}

impl Far {
    pub(super) async fn fetch(&self, range: ByteRange) -> Result<Bytes, EndpointError> {
        let read = ReadBlock { file: self.file.clone(), range };
        self.source.read_block(read).await.map(|(_, bytes)| bytes)
    }
}

/// Runs for each file with its bytes on standard input, and its path and size in the environment:
/// with exit code 0 it says that the file loads.
pub(super) struct LoadCommand(OsString);

impl LoadCommand {
    pub(super) fn new(command: OsString) -> Self {
        Self(command)
    }

    /// Whether a file loads.
    ///
    /// # Errors
    /// Where the command cannot be started, is ended by a signal, or the file cannot be read.
    pub(super) async fn accepts(&self, far: &Far) -> io::Result<bool> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(&self.0)
            .env("XFER_PATH", OsStr::from_bytes(far.file.path.as_bytes()))
            .env("XFER_SIZE", far.size.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        end_with_us(&mut command);
        let mut child = command.spawn()?;
        if let Some(stdin) = child.stdin.take() {
            feed(far, stdin).await?;
        }
        let status = child.wait().await?;
        match status.code() {
            Some(code) => Ok(code == 0),
            None => Err(io::Error::other(status.to_string())),
        }
    }
}

/// Writes a file to a command, as much of it as that reads.
async fn feed(far: &Far, mut stdin: ChildStdin) -> io::Result<()> {
    for piece in pieces(far.size, FETCHED) {
        let bytes = fetch(far, piece).await?;
        match stdin.write_all(&bytes).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

async fn fetch(far: &Far, piece: ByteRange) -> io::Result<Bytes> {
    far.fetch(piece).await.map_err(|error| io::Error::other(error.to_string()))
}
