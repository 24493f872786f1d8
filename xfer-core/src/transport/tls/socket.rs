//! The TCP socket below, set up for bulk

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use crate::disk::descriptor;

/// Round trips shorter than this are of one machine or one room.
const NEAR: Duration = Duration::from_millis(1);

/// Connects a socket that is set up before its first packet, from which on the system measures.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    tune(&socket);
    let socket = socket.connect(address).await?;
    // Connecting puts back what the route is configured with.
    descriptor::pace_by_bandwidth(&socket);
    Ok(socket)
}

/// Sets a socket up that another has connected.
pub(super) fn tune_accepted(socket: &TcpStream) {
    let _hint = socket.set_nodelay(true);
    tune(socket);
}

/// Buffers are left alone: the system lets them grow as the link asks, further than it would let
/// us. So is the time after which unconfirmed bytes count as lost, since it would also run while a
/// living peer has no room.
fn tune(socket: impl AsFd) {
    descriptor::pace_by_bandwidth(&socket);
    descriptor::keep_alive(&socket);
}

/// Takes the pacing off again where there is next to no delay.
///
/// Between two processes of one machine it costs a fifth of all processor time; and where a lost
/// packet is known after a fraction of a millisecond, a window that it halves is soon full again.
pub(super) fn tune_to_distance(socket: &TcpStream) {
    if descriptor::round_trip(socket).is_some_and(|time| time < NEAR) {
        descriptor::pace_by_loss(socket);
    }
}
