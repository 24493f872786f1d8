//! The agent's process: a session on its stdin and stdout, and streams that other processes bring.
//!
//! A second channel of the same login starts the same program once more. That process hands its two
//! descriptors to the session's agent over an abstract socket, named by the session's random id and
//! open to the same user alone, and waits until the session is over.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use super::serve::Served;
use crate::clock::SystemClock;
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::transport::{Stream, pipe};

/// What the agent's process is told on its command line. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Printed before the first frame, so that what a login shell prints is not taken for one.
    pub sentinel: Vec<u8>,
    /// Names the session, in hexadecimal.
    pub session: String,
    /// Hands this process's stdin and stdout to the session's agent instead of beginning a session.
    pub join: bool,
    /// Silence after which the agent ends itself.
    pub silence: Duration,
    /// What the endpoint may do.
    pub endpoint: LocalOptions,
}

/// Runs the agent to the end of its session.
///
/// # Errors
/// When stdin and stdout are no streams, or no session comes about on them.
pub async fn run(options: AgentOptions) -> io::Result<()> {
    crate::disk::signals::tell_file_size_limit();
    let mut stream = pipe::standard()?;
    stream.writer.write_all(&options.sentinel).await?;
    stream.writer.flush().await?;
    if options.join { join(&options.session).await } else { begin(stream, options).await }
}

async fn begin(stream: Stream, options: AgentOptions) -> io::Result<()> {
    let clock = SystemClock::shared();
    let endpoint = Arc::new(LocalEndpoint::new(options.endpoint));
    let served = Served::new(endpoint, clock);
    let mut tasks = JoinSet::new();
    if let Ok(socket) = listen(&options.session) {
        let served = served.clone();
        tasks.spawn(async move { accept_streams(served, socket).await });
    }
    // The session outlives its first stream as long as others, which joined it, are there.
    let first = async {
        served.stream(stream).await?;
        served.ended().await
    };
    let ended = tokio::select! {
        ended = first => ended,
        error = served.watch(options.silence) => Err(error),
    };
    ended.map_err(io::Error::other)
}

/// Takes descriptors from processes of the same user, each a stream of the session.
async fn accept_streams(served: Served<LocalEndpoint>, socket: AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut streams = JoinSet::new();
    loop {
        let mut ready = socket.readable().await?;
        let Ok(accepted) = ready.try_io(|s| {
            rustix::net::accept_with(s.get_ref(), SocketFlags::CLOEXEC).map_err(Into::into)
        }) else {
            continue;
        };
        let peer = accepted?;
        let is_own = rustix::net::sockopt::socket_peercred(&peer)
            .is_ok_and(|them| them.uid == rustix::process::geteuid());
        if let (true, Ok(Some((input, output)))) = (is_own, receive(peer.as_fd())) {
            let served = served.clone();
            streams.spawn(async move {
                if let Ok(stream) = pipe::from_descriptors(input, output) {
                    // How one stream ended is told by what its requests were answered.
                    let _ended = served.stream(stream).await;
                }
                // The process that brought the descriptors waits for this to close.
                drop(peer);
            });
        }
        while streams.try_join_next().is_some() {}
    }
}

/// Hands stdin and stdout over, and waits for the session's end.
async fn join(session: &str) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &address(session)?)?;
    let descriptors = [rustix::stdio::stdin(), rustix::stdio::stdout()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&socket, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    let socket = crate::disk::descriptor::watched(socket)?;
    drop(socket.readable().await?);
    Ok(())
}

fn listen(session: &str) -> io::Result<AsyncFd<OwnedFd>> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &address(session)?)?;
    rustix::net::listen(&socket, 16)?;
    crate::disk::descriptor::watched(socket)
}

fn address(session: &str) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(format!("xfer-{session}").as_bytes())?)
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut received = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let Some(mut descriptors) = received.next() else { return Ok(None) };
    Ok(descriptors.next().zip(descriptors.next()))
}
