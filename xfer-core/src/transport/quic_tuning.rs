//! The numbers that a QUIC connection is given, each with the reason that was measured for it

use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::Congestion;

/// What the sockets are asked for in each direction, bytes; the kernel grants up to
/// `net.core.rmem_max` and `net.core.wmem_max`.
pub(crate) const SOCKET_BUFFER: usize = 16 << 20;

/// Bytes that one connection may have buffered in each direction.
const WINDOW: u32 = 80 << 20;

/// Bytes that one lane may have buffered.
const LANE_WINDOW: u32 = 24 << 20;

/// The settings of a connection
pub(crate) fn transport_config(congestion: Congestion) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(20))
        .max_ack_delay(Some(Duration::from_millis(2)))
        .reordering_threshold(VarInt::from_u32(8));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(1472);
    config
        .congestion_controller_factory(congestion.factory())
        .receive_window(VarInt::from_u32(WINDOW))
        .stream_receive_window(VarInt::from_u32(LANE_WINDOW))
        .send_window(WINDOW.into())
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(Some(mtu))
        .packet_threshold(9)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(30_000))));
    config
}
