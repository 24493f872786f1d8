//! One connection of TCP with CUBIC that sends as fast as it may, and what of it arrives when

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_tcp_congestion};
use xfer_tests::net::{Direction, Lab};

use crate::Done;

const CONTROL: &str = "cubic";

/// Bytes of one call
const PIECE: usize = 64 << 10;

/// The time between two samples at least
const SAMPLED_EACH: Duration = Duration::from_millis(10);

const PACE: Duration = Duration::from_millis(10);

/// A flow that is under way
#[derive(Debug)]
pub(super) struct Flow {
    over: Arc<AtomicBool>,
    arrived: Arc<AtomicU64>,
    sender: JoinHandle<std::io::Result<()>>,
    sink: JoinHandle<std::io::Result<Samples>>,
}

/// Bytes that had arrived by a time
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<(Instant, u64)>);

impl Flow {
    /// Starts one over the link, of so many bytes or without an end
    pub(super) fn start(net: &Lab, way: Direction, bytes: Option<u64>) -> Done<Self> {
        let told = |error: std::io::Error| format!("a flow: {error}");
        let (from, to, address) = match way {
            Direction::Out => (&net.near, &net.far, net.link.far()),
            Direction::In => (&net.far, &net.near, net.link.near()),
        };
        let listener = to.within(|| TcpListener::bind((address, 0))).map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let socket = from.within(|| TcpStream::connect(address)).map_err(told)?;
        set_tcp_congestion(&socket, CONTROL).map_err(|error| told(error.into()))?;
        let (arriving, _) = listener.accept().map_err(told)?;
        let over = Arc::new(AtomicBool::new(false));
        let arrived = Arc::new(AtomicU64::new(0));
        let sender = spawn({
            let over = Arc::clone(&over);
            move || send(socket, bytes.unwrap_or(u64::MAX), &over)
        });
        let sink = spawn({
            let arrived = Arc::clone(&arrived);
            move || receive(arriving, &arrived)
        });
        Ok(Self { over, arrived, sender, sink })
    }

    /// Waits until its first byte was there for so long
    pub(super) fn wait(&self, lead: Duration) -> Done {
        while self.arrived.load(Ordering::Acquire) == 0 {
            if self.sink.is_finished() {
                return Err(String::from("a flow ended before it began"));
            }
            std::thread::park_timeout(PACE);
        }
        pass(lead);
        Ok(())
    }

    /// Waits until all of it has arrived, or so long
    pub(super) fn wait_end(&self, limit: Duration) {
        let began = Instant::now();
        while !self.sink.is_finished() && began.elapsed() < limit {
            std::thread::park_timeout(PACE);
        }
    }

    /// Ends it where it is
    pub(super) fn end(self) -> Done<Samples> {
        let told = |error: std::io::Error| format!("a flow: {error}");
        self.over.store(true, Ordering::Release);
        self.sender.join().map_err(|_| "a sender panicked")?.map_err(told)?;
        self.sink.join().map_err(|_| "a sink panicked")?.map_err(told)
    }
}

impl Samples {
    /// When the first and the last byte arrived
    pub(super) fn span(&self) -> Option<(Instant, Instant)> {
        Some((self.0.first()?.0, self.0.last()?.0))
    }

    /// Bytes a second between two times
    pub(super) fn rate(&self, from: Instant, to: Instant) -> f64 {
        let took = to.saturating_duration_since(from).as_secs_f64();
        (self.arrived_by(to) - self.arrived_by(from)) / took.max(1e-3)
    }

    /// Between two samples bytes arrive evenly
    fn arrived_by(&self, time: Instant) -> f64 {
        let next = self.0.partition_point(|sample| sample.0 <= time);
        let last = next.checked_sub(1).map(|last| self.0[last]);
        match (last, self.0.get(next)) {
            (None, _) => 0.0,
            (Some(last), None) => last.1 as f64,
            (Some(last), Some(next)) => {
                let passed = (time - last.0).as_secs_f64() / (next.0 - last.0).as_secs_f64();
                last.1 as f64 + (next.1 - last.1) as f64 * passed
            }
        }
    }
}

/// Lets time pass
pub(super) fn pass(time: Duration) {
    let began = Instant::now();
    while let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

fn send(mut socket: TcpStream, mut left: u64, over: &AtomicBool) -> std::io::Result<()> {
    let piece = vec![0; PIECE];
    while left > 0 {
        if over.load(Ordering::Acquire) {
            // What waits in the socket would keep the link busy after the end.
            return Ok(set_socket_linger(&socket, Some(Duration::ZERO))?);
        }
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        left -= socket.write(&piece[..length])? as u64;
    }
    Ok(())
}

fn receive(mut socket: TcpStream, arrived: &AtomicU64) -> std::io::Result<Samples> {
    let mut piece = vec![0; PIECE];
    let mut samples: Vec<(Instant, u64)> = Vec::new();
    let mut all = 0;
    loop {
        let length = match socket.read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        all += length as u64;
        arrived.store(all, Ordering::Release);
        let now = Instant::now();
        let is_due = samples.last().is_none_or(|last| now - last.0 >= SAMPLED_EACH);
        if length > 0 && is_due || length == 0 && samples.last().is_some_and(|last| last.1 < all) {
            samples.push((now, all));
        }
        if length == 0 {
            return Ok(Samples(samples));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_arrived_between_two_times() {
        let began = Instant::now();
        let at = |seconds: f64| began + Duration::from_secs_f64(seconds);
        let samples = Samples(vec![(at(1.0), 10), (at(2.0), 30), (at(4.0), 30), (at(5.0), 130)]);
        let near = |from, to, wanted: f64| (samples.rate(at(from), at(to)) - wanted).abs() < 1e-6;
        assert!(near(1.0, 2.0, 20.0) && near(1.5, 4.0, 4.0) && near(4.5, 5.0, 100.0));
        // Nothing is known of the time before the first sample, and nothing comes after the last.
        assert!(near(0.0, 1.0, 10.0) && near(5.0, 6.0, 0.0));
        assert_eq!(samples.span(), Some((at(1.0), at(5.0))));
    }
}
