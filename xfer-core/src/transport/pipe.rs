//! Streams over descriptors that a process was given: its stdin and stdout, or those of another.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;
use crate::disk::descriptor;

/// A stream of two descriptors, one to read and one to write: pipes or sockets.
pub(crate) fn from_descriptors(input: OwnedFd, output: OwnedFd) -> io::Result<Stream> {
    Ok(Stream {
        reader: Box::new(Descriptor::new(input)?),
        writer: Box::new(Descriptor::new(output)?),
    })
}

/// The stream of this process's own stdin and stdout, which must not be used otherwise.
pub(crate) fn standard() -> io::Result<Stream> {
    let input = rustix::io::dup(rustix::stdio::stdin())?;
    let output = rustix::io::dup(rustix::stdio::stdout())?;
    from_descriptors(input, output)
}

struct Descriptor(AsyncFd<OwnedFd>);

impl Descriptor {
    fn new(given: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&given, true)?;
        descriptor::widen_pipe(&given);
        Ok(Self(descriptor::watched(given)?))
    }
}

impl AsyncRead for Descriptor {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match descriptor::read_into(self.0.get_ref().as_fd(), buffer) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => ready!(self.0.poll_read_ready(cx))?.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Descriptor {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match rustix::io::write(self.0.get_ref().as_fd(), bytes) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => ready!(self.0.poll_write_ready(cx))?.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
