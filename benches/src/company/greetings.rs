//! First packets of connections of QUIC, as whoever holds no key of a session makes them

use std::collections::HashSet;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio::runtime::Builder;

use crate::Done;
use crate::raw::identity;

/// The protocol of data ports: whoever speaks another is turned away at once
const ALPN: &[u8] = b"xfer/1";

/// A packet of this machine to itself takes less
const WITHIN: Duration = Duration::from_secs(10);

/// So many, each of another connection
pub(super) fn first_packets(count: usize) -> Done<Vec<Vec<u8>>> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sink = UdpSocket::bind(local).map_err(told)?;
    sink.set_read_timeout(Some(WITHIN)).map_err(told)?;
    let to = sink.local_addr().map_err(told)?;
    let mut crypto = identity::client()?;
    crypto.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(crypto).map_err(told)?;
    let config = ClientConfig::new(Arc::new(crypto));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(told)?;
    let _inside = runtime.enter();
    let endpoint = Endpoint::client(local).map_err(told)?;
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    while found.len() < count {
        let connecting = endpoint.connect_with(config.clone(), to, "xfer").map_err(told)?;
        loop {
            let mut packet = vec![0; 2048];
            let length = sink.recv(&mut packet).map_err(told)?;
            packet.truncate(length);
            // The name of its destination, of as many bytes as the sixth says.
            let name = packet.get(6..).and_then(|rest| rest.get(..usize::from(packet[5])));
            let name = name.ok_or("a first packet without a name")?.to_vec();
            if seen.insert(name) {
                found.push(packet);
                break;
            }
        }
        drop(connecting);
    }
    Ok(found)
}

fn told(error: impl Display) -> String {
    format!("first packets: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_packet_is_long_and_of_a_connection_of_its_own() {
        let packets = first_packets(20).unwrap();
        // The least length that a server may answer.
        assert!(packets.iter().all(|packet| packet.len() >= 1200 && packet[0] & 0xf0 == 0xc0));
        let names = packets.iter().map(|packet| &packet[6..6 + usize::from(packet[5])]);
        assert_eq!(names.collect::<HashSet<_>>().len(), 20);
    }
}
