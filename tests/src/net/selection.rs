//! Which packets a fault is about

use super::packet::{Protocol, Segment};

/// Some of the packets of a direction; the default is all of them
///
/// Ports are those that the near host knows, outside ones where they are mapped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    protocol: Option<Protocol>,
    ports: Ports,
    above: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Ports {
    #[default]
    Any,
    Among(Vec<u16>),
    Except(Vec<u16>),
}

impl Selection {
    /// Of one protocol
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Those that come from or go to one of these ports
    #[must_use]
    pub fn ports(mut self, ports: &[u16]) -> Self {
        self.ports = Ports::Among(ports.to_vec());
        self
    }

    /// Those with ports that neither come from nor go to one of these
    #[must_use]
    pub fn all_ports_but(mut self, ports: &[u16]) -> Self {
        self.ports = Ports::Except(ports.to_vec());
        self
    }

    /// Those of more bytes, headers of IP included
    #[must_use]
    pub fn above(mut self, bytes: usize) -> Self {
        self.above = bytes;
        self
    }

    pub(super) fn holds(&self, packet: &mut [u8]) -> bool {
        if packet.len() <= self.above {
            return false;
        }
        if self.protocol.is_none() && self.ports == Ports::Any {
            return true;
        }
        let Some(segment) = Segment::of(packet) else { return false };
        let among = |ports: &[u16]| {
            ports.contains(&segment.source_port()) || ports.contains(&segment.destination_port())
        };
        let chosen = match &self.ports {
            Ports::Any => true,
            Ports::Among(ports) => among(ports),
            Ports::Except(ports) => !among(ports),
        };
        chosen && self.protocol.is_none_or(|protocol| protocol == segment.protocol)
    }
}
