//! The parts of an IPv4 packet that faults look at or rewrite

const IP_HEADER: usize = 20;
const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const TCP_HEADER: usize = 20;
pub(super) const UDP_HEADER: usize = 8;

/// A protocol with ports
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Streams
    Tcp,
    /// Datagrams, and so QUIC
    Udp,
}

/// A packet of TCP or UDP with its ports
#[derive(Debug)]
pub(super) struct Segment<'packet> {
    pub(super) protocol: Protocol,
    /// From its header on
    bytes: &'packet mut [u8],
}

impl<'packet> Segment<'packet> {
    /// `None` for other protocols, and for the later fragments of a datagram, which have no ports
    pub(super) fn of(packet: &'packet mut [u8]) -> Option<Self> {
        if packet.len() < IP_HEADER {
            return None;
        }
        let begins = usize::from(packet[0] & 0xf) * 4;
        let (protocol, least) = match packet[9] {
            TCP => (Protocol::Tcp, TCP_HEADER),
            UDP => (Protocol::Udp, UDP_HEADER),
            _ => return None,
        };
        let later_fragment = packet[6] & 0x1f != 0 || packet[7] != 0;
        let bytes = packet.get_mut(begins..).filter(|bytes| bytes.len() >= least)?;
        (!later_fragment).then_some(Self { protocol, bytes })
    }

    pub(super) fn source_port(&self) -> u16 {
        self.word(0)
    }

    pub(super) fn destination_port(&self) -> u16 {
        self.word(2)
    }

    pub(super) fn set_source_port(&mut self, port: u16) {
        self.set_word(0, port);
    }

    pub(super) fn set_destination_port(&mut self, port: u16) {
        self.set_word(2, port);
    }

    /// Where its payload begins, from its header on, and how long it is
    pub(super) fn payload(&self) -> (usize, usize) {
        let begins = match self.protocol {
            Protocol::Udp => UDP_HEADER,
            Protocol::Tcp => usize::from(self.bytes[12] >> 4) * 4,
        };
        (begins, self.bytes.len().saturating_sub(begins))
    }

    /// Turns one bit over, which the checksum tells
    pub(super) fn corrupt(&mut self, place: usize) {
        self.bytes[place] ^= 1;
    }

    /// Turns one bit over, and the checksum hides it
    pub(super) fn forge(&mut self, place: usize) {
        let begins = place & !1;
        let bit = if place == begins { 0x100 } else { 1 };
        self.set_word(begins, self.word(begins) ^ bit);
    }

    /// Two bytes; what lies beyond the end counts as 0, as it does for checksums
    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes.get(at + 1).copied().unwrap_or(0)])
    }

    /// Writes two bytes and lets the checksum follow, by the equation of RFC 1624
    fn set_word(&mut self, at: usize, new: u16) {
        let old = self.word(at);
        let bytes = new.to_be_bytes();
        let end = (at + 2).min(self.bytes.len());
        self.bytes[at..end].copy_from_slice(&bytes[..end - at]);
        let checksum = match self.protocol {
            Protocol::Tcp => 16,
            Protocol::Udp => 6,
        };
        let before = self.word(checksum);
        if self.protocol == Protocol::Udp && before == 0 {
            // The sender computed none.
            return;
        }
        let sum = u32::from(!before) + u32::from(!old) + u32::from(new);
        let after = match (self.protocol, !folded(sum)) {
            (Protocol::Udp, 0) => u16::MAX,
            (_, after) => after,
        };
        self.bytes[checksum..checksum + 2].copy_from_slice(&after.to_be_bytes());
    }
}

/// The sum of the halves, until it fits one
pub(super) fn folded(sum: u32) -> u16 {
    let mut left = sum;
    loop {
        match u16::try_from(left) {
            Ok(sum) => return sum,
            Err(_) => left = (left & 0xffff) + (left >> 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP packet from port 1000 to port 2000, its checksum computed in full
    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; IP_HEADER + UDP_HEADER];
        packet[0] = 0x45;
        packet[9] = UDP;
        packet[20..24].copy_from_slice(&[0x03, 0xe8, 0x07, 0xd0]);
        packet.extend(payload);
        let sum = summed(&packet);
        packet[26..28].copy_from_slice(&(!sum).to_be_bytes());
        packet
    }

    /// What the receiver sums; 0xffff, or 0 as the same, where the checksum is right
    fn summed(packet: &[u8]) -> u16 {
        let words = packet[IP_HEADER..].chunks(2);
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
        folded(words.map(word).sum())
    }

    #[test]
    fn a_rewritten_packet_has_the_checksum_of_a_new_one() {
        for payload in [&b"even"[..], b"odd", b""] {
            for port in [0, 1, 1001, 0x7fff, 0xfffe, 0xffff] {
                let mut bytes = packet(payload);
                let mut segment = Segment::of(&mut bytes).expect("UDP");
                segment.set_source_port(port);
                segment.set_destination_port(!port);
                assert_eq!((segment.source_port(), segment.destination_port()), (port, !port));
                assert_eq!(summed(&bytes), u16::MAX, "{payload:?} {port}");
            }
        }
    }

    #[test]
    fn a_forged_byte_has_a_right_checksum_and_a_corrupt_one_has_not() {
        for place in 0..3 {
            let mut bytes = packet(b"odd");
            Segment::of(&mut bytes).expect("UDP").forge(UDP_HEADER + place);
            assert_eq!(summed(&bytes), u16::MAX);
            assert_eq!(bytes[IP_HEADER + UDP_HEADER + place], b"odd"[place] ^ 1);
            Segment::of(&mut bytes).expect("UDP").corrupt(UDP_HEADER + place);
            assert_eq!(&bytes[IP_HEADER + UDP_HEADER..], b"odd");
            assert_ne!(summed(&bytes), u16::MAX);
        }
    }

    #[test]
    fn what_has_no_ports_is_no_segment() {
        let mut fragment = packet(b"later");
        fragment[7] = 1;
        let mut other = packet(b"ICMP");
        other[9] = 1;
        let mut short = packet(b"")[..24].to_vec();
        for bytes in [&mut fragment, &mut other, &mut short] {
            assert!(Segment::of(bytes).is_none());
        }
    }
}
