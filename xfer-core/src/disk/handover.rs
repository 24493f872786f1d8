//! Descriptors that one process hands to another of the same user.
//!
//! They pass over an abstract socket, named by a session's random id. Only Linux has such sockets;
//! elsewhere nothing is handed over.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Two descriptors that another process brought.
pub(crate) struct Handed {
    /// Whether they lead to another machine, which delivers.
    pub(crate) deliveries: bool,
    /// Its stdin.
    pub(crate) input: OwnedFd,
    /// Its stdout.
    pub(crate) output: OwnedFd,
    /// Tells that process, when dropped, that they are not needed any more.
    pub(crate) until: OwnedFd,
}

pub(crate) use system::{Listener, hand_over, is_heard};

#[cfg(target_os = "linux")]
mod system {
    use std::io::{IoSlice, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;

    use rustix::net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    };
    use tokio::io::unix::AsyncFd;

    use super::{BorrowedFd, Handed, OwnedFd, io};
    use crate::disk::descriptor::watched;

    /// Processes that may wait to be heard.
    const BACKLOG: i32 = 16;

    /// Where descriptors of one session arrive.
    pub(crate) struct Listener(AsyncFd<OwnedFd>);

    impl Listener {
        /// Listens for what is handed to a session.
        pub(crate) fn of(session: &str) -> io::Result<Self> {
            let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
            rustix::net::bind(&socket, &address(session)?)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(Self(watched(socket)?))
        }

        /// Waits for the next process; `None` for one of another user, or without descriptors.
        pub(crate) async fn next(&self) -> io::Result<Option<Handed>> {
            loop {
                let mut ready = self.0.readable().await?;
                let Ok(accepted) = ready.try_io(|s| {
                    rustix::net::accept_with(s.get_ref(), SocketFlags::CLOEXEC).map_err(Into::into)
                }) else {
                    continue;
                };
                let until = accepted?;
                let is_own = rustix::net::sockopt::socket_peercred(&until)
                    .is_ok_and(|them| them.uid == rustix::process::geteuid());
                return Ok(match (is_own, receive(until.as_fd())) {
                    (true, Ok(Some((deliveries, input, output)))) => {
                        Some(Handed { deliveries, input, output, until })
                    }
                    _ => None,
                });
            }
        }
    }

    /// Hands two descriptors to a session's process, and waits until it needs them no more.
    pub(crate) async fn hand_over(
        session: &str,
        ends: [BorrowedFd<'_>; 2],
        deliveries: bool,
    ) -> io::Result<()> {
        let socket = socket(SocketFlags::CLOEXEC)?;
        rustix::net::connect(&socket, &address(session)?)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&ends));
        rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(&[u8::from(deliveries)])],
            &mut control,
            SendFlags::empty(),
        )?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let socket = watched(socket)?;
        drop(socket.readable().await?);
        Ok(())
    }

    /// Whether a session's process is there.
    pub(crate) fn is_heard(session: &str) -> bool {
        let connected = || {
            rustix::net::connect(&socket(SocketFlags::CLOEXEC)?, &address(session)?)?;
            Ok::<_, io::Error>(())
        };
        // Whoever has it may be too busy to answer.
        !matches!(connected(), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
        let kind = (AddressFamily::UNIX, SocketType::STREAM);
        Ok(rustix::net::socket_with(kind.0, kind.1, flags, None)?)
    }

    fn address(session: &str) -> io::Result<SocketAddrUnix> {
        Ok(SocketAddrUnix::new_abstract_name(format!("xfer-{session}").as_bytes())?)
    }

    fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(bool, OwnedFd, OwnedFd)>> {
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
        let ends = descriptors.next().zip(descriptors.next());
        Ok(ends.map(|(input, output)| (byte != [0], input, output)))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::convert::Infallible;

    use super::{BorrowedFd, Handed, io};

    /// Never listens.
    pub(crate) struct Listener(Infallible);

    impl Listener {
        /// Fails.
        pub(crate) fn of(_session: &str) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Cannot be called.
        pub(crate) async fn next(&self) -> io::Result<Option<Handed>> {
            match self.0 {}
        }
    }

    /// Fails.
    pub(crate) async fn hand_over(
        _session: &str,
        _ends: [BorrowedFd<'_>; 2],
        _deliveries: bool,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// It cannot be told.
    pub(crate) fn is_heard(_session: &str) -> bool {
        true
    }
}
