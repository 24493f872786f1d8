//! A command of the user's that says whether a file loads.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::sync::Semaphore;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::manifest::Stamp;
use xfer_protocol::message::{FileAt, ReadBlock};
use xfer_protocol::path::{Escaped, RelPath};
use xfer_protocol::range::ByteRange;

use super::context::{Context, Stop, fault};
use super::ledger::Side;
use super::pieces::pieces;
use crate::connect::Connected;
use crate::disk::process::{end_group, end_with_us};
use crate::endpoint::{EndpointError, EndpointResult, Source};
use crate::event::Event;
use crate::options::TransferOptions;
use crate::transport::ssh::without_keys;

/// Bytes that are fetched at a time.
const FETCHED: u64 = 4 << 20;

/// Runs for each file with its bytes on standard input, and its path and size in the environment:
/// with exit code 0 it says that the file loads.
pub(super) struct LoadCommand(OsString);

/// Why it is not known whether a file loads.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the command cannot be run: {0}")]
    Command(#[from] io::Error),
    #[error("its file cannot be read: {0}")]
    File(#[from] EndpointError),
}

impl LoadCommand {
    pub(super) fn new(command: OsString) -> Self {
        Self(command)
    }

    /// Whether a file loads.
    ///
    /// # Errors
    /// Where the command cannot be started, is ended by a signal, or the file cannot be read.
    pub(super) async fn accepts(&self, far: &Far) -> Result<bool, LoadError> {
        let mut command = without_keys(Command::new("/bin/sh"));
        command
            .arg("-c")
            .arg(&self.0)
            .env("XFER_PATH", OsStr::from_bytes(far.file.path.as_bytes()))
            .env("XFER_SIZE", far.size.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        end_with_us(&mut command);
        let mut child = command.spawn()?;
        let mut group = Group(child.id());
        let stdin = child.stdin.take();
        let feed = async {
            match stdin {
                Some(stdin) => feed(far, stdin).await,
                None => Ok(()),
            }
        };
        let status = tokio::select! {
            // What it started may hold the pipe still.
            status = child.wait() => status?,
            fed = feed => {
                fed?;
                child.wait().await?
            }
        };
        group.0 = None;
        match status.code() {
            Some(code) => Ok(code == 0),
            None => Err(io::Error::other(status.to_string()).into()),
        }
    }
}

/// A command and what it started, as long as it runs: given up, all of it ends.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            end_group(id);
        }
    }
}

/// Writes a file to a command, as much of it as that reads.
async fn feed(far: &Far, mut stdin: ChildStdin) -> Result<(), LoadError> {
    for piece in pieces(far.size, FETCHED) {
        let bytes = far.fetch(piece).await?;
        match stdin.write_all(&bytes).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// A file that lies elsewhere.
pub(super) struct Far {
    pub(super) source: Arc<dyn Source>,
    pub(super) file: FileAt,
    pub(super) size: u64,
}

impl Far {
    pub(super) async fn fetch(&self, range: ByteRange) -> EndpointResult<Bytes> {
        let read = ReadBlock { file: self.file.clone(), range };
        self.source.read_block(read).await.map(|(_, bytes)| bytes)
    }
}

/// The command of a transfer, for what is proven at its destination.
pub(super) struct CopyCheck {
    command: LoadCommand,
    there: Arc<dyn Source>,
    turns: Semaphore,
}

impl CopyCheck {
    /// That of a transfer, where it has one.
    pub(super) fn of(options: &TransferOptions, sink: &Connected) -> Option<Self> {
        let command = LoadCommand::new(options.verify.load_check.clone()?);
        let turns = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Some(Self { command, there: Arc::clone(&sink.source), turns: Semaphore::new(turns) })
    }

    /// What keeps files of the destination from being what they should be, by their places.
    pub(super) async fn look_at(
        &self,
        cx: &Context,
        files: Vec<(RelPath, Stamp)>,
    ) -> Result<Vec<Option<Fault>>, Stop> {
        let at_once = files.len().max(1);
        let each = files.into_iter().map(|(path, stamp)| self.look(cx, path, stamp));
        stream::iter(each).buffered(at_once).try_collect().await
    }

    async fn look(&self, cx: &Context, path: RelPath, stamp: Stamp) -> Result<Option<Fault>, Stop> {
        let file = FileAt { root: cx.sink_root, path, stamp };
        let far = Far { source: Arc::clone(&self.there), file, size: stamp.size };
        let accepts = async {
            let _turn = self.turns.acquire().await;
            self.command.accepts(&far).await
        };
        let accepted = tokio::select! {
            biased;
            () = cx.halt.halted() => return Err(cx.halt.take().unwrap_or(Stop::Cancelled)),
            accepted = accepts => accepted,
        };
        let (path, refused) = (&far.file.path, FaultKind::NotLoaded);
        match accepted {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(fault(refused, Operation::Open, path))),
            Err(LoadError::File(error)) => cx.sort(Side::Destination, error).map(Some),
            Err(LoadError::Command(error)) => {
                let told = Escaped(path.as_bytes());
                let text = format!("{told}: --load-check could not be asked: {error}");
                cx.observe(&Event::Notice(text));
                Ok(Some(fault(refused, Operation::Open, path)))
            }
        }
    }
}
