//! What the link itself carries, as the laboratory runs it here and now

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use xfer_tests::net::{Direction, Lab};

use super::options::Cell;
use crate::Done;

/// Payload of the largest datagram that the link's MTU lets pass
const PAYLOAD: usize = 1472;

/// More than the link's rate, so that its queue is never empty
const SURPLUS: f64 = 1.05;

const MEASURED_FOR: Duration = Duration::from_millis(1500);
const PACE: Duration = Duration::from_millis(1);

/// Payload bytes a second that arrive of a stream of datagrams that fills the link
pub(super) fn measure(net: &Lab, cell: Cell) -> Done<f64> {
    let told = |error: std::io::Error| format!("datagrams: {error}");
    // Nobody reads it: what counts is what the link gave to the host.
    let sink = net.far.within(|| UdpSocket::bind((net.link.far(), 0))).map_err(told)?;
    let to = sink.local_addr().map_err(told)?;
    let socket = net.near.within(|| UdpSocket::bind((net.link.near(), 0))).map_err(told)?;
    let round_trip = Duration::from_millis(cell.rtt.into());
    let over = AtomicBool::new(false);
    let rate = std::thread::scope(|scope| {
        scope.spawn(|| blast(&socket, to, cell.rate, &over));
        std::thread::sleep(2 * round_trip + Duration::from_millis(300));
        let (before, began) = (net.link.counts(Direction::Out).delivered, Instant::now());
        std::thread::sleep(MEASURED_FOR);
        let (after, took) = (net.link.counts(Direction::Out).delivered, began.elapsed());
        over.store(true, Ordering::Relaxed);
        (after - before) as f64 * PAYLOAD as f64 / took.as_secs_f64()
    });
    // The queue holds a round trip at most.
    std::thread::sleep(2 * round_trip + Duration::from_millis(100));
    Ok(rate)
}

fn blast(socket: &UdpSocket, to: std::net::SocketAddr, megabits: u64, over: &AtomicBool) {
    let wanted = megabits as f64 * 125_000.0 * SURPLUS / PAYLOAD as f64;
    let (began, mut sent) = (Instant::now(), 0.0);
    while !over.load(Ordering::Relaxed) {
        let due = began.elapsed().as_secs_f64() * wanted;
        while sent < due {
            // A full buffer is a surplus that was not needed.
            drop(socket.send_to(&[0; PAYLOAD], to));
            sent += 1.0;
        }
        std::thread::sleep(PACE);
    }
}
