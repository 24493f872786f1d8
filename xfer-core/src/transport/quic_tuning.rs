//! The numbers that a QUIC connection is given, each with the reason that was measured for it
//!
//! Measured over an emulated link of 1 Gbit/s, both ends and the link on two cores.

use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::Congestion;

/// What the sockets are asked for in each direction, bytes; the kernel grants up to
/// `net.core.rmem_max` and `net.core.wmem_max`
///
/// With the usual 208 KiB the receiver's thread misses packets while it waits for a processor: at
/// 50 ms and a loss of 1 % another 4 % was lost there, and 87 MB/s arrived instead of 120.
pub(crate) const SOCKET_BUFFER: usize = 16 << 20;

/// Bytes that one connection may have buffered in each direction
///
/// A lost packet holds back what follows it on its lane for a round trip, and one in thirty is lost
/// again: a lane is two or three round trips behind what left. At 250 ms and a loss of 1 %, 80 MiB
/// carried 101 MB/s and 112 MiB 120; at 3 % this carries 103 MB/s and the receiver holds 138 MiB,
/// with what it costs to keep the pieces apart.
pub(crate) const WINDOW: u32 = 96 << 20;

/// Bytes that one lane may have buffered
///
/// quinn ends a connection when one stream has over 1,024 gaps. A lane holds at most 4,400 packets
/// of this, so a quarter of them would have to be lost one by one; the window shrinks long before.
/// Sixteen lanes fill [`WINDOW`]; one alone carries 25 MB/s at 250 ms.
const LANE_WINDOW: u32 = WINDOW / 16;

/// Packets that the far side may receive before it acknowledges them, and how long it may wait
///
/// Every other packet is acknowledged otherwise: 62,000 times in the 600 MB where this did with
/// 17,000, and both sides spent a quarter less processor time. A longer wait would be most of a
/// short path's round trip, and the window would have to hold what is acknowledged late.
const ACKNOWLEDGED_AFTER: u32 = 20;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(2);

/// Packets that may overtake one before it is taken for lost
///
/// Paths that spread packets over several links reorder by a few; waiting for them costs no time at
/// thousands of packets a second, while what is sent again for nothing costs the link. The far
/// side reports a gap at once when it is about to count.
const OVERTAKEN_BY: u32 = 9;

/// How often a connection on which nothing is sent shows that it is there
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Silence after which a connection is lost: the next route is tried while there is time
const SILENT_MILLIS: u32 = 6_000;

/// The settings of a connection, and the largest payload of a packet that is searched for
pub(crate) fn transport_config(congestion: Congestion, largest_packet: u16) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(ACKNOWLEDGED_AFTER))
        .max_ack_delay(Some(ACKNOWLEDGED_WITHIN))
        .reordering_threshold(VarInt::from_u32(OVERTAKEN_BY - 1));
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(largest_packet);
    config
        .congestion_controller_factory(congestion.factory())
        .receive_window(VarInt::from_u32(WINDOW))
        .stream_receive_window(VarInt::from_u32(LANE_WINDOW))
        .send_window(WINDOW.into())
        .ack_frequency_config(Some(acknowledgements))
        .packet_threshold(OVERTAKEN_BY)
        .mtu_discovery_config(Some(packets))
        // Everything travels on streams.
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(ALIVE_EVERY))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENT_MILLIS))));
    config
}
