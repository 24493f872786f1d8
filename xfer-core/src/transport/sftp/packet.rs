//! Packets: a length, a kind, a request's number, fields

use bytes::{Buf, Bytes};

use super::attributes::Attributes;

/// Bytes in the largest packet that we take: OpenSSH sends none beyond 256 KiB
pub(super) const PACKET_BYTES_MAX: usize = 257 << 10;

/// The version that we speak, and that OpenSSH speaks
pub(super) const VERSION: u32 = 3;

/// Kinds of packets
pub(super) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RMDIR: u8 = 15;
    pub(crate) const REALPATH: u8 = 16;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRIBUTES: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

/// A packet that is being written
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins a packet; its length is set by [`Self::finish`].
    pub(super) fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A length and bytes
    pub(super) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(length(bytes.len()));
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn attributes(&mut self, attributes: &Attributes) -> &mut Self {
        attributes.encode(self);
        self
    }

    /// The packet, to be followed by `payload` bytes that belong to it
    pub(super) fn finish(mut self, payload: usize) -> Bytes {
        let count = length(self.0.len() - 4 + payload);
        self.0[..4].copy_from_slice(&count.to_be_bytes());
        Bytes::from(self.0)
    }
}

/// No packet of ours is longer than its limits, which lie far below.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A packet ended within a field, or a field is beyond its bounds
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A packet that is being read
pub(super) struct Decoder(Bytes);

impl Decoder {
    pub(super) fn new(packet: Bytes) -> Self {
        Self(packet)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    /// A length and bytes, which stay where they are
    pub(super) fn string(&mut self) -> Result<Bytes, Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if count > self.0.len() { Err(Malformed) } else { Ok(self.0.split_to(count)) }
    }

    pub(super) fn attributes(&mut self) -> Result<Attributes, Malformed> {
        Attributes::decode(self)
    }

    /// Bytes that are left
    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }
}
