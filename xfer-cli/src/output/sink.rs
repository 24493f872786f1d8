//! Where lines go: standard streams and files, none of which may stop a transfer when it fails.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use xfer_core::disk::descriptor::stdout_was_closed;
use xfer_core::disk::named::open_output;
use xfer_protocol::path::Escaped;

use crate::problem::CliError;

/// Bytes that wait before they are written.
const BUFFER_BYTES: usize = 32 * 1024;

/// A place for lines.
#[derive(Debug)]
pub(crate) struct Sink {
    target: Target,
    buffer: Vec<u8>,
    lost: Option<Errno>,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
    File(OwnedFd),
}

impl Sink {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Self::to(Target::Stdout)
    }

    /// Standard error.
    pub(crate) fn stderr() -> Self {
        Self::to(Target::Stderr)
    }

    /// A file, emptied first unless `append`.
    pub(crate) fn file(path: &Path, append: bool) -> Result<Self, CliError> {
        let refused = |errno: Errno| {
            let place = Escaped(path.as_os_str().as_encoded_bytes());
            let what = format!("{place}: it cannot be written");
            CliError::config("output-unwritable", what)
                .why(errno)
                .next("name a file that you may write, in a directory that is there")
        };
        let file = open_output(path, append).map_err(refused)?;
        Ok(Self::to(Target::File(file)))
    }

    /// Adds bytes; a failure is remembered and ends all writing.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.lost.is_some() {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let written = match &self.target {
            Target::Stdout if stdout_was_closed() && !buffer.is_empty() => Err(Errno::BADF),
            Target::Stdout => write_all(rustix::stdio::stdout(), &buffer),
            Target::Stderr => write_all(rustix::stdio::stderr(), &buffer),
            Target::File(file) => write_all(file, &buffer),
        };
        if let Err(errno) = written {
            self.lost = Some(errno);
        }
    }

    /// Why writing ended, where it did.
    pub(crate) fn lost(&self) -> Option<Errno> {
        self.lost
    }

    fn to(target: Target) -> Self {
        Self { target, buffer: Vec::new(), lost: None }
    }
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(&file)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A terminal or pipe that its other holder set to non-blocking.
fn wait_writable(file: &impl AsFd) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
