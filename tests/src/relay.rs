//! A relay between the program and a server, which counts every byte that passes
//!
//! What a process tells of its own progress lags behind and dies with it; what crossed the wire is
//! known here. The relay can hold the traffic at a limit, so that what a test does at some point of
//! a transfer does not come after its end; and it can let every byte arrive late, as a long link.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes taken at once
const PIECE: usize = 64 << 10;

/// Pieces on a long link at a time
const PIECES_LATE: usize = 256;

/// Which way bytes go
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the program to the server
    Out,
    /// From the server to the program
    In,
}

/// A relay that runs as long as the test
#[derive(Debug)]
pub struct Relay {
    port: u16,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: [u64; 2],
    /// Bytes in both directions after which nothing passes
    hold_at: Option<u64>,
    lanes: usize,
}

impl Relay {
    /// Relays to a port of this machine
    pub fn to(server: u16) -> Self {
        Self::late(server, Duration::ZERO)
    }

    /// The same over a link on which every byte, in either direction, takes so long
    pub fn late(server: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let traffic = Arc::new(Traffic::default());
        let passed = Arc::clone(&traffic);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to, direction) in
                    [(&near, &far, Direction::Out), (&far, &near, Direction::In)]
                {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (from, to) = (from.expect("a socket"), to.expect("a socket"));
                    let traffic = Arc::clone(&passed);
                    traffic.lock().lanes += 1;
                    let to = Outlet::new(to, delay);
                    std::thread::spawn(move || traffic.carry(from, to, direction));
                }
            }
        });
        Self { port, traffic }
    }

    /// The port on 127.0.0.1
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counts from zero again, and lets at most so many bytes of all directions pass
    pub fn begin(&self, hold_at: Option<u64>) {
        let mut state = self.traffic.lock();
        *state = State { hold_at, bytes: [0; 2], lanes: state.lanes };
    }

    /// Lets everything pass
    pub fn release(&self) {
        self.traffic.lock().hold_at = None;
        self.traffic.changed.notify_all();
    }

    /// Bytes that passed since [`Relay::begin`]
    pub fn passed(&self, direction: Direction) -> u64 {
        self.traffic.lock().bytes[direction as usize]
    }

    /// Waits until so many bytes have passed; false if they have not after `within`
    pub fn wait_for(&self, direction: Direction, bytes: u64, within: Duration) -> bool {
        self.traffic.wait(within, |state| state.bytes[direction as usize] >= bytes)
    }

    /// Waits until no connection is left; false if there is one after `within`
    pub fn wait_idle(&self, within: Duration) -> bool {
        self.traffic.wait(within, |state| state.lanes == 0)
    }
}

impl Traffic {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, within: Duration, wanted: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        while !wanted(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn carry(&self, mut from: TcpStream, mut to: Outlet, direction: Direction) {
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(read) if read > 0 => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                _ => break,
            };
            self.pass(read, direction);
            if !to.send(&buffer[..read]) {
                self.count_rest(&mut from, &mut buffer, direction);
                // Nobody receives it, and the sender shall know.
                drop(from.shutdown(Shutdown::Both));
                break;
            }
        }
        to.end();
        self.lock().lanes -= 1;
        self.changed.notify_all();
    }

    /// What was sent and is not delivered counts as well
    fn count_rest(&self, from: &mut TcpStream, buffer: &mut [u8], direction: Direction) {
        if from.set_nonblocking(true).is_ok() {
            while let Ok(read @ 1..) = from.read(buffer) {
                self.pass(read, direction);
            }
        }
    }

    fn pass(&self, read: usize, direction: Direction) {
        let mut state = self.lock();
        while state.hold_at.is_some_and(|hold_at| state.bytes.iter().sum::<u64>() >= hold_at) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes[direction as usize] += read as u64;
        drop(state);
        self.changed.notify_all();
    }
}

/// Where bytes leave, at once or late
enum Outlet {
    Now(TcpStream),
    Late(SyncSender<(Instant, Vec<u8>)>, Duration),
}

impl Outlet {
    fn new(to: TcpStream, delay: Duration) -> Self {
        if delay.is_zero() {
            return Self::Now(to);
        }
        let (sender, pieces) = sync_channel(PIECES_LATE);
        std::thread::spawn(move || deliver(to, &pieces));
        Self::Late(sender, delay)
    }

    /// False once nobody receives
    fn send(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Now(to) => to.write_all(bytes).is_ok(),
            Self::Late(to, delay) => to.send((Instant::now() + *delay, bytes.to_vec())).is_ok(),
        }
    }

    fn end(self) {
        if let Self::Now(to) = self {
            drop(to.shutdown(Shutdown::Write));
        }
    }
}

fn deliver(mut to: TcpStream, pieces: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in pieces {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn bytes_pass_are_counted_and_held() {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        let relay = Relay::to(server.local_addr().expect("address").port());
        let mut near = TcpStream::connect(("127.0.0.1", relay.port())).expect("connect");
        let (mut far, _) = server.accept().expect("accept");
        relay.begin(Some(5));
        near.write_all(b"hello").expect("write");
        let mut read = [0; 5];
        far.read_exact(&mut read).expect("read");
        assert_eq!(&read, b"hello");
        near.write_all(b"!").expect("write");
        assert!(!relay.wait_for(Direction::Out, 6, Duration::from_millis(50)));
        relay.release();
        far.read_exact(&mut read[..1]).expect("read");
        assert_eq!((relay.passed(Direction::Out), relay.passed(Direction::In)), (6, 0));
        far.write_all(b"back").expect("write");
        assert!(relay.wait_for(Direction::In, 4, SOON));
        assert!(!relay.wait_idle(Duration::from_millis(50)));
        drop((near, far));
        assert!(relay.wait_idle(SOON));
    }

    #[test]
    fn a_long_link_brings_everything_late_and_in_order() {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        let delay = Duration::from_millis(30);
        let relay = Relay::late(server.local_addr().expect("address").port(), delay);
        let mut near = TcpStream::connect(("127.0.0.1", relay.port())).expect("connect");
        let (mut far, _) = server.accept().expect("accept");
        let begun = Instant::now();
        for piece in [&b"one "[..], b"two ", b"three"] {
            near.write_all(piece).expect("write");
        }
        near.shutdown(Shutdown::Write).expect("shut down");
        let mut text = String::new();
        far.read_to_string(&mut text).expect("read");
        assert_eq!(text, "one two three");
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    }
}
