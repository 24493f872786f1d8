//! Streams over descriptors that a process was given: its stdin and stdout, or those of another.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Stream;
use super::gathering::{GatheringReader, GatheringWriter, Kind};
use crate::disk::descriptor;

/// A stream of two descriptors, one to read and one to write: pipes or sockets.
pub(crate) fn from_descriptors(input: OwnedFd, output: OwnedFd) -> io::Result<Stream> {
    for end in [input.as_fd(), output.as_fd()] {
        rustix::io::ioctl_fionbio(end, true)?;
        descriptor::widen_pipe(end);
    }
    let (input, output) =
        (GatheringReader::new(input, Kind::Pipe), GatheringWriter::new(output, Kind::Pipe));
    Ok(Stream::new(input, output))
}

/// The stream of this process's own stdin and stdout, which must not be used otherwise.
pub(crate) fn standard() -> io::Result<Stream> {
    let input = rustix::io::dup(rustix::stdio::stdin())?;
    let output = rustix::io::dup(rustix::stdio::stdout())?;
    from_descriptors(input, output)
}
