//! A descriptor as a stream that lets bytes gather while many move.
//!
//! A pipe or a socket wakes its reader for every packet that comes, and a pipe its writer for every
//! packet that goes. At a gigabyte a second the waking costs more than the copying. So a stream
//! that has just moved much, and finds nothing more to do, rests for [`REST`] and tries again; only
//! where a rest brought nothing does it ask to be woken. What is quiet is woken at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf, join};
use tokio::net::TcpStream;

use super::gauge::Gauge;
use crate::disk::descriptor;
use crate::disk::pause::Pause;

/// How long bytes gather: at 1 GB/s a quarter of what a pipe holds.
const REST: Duration = Duration::from_micros(250);

/// Bytes that must have moved since the last wait for a rest to be worth it: half a packet.
const MUCH: usize = 16 << 10;

/// A readable descriptor; pipe or socket, and not blocking.
pub(crate) struct GatheringReader {
    side: Side,
    kind: Kind,
}

/// A writable descriptor; pipe or socket, and not blocking.
pub(crate) struct GatheringWriter {
    side: Side,
    kind: Kind,
}

/// What a descriptor is, where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its writer is woken for every packet.
    Pipe,
    /// The system itself lets room gather before it wakes the writer. A peer that has more to say,
    /// as in a login, waits for word that the first of it came.
    Socket,
}

/// Both directions of a connected socket.
pub(crate) type GatheringSocket = Join<GatheringReader, GatheringWriter>;

/// Takes a socket over.
pub(crate) fn socket(socket: TcpStream) -> io::Result<GatheringSocket> {
    let output = OwnedFd::from(socket.into_std()?);
    let input = rustix::io::fcntl_dupfd_cloexec(&output, 0)?;
    Ok(join(GatheringReader::new(input, Kind::Socket), GatheringWriter::new(output, Kind::Socket)))
}

/// One direction.
struct Side {
    descriptor: OwnedFd,
    waiting: Waiting,
    pause: Option<Pause>,
    /// Bytes moved since the last wait.
    moved: usize,
}

enum Waiting {
    No,
    Resting,
    /// Watched only while nothing moves: a watch is told of every packet, wanted or not.
    Watched(AsyncFd<OwnedFd>),
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl GatheringReader {
    pub(crate) fn new(descriptor: OwnedFd, kind: Kind) -> Self {
        Self { side: Side::new(descriptor), kind }
    }
}

impl GatheringWriter {
    pub(crate) fn new(descriptor: OwnedFd, kind: Kind) -> Self {
        Self { side: Side::new(descriptor), kind }
    }

    /// What tells of it, where it is a socket.
    pub(crate) fn gauge(&self) -> Option<Gauge> {
        (self.kind == Kind::Socket).then(|| Gauge::of_socket(&self.side.descriptor)).flatten()
    }
}

impl Side {
    fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor, waiting: Waiting::No, pause: None, moved: 0 }
    }

    /// Ends a wait that has begun.
    fn poll_waited(&mut self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (&mut self.waiting, &mut self.pause) {
            (Waiting::Resting, Some(pause)) => ready!(pause.poll_over(cx))?,
            (Waiting::Watched(watched), _) => match direction {
                Direction::Read => ready!(watched.poll_read_ready(cx)).map(drop)?,
                Direction::Write => ready!(watched.poll_write_ready(cx)).map(drop)?,
            },
            (Waiting::No | Waiting::Resting, _) => {}
        }
        self.waiting = Waiting::No;
        Poll::Ready(Ok(()))
    }

    /// Begins to wait, after nothing could be moved.
    fn wait(&mut self, may_rest: bool) -> io::Result<()> {
        let much = std::mem::take(&mut self.moved) >= MUCH;
        if may_rest && much {
            let pause = match &mut self.pause {
                Some(pause) => pause,
                none => none.insert(Pause::new(REST)?),
            };
            pause.begin()?;
            self.waiting = Waiting::Resting;
        } else {
            let again = rustix::io::fcntl_dupfd_cloexec(&self.descriptor, 0)?;
            self.waiting = Waiting::Watched(descriptor::watched(again)?);
        }
        Ok(())
    }
}

impl AsyncRead for GatheringReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let kind = self.kind;
        let side = &mut self.side;
        loop {
            ready!(side.poll_waited(Direction::Read, cx))?;
            let before = buffer.filled().len();
            match descriptor::read_into(side.descriptor.as_fd(), buffer) {
                Ok(()) => {
                    let read = buffer.filled().len() - before;
                    side.moved += read;
                    if kind == Kind::Socket && read < MUCH {
                        descriptor::answer_at_once(&side.descriptor);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => side.wait(true)?,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for GatheringWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let kind = self.kind;
        let side = &mut self.side;
        loop {
            ready!(side.poll_waited(Direction::Write, cx))?;
            let written = match kind {
                Kind::Pipe => rustix::io::write(&side.descriptor, bytes),
                Kind::Socket => descriptor::send(&side.descriptor, bytes),
            };
            match written {
                Ok(written) => {
                    side.moved += written;
                    return Poll::Ready(Ok(written));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => side.wait(kind == Kind::Pipe)?,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kind == Kind::Socket {
            descriptor::shut_down_writing(&self.side.descriptor)?;
        }
        Poll::Ready(Ok(()))
    }
}
