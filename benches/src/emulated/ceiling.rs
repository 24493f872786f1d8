//! What the link itself carries, as the laboratory runs it here and now

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use xfer_tests::net::{Counts, Direction, Lab};

use super::Cell;
use crate::Done;

/// Payload of the largest datagram that the link's MTU lets pass
const PAYLOAD: usize = 1472;

/// More than the link's rate, so that its queue is never empty
const SURPLUS: f64 = 1.05;

/// Beside two round trips, what it takes until all of the link is in use
const FILLED_AFTER: Duration = Duration::from_millis(300);

/// The queue holds a round trip at most
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

const MEASURED_FOR: Duration = Duration::from_millis(1500);
const PACE: Duration = Duration::from_millis(1);

/// Payload bytes a second that arrive of a stream of datagrams that fills the link
pub(super) fn measure(net: &Lab, cell: Cell) -> Done<f64> {
    let told = |error: std::io::Error| format!("datagrams: {error}");
    // Nobody reads it: what counts is what the link gave to the host.
    let sink = net.far.within(|| UdpSocket::bind((net.link.far(), 0))).map_err(told)?;
    let to = sink.local_addr().map_err(told)?;
    let socket = net.near.within(|| UdpSocket::bind((net.link.near(), 0))).map_err(told)?;
    blast(&socket, to, cell.rate, 2 * cell.round_trip() + FILLED_AFTER);
    let (before, began) = (net.link.counts(Direction::Out).delivered, Instant::now());
    blast(&socket, to, cell.rate, MEASURED_FOR);
    let (after, took) = (net.link.counts(Direction::Out).delivered, began.elapsed());
    let is_idle = |counts: &Counts| counts.under_way() == 0;
    if !net.link.wait_for(Direction::Out, is_idle, EMPTY_WITHIN) {
        return Err(String::from("datagrams: the link does not become empty"));
    }
    Ok((after - before) as f64 * PAYLOAD as f64 / took.as_secs_f64())
}

fn blast(socket: &UdpSocket, to: SocketAddr, megabits: u64, time: Duration) {
    let wanted = megabits as f64 * 125_000.0 * SURPLUS / PAYLOAD as f64;
    let (began, mut sent) = (Instant::now(), 0.0);
    while began.elapsed() < time {
        let due = began.elapsed().as_secs_f64() * wanted;
        while sent < due {
            // A full buffer is a surplus that was not needed.
            drop(socket.send_to(&[0; PAYLOAD], to));
            sent += 1.0;
        }
        // To wake early does no harm.
        std::thread::park_timeout(PACE);
    }
}
