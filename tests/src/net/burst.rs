//! Packets that a device gives and takes many at once, as network cards with offloads do
//!
//! A host hands over one header and the payload of all of them. Each part meets its own fate, and
//! those that arrive together and one behind the other are handed on together.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::ops::Range;

use super::packet::{UDP, UDP_HEADER, folded};

/// `struct virtio_net_hdr`: what precedes every packet
const CARD: usize = 10;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: nobody has to check the checksum
const UNSUMMED: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_TCPV4`
const CUT_TCP: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_UDP_L4`
const CUT_UDP: u8 = 5;
/// `VIRTIO_NET_HDR_GSO_ECN`, which goes with the first
const CONGESTED: u8 = 0x80;

/// Headers of IP and TCP at most
const HEADERS_MAX: usize = 120;
/// Flags of TCP that only the last of many packets has: FIN and PSH
const OF_THE_LAST: u8 = 0x09;

/// One packet, or many of one flow with one header
#[derive(Debug)]
pub(super) struct Burst {
    card: [u8; CARD],
    bytes: Box<[u8]>,
    cut: Option<Cut>,
}

/// Where many are cut apart
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Where the header of TCP or UDP begins
    ports: usize,
    /// Where payload begins
    payload: usize,
    /// Bytes of payload of each packet but the last
    size: usize,
}

impl Burst {
    /// What was read from a device; `None` where that is no IPv4
    pub(super) fn of(read: &[u8]) -> Option<Self> {
        let (card, bytes) = read.split_first_chunk::<CARD>()?;
        if bytes.first()? >> 4 != 4 {
            return None;
        }
        let ports = usize::from(bytes[0] & 0xf) * 4;
        let size = usize::from(u16::from_ne_bytes([card[4], card[5]]));
        let payload = match card[1] & !CONGESTED {
            CUT_TCP => Some(ports + usize::from(bytes.get(ports + 12)? >> 4) * 4),
            CUT_UDP => Some(ports + UDP_HEADER),
            _ => None,
        };
        let whole = |payload: &usize| size > 0 && *payload <= bytes.len().min(HEADERS_MAX);
        let cut = payload.filter(whole).map(|payload| Cut { ports, payload, size });
        Some(Self { card: *card, bytes: Box::from(bytes), cut })
    }

    /// How many packets it is
    pub(super) fn parts(&self) -> usize {
        let of = |cut: Cut| (self.bytes.len() - cut.payload).div_ceil(cut.size).max(1);
        self.cut.map_or(1, of)
    }

    /// Bytes of one of them, header of IP included
    pub(super) fn length(&self, part: usize) -> usize {
        let of = |cut: Cut| cut.payload + self.payload(cut, part..part + 1).len();
        self.cut.map_or(self.bytes.len(), of)
    }

    fn payload(&self, cut: Cut, parts: Range<usize>) -> &[u8] {
        let all = &self.bytes[cut.payload..];
        &all[(parts.start * cut.size).min(all.len())..(parts.end * cut.size).min(all.len())]
    }

    /// Gives some that follow each other to a device
    pub(super) fn write(&self, mut to: &File, parts: Range<usize>) -> io::Result<usize> {
        let Some(cut) = self.cut else {
            return to.write_vectored(&[IoSlice::new(&self.card), IoSlice::new(&self.bytes)]);
        };
        let payload = self.payload(cut, parts.clone());
        let mut headers = [0; HEADERS_MAX];
        let headers = &mut headers[..cut.payload];
        headers.copy_from_slice(&self.bytes[..cut.payload]);
        let is_last = parts.end == self.parts();
        fit(headers, cut, parts.start, payload.len(), is_last);
        let card = card(self.card[1], headers, cut, payload.len());
        to.write_vectored(&[&card, &*headers, payload].map(IoSlice::new))
    }
}

/// What precedes so much payload: whether it is many packets, and where the checksum would be
fn card(kind: u8, headers: &[u8], cut: Cut, payload: usize) -> [u8; CARD] {
    let mut card = [0; CARD];
    let word = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes();
    card[0] = UNSUMMED;
    if payload > cut.size {
        card[1] = kind;
        card[2..4].copy_from_slice(&word(headers.len()));
        card[4..6].copy_from_slice(&word(cut.size));
    }
    card[6..8].copy_from_slice(&word(cut.ports));
    card[8..10].copy_from_slice(&word(checksum_at(headers)));
    card
}

/// Makes the headers of all those of a run
fn fit(headers: &mut [u8], cut: Cut, first: usize, payload: usize, is_last: bool) {
    let number = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let below = headers.len() - cut.ports + payload;
    headers[2..4].copy_from_slice(&number(cut.ports + below));
    headers[10..12].fill(0);
    let sum = !folded(summed(&headers[..cut.ports]));
    headers[10..12].copy_from_slice(&sum.to_be_bytes());
    // Whoever fills in the checksum adds the rest to that of what is not sent.
    let unsent = summed(&headers[12..20]) + u32::from(headers[9]);
    let unsent = folded(unsent + u32::from(u16::from_be_bytes(number(below))));
    let at = cut.ports + checksum_at(headers);
    headers[at..at + 2].copy_from_slice(&unsent.to_be_bytes());
    let is_udp = headers[9] == UDP;
    let ports = &mut headers[cut.ports..];
    if is_udp {
        ports[4..6].copy_from_slice(&number(below));
        return;
    }
    let [a, b, c, d] = [ports[4], ports[5], ports[6], ports[7]];
    let before = u32::try_from(first * cut.size).unwrap_or(u32::MAX);
    let sequence = u32::from_be_bytes([a, b, c, d]).wrapping_add(before);
    ports[4..8].copy_from_slice(&sequence.to_be_bytes());
    if !is_last {
        ports[13] &= !OF_THE_LAST;
    }
}

/// Where the checksum of TCP or UDP is in its header
fn checksum_at(headers: &[u8]) -> usize {
    if headers[9] == UDP { 6 } else { 16 }
}

fn summed(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
    bytes.chunks(2).map(word).sum()
}
