//! Those who know nothing but the number of a data port, and what they do there
//!
//! They come from addresses of their own, as whoever finds a port does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::Done;

/// How many are there at a time
pub(super) const CROWD: usize = 500;

/// The time between two bytes of the slow, and after which who was closed is seen and comes back
const PACE: Duration = Duration::from_millis(50);

/// A greeting over UDP is said again after so many paces: a second, as QUIC does itself
const AGAIN_AFTER: usize = 20;

/// Addresses of theirs, by the last number
const ADDRESSES: std::ops::Range<u8> = 20..36;

/// A record of 16,000 bytes, and in it a ClientHello of as many; the rest of it is zeros
const HELLO: [u8; 11] = [22, 3, 1, 62, 128, 1, 0, 62, 124, 3, 3];

/// Who is at the port of a transfer
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    Nobody,
    /// Connections of TCP that say nothing
    Silent,
    /// The same that say a ClientHello, one byte at a time
    Slow,
    /// First packets of QUIC, whose senders prove nothing
    Unproven,
}

/// Where a crowd stands, and whither it goes
#[derive(Clone, Debug)]
pub(super) struct Approach {
    pub(super) from: Vec<Ipv4Addr>,
    pub(super) to: SocketAddrV4,
}

/// One who came over TCP
struct Stranger {
    socket: TcpStream,
    is_connected: bool,
    said: usize,
}

impl Crowd {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Silent => "silent strangers",
            Self::Slow => "slow-lorises",
            Self::Unproven => "unproven first packets",
        }
    }

    /// Is at the port until it is over; how many came in all
    ///
    /// It is in the host of the calling thread. `greetings` are what is said over UDP.
    pub(super) fn gather(
        self,
        approach: &Approach,
        greetings: &[Vec<u8>],
        over: &AtomicBool,
    ) -> Done<u64> {
        let told = |error: std::io::Error| format!("{}: {error}", self.name());
        match self {
            Self::Nobody => Ok(0),
            Self::Silent | Self::Slow => Ok(linger(approach, self == Self::Slow, over)),
            Self::Unproven => knock(approach, greetings, over).map_err(told),
        }
    }
}

/// The addresses of crowds, beside a host's own
pub(super) fn addresses(own: Ipv4Addr) -> Vec<Ipv4Addr> {
    let [a, b, c, _] = own.octets();
    ADDRESSES.map(|last| Ipv4Addr::new(a, b, c, last)).collect()
}

/// Who was closed comes back; how many were connected
fn linger(approach: &Approach, is_slow: bool, over: &AtomicBool) -> u64 {
    let mut strangers: Vec<Option<Stranger>> = (0..CROWD).map(|_| None).collect();
    let mut came = 0;
    while !over.load(Ordering::Acquire) {
        for (stranger, from) in strangers.iter_mut().zip(approach.from.iter().cycle()) {
            let was_connected = stranger.as_ref().is_some_and(|one| one.is_connected);
            let stays = stranger.as_mut().is_some_and(|one| one.stays(is_slow));
            let is_connected = stranger.as_ref().is_some_and(|one| one.is_connected);
            came += u64::from(is_connected && !was_connected);
            if !stays {
                // Without a free port it comes at the next look.
                *stranger = Stranger::set_out(*from, approach.to).ok();
            }
        }
        // To wake early does no harm.
        std::thread::park_timeout(PACE);
    }
    came
}

impl Stranger {
    fn set_out(from: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddrV4::new(from, 0))?;
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        Ok(Self { socket, is_connected: false, said: 0 })
    }

    /// Says a byte where it is slow; false once it was closed, or never got there
    fn stays(&mut self, is_slow: bool) -> bool {
        let stays = match self.socket.read(&mut [0; 64]) {
            Ok(length) => {
                self.is_connected = true;
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_connected |= self.socket.peer_addr().is_ok();
                true
            }
            Err(error) => {
                self.is_connected |= error.kind() == ErrorKind::ConnectionReset;
                false
            }
        };
        if stays && is_slow && self.is_connected {
            let byte = HELLO.get(self.said).copied().unwrap_or(0);
            // Whether it was taken, the next look tells.
            self.said += self.socket.write(&[byte]).unwrap_or(0);
        }
        stays
    }
}

/// Says every greeting once a second; how many were said
fn knock(approach: &Approach, greetings: &[Vec<u8>], over: &AtomicBool) -> std::io::Result<u64> {
    let mut sockets = Vec::new();
    for from in &approach.from {
        let socket = UdpSocket::bind((*from, 0))?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let mut said = 0;
    for turn in (0..AGAIN_AFTER).cycle() {
        if over.load(Ordering::Acquire) {
            break;
        }
        let due = greetings.iter().skip(turn).step_by(AGAIN_AFTER);
        for (greeting, socket) in due.zip(sockets.iter().cycle()) {
            // What is answered is left unread, as by somebody who lent his address to others.
            said += u64::from(socket.send_to(greeting, SocketAddr::from(approach.to)).is_ok());
        }
        std::thread::park_timeout(PACE);
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// The first byte of the next who comes, if anybody does; then it is closed
    fn first_byte(listener: &TcpListener) -> Option<u8> {
        let began = Instant::now();
        let mut socket = loop {
            match listener.accept() {
                Ok((socket, _)) => break socket,
                Err(_) if began.elapsed() < SOON => std::thread::yield_now(),
                Err(_) => return None,
            }
        };
        socket.set_nonblocking(false).ok()?;
        socket.set_read_timeout(Some(SOON)).ok()?;
        let mut byte = [0];
        socket.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    #[test]
    fn who_was_closed_comes_back() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let SocketAddr::V4(to) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        let approach = Approach { from: vec![Ipv4Addr::LOCALHOST], to };
        let over = AtomicBool::new(false);
        let (seen, came) = std::thread::scope(|scope| {
            let crowd = scope.spawn(|| linger(&approach, true, &over));
            let bytes = (0..2 * CROWD).map_while(|_| first_byte(&listener));
            let seen = bytes.filter(|byte| *byte == HELLO[0]).count();
            over.store(true, Ordering::Release);
            (seen, crowd.join().unwrap())
        });
        assert_eq!(seen, 2 * CROWD);
        assert!(came >= 2 * CROWD as u64, "{came}");
    }
}
