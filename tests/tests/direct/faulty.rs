//! A relay before the agent's port for TLS, which breaks connections at a byte

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xfer_tests::net::{Direction, Mapping};

use crate::{OTHER_TCP, Pair, TCP};

/// What becomes of a connection
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both ends are told that it broke (RST)
    Reset,
    /// The receiver is told that no more comes (FIN)
    End,
    /// Nothing passes any more
    Stall,
}

/// What goes wrong, and when
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) direction: Direction,
    /// Bytes that pass before
    pub(crate) after: u64,
    pub(crate) fault: Fault,
    /// The connections concerned, by the order in which they came
    pub(crate) connections: Range<usize>,
    /// Bytes that are passed on at once
    pub(crate) slice: usize,
}

/// The relay, which runs as long as the test
#[derive(Debug)]
pub(crate) struct Relay {
    fired: Arc<AtomicUsize>,
}

impl Relay {
    /// Leads the outside port of [`TCP`] to the relay, and from there to the agent
    pub(crate) fn before(pair: &Pair, plan: &Plan) -> Self {
        let port = OTHER_TCP.inside;
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let listener = pair.lab.far.within(listen).expect("bind");
        let fired = Arc::<AtomicUsize>::default();
        let (counted, plan, host) = (Arc::clone(&fired), plan.clone(), pair.lab.far.clone());
        std::thread::spawn(move || {
            host.within(|| {
                for (number, near) in listener.incoming().map_while(Result::ok).enumerate() {
                    let agent = (Ipv4Addr::LOCALHOST, TCP.inside);
                    let Ok(far) = TcpStream::connect(agent) else { continue };
                    relay(&near, &far, number, &plan, &counted);
                }
            });
        });
        pair.lab.link.map_ports(&[Mapping { outside: TCP.outside, ..OTHER_TCP.mapping() }]);
        Self { fired }
    }

    /// How many connections were broken
    pub(crate) fn fired(&self) -> usize {
        self.fired.load(Ordering::Relaxed)
    }
}

fn relay(near: &TcpStream, far: &TcpStream, number: usize, plan: &Plan, fired: &Arc<AtomicUsize>) {
    for (from, to, direction) in [(near, far, Direction::Out), (far, near, Direction::In)] {
        to.set_nodelay(true).expect("no delay");
        let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
        let concerned = direction == plan.direction && plan.connections.contains(&number);
        let left = if concerned { plan.after } else { u64::MAX };
        let lane = Lane { from, to, left, slice: plan.slice };
        let (fault, fired) = (plan.fault, Arc::clone(fired));
        std::thread::spawn(move || lane.carry(fault, &fired));
    }
}

/// One direction of a connection
struct Lane {
    from: TcpStream,
    to: TcpStream,
    /// Bytes until it breaks
    left: u64,
    slice: usize,
}

impl Lane {
    fn carry(mut self, fault: Fault, fired: &AtomicUsize) {
        let mut buffer = vec![0; 64 << 10];
        while self.left > 0 {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
            let Ok(read @ 1..) = self.from.read(&mut buffer[..most]) else {
                drop(self.to.shutdown(Shutdown::Write));
                return;
            };
            self.left -= read as u64;
            let passed = buffer[..read].chunks(self.slice).try_for_each(|s| self.to.write_all(s));
            if passed.is_err() {
                drop(self.from.shutdown(Shutdown::Both));
                return;
            }
        }
        fired.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Reset => {
                for socket in [&self.from, &self.to] {
                    let _gone = rustix::net::connect_unspec(socket);
                }
            }
            Fault::End => {
                drop(self.to.shutdown(Shutdown::Write));
                while let Ok(1..) = self.from.read(&mut buffer) {}
            }
            // Until its sockets are closed by the other direction, and that is never.
            Fault::Stall => loop {
                std::thread::park();
            },
        }
    }
}
